//! What the client said and a new connection has to hear again: in the order of sending, as it was sent, without the token.

use crate::wire::Kind;

/// One message of the client's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    /// Rises in the order of sending.
    pub serial: u32,
    pub rule: u16,
    pub kind: Kind,
    /// The service's answer has reached the client, or none is known.
    pub answered: bool,
    /// What it is kept for.
    pub kept: Kept,
    /// JSON; empty: the rule has no key.
    pub key: Box<[u8]>,
    pub frame: Box<[u8]>,
}

/// What a message is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// A new connection hears it again.
    Replay,
    /// The other side owes an answer, on the connection that carried it.
    Owed,
    /// That connection is gone: an answer goes nowhere.
    Void,
}

/// All of them, within a bound.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Memory {
    items: Vec<Item>,
    last: u32,
    bytes: usize,
    unanswered: usize,
    limit: usize,
    /// Something did not fit: what a new connection would hear is not all.
    pub overflowed: bool,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Self {
        Self { items: Vec::new(), last: 0, bytes: 0, unanswered: 0, limit, overflowed: false }
    }

    /// Keeps a message, in place of the one before it of the same rule and key. `others`: bytes that are kept beside it.
    pub(super) fn remember(&mut self, others: usize, item: Item) {
        self.forget(|other| other.rule == item.rule && other.key == item.key);
        if others + self.bytes + weight(&item) > self.limit {
            self.overflowed |= item.kept == Kept::Replay;
            return;
        }
        self.last += 1;
        self.bytes += weight(&item);
        self.unanswered += usize::from(!item.answered);
        self.items.reserve_exact(1);
        self.items.push(Item { serial: self.last, ..item });
    }

    /// Forgets those that are meant.
    pub(super) fn forget(&mut self, meant: impl Fn(&Item) -> bool) {
        let (mut bytes, mut unanswered) = (self.bytes, self.unanswered);
        self.items.retain(|item| {
            let goes = meant(item);
            if goes {
                bytes -= weight(item);
                unanswered -= usize::from(!item.answered);
            }
            !goes
        });
        (self.bytes, self.unanswered) = (bytes, unanswered);
    }

    /// The first to be said again behind this serial.
    pub(super) fn after(&self, serial: u32) -> Option<&Item> {
        self.items.iter().find(|item| item.serial > serial && item.kept == Kept::Replay)
    }

    /// The connection that carried them is gone: what the service owed will not come, and what the client owes goes nowhere.
    pub(super) fn voids(&mut self, is_the_clients: impl Fn(&Item) -> bool) {
        self.forget(|item| item.kept == Kept::Owed && !is_the_clients(item));
        let owed = self.items.iter_mut().filter(|item| item.kept == Kept::Owed);
        owed.for_each(|item| item.kept = Kept::Void);
    }

    pub(super) fn get(&self, serial: u32) -> Option<&Item> {
        self.items.iter().find(|item| item.serial == serial)
    }

    pub(super) fn of_rule(&self, rule: usize) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| usize::from(item.rule) == rule)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Item> {
        self.items.iter()
    }

    /// The client has heard the service's answer to it.
    pub(super) fn is_answered(&mut self, serial: u32) {
        if let Some(item) = self.items.iter_mut().find(|item| item.serial == serial && !item.answered) {
            item.answered = true;
            self.unanswered -= 1;
        }
    }

    /// Is an answer to one of them still the client's to hear?
    pub(super) fn awaits_answers(&self) -> bool {
        self.unanswered > 0
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn weight(item: &Item) -> usize {
    size_of::<Item>() + item.key.len() + item.frame.len()
}
