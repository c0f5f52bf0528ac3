//! What clients met in the last minutes: the counts of now, less those of then.
//!
//! ```text
//!   every ten seconds: the counts of each route ──► the last thirty of them
//!   a look:            now ── less the oldest ────► within five minutes
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    admin::status::LatelyStatus,
    clock::Instant,
    telemetry::{CloseReason, Handshake, RouteMetrics},
};

/// Between two samples.
pub(super) const EVERY: Duration = Duration::from_secs(10);
/// So many are kept.
const SAMPLES: usize = 30;

/// Samples, the oldest first.
pub(super) struct Lately {
    began: Instant,
    samples: Mutex<VecDeque<(Instant, BTreeMap<String, Met>)>>,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Met {
    accepted: u64,
    rejected: u64,
    rejected_later: u64,
    without_token: u64,
    over_limit: u64,
    expired: u64,
    outlasted: u64,
}

impl Lately {
    /// From now on; nothing was counted yet.
    pub(super) fn new(began: Instant) -> Self {
        Self { began, samples: Mutex::default() }
    }

    /// One more sample, of these routes.
    pub(super) fn sample<'m>(&self, now: Instant, routes: impl Iterator<Item = (&'m str, &'m RouteMetrics)>) {
        let sample = routes.map(|(name, metrics)| (name.to_owned(), Met::of(metrics))).collect();
        let mut samples = self.samples();
        samples.push_back((now, sample));
        if samples.len() > SAMPLES {
            samples.pop_front();
        }
    }

    /// What the clients of a route met.
    pub(super) fn of(&self, route: &str, metrics: &RouteMetrics, now: Instant) -> LatelyStatus {
        let samples = self.samples();
        // Before so many samples were taken: since the start, when everything was 0.
        let oldest = samples.front().filter(|_| samples.len() == SAMPLES);
        let since = oldest.map_or(self.began, |(at, _)| *at);
        let then = oldest.and_then(|(_, sample)| sample.get(route)).copied().unwrap_or_default();
        let met = Met::of(metrics);
        let less = |of: fn(&Met) -> u64| of(&met).saturating_sub(of(&then));
        let rejected_later = less(|met| met.rejected_later);
        LatelyStatus {
            within: now.saturating_duration_since(since).as_secs_f64(),
            accepted: less(|met| met.accepted),
            rejected: less(|met| met.rejected).saturating_add(rejected_later),
            rejected_later,
            without_token: less(|met| met.without_token),
            over_limit: less(|met| met.over_limit),
            expired: less(|met| met.expired),
            outlasted: less(|met| met.outlasted),
            said: None,
        }
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<(Instant, BTreeMap<String, Met>)>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Met {
    fn of(metrics: &RouteMetrics) -> Self {
        let (handshakes, counts) = (metrics.handshakes(), metrics.counts());
        Self {
            accepted: handshakes.counted(Handshake::Accepted),
            rejected: handshakes.counted(Handshake::UpstreamRejected),
            rejected_later: counts.closed(CloseReason::Refused),
            without_token: handshakes.counted(Handshake::Token),
            over_limit: handshakes.counted(Handshake::Limit),
            expired: counts.closed(CloseReason::TokenExpired),
            outlasted: counts.closed(CloseReason::Outage),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock, telemetry::Metrics};

    #[test]
    fn counts_are_those_of_the_last_five_minutes() {
        let metrics = Metrics::new(&["r".to_owned()]);
        let (route, began) = (metrics.route("r"), clock::now());
        let lately = Lately::new(began);
        let reject = || route.handshakes().count(Handshake::UpstreamRejected);
        reject();
        route.session_closed(CloseReason::Refused);
        let first = lately.of("r", &route, began + EVERY);
        assert_eq!((first.rejected, first.rejected_later, first.within), (2, 1, EVERY.as_secs_f64()));
        for nth in 1..=SAMPLES as u32 {
            lately.sample(began + EVERY * nth, [("r", &*route)].into_iter());
        }
        reject();
        let later = lately.of("r", &route, began + EVERY * (SAMPLES as u32 + 1));
        assert_eq!((later.rejected, later.rejected_later, later.within), (1, 0, 300.0));
        let unknown = lately.of("new", &metrics.route("new"), began + EVERY);
        assert_eq!(unknown.rejected, 0, "a route that a reload brought");
    }
}
