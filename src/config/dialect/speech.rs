//! What a dialect says, and what it compares with: JSON in which names in braces are filled in.
//!
//! ```text
//!   ["{item/0}", "p{id}", { access_token = "{token}" }]     a string that is one brace keeps the type of its value
//! ```
//!
//! | name | is |
//! |---|---|
//! | `{token}` | the current token |
//! | `{token.NAME}` | what the source of this name gives |
//! | `{key}` | the key of the remembered frame |
//! | `{item/POINTER}` | a part of it |
//! | `{var.NAME}` | what was captured |
//! | `{id}` | a number that no client uses: it counts up from 4000000000 |
//!
//! Filters: `base64`, `base64url` and the others of `filter`, and `next`, which adds one to a number.

use serde_json::Value as Json;
use toml::de::{DeTable, DeValue};

use super::pointer::Pointer;
use crate::config::{
    Filters,
    declare::{At, Kind, Value},
    error::nearest,
    json,
};

/// JSON with names in it.
#[derive(Debug, Clone, PartialEq)]
pub enum Speech {
    /// Without names: as it is written out.
    Constant(Box<str>),
    Text(Text),
    /// A value that is not known is null.
    Array(Vec<Self>),
    /// A value that is not known is left out. A name is written as JSON.
    Object(Vec<(Box<str>, Self)>),
}

/// A text with names in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Text(pub Vec<Piece>);

/// A part of a text.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    Literal(String),
    Put {
        subject: Subject,
        /// It is a number, and the one after it is meant.
        next: bool,
        filters: Filters,
    },
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    Token,
    /// Of a source of the dialect's.
    Value(String),
    Key,
    Id,
    Item(Pointer),
    Var(String),
}

const NAMES: [&str; 6] = ["token", "token.NAME", "key", "id", "item/POINTER", "var.NAME"];

impl Speech {
    /// What is named in it.
    pub(super) fn subjects(&self) -> Vec<&Subject> {
        match self {
            Self::Constant(_) => Vec::new(),
            Self::Text(text) => text.subjects().collect(),
            Self::Array(all) => all.iter().flat_map(Self::subjects).collect(),
            Self::Object(all) => all.iter().flat_map(|(_, value)| value.subjects()).collect(),
        }
    }

    /// Is the token in it?
    pub fn shows_the_token(&self) -> bool {
        self.subjects().contains(&&Subject::Token)
    }

    /// The sources whose values are in it.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.subjects()
            .into_iter()
            .filter_map(|subject| if let Subject::Value(source) = subject { Some(&**source) } else { None })
    }

    /// Is a token in it, or a value like one?
    pub fn is_secret(&self) -> bool {
        self.shows_the_token() || self.sources().next().is_some()
    }

    fn of(value: &DeValue<'_>) -> Result<Self, String> {
        match value {
            DeValue::String(text) => {
                let text = Text::parse(text)?;
                let constant = text.subjects().next().is_none();
                Ok(if constant { Self::Constant(text.literal().into()) } else { Self::Text(text) })
            }
            DeValue::Array(all) => {
                let all = all.iter().map(|one| Self::of(one.get_ref())).collect::<Result<Vec<_>, _>>()?;
                Ok(folded(Self::Array(all)))
            }
            DeValue::Table(table) => Ok(folded(Self::Object(members(table)?))),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
                Ok(Self::Constant(json::of(value)?.to_string().into()))
            }
        }
    }
}

fn members(table: &DeTable<'_>) -> Result<Vec<(Box<str>, Speech)>, String> {
    let member = |(name, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
        Ok((Json::from(name.get_ref().as_ref()).to_string().into(), Speech::of(value.get_ref())?))
    };
    table.iter().map(member).collect()
}

/// What names nothing is a constant.
fn folded(speech: Speech) -> Speech {
    if !speech.subjects().is_empty() {
        return speech;
    }
    let constants = |all: Vec<(Box<str>, Speech)>, open: char, close: char| {
        let each: Vec<String> =
            all.into_iter().map(|(name, value)| format!("{name}{}", constant(&value))).collect();
        Speech::Constant(format!("{open}{}{close}", each.join(",")).into())
    };
    match speech {
        Speech::Array(all) => constants(all.into_iter().map(|value| ("".into(), value)).collect(), '[', ']'),
        Speech::Object(all) => {
            let named = |(name, value): (Box<str>, Speech)| (format!("{name}:").into(), value);
            constants(all.into_iter().map(named).collect(), '{', '}')
        }
        Speech::Constant(_) | Speech::Text(_) => speech,
    }
}

fn constant(speech: &Speech) -> &str {
    if let Speech::Constant(text) = speech { text } else { "null" }
}

impl Text {
    /// Reads a text; an error names the brace that was not understood.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            literal.push_str(before);
            let inner = after.split_once('}').filter(|(inner, _)| is_like_a_name(inner));
            let Some((inner, behind)) = inner else {
                literal.push('{');
                rest = after;
                continue;
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(put(inner)?);
            rest = behind;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }

    pub(super) fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Put { subject, .. } => Some(subject),
            Piece::Literal(_) => None,
        })
    }

    /// What stands beside the names, as JSON.
    fn literal(&self) -> String {
        let text: String = self
            .0
            .iter()
            .filter_map(|piece| if let Piece::Literal(text) = piece { Some(&**text) } else { None })
            .collect();
        Json::from(text).to_string()
    }
}

/// Was a name meant? A brace of JSON or of GraphQL is none.
fn is_like_a_name(inner: &str) -> bool {
    let word = inner.split(['/', '.', '|']).next().unwrap_or_default();
    let name = inner.split('|').next().unwrap_or_default();
    !word.is_empty()
        && word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
        && !name.contains([' ', '"', '{'])
}

fn put(inner: &str) -> Result<Piece, String> {
    let (name, words) = inner.split_once('|').map_or((inner, None), |(name, words)| (name, Some(words)));
    let (next, words) = match words {
        Some("next") => (true, None),
        Some(words) => words.strip_prefix("next|").map_or((false, Some(words)), |words| (true, Some(words))),
        None => (false, None),
    };
    let filters = words.map_or_else(|| Some(Filters::default()), Filters::parse);
    let filters = filters
        .ok_or_else(|| format!("{{{inner}}} has an unknown filter; known are base64, base64url and next"))?;
    let subject = match (name, name.split_once('/'), name.split_once('.')) {
        ("token", ..) => Subject::Token,
        (_, _, Some(("token", name))) if is_variable(name) => Subject::Value(name.to_owned()),
        ("key", ..) => Subject::Key,
        ("id", ..) => Subject::Id,
        ("item", ..) => Subject::Item(Pointer::default()),
        (_, Some(("item", _)), _) => Subject::Item(Pointer::single(&name["item".len()..])?),
        (_, _, Some(("var", name))) if is_variable(name) => Subject::Var(name.to_owned()),
        _ => {
            let word = name.split(['/', '.']).next().unwrap_or_default();
            let meant = NAMES
                .iter()
                .find(|known| nearest(word, [known.split(['/', '.']).next().unwrap_or_default()]).is_some());
            let meant = meant.map_or_else(
                || format!("known are {{{}}}", NAMES.join("}, {")),
                |meant| format!("did you mean {{{meant}}}?"),
            );
            return Err(format!("{{{inner}}} is no name; {meant}"));
        }
    };
    Ok(Piece::Put { subject, next, filters })
}

/// May what is captured be called so?
pub(super) fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl Value for Speech {
    type Is = Self;
    const KIND: Kind = Kind::Any;

    fn read(value: &DeValue<'_>, _: At) -> Result<Self, String> {
        Self::of(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Speech, String> {
        let text = format!("x = {text}");
        let document = DeTable::parse(&text).unwrap();
        Speech::of(document.get_ref()["x"].get_ref())
    }

    #[test]
    fn what_names_nothing_is_a_constant() {
        for (text, expected) in [
            ("\"a\\\"b\"", "\"a\\\"b\""),
            ("7", "7"),
            ("[1, true, { \"a/b\" = [] }]", "[1,true,{\"a/b\":[]}]"),
            ("{ }", "{}"),
            ("\"subscription { tick }\"", "\"subscription { tick }\""),
            ("\"{\\\"a\\\":1}\"", "\"{\\\"a\\\":1}\""),
        ] {
            assert_eq!(read(text), Ok(Speech::Constant(expected.into())), "{text}");
        }
    }

    #[test]
    fn names_are_found_wherever_they_stand() {
        let speech =
            read("[\"p{id}\", { a = \"{item/0/x}\", b = \"Bearer {token|base64url}\" }, \"{var.seq|next}\"]")
                .unwrap();
        let pointer = Pointer::parse("/0/x").unwrap();
        let expected = [Subject::Id, Subject::Item(pointer), Subject::Token, Subject::Var("seq".to_owned())];
        assert_eq!(speech.subjects(), expected.iter().collect::<Vec<_>>());
        assert!(speech.shows_the_token());
    }

    #[test]
    fn a_slip_is_named_with_what_was_meant() {
        for (text, expected) in [
            ("\"{tokn}\"", "{tokn} is no name; did you mean {token}?"),
            ("\"{itm/0}\"", "{itm/0} is no name; did you mean {item/POINTER}?"),
            (
                "\"{session}\"",
                "{session} is no name; known are {token}, {token.NAME}, {key}, {id}, {item/POINTER}, {var.NAME}",
            ),
            (
                "\"{token|base46}\"",
                "{token|base46} has an unknown filter; known are base64, base64url and next",
            ),
        ] {
            assert_eq!(read(text), Err(expected.to_owned()), "{text}");
        }
    }
}
