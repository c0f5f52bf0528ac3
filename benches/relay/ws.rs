//! WebSockets as far as the generator and the upstream need them: frames, in batches.
//!
//! One read takes all that has come, one write takes all that is due, and neither waits for the other: two
//! ends that only wrote until the other read would stand still once the sockets between them are full.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use anyhow::{Context as _, Result, ensure};
use perennial::wire::{Header, Opcode, apply_mask, encode_frame};
use tokio::io::{AsyncWriteExt as _, ReadBuf};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{dial::Stream, head::Head};

/// Bytes of one read.
const SCRATCH: usize = 256 * 1024;
/// RFC 6455's own example; nobody guesses it here.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// A frame that came, unmasked.
pub(crate) struct Frame<'a> {
    /// The last one of its message.
    pub(crate) last: bool,
    pub(crate) opcode: Opcode,
    pub(crate) payload: &'a [u8],
}

impl Frame<'_> {
    /// Appends it to `out`.
    pub(crate) fn encode(&self, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
        let start = out.len();
        encode_frame(self.opcode, self.payload, mask, out);
        if !self.last {
            // The bit FIN (RFC 6455, section 5.2).
            out[start] &= 0x7f;
        }
    }
}

/// Appends one message to `out`, in so many frames.
pub(crate) fn encode_in(frames: usize, text: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    let pieces = text.chunks(text.len().div_ceil(frames).max(1));
    let count = pieces.len();
    for (at, payload) in pieces.enumerate() {
        let opcode = if at == 0 { Opcode::Text } else { Opcode::Continuation };
        Frame { last: at + 1 == count, opcode, payload }.encode(Some(mask), out);
    }
}

/// One end of a WebSocket.
pub(crate) struct Socket<S> {
    stream: S,
    /// What came and was not yet whole.
    bytes: Vec<u8>,
    /// What is to be sent; the caller appends frames.
    pub(crate) out: Vec<u8>,
    written: usize,
    unflushed: bool,
}

impl<S: Stream> Socket<S> {
    fn new(stream: S, bytes: Vec<u8>) -> Self {
        Self { stream, bytes, out: Vec::new(), written: 0, unflushed: false }
    }

    /// The server's side of the handshake; the head is the request's.
    pub(crate) async fn accept(mut stream: S) -> Result<(Self, Head)> {
        let (head, rest) = Head::read(&mut stream).await?;
        let key = head.field("sec-websocket-key").context("a handshake without a key")?;
        let accept = derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
        Ok((Self::new(stream, rest), head))
    }

    /// The client's side of the handshake.
    pub(crate) async fn connect(mut stream: S, target: &str) -> Result<Self> {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let (head, rest) = Head::read(&mut stream).await?;
        ensure!(head.first_line().starts_with("HTTP/1.1 101 "), "refused: {}", head.first_line());
        ensure!(
            head.field("sec-websocket-accept") == Some(&derive_accept_key(KEY.as_bytes())),
            "the handshake's answer is for another key"
        );
        Ok(Self::new(stream, rest))
    }

    /// Sends what is due, and shows each whole frame that has come to `each`; it may append to what is due.
    /// `false` is the end. Nothing is lost where it is dropped while it waits.
    pub(crate) async fn turn(
        &mut self,
        mut each: impl FnMut(Frame<'_>, &mut Vec<u8>) -> Result<()>,
    ) -> Result<bool> {
        let more = self.bytes.is_empty() || !self.take_frames(&mut each)?;
        if more {
            if !poll_fn(|cx| self.poll_turn(cx)).await? {
                return Ok(false);
            }
            self.take_frames(&mut each)?;
        }
        Ok(true)
    }

    /// All that is due goes out.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| self.poll_write(cx)).await
    }

    /// All that is due goes out, and the end of it.
    pub(crate) async fn end(mut self) -> Result<()> {
        self.flush().await?;
        Ok(self.stream.shutdown().await?)
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(Err(error));
        }
        READ.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            self.bytes.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(!buffer.filled().is_empty()))
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while self.written < self.out.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out[self.written..]))? {
                0 => return Poll::Ready(Err(anyhow::anyhow!("nothing more can be written"))),
                n => self.written += n,
            }
            self.unflushed = true;
        }
        if self.written > 0 {
            // Thousands of idle sockets would keep thousands of buffers.
            self.out = Vec::new();
            self.written = 0;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Uses up all whole frames; were there any?
    fn take_frames(&mut self, each: &mut impl FnMut(Frame<'_>, &mut Vec<u8>) -> Result<()>) -> Result<bool> {
        let mut at = 0;
        while let Some(header) = Header::parse(&self.bytes[at..])? {
            let (start, end) = (at + header.len, at + header.total() as usize);
            if end > self.bytes.len() {
                break;
            }
            let payload = &mut self.bytes[start..end];
            if let Some(mask) = header.mask {
                apply_mask(payload, mask, 0);
            }
            each(Frame { last: header.fin, opcode: header.opcode, payload }, &mut self.out)?;
            at = end;
        }
        if at == self.bytes.len() {
            self.bytes = Vec::new();
        } else {
            self.bytes.drain(..at);
        }
        Ok(at > 0)
    }
}
