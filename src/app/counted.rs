//! The credentials of a route, counted: what their observer adds up, and how each of them stands.

use std::{sync::Arc, time::Duration};

use opentelemetry::Context;

use crate::{
    clock::Now,
    config::{Route, Share, TokenConfig},
    credential::{Credential, Fetch, Glance, Observer, Outcome, Token, Trigger},
    telemetry::{self, CredentialState, Fetched, Open, Phase, Place, RouteMetrics, Spans},
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
    fn began(&self, trigger: Trigger) -> Context {
        let span = self.spans.begin("token refresh", &self.route, Now::read().wall, Place::Alone);
        span.set("perennial.trigger", label(trigger).as_str());
        span.context()
    }

    fn refreshed(&self, fetch: &Fetch<'_>) {
        let Fetch { credential, generation, trigger, outcome, took, error, span } = *fetch;
        let fetched = match outcome {
            Outcome::Ok => Fetched::Ok,
            Outcome::Unchanged => Fetched::Unchanged,
            Outcome::Failed => Fetched::Failed,
            Outcome::Rejected => Fetched::Rejected,
        };
        self.metrics.refreshed(fetched, label(trigger));
        if outcome == Outcome::Ok {
            self.metrics.recent().fetched(took);
        }
        if outcome != Outcome::Unchanged {
            self.metrics.refresh_took(Phase::Fetch, took);
        }
        let span = Open::from(span.clone());
        span.set_token(credential, generation.map(|generation| generation.0));
        match error {
            Some(error) => span.fail(fetched.as_str(), error),
            None => span.end(fetched.as_str()),
        }
    }

    fn current(&self, token: &Token) {
        if self.one {
            self.metrics.set_token(Some(token.issued.wall), token.expires_wall);
            self.metrics.set_refresh_token(token.refresh_ends);
        }
    }
}

fn label(trigger: Trigger) -> telemetry::Trigger {
    match trigger {
        Trigger::Schedule => telemetry::Trigger::Schedule,
        Trigger::Hint => telemetry::Trigger::Hint,
        Trigger::Expiry => telemetry::Trigger::Expiry,
        Trigger::Client => telemetry::Trigger::Client,
        Trigger::Operator => telemetry::Trigger::Operator,
        Trigger::Start => telemetry::Trigger::Start,
    }
}

/// How a credential stands.
pub(super) fn state(credential: &Credential) -> CredentialState {
    state_at(credential.glance(), Now::read().wall)
}

fn state_at(seen: Glance, now: Duration) -> CredentialState {
    match seen {
        Glance { issued: None, .. } => CredentialState::Missing,
        Glance { ends: Some(ends), .. } if ends <= now => CredentialState::Expired,
        Glance { failing: true, .. } => CredentialState::Failing,
        Glance { .. } => CredentialState::Valid,
    }
}

/// What many credentials come to.
pub(super) struct Tally {
    /// The wall clock.
    now: Duration,
    states: [usize; CredentialState::ALL.len()],
    /// Of the token closest to its end: that end, and when it was issued, on the wall clock.
    first: Option<(Duration, Duration)>,
    /// The earliest end of a refresh token.
    refresh_ends: Option<Duration>,
}

impl Tally {
    pub(super) fn new(now: Duration) -> Self {
        Self { now, states: [0; CredentialState::ALL.len()], first: None, refresh_ends: None }
    }

    pub(super) fn add(&mut self, credential: &Credential) {
        let seen = credential.glance();
        self.states[state_at(seen, self.now) as usize] += 1;
        self.refresh_ends = [self.refresh_ends, seen.refresh_ends].into_iter().flatten().min();
        if let Some(issued) = seen.issued {
            let one = (seen.ends.unwrap_or(Duration::MAX), issued);
            self.first = Some(self.first.map_or(one, |first| first.min(one)));
        }
    }

    pub(super) fn tell(&self, metrics: &RouteMetrics) {
        for state in CredentialState::ALL {
            metrics.set_credentials(state, self.states[state as usize]);
        }
        let ends = self.first.map(|(ends, _)| ends).filter(|ends| *ends < Duration::MAX);
        metrics.set_token(self.first.map(|(_, issued)| issued), ends);
        metrics.set_refresh_token(self.refresh_ends);
    }
}
