//! New upstream connections: losing one, waiting, dialling, and being ready again.

use std::time::Duration;

use super::{
    core::{Session, State, Step},
    event::{Action, Cause, Demand, DialFailure, Method, Note, Shown, Trigger},
    timers::Timer,
};
use crate::{clock::Instant, wire::Close};

/// A connection that lived for less than this failed, and did not just end.
const HEALTHY: Duration = Duration::from_secs(2);

impl Session {
    /// The handshake was accepted.
    pub(super) fn opened(&mut self, shown: Option<Shown>, now: Instant, out: &mut Vec<Action>) {
        if !matches!(self.step(), Some(Step::Dialing)) {
            return;
        }
        self.live = shown.unwrap_or_default();
        if self.live.generation > self.newest.generation {
            self.newest = self.live;
        }
        self.set_step(Step::Greeting);
        self.timers.set(Timer::Step, now + self.policy.session.hold);
        if self.dialect.opened() {
            self.ready(now, out);
        }
    }

    /// The connection serves: what was held goes on.
    pub(super) fn ready(&mut self, now: Instant, out: &mut Vec<Action>) {
        for timer in [Timer::Step, Timer::Budget, Timer::Retry, Timer::Leaving] {
            self.timers.clear(timer);
        }
        if let State::Resuming { since, replayed, .. } = self.state {
            let gap = now - since;
            out.push(Action::Note(Note::UpstreamResumed { gap, replayed }));
            if let Some(method) = self.reauthenticates {
                let generation = self.live.generation;
                out.push(Action::Note(Note::Reauthenticated { method, generation, took: gap }));
            }
        }
        self.reauthenticates = None;
        self.state = State::Live;
        self.asked = false;
        self.ready_at = now;
        self.arm_idle();
        self.flush(now, out);
        if let Some(close) = self.leaving.take() {
            return self.client_closed(close, now, out);
        }
        if self.state == State::Live {
            self.schedule_exchange(now, out);
        }
    }

    /// The upstream connection is gone: a new one continues it, or the client is told.
    pub(super) fn lose(&mut self, why: &str, close: Option<Close>, now: Instant, out: &mut Vec<Action>) {
        if let State::Swapping { .. } = self.state {
            return self.lost_while_swapping(why, now, out);
        }
        self.end_turn(out);
        out.push(Action::HangUp);
        for timer in [Timer::Step, Timer::Exchange, Timer::Pace, Timer::Retry] {
            self.timers.clear(timer);
        }
        if let State::Closing { cause, close: own } = &self.state {
            let (cause, close) = (*cause, close.unwrap_or_else(|| own.clone()));
            self.end(cause, Some(close), now, out);
            return;
        }
        if !self.dialect.lost() {
            self.dialect.farewell(&mut self.say);
            self.spoken(now, out);
            self.end(Cause::Upstream, close, now, out);
            return;
        }
        if matches!(self.state, State::Live | State::Exchanging { .. }) {
            if now - self.ready_at >= HEALTHY {
                self.backoff.reset();
            }
            self.begin_to_resume(None, now, out);
        }
        self.epoch = self.fresh_epoch();
        let attempt = self.backoff.attempts();
        out.push(Action::Note(Note::UpstreamLost { why: why.to_owned(), attempt }));
        self.next_attempt(now, out);
    }

    /// From now on an outage is hidden; `method`: how the session comes to a newer token by it.
    pub(super) fn begin_to_resume(&mut self, method: Option<Method>, now: Instant, out: &mut Vec<Action>) {
        let newer = self.newest.generation > self.live.generation
            || self.refused.is_some_and(|refused| refused >= self.live.generation);
        self.reauthenticates = method.or_else(|| newer.then_some(Method::Resume));
        self.state = State::Resuming { step: Step::Waiting, since: now, replayed: 0 };
        self.timers.set(Timer::Budget, now + self.policy.session.reconnect);
        if method.is_none() && !self.dialect.acknowledges() {
            out.push(Action::Note(Note::InDoubt));
        }
    }

    /// Dials when there is a token to dial with, and the backoff allows.
    pub(super) fn next_attempt(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.policy.needs_token && !self.has_token(now) {
            self.set_step(Step::NeedsToken);
            let rejected = self.refused.filter(|refused| *refused >= self.newest.generation);
            out.push(Action::Demand(Demand { rejected, trigger: Trigger::Expiry }));
            return;
        }
        let wait = self.backoff.next();
        if wait.is_zero() {
            self.dial(now, out);
        } else {
            self.set_step(Step::Waiting);
            self.timers.set(Timer::Retry, now + wait);
        }
    }

    /// Rule 6: is the newest token one that may go out?
    fn has_token(&self, now: Instant) -> bool {
        let Shown { generation, expires } = self.newest;
        generation.0 > 0
            && self.refused.is_none_or(|refused| generation > refused)
            && expires.is_none_or(|at| at > now)
    }

    pub(super) fn dial(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.policy.needs_token && !self.has_token(now) {
            self.next_attempt(now, out);
            return;
        }
        self.set_step(Step::Dialing);
        self.timers.set(Timer::Step, now + self.policy.session.hold);
        out.push(Action::Dial(self.epoch));
    }

    pub(super) fn dial_failed(&mut self, failure: DialFailure, now: Instant, out: &mut Vec<Action>) {
        if !matches!(self.step(), Some(Step::Dialing)) {
            return;
        }
        self.timers.clear(Timer::Step);
        self.epoch = self.fresh_epoch();
        let attempt = self.backoff.attempts();
        let why = match failure {
            DialFailure::Token(generation) => {
                self.refuse(generation, out);
                "the handshake's token was refused".to_owned()
            }
            DialFailure::NoToken => {
                // The clock that the token is judged by has moved: ask as if it were refused.
                self.refuse(self.newest.generation, out);
                "there is no usable token".to_owned()
            }
            DialFailure::Passing(why) => why,
        };
        out.push(Action::Note(Note::UpstreamLost { why, attempt }));
        self.next_attempt(now, out);
    }

    /// An exchange without an answer, a dial or a greeting that takes too long, a Close nobody answers.
    pub(super) fn step_timed_out(&mut self, now: Instant, out: &mut Vec<Action>) {
        match &self.state {
            State::Exchanging { shown, .. } => {
                self.failed(Method::Exchange, *shown, (false, "no answer in time"), out);
                self.lose("the exchange had no answer", None, now, out);
            }
            State::Opening(_) | State::Resuming { .. } => {
                self.lose("the service took too long", None, now, out)
            }
            State::Closing { cause, close } => {
                let (cause, close) = (*cause, close.clone());
                self.end(cause, Some(close), now, out);
            }
            State::Swapping { .. } => self.swap_timed_out(now, out),
            State::Live | State::Departed | State::Ended => {}
        }
    }

    /// The outage has been hidden for as long as it may be.
    pub(super) fn budget_spent(&mut self, now: Instant, out: &mut Vec<Action>) {
        let Some(step) = self.step() else { return };
        let (cause, reason) = match step {
            Step::NeedsToken => (Cause::TokenExpired, "no token could be fetched in time"),
            Step::Waiting | Step::Dialing | Step::Greeting => {
                (Cause::Outage, "the service is away; try again later")
            }
        };
        self.dialect.farewell(&mut self.say);
        self.spoken(now, out);
        self.end(cause, Some(Close::new(Close::TRY_AGAIN, reason)), now, out);
    }

    fn step(&self) -> Option<Step> {
        match self.state {
            State::Opening(step) | State::Resuming { step, .. } => Some(step),
            State::Live
            | State::Exchanging { .. }
            | State::Swapping { .. }
            | State::Departed
            | State::Closing { .. }
            | State::Ended => None,
        }
    }

    pub(super) fn set_step(&mut self, new: Step) {
        match &mut self.state {
            State::Opening(step) | State::Resuming { step, .. } => *step = new,
            State::Live
            | State::Exchanging { .. }
            | State::Swapping { .. }
            | State::Departed
            | State::Closing { .. }
            | State::Ended => {}
        }
    }
}
