//! The sessions that live: how they are woken all at once, and what is asked of all of them.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::task::AtomicWaker;
use slab::Slab;

use super::{caller::Caller, parking::Whereabouts, places::Permit};
use crate::{
    clock::{self, Instant},
    net::link::Link,
    telemetry::SessionState,
};

/// A newer token is current.
pub(super) const TOKEN: u16 = 1;
/// The sidecar is going away.
pub(super) const DRAIN: u16 = 2;
/// The client that went away is back.
pub(super) const BACK: u16 = 4;
/// The source has refused for good, and no token is left.
pub(super) const HOPELESS: u16 = 8;
/// An operator practises: each is one of [`Practice`].
pub(super) const REAUTHENTICATE: u16 = 16;
pub(super) const DROP: u16 = 32;
pub(super) const EXPIRE: u16 = 64;
/// Somebody came who may be the client, without its connection: is it still there?
pub(super) const THERE: u16 = 128;
/// An operator closes it.
pub(super) const CLOSE: u16 = 256;
/// A value from outside has been replaced.
pub(super) const VALUE: u16 = 512;

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
#[derive(Debug)]
pub(super) struct Handle {
    /// Its name in the log, and where its client first connected from.
    pub(super) caller: Caller,
    /// The name of its credential, if it has one.
    pub(super) credential: Option<Arc<str>>,
    pub(super) opened: Instant,
    pub(super) waker: AtomicWaker,
    flags: AtomicU16,
    /// A [`SessionState`], as a number.
    state: AtomicU8,
    /// Of the token that the upstream was last authenticated with.
    pub(super) generation: AtomicU64,
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
    /// Of a session that begins.
    pub(super) fn new(caller: Caller, credential: Option<Arc<str>>, now: Instant) -> Self {
        Self {
            caller,
            credential,
            opened: now,
            waker: AtomicWaker::new(),
            flags: AtomicU16::default(),
            state: AtomicU8::new(SessionState::Opening as u8),
            generation: AtomicU64::default(),
            whereabouts: Whereabouts::default(),
            expires: AtomicU64::default(),
            holds_since: AtomicU64::default(),
            held: AtomicU64::default(),
            returned: Mutex::default(),
        }
    }

    /// Where the session is.
    pub(super) fn state(&self) -> SessionState {
        let known = usize::from(self.state.load(Ordering::Relaxed));
        SessionState::ALL.get(known).copied().unwrap_or(SessionState::Closing)
    }

    pub(super) fn set_state(&self, state: SessionState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// Says something to the session, and wakes it.
    pub(super) fn say(&self, flag: u16) {
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
    pub(super) fn heard(&self) -> u16 {
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
    pub(super) fn enter(self: &Arc<Self>, handle: Handle, permit: Permit) -> Place {
        let handle = Arc::new(handle);
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
        let mut handles = self.all();
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

    /// All of them, at this moment. The lock is held for no longer than it takes to copy their pointers.
    pub(super) fn all(&self) -> Vec<Arc<Handle>> {
        self.lock().iter().map(|(_, handle)| Arc::clone(handle)).collect()
    }

    /// How long its client's messages have been held by a session, if they are.
    pub(super) fn holds_for(&self, handle: &Handle, now: Instant) -> Option<Duration> {
        let since = handle.holds_since.load(Ordering::Relaxed);
        (since > 0).then(|| Duration::from_millis(self.stamp(now).saturating_sub(since)))
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

/// A test's session, which nobody asked for.
#[cfg(test)]
impl Default for Handle {
    fn default() -> Self {
        Self::new(Caller::new(std::net::SocketAddr::from(([127, 0, 0, 1], 1)).into()), None, clock::now())
    }
}
