//! Spans for a collector: OTLP over HTTP, as JSON (the feature `otlp`).
//!
//! ```text
//!   Spans ── take ──► queue ──► batch ──► one trace for each refresh ──► POST /v1/traces
//!              │ full              ▲                                        │ 429, 502 … 504, no answer
//!              └──► counted        └──────────── the same, later ◄──────────┘
//! ```
//!
//! It is one POST of a documented JSON, sent by our own dialer: what holds for every leg (verification, one
//! deadline, a limit for the answer, certificates reloaded) holds for this one. The `opentelemetry` crates
//! would bring 23 more packages for it, a second version of four that are here already, a thread that is not
//! ours, and an HTTP client that has to be taken out of them again.
//!
//! 1. It is configured by the standard's variables (`environment`). Where no endpoint is named, there is
//!    nothing: no task, no queue.
//! 2. It is never fatal, and nobody waits for it: what the queue cannot take is dropped and counted, and that
//!    is said once a minute at most.
//! 3. A refresh is a trace of its own. An exchange or a swap that it brought about is a child of it, on
//!    whichever session; what came later for other reasons, and a resumption, is a trace of its own with a
//!    link to the refresh whose token it used. Where that refresh was not seen here, it has neither.
//! 4. The collector's answer is read for its status and for how many spans it refused: no word of it is logged.
//! 5. At the end what is left is sent, within two seconds.

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::spans::Spans;

mod collector;
mod environment;
mod exporter;
mod json;
mod traces;

use collector::Collector;
use exporter::{Exporter, Queue};

/// Spans that wait to be sent; more are dropped. A thousand sessions may exchange within seconds.
const QUEUE: usize = 2048;

/// Sends spans where the environment says.
pub(super) fn start(tasks: &TaskTracker, stop: &CancellationToken) -> Spans {
    // What is no UTF-8 is as good as unset.
    start_with(|name| std::env::var(name).ok(), tasks, stop)
}

fn start_with(
    variable: impl Fn(&str) -> Option<String>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Spans {
    let settings = match environment::read(variable) {
        Ok(Some(settings)) => settings,
        Ok(None) => return Spans::default(),
        Err(error) => {
            tracing::warn!(%error, "no traces are exported");
            return Spans::default();
        }
    };
    for ignored in &settings.ignored {
        tracing::warn!(%ignored, "a variable is ignored");
    }
    let collector = match Collector::new(&settings) {
        Ok(collector) => collector,
        Err(error) => {
            tracing::warn!(%error, "no traces are exported");
            return Spans::default();
        }
    };
    tracing::info!(collector = settings.endpoint.authority(), "traces are exported");
    let (sender, spans) = mpsc::channel(QUEUE);
    let queue = Queue::new(sender);
    let exporter = Exporter::new(spans, queue.dropped(), collector, settings);
    tasks.spawn(exporter.run(stop.clone()));
    Spans::to(std::sync::Arc::new(queue))
}

#[cfg(test)]
mod tests;
