//! What happens to a session, and what it wants done.

use std::time::Duration;

use super::rehearsal::Rehearsal;
use crate::{
    clock::Instant,
    credential::{Generation, Token},
    wire::{Close, Direction, Message, Payload, Violation},
};

/// Counts the upstream connections of one session: a late word from an old one is known by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u32);

/// A token, as far as the core has to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shown {
    pub generation: Generation,
    /// `None` where nobody told.
    pub expires: Option<Instant>,
}

impl From<&Token> for Shown {
    fn from(token: &Token) -> Self {
        Self { generation: token.generation, expires: token.expires }
    }
}

/// What happens to a session.
#[derive(Debug)]
pub enum Event<'a> {
    /// A whole message of the client's.
    Client(Message<'a>),
    /// The client said Close, or is gone without one.
    ClientClosed(Option<Close>),
    ClientBroke(Violation),
    /// The client did not take what was written to it.
    ClientStalled,
    /// The handshake of the dial was accepted; with this token.
    Opened(Epoch, Option<Shown>),
    DialFailed(Epoch, DialFailure),
    /// A whole message of the service's.
    Upstream(Epoch, Message<'a>),
    /// The service said Close, or is gone without one; why, for the log.
    UpstreamClosed(Epoch, Option<Close>, &'static str),
    UpstreamBroke(Epoch, Violation),
    /// The service has read all that was sent to it before [`Action::Fence`].
    Fenced(Epoch),
    /// The client that went away has come back.
    ClientBack,
    /// A newer token is current.
    Token(Shown),
    /// The turn that was asked for; with the current token.
    Turn(&'a Token),
    /// The turn came, and there was no token to show.
    NoTurn,
    /// The source has refused for good, and no token is left.
    Hopeless,
    /// The deadline has come.
    Timer,
    /// The sidecar is going away.
    Drain,
    /// An operator practises.
    Rehearsal(Rehearsal),
}

/// Why a dial gave no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialFailure {
    /// The service refused the token of this generation (401, 403).
    Token(Generation),
    /// There is no token that may be used.
    NoToken,
    /// It may go better later.
    Passing(String),
}

/// What a session wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The message of this event goes on, as the bytes it came in.
    Forward,
    ToClient(Payload),
    ToUpstream(Payload),
    /// Dial, with the token that is current then.
    Dial(Epoch),
    /// Let go of every upstream connection, and of the dial.
    HangUp,
    /// Let go of the connection that was to replace the live one, or of its dial.
    HangUpNext,
    /// Let go of the old connection: the next one takes its place, as soon as it is there.
    Switch,
    /// Ask the service for a sign that it has read what was sent so far.
    Fence,
    CloseUpstream(Close),
    CloseClient(Close),
    /// End the client's connection without a Close, as the service's ended.
    DropClient,
    /// The client went away and may come back: its connection is let go, the rest stays.
    Park,
    /// A newer token is wanted.
    Demand(Demand),
    /// Wait for a turn to exchange: a bounded number of sessions does so at once.
    AskTurn,
    /// The turn, or the wait for it, is over.
    EndTurn,
    Note(Note),
    /// Nothing more will come.
    Finished(Cause),
}

/// A wish for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// The generation that will not do.
    pub rejected: Option<Generation>,
    pub trigger: Trigger,
}

/// What made a session want a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The service asked for it.
    Hint,
    /// The token was refused, or has ended.
    Expiry,
}

/// How a session came to be authenticated with a newer token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Exchange,
    Swap,
    Resume,
}

/// Something for the log and the metrics.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    Reauthenticated {
        method: Method,
        generation: Generation,
        took: Duration,
    },
    ReauthenticationFailed {
        method: Method,
        generation: Generation,
        /// The service said no; else nothing came of it.
        refused: bool,
        why: String,
    },
    UpstreamLost {
        why: String,
        /// How many dials have failed since; 0: it was there until now.
        attempt: u32,
    },
    /// The service does not acknowledge: what was sent last, either way, may be lost.
    InDoubt,
    UpstreamResumed {
        gap: Duration,
        replayed: u64,
    },
    Held {
        direction: Direction,
        bytes: usize,
    },
    Released {
        direction: Direction,
        bytes: usize,
        waited: Duration,
    },
    /// A message of the next connection's came before the old one had ended; is it kept?
    Overlapped {
        kept: bool,
    },
    /// The client went away; its upstream is kept.
    Parked,
    /// It came back.
    Returned {
        after: Duration,
    },
    /// A held message that nobody will send; `known`: the service acknowledges, so the client knows.
    Lost {
        direction: Direction,
        bytes: usize,
        waited: Duration,
        known: bool,
        cause: Cause,
    },
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The client ended it.
    Client,
    /// The service ended it, and its dialect knows no resuming.
    Upstream,
    /// No token could be had in place of one that ended.
    TokenExpired,
    /// The service was away for longer than `reconnect`.
    Outage,
    /// The service refused it for good.
    Refused,
    /// The service began a new connection: the client starts over.
    Discontinued,
    /// A peer broke RFC 6455.
    Violation,
    TooBig,
    /// The client did not take what was written to it.
    Slow,
    Drain,
}

/// Where a session is: for metrics and the status page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    Opening,
    Live,
    Exchanging,
    Resuming,
    Swapping,
    Parked,
    Closing,
}
