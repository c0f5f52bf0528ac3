//! How many there may be at once: a count, and a limit that a reload may change.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::crowd::Seat;

/// How many places are taken.
#[derive(Debug, Default)]
pub struct Places(AtomicUsize);

/// A session's: one of all, and one of its client's address.
#[derive(Debug)]
#[expect(dead_code, reason = "held for their Drop")]
pub(super) struct Permit(pub(super) Taken, pub(super) Seat);

/// One of them, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Taken(Arc<Places>);

impl Places {
    /// One more, where fewer than `limit` are taken. Who has one keeps it when the limit falls.
    pub(super) fn take(self: &Arc<Self>, limit: usize) -> Option<Taken> {
        let more = |taken: usize| (taken < limit).then_some(taken + 1);
        let taken = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.ok().map(|_| Taken(Arc::clone(self)))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_and_may_change() {
        let places = Arc::new(Places::default());
        let first = places.take(1).unwrap();
        assert!(places.take(1).is_none());
        let second = places.take(2).unwrap();
        drop(first);
        assert!(places.take(1).is_none(), "the limit fell while one was taken");
        drop(second);
        assert!(places.take(1).is_some());
    }
}
