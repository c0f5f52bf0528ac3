//! JSON as TOML writes it: tables become objects.

use serde_json::{Map, Number, Value as Json};
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{
    Template,
    declare::{At, Kind, Value, value},
    section::kind,
    text::Filled,
    value::Kept,
};

value! {
    /// Members of a JSON object.
    pub(super) Members: Map<String, Json>, Kind::Json, |value, _| {
        match value.as_table().map(object).transpose()? {
            Some(Json::Object(members)) if !members.is_empty() => Ok(members),
            _ => Err("expected members of a JSON object, such as { type = \"reconnected\" }".to_owned()),
        }
    }
}

value! {
    /// The text of the JSON, whose strings are templates and may be secrets.
    pub(super) Body: Template, Kind::Body, |value, at| {
        if value.as_table().is_none() {
            let found = kind(value);
            return Err(format!("expected a table, such as json = {{ name = \"value\" }}, found {found}"));
        }
        let mut template = Template::default();
        put(value, at, &mut template)?;
        Ok(template)
    }
}

fn put(value: &DeValue<'_>, at: At, out: &mut Template) -> Result<(), String> {
    match value {
        DeValue::Table(table) if is_secret(table) => {
            out.append(Template::verbatim("\""));
            out.append(Template::secret(Kept::read(value, at)?));
            out.append(Template::verbatim("\""));
        }
        DeValue::Table(table) => {
            for (nth, (key, value)) in table.iter().enumerate() {
                let key = Json::from(key.get_ref().as_ref());
                let begin = if nth == 0 { "{" } else { "," };
                out.append(Template::verbatim(&format!("{begin}{key}:")));
                put(value.get_ref(), at, out)?;
            }
            out.append(Template::verbatim(if table.is_empty() { "{}" } else { "}" }));
        }
        DeValue::Array(entries) => {
            out.append(Template::verbatim("["));
            for (nth, entry) in entries.iter().enumerate() {
                if nth > 0 {
                    out.append(Template::verbatim(","));
                }
                put(entry.get_ref(), at, out)?;
            }
            out.append(Template::verbatim("]"));
        }
        // Quoted first, then parsed: what is put in for a name is escaped, and never quoted twice.
        DeValue::String(_) => {
            let quoted = of(value)?.to_string();
            out.append(Filled::read(&DeValue::String(quoted.into()), at)?);
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            out.append(Template::verbatim(&of(value)?.to_string()));
        }
    }
    Ok(())
}

/// Does the table stand for a secret that is kept elsewhere?
pub(super) fn is_secret(table: &DeTable<'_>) -> bool {
    table.len() == 1 && table.keys().all(|key| matches!(key.get_ref().as_ref(), "env" | "file"))
}

/// A table as a JSON object.
pub(super) fn object(table: &DeTable<'_>) -> Result<Json, String> {
    let entry = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        Ok((key.get_ref().to_string(), of(value.get_ref())?))
    };
    table.iter().map(entry).collect::<Result<_, String>>().map(Json::Object)
}

pub(super) fn of(value: &DeValue<'_>) -> Result<Json, String> {
    Ok(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Boolean(truth) => (*truth).into(),
        DeValue::Datetime(date) => date.to_string().into(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| "an integer is too large")?
            .into(),
        DeValue::Float(number) => {
            let number: f64 = number.as_str().parse().map_err(|_| "a float is malformed")?;
            Number::from_f64(number).ok_or("JSON knows no infinity and no nan")?.into()
        }
        DeValue::Array(entries) => {
            entries.iter().map(|entry| of(entry.get_ref())).collect::<Result<Vec<_>, _>>()?.into()
        }
        DeValue::Table(table) => object(table)?,
    })
}
