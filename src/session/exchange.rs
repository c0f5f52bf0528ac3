//! Tokens on a live connection: when the new one is shown, and what the answer does.

use std::time::Duration;

use super::{
    core::Session,
    event::{Action, Demand, Epoch, Method, Note, Shown, Trigger},
    state::{State, Step, Turn},
    timers::Timer,
};
use crate::{
    clock::Instant,
    config::Swap,
    credential::Token,
    dialect::{Exchanged, Meaning, Want},
    wire::Close,
};

/// The longest time over which the exchanges of many sessions are spread.
const LONGEST_SPREAD: Duration = Duration::from_secs(10);

impl Session {
    /// A newer token is current, or the current one ends later than was said.
    pub(super) fn token(&mut self, token: &Token) {
        let shown = Shown::from(token);
        self.dialect.token(token);
        if shown.generation < self.newest.generation {
            return;
        }
        let newer = shown.generation > self.newest.generation;
        let expires = if newer { shown.expires } else { shown.expires.max(self.newest.expires) };
        self.newest = Shown { expires, ..shown };
        // A session that dials reads the current one; one that exchanges looks again when it is done.
        if self.state == State::Live && newer {
            if self.timers.at(Timer::Token).is_some() && self.has_token() {
                self.timers.stop(Timer::Token);
                self.flush();
            }
            self.schedule_exchange();
        } else if self.step() == Some(Step::NeedsToken) && self.has_token() {
            self.next_attempt(None);
        }
    }

    /// Spreads the exchanges of many sessions over a part of the time that is left.
    pub(super) fn schedule_exchange(&mut self) {
        let live = self.live();
        if self.state == State::Live && self.dialect.has_news() {
            self.exchange_due();
        }
        if self.newest.generation <= live.generation || self.turn != Turn::Idle || self.never_swaps() {
            return;
        }
        if self.refused.is_some_and(|refused| self.newest.generation <= refused) {
            return;
        }
        let left = live.expires.map_or(LONGEST_SPREAD, |at| at.saturating_duration_since(self.now));
        let spread = (left / 4).min(LONGEST_SPREAD);
        // The service has asked already: it does not wait.
        if self.asked || spread.is_zero() {
            self.exchange_due();
        } else {
            let at = self.now + self.backoff.part_of(spread);
            self.timers.set(Timer::Exchange, at);
        }
    }

    pub(super) fn exchange_due(&mut self) {
        if self.state == State::Live && self.turn == Turn::Idle {
            self.turn = Turn::Asked { same: false };
            self.out.push(Action::AskTurn);
        }
    }

    /// The client sent its own AUTH: an exchange with the current token answers it. While one is under way, its
    /// answer is the client's too.
    pub(super) fn client_asks(&mut self) {
        if self.state != State::Live {
            return;
        }
        if self.turn == Turn::Idle {
            self.out.push(Action::AskTurn);
        }
        self.turn = Turn::Asked { same: true };
    }

    /// The service asked for a new token.
    pub(super) fn asked(&mut self) {
        self.asked = true;
        if self.newest.generation > self.live().generation {
            self.timers.stop(Timer::Exchange);
            self.exchange_due();
        } else {
            let rejected = Some(self.live().generation);
            self.out.push(Action::Demand(Demand { rejected, trigger: Trigger::Hint }));
        }
    }

    /// It is this session's turn.
    pub(super) fn take_turn(&mut self, token: Option<&Token>) {
        let Turn::Asked { same } = self.turn else { return self.out.push(Action::EndTurn) };
        let order = self.dialect.swap();
        let token = token.filter(|token| self.may_be_shown(token, same) && order != Some(Swap::Never));
        if self.state != State::Live || token.is_none() && !self.dialect.has_news() {
            return self.give_turn_back();
        }
        self.turn = Turn::Mine;
        let shown = token.map_or_else(|| self.live(), Shown::from);
        if let Some(order) = order.filter(|_| token.is_some()) {
            return self.begin_swap(order, shown);
        }
        let Some(epoch) = self.serving() else { return self.give_turn_back() };
        match self.dialect.exchange(token, self.now, &mut self.say) {
            Exchanged::Unknown => self.give_turn_back(),
            Exchanged::Needless => {
                self.knows(shown);
                self.give_turn_back();
            }
            Exchanged::Asked => {
                let until = self.awaits_until();
                self.enter(State::Exchanging { shown, since: self.now }, Some(until));
                self.spoken(epoch);
            }
        }
    }

    /// Is it one that the connection does not know, and that will do? `same`: the one that it knows will do, too.
    fn may_be_shown(&mut self, token: &Token, same: bool) -> bool {
        let live = self.live().generation;
        let newer = token.generation > live || (same && token.generation == live);
        let refused = self.refused.is_some_and(|refused| token.generation <= refused);
        let dead = token.expires.is_some_and(|at| at <= self.now);
        if dead {
            self.refuse(token.generation);
        }
        newer && !refused && !dead
    }

    /// A value from outside: what waits for it goes on, and the live connection is told if it is news.
    pub(super) fn value(&mut self, want: &Want, token: Option<&Token>) {
        let awaited = self.dialect.awaits_until();
        let meaning = self.dialect.value(want, token, self.now, &mut self.say);
        let open = self.attempt.as_ref().filter(|attempt| attempt.is_open()).map(|attempt| attempt.epoch);
        self.spoken(open.or_else(|| self.serving()).unwrap_or_default());
        self.answer_is_awaited(awaited);
        if meaning == Meaning::Ready && open.is_some() {
            self.ready();
        }
        self.flush();
        self.schedule_exchange();
    }

    /// Until when an answer is awaited.
    pub(super) fn awaits_until(&self) -> Instant {
        self.dialect.awaits_until().unwrap_or(self.now + self.policy.hold)
    }

    fn knows(&mut self, shown: Shown) {
        if let Some(serving) = &mut self.serving {
            serving.shown = shown;
        }
    }

    /// The service took the new token.
    pub(super) fn accepted(&mut self) {
        let State::Exchanging { shown, since } = self.state else { return };
        self.knows(shown);
        self.asked = false;
        let (method, generation) = (Method::Exchange, shown.generation);
        self.note(Note::Reauthenticated { method, generation, took: self.now - since });
        self.exchange_is_over();
    }

    fn exchange_is_over(&mut self) {
        self.enter(State::Live, None);
        self.flush();
        self.schedule_exchange();
    }

    /// The service refused a value of the exchange: that is no fault of the connection, nor of its token.
    pub(super) fn declined(&mut self, why: &str) {
        let State::Exchanging { shown, .. } = self.state else { return };
        self.failed(Method::Exchange, shown, (true, why));
        if self.dialect.awaits_until().is_none() {
            self.exchange_is_over();
        }
    }

    /// The service refused the token of the exchange.
    pub(super) fn rejected(&mut self, epoch: Epoch, why: &str) {
        let State::Exchanging { shown, .. } = self.state else {
            return self.lapsed(epoch, (why, None));
        };
        self.failed(Method::Exchange, shown, (true, why));
        self.refuse(shown.generation);
        self.connection_lost(epoch, (why, None));
    }

    /// The token that a connection was made with will not do, or has ended.
    pub(super) fn lapsed(&mut self, epoch: Epoch, (why, close): (&str, Option<Close>)) {
        if let State::Swapping { shown, .. } = self.state
            && self.is_attempt(epoch)
        {
            self.swap_failed(why, true);
            return self.refuse(shown.generation);
        }
        if self.is_attempt(epoch) {
            self.failed(Method::Resume, self.live(), (true, why));
        }
        self.refuse(self.live().generation);
        self.connection_lost(epoch, (why, close));
    }

    pub(super) fn failed(&mut self, method: Method, shown: Shown, (refused, why): (bool, &str)) {
        let (generation, why) = (shown.generation, why.to_owned());
        self.note(Note::ReauthenticationFailed { method, generation, refused, why });
    }

    /// This generation, and what is older, will not be used again.
    pub(super) fn refuse(&mut self, generation: crate::credential::Generation) {
        self.refused = self.refused.max(Some(generation));
        if self.newest.generation <= generation {
            let rejected = Some(generation);
            self.out.push(Action::Demand(Demand { rejected, trigger: Trigger::Expiry }));
        }
    }

    /// Gives the place in the queue of those that exchange back, unless it is in use.
    pub(super) fn give_turn_back(&mut self) {
        if !matches!(self.state, State::Exchanging { .. } | State::Swapping { .. }) {
            self.turn = Turn::Idle;
            self.out.push(Action::EndTurn);
        }
    }
}
