//! `[[route.close]]`: what a Close of the service's means, before the built-in rules are asked.

use regex_lite::Regex;

use super::{
    declare::{Kind, Value, table, value, words},
    section::kind,
    value::{Several, string},
};

table! {
    /// What a Close of the service's means. The rules are asked in their order, before the built-in
    /// ones.
    pub struct CloseRule {
        /// The codes. 1005: a Close without a code; 1006: no Close at all.
        code: required Several<Code> = "code = [4001, 4403]";
        /// A regular expression that the reason must match.
        reason: maybe Pattern;
        /// `expired`: it goes on with a new token. `lost`: with the same one. `final`: it goes to the client.
        means: required CloseMeans = "means = \"expired\", \"lost\" or \"final\"";
        /// The code that the client gets if the Close goes to it.
        r#as: maybe Sendable;
    }
}

words! {
    /// What a Close means.
    pub enum CloseMeans {
        /// The token has ended: a new connection needs a new one.
        Expired = "expired",
        /// The connection was lost: a new one goes on with the same token.
        Lost = "lost",
        /// It is the service's last word, and goes to the client.
        Final = "final",
    }
}

impl CloseRule {
    /// Is it about this Close?
    pub fn matches(&self, code: u16, reason: &str) -> bool {
        self.code.contains(&code) && self.reason.as_ref().is_none_or(|pattern| pattern.finds(reason))
    }
}

/// A regular expression; equal are two that are written alike.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Does it find something in the text?
    pub fn finds(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Value for Pattern {
    type Is = Self;
    const KIND: Kind = Kind::Text;

    fn read(value: &toml::de::DeValue<'_>, _: super::declare::At) -> Result<Self, String> {
        // The error speaks of the syntax, and quotes nothing.
        let pattern = Regex::new(&string(value)?);
        pattern.map(Self).map_err(|error| format!("expected a regular expression: {error}"))
    }
}

value! {
    pub(super) Code: u16, Kind::Code, |value, _| {
        let Some(integer) = value.as_integer() else {
            return Err(format!("expected a Close code or an array of them, found {}", kind(value)));
        };
        let code = u16::from_str_radix(integer.as_str(), integer.radix()).unwrap_or_default();
        if (1000..=4999).contains(&code) {
            return Ok(code);
        }
        let what = "a Close code is 1000 to 4999; 1005 stands for a Close without a code, 1006 for no Close";
        Err(what.to_owned())
    }
}

value! {
    /// A code that a server may send (RFC 6455 §7.4).
    pub(super) Sendable: u16, Kind::Code, |value, at| {
        let code = Code::read(value, at)?;
        if matches!(code, 1000..=1003 | 1007..=1009 | 1011..=1014 | 3000..=4999) {
            return Ok(code);
        }
        Err("this code cannot be sent; take one of 1000 to 1003, 1007 to 1009, 1011 to 1014, 3000 to 4999"
            .to_owned())
    }
}
