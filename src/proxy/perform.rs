//! What the core wants done, done.

use std::sync::{Arc, atomic::Ordering};

use super::{
    driver::{Dialling, Driver, Turns, linger},
    upstream,
};
use crate::{
    clock::{Instant, Now},
    session::{Action, DialFailure, Epoch, Event, Phase, Shown},
};

impl Driver {
    /// Carries out actions in their order. `Forward` was the pump's business.
    pub(super) fn perform(&mut self, actions: &mut Vec<Action>, now: Instant) {
        // An action may make the core speak again; what it then wants is done after the rest.
        self.stirred |= !actions.is_empty();
        self.rearm |= !actions.is_empty();
        let mut again = Vec::new();
        for action in actions.drain(..) {
            self.perform_one(action, &mut again, now);
        }
        if !again.is_empty() {
            self.perform(&mut again, now);
        }
    }

    fn perform_one(&mut self, action: Action, again: &mut Vec<Action>, now: Instant) {
        match action {
            Action::Forward => {}
            Action::ToClient(payload) => {
                self.client.queue(payload.kind.opcode(), &payload.bytes, &mut self.random)
            }
            Action::ToUpstream(payload) => {
                if let Some(upstream) = &mut self.upstream {
                    upstream.queue(payload.kind.opcode(), &payload.bytes, &mut self.random);
                }
            }
            Action::Dial(epoch) => self.dial(epoch, again, now),
            Action::HangUp(_) => self.hang_up(now),
            Action::CloseUpstream(close) => {
                let inside = self.client.inbound.mid_frame();
                if let Some(upstream) = &mut self.upstream {
                    upstream.close(&close, inside, &mut self.random);
                }
            }
            Action::CloseClient(close) => {
                let inside = self.upstream.as_ref().is_some_and(|link| link.inbound.mid_frame());
                if inside {
                    // A Close cannot stand inside a frame whose end will never come.
                    self.dropped = true;
                }
                self.code = close.code;
                self.client.close(&close, inside, &mut self.random);
            }
            Action::DropClient => self.wordless = true,
            Action::Demand(demand) => self.route.demand(demand),
            Action::AskTurn => {
                let turns = Arc::clone(&self.route.turns);
                self.turn = Turns::Waiting(Box::pin(async move { turns.acquire_owned().await.ok() }));
            }
            Action::EndTurn => self.turn = Turns::None,
            Action::Note(note) => {
                self.report.note(&note);
                self.note_expiry();
            }
            Action::Finished(cause) => self.finished = Some((cause, linger(now))),
        }
    }

    /// Dials with the token that is current now.
    fn dial(&mut self, epoch: Epoch, again: &mut Vec<Action>, now: Instant) {
        let token = self.route.token().filter(|token| !token.is_expired(Now::read()));
        if self.route.has_credential() && token.is_none() {
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

    /// Lets go of the upstream: a Close on its way out is given one try, and the last words of a session
    /// that is over a little longer. A client that vanished said no Close, and none is said in its name.
    fn hang_up(&mut self, now: Instant) {
        self.dial = None;
        if let Some(mut upstream) = self.upstream.take() {
            if !self.client.inbound.mid_frame() && !self.dropped {
                let close = crate::wire::Close::new(1000, "");
                upstream.close(&close, false, &mut self.random);
            }
            let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
            let late = upstream.poll_flush(&mut nobody, now).is_pending();
            if late && self.session.phase() == Phase::Closing {
                self.parting = Some(Box::new((upstream, linger(now))));
            } else {
                let _ = upstream.poll_shutdown(&mut nobody);
            }
        }
    }

    /// Notes when the token ends that the upstream knows.
    pub(super) fn note_expiry(&self) {
        let known = self.session.authenticated_with();
        let now = Now::read();
        let wall = known.expires.map(|at| now.wall + at.saturating_duration_since(now.mono));
        let millis = wall.map_or(0, |wall| u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        self.place.handle.expires.store(millis, Ordering::Relaxed);
    }
}
