//! Where spans wait, and the task that sends them in batches.
//!
//! While a request is tried again, the queue fills; what it cannot take is dropped.

use std::{sync::Arc, time::Duration};

use opentelemetry::Context;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter, SpanProcessor},
};
use tokio::{sync::mpsc, time};
use tokio_util::sync::CancellationToken;

use super::losses::Losses;
use crate::clock;

/// Spans that wait to be sent; more are dropped. A thousand sessions may exchange within seconds.
pub(in crate::telemetry) const QUEUE: usize = 2048;
/// Spans of one request.
const BATCH: usize = 512;

/// Takes spans that have ended, and never waits.
#[derive(Debug, Clone)]
pub(in crate::telemetry) struct Queue {
    spans: mpsc::Sender<SpanData>,
    losses: Arc<Losses>,
}

impl Queue {
    pub(super) fn new(spans: mpsc::Sender<SpanData>, losses: Arc<Losses>) -> Self {
        Self { spans, losses }
    }

    /// May there be a span of something that strangers can cause at any rate? They get half of the queue. If not, it is
    /// counted as dropped.
    pub(in crate::telemetry) fn has_room(&self) -> bool {
        let has_room = self.spans.capacity() > QUEUE / 2;
        if !has_room {
            self.losses.lost(1);
        }
        has_room
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.losses.lost(1);
        }
    }

    /// Nobody asks for it: what is left at the end is sent by the task.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The task.
pub(super) struct Sending {
    spans: mpsc::Receiver<SpanData>,
    /// How long a batch gathers.
    delay: Duration,
    losses: Arc<Losses>,
    stop: CancellationToken,
}

impl Sending {
    pub(super) fn new(
        spans: mpsc::Receiver<SpanData>,
        delay: Duration,
        losses: Arc<Losses>,
        stop: CancellationToken,
    ) -> Self {
        Self { spans, delay, losses, stop }
    }

    /// Sends until `stop`, and then what is left.
    pub(super) async fn run(mut self, exporter: impl SpanExporter) {
        loop {
            let batch = self.gather().await;
            if batch.is_empty() {
                break;
            }
            let spans = batch.len() as u64;
            if Box::pin(exporter.export(batch)).await.is_err() {
                self.losses.lost(spans);
            }
            self.losses.say(clock::now(), false);
        }
        self.losses.say(clock::now(), true);
    }

    /// Waits for a span, and then a while for others; none: it is over.
    async fn gather(&mut self) -> Vec<SpanData> {
        let (mut batch, mut until) = (Vec::new(), None);
        while batch.len() < BATCH {
            if self.stop.is_cancelled() {
                self.spans.close();
            }
            let room = BATCH - batch.len();
            let more = self.spans.recv_many(&mut batch, room);
            // A queue that is closed gives at once what it has.
            let came = match (self.stop.is_cancelled(), until) {
                (true, _) => Some(more.await),
                (false, None) => self.stop.run_until_cancelled(more).await,
                (false, Some(until)) => {
                    let more = time::timeout_at(until, more);
                    self.stop.run_until_cancelled(more).await.map(|came| came.unwrap_or(0))
                }
            };
            match came {
                Some(0) => break,
                Some(_) => until = until.or_else(|| Some(clock::now() + self.delay)),
                None => {}
            }
        }
        batch
    }
}
