//! Every key of the configuration, declared once: its table, its kind, its default, what it is for.
//!
//! ```text
//!   declaration ─┬─► raw        which keys a table has, and the nearest to an unknown one
//!                └─► reference  `perennial schema`, docs/configuration.md
//! ```
//!
//! Rules:
//! 1. A key that is not here cannot be read, and one that is here is in the schema and in the reference.
//! 2. A default is written as in the file. A test holds it against what the reader does without the key.
//! 3. What a key is for is said in one or two sentences; whose it is, by [`Key::of`].

mod declared;

pub(super) use declared::*;

use super::error::nearest;

/// What a value is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Flag,
    /// A whole number, 1 or more.
    Count,
    /// `"30s"`, zero included.
    Duration,
    /// A duration longer than zero.
    Time,
    /// `"64KiB"`.
    Size,
    /// `"127.0.0.1:7370"`.
    Address,
    /// A URL that begins with one of these.
    Url(&'static [&'static str]),
    /// The path of a file that can be read when the configuration is.
    File,
    /// The path of a file or a directory that may come later.
    Path,
    /// A text, `{ env = "NAME" }` or `{ file = "PATH" }`.
    Secret,
    /// A text in which names in braces are filled in.
    Template,
    /// One text with names, or an array of them.
    Templates,
    /// An array of texts.
    Texts,
    /// A table of texts with names, or of secrets.
    Pairs,
    /// A table of secrets.
    Secrets,
    /// A table that becomes a JSON object.
    Json,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A Close code.
    Code,
    /// One Close code, or an array of them.
    Codes,
    /// A table of its own.
    Table(&'static Table),
    /// Several tables, `[[…]]`.
    Tables(&'static Table),
}

/// One key.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// As it is written in the file; `None`: without it there is none, or it depends on others.
    pub(super) default: Option<&'static str>,
    /// What stands in the place of the default, if that depends on others.
    pub(super) otherwise: Option<&'static str>,
    /// Without it the table is refused.
    pub(super) required: bool,
    /// A reload does not change it.
    pub(super) restart: bool,
    /// The values of the table's first key that it belongs to; none: to all.
    pub(super) of: &'static [&'static str],
    /// What it is for.
    pub(super) says: &'static str,
}

const fn key(name: &'static str, kind: Kind, says: &'static str) -> Key {
    Key { name, kind, default: None, otherwise: None, required: false, restart: false, of: &[], says }
}

impl Key {
    /// Its default, as it is written in the file.
    const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// What holds without it.
    const fn otherwise(self, what: &'static str) -> Self {
        Self { otherwise: Some(what), ..self }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn restart(self) -> Self {
        Self { restart: true, ..self }
    }

    /// It belongs to these alone.
    const fn of(self, owners: &'static [&'static str]) -> Self {
        Self { of: owners, ..self }
    }
}

/// One table of the file.
pub(super) struct Table {
    /// As its header names it; empty at the root.
    pub(super) name: &'static str,
    /// What it is about.
    pub(super) says: &'static str,
    pub(super) keys: &'static [Key],
    /// Keys of the design that this version does not have.
    pub(super) later: &'static [&'static str],
}

impl Table {
    const fn new(name: &'static str, says: &'static str, keys: &'static [Key]) -> Self {
        Self { name, says, keys, later: &[] }
    }

    /// The same under another header.
    const fn under(&self, name: &'static str) -> Self {
        Self { name, says: self.says, keys: self.keys, later: self.later }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }

    /// To whom a key belongs alone; none: to all.
    pub(super) fn owners(&self, name: &str) -> &'static [&'static str] {
        self.keys.iter().find(|key| key.name == name).map_or(&[], |key| key.of)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names().any(|key| key == name)
    }

    /// As it is written above its keys: `[limits]`, `[[route]]`.
    pub(super) fn header(&self) -> String {
        if matches!(self.name, "route" | "route.close") {
            format!("[[{}]]", self.name)
        } else {
            format!("[{}]", self.name)
        }
    }

    /// The tables in it, those that come first in the file first.
    pub(super) fn tables(&self) -> impl Iterator<Item = &'static Self> {
        self.keys.iter().filter_map(|key| {
            if let Kind::Table(table) | Kind::Tables(table) = key.kind { Some(table) } else { None }
        })
    }
}

/// If several have a key, the first is the likeliest home of one that went astray.
const HOMES: &[&Table] = &[
    &LISTEN,
    &ADMIN,
    &LIMITS,
    &ROUTE,
    &ROUTE_TLS,
    &TOKEN,
    &CLIENT,
    &CLIENT_TOKEN,
    &HANDSHAKE,
    &SESSION,
    &CLOSE,
    &HTTP,
    &STATE,
];

/// What to say of a key that a table does not have: the nearest that it has, else where it belongs, else all that
/// it has.
pub(super) fn unknown(table: &Table, name: &str) -> String {
    if let Some(near) = nearest(name, table.names().chain(table.later.iter().copied())) {
        return format!("unknown key; did you mean \"{near}\"?");
    }
    // A key after the header of a subtable lands in that subtable: TOML's commonest trap.
    if let Some(home) = HOMES.iter().find(|home| home.has(name)) {
        return format!("unknown key here; it belongs to {}", home.header());
    }
    format!("unknown key; known here are: {}", table.names().collect::<Vec<_>>().join(", "))
}
