//! What a session waits for besides bytes: the core's deadline, and those of its legs.
//!
//! ```text
//!   timer ─► the core's deadline ─► the legs are read ─► the legs' deadlines ─► timer
//! ```
//!
//! Rules:
//! 1. There is one timer, which is never later than the earliest deadline: that is compared whenever the session
//!    has nothing to do. A deadline that has moved away, as it does with each message, is found out when it fires.
//! 2. A leg is judged after it was read: a sidecar that slept blames nobody for its own silence.
//! 3. Whatever fired has moved its deadline into the future ([`crate::net::liveness`], rule 1).
//! 4. A service that says something is asked what it has read, if messages are in doubt: at most once in [`ASK`].
//! 5. A client that is not read is not pinged. One that has said all and closed its socket would answer the Ping
//!    with a reset, and its kernel would throw away what it has yet to send.

use std::{task::Context, time::Duration};

use super::{driver::Driver, ending::linger, leg::Leg};
use crate::{
    clock::Instant,
    net::{Patience, Verdict},
    session::{Action, Event},
};

/// The least time between two questions of what a service has read.
const ASK: Duration = Duration::from_millis(250);

impl Driver {
    /// What the core wanted to be woken for, and the end of the wait for a last Close.
    pub(super) fn look_at_clock(&mut self, actions: &mut Vec<Action>, now: Instant) -> bool {
        if self.session.deadline().is_none_or(|at| at > now)
            && self.finished.is_none_or(|(_, until)| until > now)
        {
            return false;
        }
        if self.session.deadline().is_some_and(|at| at <= now) {
            self.event(Event::Timer, now, actions);
        }
        if self.finished.is_some_and(|(_, until)| until <= now) {
            self.linger_on(now);
        }
        true
    }

    /// A quiet leg is pinged; one that gives no sign of life is given up.
    pub(super) fn look_at_legs(&mut self, actions: &mut Vec<Action>, now: Instant) -> bool {
        if self.look_for_client(actions, now) {
            return true;
        }
        if self.finished.is_some() || self.legs_due().is_none_or(|at| at > now) {
            return false;
        }
        let every = self.route.route.session.keepalive;
        if !self.dropped {
            match self.client.judge(Patience::with_client(every), now) {
                Verdict::Alive => {}
                Verdict::Ask if self.takes_from_client() => {
                    self.ping(Some(Leg::Client), self.session.sent_to_client(), now);
                }
                // Rule 5.
                Verdict::Ask => self.client.liveness.ping_waits(now),
                Verdict::Gone(_) => self.event(Event::ClientStalled, now, actions),
            }
        }
        let Some(upstream) = &mut self.upstream else { return true };
        let epoch = upstream.epoch;
        match upstream.link.judge(Patience::with_service(every), now) {
            Verdict::Alive => {}
            Verdict::Ask => self.ping(Some(Leg::Upstream), self.session.sent_to(epoch), now),
            Verdict::Gone(why) => self.upstream_gone(epoch, None, why, actions, now),
        }
        true
    }

    /// Rule 4. The answer bounds what a loss leaves in doubt.
    pub(super) fn ask_what_was_read(&mut self, now: Instant) {
        let Some(upstream) = &self.upstream else { return };
        let (epoch, due) = (upstream.epoch, upstream.link.liveness.may_ask(ASK, now));
        if due && self.session.is_in_doubt(epoch) {
            self.ping(Some(Leg::Upstream), self.session.sent_to(epoch), now);
        }
    }

    /// The time for the last words is over, unless the client is still reading them.
    fn linger_on(&mut self, now: Instant) {
        self.parting = None;
        let every = self.route.route.session.keepalive;
        let reads = !self.dropped && self.client.owed() > 0;
        if reads && !matches!(self.client.judge(Patience::with_client(every), now), Verdict::Gone(_)) {
            if let Some((_, until)) = &mut self.finished {
                *until = linger(now);
            }
            return;
        }
        self.dropped = true;
    }

    /// The earliest deadline of the legs.
    fn legs_due(&self) -> Option<Instant> {
        let every = self.route.route.session.keepalive;
        let client =
            (!self.dropped).then(|| self.client.liveness.deadline(Patience::with_client(every))).flatten();
        let upstream = self
            .upstream
            .as_ref()
            .and_then(|upstream| upstream.link.liveness.deadline(Patience::with_service(every)));
        [client, self.client_answers_by(), upstream].into_iter().flatten().min()
    }

    fn deadline(&self) -> Option<Instant> {
        match self.finished {
            Some((_, until)) => Some(until),
            None => {
                let parting = self.parting.as_ref().map(|parting| parting.until);
                [self.session.deadline(), self.legs_due(), parting].into_iter().flatten().min()
            }
        }
    }

    /// Sets the timer if it has to be earlier; is it due already?
    pub(super) fn sleep_until(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(at) = self.deadline() else { return false };
        if self.armed.is_some_and(|armed| armed <= at) {
            return false;
        }
        self.armed = Some(at);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        sleep.as_mut().reset(at);
        let due = sleep.as_mut().poll(cx).is_ready();
        if due {
            self.armed = None;
        }
        due
    }
}
