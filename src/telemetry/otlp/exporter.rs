//! The task that sends: gathers a batch, posts it, and tries again where that may help.
//!
//! A request that may have arrived is sent again all the same: it has the same identifiers, so that a
//! collector can tell. While one is tried again, the queue fills; what it cannot take is dropped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::mpsc, time};
use tokio_util::sync::CancellationToken;

use super::{
    collector::{Collector, Refused},
    environment::Settings,
    traces::Traces,
};
use crate::{
    clock::{self, Instant},
    telemetry::spans::{Sink, Span},
};

/// Spans of one request.
const BATCH: usize = 512;
/// Times that a request is sent, and the waits between: from the first, twice as long each time. What the
/// collector asks for instead is kept within the bounds.
const ATTEMPTS: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// What was dropped is said this often, at most.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// What is left at the end is sent within this.
const LAST: Duration = Duration::from_secs(2);

/// Where spans wait.
pub(super) struct Queue {
    sender: mpsc::Sender<Span>,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    pub(super) fn new(sender: mpsc::Sender<Span>) -> Self {
        Self { sender, dropped: Arc::default() }
    }

    /// Spans that could not be taken.
    pub(super) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }
}

impl Sink for Queue {
    fn take(&self, span: Span) {
        if self.sender.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The task.
pub(super) struct Exporter {
    spans: mpsc::Receiver<Span>,
    collector: Collector,
    resource: Vec<(String, String)>,
    delay: Duration,
    traces: Traces,
    batch: Vec<Span>,
    /// A request that was not taken yet, and its spans.
    pending: Option<(Bytes, u64)>,
    losses: Losses,
}

impl Exporter {
    pub(super) fn new(
        spans: mpsc::Receiver<Span>,
        dropped: Arc<AtomicU64>,
        collector: Collector,
        settings: Settings,
    ) -> Self {
        Self {
            spans,
            collector,
            resource: settings.resource,
            delay: settings.delay,
            traces: Traces::default(),
            batch: Vec::new(),
            pending: None,
            losses: Losses { dropped, said: 0, said_at: None, cause: None },
        }
    }

    /// Sends until `stop`, and then what is left.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(Box::pin(self.round())).await.is_some_and(|more| more) {}
        let last = clock::now() + LAST;
        Box::pin(self.flush(last)).await;
    }

    /// One batch, from gathering to its answer. Is there more to come? It may be dropped at any await.
    async fn round(&mut self) -> bool {
        if self.pending.is_none() {
            let open = self.gather().await;
            self.pack();
            if self.pending.is_none() {
                return open;
            }
        }
        self.deliver().await;
        true
    }

    /// Waits for a span, and then a while for others.
    async fn gather(&mut self) -> bool {
        let mut until = None;
        while self.batch.len() < BATCH {
            let room = BATCH - self.batch.len();
            let more = self.spans.recv_many(&mut self.batch, room);
            let came = match until {
                None => more.await,
                Some(until) => match time::timeout_at(until, more).await {
                    Ok(came) => came,
                    Err(_) => break,
                },
            };
            if came == 0 {
                return false;
            }
            until.get_or_insert_with(|| clock::now() + self.delay);
        }
        true
    }

    fn pack(&mut self) {
        if !self.batch.is_empty() {
            let body = self.traces.request(&self.batch, &self.resource);
            self.pending = Some((body.into(), self.batch.len() as u64));
            self.batch.clear();
        }
    }

    /// Sends what is pending, as often as it may help.
    async fn deliver(&mut self) {
        let Some((body, spans)) = self.pending.clone() else { return };
        let mut wait = FIRST_WAIT;
        for attempt in 1..=ATTEMPTS {
            let refused = match self.collector.post(body.clone(), None).await {
                Ok(rejected) => {
                    self.pending = None;
                    return self.losses.taken(rejected.min(spans), clock::now());
                }
                Err(refused) => refused,
            };
            let Refused { why, again, retry_after } = refused;
            let over = !again || attempt == ATTEMPTS;
            self.losses.refused(why, if over { spans } else { 0 }, clock::now());
            if over {
                self.pending = None;
                return;
            }
            let jittered = wait.mul_f64(0.5 + fastrand::f64() / 2.0);
            time::sleep(retry_after.unwrap_or(jittered).clamp(SHORTEST_WAIT, LONGEST_WAIT)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Sends all that is left, each request once, and says what could not be.
    async fn flush(&mut self, last: Instant) {
        self.spans.close();
        loop {
            if self.pending.is_none() {
                while self.batch.len() < BATCH
                    && let Ok(span) = self.spans.try_recv()
                {
                    self.batch.push(span);
                }
                self.pack();
            }
            let Some((body, spans)) = self.pending.take() else { break };
            if clock::now() >= last {
                self.losses.lost(spans);
                continue;
            }
            match self.collector.post(body, Some(last)).await {
                Ok(rejected) => self.losses.lost(rejected.min(spans)),
                Err(Refused { why, .. }) => {
                    self.losses.cause = Some(why);
                    self.losses.lost(spans);
                }
            }
        }
        self.losses.say_rest(clock::now());
    }
}

/// What was not exported, and how much of that was said.
struct Losses {
    /// Since the start, no matter which part dropped them.
    dropped: Arc<AtomicU64>,
    said: u64,
    said_at: Option<Instant>,
    /// Why the last request failed; `None` since one went well.
    cause: Option<String>,
}

impl Losses {
    fn lost(&mut self, spans: u64) {
        self.dropped.fetch_add(spans, Ordering::Relaxed);
    }

    fn taken(&mut self, rejected: u64, now: Instant) {
        self.lost(rejected);
        self.cause = (rejected > 0).then(|| "the collector refused some of them".to_owned());
        self.say(now);
    }

    fn refused(&mut self, why: String, lost: u64, now: Instant) {
        self.lost(lost);
        self.cause = Some(why);
        self.say(now);
    }

    /// Says how it stands, where it does not stand well and enough time has passed.
    fn say(&mut self, now: Instant) {
        let waited = self.said_at.is_none_or(|at| now >= at + SAY_EVERY);
        if waited && (self.cause.is_some() || self.is_news()) {
            self.say_now(now);
        }
    }

    /// At the end: what has not been said yet.
    fn say_rest(&mut self, now: Instant) {
        if self.is_news() {
            self.say_now(now);
        }
    }

    fn is_news(&self) -> bool {
        self.dropped.load(Ordering::Relaxed) != self.said
    }

    fn say_now(&mut self, now: Instant) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let error = self.cause.as_deref().unwrap_or("more came than could be sent");
        tracing::warn!(dropped, error, "spans not exported");
        self.said = dropped;
        self.said_at = Some(now);
    }
}
