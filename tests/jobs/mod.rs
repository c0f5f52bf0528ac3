//! Real services whose tokens belong to their clients, and real clients that know nothing of it.
//!
//! ```text
//!   JobService ────► node serve.mjs ──► workerd: worker.mjs, one Durable Object for each job
//!   BearerService ─► node bearer.mjs     a plain WebSocket server, 4401 at a token's end
//!   Scenario ──────► node client.mjs ──► Report   (client.rs)
//! ```
//!
//! 1. A service prints its port when it accepts, and ends when its standard input does: so it does when its
//!    handle is dropped, and when the test is killed. It is not killed itself: its runtime would stay.
//! 2. Both tell what they saw in one form, a [`Ledger`] (ledger.rs).
//!
//! The npm packages are installed once, with `npm ci --prefix tests/jobs`.

mod client;
mod http;
mod ledger;

use std::{path::PathBuf, process::Stdio, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

pub use client::{
    Client, How, KINDS, Kind, Leave, Ready, Report, Scenario, Silent, Who, run_clients, run_clients_until,
};
pub use http::{Answer, send};
pub use ledger::{Closed, Ledger, Seen, Work};

/// What a job service is like. Hours are seconds here, in the proportions of the real one.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub lifetime: Duration,
    /// How much may be left of a token that is refreshed; more is too early.
    pub window: Duration,
    pub grace: Duration,
    /// How often a number is pushed.
    pub progress: Option<Duration>,
    /// To every connection, or to the newest of each client alone.
    pub newest: bool,
    /// Does a connection that is not its client's first open with `{"type":"reconnected"}`?
    pub greeting: bool,
    /// Is a second connection of a client refused, 409, while the first is open?
    pub single: bool,
    /// Does it answer a Close? A service with sockets that hibernate does only if it was told to.
    pub answers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(4),
            window: Duration::from_secs(1),
            grace: Duration::from_millis(700),
            progress: None,
            newest: false,
            greeting: false,
            single: false,
            answers: true,
        }
    }
}

impl Options {
    fn bindings(&self) -> Value {
        json!({
            "LIFETIME": millis(self.lifetime),
            "WINDOW": millis(self.window),
            "GRACE": millis(self.grace),
            "PROGRESS": self.progress.map_or(0, millis),
            "MODE": if self.newest { "newest" } else { "all" },
            "GREETING": self.greeting,
            "SINGLE": self.single,
            "ANSWERS": self.answers,
        })
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap()
}

/// A job and its first token.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    #[serde(rename = "jobId")]
    pub id: String,
    pub token: String,
}

impl Job {
    /// A client of this job, with the token in both places; `port` is the service's or a sidecar's.
    pub fn client(&self, port: u16, name: &str) -> Who {
        self.client_with(port, name, &self.token)
    }

    /// The same, with a token of one's own.
    pub fn client_with(&self, port: u16, name: &str, token: &str) -> Who {
        Who {
            protocols: vec![format!("bookstrack-auth.{token}")],
            ..Who::new(name, format!("ws://127.0.0.1:{port}{}", self.target(name, token)))
        }
    }

    /// The target of its WebSocket.
    pub fn target(&self, name: &str, token: &str) -> String {
        format!("/ws?jobId={}&client={name}&token={token}", self.id)
    }
}

/// The job service.
pub struct JobService {
    pub port: u16,
    process: Process,
}

impl JobService {
    pub async fn start(options: Options) -> Self {
        let (process, port) = Process::start("serve.mjs", &options.bindings()).await;
        Self { port, process }
    }

    /// A new job.
    pub async fn job(&self) -> Job {
        send(self.port, "POST", "/jobs", &[], None).await.understood()
    }

    /// Asks for a new token with an old one.
    pub async fn refresh(&self, job: &Job, old: &str) -> Answer {
        let body = json!({ "jobId": job.id, "oldToken": old });
        send(self.port, "POST", "/token/refresh", &[], Some(&body)).await
    }

    pub async fn ledger(&self, job: &Job) -> Ledger {
        send(self.port, "GET", &format!("/jobs/{}/ledger", job.id), &[], None).await.understood()
    }

    /// Waits until the ledger is so.
    pub async fn until(&self, job: &Job, is_so: impl Fn(&Ledger) -> bool) -> Ledger {
        ledger::until(|| self.ledger(job), is_so).await
    }

    /// What is to go wrong: `{"drop": "connection"}`, `{"refresh": "fail" | "slow" | "lost"}`,
    /// `{"handshake": "refuse" | "slow"}`, the slow ones with `"ms"`.
    pub async fn fault(&self, job: &Job, fault: Value) {
        let answer = send(self.port, "POST", &format!("/jobs/{}/fault", job.id), &[], Some(&fault)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    pub async fn stop(self) {
        self.process.stop().await;
    }
}

/// What the bearer service says to a login.
#[derive(Debug, Clone, Deserialize)]
pub struct Grant {
    pub access_token: String,
}

impl Grant {
    /// A client with this token in its Authorization.
    pub fn client(&self, port: u16, name: &str) -> Who {
        let bearer = format!("Bearer {}", self.access_token);
        Who {
            headers: [("Authorization".to_owned(), bearer)].into(),
            ..Who::new(name, format!("ws://127.0.0.1:{port}/ws"))
        }
    }
}

/// The service without Durable Objects. A client's name is the one that it logged in with.
pub struct BearerService {
    pub port: u16,
    process: Process,
}

impl BearerService {
    pub async fn start(lifetime: Duration) -> Self {
        let (process, port) = Process::start("bearer.mjs", &json!({ "LIFETIME": millis(lifetime) })).await;
        Self { port, process }
    }

    pub async fn login(&self, user: &str) -> Grant {
        send(self.port, "POST", "/login", &[], Some(&json!({ "user": user }))).await.understood()
    }

    pub async fn renew(&self, old: &str) -> Answer {
        send(self.port, "POST", "/renew", &[("authorization", &format!("Bearer {old}"))], None).await
    }

    pub async fn ledger(&self) -> Ledger {
        send(self.port, "GET", "/ledger", &[], None).await.understood()
    }

    pub async fn until(&self, is_so: impl Fn(&Ledger) -> bool) -> Ledger {
        ledger::until(|| self.ledger(), is_so).await
    }

    /// Cuts what is open, without a Close.
    pub async fn drop_connections(&self) {
        let answer = send(self.port, "POST", "/fault", &[], Some(&json!({ "drop": "connection" }))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    pub async fn stop(self) {
        self.process.stop().await;
    }
}

/// A service under Node.
struct Process {
    child: Child,
}

impl Process {
    async fn start(script: &str, argument: &Value) -> (Self, u16) {
        #[derive(Deserialize)]
        struct Ready {
            port: u16,
        }
        let mut child = node(script, &argument.to_string());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await;
        let line =
            line.expect("it starts").unwrap().unwrap_or_else(|| panic!("{script} ended before it began"));
        let Ready { port } = serde_json::from_str(&line).unwrap();
        (Self { child }, port)
    }

    /// Ends it by the end of its input, which it must follow.
    async fn stop(mut self) {
        drop(self.child.stdin.take());
        let status = tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await;
        assert!(status.expect("it ends").unwrap().success());
    }
}

/// Node with a script of this directory.
fn node(script: &str, argument: &str) -> Child {
    let home = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/jobs");
    assert!(home.join("node_modules").is_dir(), "first: npm ci --prefix tests/jobs");
    Command::new("node")
        .arg(home.join(script))
        .arg(argument)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is installed")
}
