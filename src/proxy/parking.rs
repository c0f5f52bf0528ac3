//! Where upstreams wait for clients that went away: found again by whose they are, and what was asked for.
//!
//! ```text
//!   driver ── Park ──► spot taken ──► claimed by a handshake of the same credential and target
//!      ▲                                  │
//!      └──── its new socket ◄── 101, as the service once answered
//! ```
//!
//! Rules: a spot is claimed once, by who has a token of the same credential. A session that is over when its
//! client's socket comes leaves that client with a Close, and never hanging.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{HeaderMap, header};

use super::sessions::Handle;
use crate::credential::Credential;

/// Whose upstream it is, and what for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The credential, which lives as long as a session is on it.
    credential: usize,
    /// Path and query, without the token.
    target: Box<str>,
}

impl Key {
    pub(super) fn new(credential: &Arc<Credential>, target: &str) -> Self {
        Self { credential: Arc::as_ptr(credential) as usize, target: target.into() }
    }
}

/// The spots of one route that are taken.
#[derive(Debug, Default)]
pub(super) struct Lot(Mutex<HashMap<Key, Vec<Waiting>>>);

/// A session that waits for its client.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) handle: Arc<Handle>,
    /// What the service answered to the first handshake.
    pub(super) answer: Arc<HeaderMap>,
}

/// A session's spot, taken while its client is away.
#[derive(Debug)]
pub(super) struct Spot {
    lot: Arc<Lot>,
    key: Key,
    answer: Arc<HeaderMap>,
    taken: Option<Arc<Handle>>,
}

impl Lot {
    /// The session that waits for this client, where its answer is one to what the client offers.
    pub(super) fn claim(&self, key: &Key, fits: impl Fn(Option<&str>) -> bool) -> Option<Waiting> {
        let mut spots = self.lock();
        let waiting = spots.get_mut(key)?;
        let chosen = |answer: &HeaderMap| {
            fits(answer.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok()))
        };
        let at = waiting.iter().position(|one| chosen(&one.answer))?;
        let claimed = waiting.swap_remove(at);
        if waiting.is_empty() {
            spots.remove(key);
        }
        Some(claimed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Waiting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spot {
    pub(super) fn new(lot: &Arc<Lot>, key: Key, answer: HeaderMap) -> Self {
        Self { lot: Arc::clone(lot), key, answer: Arc::new(answer), taken: None }
    }

    /// The session waits here from now on.
    pub(super) fn take(&mut self, handle: &Arc<Handle>) {
        self.leave();
        let waiting = Waiting { handle: Arc::clone(handle), answer: Arc::clone(&self.answer) };
        self.lot.lock().entry(self.key.clone()).or_default().push(waiting);
        self.taken = Some(Arc::clone(handle));
    }

    /// It no longer does: it is over, or its client is back.
    pub(super) fn leave(&mut self) {
        let Some(handle) = self.taken.take() else { return };
        let mut spots = self.lot.lock();
        if let Some(waiting) = spots.get_mut(&self.key) {
            waiting.retain(|one| !Arc::ptr_eq(&one.handle, &handle));
            if waiting.is_empty() {
                spots.remove(&self.key);
            }
        }
    }
}

impl Drop for Spot {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spot_is_claimed_once_and_by_whom_it_answers() {
        let lot = Arc::<Lot>::default();
        let key = Key { credential: 1, target: "/ws?jobId=7".into() };
        let mut answer = HeaderMap::new();
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, "app".parse().unwrap());
        let mut spot = Spot::new(&lot, key.clone(), answer);
        let any = |_: Option<&str>| true;
        assert!(lot.claim(&key, any).is_none(), "nobody is away");
        spot.take(&Arc::default());
        let other = Key { credential: 2, ..key.clone() };
        assert!(lot.claim(&other, any).is_none(), "of another credential");
        let elsewhere = Key { target: "/ws?jobId=8".into(), credential: key.credential };
        assert!(lot.claim(&elsewhere, any).is_none(), "for something else");
        assert!(lot.claim(&key, |chosen| chosen == Some("other")).is_none(), "in another protocol");
        assert!(lot.claim(&key, |chosen| chosen == Some("app")).is_some());
        assert!(lot.claim(&key, any).is_none(), "it has been claimed");
        spot.take(&Arc::default());
        drop(spot);
        assert!(lot.claim(&key, any).is_none() && lot.lock().is_empty(), "it is over");
    }
}
