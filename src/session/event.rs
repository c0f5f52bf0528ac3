//! What happens to a session, and what it wants done.

use std::time::Duration;

use super::rehearsal::Rehearsal;
use crate::{
    clock::Instant,
    credential::{Generation, Token},
    dialect::{Remark, Want},
    wire::{Close, Direction, Message, Payload, Violation},
};

/// Counts the upstream connections of one session: a late word from an old one is known by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u32);

impl Epoch {
    /// That of the connection a session begins with.
    pub const FIRST: Self = Self(1);
}

/// A token, as far as the core has to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shown {
    pub generation: Generation,
    /// `None`: it is not known.
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
    /// The client took nothing of what was written to it.
    ClientStalled,
    /// The client has read so many of the messages that it was sent: the number of a Ping came back in its Pong.
    ClientRead(u64),
    /// The client that went away has come back.
    ClientBack,
    /// The handshake of the dial was accepted; with this token.
    Opened(Epoch, Option<Shown>),
    DialFailed(Epoch, DialFailure),
    /// A whole message of the service's.
    Upstream(Epoch, Message<'a>),
    /// The service said Close, or is gone without one; why, for the log.
    UpstreamClosed(Epoch, Option<Close>, &'static str),
    UpstreamBroke(Epoch, Violation),
    /// The service has read so many of the messages that this connection was sent.
    UpstreamRead(Epoch, u64),
    /// The service is not read, because the client takes nothing: an answer may stand behind what is unread.
    Unread,
    /// A newer token is current.
    Token(&'a Token),
    /// A value that was wanted has come, or a newer one; `None`: it cannot be had.
    Value(&'a Want, Option<&'a Token>),
    /// The turn that was asked for; with the current token, if the session has one.
    Turn(Option<&'a Token>),
    /// The turn came, and there was no token to show.
    NoTurn,
    /// The source has refused for good, and no token is left.
    Hopeless,
    /// The deadline has come.
    Timer,
    /// The sidecar is going away.
    Shutdown,
    /// An operator closes the session.
    Closed,
    /// An operator practises.
    Rehearsal(Rehearsal),
}

/// Why a dial gave no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialFailure {
    /// The service refused the token of this generation, with this status (401, 403).
    Token(Generation, u16),
    /// There is no token that may be used.
    NoToken,
    /// A verdict on what was asked for (404, 410), or 401 and 403 to a token that is not to blame.
    Refused { status: u16 },
    /// It may go better later, and not before `retry_after`.
    Passing { why: String, retry_after: Option<Duration> },
}

/// What a session wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The message of this event goes on, as the bytes it came in. It is the first thing to be done, or not done at all.
    Forward,
    ToClient(Payload),
    ToUpstream(Epoch, Payload),
    /// Dial, with the token that is current then.
    Dial(Epoch),
    /// Close this upstream connection if it is open, or give its dial up.
    HangUp(Epoch),
    /// A Ping behind what was sent: so many messages. Its Pong is [`Event::UpstreamRead`], [`Event::ClientRead`].
    PingUpstream(Epoch, u64),
    PingClient(u64),
    CloseUpstream(Epoch, Close),
    CloseClient(Close),
    /// End the client's connection without a Close, as the service's ended.
    DropClient,
    /// The client went away and may come back: its connection is closed, the upstream stays.
    Park,
    /// A newer token is wanted.
    Demand(Demand),
    /// A value from outside is wanted; of this generation it was refused. [`Event::Value`] answers.
    Fetch(Want, Option<Generation>),
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
    /// So many messages were sent, and nothing shows that they were read: they may be lost.
    InDoubt {
        direction: Direction,
        messages: u64,
    },
    /// A service that acknowledges nothing was without a connection: what it said meanwhile is lost.
    Gap,
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
    /// A message of the new connection came before the old one had ended; is it kept?
    Overlapped {
        kept: bool,
    },
    /// Nobody can say what a message that goes this way is.
    Unreadable(Direction),
    /// The service acknowledged what nobody waits for.
    Unasked,
    /// What an operator should know of the session.
    Remark(Remark),
    /// A connection on which the client had said something is replaced, and nothing of it is said again.
    Hopes,
    /// The service ended the session, in these words.
    Refused(String),
    /// The client went away; its upstream is kept.
    Parked,
    /// It came back.
    Returned {
        after: Duration,
    },
    /// A held message that will not be sent; `known`: the service acknowledges, so the client knows.
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
    /// The service ended it because of its token, or no token could be had in place of one that ended.
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
    Shutdown,
    /// An operator closed it.
    Operator,
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
