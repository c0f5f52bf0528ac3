//! Swaps: a new upstream connection takes the place of a live one, for a token that only a handshake can show.
//!
//! ```text
//!   make:   dial ───────────────► ready ── Close to the old ──► the old one's Close ── serve ──► Live
//!   old     serves, both ways          │  serves down; the client's messages are held │
//!   new                                └─ what it says is kept, or counted and dropped ┘ then goes on
//!
//!   break:  Close to the old ──► the old one's Close ── a connection is made as after a loss, messages held
//! ```
//!
//! 1. A client's message goes to exactly one connection: to the old one before it is told to end, and to the
//!    new one after the old one's own Close has come. Nobody else knows when the service has taken the last
//!    message of the old one.
//! 2. The client hears the old one to its end, and then what the new one said meanwhile.
//! 3. While the new one is being made, nothing that goes wrong with it touches the old one: the swap is tried
//!    again for as long as the old one's token lives.
//! 4. Whatever ends the old connection meanwhile is the swap's doing, and is not passed on: there are services
//!    that throw the old one out when the new one comes.
//! 5. There are services that never answer a Close (sockets that hibernate, if nobody wrote the answer). Before
//!    its Close the old one gets a Ping: the Pong says that all before it was read. If it has then said nothing
//!    for [`SETTLE`], it is done.
//! 6. What the service owes on the old connection is waited for first, with the client's messages held: it will not come
//!    on another.
//! 7. A swap whose first client message is answered by a Close has failed: the new connection is not what the
//!    client had. It is resumed once, and then the Close is passed on. So has one whose first message nobody can read.

use std::time::Duration;

use super::{
    core::Session,
    event::{Action, Epoch, Method, Note, Shown},
    messages::{held, released},
    queue::Queue,
    state::{Attempt, Drain, State, Step, Trial},
    timers::Timer,
};
use crate::{
    config::{Overlap, Swap},
    dialect::Purpose,
    wire::{Close, Direction, Message},
};

/// The waits before a swap is tried again: a part of the time that is left, within these.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How long a service that has read everything, and says nothing, is listened to for its Close: this at the least,
/// and so many times what it took to say that it has read. What is slow to read is slow to answer.
const SETTLE: (Duration, u32) = (Duration::from_millis(250), 4);

impl Session {
    /// The new token takes a new connection.
    pub(super) fn begin_swap(&mut self, order: Swap, shown: Shown) {
        let step = Some(self.now + self.policy.hold);
        self.enter(State::Swapping { shown, since: self.now, owed: false, drain: None }, step);
        if let Err(why) = self.dialect.may_swap() {
            return self.swap_failed(why, false);
        }
        if self.dialect.hopes() && self.serving.as_ref().is_some_and(|serving| serving.delivery.sent() > 0) {
            self.note(Note::Hopes);
        }
        if order == Swap::Break {
            return self.leave_old();
        }
        let epoch = self.fresh_epoch();
        let mut attempt = Attempt::new(Purpose::Swap, epoch, self.now);
        attempt.method = Some(Method::Swap);
        self.attempt = Some(Box::new(attempt));
        self.out.push(Action::Dial(epoch));
    }

    /// The client's messages wait from now on: until the service has answered those on the old connection.
    pub(super) fn leave_old(&mut self) {
        let Some(hold) = self.dialect.owes() else { return self.drain() };
        if let State::Swapping { owed, .. } = &mut self.state {
            *owed = true;
            self.timers.set(Timer::Step, self.now + hold);
        }
    }

    /// Has the service answered, so that the old connection can be told to end?
    pub(super) fn old_one_answers(&mut self) {
        if matches!(self.state, State::Swapping { owed: true, drain: None, .. })
            && self.dialect.owes().is_none()
        {
            self.drain();
        }
    }

    /// The client's messages wait from now on, and the old connection is told to end.
    pub(super) fn drain(&mut self) {
        let (State::Swapping { drain, .. }, Some(old)) = (&mut self.state, &self.serving) else { return };
        let until = self.now + self.policy.hold;
        *drain = Some(Drain { since: self.now, until, settle: None });
        let epoch = old.epoch;
        let sent = old.delivery.sent();
        let parting = self.dialect.parting(&mut self.say);
        let goodbye = std::mem::take(&mut self.say.to_upstream);
        self.out.extend(goodbye.into_iter().map(|said| Action::ToUpstream(epoch, said)));
        self.out.push(Action::PingUpstream(epoch, sent));
        self.out.extend(parting.map(|close| Action::CloseUpstream(epoch, close)));
        self.set_step(Step::Ready);
        self.timers.set(Timer::Step, until);
    }

    /// The service shows that it has read what a connection was sent.
    pub(super) fn upstream_read(&mut self, epoch: Epoch, messages: u64) {
        if self.is_attempt(epoch) {
            if self.step() == Some(Step::Proving) {
                self.ready();
            }
            return;
        }
        let Some(old) = &mut self.serving else { return };
        old.delivery.reads(messages);
        if let State::Swapping { drain: Some(drain), .. } = &mut self.state
            && drain.settle.is_none()
            && old.delivery.is_all_read()
        {
            let (least, times) = SETTLE;
            let settle = least.max(self.now.saturating_duration_since(drain.since).saturating_mul(times));
            drain.settle = Some(settle);
            self.timers.set(Timer::Step, drain.until.min(self.now + settle));
        }
    }

    /// The old connection still has something to say, and is listened to for longer.
    pub(super) fn old_one_speaks(&mut self) {
        if let State::Swapping { drain: Some(Drain { settle: Some(settle), until, .. }), .. } = self.state {
            self.timers.set(Timer::Step, until.min(self.now + settle));
        }
    }

    /// What the new connection says while the old one serves. What answers a restoring is the old one's to say, but for what
    /// stands behind the last answer, in the same message.
    pub(super) fn new_one_speaks(&mut self, message: Message<'_>, ready: bool) {
        let restored = |new: &&mut Box<Attempt>| ready || new.step != Step::Restoring;
        let Some(new) = self.attempt.as_mut().filter(restored) else { return };
        if self.policy.overlap == Overlap::Once && new.twins.is_copy(message) {
            return;
        }
        let kept = self.policy.overlap != Overlap::Discard;
        if kept {
            new.kept.push(message.into(), self.now);
            self.note(held(Direction::Down, message.payload.len()));
        }
        self.note(Note::Overlapped { kept });
    }

    /// The client hears a message of the old connection's: what the new one said of the same is left out.
    pub(super) fn old_one_is_heard(&mut self, message: Message<'_>) {
        if self.policy.overlap != Overlap::Once {
            return;
        }
        let Some(new) = self.attempt.as_mut().filter(|new| new.purpose == Purpose::Swap && new.is_open())
        else {
            return;
        };
        match new.kept.take(message) {
            Some((payload, since)) => self.note(released(Direction::Down, &payload, since, self.now)),
            None => new.twins.old_says(message),
        }
    }

    /// Is it one that the client has heard on the connection before?
    pub(super) fn is_heard_already(&mut self, epoch: Epoch, message: Message<'_>) -> bool {
        let serving = self.serving.as_mut().filter(|serving| serving.epoch == epoch);
        serving.and_then(|serving| serving.twins.as_mut()).is_some_and(|twins| twins.is_copy(message))
    }

    /// Rule 3. If the old one was told to end already, another one is made when it has ended.
    pub(super) fn swap_failed(&mut self, why: &str, refused: bool) {
        let State::Swapping { shown, drain, .. } = self.state else { return };
        self.failed(Method::Swap, shown, (refused, why));
        self.give_up_attempt();
        self.dialect.replaced(false);
        if drain.is_some() {
            return;
        }
        let mut orphans = std::mem::take(&mut self.orphans);
        self.deliver(&mut orphans);
        self.enter(State::Live, None);
        let left = self.live().expires.map_or(RETRY.1, |at| at.saturating_duration_since(self.now) / 4);
        self.timers.set(Timer::Exchange, self.now + left.clamp(RETRY.0, RETRY.1));
        self.flush();
    }

    /// Gives up the connection that is being made; what it said is the client's all the same.
    pub(super) fn give_up_attempt(&mut self) {
        if let Some(mut attempt) = self.attempt.take() {
            self.orphans.append(&mut attempt.kept);
            self.out.push(Action::HangUp(attempt.epoch));
        }
    }

    /// The old connection has ended: the new one serves, or one is made as after a loss.
    pub(super) fn drained(&mut self) {
        self.out.extend(self.serving().map(Action::HangUp));
        if self.attempt.is_some() {
            return self.serve();
        }
        if self.dialect.swap() == Some(Swap::Make) {
            // There should have been one: what the service says meanwhile is lost.
            self.note(Note::Gap);
        }
        self.begin_to_resume(Some(Method::Swap));
        let mut orphans = std::mem::take(&mut self.orphans);
        self.deliver(&mut orphans);
        self.next_attempt(None);
        if let Some(close) = self.leaving.take() {
            self.client_closed(*close);
        }
    }

    /// Rule 4: the old connection is gone before the new one is there, which is made as after any loss.
    pub(super) fn old_one_lost(&mut self, why: &str, close: Option<Close>) {
        self.out.extend(self.serving().map(Action::HangUp));
        self.count_doubt();
        self.note(Note::UpstreamLost { why: why.to_owned(), attempt: 0 });
        self.serving = None;
        let Some(attempt) = &mut self.attempt else {
            self.begin_to_resume(None);
            return self.next_attempt(None);
        };
        attempt.purpose = Purpose::Resume;
        attempt.since = self.now;
        self.orphans.append(&mut attempt.kept);
        let ready = attempt.step == Step::Settling;
        let step = self.timers.at(Timer::Step);
        self.hide_outage(step);
        if let Some(outage) = &mut self.outage {
            outage.last_word = close.or_else(|| outage.last_word.take());
        }
        if ready {
            self.serve();
        }
    }

    /// Rule 7: the client speaks for the first time on a connection that replaced another.
    pub(super) fn trial_begins(&mut self) {
        if let Some(Trial::Open { again }) = self.serving.as_ref().map(|serving| serving.trial)
            && let Some(serving) = &mut self.serving
        {
            serving.trial = Trial::Spoken { at: self.now, again };
        }
    }

    /// The service speaks: what the client said was not answered by a Close.
    pub(super) fn trial_passed(&mut self) {
        if let Some(serving) = &mut self.serving
            && matches!(serving.trial, Trial::Spoken { .. })
        {
            serving.trial = Trial::Passed;
        }
    }

    /// Is a Close the answer to the client's first message, and may another connection do better?
    pub(super) fn fails_trial(&mut self) -> bool {
        let Some(serving) = &self.serving else { return false };
        let Trial::Spoken { at, again } = serving.trial else { return false };
        if self.now - at > self.policy.hold {
            return false;
        }
        let why = "the service closed the new connection at the client's first message";
        self.failed(Method::Swap, serving.shown, (false, why));
        !again
    }

    /// The first message of a new connection cannot be read, as those of the old one could: it is not what the client had.
    pub(super) fn cannot_be_read(&mut self, epoch: Epoch) {
        let why = "the messages of the new connection cannot be read";
        if self.is_attempt(epoch) {
            return self.swap_failed(why, false);
        }
        let Some(serving) = self.serving.as_mut().filter(|serving| serving.epoch == epoch) else { return };
        let (Trial::Open { again } | Trial::Spoken { again, .. }) = serving.trial else { return };
        serving.trial = Trial::Passed;
        let shown = serving.shown;
        self.failed(Method::Swap, shown, (false, why));
        if !again {
            self.connection_lost(epoch, (why, None));
            if let Some(attempt) = &mut self.attempt {
                attempt.again = true;
            }
        }
    }

    /// What was kept for the client reaches it, or is kept on while it is away.
    pub(super) fn deliver(&mut self, kept: &mut Queue) {
        if let Some(away) = &mut self.away {
            return away.kept.append(kept);
        }
        while let Some((payload, since)) = kept.pop() {
            self.note(released(Direction::Down, &payload, since, self.now));
            self.say_to_client(payload);
        }
    }
}
