//! WebSockets as far as the generator and the upstream need them: whole frames, in batches.
//!
//! One read takes all that has come, one write takes all that is due, and neither waits for the other: two
//! ends that only wrote until the other read would stand still once the sockets between them are full.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use anyhow::{Context as _, Result, bail, ensure};
use perennial::wire::{Header, Opcode, apply_mask};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Bytes of one read.
const SCRATCH: usize = 256 * 1024;
/// A handshake has no more.
const LONGEST_HEAD: usize = 8 * 1024;
/// RFC 6455's own example; nobody guesses it here.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// A byte stream that frames go over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

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

    /// The server's side of the handshake.
    pub(crate) async fn accept(mut stream: S) -> Result<Self> {
        let (head, rest) = read_head(&mut stream).await?;
        let key = header(&head, "sec-websocket-key").context("a handshake without a key")?;
        let accept = derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
        Ok(Self::new(stream, rest))
    }

    /// The client's side of the handshake.
    pub(crate) async fn connect(mut stream: S, target: &str) -> Result<Self> {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let (head, rest) = read_head(&mut stream).await?;
        ensure!(head.starts_with("HTTP/1.1 101 "), "refused: {}", head.lines().next().unwrap_or_default());
        let accept = header(&head, "sec-websocket-accept");
        ensure!(
            accept == Some(&derive_accept_key(KEY.as_bytes())),
            "the handshake's answer is for another key"
        );
        Ok(Self::new(stream, rest))
    }

    /// Sends what is due, and shows each whole frame that has come to `each`, unmasked; it may append to
    /// what is due. `false` is the end.
    pub(crate) async fn turn(
        &mut self,
        mut each: impl FnMut(Opcode, &[u8], &mut Vec<u8>) -> Result<()>,
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
    fn take_frames(
        &mut self,
        each: &mut impl FnMut(Opcode, &[u8], &mut Vec<u8>) -> Result<()>,
    ) -> Result<bool> {
        let mut at = 0;
        while let Some(header) = Header::parse(&self.bytes[at..])? {
            let (start, end) = (at + header.len, at + header.total() as usize);
            if end > self.bytes.len() {
                break;
            }
            ensure!(header.fin, "a message came in pieces");
            let payload = &mut self.bytes[start..end];
            if let Some(mask) = header.mask {
                apply_mask(payload, mask, 0);
            }
            each(header.opcode, payload, &mut self.out)?;
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

/// Reads up to the empty line; what stood behind it is returned, too.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8(bytes)?, rest));
        }
        ensure!(bytes.len() < LONGEST_HEAD, "a handshake without an end");
        if stream.read_buf(&mut bytes).await? == 0 {
            bail!("the connection ended within the handshake");
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
