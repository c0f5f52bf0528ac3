//! The hot path: bytes of one leg become messages, and go to the other as the bytes they were.
//!
//! ```text
//!   read ─► [ frame frame frame fra│        whole frames that pass: one run, one write
//!                                  └─ partial, until the rest comes
//! ```
//!
//! A run is a stretch of the buffer that goes on unchanged. It is broken by what does not pass (a control
//! frame, a swallowed or rewritten message) and by what is put between; most reads are one run.

use std::task::{Context, Poll};

use super::{
    driver::{Driver, Polled, Scratch},
    leg::Leg,
    perform::FENCE,
};
use crate::{
    clock::Instant,
    net::link::SOFT_LIMIT,
    session::{Action, Event},
    wire::{Close, Kind, Message, Opcode, Step, Violation, apply_mask},
};

/// What one buffer came to.
struct Done {
    /// Bytes used up.
    used: usize,
    /// Nobody wants the rest for now.
    paused: bool,
}

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
                    upstream.heard = now;
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
                        upstream.heard = now;
                    }
                }
                may
            }
        }
    }

    fn took(&mut self, cx: &mut Context<'_>, leg: Leg, bytes: &[u8], scratch: &mut Scratch, now: Instant) {
        let Some(link) = self.link(leg) else { return };
        link.heard = now;
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

    fn consume(
        &mut self,
        cx: &mut Context<'_>,
        leg: Leg,
        bytes: &[u8],
        scratch: &mut Scratch,
        now: Instant,
    ) -> Done {
        if self.finished.is_some() {
            return self.discard(leg, bytes);
        }
        let done = if self.session.streams() {
            self.stream(cx, leg, bytes, &mut scratch.actions, now)
        } else {
            self.inspect(cx, leg, bytes, scratch, now)
        };
        if let Some(target) = self.other(leg) {
            // What could not be written at once is written with what follows.
            let _ = target.poll_flush(cx, now);
        }
        done
    }

    /// Sends a run; what cannot be written will be noticed when the leg is flushed.
    fn send(&mut self, cx: &mut Context<'_>, leg: Leg, run: &[u8]) {
        if let Some(target) = self.other(leg)
            && target.send_raw(cx, run).is_err()
        {
            target.queue_raw(run);
        }
    }

    /// Nobody looks inside: frames pass in whatever pieces they come.
    fn stream(
        &mut self,
        cx: &mut Context<'_>,
        leg: Leg,
        bytes: &[u8],
        actions: &mut Vec<Action>,
        now: Instant,
    ) -> Done {
        let mut run = Run { bytes, from: 0, at: 0 };
        let mut messages = 0;
        while run.at < bytes.len() && self.finished.is_none() {
            let Some(link) = self.link(leg) else { break };
            match link.inbound.next_part(run.rest()) {
                Ok(Step::Part { total, ends }) => {
                    run.pass(total);
                    messages += u64::from(ends);
                    self.between_frames(cx, leg, &mut run);
                }
                Ok(Step::Control { opcode, mask, header, total }) => {
                    run.flush(self, cx, leg);
                    let body = unmasked(&run.rest()[header..total], mask);
                    run.skip(total);
                    self.control(leg, opcode, &body, actions, now);
                    self.nothing_behind_a_close(leg, &mut run);
                }
                Ok(Step::More | Step::Single { .. } | Step::Fragment { .. }) => break,
                Err(violation) => {
                    run.flush(self, cx, leg);
                    self.broke(leg, violation, actions, now);
                    run.skip(run.rest().len());
                }
            }
        }
        self.report.messages(leg.direction(), messages);
        run.flush(self, cx, leg);
        let used = if self.finished.is_some() { bytes.len() } else { run.at };
        Done { used, paused: false }
    }

    /// Control frames that waited for the end of a frame go before the next one begins.
    fn between_frames(&mut self, cx: &mut Context<'_>, leg: Leg, run: &mut Run<'_>) {
        let inside = self.link(leg).is_some_and(|link| link.inbound.mid_frame());
        if !inside && self.other(leg).is_some_and(|target| target.has_waiting()) {
            run.flush(self, cx, leg);
            if let Some(target) = self.other(leg) {
                target.frame_ended();
            }
        }
    }

    /// The dialect looks inside: messages are shown whole.
    fn inspect(
        &mut self,
        cx: &mut Context<'_>,
        leg: Leg,
        bytes: &[u8],
        scratch: &mut Scratch,
        now: Instant,
    ) -> Done {
        let mut run = Run { bytes, from: 0, at: 0 };
        let epoch = self.epoch(leg);
        let mut messages = 0;
        while run.at < bytes.len() && self.finished.is_none() {
            if !self.wants(leg) {
                run.flush(self, cx, leg);
                self.report.messages(leg.direction(), messages);
                return Done { used: run.at, paused: true };
            }
            if leg != Leg::Client && self.epoch(leg) != epoch {
                break;
            }
            let Some(link) = self.link(leg) else { break };
            match link.inbound.next_message(run.rest()) {
                Ok(Step::Single { kind, mask, header, total }) => {
                    messages += 1;
                    self.show_single(cx, leg, &mut run, (kind, mask, header, total), scratch, now);
                }
                Ok(Step::Fragment { total, ends }) => {
                    run.flush(self, cx, leg);
                    run.skip(total);
                    if ends {
                        messages += 1;
                        self.show_assembled(cx, leg, scratch, now);
                    }
                }
                Ok(Step::Control { opcode, mask, header, total }) => {
                    run.flush(self, cx, leg);
                    let body = unmasked(&run.rest()[header..total], mask);
                    run.skip(total);
                    self.control(leg, opcode, &body, &mut scratch.actions, now);
                    self.nothing_behind_a_close(leg, &mut run);
                }
                Ok(Step::More | Step::Part { .. }) => break,
                Err(violation) => {
                    run.flush(self, cx, leg);
                    self.broke(leg, violation, &mut scratch.actions, now);
                    run.skip(run.rest().len());
                }
            }
        }
        self.report.messages(leg.direction(), messages);
        if leg != Leg::Client && self.epoch(leg) != epoch || self.finished.is_some() {
            // The rest came from a connection that no longer counts.
            return Done { used: bytes.len(), paused: false };
        }
        run.flush(self, cx, leg);
        Done { used: run.at, paused: false }
    }

    /// A message in one frame: it stays in the run where it passes as it is.
    fn show_single(
        &mut self,
        cx: &mut Context<'_>,
        leg: Leg,
        run: &mut Run<'_>,
        (kind, mask, header, total): (Kind, Option<[u8; 4]>, usize, usize),
        scratch: &mut Scratch,
        now: Instant,
    ) {
        if leg != Leg::Next && self.session.passes(leg.direction()) {
            run.pass(total);
            return;
        }
        let body = &run.rest()[header..total];
        let payload = match mask {
            Some(mask) => {
                scratch.plain.clear();
                scratch.plain.extend_from_slice(body);
                apply_mask(&mut scratch.plain, mask, 0);
                &scratch.plain[..]
            }
            None => body,
        };
        self.show(leg, Message { kind, payload }, &mut scratch.actions, now);
        if payload.len() > SOFT_LIMIT && mask.is_some() {
            scratch.plain = Vec::new();
        }
        if scratch.actions[..] == [Action::Forward] {
            scratch.actions.clear();
            run.pass(total);
            return;
        }
        if scratch.actions.first() == Some(&Action::Forward) {
            run.pass(total);
            run.flush(self, cx, leg);
        } else {
            run.flush(self, cx, leg);
            run.skip(total);
        }
        self.perform(&mut scratch.actions, now);
    }

    /// A message in several frames, all of which are there now.
    fn show_assembled(&mut self, cx: &mut Context<'_>, leg: Leg, scratch: &mut Scratch, now: Instant) {
        let Some(assembly) = self.link(leg).and_then(|link| link.inbound.assembled()) else { return };
        if leg != Leg::Next && self.session.passes(leg.direction()) {
            return self.send(cx, leg, &assembly.raw);
        }
        let message = Message { kind: assembly.kind, payload: &assembly.payload };
        self.show(leg, message, &mut scratch.actions, now);
        if scratch.actions.first() == Some(&Action::Forward) {
            self.send(cx, leg, &assembly.raw);
        }
        self.perform(&mut scratch.actions, now);
    }

    fn show(&mut self, leg: Leg, message: Message<'_>, actions: &mut Vec<Action>, now: Instant) {
        let event = match leg {
            Leg::Client => Event::Client(message),
            Leg::Upstream | Leg::Next => Event::Upstream(self.epoch(leg), message),
        };
        self.session.on_event(event, now, actions);
    }

    /// Ping and Pong are a leg's own business; a Close is the core's.
    fn control(&mut self, leg: Leg, opcode: Opcode, body: &[u8], actions: &mut Vec<Action>, now: Instant) {
        let inside = self.other(leg).is_some_and(|other| other.inbound.mid_frame());
        let epoch = self.epoch(leg);
        let (link, random) = match leg {
            Leg::Client => (Some(&mut self.client), &mut self.random),
            Leg::Upstream => (self.upstream.as_mut(), &mut self.random),
            Leg::Next => (self.next.as_deref_mut(), &mut self.random),
        };
        let Some(link) = link else { return };
        match opcode {
            Opcode::Ping => link.control(Opcode::Pong, body, inside, random),
            Opcode::Close => match Close::parse(body) {
                Ok(close) => {
                    link.close_received = true;
                    let event = match leg {
                        Leg::Client => Event::ClientClosed(Some(close)),
                        Leg::Upstream | Leg::Next => {
                            link.close(&close, inside, random);
                            Event::UpstreamClosed(epoch, Some(close), "the service closed it")
                        }
                    };
                    self.event(event, now, actions);
                }
                Err(violation) => self.broke(leg, violation, actions, now),
            },
            Opcode::Pong if leg == Leg::Upstream && body == FENCE => {
                self.event(Event::Fenced(epoch), now, actions);
            }
            Opcode::Pong if leg == Leg::Upstream => self.report.ponged(),
            Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
    }

    /// What a peer sends behind its Close is for nobody (RFC 6455 §5.5.1).
    fn nothing_behind_a_close(&mut self, leg: Leg, run: &mut Run<'_>) {
        if self.link(leg).is_some_and(|link| link.close_received) {
            run.skip(run.rest().len());
        }
    }

    fn broke(&mut self, leg: Leg, violation: Violation, actions: &mut Vec<Action>, now: Instant) {
        self.deaf |= leg == Leg::Client;
        let event = match leg {
            Leg::Client => Event::ClientBroke(violation),
            Leg::Upstream | Leg::Next => Event::UpstreamBroke(self.epoch(leg), violation),
        };
        self.event(event, now, actions);
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

    /// Is there anybody for what a leg says next?
    fn wants(&self, leg: Leg) -> bool {
        match leg {
            Leg::Client => self.session.wants_client(),
            Leg::Upstream => self.session.wants_upstream(),
            Leg::Next => self.session.wants_next(),
        }
    }

    /// The core is done: only the client's Close is still of interest.
    ///
    /// What cannot be read is let run out: a socket that is closed under a peer that still sends is reset,
    /// and the peer may never read the Close that tells it why.
    fn discard(&mut self, leg: Leg, bytes: &[u8]) -> Done {
        let mut at = 0;
        while !self.deaf {
            let Some(link) = self.link(leg) else { break };
            match link.inbound.next_part(&bytes[at..]) {
                Ok(Step::Control { opcode, total, .. }) => {
                    link.close_received |= opcode == Opcode::Close;
                    at += total;
                }
                Ok(Step::Part { total, .. }) => at += total,
                Ok(Step::More | Step::Single { .. } | Step::Fragment { .. }) => break,
                Err(_) => self.deaf = true,
            }
        }
        Done { used: if self.deaf { bytes.len() } else { at }, paused: false }
    }
}

/// A stretch of a buffer that goes on as it is: `from..at`, and what is left behind it.
struct Run<'a> {
    bytes: &'a [u8],
    from: usize,
    at: usize,
}

impl<'a> Run<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The next bytes join the run.
    fn pass(&mut self, total: usize) {
        self.at += total;
    }

    /// The next bytes do not go on; the run before them has been flushed.
    fn skip(&mut self, total: usize) {
        self.at += total;
        self.from = self.at;
    }

    fn flush(&mut self, driver: &mut Driver, cx: &mut Context<'_>, leg: Leg) {
        if self.from < self.at {
            driver.send(cx, leg, &self.bytes[self.from..self.at]);
            self.from = self.at;
        }
    }
}

fn unmasked(body: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut body = body.to_vec();
    if let Some(mask) = mask {
        apply_mask(&mut body, mask, 0);
    }
    body
}
