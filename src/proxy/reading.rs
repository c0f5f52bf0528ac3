//! How a leg is read: if it may be, once a round, and nothing of what came is lost.
//!
//! ```text
//!   may_read ─► socket ─► took ─► pump ─► used up
//!      │                   ▲       └────► not yet: kept as the leg's `partial`
//!      │                   └─────────────────┘ with what comes next; a paused rest without it
//!      └── no: back-pressure
//! ```
//!
//! Rules:
//! 1. A leg is read while the other takes what it sends. While an answer is awaited the upstream is read on, up
//!    to a hard limit: the answer may stand behind what the client is slow to take. Beyond it the answer waits
//!    for the client, and so does the deadline of the answer.
//! 2. What is not read cannot be heard: an upstream that is left alone does not count as silent.
//! 3. A leg keeps bytes only if a part of a frame, or a rest that cannot be taken yet, is left over.
//! 4. What a client said before it went away is taken as before; what a service said, too, if its socket takes
//!    nothing more: the leg ends if nothing is left to read.

use std::task::{Context, Poll};

use super::{
    driver::{Driver, Scratch},
    leg::Leg,
    pump::Done,
};
use crate::{
    clock::Instant,
    net::link::SOFT_LIMIT,
    session::{Action, Event},
    wire::Close,
};

impl Driver {
    /// Reads one leg once, if it may be read, and uses up what came; has anything moved?
    pub(super) fn poll_side(
        &mut self,
        cx: &mut Context<'_>,
        leg: Leg,
        scratch: &mut Scratch,
        now: Instant,
    ) -> bool {
        if !self.may_read(leg, &mut scratch.actions, now) {
            return false;
        }
        let Some(link) = self.link(leg) else { return false };
        if link.paused {
            link.paused = false;
            let bytes = std::mem::take(&mut link.partial);
            let done = self.consume(cx, leg, &bytes, scratch, now);
            self.keep(leg, bytes, &done);
            // If the rest is only a part of a frame, the socket is to be asked for what follows.
            return done.used > 0 || !done.paused;
        }
        let mut read = std::mem::take(&mut scratch.read);
        let polled = link.poll_read(cx, &mut read);
        match polled {
            Poll::Pending => {}
            Poll::Ready(Ok(n)) if n > 0 => {
                self.work += n;
                self.took(cx, leg, &read[..n], scratch, now);
            }
            Poll::Ready(ref result) => self.ended(leg, result.is_ok(), &mut scratch.actions, now),
        }
        scratch.read = read;
        polled.is_ready()
    }

    /// Back-pressure: a leg is read while the other takes what it sends.
    fn may_read(&mut self, leg: Leg, actions: &mut Vec<Action>, now: Instant) -> bool {
        if self.finished.is_some() {
            return leg == Leg::Client && !self.dropped;
        }
        match leg {
            Leg::Client => {
                let there = if self.dropped { self.client.paused } else { !self.client.close_received };
                there && self.takes_from_client()
            }
            Leg::Next => self.session.wants(self.epoch(leg)),
            Leg::Upstream => self.may_read_upstream(actions, now),
        }
    }

    /// Is there room for what the client says next?
    pub(super) fn takes_from_client(&self) -> bool {
        let room = match &self.upstream {
            Some(upstream) => upstream.link.has_room(),
            None => !self.session.streams(),
        };
        room && self.session.wants_client()
    }

    fn may_read_upstream(&mut self, actions: &mut Vec<Action>, now: Instant) -> bool {
        let Some(epoch) = self.upstream.as_ref().map(|upstream| upstream.epoch) else { return false };
        let owed = if self.dropped { 0 } else { self.client.owed() };
        let limit = if self.session.awaits_answer() { self.route.route.session.queue } else { 0 };
        let may = self.session.wants(epoch) && owed < limit + SOFT_LIMIT;
        if !may {
            if let Some(upstream) = &mut self.upstream {
                // Rule 2.
                upstream.link.liveness.heard(now);
            }
            self.event(Event::Unread, now, actions);
        }
        may
    }

    fn took(&mut self, cx: &mut Context<'_>, leg: Leg, bytes: &[u8], scratch: &mut Scratch, now: Instant) {
        let Some(link) = self.link(leg) else { return };
        link.liveness.heard(now);
        self.report.bytes(leg.direction(), bytes.len());
        let Some(link) = self.link(leg) else { return };
        if link.partial.is_empty() {
            let done = self.consume(cx, leg, bytes, scratch, now);
            if done.used < bytes.len() {
                self.keep(leg, bytes[done.used..].to_vec(), &Done { used: 0, ..done });
            }
        } else {
            let mut all = std::mem::take(&mut link.partial);
            all.extend_from_slice(bytes);
            let done = self.consume(cx, leg, &all, scratch, now);
            self.keep(leg, all, &done);
        }
    }

    /// What was not used up stays with its leg.
    fn keep(&mut self, leg: Leg, mut bytes: Vec<u8>, done: &Done) {
        let Some(link) = self.link(leg) else { return };
        if done.used == bytes.len() {
            return;
        }
        bytes.drain(..done.used);
        link.partial = bytes;
        link.paused = done.paused;
    }

    /// A leg's stream has ended. A service that ends it behind our Close has answered that.
    fn ended(&mut self, leg: Leg, clean: bool, actions: &mut Vec<Action>, now: Instant) {
        let answers = clean && self.link(leg).is_some_and(|link| link.close_sent);
        match leg {
            Leg::Client => self.client_gone(actions, now),
            Leg::Upstream | Leg::Next => {
                let close = answers.then(Close::default);
                self.upstream_gone(self.epoch(leg), close, "its connection ended", actions, now);
            }
        }
    }
}
