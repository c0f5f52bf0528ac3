//! What the service saw: for a test to ask, and for the demo to show.
//!
//! Counts only grow. A violation is what no client may ever send; a test ends by asking that there
//! is none. Every entry wakes those who wait for it, so that tests wait for conditions, not for time.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value as Json;
use tokio::sync::watch;

/// How often each thing happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handshakes that asked for a WebSocket, refused ones included.
    pub dials: u64,
    /// Handshakes that a fault refused.
    pub refused: u64,
    /// Transports that became CONNECTED, on a new connection or an old one.
    pub connects: u64,
    /// Of these, those that continued their connection.
    pub resumes: u64,
    /// Of these, those that asked for a connection that was not to be had.
    pub failed_resumes: u64,
    /// Transports that took the place of one still live.
    pub superseded: u64,
    /// Transports that went away without a CLOSE.
    pub losses: u64,
    /// Connections ended by a CLOSE.
    pub closes: u64,
    /// AUTH messages received.
    pub auths: u64,
    /// Of these, those that were accepted.
    pub auths_accepted: u64,
    /// Of these, those that came while another was unanswered.
    pub overlapping_auths: u64,
    /// The most that were unanswered at once, of all connections.
    pub most_auths_at_once: u64,
    /// Times that a client was asked to re-authenticate.
    pub hints: u64,
    /// Connections that lived to see their token end.
    pub expiry_disconnects: u64,
    /// Ended tokens that were presented, at a handshake or in an AUTH.
    pub dead_tokens: u64,
    /// Tokens presented after a fault had revoked them, which nobody could know.
    pub revoked_tokens: u64,
    /// Credentials that never were good.
    pub bad_credentials: u64,
    /// Tokens given out over HTTP.
    pub tokens_issued: u64,
    /// Requests for a token, failed ones included.
    pub token_requests: u64,
    /// Publishes accepted.
    pub accepted: u64,
    /// Publishes that repeated an accepted one, and were dropped.
    pub repeats: u64,
    /// Publishes whose serial came after a later one, where options let them.
    pub late: u64,
    /// Publishes refused with a NACK.
    pub nacks: u64,
    /// Publishes above the promised rate.
    pub over_rate: u64,
    /// ATTACH messages received.
    pub attaches: u64,
    /// ATTACHED answers that continued from the serial given.
    pub continued: u64,
    /// Transports ended because their client did not read.
    pub overflows: u64,
    /// Protocol messages received.
    pub frames_in: u64,
    /// Messages sent, pings and closes included.
    pub frames_out: u64,
}

/// One accepted message, of a client or of [`super::ServiceHandle::publish`].
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Whose it was; empty for the service's own.
    pub connection_id: String,
    /// Where it went.
    pub channel: String,
    /// The message's `name`.
    pub name: String,
    /// The message's `data`.
    pub data: Json,
}

/// How close to its end a connection's token was when another was presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Margin {
    /// The connection.
    pub connection_id: String,
    /// What the old token had left.
    pub left: Duration,
}

/// Everything that was recorded.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// How often each thing happened.
    pub counts: Counts,
    /// What no client may ever send, in words.
    pub violations: Vec<String>,
    /// The accepted messages, in order.
    pub published: VecDeque<Published>,
    /// The margins of all re-authentications, in order.
    pub margins: VecDeque<Margin>,
}

impl Record {
    /// The smallest margin of all re-authentications.
    pub fn smallest_margin(&self) -> Option<Duration> {
        self.margins.iter().map(|m| m.left).min()
    }
}

/// Violations kept; the first ones tell the story.
const VIOLATIONS: usize = 1000;

/// Reads the record, and waits for it to change.
#[derive(Clone)]
pub struct Ledger {
    record: Arc<Mutex<Record>>,
    changed: watch::Sender<()>,
    limit: usize,
}

impl Ledger {
    pub(super) fn new(limit: usize) -> Self {
        Self { record: Arc::default(), changed: watch::Sender::new(()), limit }
    }

    /// How often each thing happened, so far.
    pub fn counts(&self) -> Counts {
        self.lock().counts.clone()
    }

    /// What no client may ever send, in words; a good run leaves this empty.
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    /// The accepted messages, in the order of their acceptance.
    pub fn published(&self) -> Vec<Published> {
        self.lock().published.iter().cloned().collect()
    }

    /// Asks something of the whole record, without copying it.
    pub fn read<T>(&self, ask: impl FnOnce(&Record) -> T) -> T {
        ask(&self.lock())
    }

    /// Waits until the record is as asked for; `false` where it was not in `time`.
    pub async fn until(&self, time: Duration, mut is_so: impl FnMut(&Record) -> bool) -> bool {
        let mut changes = self.changed.subscribe();
        let come = async {
            while !self.read(&mut is_so) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(time, come).await.is_ok()
    }

    pub(super) fn count(&self, of: impl FnOnce(&mut Counts)) {
        of(&mut self.lock().counts);
        self.changed.send_replace(());
    }

    pub(super) fn violation(&self, what: String) {
        tracing::warn!(what, "violation");
        let mut record = self.lock();
        if record.violations.len() < VIOLATIONS {
            record.violations.push(what);
        }
        drop(record);
        self.changed.send_replace(());
    }

    pub(super) fn publish(&self, message: Published) {
        let mut record = self.lock();
        if record.published.len() >= self.limit {
            record.published.pop_front();
        }
        record.published.push_back(message);
        drop(record);
        self.changed.send_replace(());
    }

    pub(super) fn margin(&self, margin: Margin) {
        let mut record = self.lock();
        if record.margins.len() >= self.limit {
            record.margins.pop_front();
        }
        record.margins.push_back(margin);
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        // A reader's panic, in a test's closure, leaves the record as it was.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
