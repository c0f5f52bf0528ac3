//! Parking: the upstream of a client that went away is kept for it, for a while.
//!
//! ```text
//!   the client vanished, or said 1001 ──► Parked ── it is back: what was kept, in its order ──► as it was
//!                                           │  ▲            │
//!                     the service says on ──┘  └────────────┘ gone again before it has read that: once more
//!                     swaps, exchanges and losses go on as ever
//! ```
//!
//! 1. A client that says goodbye with any other code means it.
//! 2. What the service says is kept within `session.queue`; beyond it the service is not read.
//! 3. A service that ends the connection meanwhile has its last word kept as well.
//! 4. What was kept is kept until the client has read it: the Pong to a Ping behind it shows that. What it was
//!    sent before it went away, and may not have read, cannot be kept, and is counted.

use super::{
    core::Session,
    event::{Action, Cause, Note},
    messages::held,
    queue::Queue,
    state::State,
    timers::Timer,
};
use crate::{
    clock::Instant,
    dialect::{Doing, Purpose},
    wire::{Close, Direction},
};

/// A client that went away.
#[derive(Debug, Clone, PartialEq)]
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
        let first = self.purpose() == Some(Purpose::First);
        !meant
            && !first
            && !self.policy.park.is_zero()
            && !matches!(self.state, State::Closing { .. } | State::Departed | State::Ended)
    }

    pub(super) fn park(&mut self) {
        if self.away.is_some() {
            return;
        }
        // Rule 4: what it was given when it was back last comes first, and is none of what is in doubt.
        let kept = std::mem::take(&mut self.unread);
        let messages = self.heard.take_doubt().saturating_sub(kept.len() as u64);
        self.out.extend(kept.sizes().map(|bytes| Action::Note(held(Direction::Down, bytes))));
        if messages > 0 {
            self.note(Note::InDoubt { direction: Direction::Down, messages });
        }
        self.away = Some(Box::new(Away { since: self.now, kept, last_word: None }));
        self.timers.set(Timer::Park, self.now + self.policy.park);
        self.out.push(Action::Park);
        self.note(Note::Parked);
    }

    /// The client is back: it hears what it missed.
    pub(super) fn client_back(&mut self) {
        let Some(away) = self.away.take() else { return };
        if self.state == State::Ended {
            let close = Close::new(Close::TRY_AGAIN, "the session is over; connect again");
            return self.say_goodbye(Doing::NotTheClients, Some(close));
        }
        let Away { since, mut kept, last_word } = *away;
        self.timers.stop(Timer::Park);
        self.told_client = self.now;
        self.note(Note::Returned { after: self.now - since });
        if self.state != State::Departed {
            self.unread = kept.clone();
        }
        self.deliver(&mut kept);
        if self.state == State::Departed {
            return self.end(Cause::Upstream, last_word);
        }
        if !self.unread.is_empty() {
            self.out.push(Action::PingClient(self.heard.sent()));
        }
    }

    /// The client has read so many messages.
    pub(super) fn client_read(&mut self, messages: u64) {
        self.heard.reads(messages);
        if self.heard.is_all_read() {
            self.unread = Queue::default();
        }
    }
}
