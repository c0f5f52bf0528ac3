//! `answer`: where in an answer the token is.
//!
//! ```text
//!   "auto"                                    every common shape: see credential::source::answer
//!   "text"                                    all of it is the token
//!   { token = "/auth/client_token" }          a JSON Pointer (RFC 6901) into it
//!   { token = "header:X-Token", expires_in = "/ttl", refresh_token = "/next" }
//!   { token = "{/endpoint}?token={/token}" }  a text with several of them in it
//! ```
//!
//! What is not named is looked for by its usual names, beside the token.

use http::HeaderName;
use toml::de::DeValue;

use crate::config::{
    declare::{Kind, value},
    error::nearest,
    section::kind,
    text::header_name,
    value::string,
};

/// How the answer of a source is read.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum AnswerForm {
    /// As one of the common shapes.
    #[default]
    Auto,
    /// All of it is the token.
    Text,
    /// Field by field.
    Fields(AnswerFields),
}

/// Where the parts of an answer are.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerFields {
    /// The token.
    pub token: Part,
    /// How long it lives, in seconds.
    pub expires_in: Option<Part>,
    /// When it ends: seconds or milliseconds since the Unix epoch, or RFC 3339.
    pub expires_at: Option<Part>,
    /// The next refresh token.
    pub refresh_token: Option<Part>,
}

/// A place in an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// In its JSON (RFC 6901).
    Pointer(String),
    /// In a header of its.
    Header(HeaderName),
    /// Put together: texts, and JSON Pointers.
    Composed(Vec<Composed>),
}

/// A piece of what is put together.
#[derive(Debug, Clone, PartialEq)]
pub enum Composed {
    /// As it is written.
    Text(String),
    /// What stands there in the JSON. It is percent-encoded, but at the beginning, where a URL may stand.
    Pointer(String),
}

impl AnswerForm {
    /// Does it look at headers?
    pub(super) fn has_headers(&self) -> bool {
        let Self::Fields(AnswerFields { token, expires_in, expires_at, refresh_token }) = self else {
            return false;
        };
        let others = [expires_in, expires_at, refresh_token].into_iter().flatten();
        others.chain([token]).any(|part| matches!(part, Part::Header(_)))
    }

    /// Does it look for a refresh token?
    pub(in crate::config) fn has_refresh_token(&self) -> bool {
        matches!(self, Self::Fields(AnswerFields { refresh_token: Some(_), .. }))
    }
}

const EXPECTED: &str =
    "expected \"auto\", \"text\" or { token = \"/path/to/it\", expires_in = \"/path/to/it\" }";

value! {
    pub(in crate::config) Answer: AnswerForm, Kind::Answer, |value, _| match (value.as_str(), value.as_table()) {
        (Some("auto"), _) => Ok(AnswerForm::Auto),
        (Some("text"), _) => Ok(AnswerForm::Text),
        (None, Some(table)) => {
            for key in table.keys().map(|key| key.get_ref().as_ref()) {
                if !PARTS.contains(&key) {
                    let near = nearest(key, PARTS);
                    let hint = near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
                    return Err(format!("{EXPECTED}{hint}"));
                }
            }
            let part = |key| table.get(key).map(|value| part(value.get_ref())).transpose();
            let token = part("token")?.ok_or("must say where the token is: add token = \"/path/to/it\"")?;
            let (expires_in, expires_at) = (part("expires_in")?, part("expires_at")?);
            if expires_in.is_some() && expires_at.is_some() {
                return Err("a token has one end: keep one of expires_in and expires_at".to_owned());
            }
            let refresh_token = part("refresh_token")?;
            let others = [&expires_in, &expires_at, &refresh_token];
            if others.into_iter().flatten().any(|part| matches!(part, Part::Composed(_))) {
                return Err("only token can be put together of several places".to_owned());
            }
            Ok(AnswerForm::Fields(AnswerFields { token, expires_in, expires_at, refresh_token }))
        }
        (Some(_), _) => Err(EXPECTED.to_owned()),
        (None, None) => Err(format!("{EXPECTED}, found {}", kind(value))),
    }
}

/// What can be named.
pub(in crate::config) const PARTS: [&str; 4] = ["token", "expires_in", "expires_at", "refresh_token"];

fn part(value: &DeValue<'_>) -> Result<Part, String> {
    let text = string(value)?;
    if let Some(name) = text.strip_prefix("header:") {
        return header_name(name).map(Part::Header);
    }
    if text.contains("{/") {
        return composed(&text).map(Part::Composed).ok_or_else(|| {
            "expected a text with JSON Pointers in braces, such as \"{/endpoint}?token={/token}\"".to_owned()
        });
    }
    if is_pointer(&text) {
        return Ok(Part::Pointer(text));
    }
    Err("expected a JSON Pointer such as \"/auth/token\", or a header such as \"header:X-Token\"".to_owned())
}

/// RFC 6901 §3.
fn is_pointer(text: &str) -> bool {
    text.starts_with('/') && text.split('~').skip(1).all(|after| after.starts_with(['0', '1']))
}

/// `None`: a brace is not closed, or has no pointer in it.
fn composed(text: &str) -> Option<Vec<Composed>> {
    let mut pieces = Vec::new();
    let (first, rest) = text.split_once('{').unwrap_or((text, ""));
    if !first.is_empty() {
        pieces.push(Composed::Text(first.to_owned()));
    }
    for part in rest.split('{') {
        let (pointer, after) = part.split_once('}').filter(|(pointer, _)| is_pointer(pointer))?;
        pieces.push(Composed::Pointer(pointer.to_owned()));
        if !after.is_empty() {
            pieces.push(Composed::Text(after.to_owned()));
        }
    }
    Some(pieces)
}
