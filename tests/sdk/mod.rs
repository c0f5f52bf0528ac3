//! Real Ably clients for the tests: `client.mjs` under Node, one process for each client.
//!
//! ```text
//!   Scenario ──JSON argument──► node client.mjs ──one JSON line──► Report
//! ```
//!
//! The npm packages are installed once, with `npm ci --prefix tests/sdk`.

#![allow(dead_code, reason = "some of what a report says is only shown by a failing test")]

use std::{path::PathBuf, process::Stdio, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt, process::Command, sync::oneshot};

/// Which of the two clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sdk {
    /// ably-js 2, protocol version 6.
    Current,
    /// ably-js 1.2, protocol version 2.
    Legacy,
}

/// Which wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Json,
    Msgpack,
}

/// Every client in every format.
pub const ALL: [(Sdk, Format); 4] = [
    (Sdk::Current, Format::Json),
    (Sdk::Current, Format::Msgpack),
    (Sdk::Legacy, Format::Json),
    (Sdk::Legacy, Format::Msgpack),
];

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
    /// Merged into the client's options, last.
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
    /// Messages that the service published, named `server`, their data a number.
    pub from_server: u64,
    /// Own messages that were acknowledged and did not come back, and gaps in the service's.
    pub lost: u64,
    pub doubled: u64,
    pub reordered: u64,
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
    let home = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sdk");
    assert!(home.join("node_modules").is_dir(), "first: npm ci --prefix tests/sdk");
    let mut child = Command::new("node")
        .arg(home.join("client.mjs"))
        .arg(serde_json::to_string(&scenario).unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node is installed");
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
