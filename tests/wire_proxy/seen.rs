//! What passed through the proxy, for a test to ask.

use std::collections::HashMap;

use perennial::clock::Instant;

use super::{Action, Cut, Direction, Kind};

/// Events that are kept; what comes later is only counted.
const LIMIT: usize = 100_000;

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub at: Instant,
    /// Which connection, counted from 0.
    pub connection: usize,
    pub direction: Direction,
    pub what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Something came in, and the fault that it met. Its size in bytes is that on the wire.
    Came { kind: Kind, size: u64, met: Option<Action> },
    /// The connection has ended.
    Ended(Cut),
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub events: Vec<Event>,
    counts: HashMap<(Direction, Kind), u64>,
    /// Connections that have ended.
    pub ended: u64,
}

impl Seen {
    pub fn count(&self, direction: Direction, kind: Kind) -> u64 {
        self.counts.get(&(direction, kind)).copied().unwrap_or(0)
    }

    /// Connections that came, refused ones included.
    pub fn connections(&self) -> u64 {
        self.count(Direction::Up, Kind::Connection)
    }

    /// When something of this kind came, each time.
    pub fn times(&self, direction: Direction, wanted: Kind) -> Vec<Instant> {
        let is_it = |event: &&Event| {
            let what = matches!(event.what, What::Came { kind, .. } if kind == wanted);
            what && event.direction == direction
        };
        self.events.iter().filter(is_it).map(|event| event.at).collect()
    }

    /// The last events, a line each, with the time since the first one.
    pub fn tail(&self) -> String {
        let last = self.events.iter().skip(self.events.len().saturating_sub(20));
        let line = |event: &Event| {
            let Event { at, connection, direction, what } = event;
            format!("{:?}: {connection} {direction:?} {what:?}\n", *at - self.events[0].at)
        };
        last.map(line).collect()
    }

    pub(super) fn add(&mut self, event: Event) {
        match event.what {
            What::Came { kind, .. } => *self.counts.entry((event.direction, kind)).or_default() += 1,
            What::Ended(_) => self.ended += 1,
        }
        if self.events.len() < LIMIT {
            self.events.push(event);
        }
    }
}
