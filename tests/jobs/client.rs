//! Legacy clients: `client.mjs` under Node, one or many in a process.

#![allow(dead_code, reason = "some of what a report says is only shown by a failing test")]

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdout},
    sync::oneshot,
};

use super::node;

/// Which of the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// npm `ws`: strict about subprotocols.
    Ws,
    /// The WebSocket of browsers, as Node has it. It cannot destroy its socket. Where a message crosses its
    /// Close it calls the end 1006, however well the Close was answered.
    Undici,
    /// Comes back by itself, with its first URL, and sends then what it was given meanwhile.
    PartySocket,
}

pub const KINDS: [Kind; 3] = [Kind::Ws, Kind::Undici, Kind::PartySocket];

/// What the clients of one process are to do. Its times count from when all of them are connected.
#[derive(Debug, Clone, Serialize)]
pub struct Scenario {
    pub kind: Kind,
    pub who: Vec<Who>,
    /// How long they work.
    pub seconds: f64,
    /// Messages a second, of each.
    pub rate: f64,
    /// Bytes of a message's body.
    pub size: usize,
    /// How long they then wait for what is on its way, and for their Close to be answered, at most.
    pub settle: f64,
    /// When they send nothing.
    pub silent: Option<Silent>,
    /// When and how they leave; a `partysocket` comes back from a socket that was destroyed.
    pub leave: Option<Leave>,
    /// Seconds after which they dial again, each time that a connection ended, with their old token.
    pub back: Option<f64>,
    /// Handed to the client, last: its own options.
    pub options: Value,
}

/// One client.
#[derive(Debug, Clone, Serialize)]
pub struct Who {
    pub name: String,
    pub url: String,
    pub protocols: Vec<String>,
    pub headers: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Silent {
    pub from: f64,
    #[serde(rename = "for")]
    pub seconds: f64,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Leave {
    pub at: f64,
    pub how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// With a Close, which is waited for.
    Close,
    /// Without one.
    Destroy,
}

impl Who {
    pub fn new(name: &str, url: String) -> Self {
        Self { name: name.into(), url, protocols: Vec::new(), headers: BTreeMap::new() }
    }
}

impl Scenario {
    /// Fifty messages a second, for two seconds.
    pub fn new(kind: Kind, who: Vec<Who>) -> Self {
        let options = match kind {
            // Its own would be seconds, beside tokens of seconds.
            Kind::PartySocket => json!({ "minReconnectionDelay": 100, "maxReconnectionDelay": 300 }),
            Kind::Ws | Kind::Undici => json!({}),
        };
        Self {
            kind,
            who,
            seconds: 2.0,
            rate: 50.0,
            size: 32,
            settle: 5.0,
            silent: None,
            leave: None,
            back: None,
            options,
        }
    }
}

/// What the clients of one process saw.
#[derive(Debug, Clone, Deserialize)]
pub struct Report {
    pub clients: Vec<Client>,
    /// From each message of work to its answer, of all clients.
    pub pauses: Pauses,
}

/// In milliseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Pauses {
    pub count: u64,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

/// What one client saw. Times are milliseconds since its process was told what to do.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    pub kind: Kind,
    pub name: String,
    pub opens: Vec<Open>,
    pub closes: Vec<Close>,
    /// Handshakes and connections that failed, in the client's own words.
    pub failures: Vec<Failure>,
    /// Messages that are neither `done` nor `progress`.
    pub other: Vec<Value>,
    pub sent: u64,
    pub answered: u64,
    /// Its own messages, as they were answered.
    pub done: Numbers,
    /// What the service pushed.
    pub progress: Numbers,
    /// The longest wait for an answer, and when it ended.
    pub longest: Longest,
    /// How long its last Close took to be answered.
    pub close_took: Option<f64>,
    /// Was it connected when its time was over?
    pub open_at_end: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Open {
    pub at: u64,
    pub protocol: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Close {
    pub at: u64,
    pub code: u16,
    pub reason: String,
    pub clean: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Failure {
    pub at: u64,
    pub message: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Longest {
    pub ms: f64,
    pub at: u64,
}

/// A stream of numbers, as it came.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Numbers {
    /// Different ones.
    pub received: u64,
    pub first: Option<u64>,
    /// The highest.
    pub last: Option<u64>,
    pub doubled: u64,
    pub reordered: u64,
    /// Between the lowest and the highest.
    pub gaps: u64,
    /// Of its own: what was sent and never answered.
    #[serde(default)]
    pub lost: u64,
}

impl Client {
    /// One connection from the beginning to its own end, and every message once, answered, in order.
    pub fn assert_untouched(&self) {
        self.assert_one_connection();
        self.assert_whole();
    }

    /// One connection from the beginning to its own end, and nothing on it but answers and progress.
    pub fn assert_one_connection(&self) {
        assert_eq!((self.opens.len(), self.closes.len(), self.open_at_end), (1, 1, true), "{self:#?}");
        let crossed = self.kind == Kind::Undici && self.closes[0].code == 1006;
        assert!(crossed || (self.closes[0].code == 1000 && self.failures.is_empty()), "{self:#?}");
        assert!(self.other.is_empty(), "{self:#?}");
    }

    /// Every message once, answered, in order, and at least one; and so the service's.
    pub fn assert_whole(&self) {
        self.assert_answered();
        self.progress.assert_whole(self);
    }

    /// Every message of its own once, answered, in order, and at least one.
    pub fn assert_answered(&self) {
        assert!(self.sent > 0 && self.answered == self.sent, "{self:#?}");
        self.done.assert_whole(self);
    }
}

impl Numbers {
    /// Every number once, in order; `of` is told where not.
    fn assert_whole(&self, of: &Client) {
        let Self { doubled, reordered, gaps, lost, .. } = *self;
        assert_eq!((doubled, reordered, gaps, lost), (0, 0, 0, 0), "{of:#?}");
    }
}

/// Clients whose process has begun and waits for its scenario. A token is issued when they can use it: Node's own
/// beginning may take a good part of its life.
pub struct Ready {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Ready {
    pub async fn start() -> Self {
        let mut child = node("client.mjs", "");
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let read = tokio::time::timeout(Duration::from_secs(30), said.read_line(&mut line)).await;
        read.expect("it begins").unwrap();
        assert_eq!(line, "ready\n");
        Self { child, said }
    }

    /// Runs them to their end.
    pub async fn run(self, scenario: Scenario) -> Report {
        let (_never, stop) = oneshot::channel();
        self.run_until(scenario, stop).await
    }

    /// Runs them to their end, or until they are told to stop working and close.
    pub async fn run_until(mut self, scenario: Scenario, stop: oneshot::Receiver<()>) -> Report {
        let mut input = self.child.stdin.take().unwrap();
        input.write_all(format!("{}\n", serde_json::to_string(&scenario).unwrap()).as_bytes()).await.unwrap();
        let limit = Duration::from_secs_f64(scenario.seconds + 3.0 * scenario.settle + 30.0);
        let mut line = String::new();
        let running = async {
            let read = self.said.read_line(&mut line);
            tokio::pin!(read);
            tokio::select! {
                read = &mut read => return read,
                Ok(()) = stop => {}
            }
            // One that ended meanwhile reads no more.
            let _ = input.write_all(b"stop\n").await;
            read.await
        };
        tokio::time::timeout(limit, running).await.expect("the clients end on their own").unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("no report: {error}\n{line}"))
    }
}

/// Begins clients, and runs them to their end.
pub async fn run_clients(scenario: Scenario) -> Report {
    Ready::start().await.run(scenario).await
}

/// The same, or until they are told to stop working and close.
pub async fn run_clients_until(scenario: Scenario, stop: oneshot::Receiver<()>) -> Report {
    Ready::start().await.run_until(scenario, stop).await
}
