//! The credentials of a route, counted: what their observer adds up, and how each of them stands.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::Now,
    credential::{Credential, Observer, Outcome, Trigger},
    telemetry::{self, CredentialState, Phase, RouteMetrics},
};

/// The credential's observer: what it counts.
pub(super) struct Counted {
    metrics: Arc<RouteMetrics>,
    /// Is it the route's only credential? Else the one closest to its end is looked for at each scrape.
    one: bool,
}

impl Counted {
    pub(super) fn new(metrics: &Arc<RouteMetrics>, one: bool) -> Self {
        Self { metrics: Arc::clone(metrics), one }
    }
}

impl Observer for Counted {
    fn refreshed(&self, trigger: Trigger, outcome: Outcome, took: Duration) {
        let trigger = match trigger {
            Trigger::Schedule => telemetry::Trigger::Schedule,
            Trigger::Hint => telemetry::Trigger::Hint,
            Trigger::Expiry => telemetry::Trigger::Expiry,
            Trigger::Client => telemetry::Trigger::Client,
            Trigger::Operator => telemetry::Trigger::Operator,
            Trigger::Start => telemetry::Trigger::Start,
        };
        let outcome = match outcome {
            Outcome::Ok => telemetry::Outcome::Ok,
            Outcome::Failed => telemetry::Outcome::Failed,
            Outcome::Rejected => telemetry::Outcome::Rejected,
        };
        if outcome == telemetry::Outcome::Ok {
            self.metrics.recent().fetched(took);
        }
        self.metrics.refreshed(outcome, trigger);
        self.metrics.refresh_took(Phase::Fetch, took);
    }

    fn current(&self, issued: Duration, expires: Option<Duration>) {
        if self.one {
            self.metrics.set_token(Some(issued), expires);
        }
    }
}

/// How a credential stands.
pub(super) fn state(credential: &Credential) -> CredentialState {
    let failing = credential.status().last_error.is_some();
    match credential.current() {
        None => CredentialState::Missing,
        Some(token) if token.is_expired(Now::read()) => CredentialState::Expired,
        Some(_) if failing => CredentialState::Failing,
        Some(_) => CredentialState::Valid,
    }
}
