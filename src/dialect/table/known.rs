//! What the names in a dialect's rules stand for at this moment, and what is said and compared with them.

use std::borrow::Cow;

use super::{
    super::json::{self, place},
    values::Values,
};
use crate::{
    config::dialect::{Match, Piece, Speech, Step, Subject, Test, Text},
    credential::Token,
    dialect::json::place::Doubt,
};

/// What was captured: JSON, by name and by the key of the message it stood in.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Captured(Vec<Var>);

#[derive(Debug, Clone, PartialEq)]
struct Var {
    name: Box<str>,
    key: Box<[u8]>,
    value: Box<[u8]>,
}

impl Captured {
    pub(super) fn keep(&mut self, name: &str, key: &[u8], value: &[u8]) {
        match self.0.iter_mut().find(|var| *var.name == *name && *var.key == *key) {
            Some(var) => var.value = value.into(),
            None => self.0.push(Var { name: name.into(), key: key.into(), value: value.into() }),
        }
    }

    /// Of this key, or else of none.
    pub(super) fn find(&self, name: &str, key: &[u8]) -> Option<&[u8]> {
        let of = |key: &[u8]| self.0.iter().find(|var| *var.name == *name && *var.key == *key);
        of(key).or_else(|| of(b"")).map(|var| &*var.value)
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|var| size_of::<Var>() + var.name.len() + var.key.len() + var.value.len()).sum()
    }
}

/// What the names stand for.
#[derive(Clone, Copy)]
pub(super) struct Known<'k> {
    pub token: Option<&'k Token>,
    /// JSON; empty: there is none.
    pub key: &'k [u8],
    /// The remembered message, or the one that the rule is about.
    pub item: Option<&'k [u8]>,
    pub id: Option<u64>,
    pub captured: &'k Captured,
    pub values: &'k Values,
    /// What they were asked for.
    pub arg: Option<&'k str>,
}

impl Known<'_> {
    /// As JSON; `None`: something in it is not known.
    pub(super) fn say<'s>(&self, speech: &'s Speech) -> Option<Cow<'s, [u8]>> {
        match speech {
            Speech::Constant(text) => Some(Cow::Borrowed(text.as_bytes())),
            Speech::Text(text) => self.text(text).map(Cow::Owned),
            Speech::Array(all) => {
                let all: Vec<Cow<'_, [u8]>> =
                    all.iter().map(|one| self.say(one).unwrap_or(Cow::Borrowed(b"null"))).collect();
                Some(Cow::Owned([b"[", &all.join(&b","[..])[..], b"]"].concat()))
            }
            Speech::Object(all) => {
                let member = |(name, value): &(Box<str>, Speech)| {
                    Some([name.as_bytes(), b":", &*self.say(value)?].concat())
                };
                let all: Vec<Vec<u8>> = all.iter().filter_map(member).collect();
                Some(Cow::Owned([b"{", &all.join(&b","[..])[..], b"}"].concat()))
            }
        }
    }

    fn text(&self, text: &Text) -> Option<Vec<u8>> {
        // One brace alone keeps its type.
        if let [Piece::Put { subject, next: false, filters }] = &text.0[..]
            && filters.is_empty()
        {
            return self.subject(subject).map(Cow::into_owned);
        }
        if let [Piece::Put { subject, next: true, .. }] = &text.0[..] {
            let number: i64 = serde_json::from_slice(&self.subject(subject)?).ok()?;
            return Some(number.checked_add(1)?.to_string().into_bytes());
        }
        let mut out = String::new();
        for piece in &text.0 {
            match piece {
                Piece::Literal(literal) => out.push_str(literal),
                Piece::Put { subject, next, filters } => {
                    let value = self.subject(subject)?;
                    let mut value = as_text(&value)?.into_owned();
                    if *next {
                        value = value.parse::<i64>().ok()?.checked_add(1)?.to_string();
                    }
                    out.push_str(&filters.apply(&value));
                }
            }
        }
        serde_json::to_vec(&out).ok()
    }

    fn subject(&self, subject: &Subject) -> Option<Cow<'_, [u8]>> {
        match subject {
            Subject::Token => serde_json::to_vec(self.token?.expose()).ok().map(Cow::Owned),
            Subject::Value(source) => {
                let value = self.values.get(source, self.arg?)?;
                serde_json::to_vec(value.expose()).ok().map(Cow::Owned)
            }
            Subject::Key if self.key.is_empty() => None,
            Subject::Key => Some(Cow::Borrowed(self.key)),
            Subject::Id => Some(Cow::Owned(self.id?.to_string().into_bytes())),
            Subject::Item(pointer) => place::at(self.item?, &pointer.0).ok()?.map(Cow::Borrowed),
            Subject::Var(name) => self.captured.find(name, self.key).map(Cow::Borrowed),
        }
    }

    /// Is it a message that is meant? Which side says it has been looked at.
    pub(super) fn holds(&self, meant: &Match, message: &[u8]) -> Result<bool, Doubt> {
        for (pointer, test) in &meant.tests {
            let passes = match pointer.each() {
                None => self.passes(test, place::at(message, &pointer.0)?),
                Some((array, rest)) => self.passes_for_any(test, place::at(message, array)?, rest)?,
            };
            if !passes {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Is it one of these? What cannot be read is none.
    pub(super) fn any(&self, meant: &[Match], message: &[u8]) -> bool {
        meant.iter().any(|meant| self.holds(meant, message) == Ok(true))
    }

    /// Does it hold for an element?
    fn passes_for_any(&self, test: &Test, array: Option<&[u8]>, rest: &[Step]) -> Result<bool, Doubt> {
        for element in array.and_then(json::elements).unwrap_or_default() {
            if self.passes(test, place::at(element, rest)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn passes(&self, test: &Test, value: Option<&[u8]>) -> bool {
        let Some(value) = value else { return *test == Test::Exists(false) };
        let number = || serde_json::from_slice::<f64>(value).ok();
        match test {
            Test::Exists(there) => *there,
            Test::Is(all) => all.iter().any(|one| self.say(one).is_some_and(|one| place::same(&one, value))),
            Test::Finds(pattern) => json::text(value).is_some_and(|text| pattern.finds(&text)),
            Test::Min(least) => number().is_some_and(|number| number >= *least),
            Test::Max(most) => number().is_some_and(|number| number <= *most),
        }
    }
}

/// A value as it stands in a text: a string without its quotes.
pub(super) fn as_text(value: &[u8]) -> Option<Cow<'_, str>> {
    json::text(value).or_else(|| std::str::from_utf8(value).ok().map(Cow::Borrowed))
}
