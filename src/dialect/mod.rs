//! How a service speaks of tokens. A dialect is a value that the session core asks; it does no IO.
//!
//! ```text
//!   client message ──► client()   ─┐            Fate:    forward │ swallow │ hold
//!   service message ─► upstream() ─┼─► Verdict: Meaning: ready, accepted, rejected, asks, lapsed, …
//!   core: exchange(), lost(), … ───┘   Say:     what the dialect itself has to say, either way
//! ```
//!
//! Rules:
//! 1. A message that nobody has to change is forwarded as the bytes it came in ([`Fate::Forward`]).
//! 2. What a dialect cannot read it forwards: the service is the judge of it.
//! 3. What a dialect remembers is bounded at insertion; if it had to forget, it says so when asked to resume.
//! 4. The methods of [`Dialect`] have the defaults of a service that is told of a token at its handshake only.
//! 5. A dialect is a value: it can be copied and compared ([`DialectValue`]).

pub mod ably;
mod closes;
mod codec;
mod handshake;
mod json;
mod opaque;
mod placement;
mod presented;
mod request;
mod table;

use std::{any::Any, sync::Arc, time::Duration};

use http::HeaderMap;
pub use placement::beside;
pub use presented::{Presented, Unclear, present};
pub use request::{Outgoing, Request};

use crate::{
    clock::Instant,
    config::{DialectKind, Route, Swap, dialect::Side},
    credential::{Generation, Token},
    wire::{Close, Direction, Message, Payload},
};

/// Where the core is when it shows a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The first upstream connection is open, the service has not said that it is ready.
    Opening,
    /// Messages flow.
    Live,
    /// The injected message has no answer yet.
    Exchanging,
    /// There is no upstream.
    Away,
    /// A new upstream continues the lost one: its conversation is under way.
    Resuming,
    /// A new upstream is open, and the old one has yet to end: this is a message of the new one's.
    Overlapping,
}

/// What a new connection is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The session has had none.
    First,
    /// It takes up the state of one that was lost.
    Resume,
    /// It replaces a live one, which serves on meanwhile.
    Swap,
}

/// What an open connection waits for before it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaits {
    /// Nothing that the dialect knows of.
    Nothing,
    /// A message that means [`Meaning::Ready`].
    Ready,
}

/// How much of the messages that go one way a dialect wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Nothing: bytes pass as they come. Constant over a session's life.
    Nothing,
    /// Where one ends and the next begins: a live session passes them unread.
    Bounds,
    /// All of them.
    Messages,
}

/// What a Close of the service's means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The service has said its last word.
    Final,
    /// The connection ended; a new one may go on.
    Lost,
    /// It ended because of its token.
    Lapsed,
}

/// Whose doing the end of a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// The client said goodbye, or is gone.
    Left,
    /// The client's token has ended, and nobody can renew it.
    TokenEnded,
    /// The client shows no token, several, or one that is none.
    TokenUnclear,
    /// The client broke the protocol.
    Violation,
    /// A message of the client's is larger than is taken.
    TooBig,
    /// Not the client's: it may come back.
    NotTheClients,
}

/// What came of a new token, shown on a live connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchanged {
    /// The service knows no such message.
    Unknown,
    /// It was said, and is answered, or not.
    Asked,
    /// The connection has nothing to show it for.
    Needless,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Forward,
    /// It was for Perennial, or its place is taken by what the dialect said.
    Swallow,
    /// The client's: shown again, in its order, when the session is live. The service's: it waits until the connection
    /// serves; beside a live one it is that one's to say.
    Hold,
    /// It may not wait: what is held goes first, at once.
    Hurry,
}

/// What a message says about the token, or about the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    Nothing,
    /// The connection serves: opened for the first time, or resumed.
    Ready,
    /// The exchange succeeded.
    Accepted,
    /// The exchange failed: this token will not do.
    Rejected(String),
    /// The service refused a value that was shown in the exchange: the connection serves on.
    Declined(String),
    /// The service wants a new token, now.
    Asks,
    /// The client's message takes a token, and there is none that may go out.
    NeedsToken,
    /// The client wants to re-authenticate: an exchange is to run, and its answer is the client's.
    ClientAsks,
    /// The connection was refused or ended because of its token.
    Lapsed(String),
    /// The connection will not go on; a new one may.
    Lost(String),
    /// The service continues nothing: the client has to start over.
    Discontinued,
    /// A refusal that no token and no repeating will change: the client has to see it.
    Fatal(String),
    /// Nobody can say what the message is; `ends`: the client's may bring the service what it must not have, or the
    /// service's is the first of a new connection, and those of the old one could be read.
    Unreadable {
        ends: bool,
    },
    /// The service acknowledges what nobody waits for.
    Unasked,
    /// The service answers the client's goodbye.
    Parted,
    /// The client says goodbye; if no service can answer, [`Dialect::farewell`] does.
    Leaving,
}

/// A fate and a meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub fate: Fate,
    pub meaning: Meaning,
}

impl Verdict {
    pub const FORWARD: Self = Self { fate: Fate::Forward, meaning: Meaning::Nothing };
    pub const SWALLOW: Self = Self { fate: Fate::Swallow, meaning: Meaning::Nothing };
    pub const HOLD: Self = Self { fate: Fate::Hold, meaning: Meaning::Nothing };

    /// Forwarded, and it means this.
    pub fn forward(meaning: Meaning) -> Self {
        Self { fate: Fate::Forward, meaning }
    }

    /// Swallowed, and it means this.
    pub fn swallow(meaning: Meaning) -> Self {
        Self { fate: Fate::Swallow, meaning }
    }
}

/// What an operator should know of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remark {
    /// The client shows a key and no client id, and is not told the one of Perennial's token.
    ClientIdHidden,
}

/// A value from outside that messages of a session take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// The name of its source.
    pub source: Box<str>,
    /// What it is asked for.
    pub arg: Box<str>,
}

/// What the dialect itself has to say, after the message that made it speak.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Say {
    /// Goes on in the place of this message, which is forwarded, behind what is said to that side.
    pub instead: Option<Payload>,
    pub to_client: Vec<Payload>,
    pub to_upstream: Vec<Payload>,
    /// How many of `to_upstream` are messages of the client's that are sent again.
    pub replayed: u32,
    /// The service has shown that it took a message of the client's.
    pub acknowledged: bool,
    /// What an operator should know of this session; said once.
    pub remark: Option<Remark>,
}

/// The seam between the core and a service.
pub trait Dialect: DialectValue + Send {
    /// How much does it want to see of messages that go this way?
    fn reads(&self, direction: Direction) -> Reading;

    /// The handshake of a new upstream connection, with the token and with what resumes.
    fn handshake(&mut self, token: Option<&Token>) -> Result<Outgoing, String>;

    /// A newer token is current.
    fn token(&mut self, _token: &Token) {}

    /// The headers of the service's answer to it.
    fn answered(&mut self, _headers: &HeaderMap) {}

    /// A message of the client's.
    fn client(&mut self, _message: Message<'_>, moment: Moment, _now: Instant, _say: &mut Say) -> Verdict {
        if moment == Moment::Live { Verdict::FORWARD } else { Verdict::HOLD }
    }

    /// A message of the service's.
    fn upstream(&mut self, _message: Message<'_>, _moment: Moment, _now: Instant, _say: &mut Say) -> Verdict {
        Verdict::FORWARD
    }

    /// The connection is open: what rebuilds the client's state on it is said now.
    fn opened(&mut self, _purpose: Purpose, _now: Instant, _say: &mut Say) -> Awaits {
        Awaits::Nothing
    }

    /// What was made in the place of a connection serves; or it was given up, and the old one serves on.
    fn replaced(&mut self, _done: bool) {}

    /// Says what re-authenticates the live connection with `token`, or tells it of other news.
    fn exchange(&mut self, _token: Option<&Token>, _now: Instant, _say: &mut Say) -> Exchanged {
        Exchanged::Unknown
    }

    /// Values that are to be fetched, each said once; of which generation one was refused.
    fn wants(&mut self) -> Vec<(Want, Option<Generation>)> {
        Vec::new()
    }

    /// A value that was wanted has come, or a newer one; `None`: it cannot be had.
    fn value(&mut self, _want: &Want, _token: Option<&Token>, _now: Instant, _say: &mut Say) -> Meaning {
        Meaning::Nothing
    }

    /// Is there a value that the live connection is to be told of?
    fn has_news(&self) -> bool {
        false
    }

    /// Is this value still needed?
    fn takes(&self, _want: &Want) -> bool {
        false
    }

    /// What is awaited has not come until [`Dialect::awaits_until`]: does that mean something?
    fn silence(&mut self, _now: Instant) -> Meaning {
        Meaning::Nothing
    }

    /// How long the answer is awaited, if the dialect says that.
    fn awaits_until(&self) -> Option<Instant> {
        None
    }

    /// If a new token takes a new connection: which of the two connections goes first.
    fn swap(&self) -> Option<Swap> {
        None
    }

    /// May a lost connection be made again?
    fn continues(&self) -> bool {
        self.swap() != Some(Swap::Never)
    }

    /// Would a new connection do the same for the client as the one that serves? If not, why.
    fn may_swap(&self) -> Result<(), &'static str> {
        Ok(())
    }

    /// Is it only hoped that nothing that was said on a connection has to be said again on the next?
    fn hopes(&self) -> bool {
        false
    }

    /// Does the service owe an answer on the connection that serves? How long it is waited for before that is replaced.
    fn owes(&self) -> Option<Duration> {
        None
    }

    /// How an old connection is ended, and what is said to it before; `None`: without a Close.
    fn parting(&self, _say: &mut Say) -> Option<Close> {
        Some(Close::new(1000, ""))
    }

    /// How long the old connection serves on beside a new one that is ready.
    fn settle(&self) -> Duration {
        Duration::ZERO
    }

    /// A message of the service's about the connection, in words for an operator; `None`: it is another, or this dialect
    /// reads none.
    fn describe(&self, _message: Message<'_>) -> Option<String> {
        None
    }

    /// What this end of a connection means: the service's Close, or `None` if it ended without one. `at_the_end`:
    /// the known end of its token is now.
    fn ending(&self, _close: Option<&Close>, _at_the_end: bool) -> Ending {
        Ending::Lost
    }

    /// The upstream connection is gone. Can a new one continue it, unseen? If not, why.
    fn lost(&mut self) -> Result<(), &'static str> {
        Ok(())
    }

    /// Does another session of the same client continue the service's connection? Then this one must not dial.
    fn is_superseded(&self) -> bool {
        false
    }

    /// A handshake was given up without an answer: the service may take it yet.
    fn gave_up(&mut self, _now: Instant) {}

    /// The last words to the client: what is said, and the Close behind it. `close`: what it is without a dialect;
    /// `None`: its connection ends without one.
    fn farewell(&mut self, _doing: Doing, close: Option<Close>, _say: &mut Say) -> Option<Close> {
        close
    }

    /// When [`Dialect::speak`] is due, if the client was `told` something last at that time.
    fn due(&self, _told: Instant) -> Option<Instant> {
        None
    }

    /// It is due: what the client is told because time has passed.
    fn speak(&mut self, _told: Instant, _now: Instant, _say: &mut Say) {}

    /// Messages a second that the service takes; what was held is flushed no faster.
    fn pace(&self) -> u32 {
        u32::MAX
    }

    /// Is as much remembered as may be, or a value awaited? Then what the client says is held, as in an exchange.
    fn is_full(&self) -> bool {
        false
    }

    /// Does the service acknowledge, so that the client knows what was lost?
    fn acknowledges(&self) -> bool {
        false
    }

    /// The session is over; what outlives it is put down now.
    fn ended(&mut self, _now: Instant) {}
}

/// A dialect as a value: every `Clone + PartialEq` type is one.
pub trait DialectValue: Any {
    fn copy(&self) -> Box<dyn Dialect>;
    fn is_same(&self, other: &dyn Any) -> bool;
    fn as_any(&self) -> &dyn Any;
}

impl<D: Dialect + Clone + PartialEq + 'static> DialectValue for D {
    fn copy(&self) -> Box<dyn Dialect> {
        Box::new(self.clone())
    }

    fn is_same(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<D>().is_some_and(|other| self == other)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Clone for Box<dyn Dialect> {
    fn clone(&self) -> Self {
        (**self).copy()
    }
}

impl PartialEq for Box<dyn Dialect> {
    fn eq(&self, other: &Self) -> bool {
        (**self).is_same((**other).as_any())
    }
}

/// What a derived comparison of a struct with a dialect in it asks for.
impl PartialEq<&Self> for Box<dyn Dialect> {
    fn eq(&self, other: &&Self) -> bool {
        self == *other
    }
}

/// What the sessions of one route share of their dialect, and where they get theirs.
#[derive(Debug)]
pub struct Dialects {
    route: Arc<Route>,
    records: Arc<ably::Records>,
    /// The rules of a declared dialect.
    declared: Option<Arc<table::Compiled>>,
}

impl Dialects {
    /// For one route.
    pub fn new(route: Arc<Route>, limit: usize) -> Self {
        let declared = declared(&route);
        Self { route, records: Arc::new(ably::Records::new(limit)), declared }
    }

    /// The same for the route as it is configured now: what was remembered stays remembered.
    #[must_use]
    pub fn with(&self, route: Arc<Route>) -> Self {
        let declared = declared(&route);
        Self { route, records: Arc::clone(&self.records), declared }
    }

    /// The last words to a client that gets no session.
    pub fn turn_away(&self, request: &Request, doing: Doing, close: Close) -> (Option<Payload>, Close) {
        match self.route.dialect {
            DialectKind::Ably => ably::turn_away(request, doing, close),
            DialectKind::None | DialectKind::Handshake | DialectKind::Declared(_) => (None, close),
        }
    }

    /// The dialect of a session that begins with `request`.
    pub fn open(&self, request: Request, now: Instant) -> Box<dyn Dialect> {
        match (&self.route.dialect, &self.declared) {
            (DialectKind::Declared(_), Some(code)) => {
                Box::new(table::Declared::new(request, Arc::clone(&self.route), Arc::clone(code)))
            }
            (DialectKind::None | DialectKind::Declared(_), _) => {
                Box::new(opaque::Opaque::new(request, Arc::clone(&self.route)))
            }
            (DialectKind::Handshake, _) => {
                Box::new(handshake::Handshake::new(request, Arc::clone(&self.route)))
            }
            (DialectKind::Ably, _) => {
                let remember = self.route.session.queue;
                Box::new(ably::Ably::new(request, Arc::clone(&self.records), remember, now))
            }
        }
    }
}

/// What the rules of a route's dialect do with each message of a conversation, in words; `None`: it has none.
pub fn explain(route: &Arc<Route>, said: &[(Side, &str)]) -> Option<Vec<Vec<String>>> {
    let DialectKind::Declared(rules) = &route.dialect else { return None };
    Some(table::explain(route, rules, said))
}

fn declared(route: &Route) -> Option<Arc<table::Compiled>> {
    match &route.dialect {
        DialectKind::Declared(rules) => Some(Arc::new(table::Compiled::new(Arc::clone(rules)))),
        DialectKind::None | DialectKind::Handshake | DialectKind::Ably => None,
    }
}
