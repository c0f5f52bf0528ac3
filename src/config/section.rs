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
    declare::{At, Declared, Kind, Table, Value},
    error::{ConfigErrors, Problems},
    root::unknown,
    template::Names,
};

/// Bytes of the file.
pub(super) type Span = Range<usize>;

/// One table of the file, or its absence, in which every key has its default.
pub(super) struct Section<'t> {
    table: Option<&'t DeTable<'t>>,
    declared: &'static Table,
    /// As errors name it: `route.token`; empty at the root.
    path: String,
    /// Where its header stands.
    pub(super) span: Span,
    pub(super) problems: &'t Problems<'t>,
    /// What its templates may name.
    pub(super) names: Names,
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
    /// The whole file.
    pub(super) fn root(table: &'t DeTable<'t>, declared: &'static Table, problems: &'t Problems<'t>) -> Self {
        let (path, names) = (String::new(), Names::default());
        Self { table: Some(table), declared, path, span: 0..0, problems, names }
    }

    /// The same table, with what its templates may name.
    pub(super) fn naming(self, names: Names) -> Self {
        Self { names, ..self }
    }

    /// Notes each key of it that is not declared, that belongs to another word of the selector, or that lacks the one
    /// that it stands beside.
    pub(super) fn look(&self) {
        for (name, span) in self.written() {
            let Some(key) = self.declared.key(name) else {
                self.problem_at(&span, name, unknown(self.declared, name));
                continue;
            };
            if let Some(message) = self.foreign(self.declared, name) {
                self.problem_at(&span, name, message);
            }
            if let Some(other) = key.beside.filter(|other| !self.has(other)) {
                let path = if matches!(key.kind, Kind::File) { " = \"PATH\"" } else { "" };
                self.refuse(name, format!("needs {other} beside it; add {other}{path}"));
            }
        }
    }

    /// What is wrong with a key that belongs to another word than the one that is written: it would do nothing.
    fn foreign(&self, table: &'static Table, name: &str) -> Option<String> {
        if table.keys.iter().any(|key| key.name == name) {
            return None;
        }
        let selector = table.key(table.selector)?;
        let written = self.entry(selector.name).map(|value| value.get_ref().as_str());
        let chosen = written.unwrap_or_else(|| selector.default.map(|word| word.trim_matches('"')))?;
        if let Kind::Word(words) = selector.kind
            && !words.contains(&chosen)
        {
            // What is wrong with the word has been said.
            return None;
        }
        let owners = table.owners(name);
        if owners.contains(&chosen) {
            let part = table.parts.iter().find(|(word, _)| *word == chosen)?.1;
            return self.foreign(part, name);
        }
        // A word that is not one of ours may be anything, and is not quoted.
        let ours =
            matches!(selector.kind, Kind::Word(words) | Kind::OpenWord(words) if words.contains(&chosen));
        let chosen = if ours { format!("\"{chosen}\"") } else { "another".to_owned() };
        let (selector, owners) = (selector.name, owners.join("\" or \""));
        Some(format!(
            "belongs to {selector} = \"{owners}\", and this one is {chosen}; change that, or remove this"
        ))
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Notes a problem with one of its keys.
    pub(super) fn problem_at(&self, span: &Span, key: &str, message: impl Into<String>) {
        self.problems.add(span, &self.path_of(key), message);
    }

    /// Notes a problem with the value of a key, or at the header if it is not there.
    pub(super) fn refuse(&self, key: &str, message: impl Into<String>) {
        self.problem_at(&self.span_of(key), key, message);
    }

    /// Notes a problem with the table as a whole.
    pub(super) fn problem(&self, message: impl Into<String>) {
        self.problems.add(&self.span, &self.path, message);
    }

    /// Notes that a key is missing.
    pub(super) fn missing(&self, key: &str, hint: &str) {
        self.problem_at(&self.span, key, format!("missing; add {hint}"));
    }

    fn entry(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table?.get(key)
    }

    /// Is the key there, with whatever value?
    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Where the key's value stands, or the table's header.
    pub(super) fn span_of(&self, key: &str) -> Span {
        self.entry(key).map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// The keys of it that are written.
    pub(super) fn written(&self) -> impl Iterator<Item = (&'t str, Span)> {
        self.table.into_iter().flat_map(DeTable::keys).map(|key| (key.get_ref().as_ref(), key.span()))
    }

    /// A key without a default.
    pub(super) fn maybe<T: Value>(&self, key: &'static str) -> Option<T::Is> {
        let value = self.entry(key)?;
        let is_secret = matches!(T::KIND, Kind::Secret | Kind::Several(Kind::Secret));
        // Of the URL of a proxy only the password is one.
        let has_password = |url: &str| matches!(T::KIND, Kind::Proxy) && url.contains('@');
        if is_secret && holds_text(value.get_ref()) || value.get_ref().as_str().is_some_and(has_password) {
            self.problems.found_literal();
        }
        let read = T::read(value.get_ref(), At { key, names: self.names });
        read.map_err(|message| self.refuse(key, message)).ok()
    }

    /// A key, or else its default. One that is wrong has it too: what depends on it is looked at as well.
    pub(super) fn or<T: Value>(&self, key: &'static str, default: &str) -> Option<T::Is> {
        self.maybe::<T>(key).or_else(|| {
            let text = format!("x = {default}");
            let document = DeTable::parse(&text).ok()?;
            let read = T::read(document.get_ref().get("x")?.get_ref(), At { key, names: self.names });
            read.map_err(|message| self.refuse(key, format!("its default: {message}"))).ok()
        })
    }

    /// A key that must be there; `hint` is the way out.
    pub(super) fn required<T: Value>(&self, key: &'static str, hint: &str) -> Option<T::Is> {
        if !self.has(key) {
            self.missing(key, hint);
        }
        self.maybe::<T>(key)
    }

    /// A table that may be there.
    pub(super) fn perhaps<T: Declared>(&self, key: &str) -> Option<T> {
        let section = self.table(key)?;
        section.look();
        T::read(&section)
    }

    /// A table whose keys have their defaults if it is not there.
    pub(super) fn within<T: Declared>(&self, key: &str) -> Option<T> {
        let section = self.at(key);
        section.look();
        T::read(&section)
    }

    /// Tables, `[[…]]`.
    pub(super) fn each<T: Declared>(&self, key: &str) -> Vec<T> {
        let read = |section: Section<'_>| {
            section.look();
            T::read(&section)
        };
        self.tables(key).into_iter().filter_map(read).collect()
    }

    /// Tables with the names that the file gives them.
    pub(super) fn keyed<T: Declared>(&self, key: &str) -> Vec<(String, T)> {
        let read = |(name, section): (String, Section<'_>)| {
            section.look();
            Some((name, T::read(&section)?))
        };
        self.named_tables(key).into_iter().filter_map(read).collect()
    }

    fn opened(
        &self,
        key: &str,
        table: Option<&'t DeTable<'t>>,
        span: Span,
        declared: &'static Table,
    ) -> Self {
        let (path, problems, names) = (self.path_of(key), self.problems, self.names);
        Self { table, declared, path, span, problems, names }
    }

    /// The table under `key`, or its absence.
    pub(super) fn at(&self, key: &str) -> Self {
        self.table(key).unwrap_or_else(|| {
            let declared = match self.declared.key(key).map(|key| key.kind) {
                Some(Kind::Table(declared)) => declared,
                _ => self.declared,
            };
            self.opened(key, None, self.span.clone(), declared)
        })
    }

    /// The table under `key`, for what depends on more than its own keys.
    pub(super) fn table(&self, key: &str) -> Option<Self> {
        let value = self.entry(key)?;
        let Kind::Table(declared) = self.declared.key(key)?.kind else { return None };
        let Some(table) = value.get_ref().as_table() else {
            let found = kind(value.get_ref());
            self.refuse(key, format!("expected a table, [{}], found {found}", self.path_of(key)));
            return None;
        };
        Some(self.opened(key, Some(table), value.span(), declared))
    }

    /// The tables under `key`, in the order of the file.
    pub(super) fn tables(&self, key: &str) -> Vec<Self> {
        let (Some(value), Some(Kind::Tables(declared))) =
            (self.entry(key), self.declared.key(key).map(|key| key.kind))
        else {
            return Vec::new();
        };
        let DeValue::Array(entries) = value.get_ref() else {
            let found = kind(value.get_ref());
            self.refuse(key, format!("expected [[{}]], with two brackets, found {found}", self.path_of(key)));
            return Vec::new();
        };
        let open = |entry: &'t Spanned<DeValue<'t>>| {
            let table = entry.get_ref().as_table();
            if table.is_none() {
                let message = format!("expected a table, found {}", kind(entry.get_ref()));
                self.problem_at(&entry.span(), key, message);
            }
            table.map(|table| self.opened(key, Some(table), entry.span(), declared))
        };
        entries.iter().filter_map(open).collect()
    }

    /// The tables that stand under `key` by their names.
    pub(super) fn named_tables(&self, key: &str) -> Vec<(String, Self)> {
        let (Some(value), Some(Kind::Keyed(declared))) =
            (self.entry(key), self.declared.key(key).map(|key| key.kind))
        else {
            return Vec::new();
        };
        let Some(tables) = value.get_ref().as_table() else {
            let found = kind(value.get_ref());
            self.refuse(
                key,
                format!("expected a table with a name, [{}.NAME], found {found}", self.path_of(key)),
            );
            return Vec::new();
        };
        let open = |(name, entry): (&'t Spanned<toml::de::DeString<'t>>, &'t Spanned<DeValue<'t>>)| {
            let table = entry.get_ref().as_table();
            let path = format!("{key}.{}", name.get_ref());
            if table.is_none() {
                let message = format!("expected a table, found {}", kind(entry.get_ref()));
                self.problem_at(&entry.span(), &path, message);
            }
            table.map(|table| {
                (name.get_ref().to_string(), self.opened(&path, Some(table), entry.span(), declared))
            })
        };
        tables.iter().filter_map(open).collect()
    }

    /// Notes what holds for a key that is not written, if that depends on others: for `check`.
    pub(super) fn means(&self, key: &'static str, value: impl Into<String>) {
        self.problems.means(self.span.start, key, Some(value.into()));
    }

    /// A key without effect: a problem if it is written.
    pub(super) fn useless(&self, key: &'static str, why: &str) {
        if self.has(key) {
            self.refuse(key, why);
        }
        self.problems.means(self.span.start, key, None);
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
/// Is it a string, or an array with one in it?
fn holds_text(value: &DeValue<'_>) -> bool {
    let is_text = |value: &DeValue<'_>| matches!(value, DeValue::String(_));
    is_text(value) || value.as_array().is_some_and(|all| all.iter().any(|one| is_text(one.get_ref())))
}
