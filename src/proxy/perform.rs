//! What the core wants done, done.
//!
//! Rules:
//! 1. Actions are carried out in their order; what the core then wants is done after the rest.
//! 2. What takes its time is begun here, and looked at in the rounds that follow (`dialling`).
//! 3. What a leg is owed when it is closed is the business of `ending`.

use std::sync::{Arc, atomic::Ordering};

use super::{dialling::Turns, driver::Driver, ending::linger, leg::Leg};
use crate::{
    clock::{Instant, Now},
    credential,
    session::{Action, Demand, Method, Note, Trigger},
    telemetry::Phase,
};

impl Driver {
    /// Carries out actions in their order. `Forward` was the pump's business.
    pub(super) fn perform(&mut self, actions: &mut Vec<Action>, now: Instant) {
        // An action may make the core speak again; what it then wants is done after the rest.
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
            Action::ToUpstream(epoch, payload) => {
                let leg = self.leg(epoch);
                if let Some((link, random)) = leg.and_then(|leg| self.link_and_random(leg)) {
                    link.queue(payload.kind.opcode(), &payload.bytes, random);
                }
            }
            Action::Dial(epoch) => self.dial(epoch, again, now),
            Action::HangUp(epoch) => self.hang_up(epoch, now),
            Action::Park => self.park(now),
            Action::PingUpstream(epoch, messages) => {
                let leg = self.leg(epoch);
                self.ping(leg, messages, now);
            }
            Action::PingClient(messages) => self.ping(Some(Leg::Client), messages, now),
            Action::CloseUpstream(epoch, close) => {
                let leg = self.leg(epoch);
                if let Some((link, random)) = leg.and_then(|leg| self.link_and_random(leg)) {
                    link.close(&close, random);
                }
            }
            Action::CloseClient(close) => {
                // A Close cannot stand inside a frame whose end will never come.
                self.dropped |= self.client.is_mid_frame();
                self.code = close.code;
                self.client.close(&close, &mut self.random);
            }
            Action::DropClient => self.wordless = true,
            Action::Demand(demand) => self.demand(demand),
            Action::Fetch(want, rejected) => self.fetch_value(want, rejected, now),
            Action::AskTurn => {
                let turns = Arc::clone(&self.route.turns);
                self.turn = Turns::Waiting(Box::pin(async move { turns.acquire_owned().await.ok() }));
            }
            Action::EndTurn => self.turn = Turns::None,
            Action::Note(note) => {
                let credential = self.access.as_ref().map(|access| &**access.lease.credential());
                self.report.note(&note, credential, now);
                self.note_total(&note);
                self.note_expiry();
            }
            Action::Finished(cause) => self.finished = Some((cause, linger(now))),
        }
    }

    /// A Ping behind what was sent: its Pong shows that so many messages were read.
    pub(super) fn ping(&mut self, leg: Option<Leg>, messages: u64, now: Instant) {
        if let Some((link, random)) = leg.and_then(|leg| self.link_and_random(leg)) {
            link.ping(&messages.to_be_bytes(), random, now);
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

    /// What a refresh takes on one session: the fetch and the exchange, without the wait for its turn.
    fn note_total(&self, note: &Note) {
        let Note::Reauthenticated { method: Method::Exchange, generation, took } = note else { return };
        let Some(credential) = self.credential() else { return };
        // Of an older token nobody knows any more how long its fetch took.
        if credential.current().is_some_and(|token| token.generation == *generation)
            && let Some((_, fetch)) = credential.status().last_refresh
        {
            self.route.metrics.refresh_took(Phase::Total, fetch + *took);
        }
    }

    /// Notes which token the upstream knows, and when it ends.
    pub(super) fn note_expiry(&self) {
        let known = self.session.authenticated_with();
        let now = Now::read();
        let wall = known.expires.map(|at| now.wall + at.saturating_duration_since(now.mono));
        let millis = wall.map_or(0, |wall| u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        self.place.handle.expires.store(millis, Ordering::Relaxed);
        self.place.handle.generation.store(known.generation.0, Ordering::Relaxed);
    }
}
