//! What outlives a session: the connection of the service's that the client may come back to.
//!
//! A client resumes with the key that it was shown. The service has issued newer ones since, and the
//! serials of that connection may be offset (see [`super::serials`]). Both are remembered here, for as
//! long as the service keeps the connection (CD2f). A key that nobody remembers is replaced by one
//! that the service cannot know: it then says a new connection id and why, and the client starts its
//! counting over. To pass it on would be worse: the service would take the client's messages for
//! repeats and drop them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::serials::Break;
use crate::clock::Instant;

/// DF1a: how long the service keeps a connection that was lost.
const TTL: Duration = Duration::from_secs(120);

/// One connection of the service's, as it must be known to whoever continues it.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The connection's id, as the client knows it.
    pub id: String,
    /// The newest key of the connection.
    pub key: String,
    pub breaks: Vec<Break>,
    /// The next serial of the client's: a client that comes back may have nothing to say for a while.
    pub next_client: u64,
    /// Nothing of Perennial's own is missing in the upstream's counting.
    pub clean: bool,
    /// The service began another connection in its place: nothing can be continued.
    pub over: bool,
    /// When the session that used it ended; `None` while it lives.
    pub ended: Option<Instant>,
}

/// A line that several keys may name.
pub(super) type SharedLine = Arc<Mutex<Line>>;

/// The lines of one route, by the keys that clients were shown.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_key: HashMap<Box<str>, SharedLine>,
    order: VecDeque<Box<str>>,
}

impl Lines {
    /// Remembers `limit` keys at most; the oldest goes first.
    pub fn new(limit: usize) -> Self {
        Self { limit, known: Mutex::default() }
    }

    /// The line that `key` names, if a client may still resume on it.
    pub(super) fn find(&self, key: &str, now: Instant) -> Option<SharedLine> {
        let line = Arc::clone(lock(&self.known).by_key.get(key)?);
        let good = {
            let line = lock(&line);
            line.clean && !line.over && line.ended.is_none_or(|at| now.saturating_duration_since(at) < TTL)
        };
        good.then_some(line)
    }

    /// A client was shown `key`.
    pub(super) fn learn(&self, key: &str, line: &SharedLine) {
        let mut known = lock(&self.known);
        if known.by_key.insert(key.into(), Arc::clone(line)).is_none() {
            known.order.push_back(key.into());
        }
        while known.order.len() > self.limit {
            if let Some(oldest) = known.order.pop_front() {
                known.by_key.remove(&oldest);
            }
        }
    }

    /// Drops what no client can come back to.
    pub(super) fn sweep(&self, now: Instant) {
        let mut known = lock(&self.known);
        while let Some(oldest) = known.order.front() {
            let gone = known.by_key.get(oldest).is_none_or(|line| {
                lock(line).ended.is_some_and(|at| now.saturating_duration_since(at) >= TTL)
            });
            if !gone {
                return;
            }
            if let Some(oldest) = known.order.pop_front() {
                known.by_key.remove(&oldest);
            }
        }
    }
}

/// Nobody panics while holding one of these; if it happened, the data is still whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
