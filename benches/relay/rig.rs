//! What a measurement needs beside the proxies: the generator, the upstream, and a place for files.

use std::{ffi::OsStr, path::Path};

use anyhow::{Result, bail, ensure};

use super::{
    cells::{Cell, Contender, Setting},
    child::Helper,
    figures,
    load::{Done, Job, Shape, Talk},
    options::{Options, Pace},
    proxies::Proxy,
    report::Sample,
    upstream::Ports,
};

pub(crate) struct Rig {
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
    pub(crate) async fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("relay-bench-").tempdir()?;
        let (proxy_cpu, cpu) = figures::two_cpus()?;
        let log = |name: &str| directory.path().join(name);
        let as_child = |role: &'static str| -> [&OsStr; 2] { [role.as_ref(), directory.path().as_ref()] };
        let mut upstream = Helper::start(cpu, log("upstream.log"), &as_child("upstream"))?;
        let ports = upstream.hear().await?;
        let load = Helper::start(cpu, log("load.log"), &as_child("load"))?;
        Ok(Self { load, ports, proxy_cpu, upstream, directory })
    }

    pub(crate) async fn proxy(&self, options: &Options, contender: Contender) -> Result<Proxy> {
        let directory: &Path = self.directory.path();
        Proxy::start(contender, options.perennial(contender.program), self.proxy_cpu, self.ports, directory)
            .await
    }

    async fn job(&mut self, job: &Job) -> Result<Done> {
        self.load.say(job).await?;
        match self.load.hear().await? {
            Done::Failed(why) => bail!(why),
            done @ (Done::Pumped { .. } | Done::Held | Done::Released { .. }) => Ok(done),
        }
    }

    /// One turn of a proxy at a cell.
    pub(crate) async fn pump(
        &mut self,
        contender: Contender,
        proxy: &Proxy,
        cell: Cell,
        pace: Pace,
    ) -> Result<Sample> {
        let shape = Shape {
            port: proxy.port,
            secure: contender.setting == Setting::TlsClient,
            connections: cell.connections,
            window: cell.window,
            size: cell.size,
            frames: cell.frames,
        };
        let pids = proxy.child.family();
        let job = Job::Pump { work: cell.work, shape, pids, warm_up: pace.warm_up, measured: pace.window };
        let Done::Pumped { times, cpu_nanos, seconds } = self.job(&job).await? else {
            bail!("no measurement was made")
        };
        Ok(Sample { cost: cpu_nanos as f64 / 1000.0, count: (cell.counts() * times) as f64, seconds })
    }

    /// Opens connections, each of which sends one message and stays.
    pub(crate) async fn hold(&mut self, talk: Talk, shape: Shape) -> Result<()> {
        let done = self.job(&Job::Hold { talk, shape }).await?;
        ensure!(matches!(done, Done::Held), "no connections are held");
        Ok(())
    }

    /// Ends those connections, which must all still be there.
    pub(crate) async fn release(&mut self, connections: u32) -> Result<()> {
        let Done::Released { alive } = self.job(&Job::Release).await? else { bail!("nothing was released") };
        ensure!(alive == connections as usize, "{alive} of {connections} connections were left");
        Ok(())
    }
}
