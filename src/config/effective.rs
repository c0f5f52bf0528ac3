//! The configuration in effect, as `check` prints it: TOML, with defaults filled in, secrets masked, and where each
//! value comes from.
//!
//! It is made of the file and of the declarations, key by key in their order; a key without effect is left out.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    ProxyAddress, Template,
    declare::{Key, Kind, Table},
    egress::WORDS,
    error::Problems,
    json::is_secret,
    random::masked_url,
    root::ROOT,
};

const INTRODUCTION: &str = "# The configuration in effect. Behind each value is where it comes from: a line of the file, or the default.";

/// The column of the comments, if the value is not longer.
const COLUMN: usize = 48;

pub(super) fn page(document: &DeTable<'_>, problems: &Problems<'_>) -> String {
    let mut page = Page { out: format!("{INTRODUCTION}\n"), problems };
    page.keys("", Some(document), &ROOT, 0);
    page.out
}

struct Page<'p> {
    out: String,
    problems: &'p Problems<'p>,
}

impl Page<'_> {
    /// One table: its values first, since a header ends it. `begin`: where it begins.
    fn keys(&mut self, path: &str, table: Option<&DeTable<'_>>, declared: &'static Table, begin: usize) {
        let keys = in_effect(table, declared);
        for key in &keys {
            self.value(table.and_then(|table| table.get(key.name)), key, begin);
        }
        for key in keys {
            let written = table.and_then(|table| table.get(key.name));
            let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
            match (key.kind, written) {
                (Kind::Table(inner), Some(written)) => {
                    self.table(&format!("[{path}]"), &path, written, inner);
                }
                (Kind::Table(inner), None) if key.within => {
                    self.out.push_str(&format!("\n[{path}]\n"));
                    self.keys(&path, None, inner, begin);
                }
                (Kind::Tables(inner), Some(written)) => {
                    for written in written.get_ref().as_array().into_iter().flatten() {
                        self.table(&format!("[[{path}]]"), &path, written, inner);
                    }
                }
                (Kind::Keyed(inner), Some(written)) => {
                    for (name, written) in written.get_ref().as_table().into_iter().flatten() {
                        let path = format!("{path}.{}", name.get_ref());
                        self.table(&format!("[{path}]"), &path, written, inner);
                    }
                }
                _ => {}
            }
        }
    }

    fn table(&mut self, header: &str, path: &str, written: &Spanned<DeValue<'_>>, inner: &'static Table) {
        self.out.push_str(&format!("\n{header}\n"));
        self.keys(path, written.get_ref().as_table(), inner, written.span().start);
    }

    fn value(&mut self, written: Option<&Spanned<DeValue<'_>>>, key: &Key, begin: usize) {
        if key.kind.table().is_some() {
            return;
        }
        if let Some(written) = written {
            let (line, _) = self.problems.place(written.span().start);
            self.unknown_words(written.get_ref(), key);
            return self.line(key.name, &shown(key.kind, written.get_ref()), &format!("line {line}"));
        }
        match (self.problems.meant(begin, key.name), key.default, key.otherwise) {
            (Some(None), ..) | (None, None, None) => {}
            (Some(Some(value)), ..) => self.line(key.name, &value, "default"),
            (None, Some(default), _) => self.line(key.name, default, "default"),
            (None, None, Some(otherwise)) => {
                self.out.push_str(&format!("# {}: {otherwise}\n", key.name));
            }
        }
    }

    fn line(&mut self, key: &str, value: &str, origin: &str) {
        let line = format!("{key} = {value}");
        self.out.push_str(&format!("{line:COLUMN$} # {origin}\n"));
    }

    /// Words in braces that are sent as they are written: they may have been meant as names. They are not shown if the
    /// text may be a secret.
    fn unknown_words(&mut self, value: &DeValue<'_>, key: &Key) {
        let secret = matches!(key.kind, Kind::Template | Kind::Header | Kind::Pairs | Kind::Body);
        if !secret && !matches!(key.kind, Kind::Named | Kind::Url(_)) {
            return;
        }
        let mut words = Vec::new();
        texts(value, &mut |text| words.extend(Template::parse(text).unknown_words()));
        let Some(word) = words.first() else { return };
        let word = if secret { "a word in braces".to_owned() } else { format!("{{{word}}}") };
        self.out.push_str(&format!(
            "# {}: {word} is no name, and is sent as it is written. Names: {{token}}, {{client.token}}, {{query.NAME}}, \
             {{header.NAME}}\n",
            key.name
        ));
    }
}

/// The keys of a table, those of its other parts left out.
fn in_effect(table: Option<&DeTable<'_>>, declared: &'static Table) -> Vec<&'static Key> {
    let written = table.and_then(|table| table.get(declared.selector)?.get_ref().as_str());
    let default = declared.key(declared.selector).and_then(|key| key.default);
    let word = written.or_else(|| default.map(|word| word.trim_matches('"')));
    let parts = declared.parts.iter().filter(|(owner, _)| Some(*owner) == word);
    declared.keys.iter().chain(parts.flat_map(|(_, part)| in_effect(table, part))).collect()
}

/// All texts in a value.
fn texts(value: &DeValue<'_>, with: &mut dyn FnMut(&str)) {
    match value {
        DeValue::String(text) => with(text),
        DeValue::Array(entries) => entries.iter().for_each(|entry| texts(entry.get_ref(), with)),
        DeValue::Table(table) => table.values().for_each(|entry| texts(entry.get_ref(), with)),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

/// A value as TOML, without what may be a secret.
fn shown(kind: Kind, value: &DeValue<'_>) -> String {
    match (kind, value) {
        (Kind::Several(one), _) => shown(*one, value),
        (Kind::Secret, DeValue::String(_)) => quoted("***"),
        (Kind::Proxy, DeValue::String(text)) if !WORDS.contains(&&**text) => {
            quoted(&ProxyAddress::parse(text).map_or_else(|_| "***".to_owned(), |address| address.masked()))
        }
        (Kind::Template, DeValue::String(text)) => quoted(&Template::parse(text).shown(true)),
        (Kind::Header, DeValue::String(text)) => {
            let (name, line) = text.split_once(':').unwrap_or(("", text));
            quoted(&format!("{name}: {}", Template::parse(line.trim()).shown(true)))
        }
        (Kind::Url(_), DeValue::String(text)) => quoted(&masked_url(text)),
        (Kind::Pairs, DeValue::Table(pairs)) => inline(pairs, |value| shown(Kind::Template, value)),
        (Kind::Body, DeValue::Table(table)) if !is_secret(table) => {
            inline(table, |value| shown(Kind::Body, value))
        }
        (Kind::Body, DeValue::String(text)) => quoted(&Template::parse(text).shown(true)),
        // A number may be a secret too.
        (Kind::Body, DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_)) => quoted("***"),
        (_, DeValue::String(text)) => quoted(text),
        (_, DeValue::Integer(number)) => integer(number),
        (_, DeValue::Float(number)) => number.as_str().to_owned(),
        (_, DeValue::Boolean(truth)) => truth.to_string(),
        (_, DeValue::Datetime(date)) => date.to_string(),
        (_, DeValue::Array(entries)) => {
            let entries: Vec<_> = entries.iter().map(|entry| shown(kind, entry.get_ref())).collect();
            format!("[{}]", entries.join(", "))
        }
        (_, DeValue::Table(table)) => inline(table, |value| shown(Kind::Text, value)),
    }
}

fn integer(number: &toml::de::DeInteger<'_>) -> String {
    let prefix = match number.radix() {
        16 => "0x",
        8 => "0o",
        2 => "0b",
        _ => "",
    };
    format!("{prefix}{}", number.as_str())
}

fn inline(table: &DeTable<'_>, show: impl Fn(&DeValue<'_>) -> String) -> String {
    let entry = |(name, value): (&Spanned<toml::de::DeString<'_>>, &Spanned<DeValue<'_>>)| {
        let name: &str = name.get_ref();
        let bare =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        let name = if bare { name.to_owned() } else { quoted(name) };
        format!("{name} = {}", show(value.get_ref()))
    };
    let entries: Vec<_> = table.iter().map(entry).collect();
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
