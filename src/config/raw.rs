//! The file as written: tables whose keys are asked for one by one.
//!
//! The parsed tree carries the place of every key and value, so that each problem has its line, its
//! column and its key, and reading goes on after it: one run names them all. (serde would stop at the
//! first one, does not know the path, and quotes the value, which may be a secret.)

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{ConfigErrors, Problems},
    keys::{Table, unknown},
};

/// Bytes of the file.
pub(super) type Span = Range<usize>;

/// A value, and where it stands.
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// One table of the file. Its unknown keys are problems from the moment it is opened.
pub(super) struct Section<'t> {
    table: &'t DeTable<'t>,
    keys: &'static Table,
    /// Where its header stands.
    pub(super) span: Span,
    pub(super) problems: &'t Problems<'t>,
}

/// Parses the text; every breach of TOML's own syntax is a problem.
pub(super) fn document<'t>(text: &'t str, file: &str) -> Result<Spanned<DeTable<'t>>, ConfigErrors> {
    let (document, breaches) = DeTable::parse_recoverable(text);
    let problems = Problems::of(text);
    for breach in breaches {
        // toml's message speaks of what was expected; it quotes keys, but never a value.
        let message = breach.message().replace('\n', ", ");
        problems.add(&breach.span().unwrap_or(0..0), "", message);
    }
    problems.verdict(file).map(|()| document)
}

impl<'t> Section<'t> {
    /// Opens a table.
    pub(super) fn open(
        table: &'t DeTable<'t>,
        keys: &'static Table,
        span: Span,
        problems: &'t Problems<'t>,
    ) -> Self {
        let section = Self { table, keys, span, problems };
        for key in table.keys() {
            let name: &str = key.get_ref();
            if keys.later.contains(&name) {
                section.problem_at(&key.span(), name, "not available in this version; remove it");
            } else if !keys.has(name) {
                section.problem_at(&key.span(), name, unknown(keys, name));
            }
        }
        section
    }

    /// The path of one of its keys.
    pub(super) fn path(&self, key: &str) -> String {
        if self.keys.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.keys.name) }
    }

    /// Notes a problem with one of its keys.
    pub(super) fn problem_at(&self, span: &Span, key: &str, message: impl Into<String>) {
        self.problems.add(span, &self.path(key), message);
    }

    /// Notes a problem with the table as a whole.
    pub(super) fn problem(&self, message: impl Into<String>) {
        self.problems.add(&self.span, self.keys.name, message);
    }

    /// Is the key there, with whatever value?
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The keys of it that belong to others than `owner`, each with its place and its owners: they would do nothing.
    pub(super) fn foreign(&self, owner: &str) -> impl Iterator<Item = (&str, Span, &'static [&'static str])> {
        let owned = self.written().map(|(name, span)| (name, span, self.keys.owners(name)));
        owned.filter(move |(.., owners)| !owners.is_empty() && !owners.contains(&owner))
    }

    /// Where the key's value stands, or the table's header.
    pub(super) fn span_of(&self, key: &str) -> Span {
        self.table.get(key).map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// The keys of it that are written.
    pub(super) fn written(&self) -> impl Iterator<Item = (&str, Span)> {
        self.table.keys().map(|key| (key.get_ref().as_ref(), key.span()))
    }

    /// The value of `key`, as `read` understands it. `None`: absent, or a problem (now noted).
    pub(super) fn find<T>(
        &self,
        key: &str,
        read: impl FnOnce(&DeValue<'t>) -> Result<T, String>,
    ) -> Option<Found<T>> {
        debug_assert!(self.keys.has(key), "{key} is not declared in keys.rs");
        let value = self.table.get(key)?;
        match read(value.get_ref()) {
            Ok(read) => Some(Found { value: read, span: value.span() }),
            Err(message) => {
                self.problem_at(&value.span(), key, message);
                None
            }
        }
    }

    /// As [`Section::find`], without the place.
    pub(super) fn value<T>(
        &self,
        key: &str,
        read: impl FnOnce(&DeValue<'t>) -> Result<T, String>,
    ) -> Option<T> {
        self.find(key, read).map(|found| found.value)
    }

    /// As [`Section::find`]; absence is a problem, which `hint` shows the way out of.
    pub(super) fn required<T>(
        &self,
        key: &str,
        hint: &str,
        read: impl FnOnce(&DeValue<'t>) -> Result<T, String>,
    ) -> Option<Found<T>> {
        if !self.has(key) {
            self.problem_at(&self.span, key, format!("missing; add {hint}"));
        }
        self.find(key, read)
    }

    /// The table under `key`.
    pub(super) fn table(&self, key: &str, keys: &'static Table) -> Option<Self> {
        let value = self.table.get(key)?;
        let Some(table) = value.get_ref().as_table() else {
            let found = kind(value.get_ref());
            let message = format!("expected a table, [{}], found {found}", self.path(key));
            self.problem_at(&value.span(), key, message);
            return None;
        };
        Some(Self::open(table, keys, value.span(), self.problems))
    }

    /// The tables under `key`, in the order of the file.
    pub(super) fn tables(&self, key: &str, keys: &'static Table) -> Vec<Self> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let DeValue::Array(entries) = value.get_ref() else {
            let path = self.path(key);
            let found = kind(value.get_ref());
            self.problem_at(
                &value.span(),
                key,
                format!("expected [[{path}]], with two brackets, found {found}"),
            );
            return Vec::new();
        };
        let open = |entry: &'t Spanned<DeValue<'t>>| {
            let table = entry.get_ref().as_table();
            if table.is_none() {
                let message = format!("expected a table, found {}", kind(entry.get_ref()));
                self.problem_at(&entry.span(), key, message);
            }
            table.map(|table| Self::open(table, keys, entry.span(), self.problems))
        };
        entries.iter().filter_map(open).collect()
    }
}

/// What kind of value it is, in an error: its kind only, since the value may be a secret.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
