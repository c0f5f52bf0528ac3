//! Messages that are held, in their order, within a bound.

use std::collections::VecDeque;

use crate::{clock::Instant, wire::Payload};

/// What is held for one session.
#[derive(Debug, Default)]
pub(super) struct Queue {
    held: VecDeque<Held>,
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    payload: Payload,
    since: Instant,
}

/// What a held message costs beside its bytes.
const OVERHEAD: usize = size_of::<Held>();

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Bytes held, with what keeping them costs.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, payload: Payload, now: Instant) {
        self.bytes += payload.bytes.len() + OVERHEAD;
        self.held.push_back(Held { payload, since: now });
    }

    /// Takes all of another queue in, behind its own.
    pub(super) fn append(&mut self, other: &mut Self) {
        self.bytes += std::mem::take(&mut other.bytes);
        self.held.append(&mut other.held);
        other.held = VecDeque::new();
    }

    /// The oldest, and since when it was held.
    pub(super) fn pop(&mut self) -> Option<(Payload, Instant)> {
        let Held { payload, since } = self.held.pop_front()?;
        self.bytes -= payload.bytes.len() + OVERHEAD;
        if self.held.is_empty() {
            // An idle session keeps no buffer.
            self.held = VecDeque::new();
        }
        Some((payload, since))
    }
}
