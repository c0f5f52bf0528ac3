//! What outlives a session: the service's connection, which the client may come back to.
//!
//! A client resumes with the key that it was shown. The service has issued newer ones since, and the
//! serials of that connection may be offset (see [`super::serials`]). A record keeps both for as long as the
//! service keeps the connection (CD2f). A key without a record is replaced by one that the service cannot
//! know: the service then says a new connection id and why, and the client starts its counting over. To
//! pass the key on would be worse: the service would take the client's messages for repeats and drop them.
//!
//! Rules:
//! 1. A record has one owner: the newest session that continues the connection. An older one, whose client
//!    has left it without a word, writes nothing.
//! 2. Records that no client can come back to go first.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::serials::{Break, Sent};
use crate::clock::Instant;

/// DF1a: how long the service keeps a connection that was lost.
const TTL: Duration = Duration::from_secs(120);

/// A session, among all that a route has had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Owner(u64);

/// One connection of the service's, as the next session that continues it must know it.
#[derive(Debug, Default)]
pub(super) struct ConnectionRecord {
    /// The connection's id, as the client knows it.
    pub id: String,
    /// The newest key of the connection.
    pub key: String,
    pub breaks: Vec<Break>,
    /// The client's next serial: a client that comes back may have nothing to say for a while.
    pub next_client: u64,
    /// Perennial's own messages that have no acknowledgement: they hold serials of the upstream's counting.
    pub owed: VecDeque<Sent>,
    /// The connection is closed, or the service began another in its place: nobody can continue it.
    pub over: bool,
    owner: Owner,
    /// When the session that owns it ended; `None` while it lives.
    ended: Option<Instant>,
    /// The keys that name it.
    keys: Vec<Arc<str>>,
}

impl ConnectionRecord {
    pub(super) fn is_owned_by(&self, session: Owner) -> bool {
        self.owner == session
    }

    /// Can no client come back to it any more?
    fn is_dead(&self, now: Instant) -> bool {
        self.ended.is_some_and(|at| now.saturating_duration_since(at) >= TTL)
    }
}

/// A record that several keys may name.
pub(super) type SharedRecord = Shared<Mutex<ConnectionRecord>>;

/// What several sessions share: the same if it is one and the same.
#[derive(Debug)]
pub(super) struct Shared<T>(pub(super) Arc<T>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> std::ops::Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The records of one route, by the keys that clients were shown.
#[derive(Debug)]
pub struct Records {
    limit: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_key: HashMap<Arc<str>, (u64, SharedRecord)>,
    /// The same keys in the order in which clients were shown them.
    by_age: BTreeMap<u64, Arc<str>>,
    shown: u64,
    /// Records whose session ended, and when; the earliest first.
    ended: VecDeque<(Instant, SharedRecord)>,
    sessions: u64,
}

impl Records {
    /// Keeps `limit` keys at most.
    pub fn new(limit: usize) -> Self {
        Self { limit, known: Mutex::default() }
    }

    /// A session begins.
    pub(super) fn new_owner(&self, now: Instant) -> Owner {
        let mut known = lock(&self.known);
        known.sweep(now);
        known.sessions += 1;
        Owner(known.sessions)
    }

    /// A session begins a new connection.
    pub(super) fn create(id: &str, owner: Owner) -> SharedRecord {
        let record = ConnectionRecord { id: id.to_owned(), owner, ..ConnectionRecord::default() };
        Shared(Arc::new(Mutex::new(record)))
    }

    /// The session that `key` belongs to now is `owner`, if a client may still resume with that key.
    pub(super) fn take_over(&self, key: &str, owner: Owner, now: Instant) -> Option<SharedRecord> {
        let (_, shared) = lock(&self.known).by_key.get(key).cloned()?;
        {
            let mut record = lock(&shared);
            if record.over || record.is_dead(now) {
                return None;
            }
            record.owner = owner;
            record.ended = None;
        }
        Some(shared)
    }

    /// A client was shown the record's newest key.
    pub(super) fn show_key(&self, shared: &SharedRecord) {
        let mut known = lock(&self.known);
        let key: Arc<str> = {
            let mut record = lock(shared);
            let key: Arc<str> = record.key.as_str().into();
            if record.keys.contains(&key) {
                return;
            }
            record.keys.push(Arc::clone(&key));
            key
        };
        known.shown += 1;
        let age = known.shown;
        known.by_age.insert(age, Arc::clone(&key));
        if let Some((before, _)) = known.by_key.insert(key, (age, shared.clone())) {
            known.by_age.remove(&before);
        }
        while known.by_key.len() > self.limit && known.evict() {}
    }

    /// The session that owns the record ended.
    pub(super) fn ended(&self, shared: &SharedRecord, now: Instant) {
        lock(shared).ended = Some(now);
        let mut known = lock(&self.known);
        known.ended.push_back((now, shared.clone()));
        // A client that comes and goes leaves an entry each time: they are bounded like the keys.
        if known.ended.len() > self.limit {
            known.evict_ended();
        }
    }
}

impl Known {
    /// Drops what no client can come back to.
    fn sweep(&mut self, now: Instant) {
        while self.ended.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= TTL) {
            self.evict_ended();
        }
    }

    /// Makes room for one key at least, if there is anything: those of an ended session go first.
    fn evict(&mut self) -> bool {
        if !self.ended.is_empty() {
            self.evict_ended();
            return true;
        }
        let Some((_, key)) = self.by_age.pop_first() else { return false };
        if let Some((_, shared)) = self.by_key.remove(&key) {
            lock(&shared).keys.retain(|known| *known != key);
        }
        true
    }

    /// Drops the record whose session ended first, unless a session has continued it since.
    fn evict_ended(&mut self) {
        let Some((at, shared)) = self.ended.pop_front() else { return };
        let mut record = lock(&shared);
        if record.ended != Some(at) {
            return;
        }
        for key in record.keys.drain(..) {
            if let Some((age, _)) = self.by_key.remove(&key) {
                self.by_age.remove(&age);
            }
        }
    }
}

/// A thread that panicked while it held one of these left the data whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
