//! What an operator sees of the process: metrics and logs.
//!
//! - [`labels`]: the small fixed sets that label values come from; a label is never made of what a
//!   peer sends.
//! - [`metrics`]: every series, at zero from the start; the hot path holds its handles and adds to an
//!   atomic.
//! - [`logs`]: one line for each thing an operator asks about, never a token.
//! - [`events`], [`recent`]: the last of both, for a look without Prometheus and without the log.

pub mod events;
pub mod labels;
pub mod logs;
pub mod metrics;
pub mod recent;
mod route_metrics;

pub use events::Events;
pub use labels::{
    CloseCause, CodeClass, CredentialState, Direction, LossReason, Outcome, Phase, SessionState, Trigger, Way,
};
pub use logs::{LogFormat, LogsError};
pub use metrics::Metrics;
pub use recent::Recent;
pub use route_metrics::RouteMetrics;
