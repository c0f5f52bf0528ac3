//! The session: what it keeps, the door that every event comes through, and what the driver asks.

use std::time::Duration;

use super::{
    away::Away,
    backoff::Backoff,
    delivery::Delivery,
    event::{Action, Cause, Epoch, Event, Note, Phase, Shown},
    pace::Pace,
    queue::Queue,
    state::{Attempt, Connection, Outage, State, Step, Trial, Turn},
    timers::{Timer, Timers},
};
use crate::{
    clock::Instant,
    config::{SessionPolicy, Swap},
    credential::Token,
    dialect::{Dialect, Outgoing, Purpose, Reading, Say, Want},
    wire::{Close, Direction},
};

/// What one session begins with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    pub session: SessionPolicy,
    /// How long the first connection may take to be ready.
    pub opening: Duration,
    pub needs: Needs,
}

/// What an upstream connection is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// No token.
    Nothing,
    /// The newest token.
    Token,
    /// A token of its own: it can be shown once.
    Ticket,
}

/// One client's connection and the upstream connection that serves it now.
#[derive(Clone, PartialEq)]
pub struct Session {
    pub(super) dialect: Box<dyn Dialect>,
    pub(super) policy: SessionPolicy,
    pub(super) needs: Needs,
    /// The time of the event that is being handled, and what it came to so far.
    pub(super) now: Instant,
    pub(super) out: Vec<Action>,
    pub(super) state: State,
    /// The connection that serves, or drains.
    pub(super) serving: Option<Connection>,
    /// The connection that is being made.
    pub(super) attempt: Option<Box<Attempt>>,
    /// The newest epoch that was given to a connection.
    pub(super) last_epoch: Epoch,
    /// The newest token that is known.
    pub(super) newest: Shown,
    /// Tokens up to this generation were refused, or can be shown no more.
    pub(super) refused: Option<crate::credential::Generation>,
    pub(super) turn: Turn,
    /// The service has asked for a new token and has not been given one.
    pub(super) asked: bool,
    pub(super) timers: Timers,
    pub(super) backoff: Backoff,
    pub(super) outage: Option<Box<Outage>>,
    /// Messages of the client's that wait for the service.
    pub(super) queue: Queue,
    /// Messages of the dialect's that go before them, at the service's pace.
    pub(super) outgoing: Queue,
    pub(super) pace: Pace,
    /// The client's last word, which waits behind what it said before.
    pub(super) leaving: Option<Box<Option<Close>>>,
    /// What connections said that are gone, and that the client is yet to hear.
    pub(super) orphans: Queue,
    /// What the client was sent, and has read.
    pub(super) heard: Delivery,
    /// What a client that came back was given, and has not read.
    pub(super) unread: Queue,
    /// What became of a client that went away.
    pub(super) away: Option<Box<Away>>,
    pub(super) say: Say,
    /// When the client was last sent a message.
    pub(super) told_client: Instant,
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
        let Policy { session: policy, opening, needs } = policy;
        let mut timers = Timers::default();
        timers.set(Timer::Budget, now + opening);
        Self {
            dialect,
            policy,
            needs,
            now,
            out: Vec::new(),
            state: State::Connecting,
            serving: None,
            attempt: Some(Box::new(Attempt::new(Purpose::First, Epoch::FIRST, now))),
            last_epoch: Epoch::FIRST,
            newest: newest.unwrap_or_default(),
            refused: newest.filter(|_| needs == Needs::Ticket).map(|shown| shown.generation),
            turn: Turn::Idle,
            asked: false,
            timers,
            backoff: Backoff::new(seed),
            outage: Some(Box::new(Outage { until: now + opening, last_word: None })),
            queue: Queue::default(),
            outgoing: Queue::default(),
            pace: Pace::default(),
            leaving: None,
            orphans: Queue::default(),
            heard: Delivery::default(),
            unread: Queue::default(),
            away: None,
            say: Say::default(),
            told_client: now,
        }
    }

    /// Everything that happens comes through here; when it returns, nothing is pending. What is to be done is
    /// appended to `out`.
    pub fn on_event(&mut self, event: Event<'_>, now: Instant, out: &mut Vec<Action>) {
        if self.state == State::Ended && !matches!(event, Event::ClientBack) {
            return;
        }
        self.now = now;
        std::mem::swap(&mut self.out, out);
        let before = self.out.len();
        self.happens(event);
        let behind = self.out.iter().skip(before + 1);
        debug_assert!(
            !behind.into_iter().any(|action| *action == Action::Forward),
            "something goes before it"
        );
        std::mem::swap(&mut self.out, out);
    }

    fn happens(&mut self, event: Event<'_>) {
        match event {
            Event::Client(message) => self.client(message),
            Event::ClientClosed(close) => self.client_closed(close),
            Event::ClientBroke(violation) => self.client_broke(violation),
            Event::ClientStalled => {
                let close = Close::new(Close::POLICY, "the client is too slow");
                self.end(Cause::Slow, Some(close));
            }
            Event::ClientRead(messages) => self.client_read(messages),
            Event::ClientBack => self.client_back(),
            Event::Opened(epoch, shown) if self.is_attempt(epoch) => self.opened(shown),
            Event::DialFailed(epoch, failure) if self.is_attempt(epoch) => self.dial_failed(failure),
            Event::Upstream(epoch, message) if self.counts(epoch) => {
                self.upstream(epoch, message);
            }
            Event::UpstreamClosed(epoch, close, why) if self.counts(epoch) => {
                self.upstream_closed(epoch, close, why);
            }
            Event::UpstreamBroke(epoch, violation) if self.counts(epoch) => {
                self.upstream_broke(epoch, violation);
            }
            Event::UpstreamRead(epoch, messages) if self.counts(epoch) => {
                self.upstream_read(epoch, messages);
            }
            // A late word from an older connection.
            Event::Opened(..)
            | Event::DialFailed(..)
            | Event::Upstream(..)
            | Event::UpstreamClosed(..)
            | Event::UpstreamBroke(..)
            | Event::UpstreamRead(..) => {}
            Event::Unread => self.unread(),
            Event::Token(token) => self.token(token),
            Event::Value(want, token) => self.value(want, token),
            Event::Turn(token) => self.take_turn(token),
            // A newer token will ask for one again; it answers a client that has asked, too.
            Event::NoTurn => self.give_turn_back(),
            Event::Hopeless => self.hopeless(),
            Event::Timer => self.timer(),
            Event::Rehearsal(what) => self.rehearse(what),
            Event::Shutdown => {
                let close = Close::new(Close::GOING_AWAY, "the proxy is going away");
                self.end(Cause::Shutdown, Some(close));
            }
            Event::Closed => {
                let close = Close::new(Close::GOING_AWAY, "an operator closed the session");
                self.end(Cause::Operator, Some(close));
            }
        }
    }

    fn timer(&mut self) {
        while let Some(timer) = self.timers.take_due(self.now) {
            match timer {
                Timer::Step => self.step_timed_out(),
                Timer::Budget => self.budget_spent(),
                Timer::Healthy => self.outage_is_over(),
                Timer::Retry => self.dial(),
                Timer::Exchange => self.exchange_due(),
                Timer::Pace => self.flush(),
                Timer::Leaving => self.leave(),
                Timer::Speech => self.speech(),
                Timer::Park => self.end(Cause::Client, None),
                Timer::Token => {
                    let close = Close::new(Close::POLICY, "Token expired");
                    self.end(Cause::TokenExpired, Some(close));
                }
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

    pub(super) fn note(&mut self, note: Note) {
        self.out.push(Action::Note(note));
    }

    // ----- the connections

    pub(super) fn is_serving(&self, epoch: Epoch) -> bool {
        self.serving() == Some(epoch)
    }

    pub(super) fn is_attempt(&self, epoch: Epoch) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.epoch == epoch)
    }

    /// Is it one that counts?
    fn counts(&self, epoch: Epoch) -> bool {
        self.is_serving(epoch) || self.is_attempt(epoch)
    }

    /// What the connection that is being made is for.
    pub(super) fn purpose(&self) -> Option<Purpose> {
        self.attempt.as_ref().map(|attempt| attempt.purpose)
    }

    /// How far it is.
    pub(super) fn step(&self) -> Option<Step> {
        self.attempt.as_ref().map(|attempt| attempt.step)
    }

    /// The connection that a Close goes to: the one that serves, or one that is open and does not serve yet.
    pub(super) fn open(&self) -> Option<Epoch> {
        let attempt = self.attempt.as_ref().filter(|attempt| attempt.is_open());
        self.serving().or_else(|| attempt.map(|attempt| attempt.epoch))
    }

    /// The token that the service knows, on the connection that serves or on the one that is being made.
    pub(super) fn live(&self) -> Shown {
        let serving = self.serving.as_ref().map(|serving| serving.shown);
        serving.or_else(|| self.attempt.as_ref().map(|attempt| attempt.shown)).unwrap_or_default()
    }

    /// Is the client's next message one for the connection that serves?
    pub(super) fn flows_up(&self) -> bool {
        matches!(self.state, State::Live | State::Swapping { owed: false, drain: None, .. })
    }

    // ----- what the driver asks

    /// When [`Event::Timer`] is to be delivered.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The connection that serves the client.
    pub fn serving(&self) -> Option<Epoch> {
        self.serving.as_ref().map(|serving| serving.epoch)
    }

    /// May the client be read? If not, TCP pushes back.
    pub fn wants_client(&self) -> bool {
        self.queue.bytes() < self.policy.queue
    }

    /// May this connection of the service's be read? A client that is away takes nothing, and what a new
    /// connection says waits for the old one.
    pub fn wants(&self, epoch: Epoch) -> bool {
        let limit = self.policy.queue;
        match &self.attempt {
            Some(next) if next.epoch == epoch && next.purpose == Purpose::Swap => next.kept.bytes() < limit,
            _ => self.away.as_ref().is_none_or(|away| away.kept.bytes() < limit),
        }
    }

    /// Is an answer awaited, which may stand behind data that the client is slow to take?
    pub fn awaits_answer(&self) -> bool {
        matches!(self.state, State::Exchanging { .. })
            || self.state == State::Connecting && self.step() == Some(Step::Restoring)
    }

    /// Do bytes pass as they come, whatever they are?
    pub fn streams(&self) -> bool {
        self.dialect.reads(Direction::Up) == Reading::Nothing
    }

    /// Do whole messages pass unread at this moment? They are told by [`Session::passed`].
    pub fn passes(&self, direction: Direction) -> bool {
        let flows = self.flows_up()
            && match direction {
                Direction::Up => self.queue.is_empty() && !self.dialect_goes_first(),
                Direction::Down => self.away.is_none(),
            }
            && self
                .serving
                .as_ref()
                .is_some_and(|serving| serving.trial == Trial::Passed && serving.twins.is_none());
        flows && self.dialect.reads(direction) == Reading::Bounds
    }

    /// So many messages passed unread.
    pub fn passed(&mut self, direction: Direction, messages: u64) {
        match direction {
            Direction::Down => self.heard.sends(messages),
            Direction::Up => {
                if let Some(serving) = &mut self.serving {
                    serving.delivery.sends(messages);
                }
            }
        }
    }

    /// What a Ping to this peer carries: the number of messages that stand before it.
    pub fn sent_to_client(&self) -> u64 {
        self.heard.sent()
    }

    /// The same for a connection to the service.
    pub fn sent_to(&self, epoch: Epoch) -> u64 {
        match (&self.serving, &self.attempt) {
            (Some(serving), _) if serving.epoch == epoch => serving.delivery.sent(),
            (_, Some(attempt)) if attempt.epoch == epoch => attempt.delivery.sent(),
            _ => 0,
        }
    }

    /// Would a loss of this connection leave messages in doubt that it has had the time to read?
    pub fn is_in_doubt(&self, epoch: Epoch) -> bool {
        self.serving.as_ref().is_some_and(|serving| {
            serving.epoch == epoch && !serving.delivery.is_all_read() && !self.dialect.acknowledges()
        })
    }

    /// Is this value still needed?
    pub fn takes(&self, want: &Want) -> bool {
        self.dialect.takes(want)
    }

    /// Does the service say again what is lost?
    pub fn acknowledges(&self) -> bool {
        self.dialect.acknowledges()
    }

    /// The handshake of the connection that is to be dialled.
    pub fn handshake(&mut self, token: Option<&Token>) -> Result<Outgoing, String> {
        self.dialect.handshake(token)
    }

    /// The service's answer to it.
    pub fn answered(&mut self, headers: &http::HeaderMap) {
        self.dialect.answered(headers);
    }

    /// Where the session is.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Closing { .. } | State::Ended => Phase::Closing,
            _ if self.away.is_some() => Phase::Parked,
            State::Departed => Phase::Closing,
            State::Connecting if self.purpose() == Some(Purpose::First) => Phase::Opening,
            State::Connecting => Phase::Resuming,
            State::Live => Phase::Live,
            State::Exchanging { .. } => Phase::Exchanging,
            State::Swapping { .. } => Phase::Swapping,
        }
    }

    /// Bytes held, for either side.
    pub fn held_bytes(&self) -> usize {
        let kept = self.attempt.as_ref().map(|attempt| &attempt.kept);
        let away = self.away.as_ref().map(|away| &away.kept);
        [kept, away, Some(&self.orphans), Some(&self.queue)].into_iter().flatten().map(Queue::bytes).sum()
    }

    /// Messages held for the service.
    pub fn held_messages(&self) -> usize {
        self.queue.len()
    }

    /// The token that the upstream was last authenticated with.
    pub fn authenticated_with(&self) -> Shown {
        self.live()
    }

    /// Is a newer token for new connections only?
    pub(super) fn never_swaps(&self) -> bool {
        self.dialect.swap() == Some(Swap::Never)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("state", &self.state)
            .field("serving", &self.serving)
            .field("attempt", &self.attempt)
            .field("newest", &self.newest)
            .field("held", &self.queue.len())
            .finish_non_exhaustive()
    }
}
