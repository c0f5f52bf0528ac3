//! How a session ends, and how its legs are let go on the way: each with what it is owed.
//!
//! ```text
//!   Switch, HangUp ─► let_go ─► Close, one try ─► shut down
//!                        └───── of a session that is over: `parting`, until it took all, or LINGER
//!   Park           ─► the client is let go, its spot kept ─► client_back, on another connection
//!   Finished       ─► the client's Close is waited for (LINGER), all else discarded ─► is_over
//! ```
//!
//! Rules:
//! 1. The last word is to be read: the client's socket stays open until the client has answered. One that is
//!    closed under a peer that still sends is reset, and what was on its way is lost.
//! 2. A client that vanished said no Close, and none is said in its name to the upstream that served it.
//! 3. Whatever is waited for here has an end, LINGER.

use std::{
    task::{Context, Waker},
    time::Duration,
};

use super::{driver::Driver, leg::Leg, pump::Done};
use crate::{
    clock::Instant,
    session::{Action, Event, Phase},
    wire::{Close, Opcode, Step},
};

/// How long the client may take to answer the last Close.
const LINGER: Duration = Duration::from_secs(5);

/// The deadline for the client's last word.
pub(super) fn linger(now: Instant) -> Instant {
    now + LINGER
}

impl Driver {
    /// Lets go of every upstream, and of the dial.
    pub(super) fn hang_up(&mut self, now: Instant) {
        self.hang_up_next(now);
        self.dial = None;
        self.let_go(now);
    }

    /// Lets go of the connection that was to replace the live one; it is told so, as well as it can be at once.
    pub(super) fn hang_up_next(&mut self, now: Instant) {
        if let Some(mut next) = self.next.take() {
            next.close(&Close::new(1000, ""), false, &mut self.random);
            let mut nobody = Context::from_waker(Waker::noop());
            let _ = next.poll_flush(&mut nobody, now);
            let _ = next.poll_shutdown(&mut nobody);
        } else if self.upstream.is_some() {
            // The dial under way was for it.
            self.dial = None;
        }
    }

    /// The next connection takes the place of the old one; a dial that is under way is for that place.
    pub(super) fn switch(&mut self, now: Instant) {
        self.let_go(now);
        self.upstream = self.next.take().map(|next| *next);
    }

    /// Lets go of the upstream: a Close on its way out is given one try, and the last words of a session
    /// that is over a little longer. A client that vanished said no Close, and none is said in its name.
    fn let_go(&mut self, now: Instant) {
        let Some(mut upstream) = self.upstream.take() else { return };
        if !self.client.inbound.mid_frame() && !self.dropped {
            upstream.close(&Close::new(1000, ""), false, &mut self.random);
        }
        let mut nobody = Context::from_waker(Waker::noop());
        let late = upstream.poll_flush(&mut nobody, now).is_pending();
        if late && self.session.phase() == Phase::Closing {
            self.parting = Some(Box::new((upstream, linger(now))));
        } else {
            let _ = upstream.poll_shutdown(&mut nobody);
        }
    }

    /// The client went away: its connection is let go, with an answer to its Close, and its place is kept.
    pub(super) fn park(&mut self, now: Instant) {
        let mut nobody = Context::from_waker(Waker::noop());
        if self.client.close_received {
            self.client.close(&Close::new(Close::GOING_AWAY, ""), false, &mut self.random);
        }
        let _ = self.client.poll_flush(&mut nobody, now);
        let _ = self.client.poll_shutdown(&mut nobody);
        self.dropped = true;
        if let Some(spot) = &mut self.spot {
            spot.take(&self.place.handle);
        }
    }

    /// Gives the upstream of a session that is over what it is owed, and lets it go.
    pub(super) fn part(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(parting) = &mut self.parting else { return false };
        let (upstream, until) = &mut **parting;
        let done = upstream.poll_flush(cx, now).is_ready();
        if done || *until <= now {
            let _ = upstream.poll_shutdown(cx);
            self.parting = None;
        }
        done
    }

    /// An operator's word: the upstream connection is gone from one moment to the next, without a Close.
    pub(super) fn upstream_dropped(&mut self, actions: &mut Vec<Action>, now: Instant) {
        let Some(mut upstream) = self.upstream.take() else { return };
        let _ = upstream.poll_shutdown(&mut Context::from_waker(Waker::noop()));
        let epoch = self.session.epoch();
        self.event(Event::UpstreamClosed(epoch, None, "an operator dropped it"), now, actions);
    }

    /// The client's connection is over, without a Close.
    pub(super) fn client_gone(&mut self, actions: &mut Vec<Action>, now: Instant) {
        self.dropped = true;
        self.event(Event::ClientClosed(None), now, actions);
    }

    /// The client that went away has come back, on another connection.
    pub(super) fn client_back(&mut self, actions: &mut Vec<Action>, now: Instant) {
        let Some(link) = self.place.handle.take_returned() else { return };
        self.client = *link;
        if let Some(spot) = &mut self.spot {
            spot.leave();
        }
        self.dropped = false;
        self.deaf = false;
        self.count_early(Leg::Client);
        self.event(Event::ClientBack, now, actions);
    }

    /// The core is done: only the client's Close is still of interest.
    ///
    /// What cannot be read is let run out: a socket that is closed under a peer that still sends is reset,
    /// and the peer may never read the Close that tells it why.
    pub(super) fn discard(&mut self, leg: Leg, bytes: &[u8]) -> Done {
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

    /// Has everybody heard everything?
    pub(super) fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        if self.finished.is_none() || self.parting.is_some() {
            return false;
        }
        if self.dropped || self.client.owed() > 0 {
            return self.dropped;
        }
        if self.wordless {
            // The socket is not closed under what the client has yet to read: it ends its side, or is late.
            let _ = self.client.poll_shutdown(cx);
        }
        !self.wordless && self.client.close_sent && self.client.close_received
    }
}
