//! The generator's role: it takes a job on each line of its standard input, answers each on its standard
//! output, and ends with its parent.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use perennial::clock;
use serde::{Deserialize, Serialize};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::timeout,
};

use super::{connection::Connection, figures};

/// Connections that are opened at a time.
const TOGETHER: usize = 64;
/// All connections of a job are open by then.
const OPENING: Duration = Duration::from_secs(60);

/// What is said to the other side of the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Talk {
    Echo,
    Ably,
}

/// Connections to a proxy.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) port: u16,
    pub(crate) talk: Talk,
    pub(crate) connections: u32,
    /// Messages in flight on each.
    pub(crate) window: u32,
    /// Bytes of a message.
    pub(crate) size: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    /// Messages go around; the proxy's CPU time is read at both ends of the measured time.
    Pump { shape: Shape, pids: Vec<u32>, warm_up: Duration, measured: Duration },
    /// Each connection sends one message, and then stays.
    Hold { shape: Shape },
    /// Each connection that stayed sends one more, and ends.
    Release,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Done {
    Pumped { round_trips: u64, cpu_nanos: u64, seconds: f64 },
    Held,
    Released { alive: usize },
    Failed(String),
}

pub(crate) async fn serve() -> Result<()> {
    let mut held = Vec::new();
    // On a thread of its own: connections that stay have to answer meanwhile.
    while let Some(line) = spawn_blocking(|| std::io::stdin().lines().next()).await?.transpose()? {
        let done = match work(serde_json::from_str(&line)?, &mut held).await {
            Ok(done) => done,
            Err(error) => Done::Failed(format!("{error:#}")),
        };
        println!("{}", serde_json::to_string(&done)?);
        std::io::stdout().flush()?;
    }
    Ok(())
}

async fn work(job: Job, held: &mut Vec<Connection>) -> Result<Done> {
    match job {
        Job::Pump { shape, pids, warm_up, measured } => pump(shape, &pids, warm_up, measured).await,
        Job::Hold { shape } => {
            *held = exchange(open(shape).await?).await?;
            Ok(Done::Held)
        }
        Job::Release => {
            let alive = exchange(std::mem::take(held)).await?;
            Ok(Done::Released { alive: alive.len() })
        }
    }
}

async fn open(shape: Shape) -> Result<Vec<Connection>> {
    let opening = stream::iter(0..shape.connections).map(|number| Connection::open(shape, number));
    let opened = timeout(OPENING, opening.buffer_unordered(TOGETHER).try_collect()).await;
    opened.context("the connections did not open in time")?
}

/// One message goes around on each.
async fn exchange(connections: Vec<Connection>) -> Result<Vec<Connection>> {
    let exchanges = stream::iter(connections).map(Connection::exchange);
    exchanges.buffer_unordered(TOGETHER).try_collect().await
}

async fn pump(shape: Shape, pids: &[u32], warm_up: Duration, measured: Duration) -> Result<Done> {
    let answered = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for connection in open(shape).await? {
        tasks.spawn(connection.run(shape.window, Arc::clone(&answered)));
    }
    let measure = async {
        tokio::time::sleep(warm_up).await;
        let (start, before, cpu) =
            (clock::now(), answered.load(Ordering::Relaxed), figures::cpu_nanos(pids)?);
        tokio::time::sleep(measured).await;
        let round_trips = answered.load(Ordering::Relaxed) - before;
        let cpu_nanos = figures::cpu_nanos(pids)? - cpu;
        ensure!(round_trips > 0, "nothing came back");
        Ok(Done::Pumped { round_trips, cpu_nanos, seconds: start.elapsed().as_secs_f64() })
    };
    tokio::select! {
        done = measure => done,
        Some(ended) = tasks.join_next() => match ended? {
            Ok(()) => bail!("a connection ended"),
            Err(error) => Err(error),
        },
    }
}
