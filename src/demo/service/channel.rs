//! A channel: what was said on it, who is attached, who is present.
//!
//! ```text
//!   history   n-3  n-2  n-1 │ next = n       a serial names the place after which a client continues
//!                   └ "epoch-n-2@0"          opaque to clients; the epoch changes when history is lost
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use rmpv::Value;

use super::{
    connection::{TransportId, word},
    frame::Broadcast,
};
use crate::clock::Instant;

/// One message of the past.
pub(super) struct Past {
    pub(super) connection_id: String,
    pub(super) frame: Broadcast,
    /// The mode that it takes to hear it.
    pub(super) mode: u64,
    at: Instant,
}

/// One who is present.
pub(super) struct Member {
    /// As it stands in a SYNC.
    pub(super) tree: Value,
    /// Which loss of its connection left it behind; it leaves when its grace is over.
    pub(super) left_behind: Option<u64>,
}

pub(super) struct Channel {
    epoch: String,
    next: u64,
    pub(super) history: VecDeque<Past>,
    pub(super) attached: BTreeSet<TransportId>,
    /// By connection and client id.
    pub(super) members: BTreeMap<(String, String), Member>,
}

impl Channel {
    pub(super) fn new() -> Self {
        Self {
            epoch: word(12),
            next: 1,
            history: VecDeque::new(),
            attached: BTreeSet::new(),
            members: BTreeMap::new(),
        }
    }

    /// The serial of the last message.
    pub(super) fn serial(&self) -> String {
        self.serial_at(self.next - 1)
    }

    /// The serial after which the newest `count` messages come.
    pub(super) fn serial_before(&self, count: usize) -> String {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.serial_at((self.next - 1).saturating_sub(count))
    }

    fn serial_at(&self, n: u64) -> String {
        format!("{}-{n}@0", self.epoch)
    }

    /// The serial of the next message.
    pub(super) fn next_serial(&self) -> String {
        self.serial_at(self.next)
    }

    /// Remembers a message under the serial that `next_serial` gave.
    pub(super) fn remember(&mut self, connection_id: &str, frame: Broadcast, mode: u64, now: Instant) {
        self.next += 1;
        self.history.push_back(Past { connection_id: connection_id.to_owned(), frame, mode, at: now });
    }

    /// Forgets what is too old or too much.
    pub(super) fn trim(&mut self, limit: usize, ttl: Duration, now: Instant) {
        let too_old = |past: &Past| now.saturating_duration_since(past.at) > ttl;
        while self.history.len() > limit || self.history.front().is_some_and(too_old) {
            self.history.pop_front();
        }
    }

    /// How many messages of the history come after this serial; `None` where some are gone, or it is
    /// none of this channel's.
    pub(super) fn since(&self, serial: &str) -> Option<usize> {
        let n: u64 = serial.strip_prefix(&self.epoch)?.strip_prefix('-')?.strip_suffix("@0")?.parse().ok()?;
        let missed = usize::try_from((self.next - 1).checked_sub(n)?).ok()?;
        (missed <= self.history.len()).then_some(missed)
    }

    /// Loses its history: no serial given before is known any more.
    pub(super) fn forget(&mut self) {
        self.epoch = word(12);
        self.history.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_serial_is_good_while_everything_after_it_is_remembered() {
        let mut channel = Channel::new();
        let now = clock::now();
        let start = channel.serial();
        for _ in 0..3 {
            channel.remember("c", Broadcast::new(Value::Nil), 0, now);
        }
        assert_eq!(channel.since(&start), Some(3));
        assert_eq!(channel.since(&channel.serial()), Some(0));
        assert_eq!(channel.since(&channel.next_serial()), None, "of the future");
        channel.trim(2, Duration::from_secs(1), now);
        assert_eq!(channel.since(&start), None, "one after it is gone");
        let last = channel.serial();
        channel.forget();
        assert_eq!(channel.since(&last), None);
    }
}
