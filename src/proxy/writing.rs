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
//! 3. A client that cannot be written to has gone. A service is first read to its end: its last words tell why.

use std::task::{Context, Poll};

use super::{driver::Driver, leg::Leg};
use crate::{clock::Instant, session::Action};

impl Driver {
    /// Sends a run, which ends where the leg's frames have got to.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, leg: Leg, run: &[u8], now: Instant) {
        let mid_frame = self.link(leg).is_some_and(|link| link.inbound.mid_frame());
        if let Some(target) = self.other(leg) {
            target.send_raw(cx, run, mid_frame, now);
        }
    }

    /// Sends a message that was put together from several frames: with what follows it in the buffer.
    pub(super) fn send_assembled(&mut self, cx: &mut Context<'_>, leg: Leg, frames: &[u8], now: Instant) {
        if let Some(target) = self.other(leg) {
            target.queue_raw(cx, frames, now);
        }
    }

    /// Control frames that wait for the end of a frame go before the next one begins.
    pub(super) fn between_frames(&mut self, cx: &mut Context<'_>, leg: Leg, run: &mut Run<'_>, now: Instant) {
        let inside = self.link(leg).is_some_and(|link| link.inbound.mid_frame());
        if !inside && self.other(leg).is_some_and(|target| target.has_waiting()) {
            run.flush(self, cx, leg, now);
        }
    }

    /// Writes what is owed.
    ///
    /// A leg that took something may have made room: the other one, which was not read for the lack of
    /// it, is to be looked at again, because nothing else wakes the session for it.
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
        for leg in [Leg::Upstream, Leg::Next] {
            let epoch = self.epoch(leg);
            let Some(link) = self.link(leg) else { continue };
            let owed = link.owed();
            if let Poll::Ready(Err(_)) = link.poll_flush(cx, now) {
                link.give_up_writing();
                moved = true;
                if self.session.wants(epoch) {
                    continue;
                }
                self.upstream_gone(epoch, None, "it cannot be written to", actions, now);
            } else {
                moved |= link.owed() < owed;
            }
        }
        moved
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

    pub(super) fn flush(&mut self, driver: &mut Driver, cx: &mut Context<'_>, leg: Leg, now: Instant) {
        if self.from < self.at {
            driver.send(cx, leg, &self.bytes[self.from..self.at], now);
            self.from = self.at;
        }
    }
}
