//! Real Ably clients for the tests, in Node, Go, Java and Python: one process for each client.
//!
//! ```text
//!   Scenario ──JSON argument──► node client.mjs     ──one JSON line──► Report
//!                               .tools/ably-go/…
//!                               java, .tools/ably-java/…
//!                               .tools/ably-python/… client.py
//! ```
//!
//! They are installed once, with `npm ci --prefix tests/sdk` and `tests/sdk/install`.

#![allow(dead_code, reason = "some of what a report says is only shown by a failing test")]

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt, process::Command, sync::oneshot};

/// Which of the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sdk {
    /// ably-js 2, protocol version 6.
    Current,
    /// ably-js 1.2, protocol version 2.
    Legacy,
    /// ably-go 1.4, protocol version 5.
    GoCurrent,
    /// ably-go 1.2, protocol version 2.
    GoLegacy,
    /// ably-java 1.5 over OkHttp, protocol version 4.
    JavaCurrent,
    /// ably-java 1.2 over Java-WebSocket, protocol version 2.
    JavaLegacy,
    /// ably-python 3.1, protocol version 5; in JSON it names no `format`.
    Python,
}

impl Sdk {
    /// Its program, which takes the scenario for its argument.
    fn program(self) -> Command {
        match self {
            Self::Current | Self::Legacy => {
                let modules = installed("tests/sdk/node_modules");
                let mut node = Command::new("node");
                node.arg(modules.with_file_name("client.mjs"));
                node
            }
            Self::GoCurrent => Command::new(installed(".tools/ably-go/current/client")),
            Self::GoLegacy => Command::new(installed(".tools/ably-go/legacy/client")),
            Self::JavaCurrent => java(&installed(".tools/ably-java/current")),
            Self::JavaLegacy => java(&installed(".tools/ably-java/legacy")),
            Self::Python => {
                let mut python = Command::new(installed(".tools/ably-python/bin/python"));
                // No __pycache__ beside the source.
                python.arg("-B").arg(installed("tests/sdk/python/client.py"));
                python
            }
        }
    }
}

fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(path.exists(), "first: npm ci --prefix tests/sdk, and tests/sdk/install all");
    path
}

fn java(home: &Path) -> Command {
    let home = home.display();
    let mut java = Command::new("java");
    // For a quick start on a busy machine.
    java.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    java.args(["-cp", &format!("{home}/classes:{home}/jars/*"), "Main"]);
    java
}

/// Which wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Json,
    Msgpack,
}

/// Every client in Node, in every format.
pub const ALL: [(Sdk, Format); 4] = [
    (Sdk::Current, Format::Json),
    (Sdk::Current, Format::Msgpack),
    (Sdk::Legacy, Format::Json),
    (Sdk::Legacy, Format::Msgpack),
];

/// The current clients in Go and Java, in every format.
pub const GO_AND_JAVA: [(Sdk, Format); 4] = [
    (Sdk::GoCurrent, Format::Json),
    (Sdk::GoCurrent, Format::Msgpack),
    (Sdk::JavaCurrent, Format::Json),
    (Sdk::JavaCurrent, Format::Msgpack),
];

/// The older ones, which `tests/sdk/install all` installs.
pub const GO_AND_JAVA_LEGACY: [(Sdk, Format); 4] = [
    (Sdk::GoLegacy, Format::Json),
    (Sdk::GoLegacy, Format::Msgpack),
    (Sdk::JavaLegacy, Format::Json),
    (Sdk::JavaLegacy, Format::Msgpack),
];

/// The client in Python, in every format; `tests/sdk/install all` installs it.
pub const PYTHON: [(Sdk, Format); 2] = [(Sdk::Python, Format::Json), (Sdk::Python, Format::Msgpack)];

/// What a client is to do.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scenario {
    pub sdk: Sdk,
    pub format: Format,
    pub host: String,
    pub port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// A literal token, which the client cannot renew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Where the client renews its token itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// How long it publishes, at most.
    pub seconds: f64,
    /// Publishes a second on each channel.
    pub rate: f64,
    /// Does it enter the channels' presence? That takes a `client_id`.
    pub presence: bool,
    pub channels: Vec<String>,
    /// How long it then waits for what is on its way, at most.
    pub settle: f64,
    /// It renews its token itself, each time that this many seconds have passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorize_every: Option<f64>,
    /// At half time it detaches its channels and attaches them again; its channels' events of that are not reported.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub detach: bool,
    /// At the end it asks for each channel's history, and for the service's time.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub history: bool,
    /// Merged into the client's options, last. In Go, Java and Python: `useTokenAuth` only.
    pub options: serde_json::Value,
}

impl Scenario {
    /// Two channels, 20 messages a second on each, for two seconds.
    pub fn new((sdk, format): (Sdk, Format), port: u16) -> Self {
        Self {
            sdk,
            format,
            host: "127.0.0.1".into(),
            port,
            key: None,
            token: None,
            auth_url: None,
            client_id: None,
            seconds: 2.0,
            rate: 20.0,
            presence: false,
            channels: vec!["one".into(), "two".into()],
            settle: 5.0,
            authorize_every: None,
            detach: false,
            history: false,
            options: serde_json::json!({}),
        }
    }
}

/// What an application would have seen.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Was it ever connected?
    pub connected: bool,
    pub connection_id: Option<String>,
    /// After the first `connected`, and before the client closed.
    pub connection_events: Vec<ConnectionEvent>,
    /// After each channel's first `attached`.
    pub channel_events: Vec<ChannelEvent>,
    pub presence_events: Vec<PresenceEvent>,
    pub published: u64,
    pub acked: u64,
    pub nacked: u64,
    /// Acknowledgements of what had been answered before.
    pub acked_twice: u64,
    /// Publishes without an answer at the end.
    pub unanswered: u64,
    /// Own messages that came back.
    pub received: u64,
    /// Messages that the service published, named `server`, their data a number; for Java, one in text:
    /// its MessagePack reader takes text or bytes only.
    pub from_server: u64,
    /// Own messages that were acknowledged and did not come back, and gaps in the service's.
    pub lost: u64,
    pub doubled: u64,
    pub reordered: u64,
    /// How often it renewed its token itself.
    pub authorized: u64,
    /// What went wrong of `authorize_every` and `history`.
    pub failures: Vec<String>,
    /// What the channels' histories had, together.
    pub history_items: Option<u64>,
    /// Milliseconds, by the service's clock.
    pub service_time: Option<u64>,
    /// The connection's state before the client closed it.
    pub final_state: String,
    pub closed_cleanly: bool,
    /// What made the client give up.
    pub error: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ConnectionEvent {
    pub event: String,
    pub from: String,
    pub to: String,
    pub code: Option<u64>,
    /// Milliseconds since the client began.
    pub at: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ChannelEvent {
    pub channel: String,
    pub event: String,
    pub from: String,
    pub to: String,
    pub resumed: Option<bool>,
    pub code: Option<u64>,
    pub at: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PresenceEvent {
    pub channel: String,
    pub action: String,
    pub client_id: String,
    pub at: u64,
}

impl Report {
    /// Fails unless nothing at all was to be seen of whatever happened behind the client's back.
    pub fn assert_untouched(&self) {
        assert_eq!(self.error, None, "{self:#?}");
        assert!(self.connected && self.closed_cleanly, "{self:#?}");
        assert_eq!(self.final_state, "connected", "{self:#?}");
        assert!(self.connection_events.is_empty(), "{:#?}", self.connection_events);
        assert!(self.channel_events.is_empty(), "{:#?}", self.channel_events);
        assert!(self.published > 0, "a run that published nothing proves nothing");
        assert_eq!((self.acked, self.nacked, self.acked_twice), (self.published, 0, 0), "{self:#?}");
        assert_eq!(self.received, self.published, "{self:#?}");
        assert_eq!((self.lost, self.doubled, self.reordered), (0, 0, 0), "{self:#?}");
    }
}

/// Runs a client to its end.
pub async fn run_client(scenario: Scenario) -> Report {
    let (_never, stop) = oneshot::channel();
    run_client_until(scenario, stop).await
}

/// Runs a client to its end, or until it is told to stop publishing and close.
pub async fn run_client_until(scenario: Scenario, stop: oneshot::Receiver<()>) -> Report {
    let mut child = scenario
        .sdk
        .program()
        .arg(serde_json::to_string(&scenario).unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("what runs it is installed");
    let mut input = child.stdin.take().unwrap();
    let limit = Duration::from_secs_f64(scenario.seconds + 2.0 * scenario.settle + 60.0);
    let running = async {
        let output = child.wait_with_output();
        tokio::pin!(output);
        tokio::select! {
            output = &mut output => return output,
            Ok(()) = stop => {}
        }
        // One that ended meanwhile reads no more.
        let _ = input.write_all(b"stop\n").await;
        output.await
    };
    let output = tokio::time::timeout(limit, running).await.expect("the client ends on its own").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("no report: {error}\n{said}"))
}
