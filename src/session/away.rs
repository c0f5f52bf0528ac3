//! Parking: the upstream of a client that went away is kept for it, for a while.
//!
//! ```text
//!   the client vanished, or said 1001 ──► Parked ── it is back: what was kept, in its order ──► as it was
//!                                           │  ▲
//!                     the service says on ──┘  └── swaps, exchanges and losses go on as ever
//! ```
//!
//! 1. A client that says goodbye with any other code means it.
//! 2. What the service says is kept within `session.queue`; beyond it the service is not read.
//! 3. A service that ends the connection meanwhile has its last word kept as well.

use super::{
    core::{Session, State},
    event::{Action, Cause, Note},
    messages::released,
    queue::Queue,
    timers::Timer,
};
use crate::{
    clock::Instant,
    wire::{Close, Direction},
};

/// A client that went away.
#[derive(Debug)]
pub(super) struct Away {
    since: Instant,
    /// What it is to hear when it is back.
    pub(super) kept: Queue,
    /// And what the service said last.
    pub(super) last_word: Option<Close>,
}

impl Session {
    /// Is the client one to be waited for?
    pub(super) fn parks(&self, close: Option<&Close>) -> bool {
        let meant = close.is_some_and(|close| close.code != Some(Close::GOING_AWAY));
        !meant
            && !self.policy.session.park.is_zero()
            && matches!(
                self.state,
                State::Live | State::Exchanging { .. } | State::Resuming { .. } | State::Swapping { .. }
            )
    }

    pub(super) fn park(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.away.is_none() {
            self.away = Some(Box::new(Away { since: now, kept: Queue::default(), last_word: None }));
            self.timers.set(Timer::Park, now + self.policy.session.park);
            out.push(Action::Park);
            out.push(Action::Note(Note::Parked));
        }
    }

    /// The client is back: it hears what it missed.
    pub(super) fn client_back(&mut self, now: Instant, out: &mut Vec<Action>) {
        let Some(mut away) = self.away.take() else { return };
        self.timers.clear(Timer::Park);
        self.told_client = now;
        out.push(Action::Note(Note::Returned { after: now - away.since }));
        while let Some((payload, since)) = away.kept.pop() {
            out.push(released(Direction::Down, &payload, since, now));
            out.push(Action::ToClient(payload));
        }
        if self.state == State::Departed {
            self.end(Cause::Upstream, away.last_word, now, out);
        }
    }
}
