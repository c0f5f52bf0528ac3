//! The dialect in the middle of a conversation, message by message, without a session.

mod bounds;
mod channels;
mod farewell;
mod presence;
mod records;
mod refusals;
mod spelling;

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::{
    clock::{self, Now},
    credential::Generation,
    dialect::Fate,
    wire::{Kind, Payload},
};

/// Bytes that a dialect of these tests may keep.
const LIMIT: usize = 1 << 20;

struct Middle {
    dialect: Ably,
    say: Say,
}

impl Middle {
    /// A client that has just asked.
    fn new(target: &str) -> Self {
        Self::on(&Arc::new(Records::new(10)), target, clock::now(), LIMIT)
    }

    fn on(records: &Arc<Records>, target: &str, now: Instant, limit: usize) -> Self {
        let request = Request::new(target, &HeaderMap::new());
        let dialect = Ably::new(request, Arc::clone(records), limit, now);
        Self { dialect, say: Say::default() }
    }

    /// A client that is connected.
    fn open() -> Self {
        Self::open_with(LIMIT)
    }

    fn open_with(limit: usize) -> Self {
        let mut middle = Self::on(&Arc::new(Records::new(10)), "/?format=json&v=2", clock::now(), limit);
        assert_eq!(middle.service(Moment::Opening, &connected("k1")).meaning, Meaning::Ready);
        middle
    }

    fn service(&mut self, moment: Moment, message: &Value) -> Verdict {
        let bytes = message.to_string();
        let message = Message { kind: Kind::Text, payload: bytes.as_bytes() };
        self.dialect.upstream(message, moment, clock::now(), &mut self.say)
    }

    fn client(&mut self, message: &Value) -> Verdict {
        let bytes = message.to_string();
        let message = Message { kind: Kind::Text, payload: bytes.as_bytes() };
        self.dialect.client(message, Moment::Live, clock::now(), &mut self.say)
    }

    /// What was said to the service since the last time.
    fn said(&mut self) -> Vec<Value> {
        let instead = self.say.instead.take();
        self.say.to_upstream.extend(instead);
        read(&mut self.say.to_upstream)
    }

    /// What was said to the client since the last time.
    fn told(&mut self) -> Vec<Value> {
        read(&mut self.say.to_client)
    }

    /// The target of the next dial.
    fn dials(&mut self) -> String {
        let token = Token::new("new", Generation(1), Now::read(), None);
        self.dialect.handshake(Some(&token)).unwrap().target
    }

    fn attach(&mut self, channel: &str) {
        self.client(&json!({"action": 10, "channel": channel}));
        self.service(Moment::Live, &attached(channel, 0));
    }

    /// The client says something of a member, which the service neither echoes nor acknowledges.
    fn presence(&mut self, channel: &str, serial: u64, action: u64, data: &str) {
        let item = json!({"action": action, "clientId": "alice", "data": data});
        self.client(&json!({"action": 14, "channel": channel, "msgSerial": serial, "presence": [item]}));
    }

    /// The client enters a member, and the service takes it.
    fn enters(&mut self, channel: &str, serial: u64) {
        self.presence(channel, serial, 2, "old");
        self.echo(channel, serial, "old");
        self.service(Moment::Live, &ack(serial));
    }

    fn echo(&mut self, channel: &str, serial: u64, data: &str) {
        let item = json!({"action": 2, "clientId": "alice", "data": data});
        let id = format!("me:{serial}");
        let echo =
            json!({"action": 14, "channel": channel, "connectionId": "me", "id": id, "presence": [item]});
        self.service(Moment::Live, &echo);
    }

    /// The upstream is lost, and the service continues the connection: what Perennial says first.
    fn resumes(&mut self) -> Vec<Value> {
        assert_eq!(self.dialect.lost(), Ok(()));
        self.service(Moment::Resuming, &connected("k2"));
        self.said()
    }
}

fn read(payloads: &mut Vec<Payload>) -> Vec<Value> {
    let said = std::mem::take(payloads);
    said.iter().map(|payload| serde_json::from_slice(&payload.bytes).unwrap()).collect()
}

fn connected(key: &str) -> Value {
    connected_as("me", key)
}

fn connected_as(id: &str, key: &str) -> Value {
    json!({"connectionDetails": {"connectionKey": key}, "connectionId": id, "action": 4})
}

/// ATTACHED with these flags beside the modes.
fn attached(channel: &str, flags: u64) -> Value {
    json!({"action": 11, "channel": channel, "channelSerial": "s1", "flags": 983_040 + flags})
}

fn ack(serial: u64) -> Value {
    json!({"action": 1, "msgSerial": serial, "count": 1})
}

fn publish(serial: u64) -> Value {
    json!({"action": 15, "channel": "c", "msgSerial": serial, "messages": [{"data": 1}]})
}

/// The messages of an action.
fn of(action: u64, said: &[Value]) -> Vec<Value> {
    said.iter().filter(|message| message["action"] == action).cloned().collect()
}

#[test]
fn presence_waits_for_its_channel() {
    let mut middle = Middle::open();
    middle.client(&json!({"action": 10, "channel": "c", "params": {"rewind": "1"}}));
    middle.service(Moment::Live, &attached("c", 0));
    middle.client(
        &json!({"action": 14, "channel": "c", "msgSerial": 0, "presence": [{"action": 2, "clientId": "a"}]}),
    );
    middle.service(
        Moment::Live,
        &json!({"action": 14, "channel": "c", "channelSerial": "s2", "connectionId": "me", "id": "me:0",
            "presence": [{"action": 2, "clientId": "a", "data": 1}]}),
    );
    middle.client(&json!({"action": 15, "channel": "d", "msgSerial": 1, "messages": [{"data": 1}]}));
    assert!(middle.dialect.lost().is_ok());
    let resumed = middle.service(Moment::Resuming, &connected("k2"));
    assert_eq!(resumed, Verdict::SWALLOW, "it is not ready before the channel is attached");
    let attach = json!({"action": 10, "channel": "c", "params": {"rewind": "1"}, "channelSerial": "s2"});
    assert_eq!(middle.said(), [attach], "nothing goes before the channel is attached");
    let attached = json!({"action": 11, "channel": "c", "channelSerial": "s2", "flags": 983_045});
    let verdict = middle.service(Moment::Resuming, &attached);
    assert_eq!(verdict, Verdict::swallow(Meaning::Ready));
    let said = middle.said();
    let serials: Vec<_> = said.iter().map(|message| message["msgSerial"].as_u64().unwrap()).collect();
    assert_eq!(serials, [0, 1, 2], "as they were sent, then the member: {said:?}");
    assert_eq!(said[2]["presence"], json!([{"action": 2, "id": "me:0:0", "clientId": "a", "data": 1}]));
}

#[test]
fn the_newest_key_resumes_and_one_credential_goes_out() {
    let mut middle = Middle::new("/?key=a.b%3Ac&access_token=old&format=json&accessToken=x&resume=stale&v=2");
    assert_eq!(
        middle.dials(),
        "/?accessToken=new&format=json&v=2&resume=unknown",
        "a key without a record is not passed on"
    );
    middle.service(Moment::Opening, &connected("k1"));
    let token = Token::new("new", Generation(1), Now::read(), None);
    middle.dialect.exchange(Some(&token), clock::now(), &mut middle.say);
    assert_eq!(middle.said(), [json!({"action": 17, "auth": {"accessToken": "new"}})]);
    assert_eq!(middle.service(Moment::Exchanging, &connected("k2")), Verdict::swallow(Meaning::Accepted));
    assert!(middle.dialect.lost().is_ok());
    assert_eq!(middle.dials(), "/?accessToken=new&format=json&v=2&resume=k2");
}

#[test]
fn a_rate_of_zero_names_no_limit() {
    let mut middle = Middle::new("/?format=json&v=2");
    let details = json!({"connectionKey": "k", "maxInboundRate": 0});
    middle
        .service(Moment::Opening, &json!({"action": 4, "connectionId": "me", "connectionDetails": details}));
    assert_eq!(middle.dialect.pace(), DEFAULT_PACE);
}

/// How long the service promised to be silent at most, as it said last.
fn promised(middle: &Middle) -> Option<Duration> {
    middle.dialect.connection.as_ref()?.max_idle
}

/// How long the client is left without a message.
fn heartbeat(middle: &Middle) -> Option<Duration> {
    let told = clock::now();
    middle.dialect.due(told).map(|at| at - told)
}

#[test]
fn the_clients_patience_is_the_one_it_was_shown() {
    let promise = |key: &str, millis: u64| {
        let details = json!({"connectionKey": key, "maxIdleInterval": millis});
        json!({"action": 4, "connectionId": "me", "connectionDetails": details})
    };
    let secs = |n| Some(Duration::from_secs(n));
    let mut middle = Middle::new("/?format=json&v=2");
    middle.service(Moment::Opening, &promise("k1", 0));
    assert_eq!((heartbeat(&middle), promised(&middle)), (None, None));
    // A CONNECTED that the client sees.
    assert_eq!(middle.service(Moment::Live, &promise("k2", 3000)).fate, Fate::Forward);
    assert_eq!((heartbeat(&middle), promised(&middle)), (secs(2), secs(3)));
    // The answer to Perennial's own AUTH: the client still gives up after three seconds.
    let token = Token::new("new", Generation(2), Now::read(), None);
    middle.dialect.exchange(Some(&token), clock::now(), &mut middle.say);
    assert_eq!(middle.service(Moment::Exchanging, &promise("k3", 30_000)).fate, Fate::Swallow);
    assert_eq!((heartbeat(&middle), promised(&middle)), (secs(2), secs(30)));
}
