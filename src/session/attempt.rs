//! Making a connection: the first one, one after a loss, and one that is to replace a live one.
//!
//! ```text
//!   NeedsToken ─► Waiting ─► Dialing ─► open ─┬─ the dialect awaits something ─► Restoring ─┐
//!       ▲            ▲          │             └─ it awaits nothing ──────────► Proving ─────┤ ready
//!       └────────────┴── failed ┘   (a swap that fails: the old one serves on)              │
//!        First, Resume: it serves  ◄────────────────────────────────────────────────────────┤
//!        Swap: the old one serves on (Settling), is told to end (Ready), and has ended  ◄────┘
//! ```
//!
//! Rules:
//! 1. A connection serves once the dialect's awaited answer has come. If the dialect awaits none: at the first
//!    message, at the Pong to a Ping behind the 101, or after [`PROOF`]. So what was held is not given to a
//!    connection that is closed at once.
//! 2. `reconnect` bounds an outage, and one outage lasts until a connection has served for [`HEALTHY`], or the
//!    service has acknowledged a message. A service that greets and drops for ever is an outage.
//! 3. No token goes out that is known to have ended, or that was refused; a ticket goes out once.
//! 4. A refusal that no repeating will change, said twice, is a verdict: it is passed on.

use std::time::Duration;

use super::{
    core::{Needs, Session},
    event::{Action, Cause, Demand, DialFailure, Epoch, Method, Note, Shown, Trigger},
    queue::Queue,
    state::{Attempt, Connection, Outage, State, Step, Trial},
    timers::Timer,
};
use crate::{
    clock::Instant,
    dialect::{Awaits, Meaning, Purpose},
    wire::{Close, Direction},
};

/// A connection that served for less than this failed, and did not just end.
const HEALTHY: Duration = Duration::from_secs(2);
/// How long a new connection is given for its first sign of life.
const PROOF: Duration = Duration::from_millis(250);

impl Session {
    // ----- beginning

    /// The connection that served is gone: from now on the outage is hidden. `method`: how the session comes to a
    /// newer token by it.
    pub(super) fn begin_to_resume(&mut self, method: Option<Method>) {
        let live = self.live().generation;
        let newer = self.newest.generation > live || self.refused.is_some_and(|refused| refused >= live);
        let epoch = self.fresh_epoch();
        let mut attempt = Attempt::new(Purpose::Resume, epoch, self.now);
        attempt.method = method.or_else(|| newer.then_some(Method::Resume));
        attempt.shown = self.live();
        self.serving = None;
        self.attempt = Some(Box::new(attempt));
        self.hide_outage(None);
    }

    /// No connection serves, and one is being made, whose step has this deadline.
    pub(super) fn hide_outage(&mut self, step: Option<Instant>) {
        self.outgoing = Queue::default();
        let until = self.now + self.policy.reconnect;
        let outage = self.outage.get_or_insert_with(|| Box::new(Outage { until, last_word: None }));
        let until = outage.until;
        self.enter(State::Connecting, step);
        self.timers.set(Timer::Budget, until);
        self.arm_speech();
    }

    /// Dials if there is a token to dial with, and the backoff allows; `named`: not before that (`Retry-After`).
    pub(super) fn next_attempt(&mut self, named: Option<Duration>) {
        if self.needs != Needs::Nothing && !self.has_token() {
            self.set_step(Step::NeedsToken);
            let rejected = self.refused.filter(|refused| *refused >= self.newest.generation);
            self.out.push(Action::Demand(Demand { rejected, trigger: Trigger::Expiry }));
            return;
        }
        let wait = self.backoff.next(named);
        if wait.is_zero() {
            self.dial();
        } else {
            self.set_step(Step::Waiting);
            self.timers.set(Timer::Retry, self.now + wait);
        }
    }

    /// Rule 3: is the newest token one that may go out?
    pub(super) fn has_token(&self) -> bool {
        let Shown { generation, expires } = self.newest;
        generation.0 > 0
            && self.refused.is_none_or(|refused| generation > refused)
            && expires.is_none_or(|at| at > self.now)
    }

    pub(super) fn dial(&mut self) {
        if self.needs != Needs::Nothing && !self.has_token() {
            return self.next_attempt(None);
        }
        if self.dialect.is_superseded() {
            return self.end(Cause::Upstream, Some(Close::new(1000, "another session continues this one")));
        }
        self.set_step(Step::Dialing);
        self.timers.set(Timer::Step, self.now + self.policy.hold);
        self.out.extend(self.attempt.as_ref().map(|attempt| Action::Dial(attempt.epoch)));
        if self.needs == Needs::Ticket {
            self.refused = self.refused.max(Some(self.newest.generation));
        }
    }

    pub(super) fn set_step(&mut self, step: Step) {
        if let Some(attempt) = &mut self.attempt {
            attempt.step = step;
        }
    }

    // ----- succeeding

    /// The handshake was accepted.
    pub(super) fn opened(&mut self, shown: Option<Shown>) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.step == Step::Dialing) else {
            return;
        };
        attempt.shown = shown.unwrap_or_default();
        let (purpose, epoch, shown) = (attempt.purpose, attempt.epoch, attempt.shown);
        if shown.generation > self.newest.generation {
            self.newest = shown;
        }
        match self.dialect.opened(purpose, self.now, &mut self.say) {
            Awaits::Ready => {
                self.set_step(Step::Restoring);
                let until = self.awaits_until();
                self.timers.set(Timer::Step, until);
                self.spoken(epoch);
            }
            Awaits::Nothing if purpose == Purpose::First => self.serve(),
            Awaits::Nothing => {
                self.set_step(Step::Proving);
                self.timers.set(Timer::Step, self.now + PROOF);
                self.spoken(epoch);
                self.out.push(Action::PingUpstream(epoch, 0));
            }
        }
    }

    /// The new connection is ready: it serves, or the old one is told to end.
    pub(super) fn ready(&mut self) {
        match self.purpose() {
            Some(Purpose::First | Purpose::Resume) => self.serve(),
            Some(Purpose::Swap) => {
                let settle = self.dialect.settle();
                if settle.is_zero() {
                    return self.leave_old();
                }
                self.set_step(Step::Settling);
                self.timers.set(Timer::Step, self.now + settle);
            }
            None => {}
        }
    }

    /// The connection that was made serves from now on: what was held goes on.
    pub(super) fn serve(&mut self) {
        let Some(attempt) = self.attempt.take() else { return };
        let Attempt {
            purpose, epoch, shown, since, method, replayed, mut kept, twins, again, delivery, ..
        } = *attempt;
        let unproven = method == Some(Method::Swap) || again;
        let trial = if unproven { Trial::Open { again } } else { Trial::Passed };
        self.serving = Some(Connection { epoch, shown, delivery, trial, twins: twins.for_a_while() });
        self.enter(State::Live, None);
        if purpose == Purpose::First {
            self.outage_is_over();
        } else {
            self.dialect.replaced(true);
            self.timers.set(Timer::Healthy, self.now + HEALTHY);
        }
        if purpose == Purpose::Resume {
            self.note(Note::UpstreamResumed { gap: self.now - since, replayed });
        }
        if let Some(method) = method {
            let (generation, took) = (shown.generation, self.now - since);
            self.note(Note::Reauthenticated { method, generation, took });
        }
        self.asked = false;
        self.arm_speech();
        let mut orphans = std::mem::take(&mut self.orphans);
        self.deliver(&mut orphans);
        self.deliver(&mut kept);
        self.flush();
        if let Some(close) = self.leaving.take() {
            return self.client_closed(*close);
        }
        if self.state == State::Live {
            self.schedule_exchange();
        }
    }

    /// Rule 2: the next loss begins an outage of its own.
    pub(super) fn outage_is_over(&mut self) {
        self.timers.stop(Timer::Healthy);
        if let Some(serving) = &mut self.serving {
            serving.twins = None;
        }
        self.outage = None;
        self.backoff.reset();
    }

    // ----- failing

    pub(super) fn dial_failed(&mut self, failure: DialFailure) {
        if self.step() != Some(Step::Dialing) {
            return;
        }
        let (why, refused, named, verdict) = match failure {
            DialFailure::Token(generation, status) => {
                (format!("the service answered {status} to the token"), Some(generation), None, Some(status))
            }
            // The clock that the token is judged by has moved: ask as if it were refused.
            DialFailure::NoToken => {
                ("there is no usable token".to_owned(), Some(self.newest.generation), None, None)
            }
            DialFailure::Refused { status } => {
                (format!("the service answered {status}"), None, None, Some(status))
            }
            DialFailure::Passing { why, retry_after } => (why, None, retry_after, None),
        };
        if self.purpose() == Some(Purpose::Swap) {
            self.swap_failed(&why, verdict.is_some());
            return refused.into_iter().for_each(|generation| self.refuse(generation));
        }
        if let Some(status) = verdict
            && self.is_verdict()
        {
            self.note(Note::Refused(why));
            let close = Close::new(Close::POLICY, &format!("the service answered {status}"));
            return self.end(Cause::Refused, Some(close));
        }
        if let Some(generation) = refused {
            self.refuse(generation);
        }
        self.try_again(&why, named);
    }

    /// Rule 4: has the service refused what was asked for before?
    fn is_verdict(&mut self) -> bool {
        let Some(attempt) = &mut self.attempt else { return false };
        attempt.verdicts = attempt.verdicts.saturating_add(1);
        attempt.verdicts > 1
    }

    /// The connection that was being made failed: the next one has an epoch of its own.
    pub(super) fn try_again(&mut self, why: &str, named: Option<Duration>) {
        self.timers.stop(Timer::Step);
        self.outgoing = Queue::default();
        let epoch = self.fresh_epoch();
        let Some(attempt) = &mut self.attempt else { return };
        self.out.push(Action::HangUp(std::mem::replace(&mut attempt.epoch, epoch)));
        let attempt = self.backoff.attempts();
        self.note(Note::UpstreamLost { why: why.to_owned(), attempt });
        self.next_attempt(named);
    }

    /// The connection that serves, or that is being made, is gone: a new one continues it, or the client is told.
    pub(super) fn connection_lost(&mut self, epoch: Epoch, (why, close): (&str, Option<Close>)) {
        if let State::Closing { cause, close: own } = &self.state {
            let (cause, close) = (*cause, close.unwrap_or_else(|| own.clone()));
            return self.end(cause, Some(close));
        }
        if let State::Swapping { drain, .. } = self.state {
            return match (self.is_serving(epoch), drain) {
                (true, Some(_)) => {
                    if close.is_none() {
                        self.count_doubt();
                    }
                    self.drained();
                }
                (true, None) => self.old_one_lost(why, close),
                (false, _) => self.swap_failed(why, false),
            };
        }
        if let Err(final_reason) = self.dialect.lost() {
            self.note(Note::UpstreamLost { why: format!("{why}; {final_reason}"), attempt: 0 });
            return self.end(Cause::Upstream, close);
        }
        if let Some(outage) = &mut self.outage {
            outage.last_word = close.clone().or_else(|| outage.last_word.take());
        }
        if self.attempt.is_some() {
            return self.try_again(why, None);
        }
        self.out.push(Action::HangUp(epoch));
        self.count_doubt();
        let attempt = self.backoff.attempts();
        self.begin_to_resume(None);
        if let Some(outage) = &mut self.outage {
            outage.last_word = close.or_else(|| outage.last_word.take());
            if outage.until <= self.now {
                return self.budget_spent();
            }
        }
        self.note(Note::UpstreamLost { why: why.to_owned(), attempt });
        self.next_attempt(None);
    }

    /// What the connection was sent and may not have read; and what the service says while there is none.
    pub(super) fn count_doubt(&mut self) {
        let Some(serving) = self.serving.as_mut().filter(|_| !self.dialect.acknowledges()) else { return };
        let messages = serving.delivery.take_doubt();
        self.note(Note::InDoubt { direction: Direction::Up, messages });
        self.note(Note::Gap);
    }

    /// What the state waits for has not come.
    pub(super) fn step_timed_out(&mut self) {
        match &self.state {
            State::Exchanging { shown, .. } => {
                if self.dialect.silence(self.now) == Meaning::Accepted {
                    return self.accepted();
                }
                self.failed(Method::Exchange, *shown, (false, "no answer in time"));
                let epoch = self.serving().unwrap_or_default();
                self.connection_lost(epoch, ("the exchange had no answer", None));
            }
            State::Closing { cause, close } => {
                let (cause, close) = (*cause, close.clone());
                self.end(cause, Some(close));
            }
            State::Connecting | State::Swapping { .. } => self.attempt_timed_out(),
            State::Live | State::Departed | State::Ended => {}
        }
    }

    fn attempt_timed_out(&mut self) {
        match (&self.state, self.step()) {
            (State::Swapping { drain: Some(drain), .. }, _) => {
                // It may not have read all that it was sent, and may have had more to say.
                if drain.settle.is_none() {
                    self.count_doubt();
                }
                self.drained();
            }
            (_, Some(Step::Proving)) => self.ready(),
            (State::Swapping { owed: true, .. }, _) => self.drain(),
            (_, Some(Step::Settling)) => self.leave_old(),
            (State::Swapping { .. }, _) => {
                self.dialect.gave_up(self.now);
                self.swap_failed("the new connection was not there in time", false);
            }
            _ => {
                self.dialect.gave_up(self.now);
                self.try_again("the service took too long", None);
            }
        }
    }

    /// The outage has been hidden for as long as it may be.
    pub(super) fn budget_spent(&mut self) {
        let last_word = self.outage.as_mut().and_then(|outage| outage.last_word.take());
        let (cause, reason) = match self.step() {
            Some(Step::NeedsToken) => (Cause::TokenExpired, "no token could be fetched in time"),
            _ => (Cause::Outage, "the service is away; try again later"),
        };
        let close = last_word.unwrap_or_else(|| Close::new(Close::TRY_AGAIN, reason));
        self.end(cause, Some(close));
    }
}
