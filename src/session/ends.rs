//! Ends: who said goodbye, and what the other side is told.

use std::time::Duration;

use super::{
    core::{Session, State, Step},
    event::{Action, Cause, Note},
    queue::Queue,
    timers::{Timer, Timers},
};
use crate::{
    clock::Instant,
    dialect::Ending,
    wire::{Close, Direction, Violation},
};

/// How long a peer may take to answer a Close.
pub(super) const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// How long a client's goodbye may wait for a service that is away: its SDK waits for 10 s.
pub(super) const LEAVING_PATIENCE: Duration = Duration::from_secs(8);

impl Session {
    pub(super) fn client_closed(&mut self, close: Option<Close>, now: Instant, out: &mut Vec<Action>) {
        if self.parks(close.as_ref()) {
            return self.park(now, out);
        }
        if let State::Swapping { draining: Some(_), .. } = self.state {
            // What the client said before goes to the next connection, and its goodbye behind it.
            self.leaving = Some(close);
            return;
        }
        if self.is_owed_a_delivery() {
            // There is no service now, and what the client said before is for the next one.
            self.timers.set(Timer::Leaving, now + LEAVING_PATIENCE);
            self.leaving = Some(close);
            return;
        }
        let live = matches!(self.state, State::Live | State::Exchanging { .. } | State::Swapping { .. });
        let reachable = live || matches!(self.state, State::Opening(Step::Greeting) | State::Closing { .. });
        if live {
            self.flush_all(now, out);
        }
        match close {
            Some(close) if reachable => {
                self.give_up_next(out);
                out.push(Action::CloseUpstream(close.clone()));
                self.timers.set(Timer::Step, now + CLOSE_PATIENCE);
                self.state = State::Closing { cause: Cause::Client, close };
            }
            Some(close) => self.end(Cause::Client, Some(close), now, out),
            None => self.end(Cause::Client, None, now, out),
        }
    }

    /// Are messages held for a service that acknowledges none, and whose client has said all it has to say?
    fn is_owed_a_delivery(&self) -> bool {
        let away = matches!(self.state, State::Resuming { .. });
        away && self.leaving.is_none() && !self.queue.is_empty() && !self.dialect.acknowledges()
    }

    pub(super) fn broke(&mut self, violation: Violation, now: Instant, out: &mut Vec<Action>) {
        let cause = if violation == Violation::TooBig { Cause::TooBig } else { Cause::Violation };
        out.push(Action::CloseUpstream(Close::new(violation.close_code(), "the client broke the protocol")));
        self.end(cause, Some(Close::new(violation.close_code(), &violation.to_string())), now, out);
    }

    pub(super) fn upstream_closed(
        &mut self,
        close: Option<Close>,
        why: &str,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        match (&self.state, close) {
            (State::Closing { cause, close: own }, theirs) => {
                let (cause, close) = (*cause, theirs.unwrap_or_else(|| own.clone()));
                self.end(cause, Some(close), now, out);
            }
            (State::Opening(_), Some(close)) => self.end(Cause::Refused, Some(close), now, out),
            (State::Swapping { draining: Some(_), .. }, _) => self.drained(now, out),
            (_, None) => self.lose(why, None, now, out),
            (_, Some(close)) => match self.dialect.ending(&close) {
                Ending::Lapsed => self.lapsed(&said(&close), now, out),
                Ending::Lost => self.lose(why, Some(close), now, out),
                Ending::Final => self.last_word(close, now, out),
            },
        }
    }

    /// The service broke the protocol: this connection of it is of no more use.
    pub(super) fn upstream_broke(&mut self, violation: Violation, now: Instant, out: &mut Vec<Action>) {
        out.push(Action::CloseUpstream(Close::new(violation.close_code(), &violation.to_string())));
        if let State::Swapping { draining: Some(_), .. } = self.state {
            out.push(Action::Note(Note::InDoubt));
            return self.drained(now, out);
        }
        let close = Close::new(violation.close_code(), "the service broke the protocol");
        self.lose(&violation.to_string(), Some(close), now, out);
    }

    /// The service is done: the client is told, now or when it comes back.
    fn last_word(&mut self, close: Close, now: Instant, out: &mut Vec<Action>) {
        let Some(away) = &mut self.away else {
            return self.end(Cause::Upstream, Some(close), now, out);
        };
        away.last_word = Some(close);
        self.end_turn(out);
        self.give_up_next(out);
        out.push(Action::HangUp);
        for timer in [Timer::Step, Timer::Budget, Timer::Exchange, Timer::Retry, Timer::Pace] {
            self.timers.clear(timer);
        }
        self.state = State::Departed;
    }

    /// No token is left, and the source will give none: who waits for one need not wait on.
    pub(super) fn hopeless(&mut self, now: Instant, out: &mut Vec<Action>) {
        if matches!(
            self.state,
            State::Opening(Step::NeedsToken) | State::Resuming { step: Step::NeedsToken, .. }
        ) {
            let close = Close::new(Close::POLICY, "Token expired");
            self.end(Cause::TokenExpired, Some(close), now, out);
        }
    }

    pub(super) fn leave(&mut self, now: Instant, out: &mut Vec<Action>) {
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
        let mut lose = |direction, queue: &mut Queue| {
            while let Some((payload, since)) = queue.pop() {
                let (bytes, waited) = (payload.bytes.len(), now - since);
                out.push(Action::Note(Note::Lost { direction, bytes, waited, known, cause }));
            }
        };
        lose(Direction::Up, &mut self.queue);
        if let Some(away) = &mut self.away {
            lose(Direction::Down, &mut away.kept);
        }
        lose(Direction::Down, &mut self.orphans);
        if let Some(next) = &mut self.next {
            lose(Direction::Down, &mut next.kept);
        }
        self.dialect.ended(now);
        out.push(Action::HangUp);
        out.push(close.map_or(Action::DropClient, Action::CloseClient));
        out.push(Action::Finished(cause));
        self.timers = Timers::default();
        self.state = State::Ended;
    }
}

/// A Close, for the log: its reason may quote the token.
fn said(close: &Close) -> String {
    format!("the service closed it with {}", close.code.unwrap_or(1005))
}
