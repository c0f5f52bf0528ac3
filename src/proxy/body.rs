//! Bodies on their way: passed on piece by piece, never collected.
//!
//! 1. A piece is asked for only when the other side takes one: what is slow there is felt here.
//! 2. A body that breaks off breaks off for the other side too: it never just ends.
//! 3. Trailers stay behind: they are of the hop unless both sides agreed on them, and nobody was asked.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::Notify;

use super::{pace::Pace, places::Taken};
use crate::clock;

/// What an answer to a client has behind its head.
pub(super) enum AnswerBody {
    /// Perennial's own words.
    Own(Full<Bytes>),
    /// The service's.
    Passed(Download),
}

impl AnswerBody {
    /// Nothing.
    pub(super) fn empty() -> Self {
        Self::Own(Full::default())
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Own(own) => match ready!(Pin::new(own).poll_frame(cx)) {
                Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
                Some(Err(never)) => match never {},
                None => Poll::Ready(None),
            },
            Self::Passed(download) => download.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(own) => own.is_end_stream(),
            Self::Passed(download) => download.from.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(own) => own.size_hint(),
            Self::Passed(download) => download.from.size_hint(),
        }
    }
}

/// The body of a service's answer. Dropped, it gives up the service's connection, unless it was read whole.
pub(super) struct Download {
    pub(super) from: Incoming,
    pub(super) pace: Arc<Pace>,
    #[expect(dead_code, reason = "held for its Drop: one of the requests in flight")]
    pub(super) permit: Taken,
}

impl Download {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let piece = ready!(poll_data(&mut self.from, cx));
        if let Some(Err(error)) = &piece {
            tracing::debug!(%error, "the body of an answer broke off");
        }
        Poll::Ready(piece)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.pace.answered(clock::now());
    }
}

/// The body of a client's request.
pub(super) struct Upload {
    from: Option<Incoming>,
    state: Arc<UploadState>,
}

/// Where an upload is, for who waits for the answer to it.
#[derive(Debug, Default)]
pub(super) struct UploadState {
    at: AtomicU8,
    changed: Notify,
}

/// The client owes the next piece.
const OWED: u8 = 1;
/// It will not come: the client broke off.
const BROKEN: u8 = 2;

impl UploadState {
    /// Is it the client that is waited for?
    pub(super) fn is_owed(&self) -> bool {
        self.at.load(Ordering::Relaxed) == OWED
    }

    /// Did the client break off?
    pub(super) fn is_broken(&self) -> bool {
        self.at.load(Ordering::Relaxed) == BROKEN
    }
}

impl UploadState {
    /// Comes back when it may be another.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn set(&self, at: u8) {
        if self.at.swap(at, Ordering::Relaxed) != at {
            self.changed.notify_one();
        }
    }
}

impl Upload {
    /// What the client sends.
    pub(super) fn new(from: Incoming) -> (Self, Arc<UploadState>) {
        let state = Arc::<UploadState>::default();
        (Self { from: Some(from), state: Arc::clone(&state) }, state)
    }

    /// Nothing, once more.
    pub(super) fn empty() -> Self {
        Self { from: None, state: Arc::default() }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(from) = &mut self.from else { return Poll::Ready(None) };
        let piece = poll_data(from, cx);
        let state = match &piece {
            Poll::Pending => OWED,
            Poll::Ready(Some(Err(_))) => BROKEN,
            Poll::Ready(_) => 0,
        };
        self.state.set(state);
        piece
    }

    fn is_end_stream(&self) -> bool {
        self.from.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.from.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// The next piece that is no trailer.
fn poll_data(from: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    loop {
        match ready!(Pin::new(&mut *from).poll_frame(cx)) {
            Some(Ok(frame)) if frame.is_trailers() => {}
            other => return Poll::Ready(other),
        }
    }
}
