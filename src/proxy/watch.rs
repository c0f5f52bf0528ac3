//! What a session waits for besides bytes: the core's deadline, and those of its legs.
//!
//! A leg that is quiet is pinged; an upstream that stays quiet, or a leg that takes nothing of what it is
//! owed, is given up. There is one timer, which is never later than the earliest deadline: messages that
//! pass move deadlines away, and that is found out when it fires.

use std::{task::Context, time::Duration};

use super::driver::Driver;
use crate::{
    clock::Instant,
    net::link::Link,
    session::{Action, Event},
    wire::Opcode,
};

/// How long a leg may take nothing of what it is owed.
const STALL: Duration = Duration::from_secs(30);

impl Driver {
    /// What the core and the legs wanted to be woken for.
    pub(super) fn look_at_clock(&mut self, actions: &mut Vec<Action>, now: Instant) -> bool {
        // A timer that is set is never later than the deadline.
        if self.armed.is_some() || self.deadline().is_none_or(|at| at > now) {
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
        if self.finished.is_none() {
            self.keep_alive(actions, now);
        }
        true
    }

    /// A quiet leg is pinged; one that stays quiet, or takes nothing, is given up.
    fn keep_alive(&mut self, actions: &mut Vec<Action>, now: Instant) {
        let every = self.route.route.session.keepalive;
        if !self.dropped && self.client.blocked.is_some_and(|since| since + STALL <= now) {
            self.event(Event::ClientStalled, now, actions);
        }
        let inside_up = self.client.inbound.mid_frame();
        let inside_down = self.upstream.as_ref().is_some_and(|link| link.inbound.mid_frame());
        if !self.dropped && ping_due(&self.client, every) <= now {
            self.client.pinged = Some(now);
            self.client.control(Opcode::Ping, b"", inside_down, &mut self.random);
        }
        let Some(upstream) = &mut self.upstream else { return };
        let doubts = self.session.doubts() && self.report.has_unasked();
        if ping_due(upstream, every).min(fence_due(upstream, doubts, every)) <= now {
            upstream.pinged = Some(now);
            upstream.control(Opcode::Ping, b"", inside_up, &mut self.random);
            self.report.pinged();
        }
        let stalled = upstream.blocked.is_some_and(|since| since + STALL <= now);
        let silent = silence_due(upstream, every) <= now;
        if stalled || silent {
            let why = if stalled { "it takes nothing" } else { "it is silent" };
            let epoch = self.session.epoch();
            self.event(Event::UpstreamClosed(epoch, None, why), now, actions);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if let Some((_, until)) = self.finished {
            return Some(until);
        }
        let every = self.route.route.session.keepalive;
        let stall = |link: &Link| link.blocked.map(|since| since + STALL);
        let doubts = self.session.doubts() && self.report.has_unasked();
        let upstream = self.upstream.iter();
        let upstream = upstream.flat_map(|up| {
            [
                Some(ping_due(up, every)),
                Some(fence_due(up, doubts, every)),
                Some(silence_due(up, every)),
                stall(up),
            ]
        });
        let client = [Some(ping_due(&self.client, every)), stall(&self.client)];
        let client = client.into_iter().filter(|_| !self.dropped).chain([self.session.deadline()]);
        client.into_iter().chain(upstream).flatten().min()
    }

    /// Sets the timer, where that may have to be earlier; is it due already?
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

/// When a leg is to be pinged: it has been quiet for `every`, and was not asked since.
fn ping_due(link: &Link, every: Duration) -> Instant {
    link.heard.max(link.pinged.unwrap_or(link.heard)) + every
}

/// When the service is asked for a sign that it has taken what it was sent, however much it says itself.
fn fence_due(upstream: &Link, doubts: bool, every: Duration) -> Instant {
    let last = upstream.pinged.unwrap_or(upstream.since);
    if doubts { last + every } else { upstream.heard + every }
}

/// When a leg counts as gone: half as long again.
fn silence_due(link: &Link, every: Duration) -> Instant {
    link.heard + every * 3 / 2
}
