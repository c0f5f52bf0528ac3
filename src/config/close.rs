//! `[[route.close]]`: what a Close of the service's means, before the built-in rules are asked.

use regex_lite::Regex;
use toml::de::DeValue;

use super::{
    raw::{Found, Section, kind},
    value::{one_of, string},
};

/// One rule: which Closes it is about, and what they mean.
#[derive(Debug, Clone)]
pub struct CloseRule {
    /// 1005 stands for a Close without a code, 1006 for a connection that ended without a Close.
    pub codes: Vec<u16>,
    /// If it is there, the reason has to match it too.
    pub reason: Option<Regex>,
    pub means: CloseMeans,
    /// The code that the client gets if this Close is passed on.
    pub as_code: Option<u16>,
}

/// What a Close means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseMeans {
    /// The token has ended: a new connection needs a new one.
    Expired,
    /// The connection was lost: a new one goes on with the same token.
    Lost,
    /// It is the service's last word, and goes to the client.
    Final,
}

impl CloseMeans {
    /// The word of the configuration.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Lost => "lost",
            Self::Final => "final",
        }
    }
}

impl CloseRule {
    /// Is it about this Close?
    pub fn matches(&self, code: u16, reason: &str) -> bool {
        self.codes.contains(&code) && self.reason.as_ref().is_none_or(|pattern| pattern.is_match(reason))
    }
}

impl PartialEq for CloseRule {
    fn eq(&self, other: &Self) -> bool {
        let pattern = |rule: &Self| rule.reason.as_ref().map(|pattern| pattern.as_str().to_owned());
        (&self.codes, self.means, self.as_code) == (&other.codes, other.means, other.as_code)
            && pattern(self) == pattern(other)
    }
}

/// A rule; every key of it is read before it is given up, so that each has its problem named.
pub(super) fn rule(table: &Section<'_>) -> Option<CloseRule> {
    let codes = table.required("code", "code = [4001, 4403]", codes);
    let hint = "means = \"expired\", \"lost\" or \"final\"";
    let means = table.required("means", hint, means);
    let reason = table.value("reason", pattern);
    let as_code = table.value("as", sendable);
    let (Found { value: codes, .. }, Found { value: means, .. }) = (codes?, means?);
    Some(CloseRule { codes, reason, means, as_code })
}

fn means(value: &DeValue<'_>) -> Result<CloseMeans, String> {
    Ok(match one_of(value, &["expired", "lost", "final"], &[])? {
        "expired" => CloseMeans::Expired,
        "lost" => CloseMeans::Lost,
        _ => CloseMeans::Final,
    })
}

fn pattern(value: &DeValue<'_>) -> Result<Regex, String> {
    // The error speaks of the syntax, and quotes nothing.
    Regex::new(&string(value)?).map_err(|error| format!("expected a regular expression: {error}"))
}

/// One code, or several.
fn codes(value: &DeValue<'_>) -> Result<Vec<u16>, String> {
    match value.as_array() {
        Some(entries) if entries.is_empty() => Err("must name a code".to_owned()),
        Some(entries) => entries.iter().map(|entry| code(entry.get_ref())).collect(),
        None => Ok(vec![code(value)?]),
    }
}

fn code(value: &DeValue<'_>) -> Result<u16, String> {
    let Some(integer) = value.as_integer() else {
        return Err(format!("expected a Close code or an array of them, found {}", kind(value)));
    };
    let code = u16::from_str_radix(integer.as_str(), integer.radix()).unwrap_or_default();
    if (1000..=4999).contains(&code) {
        return Ok(code);
    }
    Err("a Close code is 1000 to 4999; 1005 stands for a Close without a code, 1006 for no Close".to_owned())
}

/// A code that a server may send (RFC 6455 §7.4).
fn sendable(value: &DeValue<'_>) -> Result<u16, String> {
    let code = code(value)?;
    if matches!(code, 1000..=1003 | 1007..=1009 | 1011..=1014 | 3000..=4999) {
        return Ok(code);
    }
    Err("this code cannot be sent; take one of 1000 to 1003, 1007 to 1009, 1011 to 1014, 3000 to 4999"
        .to_owned())
}
