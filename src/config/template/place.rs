//! Where a template stands: how a value is escaped there, or which one is refused.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Where a template stands, which is what its values are escaped for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A path and a query: percent-encoded. In the path a client's value has to be one segment: what climbs out of it,
    /// also after it was decoded again, is refused.
    Url,
    /// A header's value: control characters are refused.
    Header,
    /// A value of a body in `application/x-www-form-urlencoded`: percent-encoded.
    Form,
    /// Inside a JSON string: escaped as JSON does.
    JsonString,
    /// One offer in `Sec-WebSocket-Protocol`: what a protocol's name cannot have is refused.
    Subprotocol,
    /// A cookie's value: what ends or splits a cookie is refused.
    Cookie,
    /// A scope of OAuth's: what would end it, and begin another, is refused (RFC 6749 §3.3).
    Scope,
    /// Plain text without structure: as it is.
    Text,
}

/// Everything but RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A value as a URL and a form have it.
pub fn percent_encoded(value: &str) -> String {
    utf8_percent_encode(value, ESCAPED).to_string()
}

pub(super) struct Refused;

impl Place {
    pub(super) fn put(self, value: &str, out: &mut String) -> Result<(), Refused> {
        match self {
            // A dot segment would climb out of its path, and stays one when it is percent-encoded.
            Self::Url if matches!(value, "." | "..") => return Err(Refused),
            Self::Url | Self::Form => out.extend(utf8_percent_encode(value, ESCAPED)),
            Self::Header => {
                if value.chars().any(|c| c.is_control() && c != '\t') {
                    return Err(Refused);
                }
                out.push_str(value);
            }
            Self::JsonString => {
                let quoted = serde_json::to_string(value).map_err(|_| Refused)?;
                out.push_str(&quoted[1..quoted.len() - 1]);
            }
            Self::Subprotocol => {
                if !value.bytes().all(is_token_byte) {
                    return Err(Refused);
                }
                out.push_str(value);
            }
            Self::Cookie => {
                if !value.bytes().all(|b| b.is_ascii_graphic() && !b"\",;\\".contains(&b)) {
                    return Err(Refused);
                }
                out.push_str(value);
            }
            Self::Scope => {
                if !value.bytes().all(is_scope_byte) {
                    return Err(Refused);
                }
                out.push_str(value);
            }
            Self::Text => out.push_str(value),
        }
        Ok(())
    }
}

/// Is it a `tchar` of RFC 9110: what a header's name, a cookie's name and a subprotocol are made of?
pub(in crate::config) fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Is it one that a scope is made of (`NQCHAR` of RFC 6749)?
pub(in crate::config) fn is_scope_byte(b: u8) -> bool {
    b.is_ascii_graphic() && b != b'"' && b != b'\\'
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url => "a URL",
            Self::Header => "a header",
            Self::Form => "a form",
            Self::JsonString => "a JSON string",
            Self::Subprotocol => "a subprotocol",
            Self::Cookie => "a cookie",
            Self::Scope => "a scope",
            Self::Text => "a text",
        })
    }
}
