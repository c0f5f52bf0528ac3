//! The stream that the crate reads from: ours, and bounded.
//!
//! 1. What does not have the shape of an answer ends the stream before the parser sees it, and so does an answer
//!    that is too long: the parser would collect it.
//! 2. So does an answer that nothing was asked for.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::shape::{Misshapen, Shape};

/// So many commands the crate sends by itself: who we are, and which database it is.
const OWN: u64 = 8;

/// What is known of the bytes that came.
#[derive(Debug, Default)]
pub(super) struct Seen {
    wrong: OnceLock<Misshapen>,
    within: AtomicBool,
    asked: AtomicU64,
}

impl Seen {
    /// One more answer may come.
    pub(super) fn asks(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

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
    seen: Arc<Seen>,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, seen: Arc<Seen>) -> Self {
        Self { inner, shape: Shape::default(), seen }
    }

    fn look(&mut self, bytes: &[u8]) -> Result<(), Misshapen> {
        self.shape.take(bytes)?;
        if self.shape.answers() > self.seen.asked.load(Ordering::Relaxed).saturating_add(OWN) {
            return Err("it says more than it was asked for");
        }
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
            // The first counts; anyone who asks for it hears what it was.
            let _ = self.seen.wrong.set(wrong);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, wrong)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
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

    use super::{super::shape::ANSWER, *};

    #[tokio::test]
    async fn what_comes_without_end_is_cut_off() {
        let (near, mut far) = tokio::io::duplex(ANSWER);
        let seen = Arc::new(Seen::default());
        let mut near = Watched::new(near, Arc::clone(&seen));
        let mut read = [0; 4];
        for nth in 0..1000 {
            if nth >= OWN {
                seen.asks();
            }
            far.write_all(b":1\r\n").await.unwrap();
            near.read_exact(&mut read).await.unwrap();
        }
        far.write_all(b":1\r\n").await.unwrap();
        let error = near.read_exact(&mut read).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(seen.wrong(), Some("it says more than it was asked for"));
    }

    #[tokio::test]
    async fn no_answer_is_longer_than_the_limit() {
        let (near, mut far) = tokio::io::duplex(4 * ANSWER);
        let seen = Arc::new(Seen::default());
        let mut near = Watched::new(near, Arc::clone(&seen));
        let half = [format!("${}\r\n", ANSWER / 2).as_bytes(), &vec![b'x'; ANSWER / 2], b"\r\n"].concat();
        let mut read = vec![0; half.len()];
        for _ in 0..4 {
            far.write_all(&half).await.unwrap();
            near.read_exact(&mut read).await.unwrap();
        }
        far.write_all(&[b"*3\r\n", &half[..], &half, &half].concat()).await.unwrap();
        let mut all = Vec::new();
        near.read_to_end(&mut all).await.unwrap_err();
        assert!(all.len() <= ANSWER, "{}", all.len());
        assert_eq!(seen.wrong(), Some("an answer beyond all bounds"));
    }
}
