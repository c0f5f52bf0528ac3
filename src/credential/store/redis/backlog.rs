//! Changes that could not be written yet: bounded, the oldest first.
//!
//! A change may be written again that was written already: that changes nothing. So one that was perhaps written
//! waits here like any other, and one that waits already does not wait twice.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::super::index::Spaced;
use crate::credential::history::{Change, TokenKey};

/// So many wait at most.
pub(super) const WAITING: usize = 10_000;

#[derive(Default)]
pub(super) struct Backlog {
    waiting: Mutex<Waiting>,
    added: Notify,
}

#[derive(Default)]
struct Waiting {
    changes: VecDeque<Arc<Change>>,
    /// What they are about.
    about: HashSet<(TokenKey, TokenKey)>,
    dropped: Spaced,
}

impl Backlog {
    pub(super) fn push(&self, change: Arc<Change>) {
        let mut waiting = self.waiting();
        if !waiting.about.insert(about(&change)) {
            return;
        }
        let now = change.now().mono;
        waiting.changes.push_back(change);
        if waiting.changes.len() > WAITING {
            waiting.pop();
            if let Some(forgotten) = waiting.dropped.due(1, now) {
                tracing::error!(
                    forgotten,
                    "the store is away, and more tokens were superseded than wait to be written down: the oldest \
                     stay known to this sidecar alone"
                );
            }
        }
        drop(waiting);
        self.added.notify_one();
    }

    /// Waits until something waits.
    pub(super) async fn filled(&self) {
        while self.first().is_none() {
            self.added.notified().await;
        }
    }

    pub(super) fn first(&self) -> Option<Arc<Change>> {
        self.waiting().changes.front().map(Arc::clone)
    }

    /// It is written.
    pub(super) fn done(&self, change: &Arc<Change>) {
        let mut waiting = self.waiting();
        if waiting.changes.front().is_some_and(|first| Arc::ptr_eq(first, change)) {
            waiting.pop();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting().changes.len()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn pop(&mut self) {
        if let Some(first) = self.changes.pop_front() {
            self.about.remove(&about(&first));
        }
    }
}

fn about(change: &Change) -> (TokenKey, TokenKey) {
    match change {
        Change::Superseded(change) => (change.old, change.new),
        Change::Seen(seen) => (seen.key, seen.key),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        clock::Now,
        credential::{history::Seen, token::Generation},
    };

    fn change(number: usize) -> Arc<Change> {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        let (generation, expires_wall) = (Generation(1), Duration::ZERO);
        Arc::new(Change::Seen(Seen {
            key: TokenKey(key),
            generation,
            expires_wall,
            revoke_for: expires_wall,
            now: Now::read(),
        }))
    }

    #[test]
    fn the_oldest_go_first_and_each_waits_once() {
        let backlog = Backlog::default();
        for number in 0..WAITING + 3 {
            backlog.push(change(number));
            backlog.push(change(number));
            assert!(backlog.len() <= WAITING);
        }
        let first = backlog.first().unwrap();
        assert_eq!(about(&first), about(&change(3)));
        backlog.done(&change(3));
        assert_eq!(backlog.len(), WAITING, "that was not the one that waits");
        backlog.done(&first);
        assert_eq!(about(&backlog.first().unwrap()), about(&change(4)));
        backlog.push(change(3));
        assert_eq!(backlog.len(), WAITING, "one that is written may wait again");
    }
}
