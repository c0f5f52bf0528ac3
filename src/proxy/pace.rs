//! How long a client's connection may take over each of its stages, while hyper reads and writes it.
//!
//! ```text
//!   accepted ──► Head ──request──► Asked ──answer──► Answering ──body over──► Idle ──a byte──► Head
//!                                    └──101, or a refusal──► Ending
//! ```
//!
//! 1. A head has `limits.handshake`, whatever is dripped.
//! 2. Who answers a request has a deadline of its own: none stands here meanwhile.
//! 3. A body may take as long as it moves: the measure is what goes through the client's socket. A client
//!    that does not read and a service that does not write both bring it to rest.
//! 4. A connection that waits for its next request is let wait as long as a body that does not move.
//! 5. After a refusal, or a 101, the connection has to end soon.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use super::first_line::FirstLine;
use crate::{
    clock::{self, Instant},
    net::{
        Stream,
        room::{Doing, Guest},
    },
};

/// How long a body may stand still, and a connection wait for its next request.
pub(super) const STILL: Duration = Duration::from_secs(60);
/// A connection that waits for its next request, and has not moved for so long, may leave for another.
const RESTS: Duration = Duration::from_secs(1);

/// The pace of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    state: Mutex<State>,
    /// The deadline may have come nearer.
    changed: Notify,
    /// It has the place of a session.
    session: CancellationToken,
    /// Of a head, and of an end.
    limit: Duration,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    /// When the stage began.
    since: Instant,
    /// When something last went through the socket.
    moved: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    /// `exchange`: the service answers, and the connection goes on.
    Asked {
        exchange: bool,
    },
    Answering,
    Idle,
    Ending,
}

impl Pace {
    pub(super) fn new(limit: Duration, now: Instant) -> Self {
        let state = State { stage: Stage::Head, since: now, moved: now };
        Self { state: Mutex::new(state), changed: Notify::new(), session: CancellationToken::new(), limit }
    }

    /// A request is there; `exchange`: it goes to the service and comes back, and the connection goes on.
    pub(super) fn asked(&self, exchange: bool, now: Instant) {
        self.enter(Stage::Asked { exchange }, now);
    }

    /// The head of the service's answer is there.
    pub(super) fn answering(&self, now: Instant) {
        self.enter(Stage::Answering, now);
    }

    /// The body of the answer is over, or nobody wants it.
    pub(super) fn answered(&self, now: Instant) {
        self.enter(Stage::Idle, now);
    }

    /// This was the last answer.
    pub(super) fn ending(&self, now: Instant) {
        self.enter(Stage::Ending, now);
    }

    /// The TLS handshake is over, and the head is waited for.
    pub(super) fn secured(&self, now: Instant) {
        self.enter(Stage::Head, now);
    }

    /// Is there something on the connection that takes its time to be finished: a request that the service
    /// answers, or an answer?
    pub(super) fn takes_time(&self) -> bool {
        match self.lock().stage {
            Stage::Head => false,
            Stage::Asked { exchange } => exchange,
            Stage::Answering | Stage::Idle | Stage::Ending => true,
        }
    }

    /// Comes back when [`Pace::deadline`] has to be asked again.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// When something last went through the socket.
    pub(super) fn moved(&self) -> Instant {
        self.lock().moved
    }

    /// When the connection has to be given up, unless something happens before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let state = self.lock();
        match state.stage {
            Stage::Head | Stage::Ending => Some(state.since + self.limit),
            Stage::Asked { .. } => None,
            Stage::Answering | Stage::Idle => Some(state.moved + STILL),
        }
    }

    fn enter(&self, stage: Stage, now: Instant) {
        let mut state = self.lock();
        *state = State { stage, since: now, moved: now };
        drop(state);
        self.changed.notify_one();
    }

    /// Its handshake has the place of a session.
    pub(super) fn is_a_session(&self) {
        self.session.cancel();
    }

    /// Comes back when that is so.
    pub(super) async fn session(&self) {
        self.session.cancelled().await;
    }

    fn read(&self, now: Instant) {
        let mut state = self.lock();
        state.moved = now;
        if state.stage == Stage::Idle {
            (state.stage, state.since) = (Stage::Head, now);
            self.changed.notify_one();
        }
    }

    fn written(&self, now: Instant) {
        self.lock().moved = now;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest for Pace {
    fn doing(&self) -> Doing {
        let state = self.lock();
        // The last of a body may still be on its way out.
        let rests = clock::now() >= state.moved + RESTS;
        match state.stage {
            Stage::Head => Doing::Quiet,
            Stage::Idle if rests => Doing::Quiet,
            Stage::Idle | Stage::Asked { .. } | Stage::Answering | Stage::Ending => Doing::Busy,
        }
    }
}

/// A client's socket that tells its pace of what goes through it.
pub(super) struct Paced {
    pub(super) stream: Stream,
    pace: Arc<Pace>,
    line: FirstLine,
    /// Bytes that were read, and became more than there was room for.
    ahead: Bytes,
}

/// What is read at once of the first line.
const PIECE: usize = 2048;

impl Paced {
    pub(super) fn new(stream: Stream, pace: Arc<Pace>) -> Self {
        Self { stream, pace, line: FirstLine::Method, ahead: Bytes::new() }
    }

    /// The socket, and what was read of it already.
    pub(super) fn into_parts(self) -> (Stream, Bytes) {
        (self.stream, self.ahead)
    }

    fn poll_first_line(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let mut piece = [0; PIECE];
            let mut piece = ReadBuf::new(&mut piece[..buf.remaining().min(PIECE)]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
            if !piece.filled().is_empty() {
                self.pace.read(clock::now());
            }
            match self.line.pass(piece.filled()) {
                None => {
                    buf.put_slice(piece.filled());
                    return Poll::Ready(Ok(()));
                }
                Some(escaped) => self.ahead = escaped.into(),
            }
        }
        let now = self.ahead.split_to(self.ahead.len().min(buf.remaining()));
        buf.put_slice(&now);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.line != FirstLine::Over || !self.ahead.is_empty() {
            return self.poll_first_line(cx, buf);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.pace.read(clock::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl Paced {
    fn noted(&self, written: io::Result<usize>) -> Poll<io::Result<usize>> {
        if matches!(written, Ok(1..)) {
            self.pace.written(clock::now());
        }
        Poll::Ready(written)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    fn begun() -> (Pace, Instant) {
        let now = clock::now();
        (Pace::new(LIMIT, now), now)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_gets_no_more_time() {
        let (pace, start) = begun();
        (1..=9).for_each(|n| pace.read(start + SECOND * n));
        assert_eq!(pace.deadline(), Some(start + LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_take_as_long_as_it_moves() {
        let (pace, start) = begun();
        pace.asked(true, start + SECOND);
        assert_eq!(pace.deadline(), None, "who answers has a deadline of its own");
        pace.answering(start + SECOND * 2);
        assert_eq!(pace.deadline(), Some(start + SECOND * 2 + STILL));
        pace.written(start + SECOND * 50);
        assert_eq!(pace.deadline(), Some(start + SECOND * 50 + STILL));
        pace.read(start + SECOND * 90);
        assert_eq!(pace.deadline(), Some(start + SECOND * 90 + STILL), "an upload moves it too");
        assert!(pace.takes_time());
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_head_has_its_time_from_its_first_byte() {
        let (pace, start) = begun();
        pace.asked(true, start);
        pace.answering(start);
        pace.answered(start + SECOND);
        assert!(pace.takes_time(), "the last of the body may still be on its way out");
        assert_eq!(pace.deadline(), Some(start + SECOND + STILL), "it may idle");
        pace.written(start + SECOND * 2);
        assert_eq!(pace.deadline(), Some(start + SECOND * 2 + STILL), "the last of the body goes out");
        pace.read(start + SECOND * 30);
        pace.read(start + SECOND * 35);
        assert_eq!(pace.deadline(), Some(start + SECOND * 30 + LIMIT));
        assert!(!pace.takes_time());
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_to_end_ends_soon() {
        let (pace, start) = begun();
        pace.asked(false, start);
        pace.ending(start + SECOND);
        pace.written(start + SECOND * 5);
        pace.read(start + SECOND * 6);
        assert_eq!(pace.deadline(), Some(start + SECOND + LIMIT), "whatever moves");
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_through_the_socket_is_noted() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (near, mut far) = tokio::io::duplex(8);
        let (pace, start) = begun();
        let pace = Arc::new(pace);
        let mut paced = Paced::new(Stream::Other(Box::new(near)), Arc::clone(&pace));
        tokio::time::advance(SECOND).await;
        paced.write_all(b"out").await.unwrap();
        assert_eq!(pace.moved(), start + SECOND);
        tokio::time::advance(SECOND).await;
        far.write_all(b"in").await.unwrap();
        paced.read_exact(&mut [0; 2]).await.unwrap();
        assert_eq!(pace.moved(), start + SECOND * 2);
        drop(far);
        tokio::time::advance(SECOND).await;
        assert_eq!(paced.read(&mut [0; 2]).await.unwrap(), 0);
        assert_eq!(pace.moved(), start + SECOND * 2, "an end moves nothing");
    }
}
