//! The hot path: bytes of one leg become messages, and go to the other as the bytes they were.
//!
//! ```text
//!   read ─► [ frame frame frame fra│        whole frames that pass: one run, one write
//!                                  └─ partial, until the rest comes
//! ```
//!
//! Rules:
//! 1. If the dialect reads nothing, frames pass in whatever pieces they come (`stream`).
//! 2. If it reads messages, they are shown whole (`inspect`), save those that the core lets pass unseen. What
//!    goes on unchanged goes as the bytes it came in.
//! 3. What came from a connection that no longer counts goes nowhere; after the end only the client's Close
//!    is looked for.

use std::task::Context;

use super::{
    control::Body,
    driver::{Driver, Scratch},
    leg::Leg,
    writing::Run,
};
use crate::{
    clock::Instant,
    net::link::SOFT_LIMIT,
    session::{Action, Event},
    wire::{Inbound, Kind, Message, Step, apply_mask},
};

/// What one buffer came to.
pub(super) struct Done {
    /// Bytes used up.
    pub(super) used: usize,
    /// Nobody wants the rest for now.
    pub(super) paused: bool,
}

impl Driver {
    /// Uses up what can be of what a leg said.
    pub(super) fn consume(
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

    /// Nobody looks inside: frames pass in whatever pieces they come.
    fn stream(
        &mut self,
        cx: &mut Context<'_>,
        leg: Leg,
        bytes: &[u8],
        actions: &mut Vec<Action>,
        now: Instant,
    ) -> Done {
        let mut run = Run::new(bytes);
        let mut messages = 0;
        while run.at < bytes.len() && self.finished.is_none() {
            let Some(link) = self.link(leg) else { break };
            match link.inbound.next_part(run.rest()) {
                Ok(Step::Part { total, messages: ended }) => {
                    run.pass(total);
                    messages += ended;
                    self.between_frames(cx, leg, &mut run, now);
                }
                Ok(Step::Control { opcode, mask, header, total }) => {
                    run.flush(self, cx, leg, now);
                    let body = Body::unmasked(&run.rest()[header..total], mask);
                    run.skip(total);
                    self.control(leg, opcode, &body, actions, now);
                    self.nothing_behind_a_close(leg, &mut run);
                }
                Ok(Step::More | Step::Single { .. } | Step::Fragment { .. }) => break,
                Err(violation) => {
                    run.flush(self, cx, leg, now);
                    self.broke(leg, violation, actions, now);
                    run.skip(run.rest().len());
                }
            }
        }
        self.report.messages(leg.direction(), messages);
        run.flush(self, cx, leg, now);
        let used = if self.finished.is_some() { bytes.len() } else { run.at };
        Done { used, paused: false }
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
        let mut run = Run::new(bytes);
        let epoch = self.epoch(leg);
        let mut messages = 0;
        while run.at < bytes.len() && self.finished.is_none() {
            if !self.wants(leg) {
                run.flush(self, cx, leg, now);
                self.report.messages(leg.direction(), messages);
                return Done { used: run.at, paused: true };
            }
            if leg != Leg::Client && self.epoch(leg) != epoch {
                break;
            }
            let passes = self.passes(leg);
            let Some(link) = self.link(leg) else { break };
            let next = if passes { Inbound::next_whole } else { Inbound::next_message };
            match next(&mut link.inbound, run.rest()) {
                Ok(Step::Part { total, messages: passed }) => {
                    messages += passed;
                    self.session.passed(leg.direction(), passed);
                    run.pass(total);
                }
                Ok(Step::Single { kind, mask, header, total }) => {
                    messages += 1;
                    self.show_single(cx, leg, &mut run, (kind, mask, header, total), scratch, now);
                }
                Ok(Step::Fragment { total, ends }) => {
                    run.flush(self, cx, leg, now);
                    run.skip(total);
                    if ends {
                        messages += 1;
                        self.show_assembled(cx, leg, scratch, now);
                    }
                }
                Ok(Step::Control { opcode, mask, header, total }) => {
                    run.flush(self, cx, leg, now);
                    let body = Body::unmasked(&run.rest()[header..total], mask);
                    run.skip(total);
                    self.control(leg, opcode, &body, &mut scratch.actions, now);
                    self.nothing_behind_a_close(leg, &mut run);
                }
                Ok(Step::More) => break,
                Err(violation) => {
                    run.flush(self, cx, leg, now);
                    self.broke(leg, violation, &mut scratch.actions, now);
                    run.skip(run.rest().len());
                }
            }
        }
        self.report.messages(leg.direction(), messages);
        if leg == Leg::Upstream && messages > 0 {
            self.ask_what_was_read(now);
        }
        if leg != Leg::Client && self.epoch(leg) != epoch || self.finished.is_some() {
            // The rest came from a connection that no longer counts.
            return Done { used: bytes.len(), paused: false };
        }
        run.flush(self, cx, leg, now);
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
            run.flush(self, cx, leg, now);
        } else {
            run.flush(self, cx, leg, now);
            run.skip(total);
        }
        self.perform(&mut scratch.actions, now);
    }

    /// A message in several frames, all of which are there now.
    fn show_assembled(&mut self, cx: &mut Context<'_>, leg: Leg, scratch: &mut Scratch, now: Instant) {
        let Some(assembly) = self.link(leg).and_then(|link| link.inbound.assembled()) else { return };
        if self.passes(leg) {
            self.session.passed(leg.direction(), 1);
            return self.send_assembled(cx, leg, &assembly.raw, now);
        }
        let message = Message { kind: assembly.kind, payload: &assembly.payload };
        self.show(leg, message, &mut scratch.actions, now);
        if scratch.actions.first() == Some(&Action::Forward) {
            self.send_assembled(cx, leg, &assembly.raw, now);
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

    /// Do whole messages of a leg's go on unread?
    fn passes(&self, leg: Leg) -> bool {
        leg != Leg::Next && self.session.passes(leg.direction())
    }

    /// May what a leg says next be taken?
    fn wants(&self, leg: Leg) -> bool {
        match leg {
            Leg::Client => self.session.wants_client(),
            Leg::Upstream | Leg::Next => self.session.wants(self.epoch(leg)),
        }
    }
}
