//! What is remembered of one token, and what that costs.

use std::{sync::Arc, time::Duration};

use super::TokenKey;
use crate::{
    clock::{Instant, Now},
    credential::token::Generation,
};

/// A reading of both clocks in milliseconds; the monotonic one from the history's own beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::credential) struct Moment {
    pub(in crate::credential) mono: u64,
    pub(in crate::credential) wall: u64,
}

impl Moment {
    pub(super) fn of(now: Now, origin: Instant) -> Self {
        Self { mono: millis(now.mono.saturating_duration_since(origin)), wall: millis(now.wall) }
    }

    pub(super) fn after(self, duration: Duration) -> Self {
        let by = millis(duration);
        Self { mono: self.mono.saturating_add(by), wall: self.wall.saturating_add(by) }
    }

    /// The moment at which the wall clock should show `wall`, told at `self`.
    pub(super) fn when(self, wall: u64) -> Self {
        Self { mono: self.mono.saturating_add(wall.saturating_sub(self.wall)), wall }
    }

    /// The later of the two, by each clock.
    pub(super) fn or_later(self, other: Self) -> Self {
        Self { mono: self.mono.max(other.mono), wall: self.wall.max(other.wall) }
    }

    /// The sooner of the two, by each clock.
    pub(super) fn or_sooner(self, other: Self) -> Self {
        Self { mono: self.mono.min(other.mono), wall: self.wall.min(other.wall) }
    }

    /// Is it over by either clock? What must not last too long asks this.
    pub(super) fn is_over(self, now: Self) -> bool {
        self.mono <= now.mono || self.wall <= now.wall
    }

    /// Is it over by the clock that nobody sets? What must not end too soon asks this.
    pub(super) fn is_surely_over(self, now: Self) -> bool {
        self.mono <= now.mono
    }
}

/// Whole milliseconds, downwards.
pub(in crate::credential) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What is remembered of one token.
#[derive(Debug, Clone)]
pub(in crate::credential) struct Record {
    /// When it is forgotten.
    pub(in crate::credential) forget: Moment,
    pub(in crate::credential) state: State,
}

#[derive(Debug, Clone)]
pub(in crate::credential) enum State {
    /// A token that is the newest of its credential.
    Current {
        generation: Generation,
        /// When it ends, on the wall clock, in milliseconds.
        expires_wall: Option<u64>,
        /// Those that it superseded and that are still in grace; to be revoked when it is superseded.
        predecessors: Arc<[TokenKey]>,
    },
    /// A token with a successor, until its grace is over.
    Superseded(Arc<Superseded>),
    /// Superseded for longer than its grace, or twice.
    Revoked,
}

#[derive(Debug, Clone)]
pub(in crate::credential) struct Superseded {
    /// When its grace ends.
    pub(in crate::credential) until: Moment,
    pub(in crate::credential) successor: TokenKey,
    /// Of the successor.
    pub(in crate::credential) generation: Generation,
    /// When the successor ends, on the wall clock, in milliseconds.
    pub(in crate::credential) expires_wall: Option<u64>,
    /// The successor's text, which only the superseded token unseals.
    pub(in crate::credential) sealed: Arc<[u8]>,
}

/// A token in an order of time: an entry of an index.
pub(super) type Dated = (u64, TokenKey);

/// Tables of either kind (hash and tree) are half full at worst, so that each entry counts twice.
const SLACK: usize = 2;

/// Bytes of each record: its entry, and its place in the order of forgetting.
const ENTRY: usize = SLACK * (size_of::<(TokenKey, Record)>() + size_of::<Dated>());

/// Bytes that one allocation takes beyond what is in it: the counts of an `Arc`, and the allocator's own.
const ALLOCATION: usize = 2 * size_of::<usize>() + 16;

/// Bytes of a record in grace beside its sealed part: the rest of it, and its place in the order of grace.
const IN_GRACE: usize = SLACK * size_of::<Dated>() + size_of::<Superseded>() + 2 * ALLOCATION;

impl Record {
    /// The bytes that the record takes in memory, with its key and its places in the indexes.
    pub(super) fn bytes(&self) -> usize {
        ENTRY
            + match &self.state {
                State::Current { predecessors, .. } => ALLOCATION + size_of_val(&**predecessors),
                State::Superseded(superseded) => IN_GRACE + superseded.sealed.len(),
                State::Revoked => 0,
            }
    }

    /// When its grace ends, where it has one.
    pub(super) fn grace_ends(&self) -> Option<u64> {
        match &self.state {
            State::Superseded(superseded) => Some(superseded.until.mono),
            State::Current { .. } | State::Revoked => None,
        }
    }

    /// What comes of another's record of the same token; `None`: nothing.
    pub(super) fn learned(&self, other: Self) -> Option<Self> {
        let forget = self.forget.or_later(other.forget);
        match (&self.state, &other.state) {
            (State::Superseded(_) | State::Revoked, State::Current { .. })
            | (State::Revoked, State::Superseded(_)) => None,
            (State::Superseded(known), State::Superseded(theirs)) => {
                let until = known.until.or_sooner(theirs.until);
                let state = State::Superseded(Arc::new(Superseded { until, ..theirs.as_ref().clone() }));
                Some(Self { forget, state })
            }
            (State::Current { .. }, State::Superseded(_)) => Some(other),
            (State::Current { .. }, State::Current { .. })
            | (State::Current { .. } | State::Superseded(_) | State::Revoked, State::Revoked) => {
                Some(Self { forget, ..other })
            }
        }
    }

    /// The same, with its sealed part dropped.
    pub(super) fn revoked(&self) -> Self {
        Self { forget: self.forget, state: State::Revoked }
    }
}
