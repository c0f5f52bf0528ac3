//! The fields of a line in the text format: `message name=value name="a value"`.
//!
//! A value is quoted if it would not be one word otherwise, whatever its type: a reader splits a line at spaces.

use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FormatFields, format::Writer},
};

/// Writes fields as words.
pub(super) struct Words;

impl<'w> FormatFields<'w> for Words {
    fn format_fields<R: RecordFields>(&self, to: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { to, begun: false, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'w> {
    to: Writer<'w>,
    begun: bool,
    result: fmt::Result,
}

impl Line<'_> {
    fn put(&mut self, field: &Field, value: &str) {
        if self.result.is_err() {
            return;
        }
        let space = if self.begun { " " } else { "" };
        self.begun = true;
        self.result = match field.name() {
            "message" => write!(self.to, "{space}{value}"),
            name if is_word(value) => write!(self.to, "{space}{name}={value}"),
            name => write!(self.to, "{space}{name}={value:?}"),
        };
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, &format!("{value:?}"));
    }
}

fn is_word(value: &str) -> bool {
    !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c.is_control() || "\"=\\".contains(c))
}
