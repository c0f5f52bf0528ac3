//! Which messages a rule is about: tests of values, each with where the value stands. All of them have to hold.
//!
//! ```toml
//! match = { "/3" = "phx_reply", "/4/status" = ["ok", "done"], "/4/n" = { min = 1, max = 9 }, "/id" = "{key}" }
//! ```

use toml::de::{DeTable, DeValue};

use super::{
    pointer::Pointer,
    speech::{Speech, Subject},
};
use crate::config::{
    close::Pattern,
    declare::{At, Kind, Value, words},
    section::kind,
    value::one_of,
};

words! {
    /// Who says a message.
    pub enum Side {
        /// The client.
        Client = "client",
        /// The service.
        Server = "server",
    }
}

/// Which messages are meant. Without a test it is every message of that side.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    pub from: Side,
    pub tests: Vec<(Pointer, Test)>,
}

/// What has to hold for a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// It is one of these; the type counts.
    Is(Vec<Speech>),
    /// There is one, or there is none.
    Exists(bool),
    /// It is a text that the expression finds something in.
    Finds(Pattern),
    /// It is a number, and at least this.
    Min(f64),
    /// It is a number, and at most this.
    Max(f64),
}

impl Match {
    pub(super) fn subjects(&self) -> Vec<&Subject> {
        let texts =
            self.tests.iter().filter_map(|(_, test)| if let Test::Is(all) = test { Some(all) } else { None });
        texts.flatten().flat_map(Speech::subjects).collect()
    }

    fn of(table: &DeTable<'_>, at: At, sided: bool) -> Result<Self, String> {
        let (mut from, mut tests) = (Side::Client, Vec::new());
        for (name, value) in table {
            let (name, value) = (name.get_ref().as_ref(), value.get_ref());
            if name == "from" && sided {
                from = one_of(value, &[("client", Side::Client), ("server", Side::Server)])?;
                continue;
            }
            let pointer = Pointer::parse(name).map_err(|wrong| format!("{wrong}, found \"{name}\""))?;
            match value {
                DeValue::Table(table) => {
                    for test in conditions(table, at)? {
                        tests.push((pointer.clone(), test));
                    }
                }
                DeValue::Array(all) => {
                    let all = all.iter().map(|one| Speech::read(one.get_ref(), at));
                    tests.push((pointer, Test::Is(all.collect::<Result<_, _>>()?)));
                }
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_) => tests.push((pointer, Test::Is(vec![Speech::read(value, at)?]))),
            }
        }
        Ok(Self { from, tests })
    }
}

fn conditions(table: &DeTable<'_>, at: At) -> Result<Vec<Test>, String> {
    let condition = |(name, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
        let value = value.get_ref();
        match name.get_ref().as_ref() {
            "exists" => value.as_bool().map(Test::Exists).ok_or_else(|| "exists is true or false".to_owned()),
            "re" => Pattern::read(value, at).map(Test::Finds),
            "min" => number(value).map(Test::Min),
            "max" => number(value).map(Test::Max),
            "eq" => Ok(Test::Is(vec![Speech::read(value, at)?])),
            other => Err(format!("\"{other}\" is no condition; known are exists, re, min, max and eq")),
        }
    };
    if table.is_empty() {
        return Err("an empty condition; write { exists = true }".to_owned());
    }
    table.iter().map(condition).collect()
}

fn number(value: &DeValue<'_>) -> Result<f64, String> {
    let number = value
        .as_integer()
        .map(|number| number.as_str())
        .or_else(|| value.as_float().map(|number| number.as_str()));
    number.and_then(|text| text.parse().ok()).ok_or_else(|| "min and max are numbers".to_owned())
}

const EXAMPLE: &str = "a table of JSON Pointers and values, such as { \"/type\" = \"subscribe\" }";

fn table<'v, 't>(value: &'v DeValue<'t>) -> Result<&'v DeTable<'t>, String> {
    value.as_table().ok_or_else(|| format!("expected {EXAMPLE}, found {}", kind(value)))
}

impl Value for Match {
    type Is = Self;
    const KIND: Kind = Kind::Json;

    fn read(value: &DeValue<'_>, at: At) -> Result<Self, String> {
        Self::of(table(value)?, at, false)
    }
}

/// A match that says who speaks, with `from`; without it: the client.
pub(super) enum Sided {}

impl Value for Sided {
    type Is = Match;
    const KIND: Kind = Kind::Json;

    fn read(value: &DeValue<'_>, at: At) -> Result<Match, String> {
        Match::of(table(value)?, at, true)
    }
}

/// Values by where they are to stand.
pub(super) enum Edits {}

impl Value for Edits {
    type Is = Vec<(Pointer, Speech)>;
    const KIND: Kind = Kind::Json;

    fn read(value: &DeValue<'_>, at: At) -> Result<Self::Is, String> {
        let edit = |(name, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
            Ok((Pointer::single(name.get_ref())?, Speech::read(value.get_ref(), at)?))
        };
        let edits: Vec<_> = table(value)?.iter().map(edit).collect::<Result<_, String>>()?;
        if edits.is_empty() { Err(format!("expected {EXAMPLE}")) } else { Ok(edits) }
    }
}

/// Values by the names of a query's parameters.
pub(super) enum Parameters {}

impl Value for Parameters {
    type Is = Vec<(String, Speech)>;
    const KIND: Kind = Kind::Json;

    fn read(value: &DeValue<'_>, at: At) -> Result<Self::Is, String> {
        let parameter =
            |(name, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
                Ok((name.get_ref().to_string(), Speech::read(value.get_ref(), at)?))
            };
        table(value)?.iter().map(parameter).collect()
    }
}

/// Where values are found, by the names that they get.
pub(super) enum Captures {}

impl Value for Captures {
    type Is = Vec<(String, Pointer)>;
    const KIND: Kind = Kind::Json;

    fn read(value: &DeValue<'_>, at: At) -> Result<Self::Is, String> {
        let capture =
            |(name, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
                let name = name.get_ref().as_ref();
                if !super::speech::is_variable(name) {
                    return Err("a name is made of A-Z, a-z, 0-9 and _".to_owned());
                }
                let pointer = Pointer::read(value.get_ref(), at)?;
                Ok((name.to_owned(), Pointer::single(&pointer.to_string())?))
            };
        table(value)?.iter().map(capture).collect()
    }
}
