//! Spans, as a collector gets them from the sidecar's own process; the collector is played by the test.
//!
//! ```text
//!   client ──► sidecar ──► service        sidecar ── POST /v1/traces ──► Collector (good, or a bad one)
//!                 └──► tokens (the test notes each)
//! ```
//!
//! Broken on purpose, and caught: see the tests.

#[cfg(feature = "otlp")]
mod collector;
#[cfg(feature = "otlp")]
mod exported;
#[cfg(feature = "otlp")]
mod failing;
#[cfg(feature = "otlp")]
mod stage;

use crate::{sidecar::Sidecar, support};

#[tokio::test]
#[ignore = "needs a binary without the feature otlp, in PERENNIAL_BINARY"]
async fn a_build_that_cannot_export_says_so_once() {
    let configuration = support::plain(9);
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9/can4ry")];
    let log = Sidecar::launch(&configuration, &[], &variables).await.stop().await;
    assert_eq!(log.matches("built without the feature `otlp`").count(), 1, "{log}");
    assert!(log.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && !log.contains("can4ry"), "{log}");
    let log = Sidecar::launch(&configuration, &[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).await.stop().await;
    assert!(!log.contains("otlp"), "{log}");
}
