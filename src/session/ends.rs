//! Ends: who said goodbye, and what the other side is told.
//!
//! Rules:
//! 1. What a Close of the service's means: the route's `[[route.close]]`, then the dialect's rules, which know
//!    whether it came at the end of the token ([`AT_THE_END`]).
//! 2. While a replacement is being made, whatever ends the old connection is the swap's doing ([`super::swap`]).
//! 3. A limit of Perennial's own is not the client's fault, and nobody is told so.
//! 4. The client's last words are the dialect's ([`Session::say_goodbye`]).

use std::{ops::RangeInclusive, time::Duration};

use super::{
    core::Session,
    event::{Action, Cause, Epoch, Note},
    queue::Queue,
    state::{State, Step},
    timers::Timer,
};
use crate::{
    dialect::{Doing, Ending, Purpose},
    wire::{Close, Direction, Violation},
};

/// How long a peer may take to answer a Close.
pub(super) const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// How long a client's goodbye may wait for a service that is away: its SDK waits for 10 s.
pub(super) const LEAVING_PATIENCE: Duration = Duration::from_secs(8);
/// A Close from so long before to so long after the end of the token is of the token: services look now and then,
/// and some close a little early.
const AT_THE_END: RangeInclusive<i64> = -1_000..=5_000;

impl Session {
    // ----- the client's

    pub(super) fn client_closed(&mut self, close: Option<Close>) {
        if self.parks(close.as_ref()) {
            return self.park();
        }
        if let State::Swapping { drain: Some(_), .. } = self.state {
            // What the client said before goes to the new connection, and its goodbye behind it.
            self.leaving = Some(Box::new(close));
            return;
        }
        if self.is_owed_a_delivery() {
            // There is no service now, and what the client said before is for the next one.
            self.timers.set(Timer::Leaving, self.now + LEAVING_PATIENCE);
            self.leaving = Some(Box::new(close));
            return;
        }
        if matches!(self.state, State::Live | State::Exchanging { .. } | State::Swapping { .. }) {
            self.flush_all();
        }
        match (close, self.open()) {
            (Some(close), Some(epoch)) => {
                if self.purpose() == Some(Purpose::Swap) {
                    self.give_up_attempt();
                }
                self.out.push(Action::CloseUpstream(epoch, close.clone()));
                let closing = State::Closing { cause: Cause::Client, close };
                self.enter(closing, Some(self.now + CLOSE_PATIENCE));
            }
            (close, _) => self.end(Cause::Client, close),
        }
    }

    /// Are messages held for a service that acknowledges none, and whose client has said all it has to say?
    fn is_owed_a_delivery(&self) -> bool {
        let away = self.purpose() == Some(Purpose::Resume);
        away && self.leaving.is_none() && !self.queue.is_empty() && !self.dialect.acknowledges()
    }

    pub(super) fn client_broke(&mut self, violation: Violation) {
        // Rule 3.
        let (cause, told) = if violation == Violation::TooBig {
            (Cause::TooBig, Close::new(Close::GOING_AWAY, "a message is larger than the proxy takes"))
        } else {
            (Cause::Violation, Close::new(violation.close_code(), "the client broke the protocol"))
        };
        self.out.extend(self.open().map(|epoch| Action::CloseUpstream(epoch, told)));
        self.end(cause, Some(Close::new(violation.close_code(), &violation.to_string())));
    }

    /// The client's goodbye has waited for the service for as long as it may.
    pub(super) fn leave(&mut self) {
        if self.state == State::Connecting {
            self.end(Cause::Client, Some(Close::new(1000, "")));
        }
    }

    // ----- the service's

    pub(super) fn upstream_closed(&mut self, epoch: Epoch, close: Option<Close>, why: &str) {
        if close.is_some() {
            self.close_is_an_answer(epoch);
        }
        let first = self.purpose() == Some(Purpose::First);
        match (&self.state, close) {
            (State::Swapping { .. } | State::Closing { .. }, close) => {
                self.connection_lost(epoch, (why, close));
            }
            (State::Connecting, Some(close)) if first => {
                self.refused_by(&close);
                self.end(Cause::Refused, Some(close));
            }
            (_, close) => self.judge(epoch, close, why),
        }
    }

    /// Rule 1.
    fn judge(&mut self, epoch: Epoch, close: Option<Close>, why: &str) {
        let at_the_end = self.is_at_the_end();
        let ending = self.dialect.ending(close.as_ref(), at_the_end);
        let lapsed = ending == Ending::Lapsed || at_the_end && close.is_some();
        let cause = if lapsed { Cause::TokenExpired } else { Cause::Upstream };
        match (ending, close) {
            (_, close) if !self.dialect.continues() => {
                if close.is_none() {
                    self.note(Note::UpstreamLost { why: why.to_owned(), attempt: 0 });
                }
                self.end(cause, close);
            }
            (Ending::Lapsed, close) => {
                let said = close.as_ref().map_or_else(|| why.to_owned(), said);
                self.lapsed(epoch, (&said, close));
            }
            (Ending::Final, Some(close)) if self.fails_trial() => {
                self.connection_lost(epoch, (&said(&close), Some(close.clone())));
                if let Some(attempt) = &mut self.attempt {
                    attempt.again = true;
                }
            }
            (Ending::Final, close) => {
                close.iter().filter(|close| !is_ordinary(close)).for_each(|close| self.refused_by(close));
                self.last_word(cause, close);
            }
            (Ending::Lost, close) => self.connection_lost(epoch, (why, close)),
        }
    }

    /// Is this the time at which the token of the connection ends?
    fn is_at_the_end(&self) -> bool {
        self.live().expires.is_some_and(|end| {
            let late = self.now.saturating_duration_since(end).as_millis() as i64;
            let early = end.saturating_duration_since(self.now).as_millis() as i64;
            AT_THE_END.contains(&(late - early))
        })
    }

    /// An old connection that answers our Close has read all that stood before it.
    fn close_is_an_answer(&mut self, epoch: Epoch) {
        let drains = matches!(self.state, State::Swapping { drain: Some(_), .. });
        if let Some(old) = self.serving.as_mut().filter(|old| drains && old.epoch == epoch) {
            old.delivery.reads_all();
        }
    }

    /// The service broke the protocol: this connection of it is of no more use.
    pub(super) fn upstream_broke(&mut self, epoch: Epoch, violation: Violation) {
        self.out
            .push(Action::CloseUpstream(epoch, Close::new(violation.close_code(), &violation.to_string())));
        let close = Close::new(violation.close_code(), "the service broke the protocol");
        self.connection_lost(epoch, (&violation.to_string(), Some(close)));
    }

    /// For the log: what the service said.
    fn refused_by(&mut self, close: &Close) {
        self.note(Note::Refused(said(close)));
    }

    /// The service is done: the client is told, now or when it comes back.
    fn last_word(&mut self, cause: Cause, close: Option<Close>) {
        let Some(away) = &mut self.away else { return self.end(cause, close) };
        away.last_word = close;
        self.hang_up();
        self.enter(State::Departed, None);
    }

    /// No token is left, and the source will give none: it is not waited for.
    pub(super) fn hopeless(&mut self) {
        if self.state == State::Connecting && self.step() == Some(Step::NeedsToken) {
            let close = Close::new(Close::POLICY, "Token expired");
            self.end_by(Doing::TokenEnded, Cause::TokenExpired, Some(close));
        }
    }

    // ----- the end

    /// Closes every connection to the service; what the new one said is the client's all the same.
    fn hang_up(&mut self) {
        self.give_up_attempt();
        self.out.extend(self.serving.take().map(|serving| Action::HangUp(serving.epoch)));
    }

    pub(super) fn end(&mut self, cause: Cause, close: Option<Close>) {
        self.end_by(doing(cause), cause, close);
    }

    /// The end: what is left is counted, both sides are closed, and nothing more will come. It comes once: a message
    /// that ends the session may be sent on the way to another end.
    fn end_by(&mut self, doing: Doing, cause: Cause, close: Option<Close>) {
        if self.state == State::Ended {
            return;
        }
        self.hang_up();
        let up = std::mem::take(&mut self.queue);
        self.count_lost(Direction::Up, up, cause);
        let mut down = std::mem::take(&mut self.orphans);
        if let Some(away) = &mut self.away {
            down.append(&mut away.kept);
        }
        self.count_lost(Direction::Down, down, cause);
        self.dialect.ended(self.now);
        self.say_goodbye(doing, close);
        self.enter(State::Ended, None);
        self.out.push(Action::Finished(cause));
    }

    /// The last words to the client; one that is away is told when it is back.
    pub(super) fn say_goodbye(&mut self, doing: Doing, mut close: Option<Close>) {
        if self.away.is_none() {
            close = self.dialect.farewell(doing, close, &mut self.say);
            self.spoken(Epoch::default());
        }
        self.out.push(close.map_or(Action::DropClient, Action::CloseClient));
    }

    fn count_lost(&mut self, direction: Direction, mut queue: Queue, cause: Cause) {
        let known = self.dialect.acknowledges();
        while let Some((payload, since)) = queue.pop() {
            let (bytes, waited) = (payload.bytes.len(), self.now - since);
            self.note(Note::Lost { direction, bytes, waited, known, cause });
        }
    }
}

/// Whose doing it is, if nothing else is known.
fn doing(cause: Cause) -> Doing {
    match cause {
        Cause::Client => Doing::Left,
        Cause::Violation => Doing::Violation,
        Cause::TooBig => Doing::TooBig,
        Cause::Upstream
        | Cause::TokenExpired
        | Cause::Outage
        | Cause::Refused
        | Cause::Discontinued
        | Cause::Slow
        | Cause::Shutdown
        | Cause::Operator => Doing::NotTheClients,
    }
}

/// A Close, for the log: its reason may quote the token.
fn said(close: &Close) -> String {
    let code = close.code.unwrap_or(1005);
    match close.reason.as_str() {
        "" => format!("the service closed it with {code}"),
        reason => format!("the service closed it with {code}: {reason}"),
    }
}

/// An end as services have it when all is well (RFC 6455 §7.4.1).
fn is_ordinary(close: &Close) -> bool {
    matches!(close.code, None | Some(1000 | 1001))
}
