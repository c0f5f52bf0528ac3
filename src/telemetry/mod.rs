//! What an operator sees of the process: metrics, logs, and spans for tracing.
//!
//! - [`labels`]: the small fixed sets that label values come from; a label is never made of what a
//!   peer sends.
//! - [`metrics`]: every series, at zero from the start; the hot path holds its handles and adds to an
//!   atomic.
//! - [`logs`]: one line for each thing an operator asks about, never a token. Writing it stops nobody.
//! - [`events`], [`recent`]: the last of both, for a look without Prometheus and without the log.
//! - [`spans`]: refreshes, handshakes, swaps and outages; exported if the environment names a collector.

pub mod events;
mod handshakes;
pub mod labels;
pub mod logs;
pub mod metrics;
mod otlp;
pub mod recent;
mod route_metrics;
pub mod spans;

pub use handshakes::HandshakeMetrics;
pub use labels::{
    CloseReason, CodeClass, CredentialState, DialPurpose, Dialled, Direction, Fetched, Handshake, LossReason,
    Method, Outcome, Phase, SessionState, Trigger,
};
pub use logs::{Log, LogFormat, LogsError};
pub use metrics::Metrics;
pub use recent::Recent;
pub use route_metrics::RouteMetrics;
pub use spans::{Open, Place, Spans, words};
