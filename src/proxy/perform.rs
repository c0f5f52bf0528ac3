//! What the core wants done, done.

use std::sync::{Arc, atomic::Ordering};

use super::{
    driver::{Dialling, Driver, Turns, linger},
    upstream,
};
use crate::{
    clock::{Instant, Now},
    credential,
    session::{Action, Demand, DialFailure, Epoch, Event, Phase, Shown, Trigger},
    wire::{Close, Opcode},
};

/// What a Ping says whose Pong is waited for.
pub(super) const FENCE: &[u8] = b"fence";

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
            Action::HangUp => self.hang_up(now),
            Action::HangUpNext => self.hang_up_next(),
            Action::Switch => self.switch(now),
            Action::Park => self.park(),
            Action::Fence => {
                if let Some(upstream) = &mut self.upstream {
                    upstream.control(Opcode::Ping, FENCE, false, &mut self.random);
                }
            }
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
            Action::Demand(demand) => self.demand(demand),
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

    /// Lets go of every upstream, and of the dial.
    fn hang_up(&mut self, now: Instant) {
        self.hang_up_next();
        self.dial = None;
        self.let_go(now);
    }

    /// Lets go of the connection that was to replace the live one; it is told so, as well as it can be at once.
    fn hang_up_next(&mut self) {
        if let Some(mut next) = self.next.take() {
            let now = self.client.heard;
            next.close(&Close::new(1000, ""), false, &mut self.random);
            let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
            let _ = next.poll_flush(&mut nobody, now);
            let _ = next.poll_shutdown(&mut nobody);
        } else if self.upstream.is_some() {
            // The dial under way was for it.
            self.dial = None;
        }
    }

    /// The next connection takes the place of the old one; a dial that is under way is for that place.
    fn switch(&mut self, now: Instant) {
        self.let_go(now);
        self.upstream = self.next.take().map(|next| *next);
    }

    /// Lets go of the upstream: a Close on its way out is given one try, and the last words of a session
    /// that is over a little longer. A client that vanished said no Close, and none is said in its name.
    fn let_go(&mut self, now: Instant) {
        let Some(mut upstream) = self.upstream.take() else { return };
        if !self.client.inbound.mid_frame() && !self.dropped {
            upstream.close(&Close::new(1000, ""), false, &mut self.random);
        }
        let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
        let late = upstream.poll_flush(&mut nobody, now).is_pending();
        if late && self.session.phase() == Phase::Closing {
            self.parting = Some(Box::new((upstream, linger(now))));
        } else {
            let _ = upstream.poll_shutdown(&mut nobody);
        }
    }

    /// The client went away: its connection is let go, with an answer to its Close, and its place is kept.
    fn park(&mut self) {
        let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
        if self.client.close_received {
            self.client.close(&Close::new(Close::GOING_AWAY, ""), false, &mut self.random);
        }
        let _ = self.client.poll_flush(&mut nobody, self.client.heard);
        let _ = self.client.poll_shutdown(&mut nobody);
        self.dropped = true;
        if let Some(spot) = &mut self.spot {
            spot.take(&self.place.handle);
        }
    }

    /// Passes the session's wish on.
    fn demand(&self, demand: Demand) {
        if let Some(credential) = self.credential() {
            let trigger = match demand.trigger {
                Trigger::Hint => credential::Trigger::Hint,
                Trigger::Expiry => credential::Trigger::Expiry,
            };
            credential.demand(demand.rejected, trigger);
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
