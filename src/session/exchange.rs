//! Tokens on a live connection: when the new one is shown, and what the answer does.

use std::time::Duration;

use super::{
    core::{Session, State, Step, Turn},
    event::{Action, Demand, Method, Note, Shown, Trigger},
    timers::Timer,
};
use crate::{clock::Instant, credential::Token};

/// The longest time over which the exchanges of many sessions are spread.
const LONGEST_SPREAD: Duration = Duration::from_secs(10);

impl Session {
    /// A newer token is current.
    pub(super) fn token(&mut self, shown: Shown, now: Instant, out: &mut Vec<Action>) {
        if shown.generation == self.newest.generation {
            // The same token, whose end is later than it was said to be.
            self.newest.expires = shown.expires.max(self.newest.expires);
        }
        if shown.generation <= self.newest.generation {
            return;
        }
        self.newest = shown;
        match &self.state {
            State::Live => self.schedule_exchange(now, out),
            State::Opening(Step::NeedsToken) | State::Resuming { step: Step::NeedsToken, .. } => {
                self.next_attempt(now, out);
            }
            // Whoever dials reads the current one; whoever exchanges looks again when it is done.
            State::Opening(_)
            | State::Resuming { .. }
            | State::Exchanging { .. }
            | State::Swapping { .. }
            | State::Departed
            | State::Closing { .. }
            | State::Ended => {}
        }
    }

    /// Spreads the exchanges of many sessions over a part of the time that is left.
    pub(super) fn schedule_exchange(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.newest.generation <= self.live.generation || self.turn != Turn::Idle {
            return;
        }
        if self.refused.is_some_and(|refused| self.newest.generation <= refused) {
            return;
        }
        let left = self.live.expires.map_or(LONGEST_SPREAD, |at| at.saturating_duration_since(now));
        let spread = (left / 4).min(LONGEST_SPREAD);
        // The service has asked already: it waits for nobody.
        if self.asked || spread.is_zero() {
            self.exchange_due(out);
        } else {
            let at = now + self.backoff.part_of(spread);
            self.timers.set(Timer::Exchange, at);
        }
    }

    pub(super) fn exchange_due(&mut self, out: &mut Vec<Action>) {
        if self.state == State::Live && self.turn == Turn::Idle {
            self.turn = Turn::Asked { same: false };
            out.push(Action::AskTurn);
        }
    }

    /// The client sent its own AUTH: an exchange with the current token answers it.
    pub(super) fn client_asks(&mut self, out: &mut Vec<Action>) {
        let wait = self.turn == Turn::Idle;
        self.turn = Turn::Asked { same: true };
        // While an exchange is under way, its answer is the client's too.
        if self.state == State::Live && wait {
            out.push(Action::AskTurn);
        } else if self.state != State::Live {
            self.turn = Turn::Idle;
        }
    }

    /// The service asked for a new token.
    pub(super) fn asked(&mut self, out: &mut Vec<Action>) {
        self.asked = true;
        if self.newest.generation > self.live.generation {
            self.timers.clear(Timer::Exchange);
            self.exchange_due(out);
        } else {
            let rejected = Some(self.live.generation);
            out.push(Action::Demand(Demand { rejected, trigger: Trigger::Hint }));
        }
    }

    /// It is this session's turn.
    pub(super) fn take_turn(&mut self, token: &Token, now: Instant, out: &mut Vec<Action>) {
        let Turn::Asked { same } = std::mem::replace(&mut self.turn, Turn::Idle) else {
            out.push(Action::EndTurn);
            return;
        };
        let newer =
            token.generation > self.live.generation || (same && token.generation == self.live.generation);
        let refused = self.refused.is_some_and(|refused| token.generation <= refused);
        let dead = token.expires.is_some_and(|at| at <= now);
        if dead {
            self.refuse(token.generation, out);
        }
        if self.state != State::Live || !newer || refused || dead {
            out.push(Action::EndTurn);
            return;
        }
        if let Some(order) = self.dialect.swap() {
            return self.begin_swap(order, Shown::from(token), now, out);
        }
        if !self.dialect.exchange(token, &mut self.say) {
            out.push(Action::EndTurn);
            return;
        }
        self.state = State::Exchanging { shown: Shown::from(token), since: now };
        self.timers.set(Timer::Step, now + self.policy.session.hold);
        self.spoken(now, out);
    }

    /// The service took the new token.
    pub(super) fn accepted(&mut self, now: Instant, out: &mut Vec<Action>) {
        let State::Exchanging { shown, since } = self.state else { return };
        self.state = State::Live;
        self.live = shown;
        self.asked = false;
        self.timers.clear(Timer::Step);
        out.push(Action::EndTurn);
        let (method, generation) = (Method::Exchange, shown.generation);
        out.push(Action::Note(Note::Reauthenticated { method, generation, took: now - since }));
        self.flush(now, out);
        self.schedule_exchange(now, out);
    }

    /// The service refused the token of the exchange.
    pub(super) fn rejected(&mut self, why: &str, now: Instant, out: &mut Vec<Action>) {
        let State::Exchanging { shown, .. } = self.state else { return self.lapsed(why, now, out) };
        self.failed(Method::Exchange, shown, (true, why), out);
        self.refuse(shown.generation, out);
        self.lose(why, None, now, out);
    }

    /// The token that the connection was made with will not do, or has ended.
    pub(super) fn lapsed(&mut self, why: &str, now: Instant, out: &mut Vec<Action>) {
        if matches!(self.state, State::Opening(_) | State::Resuming { .. }) {
            self.failed(Method::Resume, self.live, (true, why), out);
        }
        self.refuse(self.live.generation, out);
        self.lose(why, None, now, out);
    }

    pub(super) fn failed(
        &self,
        method: Method,
        shown: Shown,
        (refused, why): (bool, &str),
        out: &mut Vec<Action>,
    ) {
        let (generation, why) = (shown.generation, why.to_owned());
        out.push(Action::Note(Note::ReauthenticationFailed { method, generation, refused, why }));
    }

    /// This generation, and what is older, will not be used again.
    pub(super) fn refuse(&mut self, generation: crate::credential::Generation, out: &mut Vec<Action>) {
        self.refused = self.refused.max(Some(generation));
        if self.newest.generation <= generation {
            let rejected = Some(generation);
            out.push(Action::Demand(Demand { rejected, trigger: Trigger::Expiry }));
        }
    }

    /// Gives the turn back, or the place in the queue for it.
    pub(super) fn end_turn(&mut self, out: &mut Vec<Action>) {
        let mine = matches!(self.state, State::Exchanging { .. } | State::Swapping { .. });
        if mine || self.turn != Turn::Idle {
            self.turn = Turn::Idle;
            out.push(Action::EndTurn);
        }
    }
}
