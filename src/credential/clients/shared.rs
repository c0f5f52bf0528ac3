//! A client's credential that several sidecars may have at once: one of them refreshes it, all find the result.
//!
//! The result needs no place of its own: it stands in the history, as the successor of the token that all of them
//! have, sealed with that token. So the one who is to refresh looks there first, and holds the lease until its own
//! result stands there.
//!
//! A live client counts more than that one asks alone: where the store is away, or where another has the lease until
//! the token is about to end, each asks for itself.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::restored;
use crate::{
    clock::{Instant, Now},
    config::SecretText,
    credential::{
        chain::elsewhere,
        history::Standing,
        keeper::Provenance,
        service::Begin,
        source::{Asking, Issued, Source, SourceError},
        store::{Leased, Lineage, RefreshLease, Store, StoreError},
        token::Token,
    },
};

/// A token that ends sooner is renewed, no matter who has the lease: a little longer than the longest wait
/// for a look at what came of that.
const LAST_MOMENT: Duration = Duration::from_millis(1500);
/// Of a short-lived token's life, the part that is its last moment.
const LAST_PART: u32 = 6;

/// One client's.
pub struct SharedClient {
    pub(super) scope: String,
    pub(super) identity: SecretText,
    pub(super) source: Arc<Source>,
    pub(super) store: Arc<Store>,
    /// Kept until the new token is written down.
    pub(super) held: Mutex<Option<(Lineage, RefreshLease)>>,
}

impl SharedClient {
    pub(in crate::credential) fn source(&self) -> &Source {
        &self.source
    }

    pub(in crate::credential) async fn fetch(
        &self,
        asking: Asking,
        now: Now,
        deadline: Instant,
    ) -> Result<Issued, SourceError> {
        let Some(current) = asking.current.clone() else {
            return self.source.fetch(&asking, now, deadline).await;
        };
        let lineage = self.store.lineage(&self.scope, current.expose().as_bytes());
        let lease = match self.store.lease(&lineage).await {
            Ok(Leased::Ours(lease)) => lease,
            Ok(Leased::Theirs { .. }) => {
                if let Some(found) = self.successor(&current, now).await.ok().flatten() {
                    return Ok(found);
                }
                if !is_about_to_end(&current, now) {
                    return Err(elsewhere());
                }
                tracing::warn!("asking beside another sidecar: the token is about to end");
                return self.source.fetch(&asking, now, deadline).await;
            }
            Err(error) => {
                tracing::warn!(%error, "asking without the others: the store cannot be reached");
                return self.source.fetch(&asking, now, deadline).await;
            }
        };
        let answer = match self.successor(&current, now).await {
            Ok(Some(issued)) => Ok(issued),
            Ok(None) | Err(_) => {
                let answer = self.source.fetch(&asking, now, deadline);
                self.store.renewing(&lineage, &lease, answer).await
            }
        };
        if answer.as_ref().is_ok_and(|issued| !issued.provenance.taken_over) {
            *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some((lineage, lease));
        } else {
            self.store.release(&lineage, lease).await;
        }
        answer
    }

    /// What another sidecar has put in the place of `current`.
    pub(in crate::credential) async fn successor(
        &self,
        current: &Token,
        now: Now,
    ) -> Result<Option<Issued>, StoreError> {
        let text = current.expose();
        Ok(match self.store.standing_of((&self.scope, &self.identity, text), now).await? {
            Standing::Grace { text, generation, expires_wall, .. } => {
                match restored(&text, generation, expires_wall) {
                    Begin::Adopt { issued, .. } => {
                        let provenance = Provenance { taken_over: true, ..issued.provenance };
                        Some(Issued { provenance, ..issued })
                    }
                    Begin::Fetch => None,
                }
            }
            Standing::Unknown | Standing::Current { .. } | Standing::Revoked => None,
        })
    }

    /// What came of the last fetch stands in the store, or nowhere: others may ask.
    pub(in crate::credential) async fn settled(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((lineage, lease)) = held {
            self.store.release(&lineage, lease).await;
        }
    }
}

/// Is there no time left to wait for another?
fn is_about_to_end(current: &Token, now: Now) -> bool {
    let (Some(ends), Some(left)) = (current.expires, current.remaining(now)) else { return false };
    let life = ends.saturating_duration_since(current.issued.mono);
    left <= LAST_MOMENT.min(life / LAST_PART)
}

impl fmt::Debug for SharedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedClient({})", self.scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::token::Generation;

    #[tokio::test(start_paused = true)]
    async fn another_is_waited_for_until_the_token_is_about_to_end() {
        let then = Now::read();
        let after = |millis| {
            let passed = Duration::from_millis(millis);
            Now { mono: then.mono + passed, wall: then.wall + passed }
        };
        let token = |life| Token::new("t", Generation(1), then, life);
        for (life, waits, asks) in [(7_200_000, 7_198_499, 7_198_500), (3000, 2499, 2500)] {
            let token = token(Some(Duration::from_millis(life)));
            assert!(!is_about_to_end(&token, after(waits)), "{life}");
            for moment in [asks, life, life + 1000] {
                assert!(is_about_to_end(&token, after(moment)), "{life} {moment}");
            }
            let stepped = Now { wall: after(asks).wall, ..then };
            assert!(is_about_to_end(&token, stepped), "by the wall clock");
        }
        assert!(!is_about_to_end(&token(None), after(7_200_000)), "nobody told when it ends");
    }
}
