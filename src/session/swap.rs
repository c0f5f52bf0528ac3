//! Swaps: a new upstream connection takes the place of a live one, for a token that only a handshake can show.
//!
//! ```text
//!   make:   dial ───────────────► open ── Close to the old ──► the old one's Close ── Switch ──► Live
//!   old     serves, both ways         │  serves down; the client's messages are held │
//!   next                              └─ what it says is kept, or counted and dropped ─┘ then goes on
//!
//!   break:  Close to the old ──► the old one's Close ── a connection is made as after a loss, messages held
//! ```
//!
//! 1. A client's message goes to exactly one connection: to the old one before it is told to end, and to the
//!    next one after the old one's own Close has come. Nobody else knows when the service has taken the last
//!    message of the old one.
//! 2. The client hears the old one to its end, and then what the next one said meanwhile.
//! 3. While the next one is being made, nothing that goes wrong with it touches the old one: the swap is tried
//!    again for as long as the old one's token lives.
//! 4. What an old connection says of its end, once it was told to end, is for nobody.
//! 5. There are services that never answer a Close (sockets that hibernate, where nobody wrote the answer).
//!    Before its Close the old one gets a Ping: the Pong says that all before it was read. When it has then
//!    been silent for a moment, it is done.

use std::time::Duration;

use super::{
    core::{Session, State, Step},
    event::{Action, DialFailure, Epoch, Event, Method, Note, Shown},
    messages::{held, released},
    queue::Queue,
    timers::Timer,
};
use crate::{
    clock::Instant,
    config::{Overlap, Swap},
    dialect::{Fate, Moment},
    wire::{Close, Direction, Message},
};

/// The waits before a swap is tried again: a part of the time that is left, within these.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How long a service that has read everything, and says nothing, is listened to for its Close: this at the least,
/// and so many times what it took to say that it has read. What is slow to read is slow to answer.
const SETTLE: (Duration, u32) = (Duration::from_millis(250), 4);

/// The old connection on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drain {
    /// When it was asked to end.
    since: Instant,
    /// It is waited for until then at most.
    until: Instant,
    /// It has read everything that it was sent, and is waited for so long whenever it says nothing.
    settle: Option<Duration>,
}

/// The connection that is to replace the live one.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) epoch: Epoch,
    /// The token that it was made with.
    shown: Shown,
    /// What it said before the old one had ended.
    pub(super) kept: Queue,
}

impl Session {
    /// The new token takes a new connection.
    pub(super) fn begin_swap(&mut self, order: Swap, shown: Shown, now: Instant, out: &mut Vec<Action>) {
        self.timers.set(Timer::Step, now + self.policy.session.hold);
        match order {
            Swap::Make => {
                let epoch = self.fresh_epoch();
                self.next = Some(Next { epoch, shown, kept: Queue::default() });
                self.state = State::Swapping { shown, since: now, draining: None };
                out.push(Action::Dial(epoch));
            }
            Swap::Break => {
                self.state = State::Swapping { shown, since: now, draining: None };
                self.drain(now, out);
            }
        }
    }

    /// The barrier goes down: the client's messages wait, and the old connection is to end.
    fn drain(&mut self, now: Instant, out: &mut Vec<Action>) {
        let State::Swapping { draining, .. } = &mut self.state else { return };
        let until = now + self.policy.session.hold;
        *draining = Some(Drain { since: now, until, settle: None });
        self.timers.set(Timer::Step, until);
        out.push(Action::Fence);
        out.push(Action::CloseUpstream(Close::new(1000, "")));
    }

    /// The old connection has read everything: its Close need not come.
    pub(super) fn fenced(&mut self, now: Instant) {
        if let State::Swapping { draining: Some(drain), .. } = &mut self.state {
            let (least, times) = SETTLE;
            let settle = least.max(now.saturating_duration_since(drain.since).saturating_mul(times));
            drain.settle = Some(settle);
            self.timers.set(Timer::Step, drain.until.min(now + settle));
        }
    }

    /// It still has something to say, and is listened to for longer.
    pub(super) fn old_one_speaks(&mut self, now: Instant) {
        if let State::Swapping { draining: Some(Drain { settle: Some(settle), until, .. }), .. } = self.state
        {
            self.timers.set(Timer::Step, until.min(now + settle));
        }
    }

    /// What happens to the next connection.
    #[expect(clippy::wildcard_enum_match_arm, reason = "only what carries an epoch comes here")]
    pub(super) fn of_the_next(&mut self, event: Event<'_>, now: Instant, out: &mut Vec<Action>) {
        match event {
            Event::Opened(_, shown) => self.next_opened(shown, now, out),
            Event::Upstream(_, message) => self.next_says(message, now, out),
            Event::DialFailed(_, failure) => self.next_failed(&failure, now, out),
            Event::UpstreamClosed(_, _, why) => self.next_lost(why, out),
            Event::UpstreamBroke(_, violation) => self.next_lost(&violation.to_string(), out),
            _ => {}
        }
    }

    fn next_opened(&mut self, shown: Option<Shown>, now: Instant, out: &mut Vec<Action>) {
        if let Some(next) = &mut self.next {
            next.shown = shown.unwrap_or_default();
        }
        self.dialect.opened();
        self.drain(now, out);
    }

    fn next_says(&mut self, message: Message<'_>, now: Instant, out: &mut Vec<Action>) {
        let verdict = self.dialect.upstream(message, Moment::Overlapping, now, &mut self.say);
        let (Fate::Forward, Some(next)) = (verdict.fate, &mut self.next) else { return };
        let kept = self.policy.session.overlap == Overlap::Keep;
        out.push(Action::Note(Note::Overlapped { kept }));
        if kept {
            next.kept.push(message.into(), now);
            out.push(held(Direction::Down, message.payload.len()));
        }
    }

    /// Rule 3: the old one serves on.
    fn next_failed(&mut self, failure: &DialFailure, now: Instant, out: &mut Vec<Action>) {
        let State::Swapping { shown, .. } = self.state else { return };
        let why = match failure {
            DialFailure::Token(_) => "the handshake's token was refused",
            DialFailure::NoToken => "there is no usable token",
            DialFailure::Passing(why) => why,
        };
        let refused = matches!(failure, DialFailure::Token(_));
        self.failed(Method::Swap, shown, (refused, why), out);
        self.back_to_the_old(now, out);
        if let DialFailure::Token(generation) = failure {
            self.refuse(*generation, out);
        }
    }

    fn back_to_the_old(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.end_turn(out);
        self.give_up_next(out);
        self.timers.clear(Timer::Step);
        self.state = State::Live;
        let left = self.live.expires.map_or(RETRY.1, |at| at.saturating_duration_since(now) / 4);
        self.timers.set(Timer::Exchange, now + left.clamp(RETRY.0, RETRY.1));
    }

    /// The next one ended while the old one was about to: a new one is made when the old one is gone.
    fn next_lost(&mut self, why: &str, out: &mut Vec<Action>) {
        if let State::Swapping { shown, .. } = self.state {
            self.failed(Method::Swap, shown, (false, why), out);
            self.keep_what_it_said();
            self.give_up_next(out);
        }
    }

    /// Messages of a connection that is gone are the client's all the same.
    fn keep_what_it_said(&mut self) {
        if let Some(next) = &mut self.next {
            self.orphans.append(&mut next.kept);
        }
    }

    /// Lets go of the connection that was to replace the live one.
    pub(super) fn give_up_next(&mut self, out: &mut Vec<Action>) {
        self.keep_what_it_said();
        if self.next.take().is_some() {
            out.push(Action::HangUpNext);
        }
    }

    /// The old connection has ended: the next one serves.
    pub(super) fn drained(&mut self, now: Instant, out: &mut Vec<Action>) {
        let State::Swapping { since, .. } = self.state else { return };
        self.timers.clear(Timer::Step);
        self.end_turn(out);
        let Some(mut next) = self.next.take() else { return self.make_another(now, out) };
        out.push(Action::Switch);
        self.epoch = next.epoch;
        self.live = next.shown;
        self.asked = false;
        self.state = State::Live;
        self.ready_at = now;
        let (method, generation) = (Method::Swap, self.live.generation);
        out.push(Action::Note(Note::Reauthenticated { method, generation, took: now - since }));
        let mut orphans = std::mem::take(&mut self.orphans);
        self.deliver(&mut orphans, now, out);
        self.deliver(&mut next.kept, now, out);
        self.flush(now, out);
        if let Some(close) = self.leaving.take() {
            return self.client_closed(close, now, out);
        }
        self.schedule_exchange(now, out);
    }

    /// There is no next one yet, or no more: what is held waits for one as after a loss.
    fn make_another(&mut self, now: Instant, out: &mut Vec<Action>) {
        out.push(Action::HangUp);
        self.begin_to_resume(Some(Method::Swap), now, out);
        self.epoch = self.fresh_epoch();
        let mut orphans = std::mem::take(&mut self.orphans);
        self.deliver(&mut orphans, now, out);
        self.next_attempt(now, out);
        if let Some(close) = self.leaving.take() {
            self.client_closed(close, now, out);
        }
    }

    /// What was kept for the client reaches it, or is kept on where it is away.
    fn deliver(&mut self, kept: &mut Queue, now: Instant, out: &mut Vec<Action>) {
        match &mut self.away {
            Some(away) => away.kept.append(kept),
            None => {
                while let Some((payload, since)) = kept.pop() {
                    self.told_client = now;
                    out.push(released(Direction::Down, &payload, since, now));
                    out.push(Action::ToClient(payload));
                }
            }
        }
    }

    /// The old connection is lost before the next one is there: the dial goes on, as after any loss.
    pub(super) fn lost_while_swapping(&mut self, why: &str, now: Instant, out: &mut Vec<Action>) {
        self.end_turn(out);
        for timer in [Timer::Exchange, Timer::Pace] {
            self.timers.clear(timer);
        }
        out.push(Action::Switch);
        self.begin_to_resume(None, now, out);
        out.push(Action::Note(Note::UpstreamLost { why: why.to_owned(), attempt: 0 }));
        if let Some(next) = self.next.take() {
            self.epoch = next.epoch;
            self.set_step(Step::Dialing);
        } else {
            self.epoch = self.fresh_epoch();
            self.next_attempt(now, out);
        }
    }

    /// The next one is not there in time, or the old one does not end.
    pub(super) fn swap_timed_out(&mut self, now: Instant, out: &mut Vec<Action>) {
        let State::Swapping { shown, draining, .. } = self.state else { return };
        if let Some(Drain { settle, .. }) = draining {
            if settle.is_none() {
                // It may still have had something to say, and may not have taken all that it was told.
                out.push(Action::Note(Note::InDoubt));
            }
            return self.drained(now, out);
        }
        self.failed(Method::Swap, shown, (false, "the new connection was not there in time"), out);
        self.back_to_the_old(now, out);
    }
}
