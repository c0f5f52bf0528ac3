//! The credentials of a route, counted: what their observer adds up, and how each of them stands.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::Now,
    config::{Route, Share, TokenConfig},
    credential::{Credential, Fetch, Observer, Outcome, Token, Trigger},
    telemetry::{self, CredentialState, Phase, RouteMetrics, Spans, Told},
};

/// The credential's observer: what it counts, and has traced.
pub(super) struct Counted {
    route: String,
    metrics: Arc<RouteMetrics>,
    spans: Spans,
    /// Is it the route's only credential? Else the one closest to its end is looked for at each scrape.
    one: bool,
}

impl Counted {
    pub(super) fn new(route: &Route, metrics: &Arc<RouteMetrics>, spans: &Spans) -> Self {
        let one = !matches!(route.token, Some(TokenConfig { share: Share::Client { .. }, .. }));
        Self { route: route.name.clone(), metrics: Arc::clone(metrics), spans: spans.clone(), one }
    }
}

impl Observer for Counted {
    fn refreshed(&self, fetch: &Fetch<'_>) {
        let Fetch { credential, generation, trigger, outcome, took, error } = *fetch;
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
        let (route, credential, generation) = (&*self.route, Some(credential), generation.map(|g| g.0));
        self.spans.refreshed(trigger, Told { route, credential, generation, outcome, took, error });
    }

    fn current(&self, issued: Duration, expires: Option<Duration>) {
        if self.one {
            self.metrics.set_token(Some(issued), expires);
        }
    }
}

/// How a credential stands.
pub(super) fn state(credential: &Credential) -> CredentialState {
    let now = Now::read();
    credential.glance(|token, failing| state_of(token, failing, now))
}

fn state_of(token: Option<&Token>, failing: bool, now: Now) -> CredentialState {
    match token {
        None => CredentialState::Missing,
        Some(token) if token.is_expired(now) => CredentialState::Expired,
        Some(_) if failing => CredentialState::Failing,
        Some(_) => CredentialState::Valid,
    }
}

/// What many credentials come to.
pub(super) struct Tally {
    now: Now,
    states: [usize; CredentialState::ALL.len()],
    /// Of the token closest to its end: that end, and when it was issued, on the wall clock.
    first: Option<(Duration, Duration)>,
}

impl Tally {
    pub(super) fn new(now: Now) -> Self {
        Self { now, states: [0; CredentialState::ALL.len()], first: None }
    }

    pub(super) fn add(&mut self, credential: &Credential) {
        credential.glance(|token, failing| {
            self.states[state_of(token, failing, self.now) as usize] += 1;
            if let Some(token) = token {
                let one = (token.expires_wall.unwrap_or(Duration::MAX), token.issued.wall);
                self.first = Some(self.first.map_or(one, |first| first.min(one)));
            }
        });
    }

    pub(super) fn tell(&self, metrics: &RouteMetrics) {
        for state in CredentialState::ALL {
            metrics.set_credentials(state, self.states[state as usize]);
        }
        let ends = self.first.map(|(ends, _)| ends).filter(|ends| *ends < Duration::MAX);
        metrics.set_token(self.first.map(|(_, issued)| issued), ends);
    }
}
