//! What an operator's actions come to: written by the server, read by the commands.
//!
//! As in [`super::status`], durations are seconds, and there is no secret in it.

use serde::{Deserialize, Serialize};

/// Whom a rehearsal reached.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rehearsed {
    pub action: String,
    pub routes: Vec<Asked>,
}

/// Whom it reached on one route: sessions, or credentials for `refresh`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    pub route: String,
    pub asked: usize,
    pub of: usize,
    /// Sessions that re-authenticate because of a `refresh`.
    #[serde(default)]
    pub follow: usize,
}

/// The sessions that there are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// How many there are; a long list is cut.
    pub total: usize,
    pub sessions: Vec<SessionStatus>,
}

/// One session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Its name in the log.
    pub session: String,
    /// Where its client first connected from.
    pub client: String,
    pub route: String,
    /// The name of its credential in the log.
    pub credential: Option<String>,
    pub age: f64,
    /// Of the token that the upstream was last authenticated with; 0 for none.
    pub generation: u64,
    /// As in the metrics.
    pub state: String,
    pub held_bytes: u64,
    /// How long its client's messages have been held, if they are.
    pub held_for: Option<f64>,
}

/// How many sessions were closed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    pub sessions: usize,
}

/// How a reload came out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Why the configuration before it stays, one line for each thing that is wrong.
    pub error: Option<String>,
    /// Names of routes.
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
    /// Other tables that have changed.
    pub tables: Vec<String>,
    /// What there was no warning of before.
    pub warnings: Vec<String>,
}
