//! One end of a WebSocket, a client's or a service's: it writes while it reads, answers Pings, and takes its time
//! if it is told to.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use perennial::{
    clock::{self, Instant},
    net::Io,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep_until, timeout_at},
};

use crate::support::{
    service::Asked,
    ws::{CLOSE, Frame, MASK, PING, PONG, TEXT, Wire, frame},
};

/// Bytes read at once: little, so that a slow reader reads slowly.
const CHUNK: usize = 8 * 1024;

/// One end.
pub struct Peer {
    io: Box<dyn Io>,
    input: Vec<u8>,
    output: Vec<u8>,
    is_client: bool,
    /// Bytes a second that it reads; 0: as many as come.
    pub pace: u64,
    reads_from: Instant,
    pause: Pin<Box<Sleep>>,
    /// It answers no Ping.
    pub mute: bool,
    /// Pings that came.
    pub pings: u64,
    /// Messages that it said.
    pub said: u64,
    /// When a message last came.
    pub heard: Instant,
    /// Why reading ended.
    pub end: Option<io::ErrorKind>,
}

impl Peer {
    /// A client whose handshake was accepted.
    pub fn client(wire: Wire) -> Self {
        Self::new(wire, true)
    }

    /// A service that accepts, and the target that it was asked for; `None` if nobody asked.
    pub async fn service(mut wire: Wire) -> Option<(String, Self)> {
        let head = wire.head().await;
        if head.first.is_empty() {
            return None;
        }
        let target = head.target().to_owned();
        Some((target, Self::new(Asked { head, wire }.accept("").await, false)))
    }

    fn new(wire: Wire, is_client: bool) -> Self {
        let now = clock::now();
        Self {
            io: wire.io,
            input: wire.buffer,
            output: Vec::new(),
            is_client,
            pace: 0,
            reads_from: now,
            pause: Box::pin(sleep_until(now)),
            mute: false,
            pings: 0,
            said: 0,
            heard: now,
            end: None,
        }
    }

    /// Queues a frame: its first byte, and the payload.
    pub fn frame(&mut self, first: u8, payload: &[u8]) {
        let mask = self.is_client.then_some(MASK);
        self.output.extend(frame(first, payload, mask));
    }

    /// Queues a whole message.
    pub fn text(&mut self, text: &str) {
        self.said += 1;
        self.frame(0x80 | TEXT, text.as_bytes());
    }

    /// Queues bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Bytes that came and are no whole frame.
    pub fn unread(&self) -> &[u8] {
        &self.input
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.output.len()
    }

    /// Waits until all that was queued is written; `false` if the connection ended before.
    pub async fn flush(&mut self) -> bool {
        poll_fn(|cx| match self.poll_write(cx) {
            Err(_) => Poll::Ready(false),
            Ok(()) if self.output.is_empty() => Poll::Ready(true),
            Ok(()) => Poll::Pending,
        })
        .await
    }

    /// The next frame that is no Ping or Pong; `None` at the end. What is queued is written meanwhile.
    pub async fn next(&mut self) -> Option<Frame> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Reads on, for so long; the messages that came.
    pub async fn listen(&mut self, time: Duration) -> Vec<Frame> {
        let until = clock::now() + time;
        let mut messages = Vec::new();
        while let Ok(Some(frame)) = timeout_at(until, self.next()).await {
            messages.extend(Some(frame).filter(|frame| frame.opcode() != CLOSE));
        }
        if self.end.is_some() {
            sleep_until(until).await;
        }
        messages
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        loop {
            while let Some(frame) = Frame::take(&mut self.input) {
                match frame.opcode() {
                    PING => {
                        self.pings += 1;
                        if !self.mute {
                            self.frame(0x80 | PONG, &frame.payload);
                        }
                    }
                    PONG => {}
                    _ => {
                        self.heard = clock::now();
                        return Poll::Ready(Some(frame));
                    }
                }
            }
            if self.end.is_some() {
                return Poll::Ready(None);
            }
            // An error shows again at the read.
            let _ = self.poll_write(cx);
            self.pause.as_mut().reset(self.reads_from);
            if self.reads_from > clock::now() && self.pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match self.poll_read(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => self.end = Some(io::ErrorKind::UnexpectedEof),
                Poll::Ready(Ok(read)) if self.pace > 0 => {
                    let takes = Duration::from_secs_f64(read as f64 / self.pace as f64);
                    self.reads_from = self.reads_from.max(clock::now()) + takes;
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => self.end = Some(error.kind()),
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut chunk = [0; CHUNK];
        let mut buf = ReadBuf::new(&mut chunk);
        match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                self.input.extend_from_slice(buf.filled());
                Poll::Ready(Ok(buf.filled().len()))
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut written = 0;
        while written < self.output.len() {
            match Pin::new(&mut self.io).poll_write(cx, &self.output[written..])? {
                Poll::Ready(n) => written += n,
                Poll::Pending => break,
            }
        }
        self.output.drain(..written);
        Ok(())
    }
}
