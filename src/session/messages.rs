//! Messages: what passes, what is held, and how what was held goes on.
//!
//! Rules:
//! 1. The client's messages go in their order. If one waits, all that follow wait behind it.
//! 2. What the dialect says to a new connection, and what was held, goes at the pace that the service takes
//!    ([`Pace`](super::pace::Pace)). Live traffic is counted in it, and never slowed by it.

use super::{
    core::Session,
    ends::{CLOSE_PATIENCE, LEAVING_PATIENCE},
    event::{Action, Cause, Epoch, Note},
    state::{State, Step},
    timers::Timer,
};
use crate::{
    clock::Instant,
    dialect::{Fate, Meaning, Moment, Purpose, Verdict},
    wire::{Close, Direction, Message, Payload},
};

impl Session {
    // ----- from the client

    /// What the client's next message meets.
    fn moment_up(&self) -> Moment {
        match self.state {
            State::Connecting if self.purpose() == Some(Purpose::First) => Moment::Opening,
            State::Connecting if self.step() == Some(Step::Restoring) => Moment::Resuming,
            // Rule 1: a new message waits behind what is held.
            _ if self.flows_up() && self.queue.is_empty() && self.may_release() => Moment::Live,
            State::Live | State::Swapping { .. } | State::Exchanging { .. } => Moment::Exchanging,
            State::Connecting | State::Closing { .. } | State::Departed | State::Ended => Moment::Away,
        }
    }

    pub(super) fn client(&mut self, message: Message<'_>) {
        if matches!(self.state, State::Closing { .. }) {
            return;
        }
        let Verdict { fate, meaning } =
            self.dialect.client(message, self.moment_up(), self.now, &mut self.say);
        match fate {
            Fate::Forward => self.forward_up(None),
            Fate::Swallow => {}
            Fate::Hold => {
                self.queue.push(message.into(), self.now);
                self.note(held(Direction::Up, message.payload.len()));
            }
            Fate::Hurry => {
                self.flush_all();
                self.release(message.into(), self.now);
            }
        }
        self.spoken(self.serving().unwrap_or_default());
        self.client_means(&meaning);
    }

    /// A message of the client's goes to the service: its own bytes, the dialect's version of it, or `held`.
    fn forward_up(&mut self, held: Option<Payload>) {
        let Some(serving) = &mut self.serving else { return };
        serving.delivery.sends(1);
        let epoch = serving.epoch;
        self.pace.sends(self.dialect.pace(), self.now);
        self.trial_begins();
        let instead = self.say.instead.take();
        if instead.is_some() {
            self.spoken(epoch);
        }
        self.out.push(match instead.or(held) {
            Some(payload) => Action::ToUpstream(epoch, payload),
            None => Action::Forward,
        });
    }

    fn client_means(&mut self, meaning: &Meaning) {
        match meaning {
            Meaning::ClientAsks => self.client_asks(),
            Meaning::Unreadable { ends } => {
                self.note(Note::Unreadable(Direction::Up));
                if *ends {
                    let why = "the proxy cannot read a message that may carry credentials";
                    self.end(Cause::Violation, Some(Close::new(Close::POLICY, why)));
                }
            }
            Meaning::NeedsToken => self.waits_for_a_token(),
            Meaning::Leaving if self.state != State::Live => {
                self.timers.set(Timer::Leaving, self.now + LEAVING_PATIENCE);
            }
            Meaning::Leaving
            | Meaning::Nothing
            | Meaning::Ready
            | Meaning::Accepted
            | Meaning::Rejected(_)
            | Meaning::Declined(_)
            | Meaning::Asks
            | Meaning::Lapsed(_)
            | Meaning::Lost(_)
            | Meaning::Discontinued
            | Meaning::Unasked
            | Meaning::Parted
            | Meaning::Fatal(_) => {}
        }
    }

    // ----- from the service

    fn moment_down(&self, epoch: Epoch) -> Moment {
        match (self.purpose(), &self.state) {
            (Some(Purpose::Swap), _) if self.is_attempt(epoch) => Moment::Overlapping,
            (Some(Purpose::First), State::Connecting) => Moment::Opening,
            (_, State::Connecting) => Moment::Resuming,
            (_, State::Exchanging { .. } | State::Swapping { .. }) => Moment::Exchanging,
            (_, State::Live | State::Closing { .. } | State::Departed | State::Ended) => Moment::Live,
        }
    }

    pub(super) fn upstream(&mut self, epoch: Epoch, message: Message<'_>) {
        let moment = self.moment_down(epoch);
        let awaited = self.dialect.awaits_until();
        let Verdict { fate, meaning } = self.dialect.upstream(message, moment, self.now, &mut self.say);
        let instead = self.say.instead.take();
        let said = instead.as_ref().map_or(message, Payload::as_message);
        if moment != Moment::Overlapping && !matches!(meaning, Meaning::Unreadable { .. }) {
            self.trial_passed();
        }
        match (moment, fate) {
            (Moment::Overlapping, Fate::Forward) => self.new_one_speaks(said, meaning == Meaning::Ready),
            (Moment::Overlapping, _) => {}
            (_, Fate::Forward) => {
                self.old_one_speaks();
                if !self.is_heard_already(epoch, said) {
                    self.forward_down(message, instead.clone());
                    self.old_one_is_heard(said);
                }
            }
            (_, Fate::Hold) => self.keep_for_later(epoch, said),
            (_, Fate::Swallow | Fate::Hurry) => {}
        }
        if std::mem::take(&mut self.say.acknowledged) && self.is_serving(epoch) {
            self.outage_is_over();
        }
        self.spoken(epoch);
        if !self.queue.is_empty() {
            // It may have acknowledged so much that more may go.
            self.flush();
        }
        if meaning != Meaning::Nothing || fate != Fate::Forward {
            // It may have named another patience.
            self.arm_speech();
        }
        self.service_means(epoch, meaning);
        self.answer_is_awaited(awaited);
        self.old_one_answers();
        if self.is_attempt(epoch) && self.step() == Some(Step::Proving) {
            self.ready();
        }
    }

    /// A message of the service's goes to the client: its own bytes, or the dialect's version of it.
    fn forward_down(&mut self, message: Message<'_>, instead: Option<Payload>) {
        if let Some(payload) = instead {
            return self.say_to_client(payload);
        }
        self.told_client = self.now;
        if let Some(away) = &mut self.away {
            away.kept.push(message.into(), self.now);
            return self.note(held(Direction::Down, message.payload.len()));
        }
        self.heard.sends(1);
        self.out.push(Action::Forward);
    }

    /// A message of a connection that is being restored, and that no other says: it waits until that one serves.
    fn keep_for_later(&mut self, epoch: Epoch, message: Message<'_>) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.epoch == epoch) else { return };
        attempt.kept.push(message.into(), self.now);
        self.note(held(Direction::Down, message.payload.len()));
    }

    fn service_means(&mut self, epoch: Epoch, meaning: Meaning) {
        match meaning {
            Meaning::Nothing | Meaning::ClientAsks | Meaning::Leaving | Meaning::NeedsToken => {}
            Meaning::Unreadable { ends } => {
                self.note(Note::Unreadable(Direction::Down));
                if ends {
                    self.cannot_be_read(epoch);
                }
            }
            Meaning::Unasked => self.note(Note::Unasked),
            Meaning::Ready if self.is_attempt(epoch) => self.ready(),
            Meaning::Ready => {}
            Meaning::Accepted => self.accepted(),
            Meaning::Asks => self.asked(),
            Meaning::Rejected(why) => self.rejected(epoch, &why),
            Meaning::Declined(why) => self.declined(&why),
            Meaning::Lapsed(why) => self.lapsed(epoch, (&why, None)),
            Meaning::Lost(why) => self.connection_lost(epoch, (&why, None)),
            Meaning::Discontinued => {
                let close = Close::new(1000, "the service could not continue the connection");
                self.end(Cause::Discontinued, Some(close));
            }
            Meaning::Fatal(why) => {
                self.note(Note::Refused(why));
                self.expect_close(Cause::Refused);
            }
            Meaning::Parted => self.expect_close(Cause::Client),
        }
    }

    /// Progress: the dialect awaits another answer than `before`, from now on. A message that is none leaves the wait as it is,
    /// which a slow client may have made longer ([`Session::unread`]).
    pub(super) fn answer_is_awaited(&mut self, before: Option<Instant>) {
        let restores = self.step() == Some(Step::Restoring);
        let swaps = matches!(self.state, State::Swapping { drain: None, .. });
        let exchanges = matches!(self.state, State::Exchanging { .. });
        let awaited = self.dialect.awaits_until().filter(|at| Some(*at) != before && *at > self.now);
        if (exchanges || restores && (swaps || self.state == State::Connecting))
            && let Some(at) = awaited
        {
            self.timers.set(Timer::Step, at);
        }
    }

    /// The service has said its last word in a message, and is to close the connection.
    fn expect_close(&mut self, cause: Cause) {
        let closing = State::Closing { cause, close: Close::new(1000, "") };
        self.enter(closing, Some(self.now + CLOSE_PATIENCE));
    }

    // ----- what the dialect says

    /// What the dialect said becomes actions; what it says to the service goes to this connection.
    pub(super) fn spoken(&mut self, epoch: Epoch) {
        for payload in std::mem::take(&mut self.say.to_client) {
            self.say_to_client(payload);
        }
        for (want, rejected) in self.dialect.wants() {
            self.out.push(Action::Fetch(want, rejected));
        }
        if let Some(remark) = self.say.remark.take() {
            self.note(Note::Remark(remark));
        }
        if self.say.to_upstream.is_empty() {
            return;
        }
        let (said, replayed) =
            (std::mem::take(&mut self.say.to_upstream), std::mem::take(&mut self.say.replayed));
        if let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.epoch == epoch) {
            attempt.replayed += u64::from(replayed);
            said.into_iter().for_each(|payload| self.outgoing.push(payload, self.now));
            return self.flush_outgoing(epoch);
        }
        for payload in said {
            self.pace.sends(self.dialect.pace(), self.now);
            self.out.push(Action::ToUpstream(epoch, payload));
        }
    }

    pub(super) fn say_to_client(&mut self, payload: Payload) {
        self.told_client = self.now;
        if let Some(away) = &mut self.away {
            self.out.push(Action::Note(held(Direction::Down, payload.bytes.len())));
            return away.kept.push(payload, self.now);
        }
        self.heard.sends(1);
        self.out.push(Action::ToClient(payload));
    }

    /// Rule 2, for what the dialect said to a new connection. What is left has its time in [`Timer::Pace`].
    fn flush_outgoing(&mut self, epoch: Epoch) {
        let pace = self.dialect.pace();
        while !self.outgoing.is_empty() {
            if let Some(at) = self.pace.next(pace, self.now) {
                return self.timers.set(Timer::Pace, at);
            }
            if let Some((payload, _)) = self.outgoing.pop() {
                self.pace.sends(pace, self.now);
                self.out.push(Action::ToUpstream(epoch, payload));
            }
        }
    }

    /// A message of the client's, and all behind it, wait for a token: for as long as an outage is hidden.
    fn waits_for_a_token(&mut self) {
        if self.timers.at(Timer::Token).is_none() {
            self.timers.set(Timer::Token, self.now + self.policy.reconnect);
            self.refuse(self.newest.generation);
        }
    }

    /// A held message goes on, as if it came now; or it waits again.
    fn release(&mut self, payload: Payload, since: Instant) {
        if self.state == State::Ended {
            return;
        }
        let Verdict { fate, meaning } =
            self.dialect.client(payload.as_message(), Moment::Live, self.now, &mut self.say);
        match fate {
            Fate::Forward => self.forward_up(Some(payload)),
            Fate::Hold => {
                self.note(held(Direction::Up, payload.bytes.len()));
                self.queue.put_back(payload, since);
            }
            Fate::Swallow | Fate::Hurry => {}
        }
        self.spoken(self.serving().unwrap_or_default());
        self.client_means(&meaning);
    }

    /// What waits goes, in order, no faster than the service takes it.
    pub(super) fn flush(&mut self) {
        let open = self.attempt.as_ref().filter(|attempt| attempt.is_open()).map(|attempt| attempt.epoch);
        if let Some(epoch) = open.or_else(|| self.serving()) {
            self.flush_outgoing(epoch);
        }
        while self.flows_up() && self.may_release() && !self.queue.is_empty() {
            if let Some(at) = self.pace.next(self.dialect.pace(), self.now) {
                return self.timers.set(Timer::Pace, at);
            }
            let waiting = self.queue.len();
            self.release_one();
            if self.queue.len() == waiting {
                return;
            }
        }
    }

    /// May the service be sent more of the client's? What the dialect says goes first, and what it remembers is
    /// bounded.
    fn may_release(&self) -> bool {
        !self.dialect_goes_first() && !self.dialect.is_full() && self.timers.at(Timer::Token).is_none()
    }

    /// Does something of the dialect's wait for the connection that serves?
    pub(super) fn dialect_goes_first(&self) -> bool {
        self.attempt.is_none() && !self.outgoing.is_empty()
    }

    fn release_one(&mut self) {
        if let Some((payload, since)) = self.queue.pop() {
            self.note(released(Direction::Up, &payload, since, self.now));
            self.release(payload, since);
        }
    }

    /// What waits goes now, all of it: something that may not wait stands behind it.
    pub(super) fn flush_all(&mut self) {
        if let Some(epoch) = self.serving() {
            while let Some((said, _)) = self.outgoing.pop() {
                self.out.push(Action::ToUpstream(epoch, said));
            }
        }
        while !self.queue.is_empty() {
            let waiting = self.queue.len();
            self.release_one();
            if self.queue.len() == waiting {
                return;
            }
        }
    }

    // ----- the client's patience

    /// What is awaited may stand behind what is not read, because the client is slow: the wait begins again. That
    /// client's own deadline ends it.
    pub(super) fn unread(&mut self) {
        let until = self.now + self.policy.hold;
        if let State::Swapping { drain: Some(drain), .. } = &mut self.state {
            drain.until = until;
            let settle = drain.settle.map_or(until, |settle| self.now + settle);
            self.timers.set(Timer::Step, settle);
        } else if self.awaits_answer() {
            self.timers.set(Timer::Step, until);
        }
    }

    /// The dialect may have to say something because time passes.
    pub(super) fn arm_speech(&mut self) {
        match self.dialect.due(self.told_client) {
            Some(at) => self.timers.set(Timer::Speech, at),
            None => self.timers.stop(Timer::Speech),
        }
    }

    /// The dialect says what is due; a client that is away does not hear it.
    pub(super) fn speech(&mut self) {
        if self.dialect.due(self.told_client).is_some_and(|at| at <= self.now) {
            self.dialect.speak(self.told_client, self.now, &mut self.say);
            self.told_client = self.now;
            if self.away.is_some() {
                self.say.to_client.clear();
            }
            self.spoken(Epoch::default());
        }
        self.arm_speech();
    }
}

/// A held message goes on.
pub(super) fn released(direction: Direction, payload: &Payload, since: Instant, now: Instant) -> Note {
    Note::Released { direction, bytes: payload.bytes.len(), waited: now - since }
}

/// A message is held from now on.
pub(super) fn held(direction: Direction, bytes: usize) -> Note {
    Note::Held { direction, bytes }
}
