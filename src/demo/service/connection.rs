//! A connection, which outlives its transports, and a transport, which is one WebSocket.
//!
//! ```text
//!   connection   id ─ secret ─ keys given ─ next msgSerial ─ what was answered
//!       │ at most one
//!   transport    format ─ version ─ token ─ attached channels ─ unanswered AUTHs ─ unsent ACKs
//! ```
//!
//! A key is `site!id-secret-n`; `n` counts the keys given, so that an older one can be told from the
//! newest and from one that was never given.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use rmpv::Value;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::{credential::Grant, frame::Format, transport::Control};
use crate::clock::Instant;

/// Answers remembered for repeats; a client has far fewer publishes unacknowledged.
const ANSWERS: usize = 20_000;
const SITE: &str = "e7daa271";

/// Names one WebSocket, for the whole life of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TransportId(pub(super) u64);

/// What a publish was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Accepted; the serials of its messages.
    Acked(Vec<String>),
    /// Refused.
    Nacked { code: u64, status: u64, message: &'static str },
}

/// A publish that was answered: a repeat must be the same, and gets the same answer.
pub(super) struct Answered {
    pub(super) serial: u64,
    pub(super) digest: u64,
    pub(super) outcome: Outcome,
}

pub(super) struct Connection {
    pub(super) id: String,
    secret: String,
    keys_given: u64,
    /// The newest key may never have left: its transport was cut before all that stood on its line was written.
    pub(super) in_doubt: bool,
    pub(super) client_id: Option<String>,
    pub(super) transport: Option<TransportId>,
    /// Counts lost transports: a timer started at one loss does nothing after the next.
    pub(super) losses: u64,
    pub(super) next_serial: u64,
    /// Serials before the next that may still come, where options let them.
    pub(super) late: BTreeSet<u64>,
    pub(super) answered: VecDeque<Answered>,
}

impl Connection {
    pub(super) fn new(client_id: Option<String>) -> Self {
        Self {
            id: word(10),
            secret: word(12),
            keys_given: 0,
            in_doubt: false,
            client_id,
            transport: None,
            losses: 0,
            next_serial: 0,
            late: BTreeSet::new(),
            answered: VecDeque::new(),
        }
    }

    /// A key that was never given before; from now on the newest.
    pub(super) fn next_key(&mut self) -> String {
        self.keys_given += 1;
        self.in_doubt = false;
        format!("{SITE}!{}-{}-{}", self.id, self.secret, self.keys_given)
    }

    /// Was this key given by this connection, and if so asked, given last?
    pub(super) fn gave(&self, key: &str, newest_only: bool) -> bool {
        let prefix = format!("{SITE}!{}-{}-", self.id, self.secret);
        let Some(n) = key.strip_prefix(&prefix).and_then(|n| n.parse::<u64>().ok()) else { return false };
        let oldest = if newest_only { self.keys_given - u64::from(self.in_doubt) } else { 1 };
        (oldest.max(1)..=self.keys_given).contains(&n)
    }

    pub(super) fn remember(&mut self, answered: Answered) {
        if self.answered.len() >= ANSWERS {
            self.answered.pop_front();
        }
        self.answered.push_back(answered);
    }
}

/// The connection that a key claims to be of.
pub(super) fn connection_of(key: &str) -> Option<&str> {
    key.strip_prefix(SITE)?.strip_prefix('!')?.split('-').next()
}

/// What the client asked for in its query.
#[derive(Clone)]
pub(super) struct Wishes {
    pub(super) format: Format,
    pub(super) version: u64,
    pub(super) echo: bool,
    pub(super) heartbeats: bool,
    pub(super) client_id: Option<String>,
    /// The key of the connection to continue.
    pub(super) resume: Option<String>,
}

/// The two ends of the hub's line to a transport's task.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) frames: mpsc::Sender<Message>,
    pub(super) control: mpsc::Sender<Control>,
}

pub(super) struct Transport {
    pub(super) connection: String,
    pub(super) wishes: Wishes,
    pub(super) line: Line,
    pub(super) grant: Grant,
    /// Counts grants: a timer of an earlier token does nothing.
    pub(super) grants: u64,
    /// Attached channels, with the modes granted.
    pub(super) attached: BTreeMap<String, u64>,
    pub(super) unsent_acks: VecDeque<(u64, Outcome)>,
    /// Answers to AUTHs that wait for their time, and what to do with the transport then.
    pub(super) auths: VecDeque<AuthAnswer>,
    pub(super) rate: Rate,
}

/// The answer to an AUTH.
pub(super) enum AuthAnswer {
    Connected,
    /// This, and then the end of the transport.
    Refused(Value),
}

/// Counts messages in windows of a second.
pub(super) struct Rate {
    since: Instant,
    count: u32,
}

impl Rate {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, count: 0 }
    }

    /// Is one more within `limit` a second?
    pub(super) fn takes(&mut self, limit: u32, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        self.count = self.count.saturating_add(1);
        self.count <= limit
    }
}

/// Some letters and digits.
pub(super) fn word(length: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_were_given_are_taken() {
        let mut connection = Connection::new(None);
        let (first, second) = (connection.next_key(), connection.next_key());
        assert_eq!(connection_of(&first), Some(connection.id.as_str()));
        assert!(connection.gave(&second, true) && !connection.gave(&first, true));
        assert!(connection.gave(&first, false));
        connection.in_doubt = true;
        assert!(connection.gave(&first, true), "the client may never have got the second");
        let third = connection.next_key();
        assert!(connection.gave(&third, true) && !connection.gave(&second, true));
        assert!(!connection.gave(&format!("{}0", first), false), "never given");
        assert!(!Connection::new(None).gave(&first, false), "of another connection");
    }
}
