//! How many sessions are in which state, and for how long they were.
//!
//! The seconds of all sessions are the integral of the counts: adding it up at each change, and when
//! somebody looks, is exact and costs nothing for those that stay where they are.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    clock::{self, Instant},
    session::Phase,
    telemetry::{RouteMetrics, SessionState},
};

/// The count of one route's sessions.
#[derive(Debug)]
pub(super) struct Census {
    metrics: Arc<RouteMetrics>,
    state: Mutex<Counted>,
}

#[derive(Debug)]
struct Counted {
    last: Instant,
    sessions: [u32; SessionState::ALL.len()],
}

impl Census {
    pub(super) fn new(metrics: Arc<RouteMetrics>) -> Self {
        let state = Mutex::new(Counted { last: clock::now(), sessions: [0; SessionState::ALL.len()] });
        Self { metrics, state }
    }

    /// A session came, went on, or went.
    pub(super) fn moved(&self, from: Option<Phase>, to: Option<Phase>, now: Instant) {
        self.with(now, |sessions| {
            if let Some(state) = from.map(state) {
                sessions[state as usize] = sessions[state as usize].saturating_sub(1);
                self.metrics.session_left(state, std::time::Duration::ZERO);
            }
            if let Some(state) = to.map(state) {
                sessions[state as usize] += 1;
                self.metrics.session_entered(state);
            }
        });
    }

    /// Brings the seconds up to now, for a scrape.
    pub(super) fn look(&self, now: Instant) {
        self.with(now, |_| {});
    }

    fn with(&self, now: Instant, change: impl FnOnce(&mut [u32; SessionState::ALL.len()])) {
        let mut counted = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = now.saturating_duration_since(counted.last);
        counted.last = counted.last.max(now);
        for state in SessionState::ALL {
            let count = counted.sessions[state as usize];
            if count > 0 {
                self.metrics.add_session_seconds(state, spent * count);
            }
        }
        change(&mut counted.sessions);
    }
}

/// As it is counted and shown.
pub(super) fn state(phase: Phase) -> SessionState {
    match phase {
        Phase::Opening => SessionState::Opening,
        Phase::Live => SessionState::Live,
        Phase::Exchanging => SessionState::Exchanging,
        Phase::Resuming => SessionState::Resuming,
        Phase::Swapping => SessionState::Swapping,
        Phase::Parked => SessionState::Parked,
        Phase::Closing => SessionState::Closing,
    }
}
