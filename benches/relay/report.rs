//! Medians, and the tables that they stand in.

use serde::Serialize;

/// One turn of one contender.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sample {
    pub(crate) cpu_nanos: u64,
    /// Both ways counted.
    pub(crate) messages: u64,
    pub(crate) seconds: f64,
}

impl Sample {
    fn micros(&self) -> f64 {
        self.cpu_nanos as f64 / self.messages as f64 / 1000.0
    }
}

/// What one contender's turns at a cell came to.
#[derive(Debug, Serialize)]
pub(crate) struct Column {
    pub(crate) contender: &'static str,
    pub(crate) samples: Vec<Sample>,
}

impl Column {
    fn micros(&self) -> f64 {
        median(self.samples.iter().map(Sample::micros))
    }

    /// This one's cost over the other's: the median of the turns.
    fn over(&self, other: &Self) -> f64 {
        median(self.samples.iter().zip(&other.samples).map(|(ours, theirs)| ours.micros() / theirs.micros()))
    }
}

/// A cell of a group.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) cell: String,
    pub(crate) columns: Vec<Column>,
}

/// A contender's idle connections.
#[derive(Debug, Serialize)]
pub(crate) struct Idle {
    pub(crate) contender: &'static str,
    pub(crate) connections: u32,
    pub(crate) before_kib: u64,
    pub(crate) after_kib: u64,
}

/// All that was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) idle: Vec<Idle>,
}

impl Report {
    /// The tables, as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let groups = self.rows.chunk_by(|a, b| a.group == b.group).map(group_table);
        let idle = (!self.idle.is_empty()).then(|| self.idle_table());
        groups.chain(idle).collect::<Vec<_>>().join("\n")
    }

    fn idle_table(&self) -> String {
        let connections = self.idle.first().map_or(0, |idle| idle.connections);
        let mut table = format!("| idle, {connections} connections | KiB each |\n|---|--:|\n");
        for idle in &self.idle {
            let kib = idle.after_kib.saturating_sub(idle.before_kib) as f64 / f64::from(idle.connections);
            table += &format!("| {} | {kib:.1} |\n", idle.contender);
        }
        table
    }
}

fn group_table(rows: &[Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let names: Vec<&str> = first.columns.iter().map(|column| column.contender).collect();
    let (last, others) = names.split_last().map_or(("", &[][..]), |(last, others)| (*last, others));
    let mut table = format!("| {}, µs of CPU per message |", first.group);
    for name in &names {
        table += &format!(" {name} |");
    }
    for other in others {
        table += &format!(" {last} / {other} |");
    }
    table += &format!("\n|---|{}\n", "--:|".repeat(names.len() + others.len()));
    for row in rows {
        table += &format!("| {} |", row.cell);
        for column in &row.columns {
            table += &format!(" {:.3} |", column.micros());
        }
        if let Some((ours, others)) = row.columns.split_last() {
            for other in others {
                table += &format!(" {:.2} |", ours.over(other));
            }
        }
        table += "\n";
    }
    table
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        even if even.is_multiple_of(2) => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}
