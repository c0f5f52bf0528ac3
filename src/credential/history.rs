//! Which tokens came before which: what a client is told that comes back with an old one. Pure.
//!
//! ```text
//!             superseded                grace over, or the successor superseded
//!   Current ─────────────► Superseded ──────────────────────────────────────────► Revoked ──► forgotten
//!      ▲                   (successor, sealed)                                    (revoke_for after it
//!      └ the successor                                                             was superseded)
//! ```
//!
//! 1. A token is known by its [`TokenKey`]; the history holds no token. The successor's text is sealed with the
//!    superseded token itself, and dropped when nobody may ask for it any more.
//! 2. A token is superseded once: whatever comes later does not begin its grace again, and makes it not current
//!    again, even where an issuer hands it out a second time.
//! 3. Grace ends by whichever clock says so first. Forgetting goes by the monotonic one alone, which nobody can
//!    set; after a restart both are reckoned from the wall clock.
//! 4. Asking changes nothing, so that made-up tokens cost nothing. Beyond its bound the history drops what would be
//!    forgotten soonest, and says how many.
//! 5. A change is drawn up first (`Draft`) and made afterwards (`History::apply`): a store writes it down
//!    between the two.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use super::token::Generation;
use crate::clock::{Instant, Now};

mod draft;
#[cfg(test)]
mod random;
mod record;
#[cfg(test)]
mod tests;

pub(super) use draft::{Changes, Draft};
use record::Dated;
pub(super) use record::{Moment, Record, State, Superseded, millis};

/// Stands for a token: a keyed hash, from which nobody gets back to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenKey(pub(super) [u8; 32]);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How a token stands. `T` is the text of the successor: sealed in the history, unsealed by the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing<T> {
    /// Never seen, or forgotten: the service's to judge.
    Unknown,
    /// The newest of its credential, as far as is known.
    Current {
        generation: Generation,
        /// When it ends, on the wall clock, to the millisecond.
        expires_wall: Option<Duration>,
    },
    /// Superseded, and still taken: to be served with its successor.
    Grace {
        text: T,
        successor: TokenKey,
        /// Of the successor.
        generation: Generation,
        /// When the successor ends, on the wall clock, to the millisecond.
        expires_wall: Option<Duration>,
    },
    /// Superseded for longer than its grace, or twice.
    Revoked,
}

/// `new` takes the place of `old`.
pub(super) struct Supersession {
    pub(super) old: TokenKey,
    pub(super) new: TokenKey,
    /// The text of `new`, which only the token `old` unseals.
    pub(super) sealed: Arc<[u8]>,
    /// Of `new`.
    pub(super) generation: Generation,
    /// When `new` ends, on the wall clock.
    pub(super) expires_wall: Option<Duration>,
    /// How long `old` is still taken.
    pub(super) grace: Duration,
    /// How long `old` is remembered.
    pub(super) revoke_for: Duration,
    pub(super) now: Now,
}

/// A token of a client's own that the service took, and whose end nobody told: it is reckoned from now on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) key: TokenKey,
    pub(super) generation: Generation,
    /// When it ends, on the wall clock.
    pub(super) expires_wall: Duration,
    pub(super) now: Now,
    /// How long it is remembered after its end: until then it is known as ended.
    pub(super) revoke_for: Duration,
}

/// What a store is told.
pub(super) enum Change {
    Superseded(Supersession),
    Seen(Seen),
}

impl Change {
    pub(super) fn now(&self) -> Now {
        match self {
            Self::Superseded(change) => change.now,
            Self::Seen(seen) => seen.now,
        }
    }
}

/// The tokens that were superseded, and those that took their place.
pub(super) struct History {
    /// What the monotonic milliseconds count from.
    origin: Instant,
    /// The most that it may take, in bytes.
    limit: usize,
    bytes: usize,
    records: HashMap<TokenKey, Record>,
    /// All of them, by when they are forgotten.
    by_forget: BTreeSet<Dated>,
    /// Those that are superseded, by when their grace ends.
    by_grace: BTreeSet<Dated>,
}

impl History {
    /// An empty one, of at most `limit` bytes.
    pub(super) fn new(limit: usize, now: Now) -> Self {
        Self {
            origin: now.mono,
            limit,
            bytes: 0,
            records: HashMap::new(),
            by_forget: BTreeSet::new(),
            by_grace: BTreeSet::new(),
        }
    }

    /// How the token stands.
    pub(super) fn standing(&self, key: &TokenKey, now: Now) -> Standing<Arc<[u8]>> {
        standing(|key| self.records.get(key), key, self.moment(now))
    }

    /// Begins a change.
    pub(super) fn draft(&self) -> Draft<'_> {
        Draft::of(self)
    }

    /// Makes a change that was drawn up on this very history.
    pub(super) fn apply(&mut self, changes: Changes) {
        for (key, record) in changes.writes {
            self.put(key, record);
        }
    }

    /// Takes in a record that was written down, its moments made by [`History::told`]. Over the bound, what would
    /// be forgotten soonest goes, be it this one.
    pub(super) fn load(&mut self, key: TokenKey, record: Record, now: Now) {
        if record.forget.is_surely_over(self.moment(now)) {
            return;
        }
        self.put(key, Some(record));
        while self.bytes > self.limit {
            let Some((_, first)) = self.by_forget.first().copied() else { return };
            self.put(first, None);
        }
    }

    /// Takes in a record that another one wrote down. What is known here stays, where it has come further; where
    /// both have come as far, theirs counts, and grace ends at the sooner of the two.
    pub(super) fn learn(&mut self, key: TokenKey, record: Record, now: Now) {
        let known = self.records.get(&key).filter(|known| !known.forget.is_surely_over(self.moment(now)));
        let learned = match known {
            None => Some(record),
            Some(known) => known.learned(record),
        };
        if let Some(record) = learned {
            self.load(key, record, now);
        }
    }

    /// The moment that was written down as `wall`.
    pub(super) fn told(&self, wall: u64, now: Now) -> Moment {
        self.moment(now).when(wall)
    }

    pub(super) fn record(&self, key: &TokenKey) -> Option<&Record> {
        self.records.get(key)
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn moment(&self, now: Now) -> Moment {
        Moment::of(now, self.origin)
    }

    fn put(&mut self, key: TokenKey, record: Option<Record>) {
        if let Some(old) = self.records.remove(&key) {
            self.bytes = self.bytes.saturating_sub(old.bytes());
            self.by_forget.remove(&(old.forget.mono, key));
            if let Some(end) = old.grace_ends() {
                self.by_grace.remove(&(end, key));
            }
        }
        if let Some(record) = record {
            self.bytes += record.bytes();
            self.by_forget.insert((record.forget.mono, key));
            if let Some(end) = record.grace_ends() {
                self.by_grace.insert((end, key));
            }
            self.records.insert(key, record);
        }
    }
}

/// How the token stands at `now`, by the records that `find` gives.
fn standing<'r>(
    find: impl Fn(&TokenKey) -> Option<&'r Record>,
    key: &TokenKey,
    now: Moment,
) -> Standing<Arc<[u8]>> {
    let live = |key: &TokenKey| find(key).filter(|record| !record.forget.is_surely_over(now));
    let Some(record) = live(key) else { return Standing::Unknown };
    match &record.state {
        State::Current { generation, expires_wall, .. } => Standing::Current {
            generation: *generation,
            expires_wall: expires_wall.map(Duration::from_millis),
        },
        State::Revoked => Standing::Revoked,
        State::Superseded(superseded) => {
            // The successor's record names its predecessors, but may have been dropped for want of room.
            let twice = live(&superseded.successor)
                .is_some_and(|next| matches!(next.state, State::Superseded(_) | State::Revoked));
            if twice || superseded.until.is_over(now) {
                return Standing::Revoked;
            }
            Standing::Grace {
                text: superseded.sealed.clone(),
                successor: superseded.successor,
                generation: superseded.generation,
                expires_wall: superseded.expires_wall.map(Duration::from_millis),
            }
        }
    }
}
