//! An answer as it came, taken apart as far as anybody needs it: JSON, a form, or plain text.

use http::HeaderMap;
use serde_json::{Map, Value};

use super::{super::jwt::claims, BadAnswer};
use crate::config::{Composed, Part, percent_encoded};

/// An answer. A value in a header can be had from one whose body is nonsense.
pub(in crate::credential::source) struct Opened<'a> {
    headers: &'a HeaderMap,
    text: Result<&'a str, BadAnswer>,
    json: Result<Option<Value>, BadAnswer>,
}

impl<'a> Opened<'a> {
    pub(in crate::credential::source) fn new(
        headers: &'a HeaderMap,
        content_type: Option<&str>,
        body: &'a [u8],
    ) -> Self {
        let text = text(content_type, body);
        let json = text.as_ref().map_err(Clone::clone).and_then(|text| json(content_type, text));
        Self { headers, text, json }
    }

    /// All of it.
    pub(in crate::credential::source) fn text(&self) -> Result<&'a str, BadAnswer> {
        self.text.clone()
    }

    /// Its JSON; `None`: it is plain text.
    pub(in crate::credential::source) fn json(&self) -> Result<Option<&Value>, BadAnswer> {
        self.json.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    /// Its members.
    pub(in crate::credential::source) fn object(&self) -> Option<&Map<String, Value>> {
        self.json.as_ref().ok()?.as_ref()?.as_object()
    }

    /// What stands at a place.
    pub(super) fn at(&self, place: &Part) -> Option<Value> {
        match place {
            Part::Pointer(pointer) => {
                let json = self.json.as_ref().ok()?.as_ref()?;
                json.pointer(pointer).filter(|value| !value.is_null()).cloned()
            }
            Part::Header(name) => Some(Value::from(self.headers.get(name)?.to_str().ok()?)),
            Part::Composed(pieces) => self.composed(pieces).map(Value::String),
        }
    }

    /// Texts and values in one. `None`: a value is missing, or is none that a text could have.
    fn composed(&self, pieces: &[Composed]) -> Option<String> {
        let json = self.json.as_ref().ok()?.as_ref()?;
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Composed::Text(own) => text.push_str(own),
                Composed::Pointer(pointer) => {
                    let value = match json.pointer(pointer)? {
                        Value::String(value) => value.clone(),
                        value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
                        Value::Null | Value::Array(_) | Value::Object(_) => return None,
                    };
                    // What begins the text may be the beginning of a URL.
                    let first = text.is_empty();
                    text.push_str(&if first { value } else { percent_encoded(&value) });
                }
            }
        }
        Some(text)
    }

    /// The object that this place is in.
    pub(super) fn beside(&self, place: &Part) -> Option<&Map<String, Value>> {
        let first = |pieces: &'_ [Composed]| {
            pieces
                .iter()
                .find_map(|piece| if let Composed::Pointer(at) = piece { Some(at.clone()) } else { None })
        };
        let pointer = match place {
            Part::Pointer(pointer) => pointer.clone(),
            Part::Composed(pieces) => first(pieces)?,
            Part::Header(_) => return self.object(),
        };
        let (parent, _) = pointer.rsplit_once('/')?;
        self.json.as_ref().ok()?.as_ref()?.pointer(parent)?.as_object()
    }

    /// Why there is nothing at the place that the configuration names.
    pub(super) fn without(&self, part: &'static str) -> BadAnswer {
        let code = self.object().and_then(|fields| fields.get("error")).and_then(super::code);
        code.map_or(BadAnswer::NotThere(part), BadAnswer::Error)
    }
}

/// The text of an answer that is not empty and no page for people.
pub(in crate::credential::source) fn text<'b>(
    content_type: Option<&str>,
    body: &'b [u8],
) -> Result<&'b str, BadAnswer> {
    let text = std::str::from_utf8(body).map_err(|_| BadAnswer::NotText)?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err(BadAnswer::Empty);
    }
    // A JWT is one whatever the server calls it: Google's metadata server says `text/html`.
    let page = essence(content_type).eq_ignore_ascii_case("text/html") && claims(text).is_none();
    if text.starts_with('<') || page { Err(BadAnswer::Html) } else { Ok(text) }
}

fn json(content_type: Option<&str>, text: &str) -> Result<Option<Value>, BadAnswer> {
    if text.starts_with(['{', '[', '"']) {
        return serde_json::from_str(text).map(Some).map_err(|_| BadAnswer::NotJson);
    }
    let kind = essence(content_type);
    let is_form = kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    if (is_form || text.contains("access_token=")) && claims(text).is_none() {
        return Ok(Some(Value::Object(form(text))));
    }
    // A JWT cannot be anything else.
    if kind.eq_ignore_ascii_case("application/json") && claims(text).is_none() {
        return Err(if text == "null" { BadAnswer::Empty } else { BadAnswer::NotJson });
    }
    Ok(None)
}

/// The fields of a form, as GitHub answers one that asks for nothing else.
fn form(text: &str) -> Map<String, Value> {
    let fields = url::form_urlencoded::parse(text.as_bytes());
    fields.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect()
}

fn essence(content_type: Option<&str>) -> &str {
    content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim()
}
