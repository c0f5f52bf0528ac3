//! Full-jitter backoff of reconnects: a random time up to a ceiling that doubles.

use std::time::Duration;

/// The first ceiling.
const FIRST: Duration = Duration::from_millis(500);
/// The last one: an outage that is hidden ends soon after the service is back.
const LAST: Duration = Duration::from_secs(5);

/// Attempts since the last success.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Backoff {
    attempts: u32,
    random: fastrand::Rng,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self { attempts: 0, random: fastrand::Rng::with_seed(seed) }
    }

    /// How long to wait before the next attempt; the first goes at once. If the service named a time
    /// (`Retry-After`), it is waited for, and a random part of a ceiling more.
    pub(super) fn next(&mut self, named: Option<Duration>) -> Duration {
        let attempts = self.attempts;
        self.attempts = attempts.saturating_add(1);
        if attempts == 0 && named.is_none() {
            return Duration::ZERO;
        }
        let ceiling = FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(LAST);
        named.unwrap_or_default().saturating_add(ceiling.mul_f64(self.random.f64()))
    }

    /// Attempts since the last success.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// A random part of `span`.
    pub(super) fn part_of(&mut self, span: Duration) -> Duration {
        span.mul_f64(self.random.f64())
    }
}
