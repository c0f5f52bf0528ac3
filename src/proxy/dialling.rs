//! What a session has asked for and waits to be given: an upstream, and its turn to exchange.
//!
//! ```text
//!   Dial    ─► dial: the token of now ─► poll_dial ─► Opened (the next leg, or the upstream) │ DialFailed
//!   AskTurn ─► one of a bounded number ─► poll_turn ─► Turn, with the token of now           │ NoTurn
//! ```
//!
//! Rules:
//! 1. No dead token goes out: a dial or a turn that finds none but an expired one has failed. So has a dial whose
//!    token ended while it waited.
//! 2. A dial has a deadline, `hold`. A turn comes when those before have had theirs; the session lives on
//!    meanwhile.
//! 3. While the service refuses everybody, a dial waits for its turn (`refusals`), for half of its time at most.
//! 4. A token is to blame if the service says 401 or 403 to it, and did not just let others in with it. Otherwise
//!    these are verdicts on what was asked for, as 404 and 410 are. Any other failure passes.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use opentelemetry::trace::FutureExt;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    driver::Driver,
    leg::Upstream,
    refusals,
    route::RouteContext,
    upstream::{Opened, Refused},
};
use crate::{
    clock::{Instant, Now},
    credential::{Generation, Showing, Token},
    dialect::Outgoing,
    session::{Action, DialFailure, Epoch, Event, Shown},
    telemetry::DialPurpose,
};

type DialFuture = Pin<Box<dyn Future<Output = Result<Opened, NotOpened>> + Send>>;
type TurnFuture = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// A dial that is under way.
pub(super) struct Dialling {
    pub(super) epoch: Epoch,
    pub(super) shown: Option<Shown>,
    pub(super) future: DialFuture,
}

/// Why a dial opened nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotOpened {
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It never went out; until this time, if one is named.
    #[error("the service refuses everybody for now")]
    NotItsTurn(Option<Instant>),
    #[error("the token ended while the dial waited for its turn")]
    TokenEnded,
}

/// Dials when it is this session's turn.
async fn dial_in_turn(
    route: &RouteContext,
    (purpose, outgoing): (DialPurpose, Outgoing),
    token: Option<&Token>,
    now: Instant,
) -> Result<Opened, NotOpened> {
    let hold = route.route.session.hold;
    route.politeness.turn(now + hold / 2).await.map_err(NotOpened::NotItsTurn)?;
    if token.is_some_and(|token| token.is_expired(Now::read())) {
        return Err(NotOpened::TokenEnded);
    }
    let opened = route.open(purpose, outgoing, now + hold).await;
    route.politeness.note(match &opened {
        Err(Refused::Status { status, retry_after, .. }) if refusals::is_for_all(*status) => {
            Some(*retry_after)
        }
        Ok(_) | Err(_) => None,
    });
    Ok(opened?)
}

/// What a dial that opened nothing means to the core. `to_blame`: is it the fault of the token that was shown?
fn failure(
    not_opened: &NotOpened,
    shown: Option<Shown>,
    to_blame: impl Fn(Generation) -> bool,
    now: Instant,
) -> DialFailure {
    let passing = |retry_after| DialFailure::Passing { why: not_opened.to_string(), retry_after };
    let (status, retry_after) = match not_opened {
        NotOpened::Refused(Refused::Status { status, retry_after, .. }) => (status.as_u16(), *retry_after),
        NotOpened::NotItsTurn(until) => return passing(until.map(|at| at.saturating_duration_since(now))),
        NotOpened::Refused(_) | NotOpened::TokenEnded => return passing(None),
    };
    match (status, shown) {
        (401 | 403, Some(shown)) if to_blame(shown.generation) => {
            DialFailure::Token(shown.generation, status)
        }
        (401 | 403 | 404 | 410, _) => DialFailure::Refused { status },
        _ => passing(retry_after),
    }
}

/// A session's place among those that may exchange.
pub(super) enum Turns {
    None,
    Waiting(TurnFuture),
    Mine {
        #[expect(dead_code, reason = "held for its Drop")]
        permit: OwnedSemaphorePermit,
        /// A client's own credential is not refreshed meanwhile.
        #[expect(dead_code, reason = "held for its Drop")]
        showing: Option<Showing>,
    },
}

impl Driver {
    /// Dials with the token that is current now.
    pub(super) fn dial(&mut self, epoch: Epoch, again: &mut Vec<Action>, now: Instant) {
        let token = self.token().filter(|token| !token.is_expired(Now::read()));
        if self.access.is_some() && token.is_none() {
            self.session.on_event(Event::DialFailed(epoch, DialFailure::NoToken), now, again);
            return;
        }
        let shown = token.as_deref().map(Shown::from);
        match self.session.handshake(token.as_deref()) {
            Ok(outgoing) => {
                let route = Arc::clone(&self.route);
                let purpose = if self.upstream.is_some() { DialPurpose::Swap } else { DialPurpose::Resume };
                let asked = (purpose, outgoing);
                let refresh =
                    self.credential().zip(shown).and_then(|(it, shown)| it.traced(shown.generation));
                let context = self.report.traces.dials(&self.route, refresh.as_deref(), now);
                let dial = async move { dial_in_turn(&route, asked, token.as_deref(), now).await };
                let future = Box::pin(dial.with_context(context));
                self.dial = Some(Box::new(Dialling { epoch, shown, future }));
            }
            Err(why) => {
                self.session.on_event(
                    Event::DialFailed(epoch, DialFailure::Passing { why, retry_after: None }),
                    now,
                    again,
                );
            }
        }
    }

    /// Tells the core what its dial came to, where that is known.
    pub(super) fn poll_dial(
        &mut self,
        cx: &mut Context<'_>,
        actions: &mut Vec<Action>,
        now: Instant,
    ) -> bool {
        let Some(dial) = &mut self.dial else { return false };
        let Poll::Ready(result) = dial.future.as_mut().poll(cx) else { return false };
        let (epoch, shown) = (dial.epoch, dial.shown);
        self.dial = None;
        match result {
            Ok(opened) => {
                let leg = self.connect(Upstream { epoch, link: opened.link });
                self.session.answered(&opened.headers);
                self.count_early(leg);
                if let (Some(credential), Some(shown)) = (self.credential(), shown) {
                    credential.accepted(shown.generation, self.place.number(), now);
                }
                self.event(Event::Opened(epoch, shown), now, actions);
                self.note_expiry();
            }
            Err(not_opened) => {
                let to_blame = |generation| {
                    let credential = self.credential();
                    credential.is_none_or(|it| it.is_to_blame(generation, self.place.number(), now))
                };
                let failure = failure(&not_opened, shown, to_blame, now);
                self.event(Event::DialFailed(epoch, failure), now, actions);
            }
        }
        true
    }

    /// Tells the core that its turn has come, where it has.
    pub(super) fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        actions: &mut Vec<Action>,
        now: Instant,
    ) -> bool {
        let Turns::Waiting(future) = &mut self.turn else { return false };
        let Poll::Ready(permit) = future.as_mut().poll(cx) else { return false };
        let own = self.access.as_ref().map(|access| &access.lease).filter(|lease| lease.is_own());
        let showing = own.map(|lease| lease.credential().showing());
        self.turn = permit.map_or(Turns::None, |permit| Turns::Mine { permit, showing });
        match self.token().filter(|token| !token.is_expired(Now::read())) {
            None if self.access.is_some() => self.event(Event::NoTurn, now, actions),
            token => self.event(Event::Turn(token.as_deref()), now, actions),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::clock;

    const T1: Generation = Generation(1);

    fn refused(status: u16, retry_after: Option<u64>) -> NotOpened {
        let (status, headers) = (StatusCode::from_u16(status).unwrap(), Box::<HeaderMap>::default());
        let retry_after = retry_after.map(Duration::from_secs);
        NotOpened::Refused(Refused::Status { status, headers, body: None, retry_after })
    }

    #[test]
    fn a_refusal_is_the_tokens_fault_a_verdict_or_passes() {
        let now = clock::now();
        let shown = Some(Shown { generation: T1, expires: None });
        for (status, shown, to_blame, expected) in [
            (401, shown, true, DialFailure::Token(T1, 401)),
            (403, shown, true, DialFailure::Token(T1, 403)),
            (401, shown, false, DialFailure::Refused { status: 401 }),
            (403, shown, false, DialFailure::Refused { status: 403 }),
            (403, None, true, DialFailure::Refused { status: 403 }),
            (404, shown, true, DialFailure::Refused { status: 404 }),
            (410, None, true, DialFailure::Refused { status: 410 }),
        ] {
            assert_eq!(failure(&refused(status, None), shown, |_| to_blame, now), expected, "{to_blame}");
        }
        let passes = |not_opened: &NotOpened| {
            let failure = failure(not_opened, shown, |_| true, now);
            let DialFailure::Passing { retry_after, .. } = failure else { panic!("{failure:?}") };
            retry_after.map(|wait| wait.as_secs())
        };
        assert_eq!(passes(&refused(429, Some(5))), Some(5));
        assert_eq!(passes(&refused(503, None)), None);
        assert_eq!(passes(&refused(301, None)), None);
        assert_eq!(passes(&NotOpened::NotItsTurn(Some(now + Duration::from_secs(7)))), Some(7));
        assert_eq!(passes(&NotOpened::NotItsTurn(None)), None);
        assert_eq!(passes(&NotOpened::TokenEnded), None);
        assert_eq!(passes(&NotOpened::Refused(Refused::TimedOut)), None);
    }
}
