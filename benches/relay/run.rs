//! The run: cells one after the other, their contenders in turns.

use anyhow::{Context as _, Result, ensure};
use perennial::clock;

use super::{
    cells::{Cell, Contender, GROUPS, Group},
    docs, idle,
    machine::Machine,
    options::Options,
    report::{Column, Report, Row},
    rig::Rig,
};

/// Measures what was asked for, and prints it.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let start = clock::now();
    // What the machine was like before it had work.
    let machine = Machine::look(&options.perennial)?;
    let mut report = Report::default();
    for group in GROUPS {
        measure_group(options, group, &mut report).await?;
    }
    idle::measure(options, &mut report).await?;
    ensure!(!report.rows.is_empty(), "no cell of that name:\n{}", names().join("\n"));
    println!("{}", report.markdown());
    let took = start.elapsed();
    eprintln!("{} s", took.as_secs());
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    if options.docs {
        docs::write(options, &report, &machine, took)?;
    }
    Ok(())
}

fn cell_name(group: &Group, cell: &Cell) -> String {
    format!("{}, {}", group.heading.name, cell.name())
}

fn names() -> Vec<String> {
    let cells = GROUPS.iter().flat_map(|group| group.cells.iter().map(|cell| cell_name(group, cell)));
    cells.chain(idle::names()).collect()
}

async fn measure_group(options: &Options, group: &Group, report: &mut Report) -> Result<()> {
    let cells: Vec<&Cell> =
        group.cells.iter().filter(|cell| options.wants(&cell_name(group, cell))).collect();
    let setting = group.setting;
    let contenders: Vec<Contender> =
        options.contenders().map(|program| Contender { program, setting }).collect();
    if cells.is_empty() || contenders.is_empty() {
        return Ok(());
    }
    let mut rig = Rig::start().await?;
    let mut proxies = Vec::new();
    for contender in contenders {
        proxies.push((contender, rig.proxy(options, contender).await?));
    }
    for cell in cells {
        let name = cell_name(group, cell);
        eprint!("{name} ");
        let mut columns: Vec<Column> = proxies.iter().map(|(c, _)| Column::new(c.program)).collect();
        for round in 0..options.pace().repeats {
            let mut turns: Vec<usize> = (0..proxies.len()).collect();
            // Forwards and backwards: what grows or fades during a run is shared out.
            if !round.is_multiple_of(2) {
                turns.reverse();
            }
            for at in turns {
                let (contender, proxy) = &proxies[at];
                let sample = rig.pump(*contender, proxy, *cell, options.pace()).await;
                let blame = || format!("{name}, {}: {}", contender.name(), proxy.child.last_words());
                columns[at].samples.push(sample.with_context(blame)?);
                eprint!(".");
            }
        }
        eprintln!();
        report.rows.push(Row { heading: group.heading, cell: cell.name(), columns });
    }
    Ok(())
}
