//! What a session has asked for and waits to be given: an upstream, and its turn to exchange.
//!
//! ```text
//!   Dial    ─► dial: the token of now ─► poll_dial ─► Opened (the next leg, or the upstream) │ DialFailed
//!   AskTurn ─► one of a bounded number ─► poll_turn ─► Turn, with the token of now           │ NoTurn
//! ```
//!
//! Rules:
//! 1. No dead token goes out: a dial or a turn that finds none but an expired one has failed.
//! 2. A dial has a deadline, `hold`. A turn comes when those before have had theirs; the session lives on
//!    meanwhile.
//! 3. Only an upstream that says 401 or 403 to a token blames the token; any other failure passes.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    driver::Driver,
    leg::Leg,
    upstream::{self, Opened, Refused},
};
use crate::{
    clock::{Instant, Now},
    credential::Showing,
    session::{Action, DialFailure, Epoch, Event, Shown},
};

type DialFuture = Pin<Box<dyn Future<Output = Result<Opened, Refused>> + Send>>;
type TurnFuture = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// A dial that is under way.
pub(super) struct Dialling {
    pub(super) epoch: Epoch,
    pub(super) shown: Option<Shown>,
    pub(super) future: DialFuture,
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
                let deadline = now + route.route.session.hold;
                let future =
                    Box::pin(
                        async move { upstream::open(&route.dialer, outgoing, route.limit, deadline).await },
                    );
                self.dial = Some(Box::new(Dialling { epoch, shown, future }));
            }
            Err(why) => {
                self.session.on_event(Event::DialFailed(epoch, DialFailure::Passing(why)), now, again);
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
                let leg = if self.session.next_epoch() == Some(epoch) {
                    self.next = Some(Box::new(opened.link));
                    Leg::Next
                } else {
                    self.upstream = Some(opened.link);
                    Leg::Upstream
                };
                self.count_early(leg);
                self.event(Event::Opened(epoch, shown), now, actions);
                self.note_expiry();
            }
            Err(refused) => {
                let failure = self.failure(&refused, shown);
                self.event(Event::DialFailed(epoch, failure), now, actions);
            }
        }
        true
    }

    /// What a refusal means to the core.
    fn failure(&self, refused: &Refused, shown: Option<Shown>) -> DialFailure {
        match (refused, shown) {
            (Refused::Status(status, _), Some(shown)) if matches!(status.as_u16(), 401 | 403) => {
                DialFailure::Token(shown.generation)
            }
            _ => DialFailure::Passing(refused.to_string()),
        }
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
            Some(token) => self.event(Event::Turn(&token), now, actions),
            None => self.event(Event::NoTurn, now, actions),
        }
        true
    }
}
