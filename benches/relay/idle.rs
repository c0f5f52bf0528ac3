//! Idle connections: the memory that they take, and the CPU.
//!
//! ```text
//!   memory   open N, one message on each, wait 2 s  ─► resident memory, without what it was before
//!   CPU      open N, one message on each, wait 10 s ─► CPU time of windows of 10 s, the default keepalive
//! ```
//!
//! At the end each connection must still carry a message.

use anyhow::{Context as _, Result};
use tokio::time::sleep;

use super::{
    ably::Format,
    cells::{Contender, Heading, Setting},
    figures,
    load::{Shape, Talk},
    options::{Options, Pace},
    proxies::Proxy,
    report::{Column, Report, Row, Sample},
    rig::Rig,
};

const MEMORY: Heading = Heading {
    name: "idle memory",
    unit: "KiB of resident memory per connection",
    note: "Each connection has carried one message of 16 KiB in both directions, and waits. The kernel's memory \
           for sockets is not in the figure.",
};
const CPU: Heading = Heading {
    name: "idle CPU",
    unit: "µs of CPU per connection and second",
    note: "With its default keepalive Perennial sends a Ping to the client and to the service after ten seconds \
           of silence, and both answer. nginx and HAProxy send no Pings.",
};
/// The message that an idle connection has sent.
const SIZE: usize = 16 * 1024;
/// Connections that come and go before a proxy's memory is first read.
const ACQUAINTED: u32 = 50;

/// Those whose memory is measured.
const SETTINGS: &[(&str, Setting, Talk)] = &[
    ("plain", Setting::Plain, Talk::Echo),
    ("TLS upstream", Setting::TlsUpstream, Talk::Echo),
    ("dialect ably", Setting::Ably, Talk::Ably(Format::Json)),
];

pub(crate) fn names() -> Vec<String> {
    let memory = SETTINGS.iter().map(|(cell, ..)| format!("{}, {cell}", MEMORY.name));
    memory.chain([CPU.name.to_owned()]).collect()
}

/// Measures what was asked for.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    for (cell, setting, talk) in SETTINGS {
        let name = format!("{}, {cell}", MEMORY.name);
        if options.wants(&name) {
            let row = memory(options, *setting, *talk).await.with_context(|| name.clone())?;
            report.rows.push(Row { heading: MEMORY, cell: (*cell).to_owned(), columns: row });
        }
    }
    if options.wants(CPU.name) {
        let cell = format!("{} connections", options.pace().idle);
        let columns = cpu(options).await.context(CPU.name)?;
        report.rows.push(Row { heading: CPU, cell, columns });
    }
    Ok(())
}

/// A new proxy for each figure: what one has given up is not always given back.
async fn memory(options: &Options, setting: Setting, talk: Talk) -> Result<Vec<Column>> {
    eprint!("{}, {setting:?} ", MEMORY.name);
    let mut columns: Vec<Column> = options.contenders().map(Column::new).collect();
    for _ in 0..options.pace().repeats {
        for column in &mut columns {
            let contender = Contender { program: column.program, setting };
            let sample = memory_of(options, contender, talk).await.with_context(|| contender.name())?;
            column.samples.push(sample);
            eprint!(".");
        }
    }
    eprintln!();
    Ok(columns)
}

async fn memory_of(options: &Options, contender: Contender, talk: Talk) -> Result<Sample> {
    let mut rig = Rig::start().await?;
    let proxy = rig.proxy(options, contender).await?;
    let Pace { idle, rest, .. } = options.pace();
    rig.hold(talk, shape(&proxy, ACQUAINTED)).await?;
    rig.release(ACQUAINTED).await?;
    sleep(rest).await;
    let before = figures::resident_kib(&proxy.child.family())?;
    rig.hold(talk, shape(&proxy, idle)).await?;
    sleep(rest).await;
    let after = figures::resident_kib(&proxy.child.family())?;
    rig.release(idle).await?;
    let cost = after.saturating_sub(before) as f64;
    Ok(Sample { cost, count: f64::from(idle), seconds: rest.as_secs_f64() })
}

async fn cpu(options: &Options) -> Result<Vec<Column>> {
    eprint!("{} ", CPU.name);
    let Pace { idle, repeats, keepalive, .. } = options.pace();
    let mut columns: Vec<Column> = options.contenders().map(Column::new).collect();
    for column in &mut columns {
        let contender = Contender { program: column.program, setting: Setting::Plain };
        let mut rig = Rig::start().await?;
        let proxy = rig.proxy(options, contender).await?;
        rig.hold(Talk::Echo, shape(&proxy, idle)).await?;
        sleep(keepalive).await;
        for _ in 0..repeats {
            let pids = proxy.child.family();
            let (start, before) = (perennial::clock::now(), figures::cpu_nanos(&pids)?);
            sleep(keepalive).await;
            let nanos = figures::cpu_nanos(&pids)? - before;
            let seconds = start.elapsed().as_secs_f64();
            let count = f64::from(idle) * seconds;
            column.samples.push(Sample { cost: nanos as f64 / 1000.0, count, seconds });
            eprint!(".");
        }
        rig.release(idle).await.with_context(|| contender.name())?;
    }
    eprintln!();
    Ok(columns)
}

fn shape(proxy: &Proxy, connections: u32) -> Shape {
    Shape { port: proxy.port, secure: false, connections, window: 1, size: SIZE, frames: 1 }
}
