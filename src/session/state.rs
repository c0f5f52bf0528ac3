//! Where a session is, and the one function that changes it.
//!
//! ```text
//!   state        serving connection   attempt           timers that run
//!   Connecting   none                 First, Resume     Step, Retry, Budget, Pace, Leaving, Speech, Park
//!   Live         serves               none              Exchange, Pace, Healthy, Speech, Token, Park
//!   Exchanging   serves               none              Step, Pace, Healthy, Leaving, Speech, Park
//!   Swapping     serves, or drains    Swap              Step, Pace, Healthy, Leaving, Speech, Park
//!   Closing      is told to end       what it was       Step
//!   Departed     none                 none              Park
//!   Ended        none                 none              none
//! ```
//!
//! Rules:
//! 1. [`Session::enter`] is the only line that assigns the state: it stops every timer that the new state does
//!    not own, and gives the turn back if the new state needs none.
//! 2. A connection is an [`Attempt`] until it serves, whatever it is made for.

use std::time::Duration;

use super::{
    core::Session,
    delivery::Delivery,
    event::{Action, Cause, Epoch, Method, Shown},
    queue::Queue,
    timers::Timer,
    twins::Twins,
};
use crate::{clock::Instant, dialect::Purpose, wire::Close};

/// Where the session is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    /// No connection serves: one is being made.
    Connecting,
    Live,
    /// The injected message has no answer yet.
    Exchanging {
        shown: Shown,
        since: Instant,
    },
    /// A new connection takes the place of the one that serves.
    Swapping {
        shown: Shown,
        since: Instant,
        /// The client's messages are held until the service has answered those on the old connection.
        owed: bool,
        /// The old connection was told to end: what it still says is delivered, and the client's messages are held.
        drain: Option<Drain>,
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

/// The old connection on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drain {
    /// When it was asked to end.
    pub since: Instant,
    /// It is waited for until then at most.
    pub until: Instant,
    /// It has read everything that it was sent, and is waited for so long whenever it says nothing.
    pub settle: Option<Duration>,
}

/// How far a new connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    NeedsToken,
    Waiting,
    Dialing,
    /// Open: the dialect talks to it, and awaits what makes it ready.
    Restoring,
    /// Open, in a dialect that awaits nothing: a first sign of life is waited for.
    Proving,
    /// Ready, and the old connection serves on for a while.
    Settling,
    /// Ready, and the old connection has yet to end.
    Ready,
}

/// A connection that is being made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attempt {
    pub purpose: Purpose,
    pub epoch: Epoch,
    pub step: Step,
    /// The token that it was made with, once it is open.
    pub shown: Shown,
    /// Since when there is no connection that serves, or since the swap began.
    pub since: Instant,
    /// How the session comes to a newer token by it.
    pub method: Option<Method>,
    /// Messages of the client's that were sent on it again.
    pub replayed: u64,
    /// What it said before the old connection had ended.
    pub kept: Queue,
    /// What the old connection said meanwhile.
    pub twins: Twins,
    /// Refusals in a row that no repeating will change.
    pub verdicts: u8,
    /// The connection before it failed its trial.
    pub again: bool,
    pub delivery: Delivery,
}

impl Attempt {
    pub(super) fn new(purpose: Purpose, epoch: Epoch, now: Instant) -> Self {
        Self {
            purpose,
            epoch,
            step: Step::Dialing,
            shown: Shown::default(),
            since: now,
            method: None,
            replayed: 0,
            kept: Queue::default(),
            twins: Twins::default(),
            verdicts: 0,
            again: false,
            delivery: Delivery::default(),
        }
    }

    /// Does the service have it open?
    pub(super) fn is_open(&self) -> bool {
        matches!(self.step, Step::Restoring | Step::Proving | Step::Settling | Step::Ready)
    }
}

/// The connection that serves the client, or that did and is to end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Connection {
    pub epoch: Epoch,
    /// The token that it was last authenticated with.
    pub shown: Shown,
    pub delivery: Delivery,
    pub trial: Trial,
    /// What the connection before it said, for as long as copies may come.
    pub twins: Option<Box<Twins>>,
}

/// Does a connection that replaced another do the same for the client?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trial {
    /// It does, or it replaced none.
    Passed,
    /// The client has said nothing on it yet; `again`: the one before it failed the trial.
    Open { again: bool },
    /// The client spoke first at that time, and the service has not spoken since.
    Spoken { at: Instant, again: bool },
}

/// A session's part in the queue of those that exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// None is wanted.
    Idle,
    /// Asked for; `same`: also with the token that the service already knows, because the client asked.
    Asked { same: bool },
    /// It is this session's.
    Mine,
}

/// An outage that is hidden from the client.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outage {
    /// It is hidden until then.
    pub until: Instant,
    /// What the service said when it ended a connection last.
    pub last_word: Option<Close>,
}

impl State {
    /// The timers that may run in it.
    fn timers(&self) -> &'static [Timer] {
        match self {
            Self::Connecting => &[
                Timer::Step,
                Timer::Retry,
                Timer::Budget,
                Timer::Pace,
                Timer::Leaving,
                Timer::Speech,
                Timer::Park,
            ],
            Self::Live => {
                &[Timer::Exchange, Timer::Pace, Timer::Healthy, Timer::Speech, Timer::Token, Timer::Park]
            }
            Self::Exchanging { .. } | Self::Swapping { .. } => {
                &[Timer::Step, Timer::Healthy, Timer::Pace, Timer::Leaving, Timer::Speech, Timer::Park]
            }
            Self::Closing { .. } => &[Timer::Step],
            Self::Departed => &[Timer::Park],
            Self::Ended => &[],
        }
    }

    /// Is one of the places among those that exchange needed?
    fn needs_turn(&self) -> bool {
        matches!(self, Self::Exchanging { .. } | Self::Swapping { .. })
    }
}

impl Session {
    /// Rule 1. What is awaited in the new state has `step` as its deadline.
    pub(super) fn enter(&mut self, new: State, step: Option<Instant>) {
        if self.turn != Turn::Idle && !new.needs_turn() {
            self.turn = Turn::Idle;
            self.out.push(Action::EndTurn);
        }
        self.timers.stop(Timer::Step);
        self.timers.keep(new.timers());
        if let Some(at) = step {
            self.timers.set(Timer::Step, at);
        }
        self.state = new;
    }
}
