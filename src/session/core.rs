//! The session: its state, and what each event does to it.

use std::time::Duration;

use super::{
    away::Away,
    backoff::Backoff,
    event::{Action, Cause, Epoch, Event, Method, Phase, Shown},
    queue::Queue,
    swap::{Drain, Next},
    timers::{Timer, Timers},
};
use crate::{
    clock::Instant,
    config::SessionPolicy,
    credential::Token,
    dialect::{Dialect, Outgoing, Reading, Say},
    wire::{Close, Direction},
};

/// The limits of one session.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    pub session: SessionPolicy,
    /// How long the first connection may take to be ready.
    pub opening: Duration,
    /// Does the route have a token?
    pub needs_token: bool,
}

/// One client's connection and the upstream connection that serves it now.
pub struct Session {
    pub(super) dialect: Box<dyn Dialect>,
    pub(super) policy: Policy,
    pub(super) state: State,
    pub(super) epoch: Epoch,
    /// The newest epoch that was given to a connection.
    pub(super) last_epoch: Epoch,
    /// The connection that is to replace the live one.
    pub(super) next: Option<Next>,
    /// The token that the upstream was last authenticated with.
    pub(super) live: Shown,
    /// The newest token that is known.
    pub(super) newest: Shown,
    /// Tokens up to this generation were refused.
    pub(super) refused: Option<crate::credential::Generation>,
    pub(super) turn: Turn,
    /// The service has asked for a new token and has not been given one.
    pub(super) asked: bool,
    /// The connection that is being made carries a newer token than the one before it; how that came.
    pub(super) reauthenticates: Option<Method>,
    pub(super) timers: Timers,
    pub(super) backoff: Backoff,
    /// Messages for the service.
    pub(super) queue: Queue,
    /// The client's last word, which waits behind what it said before.
    pub(super) leaving: Option<Option<Close>>,
    /// What connections said that are gone, and that the client is yet to hear.
    pub(super) orphans: Queue,
    /// What became of a client that went away.
    pub(super) away: Option<Box<Away>>,
    pub(super) say: Say,
    /// When the client was last sent a message.
    pub(super) told_client: Instant,
    /// When the service will have digested what it was sent in one go.
    pub(super) digested: Instant,
    /// When the session was last ready.
    pub(super) ready_at: Instant,
}

/// Where the session is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    Opening(Step),
    Live,
    Exchanging {
        shown: Shown,
        since: Instant,
    },
    Resuming {
        step: Step,
        since: Instant,
        replayed: u64,
    },
    /// A new connection takes the place of the live one.
    Swapping {
        shown: Shown,
        since: Instant,
        /// The old one has been told to end: what it still says is delivered, and the client's is held.
        draining: Option<Drain>,
    },
    /// The client's Close, or the service's last word, has gone on; the answer is awaited.
    Closing {
        cause: Cause,
        close: Close,
    },
    /// The service has ended it while the client was away.
    Departed,
    Ended,
}

/// How far a new upstream connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    NeedsToken,
    Waiting,
    Dialing,
    /// Open, but not yet ready.
    Greeting,
}

/// A session's part in the queue of those that exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// None is wanted.
    Idle,
    /// Asked for; `same`: also with the token that the service already knows, for the client asked.
    Asked { same: bool },
}

impl Session {
    /// A session whose first upstream connection is being opened; `newest` is the current token.
    pub fn new(
        dialect: Box<dyn Dialect>,
        policy: Policy,
        newest: Option<Shown>,
        seed: u64,
        now: Instant,
    ) -> Self {
        let mut timers = Timers::default();
        timers.set(Timer::Budget, now + policy.opening);
        Self {
            dialect,
            policy,
            state: State::Opening(Step::Dialing),
            epoch: Epoch(1),
            last_epoch: Epoch(1),
            next: None,
            live: Shown::default(),
            newest: newest.unwrap_or_default(),
            refused: None,
            turn: Turn::Idle,
            asked: false,
            reauthenticates: None,
            timers,
            backoff: Backoff::new(seed),
            queue: Queue::default(),
            leaving: None,
            orphans: Queue::default(),
            away: None,
            say: Say::default(),
            told_client: now,
            digested: now,
            ready_at: now,
        }
    }

    /// Everything that happens comes through here; when it returns, nothing is pending.
    pub fn on_event(&mut self, event: Event<'_>, now: Instant, out: &mut Vec<Action>) {
        if self.state == State::Ended {
            return;
        }
        match event {
            Event::Client(message) => self.client(message, now, out),
            Event::ClientClosed(close) => self.client_closed(close, now, out),
            Event::ClientBroke(violation) => self.broke(violation, now, out),
            Event::ClientStalled => {
                let close = Close::new(Close::POLICY, "the client is too slow");
                self.end(Cause::Slow, Some(close), now, out);
            }
            Event::ClientBack => self.client_back(now, out),
            Event::Upstream(epoch, _)
            | Event::Opened(epoch, _)
            | Event::DialFailed(epoch, _)
            | Event::UpstreamClosed(epoch, ..)
            | Event::UpstreamBroke(epoch, _)
            | Event::Fenced(epoch)
                if epoch != self.epoch =>
            {
                // Rule 3: the next one's, or a late word from an older connection.
                if self.next_epoch() == Some(epoch) {
                    self.of_the_next(event, now, out);
                }
            }
            Event::Upstream(_, message) => self.upstream(message, now, out),
            Event::Opened(_, shown) => self.opened(shown, now, out),
            Event::DialFailed(_, failure) => self.dial_failed(failure, now, out),
            Event::UpstreamClosed(_, close, why) => self.upstream_closed(close, why, now, out),
            Event::UpstreamBroke(_, violation) => self.upstream_broke(violation, now, out),
            Event::Fenced(_) => self.fenced(now),
            Event::Token(shown) => self.token(shown, now, out),
            Event::Turn(token) => self.take_turn(token, now, out),
            // A newer token will ask for one again; it answers a client that has asked, too.
            Event::NoTurn => self.end_turn(out),
            Event::Hopeless => self.hopeless(now, out),
            Event::Timer => self.timer(now, out),
            Event::Rehearsal(what) => self.rehearse(what, now, out),
            Event::Drain => {
                let close = Close::new(Close::GOING_AWAY, "the proxy is going away");
                self.end(Cause::Drain, Some(close), now, out);
            }
        }
    }

    fn timer(&mut self, now: Instant, out: &mut Vec<Action>) {
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Step => self.step_timed_out(now, out),
                Timer::Budget => self.budget_spent(now, out),
                Timer::Retry => self.dial(now, out),
                Timer::Exchange => self.exchange_due(out),
                Timer::Pace => self.flush(now, out),
                Timer::Leaving => self.leave(now, out),
                Timer::Idle => self.idle(now, out),
                Timer::Park => self.end(Cause::Client, None, now, out),
            }
            if self.state == State::Ended {
                return;
            }
        }
    }

    /// An epoch for one more connection.
    pub(super) fn fresh_epoch(&mut self) -> Epoch {
        self.last_epoch = Epoch(self.last_epoch.0.wrapping_add(1));
        self.last_epoch
    }

    // ----- what the driver asks

    /// When [`Event::Timer`] is to be delivered.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The upstream connection that counts.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The connection that is to replace it, where there is one.
    pub fn next_epoch(&self) -> Option<Epoch> {
        self.next.as_ref().map(|next| next.epoch)
    }

    /// May the service be read? A client that is away takes nothing.
    pub fn wants_upstream(&self) -> bool {
        self.away.as_ref().is_none_or(|away| away.kept.bytes() < self.policy.session.queue)
    }

    /// May the next connection be read, while the old one has yet to end?
    pub fn wants_next(&self) -> bool {
        self.next.as_ref().is_some_and(|next| next.kept.bytes() < self.policy.session.queue)
    }

    /// May the client be read? Where not, TCP pushes back.
    pub fn wants_client(&self) -> bool {
        self.queue.bytes() < self.policy.session.queue && !self.dialect.is_full()
    }

    /// Is an answer awaited, which may stand behind data that the client is slow to take?
    pub fn awaits_answer(&self) -> bool {
        matches!(self.state, State::Exchanging { .. } | State::Resuming { step: Step::Greeting, .. })
    }

    /// Do bytes pass as they come, whatever they are?
    pub fn streams(&self) -> bool {
        self.dialect.reads(Direction::Up) == Reading::Nothing
    }

    /// Do whole messages pass unread at this moment?
    pub fn passes(&self, direction: Direction) -> bool {
        let flows = match direction {
            Direction::Up => {
                self.queue.is_empty()
                    && matches!(self.state, State::Live | State::Swapping { draining: None, .. })
            }
            Direction::Down => {
                self.away.is_none()
                    && matches!(self.state, State::Live | State::Swapping { draining: None, .. })
            }
        };
        flows && self.dialect.reads(direction) == Reading::Bounds
    }

    /// The handshake of the connection that is to be dialled.
    pub fn handshake(&mut self, token: Option<&Token>) -> Result<Outgoing, String> {
        self.dialect.handshake(token)
    }

    /// Where the session is.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Closing { .. } | State::Ended => Phase::Closing,
            _ if self.away.is_some() => Phase::Parked,
            State::Departed => Phase::Closing,
            State::Opening(_) => Phase::Opening,
            State::Live => Phase::Live,
            State::Exchanging { .. } => Phase::Exchanging,
            State::Swapping { .. } => Phase::Swapping,
            State::Resuming { .. } => Phase::Resuming,
        }
    }

    /// Bytes held, for either side.
    pub fn held_bytes(&self) -> usize {
        self.queues().map(Queue::bytes).sum()
    }

    /// Messages held for the service.
    pub fn held_messages(&self) -> usize {
        self.queue.len()
    }

    fn queues(&self) -> impl Iterator<Item = &Queue> {
        let down = [self.next.as_ref().map(|next| &next.kept), self.away.as_ref().map(|away| &away.kept)];
        down.into_iter().flatten().chain([&self.orphans, &self.queue])
    }

    /// The token that the upstream was last authenticated with.
    pub fn authenticated_with(&self) -> Shown {
        self.live
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("state", &self.state)
            .field("epoch", &self.epoch)
            .field("live", &self.live)
            .field("newest", &self.newest)
            .field("held", &self.queue.len())
            .finish_non_exhaustive()
    }
}
