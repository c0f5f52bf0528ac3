//! What comes of a request: an answer is written down and then handed out; without one, the mark goes or stays.

use std::time::Duration;

use super::{Chain, Fetch, State, elsewhere};
use crate::{
    clock::{self, Now},
    credential::{
        keeper::FailureKind,
        source::{Issued, Rotated, SourceError},
        store::{self, Grant, Granted, Lineage, RefreshLease, StoreError},
    },
};

/// A grant that cannot be written down is tried to be for so long before the fetch ends.
const WRITING: Duration = Duration::from_secs(3);
/// In steps of this.
const AGAIN: Duration = Duration::from_millis(100);

impl Chain {
    /// An answer: written down, then handed out.
    pub(super) async fn answered(
        &self,
        state: &mut State,
        lineage: &Lineage,
        lease: &RefreshLease,
        issued: Issued,
        newest: &Grant,
        fetch: &Fetch,
    ) -> Result<Issued, SourceError> {
        let assumed = || self.links.lifetime.map(|life| fetch.now.wall.saturating_add(life));
        let token = Granted {
            text: issued.text.clone(),
            asked_with: fetch.asked_with,
            issued: fetch.now.wall,
            expires: issued
                .life
                .from(fetch.now)
                .map(|life| fetch.now.wall.saturating_add(life))
                .or_else(assumed),
        };
        let (refresh_token, refresh_ends) = match &issued.refresh_token {
            Some(newer) => (Some(newer.clone()), ends(issued.provenance.refresh_life, fetch)),
            // The one before it is still the one; what the server says of its end is news all the same.
            None => {
                let told = ends(issued.provenance.refresh_life, fetch);
                (newest.refresh_token.clone(), told.or(newest.refresh_ends))
            }
        };
        let next = Grant {
            number: newest.number + 1,
            refresh_token,
            refresh_ends,
            token: Some(token),
            asked_at: self.asked_at(),
            asked: None,
        };
        if issued.refresh_token.is_some() && !self.links.store.is_durable() {
            tracing::warn!(
                scope = self.links.scope,
                "the source rotates its refresh token, and a restart of this process will lose the new one: set \
                 store = \"disk\" in [state]"
            );
        }
        state.known = next;
        state.unwritten = true;
        match self.write_down(state, lineage, lease).await {
            Ok(()) => {}
            Err(StoreError::Overtaken) => {
                // The one who took over goes on from what the store has.
                (state.known, state.unwritten) = (Grant::default(), false);
                return Err(elsewhere());
            }
            Err(error) if !self.rotates() => {
                state.unwritten = false;
                tracing::warn!(%error, "the other sidecars cannot be told of the new token");
            }
            Err(error) if fetch.has_time() => {
                return Err(SourceError::passing(format!(
                    "the new refresh token cannot be written down, so the token that came with it is not used \
                     yet: {error}"
                )));
            }
            Err(error) => {
                tracing::error!(
                    scope = self.links.scope,
                    %error,
                    "the new refresh token cannot be written down; the token that came with it is used all the \
                     same, since the current one has ended. A restart now would lose it"
                );
            }
        }
        state.handed = state.known.number;
        Ok(issued)
    }

    async fn write_down(
        &self,
        state: &mut State,
        lineage: &Lineage,
        lease: &RefreshLease,
    ) -> Result<(), StoreError> {
        let until = clock::now() + WRITING;
        loop {
            let kept = self.links.store.keep(lineage, lease, &state.known, Now::read());
            let error = match store::by(until, kept).await {
                Ok(()) => {
                    state.unwritten = false;
                    return Ok(());
                }
                Err(StoreError::Overtaken) => return Err(StoreError::Overtaken),
                Err(error) => error,
            };
            if clock::now() >= until {
                return Err(error);
            }
            tokio::time::sleep_until(clock::now() + AGAIN).await;
        }
    }

    /// Rule 5: of an answer that was of no other use.
    pub(super) async fn rotated(
        &self,
        state: &mut State,
        lineage: &Lineage,
        lease: &RefreshLease,
        rotated: Rotated,
        fetch: &Fetch,
    ) {
        state.known = Grant {
            number: state.known.number + 1,
            refresh_ends: ends(rotated.life, fetch),
            refresh_token: Some(rotated.refresh_token),
            token: None,
            asked_at: self.asked_at(),
            asked: None,
        };
        state.unwritten = true;
        let scope = &*self.links.scope;
        match self.write_down(state, lineage, lease).await {
            Ok(()) => {
                tracing::warn!(scope, "an answer was of no use, but for its new refresh token, which is kept")
            }
            // It is tried again before anything else is asked.
            Err(error) => {
                tracing::error!(scope, %error, "a new refresh token cannot be written down; a restart now would lose it");
            }
        }
        state.handed = state.known.number;
    }

    /// No answer. Where it is certain that there was none, the mark goes.
    pub(super) async fn refused(
        &self,
        state: &mut State,
        lineage: &Lineage,
        lease: &RefreshLease,
        error: SourceError,
        doubted: bool,
    ) -> SourceError {
        if !self.rotates() {
            return error;
        }
        let certain = match error.kind {
            FailureKind::Lost => false,
            FailureKind::Passing | FailureKind::Unreached => !doubted,
            FailureKind::Terminal | FailureKind::Elsewhere => true,
        };
        if certain {
            state.known.asked = None;
            if let Err(error) = self.links.store.keep(lineage, lease, &state.known, Now::read()).await {
                tracing::debug!(%error, "that the source was asked stays written down");
            }
        }
        if doubted && error.kind == FailureKind::Terminal {
            let reason = format!(
                "{}; an answer was lost before, and the next refresh token with it: the source needs to issue a \
                 new one",
                error.reason
            );
            return SourceError { reason, ..error };
        }
        error
    }
}

/// When a refresh token ends that lives for so long, on the wall clock.
fn ends(life: Option<Duration>, fetch: &Fetch) -> Option<Duration> {
    life.map(|life| fetch.now.wall.saturating_add(life))
}
