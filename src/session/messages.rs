//! Messages: what passes, what is held, and how what was held goes on.

use std::time::Duration;

use super::{
    core::{Session, State, Step},
    ends::{CLOSE_PATIENCE, LEAVING_PATIENCE},
    event::{Action, Cause, Note},
    timers::Timer,
};
use crate::{
    clock::Instant,
    dialect::{Fate, Meaning, Moment, Verdict},
    wire::{Close, Direction, Message, Payload},
};

/// How far the service may be behind: what is held goes in bursts of this length.
const BURST: Duration = Duration::from_millis(90);

impl Session {
    fn moment(&self) -> Moment {
        match self.state {
            State::Opening(_) => Moment::Opening,
            // What is held goes first: a new message waits behind it.
            State::Live | State::Swapping { draining: None, .. } if !self.queue.is_empty() => {
                Moment::Exchanging
            }
            State::Live | State::Swapping { draining: None, .. } => Moment::Live,
            State::Exchanging { .. } | State::Swapping { draining: Some(_), .. } => Moment::Exchanging,
            State::Resuming { step: Step::Greeting, .. } => Moment::Resuming,
            State::Resuming { .. } | State::Closing { .. } | State::Departed | State::Ended => Moment::Away,
        }
    }

    pub(super) fn client(&mut self, message: Message<'_>, now: Instant, out: &mut Vec<Action>) {
        if matches!(self.state, State::Closing { .. }) {
            return;
        }
        let verdict = self.dialect.client(message, self.moment(), now, &mut self.say);
        match verdict.fate {
            Fate::Forward => out.push(Action::Forward),
            Fate::Swallow => {}
            Fate::Hold => {
                self.queue.push(message.into(), now);
                out.push(held(Direction::Up, message.payload.len()));
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

    pub(super) fn upstream(&mut self, message: Message<'_>, now: Instant, out: &mut Vec<Action>) {
        let moment = match self.state {
            State::Opening(_) => Moment::Opening,
            State::Resuming { .. } => Moment::Resuming,
            State::Exchanging { .. } | State::Swapping { .. } => Moment::Exchanging,
            State::Live | State::Closing { .. } | State::Departed | State::Ended => Moment::Live,
        };
        let Verdict { fate, meaning } = self.dialect.upstream(message, moment, now, &mut self.say);
        if fate == Fate::Forward {
            self.told_client = now;
            self.old_one_speaks(now);
            match &mut self.away {
                Some(away) => {
                    away.kept.push(message.into(), now);
                    out.push(held(Direction::Down, message.payload.len()));
                }
                None => out.push(Action::Forward),
            }
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
                out.push(released(Direction::Up, &payload, since, now));
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
    pub(super) fn flush_all(&mut self, now: Instant, out: &mut Vec<Action>) {
        while let Some((payload, since)) = self.queue.pop() {
            out.push(released(Direction::Up, &payload, since, now));
            self.release(payload, now, out);
        }
    }

    /// The client has to hear something before its patience ends.
    pub(super) fn arm_idle(&mut self) {
        if let Some(after) = self.dialect.client_idle() {
            self.timers.set(Timer::Idle, self.told_client + after);
        }
    }

    /// Says something to a client that has heard nothing for as long as it bears.
    pub(super) fn idle(&mut self, now: Instant, out: &mut Vec<Action>) {
        let quiet = self.dialect.client_idle().is_some_and(|after| self.told_client + after <= now);
        if let Some(message) = self.dialect.idle().filter(|_| quiet) {
            self.told_client = now;
            out.push(Action::ToClient(message));
        }
        self.arm_idle();
    }
}

/// A held message goes on.
pub(super) fn released(direction: Direction, payload: &Payload, since: Instant, now: Instant) -> Action {
    Action::Note(Note::Released { direction, bytes: payload.bytes.len(), waited: now - since })
}

/// A message is held from now on.
pub(super) fn held(direction: Direction, bytes: usize) -> Action {
    Action::Note(Note::Held { direction, bytes })
}
