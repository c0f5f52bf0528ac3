//! The sessions that live: how they are woken all at once, and what is asked of all of them.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

use futures_util::task::AtomicWaker;
use slab::Slab;
use tokio::sync::OwnedSemaphorePermit;

/// A newer token is current.
pub(super) const TOKEN: u8 = 1;
/// The sidecar is going away.
pub(super) const DRAIN: u8 = 2;

/// One session's door: others may knock, nobody may enter.
#[derive(Debug, Default)]
pub(super) struct Handle {
    pub(super) waker: AtomicWaker,
    flags: AtomicU8,
    /// When the token ends that the upstream was last authenticated with: ms on the wall clock, 0 unknown.
    pub(super) expires: AtomicU64,
}

impl Handle {
    /// Says something to the session, and wakes it.
    pub(super) fn say(&self, flag: u8) {
        self.flags.fetch_or(flag, Ordering::AcqRel);
        self.waker.wake();
    }

    /// What was said since the last time.
    pub(super) fn heard(&self) -> u8 {
        if self.flags.load(Ordering::Acquire) == 0 { 0 } else { self.flags.swap(0, Ordering::AcqRel) }
    }
}

/// The sessions of one route.
#[derive(Debug, Default)]
pub struct Sessions {
    handles: Mutex<Slab<Arc<Handle>>>,
}

/// A place among them, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    sessions: Arc<Sessions>,
    key: usize,
    pub(super) handle: Arc<Handle>,
    #[expect(dead_code, reason = "held for its Drop: one of `limits.sessions`")]
    permit: OwnedSemaphorePermit,
}

impl Sessions {
    /// A place for one more.
    pub(super) fn enter(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        let handle = Arc::new(Handle::default());
        let key = self.lock().insert(Arc::clone(&handle));
        Place { sessions: Arc::clone(self), key, handle, permit }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// A newer token is current: each session looks for itself.
    pub fn wake_for_token(&self) {
        self.lock().iter().for_each(|(_, handle)| handle.say(TOKEN));
    }

    /// Ends a part of the sessions, the `index`-th of `parts`; how many.
    pub fn drain(&self, index: usize, parts: usize) -> usize {
        let handles = self.lock();
        let part = handles.iter().filter(|(key, _)| key % parts.max(1) == index);
        part.map(|(_, handle)| handle.say(DRAIN)).count()
    }

    /// The earliest end of a token that a live upstream was last authenticated with: ms, wall clock.
    pub fn oldest_expiry(&self) -> Option<u64> {
        let handles = self.lock();
        let known = handles.iter().map(|(_, handle)| handle.expires.load(Ordering::Relaxed));
        known.filter(|at| *at > 0).min()
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Arc<Handle>>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sessions.lock().try_remove(self.key);
    }
}
