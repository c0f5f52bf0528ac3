//! What a session waits for besides bytes: the core's deadline, and those of its legs.
//!
//! ```text
//!   timer ─► the core's deadline ─► the legs are read ─► the legs' deadlines ─► timer
//! ```
//!
//! Rules:
//! 1. There is one timer, which is never later than the earliest deadline: messages that pass move deadlines
//!    away, and that is found out when it fires.
//! 2. A leg is judged after it was read: a sidecar that slept blames nobody for its own silence.
//! 3. Whatever fired has moved its deadline into the future ([`crate::net::liveness`], rule 1).

use std::task::Context;

use super::driver::Driver;
use crate::{
    clock::Instant,
    net::{Patience, Verdict},
    session::{Action, Event},
};

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
        if let Some((_, until)) = self.finished
            && until <= now
        {
            self.dropped = true;
            self.parting = None;
        }
        true
    }

    /// A quiet leg is pinged; one that gives no sign of life is given up.
    pub(super) fn look_at_legs(&mut self, actions: &mut Vec<Action>, now: Instant) -> bool {
        if self.finished.is_some() || self.legs_due().is_none_or(|at| at > now) {
            return false;
        }
        let every = self.route.route.session.keepalive;
        if !self.dropped {
            match self.client.judge(Patience::with_client(every), now) {
                Verdict::Alive => {}
                Verdict::Ask => {
                    let inside = self.upstream.as_ref().is_some_and(|link| link.inbound.mid_frame());
                    self.client.ping(inside, &mut self.random, now);
                }
                Verdict::Gone(_) => self.event(Event::ClientStalled, now, actions),
            }
        }
        let Some(upstream) = &mut self.upstream else { return true };
        match upstream.judge(Patience::with_service(every), now) {
            Verdict::Alive => {}
            Verdict::Ask => {
                upstream.ping(self.client.inbound.mid_frame(), &mut self.random, now);
                self.report.pinged();
            }
            Verdict::Gone(why) => {
                let epoch = self.session.epoch();
                self.event(Event::UpstreamClosed(epoch, None, why), now, actions);
            }
        }
        true
    }

    /// The earliest deadline of the legs.
    fn legs_due(&self) -> Option<Instant> {
        let every = self.route.route.session.keepalive;
        let client =
            (!self.dropped).then(|| self.client.liveness.deadline(Patience::with_client(every))).flatten();
        let upstream =
            self.upstream.as_ref().and_then(|link| link.liveness.deadline(Patience::with_service(every)));
        [client, upstream].into_iter().flatten().min()
    }

    fn deadline(&self) -> Option<Instant> {
        match self.finished {
            Some((_, until)) => Some(until),
            None => [self.session.deadline(), self.legs_due()].into_iter().flatten().min(),
        }
    }

    /// Sets the timer if it may have to be earlier; is it due already?
    pub(super) fn sleep_until(&mut self, cx: &mut Context<'_>) -> bool {
        if self.armed.is_some() && !self.rearm {
            return false;
        }
        self.rearm = false;
        let Some(at) = self.deadline() else { return false };
        // A deadline that has moved away, as it does with each message, is found out when the timer fires.
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
