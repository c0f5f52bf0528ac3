//! The sessions that live: how they are woken all at once, and what is asked of all of them.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::task::AtomicWaker;
use slab::Slab;

use super::{parking::Whereabouts, places::Permit};
use crate::{
    clock::{self, Instant},
    net::link::Link,
};

/// A newer token is current.
pub(super) const TOKEN: u8 = 1;
/// The sidecar is going away.
pub(super) const DRAIN: u8 = 2;
/// The client that went away is back.
pub(super) const BACK: u8 = 4;
/// The source has refused for good, and no token is left.
pub(super) const HOPELESS: u8 = 8;
/// An operator practises: each is one of [`Practice`].
pub(super) const REAUTHENTICATE: u8 = 16;
pub(super) const DROP: u8 = 32;
pub(super) const EXPIRE: u8 = 64;
/// Somebody came who may be the client, without its connection: is it still there?
pub(super) const THERE: u8 = 128;

/// What an operator practises on sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Practice {
    /// The current token is shown to the service once more, in the way of the dialect.
    Reauthenticate,
    /// The upstream connection is lost.
    Drop,
    /// The token that the upstream was last authenticated with will not do any more.
    Expire,
}

/// One session's door: others may knock, nobody may enter.
#[derive(Debug, Default)]
pub(super) struct Handle {
    pub(super) waker: AtomicWaker,
    flags: AtomicU8,
    /// Where the client is, as far as `parking` knows.
    pub(super) whereabouts: Whereabouts,
    /// When the token ends that the upstream was last authenticated with: ms on the wall clock, 0 unknown.
    pub(super) expires: AtomicU64,
    /// Since when messages of its client's are held, as [`Sessions::stamp`] counts; 0: none is.
    pub(super) holds_since: AtomicU64,
    /// Bytes held, in both directions.
    pub(super) held: AtomicU64,
    /// The connection on which the client came back.
    returned: Mutex<Returned>,
}

/// What became of a client that went away.
#[derive(Debug, Default)]
enum Returned {
    #[default]
    NotYet,
    On(Box<Link>),
    /// The session is over.
    TooLate,
}

impl Handle {
    /// Says something to the session, and wakes it.
    pub(super) fn say(&self, flag: u8) {
        self.flags.fetch_or(flag, Ordering::AcqRel);
        self.waker.wake();
    }

    /// Gives the session the connection on which its client came back; it is given back where the session
    /// is over.
    pub(super) fn hand_over(&self, client: Link) -> Result<(), Box<Link>> {
        let client = Box::new(client);
        {
            let mut returned = self.returned();
            if matches!(*returned, Returned::TooLate) {
                return Err(client);
            }
            *returned = Returned::On(client);
        }
        self.say(BACK);
        Ok(())
    }

    pub(super) fn take_returned(&self) -> Option<Box<Link>> {
        let mut returned = self.returned();
        match std::mem::take(&mut *returned) {
            Returned::On(link) => Some(link),
            other @ (Returned::NotYet | Returned::TooLate) => {
                *returned = other;
                None
            }
        }
    }

    /// The session is over: who comes now is too late.
    pub(super) fn over(&self) {
        *self.returned() = Returned::TooLate;
    }

    fn returned(&self) -> MutexGuard<'_, Returned> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was said since the last time.
    pub(super) fn heard(&self) -> u8 {
        if self.flags.load(Ordering::Acquire) == 0 { 0 } else { self.flags.swap(0, Ordering::AcqRel) }
    }
}

/// The sessions of one route.
#[derive(Debug)]
pub struct Sessions {
    handles: Mutex<Slab<Arc<Handle>>>,
    began: Instant,
}

/// What a look at all sessions of a route finds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extremes {
    /// The earliest end of a token that a live upstream was last authenticated with: wall clock.
    pub oldest_expiry: Option<Duration>,
    /// How long the session that waits longest has held its client's messages.
    pub longest_hold: Option<Duration>,
    /// Bytes held by the session that holds most.
    pub fullest_queue: u64,
}

impl Extremes {
    /// Of two routes, or of one before and after a reload.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let earliest = [self.oldest_expiry, other.oldest_expiry].into_iter().flatten().min();
        Self {
            oldest_expiry: earliest,
            longest_hold: self.longest_hold.max(other.longest_hold),
            fullest_queue: self.fullest_queue.max(other.fullest_queue),
        }
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self { handles: Mutex::default(), began: clock::now() }
    }
}

/// A place among them, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    sessions: Arc<Sessions>,
    key: usize,
    pub(super) handle: Arc<Handle>,
    #[expect(dead_code, reason = "held for its Drop: one of `limits.sessions`")]
    permit: Permit,
}

impl Sessions {
    /// A place for one more.
    pub(super) fn enter(self: &Arc<Self>, permit: Permit) -> Place {
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

    /// Has so many sessions practise, at random; how many were asked, and of how many.
    pub fn practise(&self, what: Practice, how_many: impl FnOnce(usize) -> usize) -> (usize, usize) {
        let flag = match what {
            Practice::Reauthenticate => REAUTHENTICATE,
            Practice::Drop => DROP,
            Practice::Expire => EXPIRE,
        };
        let mut handles: Vec<Arc<Handle>> =
            self.lock().iter().map(|(_, handle)| Arc::clone(handle)).collect();
        let all = handles.len();
        fastrand::shuffle(&mut handles);
        let chosen = how_many(all).min(all);
        handles[..chosen].iter().for_each(|handle| handle.say(flag));
        (chosen, all)
    }

    /// What stands out among them.
    pub fn extremes(&self, now: Instant) -> Extremes {
        let handles = self.lock();
        let (mut oldest, mut since, mut fullest) = (u64::MAX, u64::MAX, 0);
        for (_, handle) in handles.iter() {
            // 0 stands for none, and becomes the largest.
            oldest = oldest.min(handle.expires.load(Ordering::Relaxed).wrapping_sub(1));
            since = since.min(handle.holds_since.load(Ordering::Relaxed).wrapping_sub(1));
            fullest = fullest.max(handle.held.load(Ordering::Relaxed));
        }
        let known = |least: u64| least.checked_add(1);
        Extremes {
            oldest_expiry: known(oldest).map(Duration::from_millis),
            longest_hold: known(since).map(|at| Duration::from_millis(self.stamp(now).saturating_sub(at))),
            fullest_queue: fullest,
        }
    }

    /// A moment as a number: milliseconds since the route was made, never 0.
    pub(super) fn stamp(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.began).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX - 1).max(1)
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Arc<Handle>>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Tells a session apart from the others of its route that live.
    pub(super) fn number(&self) -> usize {
        self.key
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.handle.over();
        self.sessions.lock().try_remove(self.key);
    }
}
