//! Where upstreams wait for clients that went away: found again by whose they are, and what was asked for.
//!
//! ```text
//!   handshake ─► find: sessions of the same credential and target
//!                  │ one whose client is away ──────────► claimed
//!                  └ all others: is your client there? ─┬ it answers a Ping ─► its own client's, as before
//!                                                       └ it does not: parked ─► claimed
//!   claimed ─► 101, as the service once answered ─► the session has its client's new socket
//! ```
//!
//! A client whose network changed connects again before anybody has noticed the loss. So a session is asked.
//!
//! Rules:
//! 1. A session is claimed once, by who has a token of the same credential. If two sessions of one credential and
//!    target were there at the same time, nothing tells whose is whose: neither is handed over, and that is counted.
//! 2. One that was asked always answers ([`crate::net::Liveness::answers_by`]). Who asks waits for half of its time
//!    at most: the service may have to be dialled in the rest.
//! 3. A session that is over when its client's socket comes leaves that client with a Close, and never hanging.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use http::{HeaderMap, header};
use tokio::sync::Notify;

use super::{
    driver::Driver,
    leg::Leg,
    sessions::{self, Handle},
};
use crate::{
    clock::{self, Instant},
    credential::Credential,
    session::Action,
};

/// How many sessions are asked at most, of those that could be meant.
const MOST_ASKED: usize = 8;

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

/// Where a session's client is.
#[derive(Debug, Default)]
pub(super) struct Whereabouts(AtomicU8);

impl Whereabouts {
    const HERE: u8 = 0;
    /// The session finds it out.
    const ASKED: u8 = 1;
    const AWAY: u8 = 2;

    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::Acquire) == state
    }

    /// Its client is the one that came, from now on.
    fn claim(&self) -> bool {
        self.change(Self::AWAY, Self::HERE)
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The sessions of one route that are kept for their clients.
#[derive(Debug, Default)]
pub(super) struct Lot {
    sessions: Mutex<HashMap<Key, Group>>,
    /// A client went away, or showed that it is there.
    changed: Notify,
}

/// The sessions of one credential and target.
#[derive(Debug, Default)]
struct Group {
    kept: Vec<Kept>,
    /// There was more than one at the same time.
    ambiguous: bool,
}

/// What became of the search for a session.
#[derive(Debug)]
pub(super) enum Found {
    Session(Kept),
    /// There are some, and whose they are is not clear.
    Ambiguous,
    None,
}

/// A session, for a client that comes back.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) handle: Arc<Handle>,
    /// What the service answered to the first handshake.
    pub(super) answer: Arc<HeaderMap>,
}

impl Lot {
    /// The session of a client that went away, or that vanished and nobody knows it yet. `fits` says if the
    /// subprotocol that the service once chose is one that the client offers now.
    pub(super) async fn find(
        &self,
        key: &Key,
        fits: impl Fn(Option<&str>) -> bool,
        deadline: Instant,
    ) -> Found {
        let chosen = |answer: &HeaderMap| {
            fits(answer.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok()))
        };
        let mut meant = match self.lock().get(key) {
            None => return Found::None,
            Some(group) if group.ambiguous => return Found::Ambiguous,
            Some(group) => group.kept.clone(),
        };
        meant.retain(|kept| chosen(&kept.answer));
        if !meant.iter().any(|kept| kept.handle.whereabouts.is(Whereabouts::AWAY)) {
            meant.truncate(MOST_ASKED);
            for kept in &meant {
                if kept.handle.whereabouts.change(Whereabouts::HERE, Whereabouts::ASKED) {
                    kept.handle.say(sessions::THERE);
                }
            }
        }
        // Rule 2.
        let now = clock::now();
        let until = now + deadline.saturating_duration_since(now) / 2;
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(at) = meant.iter().position(|kept| kept.handle.whereabouts.claim()) {
                return Found::Session(meant.swap_remove(at));
            }
            if !meant.iter().any(|kept| kept.handle.whereabouts.is(Whereabouts::ASKED)) {
                return Found::None;
            }
            if tokio::time::timeout_at(until, changed).await.is_err() {
                return Found::None;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Group>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's place in the lot.
#[derive(Debug)]
pub(super) struct Spot {
    lot: Arc<Lot>,
    key: Key,
    handle: Arc<Handle>,
    /// Since when the client has been asked whether it is there.
    asked: Option<Instant>,
}

impl Spot {
    pub(super) fn take(lot: &Arc<Lot>, key: Key, answer: HeaderMap, handle: &Arc<Handle>) -> Box<Self> {
        let kept = Kept { handle: Arc::clone(handle), answer: Arc::new(answer) };
        let mut sessions = lot.lock();
        let group = sessions.entry(key.clone()).or_default();
        group.ambiguous |= !group.kept.is_empty();
        group.kept.push(kept);
        drop(sessions);
        Box::new(Self { lot: Arc::clone(lot), key, handle: Arc::clone(handle), asked: None })
    }

    /// The client went away.
    pub(super) fn away(&mut self) {
        self.asked = None;
        self.handle.whereabouts.0.store(Whereabouts::AWAY, Ordering::Release);
        self.lot.changed.notify_waiters();
    }

    /// The client is there, or the session is over.
    fn answer(&mut self) {
        self.asked = None;
        self.handle.whereabouts.change(Whereabouts::ASKED, Whereabouts::HERE);
        self.lot.changed.notify_waiters();
    }
}

impl Drop for Spot {
    fn drop(&mut self) {
        let mut sessions = self.lot.lock();
        if let Some(group) = sessions.get_mut(&self.key) {
            group.kept.retain(|one| !Arc::ptr_eq(&one.handle, &self.handle));
            if group.kept.is_empty() {
                sessions.remove(&self.key);
            }
        }
        drop(sessions);
        self.answer();
    }
}

impl Driver {
    /// Somebody came who may be the client.
    pub(super) fn ask_client(&mut self, now: Instant) {
        let asks = !self.has_left() && !self.route.route.session.keepalive.is_zero();
        if asks {
            self.ping(Some(Leg::Client), self.session.sent_to_client(), now);
        }
        if let Some(spot) = &mut self.spot {
            if asks { spot.asked = Some(now) } else { spot.answer() }
        }
    }

    /// Has the client that was asked shown that it is there? If not, it went away.
    pub(super) fn look_for_client(&mut self, actions: &mut Vec<Action>, now: Instant) -> bool {
        let has_left = self.has_left();
        let Some(spot) = &mut self.spot else { return false };
        let Some(since) = spot.asked else { return false };
        // Whatever the one that was asked says of its end is enough: nobody speaks for it a second time.
        let there = if has_left { Some(true) } else { self.client.is_there(since, now) };
        let Some(there) = there else { return false };
        spot.answer();
        if !there {
            self.client_gone(actions, now);
        }
        true
    }

    /// Is it known already that the client says nothing more?
    fn has_left(&self) -> bool {
        self.dropped || self.client.close_received || self.finished.is_some()
    }

    /// When it has to have shown that.
    pub(super) fn client_answers_by(&self) -> Option<Instant> {
        let since = self.spot.as_ref()?.asked?;
        Some(self.client.liveness.answers_by(since))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_is_claimed_once_and_by_whom_it_answers() {
        let lot = Arc::<Lot>::default();
        let key = Key { credential: 1, target: "/ws?jobId=7".into() };
        let mut answer = HeaderMap::new();
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, "app".parse().unwrap());
        let find = async |key: &Key, wanted: &'static str| {
            let fits = |chosen: Option<&str>| chosen.is_some_and(|chosen| chosen.starts_with(wanted));
            matches!(lot.find(key, fits, clock::now()).await, Found::Session(_))
        };
        assert!(!find(&key, "").await, "there is none");
        let mut spot = Spot::take(&lot, key.clone(), answer, &Arc::default());
        spot.away();
        let other = Key { credential: 2, ..key.clone() };
        assert!(!find(&other, "").await, "of another credential");
        let elsewhere = Key { target: "/ws?jobId=8".into(), credential: key.credential };
        assert!(!find(&elsewhere, "").await, "for something else");
        assert!(!find(&key, "other").await, "in another protocol");
        assert!(find(&key, "app").await);
        assert!(!find(&key, "").await, "it has been claimed");
        spot.away();
        drop(spot);
        assert!(!find(&key, "").await && lot.lock().is_empty(), "it is over");
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_asked_and_claimed_if_its_client_is_away() {
        let lot = Arc::<Lot>::default();
        let key = Key { credential: 1, target: "/".into() };
        let handle = Arc::<Handle>::default();
        let mut spot = Spot::take(&lot, key.clone(), HeaderMap::new(), &handle);
        let deadline = clock::now() + Duration::from_secs(10);
        for away in [false, true] {
            let find = lot.find(&key, |_| true, deadline);
            let answer = async {
                assert_eq!(handle.heard(), sessions::THERE);
                if away { spot.away() } else { spot.answer() }
            };
            assert_eq!(matches!(tokio::join!(find, answer).0, Found::Session(_)), away);
        }
        // A session that takes its time leaves the one who asks half of its own.
        let (now, deadline) = (clock::now(), clock::now() + Duration::from_secs(10));
        assert!(matches!(lot.find(&key, |_| true, deadline).await, Found::None));
        assert_eq!(clock::now() - now, Duration::from_secs(5));
        let find = lot.find(&key, |_| true, deadline);
        assert!(matches!(tokio::join!(find, async { drop(spot) }).0, Found::None), "it ended meanwhile");
    }

    /// Two tabs on one token: a third client is none of them, as far as anybody can tell.
    #[tokio::test(start_paused = true)]
    async fn of_two_sessions_none_is_handed_over() {
        let lot = Arc::<Lot>::default();
        let key = Key { credential: 1, target: "/".into() };
        let take = || Spot::take(&lot, key.clone(), HeaderMap::new(), &Arc::default());
        let find = async || lot.find(&key, |_| true, clock::now() + Duration::from_secs(10)).await;
        let (mut one, other) = (take(), take());
        one.away();
        assert!(matches!(find().await, Found::Ambiguous));
        drop(other);
        assert!(matches!(find().await, Found::Ambiguous), "the other may be the one who comes");
        drop(one);
        let mut alone = take();
        alone.away();
        assert!(matches!(find().await, Found::Session(_)));
    }
}
