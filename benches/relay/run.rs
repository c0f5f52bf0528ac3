//! The run: cells one after the other, their contenders in turns.

use std::{ffi::OsStr, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::sleep;

use super::{
    cells::{CONNECTIONS, Cell, Contender, GROUPS, Group, IDLE, IDLE_SIZE},
    child::Helper,
    figures,
    load::{Done, Job, Shape},
    options::{Options, Pace},
    proxies::Proxy,
    report::{Column, Idle, Report, Row, Sample},
    upstream::Ports,
};

/// Connections that come and go before a proxy's memory is first read.
const ACQUAINTED: u32 = 50;

/// Measures what was asked for, and prints it.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let mut report = Report::default();
    for group in GROUPS {
        measure_group(options, group, &mut report).await?;
    }
    for contender in IDLE {
        let name = format!("idle {}", contender.name());
        if options.wants(&name) && options.measures(contender.program) {
            eprintln!("{name}");
            report.idle.push(measure_idle(options, *contender).await.context(name)?);
        }
    }
    ensure!(
        !report.rows.is_empty() || !report.idle.is_empty(),
        "no cell of that name:\n{}",
        names().join("\n")
    );
    println!("{}", report.markdown());
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

fn cell_name(group: &Group, cell: &Cell) -> String {
    format!("{}, {}", group.name, cell.name())
}

fn names() -> Vec<String> {
    let cells = GROUPS.iter().flat_map(|group| group.cells.iter().map(|cell| cell_name(group, cell)));
    cells.chain(IDLE.iter().map(|contender| format!("idle {}", contender.name()))).collect()
}

async fn measure_group(options: &Options, group: &Group, report: &mut Report) -> Result<()> {
    let cells: Vec<&Cell> =
        group.cells.iter().filter(|cell| options.wants(&cell_name(group, cell))).collect();
    let contenders: Vec<Contender> =
        group.contenders.iter().copied().filter(|contender| options.measures(contender.program)).collect();
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
        let mut columns: Vec<Column> =
            proxies.iter().map(|(c, _)| Column { contender: c.name(), samples: Vec::new() }).collect();
        for _ in 0..options.pace().repeats {
            for ((contender, proxy), column) in proxies.iter().zip(&mut columns) {
                let sample = rig.pump(*contender, proxy, *cell, options.pace()).await;
                let blame = || format!("{name}, {}: {}", contender.name(), proxy.child.last_words());
                column.samples.push(sample.with_context(blame)?);
                eprint!(".");
            }
        }
        eprintln!();
        report.rows.push(Row { group: group.name, cell: cell.name(), columns });
    }
    Ok(())
}

async fn measure_idle(options: &Options, contender: Contender) -> Result<Idle> {
    let mut rig = Rig::start().await?;
    let proxy = rig.proxy(options, contender).await?;
    let pace = options.pace();
    rig.hold(contender, &proxy, ACQUAINTED).await?;
    rig.release(ACQUAINTED).await?;
    sleep(pace.rest).await;
    let before_kib = figures::resident_kib(&proxy.child.family())?;
    rig.hold(contender, &proxy, pace.idle).await?;
    sleep(pace.rest).await;
    let after_kib = figures::resident_kib(&proxy.child.family())?;
    rig.release(pace.idle).await?;
    Ok(Idle { contender: contender.name(), connections: pace.idle, before_kib, after_kib })
}

/// The generator and the upstream, and a place for files.
struct Rig {
    load: Helper,
    ports: Ports,
    /// Who has the first CPU: the proxies.
    proxy_cpu: u32,
    #[expect(dead_code, reason = "runs until it is dropped")]
    upstream: Helper,
    /// The last field: it goes when nobody uses it any more.
    directory: tempfile::TempDir,
}

impl Rig {
    async fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("relay-bench-").tempdir()?;
        let (proxy_cpu, cpu) = figures::two_cpus()?;
        let log = |name: &str| directory.path().join(name);
        let serve: [&OsStr; 2] = ["upstream".as_ref(), directory.path().as_ref()];
        let mut upstream = Helper::start(cpu, log("upstream.log"), &serve)?;
        let ports = upstream.hear().await?;
        let load = Helper::start(cpu, log("load.log"), &["load".as_ref()])?;
        Ok(Self { load, ports, proxy_cpu, upstream, directory })
    }

    async fn proxy(&self, options: &Options, contender: Contender) -> Result<Proxy> {
        let directory: &Path = self.directory.path();
        Proxy::start(contender, &options.perennial, self.proxy_cpu, self.ports, directory).await
    }

    async fn job(&mut self, job: &Job) -> Result<Done> {
        self.load.say(job).await?;
        match self.load.hear().await? {
            Done::Failed(why) => bail!(why),
            done @ (Done::Pumped { .. } | Done::Held | Done::Released { .. }) => Ok(done),
        }
    }

    async fn pump(&mut self, contender: Contender, proxy: &Proxy, cell: Cell, pace: Pace) -> Result<Sample> {
        let shape = Shape {
            port: proxy.port,
            talk: contender.talk(),
            connections: CONNECTIONS,
            window: cell.window,
            size: cell.size,
        };
        let pids = proxy.child.family();
        let job = Job::Pump { shape, pids, warm_up: pace.warm_up, measured: pace.window };
        let Done::Pumped { round_trips, cpu_nanos, seconds } = self.job(&job).await? else {
            bail!("no measurement was made")
        };
        Ok(Sample { cpu_nanos, messages: 2 * round_trips, seconds })
    }

    /// Opens connections, each of which sends one message and stays.
    async fn hold(&mut self, contender: Contender, proxy: &Proxy, connections: u32) -> Result<()> {
        let shape =
            Shape { port: proxy.port, talk: contender.talk(), connections, window: 1, size: IDLE_SIZE };
        let done = self.job(&Job::Hold { shape }).await?;
        ensure!(matches!(done, Done::Held), "no connections are held");
        Ok(())
    }

    /// Ends those connections, which must all still be there.
    async fn release(&mut self, connections: u32) -> Result<()> {
        let Done::Released { alive } = self.job(&Job::Release).await? else { bail!("nothing was released") };
        ensure!(alive == connections as usize, "{alive} of {connections} connections were left");
        Ok(())
    }
}
