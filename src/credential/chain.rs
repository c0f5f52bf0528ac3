//! A chain of grants: a source that gives each answer once, or that several sidecars ask in turn.
//!
//! ```text
//!   fetch ──► lease? ── another asks ──► a newer grant? ── yes ──► its token
//!               │ ours                        └── no ────► Elsewhere: look again
//!               ▼
//!        newest grant ── newer than ours ──► its token; nothing is asked
//!               │ ours
//!               ▼
//!        "asked" is written down ──► the source, with the refresh token of the grant
//!               │                          │
//!               │        refused ◄─────────┼────► lost: the mark stays
//!               ▼                          ▼
//!        the lease is given back ◄── the next grant is written down ──► its token
//! ```
//!
//! 1. The next grant is durable before its token is used. One that cannot be written down is kept here and written
//!    down before anything else; only where the current token has ended is it used all the same.
//! 2. What was begun is finished, no matter who stops waiting for it: a request that is cut off may cost the chain.
//! 3. Without the store, a source that rotates is not asked: another sidecar may be asking with the same refresh
//!    token. Any other source is.
//! 4. A refresh token is shown to the server and as the client that it is of. One that a configuration with another
//!    address goes on with is refused before it is used up (RFC 9700 §4.14.2). The configured one has no other address
//!    than the configured one: it goes there, also after it was shown at another.
//! 5. A refresh token that came is written down whatever else is wrong with its answer: the one before it may be dead.
//! 6. Where the answer to a request was lost with the process that asked, the token of the grant is handed out, and the
//!    source is asked again at once: a server forgives that for seconds.
//! 7. A store that has forgotten, or that has an older grant than this process, is given the newer one back.

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::digest;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use super::{
    keeper::{FailureKind, Life, Provenance},
    source::{Asking, Issued, Source, SourceError},
    store::{Grant, Leased, Lineage, RefreshLease, Store, StoreError},
    supply::Offer,
};
use crate::clock::{Instant, Now};

/// One asker has the state from the lease to the grant, and everything between is a wait.
#[expect(clippy::disallowed_types, reason = "held across awaits on purpose: one asks at a time")]
type Held<T> = tokio::sync::Mutex<T>;

mod answer;

/// Another process that has asked for so long, and given no answer, may have died: who looks takes its turn.
const UNHEARD_OF: Duration = Duration::from_secs(2);

const OF_ANOTHER_SERVER: &str = "the store has a newer refresh token than the configured one, which another token_url, \
     issuer or client_id gave; write that one again, or put a new refresh token into the configuration";

/// What a chain is made of.
pub struct Links {
    /// The route, or what else tells chains apart that begin with the same secret.
    pub scope: String,
    pub source: Arc<Source>,
    pub store: Arc<Store>,
    /// Assumed of a token whose end nobody told.
    pub lifetime: Option<Duration>,
    /// Has the end of what was begun.
    pub tasks: TaskTracker,
}

/// The grants of one source, one after another.
pub struct Chain {
    links: Links,
    state: Held<State>,
}

/// What this process knows, under the lock of the one who asks.
#[derive(Default)]
struct State {
    lineage: Option<Lineage>,
    /// The newest grant that was seen, no matter who asked for it.
    known: Grant,
    /// The number of the grant whose token was handed out last.
    handed: u64,
    /// `known` is not in the store yet.
    unwritten: bool,
}

/// One fetch.
struct Fetch {
    asking: Asking,
    /// Stands for all that is asked for.
    asked_with: [u8; 32],
    now: Now,
    deadline: Instant,
}

impl Chain {
    pub fn new(links: Links) -> Arc<Self> {
        Arc::new(Self { links, state: Held::default() })
    }

    /// The source.
    pub fn source(&self) -> &Arc<Source> {
        &self.links.source
    }

    /// The next token. Goes on to its end even where nobody waits for it any more.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        asking: Asking,
        now: Now,
        deadline: Instant,
    ) -> Result<Issued, SourceError> {
        let chain = Arc::clone(self);
        let (tell, told) = oneshot::channel();
        self.links.tasks.spawn(async move {
            let mut state = chain.state.lock().await;
            let before = state.handed;
            let answer = Box::pin(chain.next(&mut state, asking, now, deadline)).await;
            if tell.send(answer).is_err() {
                // Nobody waits any more: it is there for the next fetch.
                state.handed = before;
            }
        });
        told.await.unwrap_or_else(|_| Err(SourceError::passing("the fetch was given up")))
    }

    /// A newer token that another process has asked for, where there is one.
    pub(super) async fn offered(&self, now: Now) -> Option<Offer> {
        if !self.links.store.is_shared() {
            return None;
        }
        // Anyone who asks at this moment finds it as well.
        let mut state = self.state.try_lock().ok()?;
        let (lineage, asked_with) = self.lineage(&mut state).await?;
        // Where the store is away there is nothing on offer.
        let grant = self.links.store.grant(&lineage).await.ok()??;
        let asked = grant.asked.filter(|at| now.wall.saturating_sub(*at) > UNHEARD_OF);
        if let Some(issued) = state.handing(grant, asked_with, now) {
            return Some(Offer::Token(Box::new(issued)));
        }
        asked.map(|_| Offer::Doubt)
    }

    async fn next(
        &self,
        state: &mut State,
        asking: Asking,
        now: Now,
        deadline: Instant,
    ) -> Result<Issued, SourceError> {
        let Some((lineage, asked_with)) = self.lineage(state).await else {
            // The source says best what of it cannot be read.
            return match self.rotates() {
                true => Err(self.unread()),
                false => self.links.source.fetch(&asking, now, deadline).await,
            };
        };
        let fetch = Fetch { asking, asked_with, now, deadline };
        let lease = match self.links.store.lease(&lineage).await {
            Ok(Leased::Ours(lease)) => lease,
            Ok(Leased::Theirs { .. }) => {
                let newest = self.links.store.grant(&lineage).await.ok().flatten();
                let taken = newest.and_then(|grant| state.handing(grant, asked_with, now));
                return taken.ok_or_else(elsewhere);
            }
            Err(error) if self.rotates() => return Err(away(&error)),
            Err(error) => {
                tracing::warn!(%error, "asking without the others: the store cannot be reached");
                return self.links.source.fetch(&fetch.asking, now, deadline).await;
            }
        };
        let answer = self.leased(state, &lineage, &lease, fetch).await;
        self.links.store.release(&lineage, lease).await;
        answer
    }

    /// What the holder of the lease does.
    async fn leased(
        &self,
        state: &mut State,
        lineage: &Lineage,
        lease: &RefreshLease,
        fetch: Fetch,
    ) -> Result<Issued, SourceError> {
        let ours = state.unwritten;
        let newest = self.newest(state, lineage, lease).await.map_err(|error| away(&error))?;
        let doubted = newest.asked.is_some();
        if let Some(issued) = state.handing(newest.clone(), fetch.asked_with, fetch.now) {
            // Rule 6.
            let provenance = Provenance { taken_over: !ours, in_doubt: doubted, ..issued.provenance };
            return Ok(Issued { provenance, ..issued });
        }
        // Rule 4.
        let is_newer = newest.refresh_token.is_some();
        if is_newer && newest.asked_at.is_some_and(|at| Some(at) != self.asked_at()) {
            return Err(SourceError::terminal(OF_ANOTHER_SERVER));
        }
        if doubted {
            tracing::warn!(
                scope = self.links.scope,
                "the answer to the last request for a token was lost with the one who asked; asking with the same \
                 refresh token again, which the source may refuse"
            );
        }
        if self.rotates() {
            // Written down first, so that the next one knows that there may have been an answer.
            let asked = Grant { asked: Some(fetch.now.wall), asked_at: self.asked_at(), ..newest.clone() };
            let marked = self.links.store.keep(lineage, lease, &asked, fetch.now).await;
            marked.map_err(|error| away(&error))?;
            state.known = asked;
        }
        let asking =
            Asking { refresh_token: newest.refresh_token.clone().map(Arc::new), ..fetch.asking.clone() };
        let answer = self.links.source.fetch(&asking, fetch.now, fetch.deadline);
        match self.links.store.renewing(lineage, lease, answer).await {
            Ok(issued) => self.answered(state, lineage, lease, issued, &newest, &fetch).await,
            Err(mut error) => {
                if let Some(rotated) = error.rotated.take() {
                    self.rotated(state, lineage, lease, rotated, &fetch).await;
                    return Err(error);
                }
                Err(self.refused(state, lineage, lease, error, doubted).await)
            }
        }
    }

    /// The newest grant that anybody knows of; the store has it when this returns.
    async fn newest(
        &self,
        state: &mut State,
        lineage: &Lineage,
        lease: &RefreshLease,
    ) -> Result<Grant, StoreError> {
        let stored = self.links.store.grant(lineage).await?.unwrap_or_default();
        if state.known.number > stored.number {
            if !state.unwritten {
                tracing::warn!(
                    scope = self.links.scope,
                    "the store had forgotten the newest refresh token; it has it again"
                );
            }
            self.links.store.keep(lineage, lease, &state.known, Now::read()).await?;
        } else {
            state.known = stored;
        }
        state.unwritten = false;
        Ok(state.known.clone())
    }

    /// Names the chain as the configuration has it now; a new secret begins a new one.
    async fn lineage(&self, state: &mut State) -> Option<(Lineage, [u8; 32])> {
        let asked_with = Zeroizing::new(self.links.source.asked_with().await?);
        let secret = match self.rotates() {
            true => Zeroizing::new(self.links.source.lineage()?),
            false => asked_with.clone(),
        };
        // A refresh token is one chain, whichever routes it serves; any other answer is its route's own.
        let scope = if self.rotates() { "" } else { self.links.scope.as_str() };
        let lineage = self.links.store.lineage(scope, &secret);
        if state.lineage.as_ref() != Some(&lineage) {
            *state = State { lineage: Some(lineage.clone()), ..State::default() };
        }
        Some((lineage, digested(&asked_with)))
    }

    /// What cannot be read, and what to do about it.
    fn unread(&self) -> SourceError {
        SourceError::passing(match self.links.source.awaited() {
            Some(path) => {
                format!("{} is not there yet; run perennial login {}", path.display(), self.links.scope)
            }
            None => "what the source is asked with cannot be read".to_owned(),
        })
    }

    fn rotates(&self) -> bool {
        self.links.source.rotates()
    }

    /// Stands for the server and the client whose refresh tokens these are.
    fn asked_at(&self) -> Option<[u8; 32]> {
        self.links.source.asked_at().map(|at| digested(&at))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({})", self.links.scope)
    }
}

impl State {
    /// The token of a grant that is newer than what was handed out, where it will do.
    fn handing(&mut self, grant: Grant, asked_with: [u8; 32], now: Now) -> Option<Issued> {
        let token = grant.token.as_ref().filter(|token| {
            let lives = token.expires.is_none_or(|end| end > now.wall);
            grant.number > self.handed && token.asked_with == asked_with && lives
        })?;
        let life = token
            .expires
            .map_or(Life::Unknown, |wall| Life::Until { wall, at_most: wall.checked_sub(token.issued) });
        let provenance = Provenance {
            taken_over: true,
            age: now.wall.saturating_sub(token.issued),
            refresh_life: grant.refresh_ends.map(|end| end.saturating_sub(token.issued)),
            in_doubt: false,
        };
        let issued = Issued { provenance, ..Issued::new(token.text.clone(), life) };
        self.handed = grant.number;
        if grant.number >= self.known.number {
            self.known = grant;
        }
        Some(issued)
    }
}

impl Fetch {
    /// Does the current token live on?
    fn has_time(&self) -> bool {
        self.asking.current.as_ref().is_some_and(|token| !token.is_expired(Now::read()))
    }
}

fn digested(asked_with: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, asked_with).as_ref());
    hash
}

pub(super) fn elsewhere() -> SourceError {
    SourceError::of(FailureKind::Elsewhere, "another sidecar has been asking for too long")
}

fn away(error: &StoreError) -> SourceError {
    SourceError::passing(format!("the refresh token is not used without the store: {error}"))
}

#[cfg(test)]
mod tests;
