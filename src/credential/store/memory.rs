//! The store that ends with the process.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    StoreError,
    index::{Index, new_key},
    keys::Keys,
};
use crate::{
    clock::Now,
    credential::history::{Change, Changes, History, Record, TokenKey},
};

/// So much is swept at once.
const SWEPT: usize = 1024;

/// A history in memory.
pub(super) struct Memory {
    index: Index,
    /// Held by who changes it, from the draft to the change.
    turn: Mutex<()>,
    grants: Grants,
    /// Answers no change: a test says so.
    #[cfg(test)]
    pub(super) stalls: std::sync::atomic::AtomicBool,
    /// Takes no grant: a test says so.
    #[cfg(test)]
    pub(super) refuses: std::sync::atomic::AtomicBool,
}

/// The newest grant of each lineage, sealed. There are as many as the configuration had secrets since the start.
#[derive(Default)]
pub(super) struct Grants(Mutex<HashMap<TokenKey, (u64, Vec<u8>)>>);

impl Grants {
    pub(super) fn get(&self, key: &TokenKey) -> Option<Vec<u8>> {
        self.kept().get(key).map(|(_, sealed)| sealed.clone())
    }

    pub(super) fn put(&self, key: TokenKey, number: u64, sealed: Vec<u8>) {
        let mut kept = self.kept();
        if kept.get(&key).is_none_or(|(known, _)| *known <= number) {
            kept.insert(key, (number, sealed));
        }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<TokenKey, (u64, Vec<u8>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    pub(super) fn new(history_bytes: usize) -> Result<Self, StoreError> {
        Ok(Self::with_keys(Keys::without_secret(&new_key()?), history_bytes))
    }

    /// One whose keys others make too.
    pub(super) fn with_keys(keys: Keys, history_bytes: usize) -> Self {
        let history = History::new(history_bytes, Now::read());
        Self {
            index: Index::new(keys, history),
            turn: Mutex::new(()),
            grants: Grants::default(),
            #[cfg(test)]
            stalls: Default::default(),
            #[cfg(test)]
            refuses: Default::default(),
        }
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn grants(&self) -> &Grants {
        &self.grants
    }

    pub(super) fn take(&self, change: &Change) {
        self.change(change.now(), || (self.index.draw_up(std::slice::from_ref(change)), ()));
    }

    /// Takes in what others wrote down.
    pub(super) fn learn<'r>(
        &self,
        records: impl Iterator<Item = (&'r TokenKey, &'r [u8])>,
        read: impl Fn(&[u8], &History, Now) -> Option<Record>,
        now: Now,
    ) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.index.learn(records, read, now);
    }

    pub(super) fn sweep(&self, now: Now) {
        while !self.change(now, || self.index.draw_up_sweep(now, SWEPT)) {}
    }

    fn change<T>(&self, now: Now, draw_up: impl FnOnce() -> (Changes, T)) -> T {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (changes, answer) = draw_up();
        self.index.apply(changes, now);
        answer
    }
}
