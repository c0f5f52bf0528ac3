//! How a session ends, and how its legs are closed on the way: each with what it is owed.
//!
//! ```text
//!   HangUp   ─► Close ─► `parting`: until it took all and has ended, or LINGER
//!   Park     ─► the client is closed, its place kept ─► client_back, on another connection
//!   Finished ─► the client's Close is waited for (LINGER), all else discarded ─► is_over
//! ```
//!
//! Rules:
//! 1. The last word is to be read: the client's socket stays open until the client has answered. One that is
//!    closed under a peer that still sends is reset, and what was on its way is lost.
//! 2. A client that vanished said no Close, and none is said in its name to the upstream that served it.
//! 3. Whatever is waited for here has an end, LINGER.

use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{
    driver::{Driver, Scratch},
    leg::Leg,
    parting::Parting,
    pump::Done,
};
use crate::{
    clock::Instant,
    net::link::Link,
    session::{Action, Epoch, Event, Phase},
    wire::{Close, Opcode, Step},
};

/// How long the client may take to answer the last Close.
const LINGER: Duration = Duration::from_secs(5);

/// The deadline for the client's last word.
pub(super) fn linger(now: Instant) -> Instant {
    now + LINGER
}

impl Driver {
    /// Closes an upstream connection, or gives its dial up. A client that vanished said no Close, and none is said
    /// in its name to the connection that served it.
    pub(super) fn hang_up(&mut self, epoch: Epoch, now: Instant) {
        if self.dial.as_ref().is_some_and(|dial| dial.epoch == epoch) {
            self.dial = None;
        }
        let served = self.leg(epoch) == Some(Leg::Upstream);
        let Some(mut upstream) = self.disconnect(epoch) else { return };
        let silent = upstream.is_mid_frame() || served && self.dropped;
        if !silent {
            upstream.close(&Close::new(1000, ""), &mut self.random);
        }
        let _ = upstream.poll_flush(&mut Context::from_waker(Waker::noop()), now);
        self.parting = Some(Box::new(Parting::new(upstream, now)));
    }

    /// An upstream connection is gone.
    pub(super) fn upstream_gone(
        &mut self,
        epoch: Epoch,
        close: Option<Close>,
        why: &'static str,
        actions: &mut Vec<Action>,
        now: Instant,
    ) {
        if let Some(upstream) = self.disconnect(epoch) {
            self.cut_short(&upstream);
            self.event(Event::UpstreamClosed(epoch, close, why), now, actions);
        }
    }

    /// What a connection said of a message without its end is lost, unless the service says it again.
    fn cut_short(&self, upstream: &Link) {
        self.too_late(u64::from(upstream.inbound.is_mid_message()));
    }

    /// Messages of a connection that serves no more: lost, unless the service says them again.
    fn too_late(&self, messages: u64) {
        if self.session.phase() != Phase::Closing && !self.session.acknowledges() {
            self.report.too_late(messages);
        }
    }

    /// The client went away: its connection is closed, with an answer to its Close, and its place is kept.
    pub(super) fn park(&mut self, now: Instant) {
        let mut nobody = Context::from_waker(Waker::noop());
        if self.client.close_received {
            self.client.close(&Close::new(Close::GOING_AWAY, ""), &mut self.random);
        }
        let _ = self.client.poll_flush(&mut nobody, now);
        let _ = self.client.poll_shutdown(&mut nobody);
        self.dropped = true;
        if let Some(spot) = &mut self.spot {
            spot.away();
        }
    }

    /// Looks at the connection that was told to end.
    pub(super) fn part(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch, now: Instant) -> bool {
        let Some(parting) = &mut self.parting else { return false };
        let Poll::Ready(messages) = parting.poll(cx, &mut scratch.read, now) else { return false };
        self.parting = None;
        self.too_late(messages);
        true
    }

    /// The client's connection is over, without a Close.
    pub(super) fn client_gone(&mut self, actions: &mut Vec<Action>, now: Instant) {
        self.dropped = true;
        self.event(Event::ClientClosed(None), now, actions);
    }

    /// The client that went away has come back, on another connection. If the session is over by now, that is
    /// what it is told.
    pub(super) fn client_back(&mut self, actions: &mut Vec<Action>, now: Instant) {
        let Some(link) = self.place.handle.take_returned() else { return };
        self.client = *link;
        self.dropped = false;
        self.deaf = false;
        if let Some((_, until)) = &mut self.finished {
            *until = linger(now);
        }
        self.count_early(Leg::Client);
        self.event(Event::ClientBack, now, actions);
    }

    /// The core is done: only the client's Close is still of interest.
    ///
    /// What cannot be read is discarded: a socket that is closed under a peer that still sends is reset,
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
        if self.finished.is_none() || self.parting.as_ref().is_some_and(|parting| parting.is_owed()) {
            return false;
        }
        if self.dropped || self.client.owed() > 0 {
            return self.dropped;
        }
        if self.wordless || self.deaf {
            // The socket is not closed under what the client has yet to read: it ends its side, or is late. After a
            // violation no answer to our Close can be read, and TCP ends behind it (RFC 6455 §7.1.1).
            let _ = self.client.poll_shutdown(cx);
            return false;
        }
        self.client.close_sent && self.client.close_received
    }
}
