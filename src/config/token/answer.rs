//! `answer`: where in an answer the token is.
//!
//! ```text
//!   "auto"                                    every common shape: see credential::source::answer
//!   "text"                                    all of it is the token
//!   { token = "/auth/client_token" }          a JSON Pointer (RFC 6901) into it
//!   { token = "header:X-Token", expires_in = "/ttl" }
//! ```

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
}

/// A place in an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// In its JSON (RFC 6901).
    Pointer(String),
    /// In a header of its.
    Header(HeaderName),
}

impl AnswerForm {
    /// Does it look at headers?
    pub(super) fn has_headers(&self) -> bool {
        let Self::Fields(AnswerFields { token, expires_in }) = self else { return false };
        [Some(token), expires_in.as_ref()].into_iter().flatten().any(|part| matches!(part, Part::Header(_)))
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
                if !FIELDS.contains(&key) {
                    let near = nearest(key, FIELDS);
                    let hint = near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
                    return Err(format!("{EXPECTED}{hint}"));
                }
            }
            let part = |key| table.get(key).map(|value| part(value.get_ref())).transpose();
            let token = part("token")?.ok_or("must say where the token is: add token = \"/path/to/it\"")?;
            Ok(AnswerForm::Fields(AnswerFields { token, expires_in: part("expires_in")? }))
        }
        (Some(_), _) => Err(EXPECTED.to_owned()),
        (None, None) => Err(format!("{EXPECTED}, found {}", kind(value))),
    }
}

const FIELDS: [&str; 2] = ["token", "expires_in"];

fn part(value: &DeValue<'_>) -> Result<Part, String> {
    let text = string(value)?;
    if let Some(name) = text.strip_prefix("header:") {
        return header_name(name).map(Part::Header);
    }
    let escaped = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    if text.starts_with('/') && escaped {
        return Ok(Part::Pointer(text));
    }
    Err("expected a JSON Pointer such as \"/auth/token\", or a header such as \"header:X-Token\"".to_owned())
}
