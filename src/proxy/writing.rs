//! What a leg is sent: runs at once, as far as its socket takes them, and the rest in each round.
//!
//! ```text
//!   buffer  [ frame frame │ Ping │ frame frame │ swallowed │ frame fra
//!             └── run ────┘      └── run ──────┘           └── run
//! ```
//!
//! A run is a stretch of the buffer that goes on unchanged. It is broken by what does not pass (a control
//! frame, a swallowed or rewritten message) and by what is put between; most reads are one run.
//!
//! Rules:
//! 1. A run is flushed before what breaks it is looked at: order is that of arrival.
//! 2. Nothing of ours stands inside a frame: what waits goes between two of them.
//! 3. A leg that cannot be written to has ended; `write` alone says so to the core.

use std::task::{Context, Poll};

use super::{driver::Driver, leg::Leg};
use crate::{
    clock::Instant,
    session::{Action, Event},
};

impl Driver {
    /// Sends a run; what cannot be written will be noticed when the leg is flushed.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, leg: Leg, run: &[u8]) {
        if let Some(target) = self.other(leg)
            && target.send_raw(cx, run).is_err()
        {
            target.queue_raw(run);
        }
    }

    /// Control frames that waited for the end of a frame go before the next one begins.
    pub(super) fn between_frames(&mut self, cx: &mut Context<'_>, leg: Leg, run: &mut Run<'_>, now: Instant) {
        let inside = self.link(leg).is_some_and(|link| link.inbound.mid_frame());
        if !inside && self.other(leg).is_some_and(|target| target.has_waiting()) {
            run.flush(self, cx, leg);
            if let Some(target) = self.other(leg) {
                target.frame_ended(now);
            }
        }
    }

    /// Writes what is owed; a leg that cannot be written to has ended.
    ///
    /// A leg that took something may have made room: the other one, which was not read for the lack of
    /// it, is to be looked at again, for nobody else will wake the session for it.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, actions: &mut Vec<Action>, now: Instant) -> bool {
        let mut moved = false;
        if !self.dropped {
            let owed = self.client.owed();
            if let Poll::Ready(Err(_)) = self.client.poll_flush(cx, now) {
                self.client_gone(actions, now);
                moved = true;
            }
            moved |= self.client.owed() < owed;
        }
        if let Some(upstream) = &mut self.upstream {
            let owed = upstream.owed();
            if let Poll::Ready(Err(_)) = upstream.poll_flush(cx, now) {
                let epoch = self.session.epoch();
                self.upstream = None;
                self.event(Event::UpstreamClosed(epoch, None, "it cannot be written to"), now, actions);
                moved = true;
            } else {
                moved |= upstream.owed() < owed;
            }
        }
        if let Some(next) = &mut self.next
            && let Poll::Ready(Err(_)) = next.poll_flush(cx, now)
        {
            let epoch = self.epoch(Leg::Next);
            self.next = None;
            self.event(Event::UpstreamClosed(epoch, None, "it cannot be written to"), now, actions);
            moved = true;
        }
        // What was sent, and was not taken or acknowledged, has a deadline of its own.
        self.rearm |= self.client.liveness.is_owed_a_look() && !self.dropped
            || self.upstream.as_ref().is_some_and(|up| up.liveness.is_owed_a_look());
        moved | self.part(cx, now)
    }
}

/// A stretch of a buffer that goes on as it is: `from..at`, and what is left behind it.
pub(super) struct Run<'a> {
    bytes: &'a [u8],
    from: usize,
    /// Where the next bytes begin.
    pub(super) at: usize,
}

impl<'a> Run<'a> {
    /// A run at the start of a buffer; nothing is in it yet.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, from: 0, at: 0 }
    }

    /// What comes behind the run.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The next bytes join the run.
    pub(super) fn pass(&mut self, total: usize) {
        self.at += total;
    }

    /// The next bytes do not go on; the run before them has been flushed.
    pub(super) fn skip(&mut self, total: usize) {
        self.at += total;
        self.from = self.at;
    }

    pub(super) fn flush(&mut self, driver: &mut Driver, cx: &mut Context<'_>, leg: Leg) {
        if self.from < self.at {
            driver.send(cx, leg, &self.bytes[self.from..self.at]);
            self.from = self.at;
        }
    }
}
