//! What clients send to channels: accepted once, acknowledged, delivered.
//!
//! ```text
//!   msgSerial = next     ──► accept, deliver, ACK (or NACK)      next + 1
//!             < next     ──► the same as then? ACK again         else a violation
//!             > next     ──► a violation, unless options let serials come late
//! ```
//!
//! Serials belong to the connection, so they go on where a resumed transport goes on; a client that
//! lost an ACK with its transport repeats the publish and gets the answer of the first time.

use std::hash::{DefaultHasher, Hash, Hasher};

use rmpv::Value;
use serde_json::Value as Json;

use super::{
    attach::flag,
    channel::Channel,
    connect::millis,
    connection::{Answered, Outcome, TransportId},
    due::Due,
    faults::Cut,
    frame::{Broadcast, action, error, map, member, number, put, text, to_json},
    hub::Hub,
    ledger::Published,
};
use crate::clock::{self, Now};

/// How far ahead a serial may be where options let others come after it.
const LATE: u64 = 10_000;

/// Where a serial stands among those of its connection.
enum Turn {
    Due,
    Repeated,
    /// This one was due.
    Ahead(u64),
}

impl Hub {
    pub(super) fn publish(&mut self, id: TransportId, kind: u64, frame: &Value) {
        let Some(serial) = number(frame, "msgSerial") else {
            return self.breach(id, "a publish without msgSerial");
        };
        let Some(channel) = self.channel_named(id, frame) else { return };
        let digest = digest(kind, &channel, frame);
        match self.turn(id, serial) {
            Turn::Due => self.take(id, kind, serial, &channel, frame, digest),
            Turn::Repeated => self.repeated(id, serial, digest),
            Turn::Ahead(due) => self.breach(id, &format!("msgSerial {serial} where {due} was due")),
        }
    }

    /// Where a serial stands; one that was due is no longer so.
    fn turn(&mut self, id: TransportId, serial: u64) -> Turn {
        let late_serials = self.options.late_serials;
        let Some(connection) = self.transports.get(&id).and_then(|t| self.connections.get_mut(&t.connection))
        else {
            return Turn::Repeated;
        };
        let next = connection.next_serial;
        if connection.late.remove(&serial) {
            self.ledger.count(|c| c.late += 1);
            return Turn::Due;
        }
        if serial < next {
            return Turn::Repeated;
        }
        if serial > next && (!late_serials || serial - next > LATE) {
            return Turn::Ahead(next);
        }
        connection.late.extend(next..serial);
        connection.next_serial = serial + 1;
        Turn::Due
    }

    fn take(&mut self, id: TransportId, kind: u64, serial: u64, channel: &str, frame: &Value, digest: u64) {
        let outcome = self.outcome(id, kind, serial, channel, frame);
        let accepted = matches!(outcome, Outcome::Acked(_));
        self.ledger.count(|c| if accepted { c.accepted += 1 } else { c.nacks += 1 });
        let Some(connection) = self.transports.get(&id).and_then(|t| self.connections.get_mut(&t.connection))
        else {
            return;
        };
        connection.remember(Answered { serial, digest, outcome: outcome.clone() });
        if accepted && self.standing.cut_before_ack > 0 {
            self.standing.cut_before_ack -= 1;
            return self.cut(id, Cut::Reset);
        }
        self.acknowledge(id, serial, outcome);
    }

    fn repeated(&mut self, id: TransportId, serial: u64, digest: u64) {
        let Some(connection) = self.transports.get(&id).and_then(|t| self.connections.get(&t.connection))
        else {
            return;
        };
        let known = connection.answered.iter().find(|a| a.serial == serial);
        if known.is_some_and(|a| a.digest != digest) {
            return self.breach(id, &format!("msgSerial {serial} used again for something else"));
        }
        let outcome = known.map_or_else(|| Outcome::Acked(Vec::new()), |a| a.outcome.clone());
        self.ledger.count(|c| c.repeats += 1);
        if self.options.reack {
            self.acknowledge(id, serial, outcome);
        }
    }

    /// Accepts or refuses a publish whose turn it is.
    fn outcome(&mut self, id: TransportId, kind: u64, serial: u64, channel: &str, frame: &Value) -> Outcome {
        let limit = self.options.max_inbound_rate;
        let Some(transport) = self.transports.get_mut(&id) else { return Outcome::Acked(Vec::new()) };
        if !transport.rate.takes(limit, clock::now()) {
            self.ledger.count(|c| c.over_rate += 1);
            if self.options.enforce_inbound_rate {
                return Outcome::Nacked { code: 42911, status: 429, message: "publish rate exceeded" };
            }
        }
        if kind == action::PRESENCE {
            self.present(id, serial, channel, frame)
        } else {
            self.accept(id, kind, serial, channel, frame)
        }
    }

    fn accept(&mut self, id: TransportId, kind: u64, serial: u64, channel: &str, frame: &Value) -> Outcome {
        let (field, mode) = match kind {
            action::ANNOTATION => ("annotations", flag::ANNOTATION_SUBSCRIBE),
            action::OBJECT => ("state", flag::OBJECT_SUBSCRIBE),
            _ => ("messages", flag::SUBSCRIBE),
        };
        let Some(Value::Array(items)) = member(frame, field) else {
            self.ledger.violation(format!("a publish without {field}"));
            return Outcome::Nacked { code: 40000, status: 400, message: "nothing to publish" };
        };
        let Some(transport) = self.transports.get(&id) else { return Outcome::Acked(Vec::new()) };
        let connection = transport.connection.clone();
        let client = self.connections.get(&connection).and_then(|c| c.client_id.clone()).filter(|c| c != "*");
        let wall = Now::read().wall;
        let mut serials = Vec::with_capacity(items.len());
        let mut items = items.clone();
        for (index, item) in items.iter_mut().enumerate() {
            let item_serial = format!("{:014}-{:03}@srv:{index}", millis(wall), serial % 1000);
            if let Some(client) = &client {
                put(item, "clientId", client.as_str().into());
            }
            if mode == flag::SUBSCRIBE {
                put(item, "serial", item_serial.as_str().into());
                self.ledger.publish(published(&connection, channel, item));
            }
            serials.push(item_serial);
        }
        let id = format!("{connection}:{serial}");
        self.deliver(channel, &connection, kind, mode, field, &id, Value::Array(items));
        Outcome::Acked(serials)
    }

    /// Remembers a message and gives it to all who are attached; the serial it got.
    #[expect(clippy::too_many_arguments, reason = "they are the members of the one frame built here")]
    pub(super) fn deliver(
        &mut self,
        name: &str,
        connection: &str,
        kind: u64,
        mode: u64,
        field: &str,
        id: &str,
        items: Value,
    ) -> String {
        let now = Now::read();
        let (limit, ttl) = (self.options.history, self.options.history_ttl);
        let channel = self.channels.entry(name.to_owned()).or_insert_with(Channel::new);
        let serial = channel.next_serial();
        let sender = if connection.is_empty() { Value::Nil } else { connection.into() };
        let frame = map([
            ("action", kind.into()),
            ("id", id.into()),
            ("connectionId", sender),
            ("timestamp", millis(now.wall).into()),
            ("channel", name.into()),
            ("channelSerial", serial.as_str().into()),
            (field, items),
        ]);
        channel.trim(limit, ttl, now.mono);
        let mut frame = Broadcast::new(frame);
        let mut messages = Vec::with_capacity(channel.attached.len());
        for id in &channel.attached {
            let Some(transport) = self.transports.get(id) else { continue };
            let hears = transport.attached.get(name).is_some_and(|modes| modes & mode != 0);
            if hears && (transport.wishes.echo || transport.connection != connection) {
                messages.push((*id, frame.encoded(transport.wishes.format)));
            }
        }
        channel.remember(connection, frame, mode, now.mono);
        for (id, message) in messages {
            self.put_on_line(id, message);
        }
        serial
    }

    fn acknowledge(&mut self, id: TransportId, serial: u64, outcome: Outcome) {
        let (batch, delay) = (self.options.ack_batch, self.options.ack_delay);
        let Some(transport) = self.transports.get_mut(&id) else { return };
        transport.unsent_acks.push_back((serial, outcome));
        let waiting = transport.unsent_acks.len();
        if waiting >= batch {
            self.flush_acks(id);
        } else if waiting == 1 {
            self.set_timer(clock::now() + delay, Due::Acks(id));
        }
    }

    /// Sends what was answered: one ACK or NACK for each run of serials with the same answer.
    pub(super) fn flush_acks(&mut self, id: TransportId) {
        if self.standing.hold_acks {
            return;
        }
        let Some(transport) = self.transports.get_mut(&id) else { return };
        let version = transport.wishes.version;
        let mut waiting: Vec<(u64, Outcome)> = transport.unsent_acks.drain(..).collect();
        while let Some((first, _)) = waiting.first() {
            let first = *first;
            let run = waiting
                .iter()
                .zip(first..)
                .take_while(|((serial, outcome), due)| serial == due && same_answer(outcome, &waiting[0].1))
                .count();
            let answered: Vec<_> = waiting.drain(..run).map(|(_, outcome)| outcome).collect();
            self.send(id, &answer(first, &answered, version));
        }
    }
}

fn same_answer(one: &Outcome, other: &Outcome) -> bool {
    match (one, other) {
        (Outcome::Acked(_), Outcome::Acked(_)) => true,
        (Outcome::Nacked { .. }, Outcome::Nacked { .. }) => one == other,
        (Outcome::Acked(_), Outcome::Nacked { .. }) | (Outcome::Nacked { .. }, Outcome::Acked(_)) => false,
    }
}

/// The ACK or NACK of a run of serials, which all have the same answer.
fn answer(first: u64, run: &[Outcome], version: u64) -> Value {
    if let Some(Outcome::Nacked { code, status, message }) = run.first() {
        return map([
            ("action", action::NACK.into()),
            ("msgSerial", first.into()),
            ("count", run.len().into()),
            ("error", error(*code, *status, message)),
        ]);
    }
    let results = run.iter().map(|outcome| {
        let serials = match outcome {
            Outcome::Acked(serials) => serials.iter().map(|s| s.as_str().into()).collect(),
            Outcome::Nacked { .. } => Vec::new(),
        };
        map([("serials", Value::Array(serials))])
    });
    let results = if version >= 5 { Value::Array(results.collect()) } else { Value::Nil };
    map([
        ("action", action::ACK.into()),
        ("msgSerial", first.into()),
        ("count", run.len().into()),
        ("res", results),
    ])
}

/// What a message says, for the ledger.
pub(super) fn published(connection: &str, channel: &str, item: &Value) -> Published {
    Published {
        connection_id: connection.to_owned(),
        channel: channel.to_owned(),
        name: text(item, "name").unwrap_or_default().to_owned(),
        data: member(item, "data").map_or(Json::Null, to_json),
    }
}

/// Tells two publishes apart; a repeat may have been encoded again, so members are taken by name.
fn digest(kind: u64, channel: &str, frame: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    (kind, channel).hash(&mut hasher);
    for field in ["messages", "presence", "annotations", "state"] {
        // A JSON object sorts its members.
        member(frame, field).map(|v| to_json(v).to_string()).hash(&mut hasher);
    }
    hasher.finish()
}
