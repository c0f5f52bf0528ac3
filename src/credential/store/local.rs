//! Who asks now, where one process has the store to itself: two routes may share a refresh token.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::grant::{LEASE, Leased, Lineage, RefreshLease};
use crate::credential::history::TokenKey;

/// The lineages whose source is being asked.
#[derive(Default)]
pub(super) struct Local(Mutex<HashSet<TokenKey>>);

/// Keeps others of this process from asking, until it is dropped.
pub(super) struct Held {
    local: Arc<Local>,
    key: TokenKey,
}

impl Local {
    pub(super) fn lease(self: &Arc<Self>, lineage: &Lineage) -> Leased {
        let key = lineage.key;
        if !self.held().insert(key) {
            return Leased::Theirs { left: LEASE };
        }
        Leased::Ours(RefreshLease::local(Held { local: Arc::clone(self), key }))
    }

    fn held(&self) -> MutexGuard<'_, HashSet<TokenKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held({:?})", self.key)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.local.held().remove(&self.key);
    }
}
