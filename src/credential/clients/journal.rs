//! What a client's credential writes down when it has a new token, and where it is found from then on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering};
use std::time::Duration;

use super::{Clients, Common, Tenancy};
use crate::{
    clock::{self, Now},
    config::SecretText,
    credential::{
        history::TokenKey,
        service::Credential,
        store::{self, Supersede},
        token::Token,
    },
};

/// A new token that cannot be written down is tried to be for so many times at the most, a second apart.
const ATTEMPTS: u32 = 5;

/// What a client's credential writes down, and where it is found.
pub struct Journal {
    pub(super) tenancy: Arc<Tenancy>,
    pub(super) clients: Weak<Clients>,
    pub(super) identity: SecretText,
    /// Of its current token, or of its identity.
    pub(super) key: Mutex<TokenKey>,
    /// Is it found by its token? Else by its identity alone, and nothing is to be written down.
    pub(super) follows_tokens: bool,
}

impl Journal {
    /// A token has taken the place of another: written down, and the credential is found by it.
    pub(in crate::credential) async fn superseded(
        &self,
        credential: &Arc<Credential>,
        old: &Token,
        new: &Token,
        now: Now,
    ) {
        let Some(clients) = self.clients.upgrade().filter(|_| self.follows_tokens) else { return };
        if old.generation == new.generation {
            return;
        }
        if !self.tenancy.proven.swap(true, Ordering::AcqRel) {
            credential.set_active(true);
        }
        let Common { store: kept, route, .. } = &clients.common;
        let terms = clients.common.terms.load_full();
        let (grace, revoke_for) = (terms.grace, terms.revoke_for);
        let new_key = kept.key(route, &self.identity, new.expose());
        let old_key = std::mem::replace(&mut *self.key(), new_key);
        {
            // By both keys, so that anyone who comes now finds it, no matter which standing is read.
            let mut live = clients.live();
            if let Some(tenant) = live.tenants.get(&old_key).cloned() {
                live.tenants.entry(new_key).or_insert(tenant);
            }
        }
        let change = || Supersede {
            old: old_key,
            old_text: old.expose(),
            new: new_key,
            new_text: new.expose(),
            generation: new.generation,
            expires_wall: new.expires_wall,
            grace,
            revoke_for,
            now,
        };
        let until = now.mono + kept_back(old, grace, now);
        let mut written = false;
        for attempt in 1..=ATTEMPTS {
            // Once at least it has the time to answer.
            let deadline = until.max(clock::now() + Duration::from_secs(1));
            let Err(error) = store::by(deadline, kept.supersede(change())).await else {
                written = true;
                break;
            };
            let again = clock::now() + Duration::from_secs(1);
            let (name, last) = (credential.name(), attempt == ATTEMPTS || again > until);
            tracing::error!(route, credential = name, %error, last, "a new token could not be written down");
            if last {
                break;
            }
            tokio::time::sleep_until(again).await;
        }
        let (name, generation) = (credential.name(), old.generation);
        let (generation, served_for_ms) = (generation.0, clock::milliseconds(grace));
        // Not written down, it is revoked for as long as this process lives.
        tracing::info!(route, credential = name, generation, served_for_ms, written, "token revoked");
        if new_key != old_key {
            clients.live().take_out(&old_key, credential);
        }
    }

    /// Ends the credential where nobody is on it any more; is that so?
    pub(in crate::credential) fn retire(&self, credential: &Arc<Credential>) -> bool {
        let Some(clients) = self.clients.upgrade() else { return true };
        let mut live = clients.live();
        let empty = self.tenancy.leases.load(Ordering::Acquire) == 0;
        if empty {
            live.take_out(&self.key(), credential);
        }
        empty
    }

    fn key(&self) -> MutexGuard<'_, TokenKey> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a new token that cannot be written down is kept back at the most: a quarter of the time that the old one
/// is still good for, by its own end and by the grace that a service has for it, which is about ours.
pub(super) fn kept_back(old: &Token, grace: Duration, now: Now) -> Duration {
    old.remaining(now).map_or(grace, |left| left.min(grace)) / 4
}
