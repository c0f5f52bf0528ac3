//! What was measured, and the tables that it stands in.

use serde::Serialize;

use super::{
    cells::Heading,
    options::Program,
    spread::{Spread, quantity, ratio},
};

/// What is less is 0.000 in the tables.
const NOTHING: f64 = 0.0005;

/// One turn of one program.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sample {
    /// µs of CPU, or KiB of memory.
    pub(crate) cost: f64,
    /// What it was the cost of: messages, connections, requests, connections times seconds.
    pub(crate) count: f64,
    pub(crate) seconds: f64,
}

impl Sample {
    fn each(&self) -> f64 {
        self.cost / self.count
    }
}

/// What one program's turns at a cell came to.
#[derive(Debug, Serialize)]
pub(crate) struct Column {
    pub(crate) program: Program,
    pub(crate) samples: Vec<Sample>,
}

impl Column {
    pub(crate) fn new(program: Program) -> Self {
        Self { program, samples: Vec::new() }
    }

    fn each(&self) -> Spread {
        Spread::of(self.samples.iter().map(Sample::each))
    }

    /// This one's cost over the other's, turn by turn; nothing has no ratio.
    fn over(&self, other: &Self) -> Spread {
        let turns = self.samples.iter().zip(&other.samples);
        Spread::of(turns.map(|(ours, theirs)| {
            if theirs.each() < NOTHING { f64::INFINITY } else { ours.each() / theirs.each() }
        }))
    }
}

/// A cell, and what each program came to at it.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) heading: Heading,
    pub(crate) cell: String,
    pub(crate) columns: Vec<Column>,
}

impl Row {
    /// The last program's cost over each of the others'.
    pub(crate) fn ratios(&self) -> Vec<(Program, Spread)> {
        let Some((ours, others)) = self.columns.split_last() else { return Vec::new() };
        others.iter().map(|other| (other.program, ours.over(other))).collect()
    }
}

/// All that was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// The rows under one heading, heading by heading.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &[Row]> {
        self.rows.chunk_by(|a, b| a.heading == b.heading)
    }

    /// The tables, as Markdown.
    pub(crate) fn markdown(&self) -> String {
        self.tables().map(table).collect::<Vec<_>>().join("\n")
    }
}

/// One table, as Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let names: Vec<&str> = first.columns.iter().map(|column| column.program.name()).collect();
    let others = names.split_last().map_or(&[][..], |(_, others)| others);
    let mut table = format!("| {}, {} |", first.heading.name, first.heading.unit);
    for name in &names {
        table += &format!(" {name} |");
    }
    for other in others {
        table += &format!(" / {other} |");
    }
    table += &format!("\n|---|{}\n", "--:|".repeat(names.len() + others.len()));
    for row in rows {
        table += &format!("| {} |", row.cell);
        for column in &row.columns {
            table += &format!(" {} |", column.each().cell(quantity));
        }
        for (_, over) in row.ratios() {
            table += &format!(" {} |", over.cell(ratio));
        }
        table += "\n";
    }
    table
}
