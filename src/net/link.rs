//! A WebSocket on a byte stream: one leg of a session.
//!
//! ```text
//!   socket ─► scratch (the thread's) ─► frames ─► whoever the session is
//!             └► partial: only the rest of a frame that is not all there
//!   frames ─► socket
//!             └► outbox: only what the socket would not take
//! ```
//!
//! Rules:
//! 1. An idle leg holds no buffer: what arrives whole and leaves at once was only ever in the scratch.
//! 2. One read, and one write for all frames that arrived together.
//! 3. A control frame never lands inside another frame: where a long one is passing, it waits.
//! 4. Dropping a poll loses nothing: all progress is in the leg.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Liveness, Patience, Stream, Verdict};
use crate::{
    clock::Instant,
    wire::{Close, Inbound, Opcode, encode_frame},
};

/// Bytes that a leg may owe its peer before the other side is no longer read.
pub const SOFT_LIMIT: usize = 64 * 1024;

/// Which side of Perennial a leg is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Upstream,
}

/// One leg.
#[derive(Debug)]
pub struct Link {
    stream: Stream,
    side: Side,
    pub inbound: Inbound,
    /// Bytes that were read and are not used up.
    pub partial: Vec<u8>,
    /// `partial` may hold whole frames: it was left because nobody wanted them.
    pub paused: bool,
    outbox: Vec<u8>,
    /// How much of the outbox has been written.
    written: usize,
    /// Control frames that wait for the end of the frame that is passing.
    waiting: Vec<u8>,
    /// A Ping is one of them.
    ping_waits: bool,
    /// The stream holds bytes back (TLS records) that have to be flushed.
    unflushed: bool,
    pub close_sent: bool,
    pub close_received: bool,
    /// Bytes that the socket took since `liveness` was last told.
    taken: usize,
    /// What is known of the peer's life.
    pub liveness: Liveness,
}

impl Link {
    /// A leg on a stream whose handshake is over; `early` are bytes that came with its end. From here on the leg
    /// judges its peer: the kernel would also end one that is slow to read.
    pub fn new(stream: Stream, side: Side, early: &[u8], limit: usize, now: Instant) -> Self {
        #[cfg(target_os = "linux")]
        if let Some(tcp) = stream.tcp() {
            // Best effort: without it a slow reader has a minute instead of its own time.
            let _ = socket2::SockRef::from(tcp).set_tcp_user_timeout(None);
        }
        Self {
            stream,
            side,
            inbound: Inbound::new(side == Side::Client, limit),
            partial: early.to_vec(),
            paused: !early.is_empty(),
            outbox: Vec::new(),
            written: 0,
            waiting: Vec::new(),
            ping_waits: false,
            unflushed: false,
            close_sent: false,
            close_received: false,
            taken: 0,
            liveness: Liveness::new(now),
        }
    }

    /// Reads once into `scratch`; 0 is the end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(scratch);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Bytes that the peer has not taken. What waits for the end of a frame is none of them: that frame
    /// has to be read on for it.
    pub fn owed(&self) -> usize {
        self.outbox.len() - self.written
    }

    /// Sends bytes that are frames already: at once where nothing stands before them.
    pub fn send_raw(&mut self, cx: &mut Context<'_>, mut bytes: &[u8]) -> io::Result<()> {
        while self.outbox.is_empty() && !bytes.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, bytes)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(n) => {
                    bytes = &bytes[n..];
                    self.taken += n;
                }
                Poll::Pending => break,
            }
            self.unflushed = !matches!(self.stream, Stream::Plain(_));
        }
        self.outbox.extend_from_slice(bytes);
        Ok(())
    }

    /// Queues bytes that are frames already, behind what is queued.
    pub fn queue_raw(&mut self, bytes: &[u8]) {
        self.outbox.extend_from_slice(bytes);
    }

    /// Queues a whole message.
    pub fn queue(&mut self, opcode: Opcode, payload: &[u8], random: &mut fastrand::Rng) {
        let mask = self.mask(random);
        encode_frame(opcode, payload, mask, &mut self.outbox);
    }

    /// Queues a control frame; `inside`: a frame is passing, which it must not split.
    pub fn control(&mut self, opcode: Opcode, payload: &[u8], inside: bool, random: &mut fastrand::Rng) {
        let unsaid = self.owed() + self.waiting.len();
        if self.close_sent || (opcode == Opcode::Pong && unsaid > SOFT_LIMIT) {
            // After a Close nothing follows; a peer that does not read is owed no more answers (RFC 6455 §5.5.3).
            return;
        }
        let mask = self.mask(random);
        let target = if inside { &mut self.waiting } else { &mut self.outbox };
        encode_frame(opcode, payload, mask, target);
    }

    /// Does a control frame wait for the end of the frame that is passing?
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The frame that was passing has ended: what waited for it may go.
    pub fn frame_ended(&mut self, now: Instant) {
        if !self.waiting.is_empty() {
            let waiting = std::mem::take(&mut self.waiting);
            self.outbox.extend_from_slice(&waiting);
        }
        if std::mem::take(&mut self.ping_waits) {
            self.liveness.pinged(self.owed() + self.taken, now);
        }
    }

    /// Queues a Close, once.
    pub fn close(&mut self, close: &Close, inside: bool, random: &mut fastrand::Rng) {
        self.control(Opcode::Close, &close.payload(), inside, random);
        self.close_sent = true;
    }

    /// Asks the peer for a sign of life; `inside`: a frame is passing, and the question waits for its end.
    pub fn ping(&mut self, inside: bool, random: &mut fastrand::Rng, now: Instant) {
        if !self.ping_waits {
            self.control(Opcode::Ping, b"", inside, random);
        }
        if inside {
            self.ping_waits = true;
            self.liveness.ping_waits(now);
        } else {
            self.liveness.pinged(self.owed() + self.taken, now);
        }
    }

    /// What is to be done about the peer now.
    pub fn judge(&mut self, patience: Patience, now: Instant) -> Verdict {
        self.liveness.judge(patience, now, || self.stream.delivery())
    }

    fn mask(&self, random: &mut fastrand::Rng) -> Option<[u8; 4]> {
        (self.side == Side::Upstream).then(|| random.u32(..).to_ne_bytes())
    }

    /// Writes what is queued; `Ready` when the peer has it all.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<io::Result<()>> {
        let flushed = self.poll_outbox(cx);
        if self.taken > 0 {
            self.liveness.wrote(std::mem::take(&mut self.taken), now);
        }
        if flushed.is_pending() && self.owed() > 0 {
            self.liveness.blocked(now);
        }
        flushed
    }

    fn poll_outbox(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.outbox.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.outbox[self.written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.written += n;
                    self.taken += n;
                    self.unflushed = !matches!(self.stream, Stream::Plain(_));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.compact();
                    return Poll::Pending;
                }
            }
        }
        if self.written > 0 {
            // Rule 1: an idle leg holds no buffer.
            self.outbox = Vec::new();
            self.written = 0;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// What was written is let go of, once it is most of the outbox.
    fn compact(&mut self) {
        if self.written > SOFT_LIMIT && self.written > self.outbox.len() / 2 {
            self.outbox.drain(..self.written);
            self.written = 0;
        }
    }

    /// Ends the stream's outgoing side.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
