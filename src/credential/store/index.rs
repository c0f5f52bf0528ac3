//! The history as every store has it: in memory, with the store's key, read by many and changed by one.

use std::{
    sync::{Mutex, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use aws_lc_rs::{hmac, rand};

use super::{
    Lineage, StoreError,
    keys::{Keys, Sealing},
    seal,
};
use crate::{
    clock::{Instant, Now},
    config::SecretText,
    credential::{
        hash::hashed,
        history::{Change, Changes, History, Record, Standing, TokenKey},
    },
};

/// So many records at most are swept with a change, beside what it needs itself.
const SWEPT: usize = 64;

/// No more than one warning in this time.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// The key with which a store makes its keys of tokens.
pub(super) type StoreKey = [u8; 32];

pub(super) fn new_key() -> Result<StoreKey, StoreError> {
    let mut key = [0; 32];
    rand::fill(&mut key).map_err(|_| StoreError::NoRandomBytes)?;
    Ok(key)
}

fn key(names: &hmac::Key, scope: &str, identity: &str, token: &str) -> TokenKey {
    TokenKey(hashed(names, &[scope.as_bytes(), identity.as_bytes(), token.as_bytes()]))
}

/// What is in memory.
pub(crate) struct Index {
    keys: Keys,
    history: RwLock<History>,
    crowded: Mutex<Spaced>,
}

/// How many there were since it was last said.
#[derive(Default)]
pub(super) struct Spaced {
    count: usize,
    said: Option<Instant>,
}

impl Index {
    pub(super) fn new(keys: Keys, history: History) -> Self {
        Self { keys, history: RwLock::new(history), crowded: Mutex::default() }
    }

    pub(super) fn key(&self, scope: &str, identity: &str, token: &str) -> TokenKey {
        key(&self.keys.now.names, scope, identity, token)
    }

    /// What stood for it under the secret before this one.
    pub(super) fn key_before(&self, scope: &str, identity: &str, token: &str) -> Option<TokenKey> {
        self.keys.before.as_ref().map(|pair| key(&pair.names, scope, identity, token))
    }

    pub(super) fn lineage(&self, scope: &str, secret: &[u8]) -> Lineage {
        let key = |names| TokenKey(hashed(names, &[b"lineage", scope.as_bytes(), secret]));
        let before = self.keys.before.as_ref().map(|pair| (key(&pair.names), pair.sealing.clone()));
        Lineage::new(key(&self.keys.now.names), self.keys.now.sealing.clone(), before, secret)
    }

    /// With what is sealed now.
    pub(super) fn sealing(&self) -> &Sealing {
        &self.keys.now.sealing
    }

    pub(super) fn standing(&self, key: &TokenKey, presented: &str, now: Now) -> Standing<SecretText> {
        let standing = self.history().standing(key, now);
        match standing {
            Standing::Unknown => Standing::Unknown,
            Standing::Current { generation, expires_wall } => Standing::Current { generation, expires_wall },
            Standing::Revoked => Standing::Revoked,
            Standing::Grace { text, successor, generation, expires_wall } => {
                let sealings = [Some(&self.keys.now), self.keys.before.as_ref()].into_iter().flatten();
                let unseal = |sealing| seal::unseal(sealing, key, presented, &successor, &text);
                match sealings.map(|pair| &pair.sealing).find_map(unseal) {
                    Some(text) => Standing::Grace { text, successor, generation, expires_wall },
                    // Superseded it is; with what, nobody can tell any more.
                    None => Standing::Revoked,
                }
            }
        }
    }

    /// What these changes come to, one after another, with a little sweeping.
    pub(super) fn draw_up(&self, changes: &[Change]) -> Changes {
        let history = self.history();
        let mut draft = history.draft();
        for change in changes {
            match change {
                Change::Superseded(change) => draft.supersede(change),
                Change::Seen(seen) => draft.seen(seen),
            }
        }
        if let Some(last) = changes.last() {
            draft.sweep(last.now(), SWEPT);
        }
        draft.trim();
        draft.changes()
    }

    /// What sweeping comes to, `at_most` so much of it, and whether that is all.
    pub(super) fn draw_up_sweep(&self, now: Now, at_most: usize) -> (Changes, bool) {
        let history = self.history();
        let mut draft = history.draft();
        let all = draft.sweep(now, at_most);
        draft.trim();
        (draft.changes(), all)
    }

    /// Makes changes that were drawn up here, with no other made in between.
    pub(super) fn apply(&self, changes: Changes, now: Now) {
        self.count(changes.evicted, now);
        self.history.write().unwrap_or_else(PoisonError::into_inner).apply(changes);
    }

    /// Takes in records that others wrote down; each is made by `read`, which knows how they did.
    pub(super) fn learn<'r>(
        &self,
        records: impl Iterator<Item = (&'r TokenKey, &'r [u8])>,
        read: impl Fn(&[u8], &History, Now) -> Option<Record>,
        now: Now,
    ) {
        let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
        for (key, raw) in records {
            if let Some(record) = read(raw, &history, now) {
                history.learn(*key, record, now);
            }
        }
    }

    pub(super) fn history(&self) -> RwLockReadGuard<'_, History> {
        self.history.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, evicted: usize, now: Now) {
        let mut crowded = self.crowded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(forgotten) = crowded.due(evicted, now.mono) {
            tracing::warn!(
                forgotten,
                "more tokens are superseded than there is room for: the oldest are forgotten before their time; \
                 raise history in [limits]"
            );
        }
    }
}

impl Spaced {
    /// How many there were since it was last said, where it is time to say so again.
    pub(super) fn due(&mut self, more: usize, now: Instant) -> Option<usize> {
        self.count += more;
        let soon = self.said.is_some_and(|said| now.saturating_duration_since(said) < BETWEEN_WARNINGS);
        if more == 0 || soon {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn what_goes_for_want_of_room_is_said_once_a_minute_and_in_full() {
        let (mut crowded, now) = (Spaced::default(), clock::now());
        assert_eq!(crowded.due(0, now), None);
        assert_eq!(crowded.due(3, now), Some(3));
        assert_eq!(crowded.due(4, now + BETWEEN_WARNINGS / 2), None);
        assert_eq!(crowded.due(0, now + BETWEEN_WARNINGS), None, "nothing went just now");
        assert_eq!(crowded.due(1, now + BETWEEN_WARNINGS), Some(5));
    }
}
