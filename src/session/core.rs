//! The session: its state, and what each event does to it.

use std::time::Duration;

use super::{
    backoff::Backoff,
    event::{Action, Cause, Epoch, Event, Note, Phase, Shown},
    queue::Queue,
    timers::{Timer, Timers},
};
use crate::{
    clock::Instant,
    config::SessionPolicy,
    credential::Token,
    dialect::{Dialect, Fate, Meaning, Moment, Outgoing, Say, Verdict},
    wire::{Close, Message, Payload, Violation},
};

/// How long a peer may take to answer a Close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// How long a client's goodbye may wait for a service that is away: its SDK waits for 10 s.
const LEAVING_PATIENCE: Duration = Duration::from_secs(8);

/// How far the service may be behind: what is held goes in bursts of this length.
const BURST: Duration = Duration::from_millis(90);

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
    /// The token that the upstream was last authenticated with.
    pub(super) live: Shown,
    /// The newest token that is known.
    pub(super) newest: Shown,
    /// Tokens up to this generation were refused.
    pub(super) refused: Option<crate::credential::Generation>,
    pub(super) turn: Turn,
    /// The service has asked for a new token and has not been given one.
    pub(super) asked: bool,
    /// The connection that is being made carries a newer token than the one that was lost.
    pub(super) reauthenticates: bool,
    pub(super) timers: Timers,
    pub(super) backoff: Backoff,
    queue: Queue,
    pub(super) say: Say,
    /// When the client was last sent a message.
    told_client: Instant,
    /// When the service will have digested what it was sent in one go.
    digested: Instant,
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
    /// The client's Close, or the service's last word, has gone on; the answer is awaited.
    Closing {
        cause: Cause,
        close: Close,
    },
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
            live: Shown::default(),
            newest: newest.unwrap_or_default(),
            refused: None,
            turn: Turn::Idle,
            asked: false,
            reauthenticates: false,
            timers,
            backoff: Backoff::new(seed),
            queue: Queue::default(),
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
            Event::Upstream(epoch, message) if epoch == self.epoch => self.upstream(message, now, out),
            Event::ClientClosed(close) => self.client_closed(close, now, out),
            Event::ClientBroke(violation) => self.broke(violation, now, out),
            Event::ClientStalled => {
                let close = Close::new(Close::POLICY, "the client is too slow");
                self.end(Cause::Slow, Some(close), now, out);
            }
            Event::Opened(epoch, shown) if epoch == self.epoch => self.opened(shown, now, out),
            Event::DialFailed(epoch, failure) if epoch == self.epoch => self.dial_failed(failure, now, out),
            Event::UpstreamClosed(epoch, close, why) if epoch == self.epoch => {
                self.upstream_closed(close, why, now, out);
            }
            Event::UpstreamBroke(epoch, violation) if epoch == self.epoch => {
                out.push(Action::CloseUpstream(Close::new(violation.close_code(), &violation.to_string())));
                let close = Close::new(violation.close_code(), "the service broke the protocol");
                self.lose(&violation.to_string(), Some(close), now, out);
            }
            Event::Token(shown) => self.token(shown, now, out),
            Event::Turn(token) => self.take_turn(token, now, out),
            // A newer token will ask for one again; it answers a client that has asked, too.
            Event::NoTurn => self.end_turn(out),
            Event::Timer => self.timer(now, out),
            Event::Drain => {
                let close = Close::new(Close::GOING_AWAY, "the proxy is going away");
                self.end(Cause::Drain, Some(close), now, out);
            }
            // Rule 3: a late word from an older connection.
            Event::Opened(..)
            | Event::Upstream(..)
            | Event::DialFailed(..)
            | Event::UpstreamClosed(..)
            | Event::UpstreamBroke(..) => {}
        }
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

    /// May the client be read? Where not, TCP pushes back.
    pub fn wants_client(&self) -> bool {
        self.queue.bytes() < self.policy.session.queue && !self.dialect.is_full()
    }

    /// Is an answer awaited, which may stand behind data that the client is slow to take?
    pub fn awaits_answer(&self) -> bool {
        matches!(self.state, State::Exchanging { .. } | State::Resuming { step: Step::Greeting, .. })
    }

    /// Do messages pass unread?
    pub fn streams(&self) -> bool {
        !self.dialect.inspects(crate::wire::Direction::Up)
    }

    /// The handshake of the connection that is to be dialled.
    pub fn handshake(&mut self, token: Option<&Token>) -> Result<Outgoing, String> {
        self.dialect.handshake(token)
    }

    /// Where the session is.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Opening(_) => Phase::Opening,
            State::Live => Phase::Live,
            State::Exchanging { .. } => Phase::Exchanging,
            State::Resuming { .. } => Phase::Resuming,
            State::Closing { .. } | State::Ended => Phase::Closing,
        }
    }

    /// Bytes held for the service.
    pub fn held_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Messages held for the service.
    pub fn held_messages(&self) -> usize {
        self.queue.len()
    }

    /// The token that the upstream was last authenticated with.
    pub fn authenticated_with(&self) -> Shown {
        self.live
    }

    // ----- messages

    fn moment(&self) -> Moment {
        match self.state {
            State::Opening(_) => Moment::Opening,
            // What is held goes first: a new message waits behind it.
            State::Live if !self.queue.is_empty() => Moment::Exchanging,
            State::Live => Moment::Live,
            State::Exchanging { .. } => Moment::Exchanging,
            State::Resuming { step: Step::Greeting, .. } => Moment::Resuming,
            State::Resuming { .. } | State::Closing { .. } | State::Ended => Moment::Away,
        }
    }

    fn client(&mut self, message: Message<'_>, now: Instant, out: &mut Vec<Action>) {
        if matches!(self.state, State::Closing { .. }) {
            return;
        }
        let verdict = self.dialect.client(message, self.moment(), now, &mut self.say);
        match verdict.fate {
            Fate::Forward => out.push(Action::Forward),
            Fate::Swallow => {}
            Fate::Hold => {
                self.queue.push(message.into(), now);
                out.push(Action::Note(Note::Held { bytes: message.payload.len() }));
            }
            Fate::Hurry => {
                self.flush_all(now, out);
                self.release(message.into(), now, out);
            }
        }
        self.spoken(now, out);
        self.client_means(&verdict.meaning, now, out);
    }

    fn client_means(&mut self, meaning: &Meaning, now: Instant, out: &mut Vec<Action>) {
        match meaning {
            Meaning::ClientAsks => self.client_asks(out),
            Meaning::Leaving if self.state != State::Live => {
                self.timers.set(Timer::Leaving, now + LEAVING_PATIENCE);
            }
            Meaning::Leaving
            | Meaning::Nothing
            | Meaning::Ready
            | Meaning::Accepted
            | Meaning::Rejected(_)
            | Meaning::Asks
            | Meaning::Lapsed(_)
            | Meaning::Lost(_)
            | Meaning::Discontinued
            | Meaning::Fatal => {}
        }
    }

    fn upstream(&mut self, message: Message<'_>, now: Instant, out: &mut Vec<Action>) {
        let moment = match self.state {
            State::Opening(_) => Moment::Opening,
            State::Resuming { .. } => Moment::Resuming,
            State::Exchanging { .. } => Moment::Exchanging,
            State::Live | State::Closing { .. } | State::Ended => Moment::Live,
        };
        let Verdict { fate, meaning } = self.dialect.upstream(message, moment, now, &mut self.say);
        if fate == Fate::Forward {
            self.told_client = now;
            out.push(Action::Forward);
        }
        self.spoken(now, out);
        match meaning {
            Meaning::Nothing | Meaning::ClientAsks | Meaning::Leaving => {}
            Meaning::Ready => self.ready(now, out),
            Meaning::Accepted => self.accepted(now, out),
            Meaning::Asks => self.asked(out),
            Meaning::Rejected(why) => self.rejected(&why, now, out),
            Meaning::Lapsed(why) => self.lapsed(&why, now, out),
            Meaning::Lost(why) => self.lose(&why, None, now, out),
            Meaning::Discontinued => {
                let close = Close::new(1000, "the service began a new connection");
                self.end(Cause::Discontinued, Some(close), now, out);
            }
            Meaning::Fatal => {
                self.timers.set(Timer::Step, now + CLOSE_PATIENCE);
                self.state = State::Closing { cause: Cause::Refused, close: Close::new(1000, "") };
            }
        }
    }

    /// What the dialect said becomes actions.
    pub(super) fn spoken(&mut self, now: Instant, out: &mut Vec<Action>) {
        if !self.say.to_client.is_empty() {
            self.told_client = now;
            out.extend(std::mem::take(&mut self.say.to_client).into_iter().map(Action::ToClient));
        }
        if !self.say.to_upstream.is_empty() {
            if let State::Resuming { replayed, .. } = &mut self.state {
                *replayed += self.say.replayed;
            }
            self.say.replayed = 0;
            self.digests(self.say.to_upstream.len() as u32, now);
            out.extend(std::mem::take(&mut self.say.to_upstream).into_iter().map(Action::ToUpstream));
        }
    }

    /// A held message goes on, as if it came now.
    fn release(&mut self, payload: Payload, now: Instant, out: &mut Vec<Action>) {
        let verdict = self.dialect.client(payload.as_message(), Moment::Live, now, &mut self.say);
        if verdict.fate == Fate::Forward {
            self.digests(1, now);
            out.push(Action::ToUpstream(payload));
        }
        self.spoken(now, out);
        self.client_means(&verdict.meaning, now, out);
    }

    /// Held messages go, in order, no faster than the service takes them.
    pub(super) fn flush(&mut self, now: Instant, out: &mut Vec<Action>) {
        while self.state == State::Live && !self.queue.is_empty() {
            if self.digested > now + BURST {
                self.timers.set(Timer::Pace, self.digested);
                return;
            }
            if let Some((payload, since)) = self.queue.pop() {
                out.push(released(&payload, since, now));
                self.release(payload, now, out);
            }
        }
    }

    /// So many messages went to the service in one go. A tenth of a second is kept back: so no second,
    /// wherever the service begins to count it, has more than [`Dialect::pace`] of them.
    fn digests(&mut self, messages: u32, now: Instant) {
        let each = Duration::from_millis(1100) / self.dialect.pace().max(1);
        self.digested = self.digested.max(now) + each * messages;
    }

    /// Held messages go now, all of them: something that may not wait stands behind them.
    fn flush_all(&mut self, now: Instant, out: &mut Vec<Action>) {
        while let Some((payload, since)) = self.queue.pop() {
            out.push(released(&payload, since, now));
            self.release(payload, now, out);
        }
    }

    /// The client has to hear something before its patience ends.
    pub(super) fn arm_idle(&mut self) {
        if let Some(after) = self.dialect.client_idle() {
            self.timers.set(Timer::Idle, self.told_client + after);
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
                Timer::Idle => {
                    let quiet =
                        self.dialect.client_idle().is_some_and(|after| self.told_client + after <= now);
                    if let Some(message) = self.dialect.idle().filter(|_| quiet) {
                        self.told_client = now;
                        out.push(Action::ToClient(message));
                    }
                    self.arm_idle();
                }
            }
            if self.state == State::Ended {
                return;
            }
        }
    }

    // ----- ends

    fn client_closed(&mut self, close: Option<Close>, now: Instant, out: &mut Vec<Action>) {
        let reachable = matches!(
            self.state,
            State::Live | State::Exchanging { .. } | State::Opening(Step::Greeting) | State::Closing { .. }
        );
        match close {
            Some(close) if reachable => {
                if matches!(self.state, State::Live | State::Exchanging { .. }) {
                    self.flush_all(now, out);
                }
                out.push(Action::CloseUpstream(close.clone()));
                self.timers.set(Timer::Step, now + CLOSE_PATIENCE);
                self.state = State::Closing { cause: Cause::Client, close };
            }
            Some(close) => self.end(Cause::Client, Some(close), now, out),
            None => self.end(Cause::Client, None, now, out),
        }
    }

    fn broke(&mut self, violation: Violation, now: Instant, out: &mut Vec<Action>) {
        let cause = if violation == Violation::TooBig { Cause::TooBig } else { Cause::Violation };
        out.push(Action::CloseUpstream(Close::new(violation.close_code(), "the client broke the protocol")));
        self.end(cause, Some(Close::new(violation.close_code(), &violation.to_string())), now, out);
    }

    fn upstream_closed(&mut self, close: Option<Close>, why: &str, now: Instant, out: &mut Vec<Action>) {
        match (&self.state, close) {
            (State::Closing { cause, close: own }, theirs) => {
                let (cause, close) = (*cause, theirs.unwrap_or_else(|| own.clone()));
                self.end(cause, Some(close), now, out);
            }
            (State::Opening(_), Some(close)) => self.end(Cause::Refused, Some(close), now, out),
            (_, close) => self.lose(why, close, now, out),
        }
    }

    fn leave(&mut self, now: Instant, out: &mut Vec<Action>) {
        if matches!(self.state, State::Resuming { .. } | State::Opening(_)) {
            self.dialect.farewell(&mut self.say);
            self.spoken(now, out);
            self.end(Cause::Client, Some(Close::new(1000, "")), now, out);
        }
    }

    /// The end: what is left is counted, both sides are let go, and nothing more will come.
    pub(super) fn end(&mut self, cause: Cause, close: Option<Close>, now: Instant, out: &mut Vec<Action>) {
        self.end_turn(out);
        let known = self.dialect.acknowledges();
        while let Some((payload, since)) = self.queue.pop() {
            let (bytes, waited) = (payload.bytes.len(), now - since);
            out.push(Action::Note(Note::Lost { bytes, waited, known, cause }));
        }
        self.dialect.ended(now);
        out.push(Action::HangUp(self.epoch));
        out.push(close.map_or(Action::DropClient, Action::CloseClient));
        out.push(Action::Finished(cause));
        self.timers = Timers::default();
        self.state = State::Ended;
    }
}

fn released(payload: &Payload, since: Instant, now: Instant) -> Action {
    Action::Note(Note::Released { bytes: payload.bytes.len(), waited: now - since })
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
