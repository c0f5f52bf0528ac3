//! Re-authentication on a live connection.
//!
//! ```text
//!   grant ──hint_before──► AUTH hint ──► expiry ──► DISCONNECTED 40142, close
//!     ▲                                     ▲
//!     │ accepted: counts from its arrival   │ no AUTH in time
//!   AUTH ──auth_delay──► CONNECTED (same id, another key)
//!                   └──► ERROR (40101, 40102, 40142), close
//! ```
//!
//! Answers come in the order of the AUTHs; nothing in them says which one they are for.

use rmpv::Value;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{
    connection::{AuthAnswer, TransportId},
    credential::{Grant, Presented},
    due::Due,
    faults::Refusal,
    frame::{action, error, map, member, text},
    hub::Hub,
    ledger::Margin,
};
use crate::clock::Now;

impl Hub {
    /// A client's AUTH.
    pub(super) fn authenticate(&mut self, id: TransportId, frame: &Value) {
        let now = Now::read();
        let Some(transport) = self.transports.get(&id) else { return };
        let overlaps = !transport.auths.is_empty();
        self.ledger.count(|c| {
            c.auths += 1;
            c.overlapping_auths += u64::from(overlaps);
        });
        let Some(token) = member(frame, "auth").and_then(|a| text(a, "accessToken")) else {
            return self.breach(id, "an AUTH without a token");
        };
        if self.standing.swallow_auths > 0 {
            self.standing.swallow_auths -= 1;
            // The token is judged all the same: a dead one is counted, no matter who answers.
            let _ = self.judge(Presented::Token(token), now);
            return;
        }
        let answer = match (self.judge(Presented::Token(token), now), self.standing.refuse_auths.pop_front())
        {
            (_, Some(refusal)) => AuthAnswer::Refused(refusal_frame(refusal)),
            (Ok(grant), None) => self.adopt(id, grant, now),
            (Err(denial), None) => {
                AuthAnswer::Refused(failure(action::ERROR, denial.code, denial.status, denial.message))
            }
        };
        let delay = self.standing.delay_auths.pop_front().unwrap_or(self.options.auth_delay);
        if let Some(transport) = self.transports.get_mut(&id) {
            transport.auths.push_back(answer);
            self.auths_open += 1;
        }
        let open = self.auths_open as u64;
        self.ledger.count(|c| c.most_auths_at_once = c.most_auths_at_once.max(open));
        self.set_timer(now.mono + delay, Due::AuthAnswer(id));
    }

    /// Takes a good token in place of the one before, if it is of the same client.
    fn adopt(&mut self, id: TransportId, grant: Grant, now: Now) -> AuthAnswer {
        let Some(transport) = self.transports.get_mut(&id) else { return AuthAnswer::Connected };
        let bound = self.connections.get(&transport.connection).and_then(|c| c.client_id.as_deref());
        let fits = matches!(grant.client_id.as_deref(), Some("*")) || grant.client_id.as_deref() == bound;
        if !fits {
            let message = "mismatched clientId for existing connection";
            return AuthAnswer::Refused(failure(action::ERROR, 40102, 401, message));
        }
        let left = transport.grant.expires.map(|at| at.saturating_sub(now.wall));
        transport.grant = grant;
        transport.grants += 1;
        if let Some(left) = left {
            self.ledger.margin(Margin { connection_id: transport.connection.clone(), left });
        }
        self.watch_token(id, now);
        AuthAnswer::Connected
    }

    /// The oldest AUTH's time has come.
    pub(super) fn answer_auth(&mut self, id: TransportId) {
        let Some(answer) = self.transports.get_mut(&id).and_then(|t| t.auths.pop_front()) else { return };
        self.auths_open -= 1;
        match answer {
            AuthAnswer::Connected => {
                self.ledger.count(|c| c.auths_accepted += 1);
                self.say_connected(id, Value::Nil);
            }
            AuthAnswer::Refused(frame) => self.end(id, Some(&frame), CloseCode::Normal),
        }
    }

    /// Sets the timers of a grant's hint and end.
    pub(super) fn watch_token(&mut self, id: TransportId, now: Now) {
        let Some(transport) = self.transports.get(&id) else { return };
        let Some(expires) = transport.grant.expires else { return };
        let grant = transport.grants;
        let left = expires.saturating_sub(now.wall);
        let before = self.options.hint_before;
        if !before.is_zero() && left > before / 6 {
            self.set_timer(now.mono + left.saturating_sub(before), Due::Hint(id, grant));
        }
        self.set_timer(now.mono + left, Due::Expiry(id, grant));
    }

    pub(super) fn has_grant(&self, id: TransportId, grant: u64) -> bool {
        self.transports.get(&id).is_some_and(|t| t.grants == grant)
    }

    /// Asks for another token.
    pub(super) fn hint(&mut self, id: TransportId) {
        self.ledger.count(|c| c.hints += 1);
        self.send(id, &map([("action", action::AUTH.into())]));
    }

    /// A client's token has ended, and no other came.
    pub(super) fn token_ended(&mut self, id: TransportId) {
        self.ledger.count(|c| c.expiry_disconnects += 1);
        let message = "key/token status changed (token expired)";
        self.end(id, Some(&failure(action::DISCONNECTED, 40142, 401, message)), CloseCode::Normal);
    }

    /// Ends a client's token before its time. A key cannot be ended so.
    pub(super) fn revoke(&mut self, id: TransportId) {
        let Some(transport) = self.transports.get(&id) else { return };
        let token = transport.grant.token.clone();
        if !token.is_empty() {
            self.issuer.revoke([token]);
            let message = "key/token status changed (token expired)";
            self.end(id, Some(&failure(action::DISCONNECTED, 40142, 401, message)), CloseCode::Normal);
        }
    }
}

fn refusal_frame(refusal: Refusal) -> Value {
    let action = if refusal.disconnected { action::DISCONNECTED } else { action::ERROR };
    failure(action, refusal.code, refusal.status, "refused by order")
}

fn failure(action: u64, code: u64, status: u64, message: &str) -> Value {
    map([("action", action.into()), ("error", error(code, status, message))])
}
