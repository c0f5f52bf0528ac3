//! Spans for a collector: OTLP, protobuf over HTTP.
//!
//! ```text
//!   a span ends ──► Queue ──► batch ──► opentelemetry-otlp ──► Client ──► POST /v1/traces
//!              │ full                     (the bytes)            │  ▲
//!              └──► counted                                      └──┘ 429, 502 … 504, no answer: again
//! ```
//!
//! The `opentelemetry` crates make the spans and their bytes. Two parts are ours:
//!
//! - `Client`: the request goes through our own dialer. Verification, deadlines, limits and the reload of certificates are
//!   the same as everywhere, and there is no second HTTP client in the binary.
//! - `Queue`: the batch processor of the SDK drops a batch after ten seconds, does not say how much it dropped, and panics
//!   if it gets no thread.
//!
//! Rules:
//! 1. The variables of the standard configure it (`environment`). Without an endpoint there is nothing: no task, no queue.
//! 2. Nobody waits for it. It is bounded: what the queue cannot take is dropped and counted.
//! 3. A collector that is away is one line in the log, and one more if it is back.
//! 4. No word of the collector's is logged, only its status.
//! 5. At the end, what is left is sent within two seconds.

use std::sync::Arc;

use opentelemetry::{InstrumentationScope, KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracerProvider, SpanData, SpanExporter as _},
};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::spans::Spans;
use crate::net::Egress;

mod client;
mod environment;
mod losses;
mod queue;

use client::Client;
use environment::Settings;
use losses::Losses;
pub(super) use queue::Queue;
use queue::{QUEUE, Sending};

/// Sends spans, by this way out, if the environment says so.
pub(super) fn start(egress: &Egress, tasks: &TaskTracker, stop: &CancellationToken) -> Spans {
    // What is not UTF-8 counts as not set.
    let settings = match environment::read(|name| std::env::var(name).ok()) {
        Ok(Some(settings)) => settings,
        Ok(None) => return Spans::default(),
        Err(error) => return no_traces(&error),
    };
    let losses = Arc::new(Losses::default());
    let exporter = match exporter(&settings, egress, &losses, stop) {
        Ok(exporter) => exporter,
        Err(error) => return no_traces(&*error),
    };
    for ignored in &settings.ignored {
        tracing::warn!(%ignored, "a variable is ignored");
    }
    tracing::info!(collector = settings.endpoint.authority(), "traces are exported");
    let (spans, ended) = queued(&losses);
    let sending = Sending::new(ended, settings.delay, losses, stop.clone());
    tasks.spawn(sending.run(exporter));
    spans
}

/// Spans, and where they come out when they have ended.
fn queued(losses: &Arc<Losses>) -> (Spans, mpsc::Receiver<SpanData>) {
    let (sender, ended) = mpsc::channel(QUEUE);
    let queue = Queue::new(sender, Arc::clone(losses));
    // The sampler and the limits are what the environment says.
    let provider = SdkTracerProvider::builder().with_span_processor(queue.clone()).build();
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION"));
    (Spans::to(provider.tracer_with_scope(scope.build()), queue), ended)
}

fn no_traces(error: &dyn std::error::Error) -> Spans {
    tracing::warn!(%error, "no traces are exported");
    Spans::default()
}

/// Headers and compression are read from the environment by the exporter itself.
fn exporter(
    settings: &Settings,
    egress: &Egress,
    losses: &Arc<Losses>,
    stop: &CancellationToken,
) -> Result<SpanExporter, Box<dyn std::error::Error>> {
    let client = Client::new(settings, egress, Arc::clone(losses), stop.clone())?;
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(settings.url())
        .with_retry_policy(RetryPolicy::disabled())
        .build()?;
    let resource = settings.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    exporter.set_resource(&Resource::builder_empty().with_attributes(resource).build());
    Ok(exporter)
}

/// The same, for a test.
#[cfg(test)]
pub(super) fn kept() -> (Spans, mpsc::Receiver<SpanData>) {
    queued(&Arc::default())
}

#[cfg(test)]
mod tests;
