//! The store that ends with the process.

use std::sync::{Mutex, PoisonError};

use super::{
    StoreError,
    index::{Index, new_key},
};
use crate::{
    clock::Now,
    credential::history::{Change, Changes, History},
};

/// So much is swept at once.
const SWEPT: usize = 1024;

/// A history in memory.
pub struct Memory {
    index: Index,
    /// Held by who changes it, from the draft to the change.
    turn: Mutex<()>,
}

impl Memory {
    pub(super) fn new(history_bytes: usize) -> Result<Self, StoreError> {
        let history = History::new(history_bytes, Now::read());
        Ok(Self { index: Index::new(&new_key()?, history), turn: Mutex::new(()) })
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn take(&self, change: &Change) {
        self.change(change.now(), || (self.index.draw_up(std::slice::from_ref(change)), ()));
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
