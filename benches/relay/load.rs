//! The generator's role: it takes a job on each line of its standard input, answers each on its standard
//! output, and ends with its parent.

use std::{
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
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
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::{ably::Format, connection::Connection, connects, dial::Dialer, figures, http, tls};

/// Connections that are opened at a time.
const TOGETHER: usize = 64;
/// All connections of a job are open by then.
const OPENING: Duration = Duration::from_secs(60);
/// All that was sent has come back by then.
const LAST_ANSWERS: Duration = Duration::from_secs(20);

/// What is said to the other side of the proxy, over a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Talk {
    /// The service sends back what it gets.
    Echo,
    /// The same in JSON.
    Json,
    /// The service sends, and the client only reads.
    Push,
    Ably(Format),
}

impl Talk {
    /// What the handshake asks for.
    pub(crate) fn target(self, size: usize) -> String {
        match self {
            Self::Echo | Self::Json => "/".to_owned(),
            Self::Push => format!("/push/{size}"),
            Self::Ably(format) => format.target().to_owned(),
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Messages.
    Talk(Talk),
    /// Connections, from the handshake to the end.
    Connect,
    /// Requests of plain HTTP.
    Get,
}

/// Connections to a proxy.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) port: u16,
    /// TLS on the client's leg.
    pub(crate) secure: bool,
    pub(crate) connections: u32,
    /// Messages in flight on each.
    pub(crate) window: u32,
    /// Bytes of a message.
    pub(crate) size: usize,
    /// Frames of a message.
    pub(crate) frames: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    /// Work is done; the proxy's CPU time is read at both ends of the measured time.
    Pump { work: Work, shape: Shape, pids: Vec<u32>, warm_up: Duration, measured: Duration },
    /// Each connection sends one message, and then stays.
    Hold { talk: Talk, shape: Shape },
    /// Each connection that stayed sends one more, and ends.
    Release,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Done {
    Pumped { times: u64, cpu_nanos: u64, seconds: f64 },
    Held,
    Released { alive: usize },
    Failed(String),
}

/// How far the connections of a job are.
#[derive(Default)]
pub(crate) struct Progress {
    times: AtomicU64,
    stop: AtomicBool,
}

impl Progress {
    pub(crate) fn add(&self, times: u64) {
        self.times.fetch_add(times, Ordering::Relaxed);
    }

    /// Nothing new is to be begun.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Connections that stay.
#[derive(Default)]
struct Held {
    tasks: JoinSet<Result<Connection>>,
    release: CancellationToken,
}

pub(crate) async fn serve(directory: &Path) -> Result<()> {
    let connector = tls::connector(directory)?;
    let mut held = Held::default();
    // On a thread of its own: connections that stay have to answer meanwhile.
    while let Some(line) = spawn_blocking(|| std::io::stdin().lines().next()).await?.transpose()? {
        let done = match work(serde_json::from_str(&line)?, &connector, &mut held).await {
            Ok(done) => done,
            Err(error) => Done::Failed(format!("{error:#}")),
        };
        println!("{}", serde_json::to_string(&done)?);
        std::io::stdout().flush()?;
    }
    Ok(())
}

async fn work(job: Job, connector: &TlsConnector, held: &mut Held) -> Result<Done> {
    match job {
        Job::Pump { work, shape, pids, warm_up, measured } => {
            let progress = Arc::new(Progress::default());
            let tasks = begin(work, shape, &dialer(shape, connector), &progress).await?;
            pump(tasks, &progress, &pids, warm_up, measured).await
        }
        Job::Hold { talk, shape } => {
            for connection in exchange(open(talk, shape, &dialer(shape, connector)).await?).await? {
                held.tasks.spawn(connection.stay(held.release.clone()));
            }
            Ok(Done::Held)
        }
        Job::Release => {
            let Held { mut tasks, release } = std::mem::take(held);
            release.cancel();
            let mut connections = Vec::new();
            while let Some(connection) = tasks.join_next().await {
                connections.push(connection?.context("while it was idle")?);
            }
            let alive = exchange(connections).await?;
            Ok(Done::Released { alive: alive.len() })
        }
    }
}

fn dialer(shape: Shape, connector: &TlsConnector) -> Dialer {
    Dialer { port: shape.port, tls: shape.secure.then(|| connector.clone()) }
}

async fn open(talk: Talk, shape: Shape, dialer: &Dialer) -> Result<Vec<Connection>> {
    let opening = stream::iter(0..shape.connections)
        .map(|number| Connection::open(talk, shape, dialer.clone(), number));
    let opened = timeout(OPENING, opening.buffer_unordered(TOGETHER).try_collect()).await;
    opened.context("the connections did not open in time")?
}

/// One message goes around on each.
async fn exchange(connections: Vec<Connection>) -> Result<Vec<Connection>> {
    let exchanges = stream::iter(connections).map(Connection::exchange);
    exchanges.buffer_unordered(TOGETHER).try_collect().await
}

/// A task for each connection.
async fn begin(
    work: Work,
    shape: Shape,
    dialer: &Dialer,
    progress: &Arc<Progress>,
) -> Result<JoinSet<Result<()>>> {
    let mut tasks = JoinSet::new();
    match work {
        Work::Talk(talk) => {
            for connection in open(talk, shape, dialer).await? {
                tasks.spawn(connection.run(shape.window, Arc::clone(progress)));
            }
        }
        Work::Connect => {
            for _ in 0..shape.connections {
                tasks.spawn(connects::run(dialer.clone(), Arc::clone(progress)));
            }
        }
        Work::Get => {
            for _ in 0..shape.connections {
                tasks.spawn(http::run(dialer.clone(), shape.size, Arc::clone(progress)));
            }
        }
    }
    Ok(tasks)
}

/// Measures, and then waits for what is still on its way: what was lost never comes, and fails the job.
async fn pump(
    mut tasks: JoinSet<Result<()>>,
    progress: &Progress,
    pids: &[u32],
    warm_up: Duration,
    measured: Duration,
) -> Result<Done> {
    let measure = async {
        tokio::time::sleep(warm_up).await;
        let (start, before, cpu) =
            (clock::now(), progress.times.load(Ordering::Relaxed), figures::cpu_nanos(pids)?);
        tokio::time::sleep(measured).await;
        let times = progress.times.load(Ordering::Relaxed) - before;
        let cpu_nanos = figures::cpu_nanos(pids)? - cpu;
        ensure!(times > 0, "nothing came back");
        Ok(Done::Pumped { times, cpu_nanos, seconds: start.elapsed().as_secs_f64() })
    };
    let done = tokio::select! {
        done = measure => done?,
        Some(ended) = tasks.join_next() => match ended? {
            Ok(()) => bail!("a connection ended"),
            Err(error) => return Err(error),
        },
    };
    progress.stop.store(true, Ordering::Relaxed);
    let rest = async {
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(done)
    };
    timeout(LAST_ANSWERS, rest).await.context("something was sent and did not come back")?
}
