//! The handshakes of clients, counted by what became of them.

use prometheus::{IntCounter, IntCounterVec};

use super::labels::Handshake;

/// Handles of `handshakes_total` of one route, or of none.
#[derive(Debug)]
pub struct HandshakeMetrics([IntCounter; Handshake::ALL.len()]);

impl HandshakeMetrics {
    /// Every series stands at zero from now on. No route: `""`.
    pub(super) fn of(route: &str, family: &IntCounterVec) -> Self {
        Self(Handshake::ALL.map(|outcome| family.with_label_values(&[route, outcome.as_str()])))
    }

    /// One more.
    pub fn count(&self, outcome: Handshake) {
        self.0[outcome as usize].inc();
    }

    /// How many there were.
    pub fn counted(&self, outcome: Handshake) -> u64 {
        self.0[outcome as usize].get()
    }
}
