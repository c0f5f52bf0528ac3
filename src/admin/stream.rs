//! The status, again and again: server-sent events (HTML Standard §9.2), one snapshot each second.
//!
//! Rules:
//! 1. However many look on, there is one snapshot: it is made when somebody asks, and used by all for a second.
//! 2. Streams are few, and none lasts: a page comes back by itself.
//! 3. Anyone who reads slowly is sent less, and nothing is kept for it: a snapshot is taken when it can be written.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{AdminState, answer::Body};
use crate::clock::{self, Instant};

/// Streams at once.
const STREAMS: usize = 8;
/// Between two snapshots.
const EVERY: Duration = Duration::from_secs(1);
/// A snapshot younger than this will do.
const FRESH: Duration = Duration::from_millis(900);
/// How long one may last.
pub(super) const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Where snapshots come from.
pub(super) struct Streams {
    source: Arc<Source>,
    permits: Arc<Semaphore>,
    shutdown: CancellationToken,
}

struct Source {
    state: Arc<dyn AdminState>,
    last: Mutex<Option<(Instant, Bytes)>>,
}

/// One that looks on.
struct Stream {
    source: Arc<Source>,
    tick: Interval,
    until: Instant,
    shutdown: CancellationToken,
    #[expect(dead_code, reason = "held for its Drop: one of a bounded number")]
    permit: OwnedSemaphorePermit,
}

impl Streams {
    pub(super) fn new(state: Arc<dyn AdminState>, shutdown: CancellationToken) -> Self {
        let source = Arc::new(Source { state, last: Mutex::default() });
        Self { source, permits: Arc::new(Semaphore::new(STREAMS)), shutdown }
    }

    /// The snapshot as JSON, not older than a second.
    pub(super) fn latest(&self) -> Bytes {
        self.source.latest()
    }

    /// One more stream, where there is room for it.
    pub(super) fn open(&self) -> Option<Body> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (source, shutdown) = (Arc::clone(&self.source), self.shutdown.clone());
        let stream = Stream { source, tick, until: clock::now() + LONGEST, shutdown, permit };
        let frames = stream::unfold(stream, |mut stream| async move {
            let shutdown = stream.shutdown.clone();
            shutdown.run_until_cancelled(stream.tick.tick()).await?;
            if stream.until <= clock::now() {
                return None;
            }
            let event = [&b"event: status\ndata: "[..], &stream.source.latest(), b"\n\n"].concat();
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from(event))), stream))
        });
        Some(StreamBody::new(frames).boxed_unsync())
    }
}

impl Source {
    fn latest(&self) -> Bytes {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        if let Some((at, snapshot)) = &*last
            && now.saturating_duration_since(*at) < FRESH
        {
            return snapshot.clone();
        }
        let snapshot = Bytes::from(serde_json::to_vec(&self.state.status()).unwrap_or_default());
        *last = Some((now, snapshot.clone()));
        snapshot
    }
}
