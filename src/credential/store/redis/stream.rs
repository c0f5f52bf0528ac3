//! The stream that the crate reads from: ours, and bounded.
//!
//! 1. What does not have the shape of an answer ends the stream before the parser sees it.
//! 2. So does more than [`LIMIT`] bytes that nothing was written for: the parser would collect them.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::shape::{Misshapen, Shape};

/// So many bytes may come since something was written last.
const LIMIT: usize = 1 << 20;

/// What is known of the bytes that came.
#[derive(Debug, Default)]
pub(super) struct Seen {
    wrong: OnceLock<Misshapen>,
    within: AtomicBool,
}

impl Seen {
    /// What was wrong with them, where something was.
    pub(super) fn wrong(&self) -> Option<Misshapen> {
        self.wrong.get().copied()
    }

    /// Is an answer begun and not ended?
    pub(super) fn is_within(&self) -> bool {
        self.within.load(Ordering::Relaxed)
    }
}

/// A stream, with an eye on what it brings.
pub(super) struct Watched<S> {
    inner: S,
    shape: Shape,
    unasked: usize,
    seen: Arc<Seen>,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, seen: Arc<Seen>) -> Self {
        Self { inner, shape: Shape::default(), unasked: 0, seen }
    }

    fn look(&mut self, bytes: &[u8]) -> Result<(), Misshapen> {
        self.unasked = self.unasked.saturating_add(bytes.len());
        if self.unasked > LIMIT {
            return Err("it says more than it was asked for");
        }
        self.shape.take(bytes)?;
        self.seen.within.store(self.shape.is_within(), Ordering::Relaxed);
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if let Err(wrong) = self.look(&buf.filled()[before..]) {
            buf.set_filled(before);
            // The first counts; whoever asks for it hears what it was.
            let _ = self.seen.wrong.set(wrong);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, wrong)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.unasked = 0;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_comes_without_end_is_cut_off_and_a_command_begins_anew() {
        let (near, mut far) = tokio::io::duplex(LIMIT);
        let seen = Arc::new(Seen::default());
        let mut near = Watched::new(near, Arc::clone(&seen));
        let answer = b"$1000\r\n".iter().copied().chain(std::iter::repeat_n(b'x', 1000)).chain(*b"\r\n");
        let answer: Vec<u8> = answer.collect();
        let mut read = vec![0; answer.len()];
        for round in 0..2 {
            for _ in 0..LIMIT / answer.len() {
                far.write_all(&answer).await.unwrap();
                near.read_exact(&mut read).await.unwrap();
            }
            assert_eq!(seen.wrong(), None);
            if round == 0 {
                near.write_all(b"PING").await.unwrap();
            }
        }
        far.write_all(&answer).await.unwrap();
        let error = near.read_exact(&mut read).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(seen.wrong(), Some("it says more than it was asked for"));
    }
}
