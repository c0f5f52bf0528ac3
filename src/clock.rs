//! The one place that reads a clock.
//!
//! Everything inside takes `now` as an argument; the outer ring calls this once at each wake-up and
//! hands the value on. Deadlines are monotonic; the wall clock is only for what the outside world
//! dates: the expiry of a token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point on the monotonic clock (tokio's, so that tests can pause it).
pub type Instant = tokio::time::Instant;

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "this is the room that reads the clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// A duration as logs show it: milliseconds, to the microsecond.
pub fn milliseconds(duration: Duration) -> f64 {
    // Exact up to 2^53 microseconds, which is 285 years.
    duration.as_micros() as f64 / 1000.0
}

/// Both clocks, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: what deadlines are measured on.
    pub mono: Instant,
    /// Wall clock, since the Unix epoch: what expiries are written in.
    pub wall: Duration,
}

impl Now {
    /// The time so long ago; this one, if the monotonic clock was not there yet.
    #[must_use]
    pub fn earlier(self, ago: Duration) -> Self {
        let mono = self.mono.checked_sub(ago);
        mono.map_or(self, |mono| Self { mono, wall: self.wall.saturating_sub(ago) })
    }

    /// Reads both clocks.
    #[expect(clippy::disallowed_methods, reason = "this is the room that reads the clock")]
    pub fn read() -> Self {
        Self { mono: now(), wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() }
    }
}
