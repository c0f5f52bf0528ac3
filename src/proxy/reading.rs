//! How a leg is read: where it may be, once a round, and nothing of what came is lost.
//!
//! ```text
//!   may_read ─► socket ─► took ─► pump ─► used up
//!      │                   ▲       └────► not yet: kept as the leg's `partial`
//!      │                   └─────────────────┘ with what comes next; a paused rest without it
//!      └── no: back-pressure
//! ```
//!
//! Rules:
//! 1. A leg is read while the other takes what it sends. While an answer to an exchange is awaited the
//!    upstream is read on, up to a hard limit: the answer may stand behind what the client is slow to take.
//! 2. What is not read cannot be heard: an upstream that is left alone does not count as silent.
//! 3. A leg keeps bytes only where a part of a frame, or a rest that nobody wants yet, is left over.

use std::task::{Context, Poll};

use super::{
    driver::{Driver, Polled, Scratch},
    leg::Leg,
    pump::Done,
};
use crate::{
    clock::Instant,
    net::link::SOFT_LIMIT,
    session::{Action, Event},
};

impl Driver {
    /// Reads one leg once, where it may be read, and uses up what came.
    pub(super) fn poll_side(
        &mut self,
        cx: &mut Context<'_>,
        leg: Leg,
        scratch: &mut Scratch,
        now: Instant,
    ) -> Polled {
        if !self.may_read(leg, &mut scratch.actions, now) {
            return Polled::Blocked;
        }
        let Some(link) = self.link(leg) else { return Polled::Idle };
        if link.paused {
            link.paused = false;
            let bytes = std::mem::take(&mut link.partial);
            let done = self.consume(cx, leg, &bytes, scratch, now);
            self.keep(leg, bytes, &done);
            // Where the rest is only a part of a frame, the socket is to be asked for what follows.
            return if done.used > 0 || !done.paused { Polled::Moved } else { Polled::Blocked };
        }
        let mut read = std::mem::take(&mut scratch.read);
        let polled = match link.poll_read(cx, &mut read) {
            Poll::Pending => Polled::Idle,
            Poll::Ready(Ok(n)) if n > 0 => {
                self.took(cx, leg, &read[..n], scratch, now);
                Polled::Moved
            }
            Poll::Ready(_) => {
                self.ended(leg, &mut scratch.actions, now);
                Polled::Moved
            }
        };
        scratch.read = read;
        polled
    }

    /// Back-pressure: a leg is read while the other takes what it sends.
    fn may_read(&mut self, leg: Leg, actions: &mut Vec<Action>, now: Instant) -> bool {
        if self.finished.is_some() {
            return leg == Leg::Client && !self.dropped;
        }
        match leg {
            Leg::Client if self.dropped => false,
            Leg::Next => self.session.wants_next(),
            Leg::Upstream if self.dropped => {
                let may = self.session.wants_upstream();
                if let (false, Some(upstream)) = (may, &mut self.upstream) {
                    // Nothing can be heard of a side that is not read.
                    upstream.liveness.heard(now);
                }
                may
            }
            Leg::Client => {
                let room = match &self.upstream {
                    Some(upstream) => upstream.owed() < SOFT_LIMIT,
                    None => !self.session.streams(),
                };
                room && self.session.wants_client() && !self.client.close_received
            }
            Leg::Upstream => {
                let owed = self.client.owed();
                let hard = self.route.route.session.queue + SOFT_LIMIT;
                let may = owed < SOFT_LIMIT || (self.session.awaits_answer() && owed < hard);
                if !may {
                    if self.session.awaits_answer() {
                        self.event(Event::ClientStalled, now, actions);
                    } else if let Some(upstream) = &mut self.upstream {
                        // Nothing can be heard of a leg that is not read.
                        upstream.liveness.heard(now);
                    }
                }
                may
            }
        }
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

    /// A leg's stream has ended.
    fn ended(&mut self, leg: Leg, actions: &mut Vec<Action>, now: Instant) {
        match leg {
            Leg::Client => self.client_gone(actions, now),
            Leg::Upstream | Leg::Next => {
                let epoch = self.epoch(leg);
                match leg {
                    Leg::Next => self.next = None,
                    Leg::Client | Leg::Upstream => self.upstream = None,
                }
                self.event(Event::UpstreamClosed(epoch, None, "its connection ended"), now, actions);
            }
        }
    }
}
