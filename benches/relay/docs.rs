//! `docs/benchmarks.md`: the tables of a run, its picture, and how it was made.

use std::{fs, path::Path, time::Duration};

use anyhow::Result;

use super::{
    chart,
    machine::Machine,
    options::Options,
    report::{Report, table},
};

const PAGE: &str = "benchmarks.md";
const PICTURE: &str = "benchmarks.svg";

/// Writes the page and the picture.
pub(crate) fn write(options: &Options, report: &Report, machine: &Machine, took: Duration) -> Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    fs::write(directory.join(PAGE), page(options, report, machine, took))?;
    fs::write(directory.join(PICTURE), chart::draw(report))?;
    eprintln!("docs/{PAGE} and docs/{PICTURE} are written");
    Ok(())
}

fn page(options: &Options, report: &Report, machine: &Machine, took: Duration) -> String {
    let pace = options.pace();
    let (repeats, window, warm_up) = (pace.repeats, pace.window.as_secs_f64(), pace.warm_up.as_secs_f64());
    let mut page = format!(
        "# Benchmarks

`benches/run --docs` writes this page and its picture. Do not edit them.

![What Perennial costs, divided by what nginx and HAProxy cost]({PICTURE})

## How it is measured

Everything runs on one machine, over loopback. Each proxy has one thread on one CPU; the load generator and the
service share another CPU. The figure is the CPU time of the proxy's threads and child processes, as the scheduler
counts it in nanoseconds, divided by the messages that passed in that time. A message that is sent back counts
twice, once in each direction.

- At each cell each proxy is measured {repeats} times for {window:.1} s, after {warm_up:.1} s of warming up. The proxies take turns:
  A B C, C B A.
- A figure is the median of these, with the lowest and the highest in brackets.
- A ratio is Perennial's cost divided by the other's in the same turn; the table has the median of these ratios, so
  it need not be the quotient of the two medians beside it. Below 1.00 Perennial is cheaper.
- *W* is the number of messages in flight on each connection. There are 64 connections; 16 with messages of 1 MiB.
- The generator knows what must come back. A lost, doubled or changed message fails the run.
- Absolute figures change with the machine and with its other work. Ratios hold better. Differences below a tenth
  mean little on a shared machine.

| | |
|---|---|
"
    );
    for (name, value) in &machine.0 {
        page += &format!("| {name} | {value} |\n");
    }
    page += &format!("| command | `{}` |\n", options.command());
    page += &format!("| took | {:.0} min |\n", took.as_secs_f64() / 60.0);
    for rows in report.tables() {
        let Some(first) = rows.first() else { continue };
        let mut name = first.heading.name.to_owned();
        if let Some(letter) = name.get_mut(..1) {
            letter.make_ascii_uppercase();
        }
        page += &format!("\n## {name}\n\n{}\n\n{}", first.heading.note, table(rows));
    }
    page
}
