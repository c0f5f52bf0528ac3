//! A WebSocket on a byte stream: one leg of a session.
//!
//! ```text
//!   socket ─► scratch (the thread's) ─► frames ─► the session
//!             └► partial: only the rest of a frame that is not all there
//!   frames ─► socket
//!             └► outbox: only what the socket would not take
//! ```
//!
//! Rules:
//! 1. An idle leg holds no buffer: what arrives whole and leaves at once was only ever in the scratch.
//! 2. One read, and one write for all frames that arrived together.
//! 3. A control frame never lands inside another frame: a leg knows whether its own outgoing frame is open, and
//!    then makes the control frame wait for its end.
//! 4. Dropping a poll loses nothing: all progress is in the leg.
//! 5. A socket that takes nothing more is still read: what the peer said before it went away has arrived.

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

/// The longest message that is copied to be written with what follows it.
const COPIED: usize = 16 * 1024;

/// Which side of Perennial a leg is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Upstream,
}

/// How it stands with what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// The socket has it.
    Flushed,
    /// The stream holds bytes back (TLS records).
    Unflushed,
    /// The socket takes nothing more: what is queued is dropped.
    Broken,
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
    /// The frame that is passing to the peer has begun, and has not ended.
    mid_frame: bool,
    /// Control frames that wait for the end of the frame that is passing.
    waiting: Vec<u8>,
    /// A Ping is one of them.
    ping_waits: bool,
    stands: Stands,
    pub close_sent: bool,
    pub close_received: bool,
    /// Bytes that the socket took since `liveness` was last told.
    taken: usize,
    /// What is known of the peer's life.
    pub liveness: Liveness,
}

impl Link {
    /// A leg on a stream whose handshake is over; `early` are bytes that came with its end. From here on the leg
    /// judges its peer: the kernel would also end one that is slow to read, as it does for the listener's.
    pub fn new(stream: Stream, side: Side, early: &[u8], limit: usize, now: Instant) -> Self {
        #[cfg(target_os = "linux")]
        if side == Side::Client
            && let Some(tcp) = stream.tcp()
        {
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
            mid_frame: false,
            waiting: Vec::new(),
            ping_waits: false,
            stands: Stands::Flushed,
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

    /// Does the peer take more?
    pub fn has_room(&self) -> bool {
        self.stands != Stands::Broken && self.owed() < SOFT_LIMIT
    }

    /// From here on the leg is read only.
    pub fn give_up_writing(&mut self) {
        self.stands = Stands::Broken;
    }

    /// Sends bytes that are frames already: at once if nothing stands before them. `mid_frame`: their last frame
    /// goes on in what is sent next. What cannot be written is noticed when the leg is flushed.
    pub fn send_raw(&mut self, cx: &mut Context<'_>, bytes: &[u8], mid_frame: bool, now: Instant) {
        let written = self.write_now(cx, bytes);
        self.outbox.extend_from_slice(&bytes[written..]);
        self.mid_frame = mid_frame;
        if !mid_frame {
            self.frame_ended(now);
        }
    }

    /// Queues bytes that are whole frames already, behind which more of the same buffer follows. A long message is
    /// written at once: it costs its copy, and a system call for a short one costs more than that.
    pub fn queue_raw(&mut self, cx: &mut Context<'_>, bytes: &[u8], now: Instant) {
        if bytes.len() > COPIED {
            return self.send_raw(cx, bytes, false, now);
        }
        self.outbox.extend_from_slice(bytes);
        self.mid_frame = false;
        self.frame_ended(now);
    }

    fn wrote(&mut self) {
        if !matches!(self.stream, Stream::Plain(_)) {
            self.stands = Stands::Unflushed;
        }
    }

    fn write_now(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> usize {
        let mut written = 0;
        while self.outbox.is_empty() && written < bytes.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &bytes[written..]) {
                Poll::Ready(Ok(n)) if n > 0 => {
                    written += n;
                    self.taken += n;
                }
                Poll::Ready(_) | Poll::Pending => break,
            }
            self.wrote();
        }
        written
    }

    /// Queues a whole message.
    pub fn queue(&mut self, opcode: Opcode, payload: &[u8], random: &mut fastrand::Rng) {
        let mask = self.mask(random);
        encode_frame(opcode, payload, mask, &mut self.outbox);
    }

    /// Queues a control frame, behind the frame that is passing.
    pub fn control(&mut self, opcode: Opcode, payload: &[u8], random: &mut fastrand::Rng) {
        let unsaid = self.owed() + self.waiting.len();
        if self.close_sent || (opcode == Opcode::Pong && unsaid > SOFT_LIMIT) {
            // After a Close nothing follows; a peer that does not read is owed no more answers (RFC 6455 §5.5.3).
            return;
        }
        let mask = self.mask(random);
        let target = if self.mid_frame { &mut self.waiting } else { &mut self.outbox };
        encode_frame(opcode, payload, mask, target);
    }

    /// Does a control frame wait for the end of the frame that is passing?
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Is a frame passing to the peer, whose end has not come?
    pub fn is_mid_frame(&self) -> bool {
        self.mid_frame
    }

    /// The frame that was passing has ended: what waited for it may go.
    fn frame_ended(&mut self, now: Instant) {
        if !self.waiting.is_empty() {
            let waiting = std::mem::take(&mut self.waiting);
            self.outbox.extend_from_slice(&waiting);
        }
        if std::mem::take(&mut self.ping_waits) {
            self.liveness.pinged(self.owed() + self.taken, now);
        }
    }

    /// Queues a Close, once.
    pub fn close(&mut self, close: &Close, random: &mut fastrand::Rng) {
        self.control(Opcode::Close, &close.payload(), random);
        self.close_sent = true;
    }

    /// Asks the peer for a sign that it has read what was sent so far.
    pub fn ping(&mut self, payload: &[u8], random: &mut fastrand::Rng, now: Instant) {
        if !self.ping_waits {
            self.control(Opcode::Ping, payload, random);
        }
        if self.mid_frame {
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

    /// Is a peer there that was pinged at `since`? `None`: that is not known yet.
    pub fn is_there(&self, since: Instant, now: Instant) -> Option<bool> {
        self.liveness.is_there(since, now, || self.stream.delivery())
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
        if self.stands == Stands::Broken {
            (self.outbox, self.written) = (Vec::new(), 0);
            return Poll::Ready(Ok(()));
        }
        while self.written < self.outbox.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.outbox[self.written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.written += n;
                    self.taken += n;
                    self.wrote();
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
        if self.stands == Stands::Unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.stands = Stands::Flushed;
        }
        Poll::Ready(Ok(()))
    }

    /// Drops what was written, once it is most of the outbox.
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
