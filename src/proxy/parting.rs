//! An upstream connection that was told to end, and serves nobody any more: it is sent what it is owed, and heard
//! to its end.
//!
//! Rules:
//! 1. What it still says came too late for the client. It is counted, so that nothing is missing in silence. The
//!    service ends TCP first (RFC 6455 §7.1.1): an early end of ours would cut off what it is about to say.
//! 2. It ends with its Close, with its stream, or when it has been silent for [`LINGER`](super::ending); after
//!    [`LONGEST`] in any case.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use super::ending::linger;

use crate::{
    clock::Instant,
    net::link::Link,
    wire::{Opcode, Step},
};

/// The longest that it is heard.
const LONGEST: Duration = Duration::from_secs(60);

/// A connection on its way to its end.
pub(super) struct Parting {
    link: Link,
    pub(super) until: Instant,
    last: Instant,
    /// Messages that it said since.
    said: u64,
}

impl Parting {
    pub(super) fn new(link: Link, now: Instant) -> Self {
        Self { link, until: linger(now), last: now + LONGEST, said: 0 }
    }

    /// Does it still have to be sent something?
    pub(super) fn is_owed(&self) -> bool {
        self.link.owed() > 0
    }

    /// Writes, and reads with this buffer; `Ready` at its end, with the number of messages that came too late.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, buffer: &mut [u8], now: Instant) -> Poll<u64> {
        let flushed = self.link.poll_flush(cx, now);
        let mut over = self.until <= now || matches!(flushed, Poll::Ready(Err(_))) || self.hears(&[]);
        while !over {
            match self.link.poll_read(cx, buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(n)) if n > 0 => {
                    self.until = linger(now).min(self.last);
                    over = self.hears(&buffer[..n]);
                }
                Poll::Ready(_) => over = true,
            }
        }
        let _ = self.link.poll_shutdown(cx);
        Poll::Ready(self.said + u64::from(self.link.inbound.is_mid_message()))
    }

    /// Counts messages; is that the end?
    fn hears(&mut self, bytes: &[u8]) -> bool {
        let mut kept = std::mem::take(&mut self.link.partial);
        kept.extend_from_slice(bytes);
        let mut at = 0;
        let over = loop {
            match self.link.inbound.next_part(&kept[at..]) {
                Ok(Step::Part { total, messages }) => {
                    at += total;
                    self.said += messages;
                }
                Ok(Step::Control { opcode: Opcode::Close, .. }) | Err(_) => break true,
                Ok(Step::Control { total, .. }) => at += total,
                Ok(Step::More | Step::Single { .. } | Step::Fragment { .. }) => break false,
            }
        };
        kept.drain(..at);
        self.link.partial = kept;
        over
    }
}
