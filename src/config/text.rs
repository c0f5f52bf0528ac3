//! Values in which names in braces are filled in, and what is put beside them: templates, headers, tables of both.

use http::HeaderName;
use toml::de::DeValue;

use super::{
    Template,
    declare::{At, Kind, value},
    path,
    section::kind,
    template::{Name, Names, Place, is_token_byte},
    value::{Kept, string},
};

value! {
    /// A text with names in it.
    pub(super) Named: Template, Kind::Named, |value, at| {
        let template = Template::parse(&string(value)?);
        at.names.allow_in_source(&template)?;
        Ok(template)
    }
}

value! {
    /// The same, or a secret in its place.
    pub(super) Filled: Template, Kind::Template, |value, at| {
        let template = match value.as_str() {
            Some(text) => Template::parse(text),
            None => Template::secret(Kept::read(value, at)?),
        };
        at.names.allow_in_source(&template)?;
        Ok(template)
    }
}

value! {
    /// A text that is sent as it is written.
    pub(super) Plain: String, Kind::Text, |value, _| {
        let text = string(value)?;
        if Template::parse(&text).names().next().is_some() {
            return Err("a name in braces is not filled in here; write it out".to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err("must have no line breaks or control characters".to_owned());
        }
        Ok(text)
    }
}

value! {
    /// `"Name: value with {token}"`.
    pub(super) HeaderLine: (HeaderName, Template), Kind::Header, |value, at| {
        let text = string(value)?;
        let (name, value) =
            text.split_once(':').ok_or("expected a header such as \"Authorization: Bearer {token}\"")?;
        let template = Template::parse(value.trim());
        names_the_token(&template, at.names)?;
        fits_a_header(&template)?;
        Ok((header_name(name.trim_end())?, template))
    }
}

value! {
    /// An offer of a subprotocol.
    pub(super) Offer: Template, Kind::Named, |value, at| {
        let template = Template::parse(&string(value)?);
        names_the_token(&template, at.names)?;
        let plain = template.expand(Place::Text, &|_| Some(""));
        if plain.is_ok_and(|text| text.bytes().all(is_token_byte)) {
            return Ok(template);
        }
        Err("a subprotocol has no spaces or separators".to_owned())
    }
}

value! {
    /// A path with the token in it.
    pub(super) PathTemplate: Template, Kind::Named, |value, at| {
        let text = string(value)?;
        let template = Template::parse(&text);
        names_the_token(&template, at.names)?;
        let plain = template.expand(Place::Text, &|_| Some("x")).map_err(|error| error.to_string())?;
        let fits = plain.bytes().all(|b| b.is_ascii_graphic() && !b"?#{}\"<>\\^`|".contains(&b));
        if text.starts_with('/') && fits && path::meant(&plain).is_some() {
            return Ok(template);
        }
        Err("expected a path such as \"/v1/{token}/stream\", without query, fragment or spaces".to_owned())
    }
}

value! {
    /// The token as the whole of a URL.
    pub(super) UrlPlace: Template, Kind::Named, |value, at| {
        let text = string(value)?;
        let template = Template::parse(&text);
        names_the_token(&template, at.names)?;
        if text.starts_with("{token") && text.ends_with('}') && template.names().count() == 1 {
            return Ok(template);
        }
        Err("expected \"{token}\": the source says all of the URL; put it together in answer of [route.token]".to_owned())
    }
}

value! {
    /// Headers of a request, by name.
    pub(super) Headers: Vec<(HeaderName, Template)>, Kind::Pairs, |value, at| {
        pairs(value, at, |name, value| {
            let template = Filled::read(value, at)?;
            fits_a_header(&template)?;
            Ok((header_name(name)?, template))
        })
    }
}

value! {
    /// Headers that tell a service of its client, by name.
    pub(super) ClientHeaders: Vec<(HeaderName, Template)>, Kind::Pairs, |value, at| {
        pairs(value, at, |name, value| {
            let template = Template::parse(&string(value)?);
            at.names.allow_in_client_header(&template)?;
            fits_a_header(&template)?;
            Ok((header_name(name)?, template))
        })
    }
}

value! {
    /// Fields of a form, by name.
    pub(super) Fields: Vec<(String, Template)>, Kind::Pairs, |value, at| {
        pairs(value, at, |name, value| Ok((name.to_owned(), Filled::read(value, at)?)))
    }
}

/// The entries of a table.
pub(super) fn pairs<T>(
    value: &DeValue<'_>,
    at: At,
    read: impl Fn(&str, &DeValue<'_>) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let Some(table) = value.as_table() else {
        let (key, found) = (at.key, kind(value));
        return Err(format!("expected a table, such as {key} = {{ name = \"value\" }}, found {found}"));
    };
    let entry = |(name, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
        let name: &str = name.get_ref();
        read(name, value.get_ref()).map_err(|message| {
            // What is no name may be a whole header, secret included.
            if name.bytes().all(is_token_byte) { format!("\"{name}\": {message}") } else { message }
        })
    };
    table.iter().map(entry).collect()
}

fn names_the_token(template: &Template, names: Names) -> Result<(), String> {
    names.allow_in_request(template)?;
    // Whether the JSON has it is seen where that is known.
    if template.names().any(|name| matches!(name, Name::Token | Name::Json)) {
        return Ok(());
    }
    Err("must say where the token goes: write {token}".to_owned())
}

/// The name of a header that is not of the connection itself.
pub(super) fn header_name(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| "expected the name of a header")?;
    let own = ["host", "connection", "upgrade", "content-length", "transfer-encoding", "te", "trailer"];
    if own.contains(&name.as_str()) || name.as_str().starts_with("sec-websocket-") {
        return Err(format!("the header {name} belongs to the connection and is set by Perennial"));
    }
    Ok(name)
}

/// What stands in a header beside its names must be fit for one.
fn fits_a_header(template: &Template) -> Result<(), String> {
    let text = template.expand(Place::Text, &|_| Some("")).map_err(|error| error.to_string())?;
    if http::HeaderValue::from_str(&text).is_ok() {
        return Ok(());
    }
    Err("a header cannot hold line breaks or control characters".to_owned())
}
