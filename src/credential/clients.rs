//! Each client's own credential: found by the token it shows, and refreshed while somebody is on it.
//!
//! ```text
//!   a client shows T ──► standing of T? ── revoked ──► turned away, nothing is dialled
//!                           │ current, or superseded within its grace, or never seen
//!                           ▼
//!                 live: key of the current token ──► tenant ── leases: its sessions
//!                           ▲                          │
//!                 journal ──┘ a new token: written down, then found by its own key
//! ```
//!
//! 1. Two clients that show one token, or tokens of one lineage, are on one credential, however they arrive.
//! 2. A token that was never seen is the service's to judge: nothing is remembered of it before a refresh.
//! 3. A credential ends when the last session has left it and no answer is under way. What is to outlive it
//!    is in the store.
//! 4. A new token is durable before it is used; but it is not kept back until the one before it is of no use.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    history::{Standing, TokenKey},
    keeper::Life,
    service::{Begin, Credential, Observer, Spec},
    source::{ClientValues, Issued, Source, answer},
    store::{Store, StoreError},
    supply::Supply,
    token::{Generation, Token},
};
use crate::{
    clock::{Instant, Now},
    config::{RefreshPolicy, SecretText},
};

mod journal;
mod shared;

pub use journal::Journal;
pub use shared::SharedClient;

/// What the clients of one route have in common.
pub struct Common {
    pub route: String,
    /// As the configuration has them now.
    pub terms: ArcSwap<Terms>,
    pub observer: Arc<dyn Observer>,
    pub store: Arc<Store>,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

/// What a reload may change.
#[derive(Debug)]
pub struct Terms {
    pub source: Arc<Source>,
    pub policy: RefreshPolicy,
    pub grace: Duration,
    pub revoke_for: Duration,
}

/// The credentials of one route's clients.
pub struct Clients {
    common: Common,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    /// By the key of the current token; for a moment also by that of the one before.
    tenants: HashMap<TokenKey, Arc<Tenant>>,
    /// Counts what was taken out: who looked before has to look again.
    removed: u64,
}

/// A credential, and who is on it.
#[derive(Debug)]
struct Tenant {
    credential: Arc<Credential>,
    tenancy: Arc<Tenancy>,
    identity: SecretText,
    /// Is it found by its token? Else by its identity alone.
    follows_tokens: bool,
}

#[derive(Debug)]
struct Tenancy {
    /// Sessions; changed under the lock of [`Live`].
    leases: AtomicUsize,
    /// The service has taken a token of it, or the source has renewed one.
    proven: AtomicBool,
    /// It began with a token that a client showed.
    adopted: bool,
    /// The token that it began with, if nobody told when that ends.
    reckoned: Option<TokenKey>,
}

impl Tenancy {
    /// Is its token kept fresh? What a client showed, and nobody has vouched for, may be made up.
    fn is_kept(&self) -> bool {
        !self.adopted || self.proven.load(Ordering::Acquire)
    }
}

/// Who comes.
#[derive(Debug)]
pub struct Visitor<'a> {
    /// The token that it shows; `None` where the route knows its clients by their identity alone.
    pub token: Option<&'a str>,
    /// What makes two clients the same, beside the token.
    pub identity: &'a str,
    /// What the templates of the source name.
    pub values: ClientValues,
}

/// Why a client has no credential.
#[derive(Debug, thiserror::Error)]
pub enum NotServed {
    #[error("Token expired")]
    Expired,
    #[error("Token malformed")]
    Malformed,
    #[error("the store of revoked tokens cannot be read: {0}")]
    Store(#[from] StoreError),
}

/// A session's part in a credential; given back when it is dropped.
#[derive(Debug)]
pub struct Lease {
    credential: Arc<Credential>,
    member: Option<Member>,
}

#[derive(Debug)]
struct Member {
    clients: Arc<Clients>,
    tenant: Arc<Tenant>,
}

impl Clients {
    /// Nobody's yet.
    pub fn new(common: Common) -> Arc<Self> {
        Arc::new(Self { common, live: Mutex::default() })
    }

    /// The credential of a client, with the token that it is served with.
    pub async fn enter(self: &Arc<Self>, visitor: Visitor<'_>, now: Now) -> Result<Lease, NotServed> {
        let (store, scope) = (&self.common.store, &*self.common.route);
        let shown = visitor.token.unwrap_or_default();
        let key = store.key(scope, visitor.identity, shown);
        loop {
            let seen = self.live().removed;
            let standing = match visitor.token {
                Some(token) => store.standing_of((scope, visitor.identity, token), now).await?,
                None => Standing::Unknown,
            };
            let Found { key, begin, proven } = found(standing, key, visitor.token)?;
            let mut live = self.live();
            if let Some(tenant) = live.tenants.get(&key) {
                let tenant = Arc::clone(tenant);
                tenant.credential.set_values(visitor.values);
                return Ok(self.lease(tenant, &live));
            }
            if live.removed != seen {
                // Its credential may have ended, or gone on to another token, since its standing was read.
                continue;
            }
            if let Begin::Adopt { issued, .. } = &begin
                && issued.life.from(now).is_some_and(|left| left.is_zero())
            {
                return Err(NotServed::Expired);
            }
            let tenant = self.begin(key, &visitor, begin, proven);
            tenant.credential.set_values(visitor.values);
            live.tenants.insert(key, Arc::clone(&tenant));
            return Ok(self.lease(tenant, &live));
        }
    }

    fn begin(
        self: &Arc<Self>,
        key: TokenKey,
        visitor: &Visitor<'_>,
        begin: Begin,
        proven: bool,
    ) -> Arc<Tenant> {
        let common = &self.common;
        let untold = matches!(&begin, Begin::Adopt { issued, .. } if issued.life == Life::Unknown);
        let reckoned = untold.then_some(key);
        let adopted = matches!(begin, Begin::Adopt { .. });
        let (leases, proven) = (AtomicUsize::new(0), AtomicBool::new(proven));
        let tenancy = Tenancy { leases, proven, adopted, reckoned };
        let tenancy = Arc::new(tenancy);
        let journal = Journal {
            tenancy: Arc::clone(&tenancy),
            clients: Arc::downgrade(self),
            identity: visitor.identity.into(),
            key: Mutex::new(key),
            follows_tokens: visitor.token.is_some(),
        };
        let terms = common.terms.load_full();
        let supply = self.supply(&terms, visitor.identity, visitor.token.is_some());
        let spec = Spec {
            route: common.route.clone(),
            identity: format!("{}\n{}", visitor.identity, visitor.token.unwrap_or_default()).into(),
            begin,
            supply,
            policy: terms.policy.clone(),
            seed: fastrand::u64(..),
            observer: Arc::clone(&common.observer),
            journal: Some(journal),
        };
        let credential = Credential::spawn(spec, &common.tasks, common.stop.clone());
        let (identity, follows_tokens) = (visitor.identity.into(), visitor.token.is_some());
        Arc::new(Tenant { credential, tenancy, identity, follows_tokens })
    }

    fn supply(&self, terms: &Terms, identity: &str, follows_tokens: bool) -> Supply {
        let (common, source) = (&self.common, Arc::clone(&terms.source));
        if !common.store.is_shared() || !follows_tokens || !source.is_worth_sharing() {
            return Supply::Source(source);
        }
        Supply::Client(Arc::new(SharedClient {
            scope: common.route.clone(),
            identity: identity.into(),
            source,
            store: Arc::clone(&common.store),
            held: Mutex::default(),
        }))
    }

    /// Has each handshake a credential of its own?
    pub fn are_once(&self) -> bool {
        self.common.terms.load().policy.once
    }

    /// The configuration was read again: who is here and who comes is served under these terms.
    pub fn reconfigure(&self, terms: Terms) {
        let terms = Arc::new(terms);
        self.common.terms.store(Arc::clone(&terms));
        for tenant in self.live().tenants.values() {
            let supply = self.supply(&terms, &tenant.identity, tenant.follows_tokens);
            tenant.credential.resupply(supply, terms.policy.clone());
        }
    }

    fn lease(self: &Arc<Self>, tenant: Arc<Tenant>, _live: &MutexGuard<'_, Live>) -> Lease {
        if tenant.tenancy.leases.fetch_add(1, Ordering::AcqRel) == 0 {
            tenant.credential.set_active(tenant.tenancy.is_kept());
        }
        let credential = Arc::clone(&tenant.credential);
        Lease { credential, member: Some(Member { clients: Arc::clone(self), tenant }) }
    }

    /// Writes down when a client's own token ends. Nobody waits for it: at the worst a later process reckons again.
    fn remember(&self, key: TokenKey, token: &Token) {
        let Some(expires_wall) = token.expires_wall else { return };
        let (store, generation, now) = (Arc::clone(&self.common.store), token.generation, Now::read());
        let ends = (expires_wall, self.common.terms.load().revoke_for);
        self.common.tasks.spawn(async move {
            if let Err(error) = store.seen(key, generation, ends, now).await {
                tracing::warn!(%error, "the end of a client's token could not be written down");
            }
        });
    }

    /// Shows each credential that somebody is on; nobody comes or goes meanwhile.
    pub fn each(&self, mut see: impl FnMut(&Credential)) {
        self.live().tenants.values().for_each(|tenant| see(&tenant.credential));
    }

    /// Each credential that somebody is on.
    pub fn credentials(&self) -> Vec<Arc<Credential>> {
        self.live().tenants.values().map(|tenant| Arc::clone(&tenant.credential)).collect()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clients({})", self.common.route)
    }
}

/// What the standing of a client's token comes to.
struct Found {
    /// By which its credential is found, where it lives.
    key: TokenKey,
    /// With what it begins, where it does not.
    begin: Begin,
    /// Has anybody vouched for the token?
    proven: bool,
}

/// A client without a token of its own has its credential fetched for it.
fn found(standing: Standing<SecretText>, key: TokenKey, shown: Option<&str>) -> Result<Found, NotServed> {
    let first = Generation::default().next();
    Ok(match (standing, shown) {
        (Standing::Revoked, _) => return Err(NotServed::Expired),
        (Standing::Grace { text, successor, generation, expires_wall }, _) => {
            Found { key: successor, begin: restored(&text, generation, expires_wall), proven: true }
        }
        (Standing::Current { generation, expires_wall }, Some(shown)) => {
            Found { key, begin: adopted(shown, generation, expires_wall)?, proven: true }
        }
        (Standing::Unknown, Some(shown)) => Found { key, begin: adopted(shown, first, None)?, proven: false },
        (Standing::Current { .. } | Standing::Unknown, None) => {
            Found { key, begin: Begin::Fetch, proven: false }
        }
    })
}

/// A credential that goes on with the token that a client shows.
fn adopted(token: &str, generation: Generation, expires_wall: Option<Duration>) -> Result<Begin, NotServed> {
    let mut issued = answer::bare(token).map_err(|_| NotServed::Malformed)?;
    if let (Life::Unknown, Some(wall)) = (issued.life, expires_wall) {
        issued.life = Life::Until { wall, at_most: None };
    }
    Ok(Begin::Adopt { issued, generation })
}

/// A credential that goes on with the successor of the token that a client shows.
fn restored(text: &str, generation: Generation, expires_wall: Option<Duration>) -> Begin {
    let life = expires_wall.map_or(Life::Unknown, |wall| Life::Until { wall, at_most: None });
    Begin::Adopt { issued: Issued::new(text, life), generation }
}

impl Lease {
    /// A part in a credential that all clients of a route share.
    pub fn shared(credential: Arc<Credential>) -> Self {
        Self { credential, member: None }
    }

    /// The credential.
    pub fn credential(&self) -> &Arc<Credential> {
        &self.credential
    }

    /// Is the credential the client's own?
    pub fn is_own(&self) -> bool {
        self.member.is_some()
    }

    /// Is its token for one handshake?
    pub fn is_once(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.clients.are_once())
    }

    /// Are there more of the client's credential than that, this one included?
    pub fn is_over(&self, most: Option<usize>) -> bool {
        let leases = |member: &Member| member.tenant.tenancy.leases.load(Ordering::Acquire);
        most.zip(self.member.as_ref()).is_some_and(|(most, member)| leases(member) > most)
    }

    /// Has the service taken a token of it before? What nobody has vouched for is not renewed.
    pub fn is_proven(&self) -> bool {
        self.member.as_ref().is_none_or(|member| member.tenant.tenancy.proven.load(Ordering::Relaxed))
    }

    /// May a refusal of the service's be the fault of this token, so that a newer one is worth its fetch? Not if nobody
    /// has vouched for the credential, nor if others were just accepted with this very token. A ticket may have been
    /// seen.
    pub fn may_blame(&self, generation: Generation, now: Instant) -> bool {
        self.is_once() || self.is_proven() && !self.credential.is_vouched_for(generation, now)
    }

    /// The service has taken a token of it: from now on it is remembered when that ends.
    pub fn prove(&self) {
        let Some(member) = &self.member else { return };
        if member.tenant.tenancy.proven.swap(true, Ordering::AcqRel) {
            return;
        }
        // This lease is one: there are some.
        self.credential.set_active(true);
        if let Some(key) = member.tenant.tenancy.reckoned
            && let Some(token) = self.credential.current()
        {
            member.clients.remember(key, &token);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _live = self.clients.live();
        if self.tenant.tenancy.leases.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.tenant.credential.set_active(false);
        }
    }
}

impl Live {
    /// Another credential may be found by the same key, where the source gave both the same token: it stays.
    fn take_out(&mut self, key: &TokenKey, credential: &Arc<Credential>) {
        if self.tenants.get(key).is_some_and(|tenant| Arc::ptr_eq(&tenant.credential, credential)) {
            self.tenants.remove(key);
            self.removed += 1;
        }
    }
}

#[cfg(test)]
mod tests;
