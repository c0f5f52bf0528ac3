//! Messages that are held, in their order, within a bound.

use std::collections::VecDeque;

use crate::{
    clock::Instant,
    wire::{Message, Payload},
};

/// What is held for one session. Empty, it is two words: an idle session has several.
#[derive(Debug, Default, Clone, PartialEq)]
#[expect(clippy::box_collection, reason = "an idle session keeps a word, not four")]
pub(super) struct Queue {
    held: Option<Box<VecDeque<Held>>>,
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Held {
    payload: Payload,
    since: Instant,
}

/// What a held message costs beside its bytes.
const OVERHEAD: usize = size_of::<Held>();

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.len())
    }

    /// Bytes held, with what keeping them costs.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The size of each message, the oldest first.
    pub(super) fn sizes(&self) -> impl Iterator<Item = usize> {
        self.held.iter().flat_map(|held| held.iter()).map(|held| held.payload.bytes.len())
    }

    pub(super) fn push(&mut self, payload: Payload, now: Instant) {
        self.bytes += payload.bytes.len() + OVERHEAD;
        self.held.get_or_insert_default().push_back(Held { payload, since: now });
    }

    /// Takes all of another queue in, behind its own.
    pub(super) fn append(&mut self, other: &mut Self) {
        self.bytes += std::mem::take(&mut other.bytes);
        match (&mut self.held, other.held.take()) {
            (Some(held), Some(mut more)) => held.append(&mut more),
            (held, more) => *held = held.take().or(more),
        }
    }

    /// Takes the first message out that is the same.
    pub(super) fn take(&mut self, message: Message<'_>) -> Option<(Payload, Instant)> {
        let held = self.held.as_mut()?;
        let at = held.iter().position(|held| held.payload.as_message() == message)?;
        let Held { payload, since } = held.remove(at)?;
        self.bytes -= payload.bytes.len() + OVERHEAD;
        if held.is_empty() {
            self.held = None;
        }
        Some((payload, since))
    }

    /// Puts one back that was the oldest.
    pub(super) fn put_back(&mut self, payload: Payload, since: Instant) {
        self.bytes += payload.bytes.len() + OVERHEAD;
        self.held.get_or_insert_default().push_front(Held { payload, since });
    }

    /// The oldest, and since when it was held.
    pub(super) fn pop(&mut self) -> Option<(Payload, Instant)> {
        let held = self.held.as_mut()?;
        let Held { payload, since } = held.pop_front()?;
        self.bytes -= payload.bytes.len() + OVERHEAD;
        if held.is_empty() {
            self.held = None;
        }
        Some((payload, since))
    }
}
