//! Spans that were dropped: counted wherever that happens, and said in the log, seldom.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::clock::Instant;

/// What was dropped is said this often, at most.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What was dropped, and how much of that is in the log.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Since the last line about it.
    dropped: AtomicU64,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    at: Option<Instant>,
    /// Why the last request failed; `None` since one went well.
    cause: Option<String>,
}

impl Losses {
    pub(super) fn lost(&self, spans: u64) {
        self.dropped.fetch_add(spans, Ordering::Relaxed);
    }

    /// A request has failed. Is it the first one since the last that went well?
    pub(super) fn failed(&self, why: String) -> bool {
        self.said().cause.replace(why).is_none()
    }

    /// A request went well. Had the one before it failed?
    pub(super) fn went_well(&self) -> bool {
        self.said().cause.take().is_some()
    }

    /// Spans that are in no line yet. They are in the caller's.
    pub(super) fn take(&self) -> Option<u64> {
        Some(self.dropped.swap(0, Ordering::Relaxed)).filter(|dropped| *dropped > 0)
    }

    /// Says what was dropped, if enough time has passed since the last such line, or if this is the `end`.
    pub(super) fn say(&self, now: Instant, end: bool) {
        let mut said = self.said();
        if !end && said.at.is_some_and(|at| now < at + SAY_EVERY) {
            return;
        }
        let Some(dropped) = self.take() else { return };
        said.at = Some(now);
        let error = said
            .cause
            .as_deref()
            .unwrap_or("the collector refused them, or there were more than could be sent");
        tracing::warn!(dropped, error, "spans dropped");
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
