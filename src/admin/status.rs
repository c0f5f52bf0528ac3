//! What a running sidecar says of itself: one snapshot, for the page and for `perennial status`.
//!
//! The same types are written by the server and read by the command. Moments are seconds since the Unix
//! epoch, durations are seconds; `None` is what nobody knows. It holds no secret: credentials go by the
//! short keyed hash of the log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::health::Health;

/// Everything that an operator asks at three in the morning.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    /// The sidecar's clock.
    pub now: f64,
    /// When the process began.
    pub started: f64,
    /// Where clients connect.
    pub address: String,
    /// As `/readyz` says.
    pub ready: bool,
    /// No new clients are let in: it is going away.
    pub draining: bool,
    /// Why it is not ready, one line for each.
    pub problems: Vec<String>,
    /// Are clients served?
    #[serde(default)]
    pub health: Health,
    /// How many sessions there may be.
    #[serde(default)]
    pub sessions_limit: u64,
    /// Certificates that are shown to others.
    #[serde(default)]
    pub certificates: Vec<CertificateStatus>,
    pub reload: Reload,
    pub store: StoreStatus,
    /// Are an operator's actions taken? `[admin] rehearsal`.
    pub rehearsal: bool,
    pub routes: Vec<RouteStatus>,
    /// The last ones, newest first.
    pub events: Vec<EventLine>,
}

/// How the last reload came out; successful where there was none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reload {
    pub successful: bool,
    /// When it was tried.
    pub at: Option<f64>,
    /// Why the configuration before it stays.
    pub error: Option<String>,
}

impl Default for Reload {
    fn default() -> Self {
        Self { successful: true, at: None, error: None }
    }
}

/// What is kept, and whether it can be reached.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// `memory`, `disk` or `redis`.
    pub kind: String,
    /// It answers, and writes.
    pub up: bool,
    /// Why not.
    #[serde(default)]
    pub error: Option<String>,
}

/// One route.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteStatus {
    pub name: String,
    pub path: String,
    pub dialect: String,
    /// Scheme, host and port.
    pub upstream: String,
    /// Whose token it is: `none`, `route` or `client`.
    pub share: String,
    pub credentials_total: usize,
    /// Those closest to their end, the closest first.
    pub credentials: Vec<CredentialStatus>,
    /// The service cannot be reached.
    #[serde(default)]
    pub unreached: Option<UnreachedStatus>,
    /// What clients met in the last minutes.
    #[serde(default)]
    pub lately: LatelyStatus,
    /// By state, every state.
    pub sessions: BTreeMap<String, u64>,
    /// The earliest end of a token that a live upstream was last authenticated with.
    pub oldest_live_expires: Option<f64>,
    /// Of the time of all sessions that have a client, the part in which they relayed; `None` before the first.
    pub uptime: Option<f64>,
    pub refreshes: Outcomes,
    /// By method: `exchange`, `swap`, `resume`.
    pub reauthentications: BTreeMap<String, Outcomes>,
    /// Sessions that ended, by reason, every reason.
    pub closed: BTreeMap<String, u64>,
    pub messages: Directions,
    pub lost: Directions,
    pub held_bytes: Directions,
    /// How long the session that waits longest has held its client's messages.
    pub longest_hold: Option<f64>,
    /// Bytes held by the session that holds most.
    pub fullest_queue: u64,
    pub limits: RouteLimits,
    /// The last fetches that gave a token, oldest first.
    pub refresh_latencies: Vec<f64>,
    /// The last exchanges on a live connection, oldest first.
    pub exchange_latencies: Vec<f64>,
    /// The last ten minutes in steps of ten seconds, oldest first: the longest hold that ended in each.
    pub holds: Vec<f64>,
}

/// No dial of the service has got an answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UnreachedStatus {
    pub since: f64,
    /// When it was tried last.
    pub last: f64,
    /// So many times in a row.
    pub failures: u64,
    /// Why, of the last one.
    pub error: String,
}

/// What clients met in the last minutes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LatelyStatus {
    /// So long are they: five, or since the start.
    pub within: f64,
    pub accepted: u64,
    /// By the service, also those that were accepted and heard it then.
    pub rejected: u64,
    /// Of those: were accepted, and heard it then.
    pub rejected_later: u64,
    pub without_token: u64,
    pub over_limit: u64,
    /// Closed because a token had expired.
    pub expired: u64,
    /// Closed because the service was away for longer than `reconnect`.
    pub outlasted: u64,
    /// What the service said when it refused last, if that was within this time: without secrets.
    pub said: Option<String>,
}

/// A certificate of this side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// `the listener`, or `route NAME` for one that is shown to the service.
    pub whose: String,
    pub expires: f64,
}

/// One credential.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CredentialStatus {
    /// As the log names it.
    pub name: String,
    /// `missing`, `valid`, `failing` or `expired`.
    pub state: String,
    /// 0 before the first token.
    pub generation: u64,
    pub issued: Option<f64>,
    pub expires: Option<f64>,
    /// Of the refresh token, if the server said it.
    #[serde(default)]
    pub refresh_token_expires: Option<f64>,
    pub last_refresh: Option<f64>,
    /// How long the last refresh took.
    pub took: Option<f64>,
    pub next_refresh: Option<f64>,
    pub fetching: bool,
    pub refreshes: u64,
    /// Since the last that did not fail.
    pub failures: u64,
    /// Why the last refresh failed, where it did.
    pub error: Option<String>,
}

/// How often something was done, by how it came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    pub ok: u64,
    pub failed: u64,
    pub rejected: u64,
}

/// The same in both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directions {
    pub up: u64,
    pub down: u64,
}

/// `[route.session]`, as far as what is held is measured by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteLimits {
    pub hold: f64,
    pub reconnect: f64,
    /// Bytes.
    pub queue: u64,
}

/// One line of the log, or several that were alike.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    /// Counts all of them: a newer one has a larger.
    pub id: u64,
    pub at: f64,
    /// `info`, `warn` or `error`.
    pub level: String,
    pub message: String,
    pub route: Option<String>,
    /// Names and values, in their order.
    pub fields: Vec<(String, String)>,
    /// How many were alike within seconds; the fields are the last one's.
    pub count: u32,
}
