//! Spans, as a collector gets them from the sidecar's own process; the collector is played by the test.
//!
//! ```text
//!   client ──► sidecar ──► service        sidecar ── POST /v1/traces ──► Collector (good, or a bad one)
//!                 └──► tokens (the test notes each)
//! ```

mod collector;
mod exported;
mod failing;
mod sessions;
mod stage;
