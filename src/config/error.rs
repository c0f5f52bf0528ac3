//! What is wrong with a configuration: all of it at once, each with where and the way out.
//!
//! No source line is ever quoted, since it may hold a secret: a place is a line and a column.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    ops::Range,
};

use toml::de::{DeTable, DeValue};

use super::{Secret, json::is_secret};

/// Everything that is wrong with one configuration, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file, as it was named.
    pub file: String,
    /// What is wrong; never empty.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Line and column, from 1, the column in characters; `None`: it is the whole file.
    pub at: Option<(usize, usize)>,
    /// The path of the key, as `route.token.ttl`; empty where there is none.
    pub key: String,
    /// What is wrong, what was expected, and the way out. Never a value.
    pub message: String,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.problems.iter().enumerate() {
            if nth > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.file)?;
            if let Some((line, column)) = problem.at {
                write!(f, ":{line}:{column}")?;
            }
            if !problem.key.is_empty() {
                write!(f, ": {}", problem.key)?;
            }
            write!(f, ": {}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl ConfigErrors {
    /// The file as a whole is at fault.
    pub(super) fn of_file(file: &str, message: String) -> Self {
        let problem = Problem { at: None, key: String::new(), message };
        Self { file: file.to_owned(), problems: vec![problem] }
    }
}

/// Gathers problems while a file is read.
pub(super) struct Problems<'t> {
    text: &'t str,
    /// Where each line begins.
    lines: Vec<usize>,
    found: RefCell<Vec<Problem>>,
    /// What holds for keys that are not written, by where their table begins; `None`: they have no effect.
    meant: RefCell<BTreeMap<(usize, &'static str), Option<String>>>,
    /// All secrets that are kept elsewhere.
    secrets: Vec<Secret>,
    /// A secret stands in the file itself.
    literals: Cell<bool>,
}

impl<'t> Problems<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let after_each = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(after_each).collect();
        Self {
            text,
            lines,
            found: RefCell::default(),
            meant: RefCell::default(),
            secrets: Vec::new(),
            literals: Cell::default(),
        }
    }

    /// The same, which knows all secrets of the file that are kept elsewhere.
    pub(super) fn with_secrets(self, document: &DeTable<'_>) -> Self {
        let mut secrets = Vec::new();
        document.values().for_each(|value| kept_elsewhere(value.get_ref(), &mut secrets));
        Self { secrets, ..self }
    }

    /// All secrets of the file that are kept elsewhere.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        self.secrets.clone()
    }

    /// A secret stands in the file itself.
    pub(super) fn found_literal(&self) {
        self.literals.set(true);
    }

    pub(super) fn has_literals(&self) -> bool {
        self.literals.get()
    }

    /// How many problems have been noted.
    pub(super) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// Notes a problem with `key`, at the beginning of `span` (bytes of the text).
    pub(super) fn add(&self, span: &Range<usize>, key: &str, message: impl Into<String>) {
        let problem =
            Problem { at: Some(self.place(span.start)), key: key.to_owned(), message: message.into() };
        self.found.borrow_mut().push(problem);
    }

    /// Notes what holds for a key that is not written in the table that begins at `table`.
    pub(super) fn means(&self, table: usize, key: &'static str, value: Option<String>) {
        let mut meant = self.meant.borrow_mut();
        let known = meant.entry((table, key)).or_insert_with(|| value.clone());
        // What has no effect has none, whatever it would be.
        *known = known.take().and(value);
    }

    /// What was noted of the key.
    pub(super) fn meant(&self, table: usize, key: &'static str) -> Option<Option<String>> {
        self.meant.borrow().get(&(table, key)).cloned()
    }

    /// Nothing found, or all of it, in the order of the file.
    pub(super) fn verdict(&self, file: &str) -> Result<(), ConfigErrors> {
        let mut problems = self.found.take();
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort();
        problems.dedup();
        Err(ConfigErrors { file: file.to_owned(), problems })
    }

    /// Line and column, from 1.
    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let line = self.lines.partition_point(|begin| *begin <= offset);
        let begin = self.lines[line - 1];
        let column = self.text.get(begin..offset).map_or(0, |before| before.chars().count()) + 1;
        (line, column)
    }
}

/// Each `{ env = "NAME" }` and `{ file = "PATH" }` in a value.
fn kept_elsewhere(value: &DeValue<'_>, found: &mut Vec<Secret>) {
    match value {
        DeValue::Array(entries) => entries.iter().for_each(|entry| kept_elsewhere(entry.get_ref(), found)),
        DeValue::Table(table) => {
            let one = table.iter().next().filter(|_| is_secret(table));
            match one.and_then(|(place, name)| Some((place.get_ref().as_ref(), name.get_ref().as_str()?))) {
                Some(("env", name)) => found.push(Secret::env(name)),
                Some((_, path)) => found.push(Secret::file(path)),
                None => table.values().for_each(|value| kept_elsewhere(value.get_ref(), found)),
            }
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
}

/// The entry of `known` that `wrong` was probably meant to be.
pub(super) fn nearest<'k>(wrong: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // A third of the letters may be wrong, as in `hodl`; more, and it is another word.
    let within = (wrong.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|key| (strsim::damerau_levenshtein(&wrong.to_ascii_lowercase(), &key.to_ascii_lowercase()), key))
        .filter(|(distance, _)| *distance <= within)
        .min()
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let problems = Problems::of("a = 1\r\né = 2\n");
        assert_eq!(problems.place(0), (1, 1));
        assert_eq!(problems.place(7), (2, 1));
        assert_eq!(problems.place(10), (2, 3));
        assert_eq!(problems.place(999), (3, 1));
    }

    #[test]
    fn the_nearest_key_is_a_slip_away() {
        let known = ["hold", "queue", "refresh_before"];
        assert_eq!(nearest("refresh_befor", known), Some("refresh_before"));
        assert_eq!(nearest("hodl", known), Some("hold"));
        assert_eq!(nearest("Queue", known), Some("queue"));
        assert_eq!(nearest("upstream", known), None);
    }
}
