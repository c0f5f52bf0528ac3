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

use super::driver::{Driver, Polled, Scratch};
use crate::{
    clock::Instant,
    net::link::{Link, SOFT_LIMIT, Side},
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
        side: Side,
        scratch: &mut Scratch,
        now: Instant,
    ) -> Polled {
        if !self.may_read(side, &mut scratch.actions, now) {
            return Polled::Blocked;
        }
        let Some(link) = self.link(side) else { return Polled::Idle };
        if link.paused {
            link.paused = false;
            let bytes = std::mem::take(&mut link.partial);
            let done = self.consume(cx, side, &bytes, scratch, now);
            self.keep(side, bytes, &done);
            // Where the rest is only a part of a frame, the socket is to be asked for what follows.
            return if done.used > 0 || !done.paused { Polled::Moved } else { Polled::Blocked };
        }
        let mut read = std::mem::take(&mut scratch.read);
        let polled = match link.poll_read(cx, &mut read) {
            Poll::Pending => Polled::Idle,
            Poll::Ready(Ok(n)) if n > 0 => {
                self.took(cx, side, &read[..n], scratch, now);
                Polled::Moved
            }
            Poll::Ready(_) => {
                self.ended(side, &mut scratch.actions, now);
                Polled::Moved
            }
        };
        scratch.read = read;
        polled
    }

    fn link(&mut self, side: Side) -> Option<&mut Link> {
        match side {
            Side::Client => Some(&mut self.client),
            Side::Upstream => self.upstream.as_mut(),
        }
    }

    /// Back-pressure: a side is read while the other takes what it sends.
    fn may_read(&mut self, side: Side, actions: &mut Vec<Action>, now: Instant) -> bool {
        if self.finished.is_some() {
            return side == Side::Client && !self.dropped;
        }
        match side {
            Side::Client => {
                let room = match &self.upstream {
                    Some(upstream) => upstream.owed() < SOFT_LIMIT,
                    None => !self.session.streams(),
                };
                room && self.session.wants_client() && !self.client.close_received
            }
            Side::Upstream => {
                let owed = self.client.owed();
                let hard = self.route.route.session.queue + SOFT_LIMIT;
                let may = owed < SOFT_LIMIT || (self.session.awaits_answer() && owed < hard);
                if !may {
                    if self.session.awaits_answer() {
                        self.event(Event::ClientStalled, now, actions);
                    } else if let Some(upstream) = &mut self.upstream {
                        // Nothing can be heard of a side that is not read.
                        upstream.heard = now;
                    }
                }
                may
            }
        }
    }

    fn took(&mut self, cx: &mut Context<'_>, side: Side, bytes: &[u8], scratch: &mut Scratch, now: Instant) {
        let Some(link) = self.link(side) else { return };
        link.heard = now;
        self.report.bytes(side, bytes.len());
        let Some(link) = self.link(side) else { return };
        if link.partial.is_empty() {
            let done = self.consume(cx, side, bytes, scratch, now);
            if done.used < bytes.len() {
                self.keep(side, bytes[done.used..].to_vec(), &Done { used: 0, ..done });
            }
        } else {
            let mut all = std::mem::take(&mut link.partial);
            all.extend_from_slice(bytes);
            let done = self.consume(cx, side, &all, scratch, now);
            self.keep(side, all, &done);
        }
    }

    /// What was not used up stays with its leg.
    fn keep(&mut self, side: Side, mut bytes: Vec<u8>, done: &Done) {
        let Some(link) = self.link(side) else { return };
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
        side: Side,
        bytes: &[u8],
        scratch: &mut Scratch,
        now: Instant,
    ) -> Done {
        if self.finished.is_some() {
            return self.discard(side, bytes);
        }
        let done = if self.session.streams() {
            self.stream(cx, side, bytes, &mut scratch.actions, now)
        } else {
            self.inspect(cx, side, bytes, scratch, now)
        };
        if let Some(target) = self.other(side) {
            // What could not be written at once is written with what follows.
            let _ = target.poll_flush(cx, now);
        }
        done
    }

    fn other(&mut self, side: Side) -> Option<&mut Link> {
        match side {
            Side::Client => self.upstream.as_mut(),
            Side::Upstream => Some(&mut self.client),
        }
    }

    /// Sends a run; what cannot be written will be noticed when the leg is flushed.
    fn send(&mut self, cx: &mut Context<'_>, side: Side, run: &[u8]) {
        if let Some(target) = self.other(side)
            && target.send_raw(cx, run).is_err()
        {
            target.queue_raw(run);
        }
    }

    /// Nobody looks inside: frames pass in whatever pieces they come.
    fn stream(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        bytes: &[u8],
        actions: &mut Vec<Action>,
        now: Instant,
    ) -> Done {
        let mut run = Run { bytes, from: 0, at: 0 };
        let mut messages = 0;
        while run.at < bytes.len() && self.finished.is_none() {
            let Some(link) = self.link(side) else { break };
            match link.inbound.next_part(run.rest()) {
                Ok(Step::Part { total, ends }) => {
                    run.pass(total);
                    messages += u64::from(ends);
                    self.between_frames(cx, side, &mut run);
                }
                Ok(Step::Control { opcode, mask, header, total }) => {
                    run.flush(self, cx, side);
                    let body = unmasked(&run.rest()[header..total], mask);
                    run.skip(total);
                    self.control(side, opcode, &body, actions, now);
                    self.nothing_behind_a_close(side, &mut run);
                }
                Ok(Step::More | Step::Single { .. } | Step::Fragment { .. }) => break,
                Err(violation) => {
                    run.flush(self, cx, side);
                    self.broke(side, violation, actions, now);
                    run.skip(run.rest().len());
                }
            }
        }
        self.report.messages(side, messages);
        run.flush(self, cx, side);
        let used = if self.finished.is_some() { bytes.len() } else { run.at };
        Done { used, paused: false }
    }

    /// Control frames that waited for the end of a frame go before the next one begins.
    fn between_frames(&mut self, cx: &mut Context<'_>, side: Side, run: &mut Run<'_>) {
        let inside = self.link(side).is_some_and(|link| link.inbound.mid_frame());
        if !inside && self.other(side).is_some_and(|target| target.has_waiting()) {
            run.flush(self, cx, side);
            if let Some(target) = self.other(side) {
                target.frame_ended();
            }
        }
    }

    /// The dialect looks inside: messages are shown whole.
    fn inspect(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        bytes: &[u8],
        scratch: &mut Scratch,
        now: Instant,
    ) -> Done {
        let mut run = Run { bytes, from: 0, at: 0 };
        let epoch = self.session.epoch();
        let mut messages = 0;
        while run.at < bytes.len() && self.finished.is_none() {
            if side == Side::Client && !self.session.wants_client() {
                run.flush(self, cx, side);
                self.report.messages(side, messages);
                return Done { used: run.at, paused: true };
            }
            if side == Side::Upstream && self.session.epoch() != epoch {
                break;
            }
            let Some(link) = self.link(side) else { break };
            match link.inbound.next_message(run.rest()) {
                Ok(Step::Single { kind, mask, header, total }) => {
                    messages += 1;
                    self.show_single(cx, side, &mut run, (kind, mask, header, total), scratch, now);
                }
                Ok(Step::Fragment { total, ends }) => {
                    run.flush(self, cx, side);
                    run.skip(total);
                    if ends {
                        messages += 1;
                        self.show_assembled(cx, side, scratch, now);
                    }
                }
                Ok(Step::Control { opcode, mask, header, total }) => {
                    run.flush(self, cx, side);
                    let body = unmasked(&run.rest()[header..total], mask);
                    run.skip(total);
                    self.control(side, opcode, &body, &mut scratch.actions, now);
                    self.nothing_behind_a_close(side, &mut run);
                }
                Ok(Step::More | Step::Part { .. }) => break,
                Err(violation) => {
                    run.flush(self, cx, side);
                    self.broke(side, violation, &mut scratch.actions, now);
                    run.skip(run.rest().len());
                }
            }
        }
        self.report.messages(side, messages);
        if side == Side::Upstream && self.session.epoch() != epoch || self.finished.is_some() {
            // The rest came from a connection that no longer counts.
            return Done { used: bytes.len(), paused: false };
        }
        run.flush(self, cx, side);
        Done { used: run.at, paused: false }
    }

    /// A message in one frame: it stays in the run where it passes as it is.
    fn show_single(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        run: &mut Run<'_>,
        (kind, mask, header, total): (Kind, Option<[u8; 4]>, usize, usize),
        scratch: &mut Scratch,
        now: Instant,
    ) {
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
        self.show(side, Message { kind, payload }, &mut scratch.actions, now);
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
            run.flush(self, cx, side);
        } else {
            run.flush(self, cx, side);
            run.skip(total);
        }
        self.perform(&mut scratch.actions, now);
    }

    /// A message in several frames, all of which are there now.
    fn show_assembled(&mut self, cx: &mut Context<'_>, side: Side, scratch: &mut Scratch, now: Instant) {
        let Some(assembly) = self.link(side).and_then(|link| link.inbound.assembled()) else { return };
        let message = Message { kind: assembly.kind, payload: &assembly.payload };
        self.show(side, message, &mut scratch.actions, now);
        if scratch.actions.first() == Some(&Action::Forward) {
            self.send(cx, side, &assembly.raw);
        }
        self.perform(&mut scratch.actions, now);
    }

    fn show(&mut self, side: Side, message: Message<'_>, actions: &mut Vec<Action>, now: Instant) {
        let event = match side {
            Side::Client => Event::Client(message),
            Side::Upstream => Event::Upstream(self.session.epoch(), message),
        };
        self.session.on_event(event, now, actions);
    }

    /// Ping and Pong are a leg's own business; a Close is the core's.
    fn control(&mut self, side: Side, opcode: Opcode, body: &[u8], actions: &mut Vec<Action>, now: Instant) {
        let inside = self.other(side).is_some_and(|other| other.inbound.mid_frame());
        let (epoch, random) = (self.session.epoch(), &mut self.random);
        let link = match side {
            Side::Client => &mut self.client,
            Side::Upstream => match &mut self.upstream {
                Some(upstream) => upstream,
                None => return,
            },
        };
        match opcode {
            Opcode::Ping => link.control(Opcode::Pong, body, inside, random),
            Opcode::Close => match Close::parse(body) {
                Ok(close) => {
                    link.close_received = true;
                    let event = match side {
                        Side::Client => Event::ClientClosed(Some(close)),
                        Side::Upstream => {
                            link.close(&close, inside, random);
                            Event::UpstreamClosed(epoch, Some(close), "the service closed it")
                        }
                    };
                    self.event(event, now, actions);
                }
                Err(violation) => self.broke(side, violation, actions, now),
            },
            Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
    }

    /// What a peer sends behind its Close is for nobody (RFC 6455 §5.5.1).
    fn nothing_behind_a_close(&mut self, side: Side, run: &mut Run<'_>) {
        if self.link(side).is_some_and(|link| link.close_received) {
            run.skip(run.rest().len());
        }
    }

    fn broke(&mut self, side: Side, violation: Violation, actions: &mut Vec<Action>, now: Instant) {
        self.deaf |= side == Side::Client;
        let event = match side {
            Side::Client => Event::ClientBroke(violation),
            Side::Upstream => Event::UpstreamBroke(self.session.epoch(), violation),
        };
        self.event(event, now, actions);
    }

    /// A leg's stream has ended.
    fn ended(&mut self, side: Side, actions: &mut Vec<Action>, now: Instant) {
        match side {
            Side::Client => self.client_gone(actions, now),
            Side::Upstream => {
                self.upstream = None;
                let epoch = self.session.epoch();
                self.event(Event::UpstreamClosed(epoch, None, "its connection ended"), now, actions);
            }
        }
    }

    /// The core is done: only the client's Close is still of interest.
    ///
    /// What cannot be read is let run out: a socket that is closed under a peer that still sends is reset,
    /// and the peer may never read the Close that tells it why.
    fn discard(&mut self, side: Side, bytes: &[u8]) -> Done {
        let mut at = 0;
        while !self.deaf {
            let Some(link) = self.link(side) else { break };
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

    fn flush(&mut self, driver: &mut Driver, cx: &mut Context<'_>, side: Side) {
        if self.from < self.at {
            driver.send(cx, side, &self.bytes[self.from..self.at]);
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
