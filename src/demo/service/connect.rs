//! How a connection begins, continues, and is forgotten.
//!
//! ```text
//!   query ──► credential ──► client id ──► resume? ──► CONNECTED (same id, or another and 80018)
//!                │ no           │ no
//!                ▼              ▼
//!             ERROR, close   ERROR, close       the handshake itself has been accepted: as Ably does
//!
//!   lost ──► attachments gone ──► members leave after their grace ──► forgotten after its ttl
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use rmpv::Value;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    connection::{Connection, Line, Rate, Transport, TransportId, Wishes, connection_of},
    credential::{Denial, Flaw, Grant, Presented},
    due::Due,
    frame::{action, error, map},
    hub::Hub,
};
use crate::clock::Now;

/// What a connecting client's query says.
pub(super) struct Request {
    pub(super) wishes: Wishes,
    /// Every credential that was there; exactly one should be.
    pub(super) credentials: Vec<Credential>,
    /// What is wrong with the rest of the query.
    pub(super) fault: Option<Refused>,
}

/// A credential of the query.
pub(super) enum Credential {
    Key(String),
    Token(String),
}

/// Why a client is refused: code, status, what it is told.
pub(super) type Refused = (u64, u64, &'static str);

impl Hub {
    /// A transport was opened: answers CONNECTED, or ERROR and the end.
    pub(super) fn open(&mut self, request: &Request, line: &Line) -> TransportId {
        let now = Now::read();
        self.transports_made += 1;
        let id = TransportId(self.transports_made);
        let joined = self.admit(request, now).and_then(|(grant, client_id)| {
            let transport = Transport {
                connection: String::new(),
                wishes: request.wishes.clone(),
                line: line.clone(),
                grant,
                grants: 0,
                attached: BTreeMap::new(),
                unsent_acks: VecDeque::new(),
                auths: VecDeque::new(),
                rate: Rate::new(now.mono),
            };
            self.join(id, transport, client_id, now)
        });
        if let Err(why) = joined {
            refuse(line, &request.wishes, why);
        }
        id
    }

    /// What the client may do, and who it is.
    fn admit(&mut self, request: &Request, now: Now) -> Result<(Grant, Option<String>), Refused> {
        if let Some(fault) = request.fault {
            self.ledger.violation(format!("handshake: {}", fault.2));
            return Err(fault);
        }
        let claimed = request.wishes.client_id.as_deref();
        match request.credentials.as_slice() {
            [Credential::Key(key)] => {
                let grant = self.judge(Presented::Key(key), now).map_err(|d| d.told())?;
                // Who holds the key may be anyone.
                Ok((grant, claimed.map(str::to_owned)))
            }
            [Credential::Token(token)] => {
                let grant = self.judge(Presented::Token(token), now).map_err(|d| d.told())?;
                let client_id = bound_client(grant.client_id.as_deref(), claimed)?;
                Ok((grant, client_id))
            }
            [] => {
                self.ledger.violation("handshake: no credential".into());
                Err((40101, 401, "no authentication information provided"))
            }
            [..] => {
                self.ledger.violation("handshake: more than one credential".into());
                Err((40101, 401, "more than one credential provided"))
            }
        }
    }

    /// Judges a credential, and counts the refused.
    pub(super) fn judge(&mut self, presented: Presented<'_>, now: Now) -> Result<Grant, Denial> {
        let judged = self.issuer.judge(presented, now.wall);
        if let Err(denial) = &judged {
            self.ledger.count(|c| match denial.flaw {
                Flaw::Dead => c.dead_tokens += 1,
                Flaw::Revoked => c.revoked_tokens += 1,
                Flaw::Bad => c.bad_credentials += 1,
            });
        }
        judged
    }

    /// Puts a transport on the connection it continues, or on a new one, and says CONNECTED.
    fn join(
        &mut self,
        id: TransportId,
        mut transport: Transport,
        client_id: Option<String>,
        now: Now,
    ) -> Result<(), Refused> {
        let wanted = transport.wishes.resume.clone();
        let continued = wanted.as_deref().and_then(|key| self.continued_by(key));
        if let Some(connection) = continued.as_ref().and_then(|c| self.connections.get(c))
            && connection.client_id != client_id
        {
            return Err((40102, 401, "mismatched clientId for existing connection"));
        }
        let connection_id = continued.clone().unwrap_or_else(|| {
            let connection = Connection::new(client_id);
            let name = connection.id.clone();
            self.connections.insert(name.clone(), connection);
            name
        });
        self.supersede(&connection_id);
        if let Some(connection) = self.connections.get_mut(&connection_id) {
            connection.transport = Some(id);
        }
        transport.connection = connection_id;
        self.transports.insert(id, transport);
        self.ledger.count(|c| {
            c.connects += 1;
            c.resumes += u64::from(continued.is_some());
            c.failed_resumes += u64::from(wanted.is_some() && continued.is_none());
        });
        let lost = wanted.is_some() && continued.is_none();
        let fault = if lost { error(80018, 400, "invalid connection key") } else { Value::Nil };
        self.say_connected(id, fault);
        self.start_heartbeat(id);
        self.watch_token(id, now);
        Ok(())
    }

    /// The connection that this key continues.
    fn continued_by(&mut self, key: &str) -> Option<String> {
        if self.standing.forget_resumes > 0 {
            self.standing.forget_resumes -= 1;
            return None;
        }
        let connection = self.connections.get(connection_of(key)?)?;
        connection.gave(key, self.options.newest_key_only).then(|| connection.id.clone())
    }

    fn supersede(&mut self, connection: &str) {
        let Some(old) = self.connections.get(connection).and_then(|c| c.transport) else { return };
        self.ledger.count(|c| c.superseded += 1);
        let replaced = error(80016, 410, "connection replaced by a newer transport");
        let frame = map([("action", action::DISCONNECTED.into()), ("error", replaced)]);
        self.end(old, Some(&frame), CloseCode::Normal);
    }

    /// CONNECTED, with a key that was never given before.
    pub(super) fn say_connected(&mut self, id: TransportId, fault: Value) {
        let Some(transport) = self.transports.get(&id) else { return };
        let Some(connection) = self.connections.get_mut(&transport.connection) else { return };
        let key = connection.next_key();
        let details = map([
            ("clientId", connection.client_id.clone().map_or(Value::Nil, Value::from)),
            ("connectionKey", key.into()),
            ("maxMessageSize", self.options.max_message_size.into()),
            ("maxInboundRate", self.options.max_inbound_rate.into()),
            ("maxOutboundRate", 1000.into()),
            ("maxFrameSize", 524_288.into()),
            ("serverId", "embedded.1".into()),
            ("connectionStateTtl", millis(self.options.connection_state_ttl).into()),
            ("maxIdleInterval", millis(self.options.max_idle_interval).into()),
        ]);
        let frame = map([
            ("action", action::CONNECTED.into()),
            ("connectionId", connection.id.clone().into()),
            ("connectionDetails", details),
            ("error", fault),
        ]);
        self.send(id, &frame);
    }

    /// A transport is gone, for whatever reason: what was attached is no more, the rest waits.
    pub(super) fn lost(&mut self, id: TransportId) {
        let Some(transport) = self.take_transport(id) else { return };
        let Some(connection) = self.connections.get_mut(&transport.connection) else { return };
        connection.losses += 1;
        let (name, loss) = (transport.connection, connection.losses);
        self.ledger.count(|c| c.losses += 1);
        self.mark_left_behind(&name, loss);
        let now = Now::read().mono;
        self.set_timer(now + self.options.presence_grace, Due::Leave(name.clone(), loss));
        self.set_timer(now + self.options.connection_state_ttl, Due::Forget(name, loss));
    }

    /// Takes a transport off its connection and its channels.
    pub(super) fn take_transport(&mut self, id: TransportId) -> Option<Transport> {
        let transport = self.transports.remove(&id)?;
        self.auths_open -= transport.auths.len();
        for name in transport.attached.keys() {
            if let Some(channel) = self.channels.get_mut(name) {
                channel.attached.remove(&id);
            }
        }
        if let Some(connection) = self.connections.get_mut(&transport.connection)
            && connection.transport == Some(id)
        {
            connection.transport = None;
        }
        Some(transport)
    }

    pub(super) fn forget_connection(&mut self, name: &str, loss: u64) {
        let gone = self.connections.get(name).is_some_and(|c| c.transport.is_none() && c.losses == loss);
        if gone {
            self.leave_all(name);
            self.connections.remove(name);
        }
    }
}

/// Who a connection is, by its token and by what it says of itself.
fn bound_client(token: Option<&str>, claimed: Option<&str>) -> Result<Option<String>, Refused> {
    match (token, claimed) {
        (Some("*"), claimed) => Ok(Some(claimed.unwrap_or("*").to_owned())),
        (token, None) => Ok(token.map(str::to_owned)),
        (Some(token), Some(claimed)) if token == claimed => Ok(Some(token.to_owned())),
        (Some(_) | None, Some(_)) => Err((40102, 401, "clientId does not match that of the token")),
    }
}

/// Says ERROR on a line that has no transport, and ends it.
fn refuse(line: &Line, wishes: &Wishes, (code, status, message): Refused) {
    let frame = map([("action", action::ERROR.into()), ("error", error(code, status, message))]);
    let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    // The line is new and empty.
    let _ = line.frames.try_send(wishes.format.encode(&frame));
    let _ = line.frames.try_send(Message::Close(Some(close)));
}

/// A duration as the protocol writes it.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
