//! The conversation of a resumed connection, word by word: what must wait for what.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::{clock, wire::Kind};

struct Middle {
    dialect: Ably,
    say: Say,
}

impl Middle {
    fn new(target: &str) -> Self {
        let request = Request::new(target, &HeaderMap::new());
        let dialect = Ably::new(request, Arc::new(Lines::new(10)), 1 << 20, clock::now());
        Self { dialect, say: Say::default() }
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
        let said = std::mem::take(&mut self.say.to_upstream);
        said.iter().map(|payload| serde_json::from_slice(&payload.bytes).unwrap()).collect()
    }
}

fn connected(key: &str) -> Value {
    json!({"connectionDetails": {"connectionKey": key}, "connectionId": "me", "action": 4})
}

#[test]
fn presence_waits_for_its_channel() {
    let mut middle = Middle::new("/?format=json&v=2");
    assert_eq!(middle.service(Moment::Opening, &connected("k1")).meaning, Meaning::Ready);
    middle.client(&json!({"action": 10, "channel": "c", "params": {"rewind": "1"}}));
    middle.service(
        Moment::Live,
        &json!({"action": 11, "channel": "c", "channelSerial": "s1", "flags": 983_040}),
    );
    middle.client(
        &json!({"action": 14, "channel": "c", "msgSerial": 0, "presence": [{"action": 2, "clientId": "a"}]}),
    );
    middle.service(
        Moment::Live,
        &json!({"action": 14, "channel": "c", "channelSerial": "s2", "connectionId": "me", "id": "me:0",
            "presence": [{"action": 2, "clientId": "a", "data": 1}]}),
    );
    middle.client(&json!({"action": 15, "channel": "d", "msgSerial": 1, "messages": [{"data": 1}]}));
    assert!(middle.dialect.lost());
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
    let now = clock::Now::read();
    let token = Token::new("new", crate::credential::Generation(1), now, None);
    let first = middle.dialect.handshake(Some(&token)).unwrap().target;
    assert_eq!(
        first, "/?accessToken=new&format=json&v=2&resume=unknown",
        "a key nobody remembers is not passed on"
    );
    middle.service(Moment::Opening, &connected("k1"));
    middle.dialect.exchange(&token, &mut middle.say);
    assert_eq!(middle.said(), [json!({"action": 17, "auth": {"accessToken": "new"}})]);
    assert_eq!(middle.service(Moment::Exchanging, &connected("k2")), Verdict::swallow(Meaning::Accepted));
    assert!(middle.dialect.lost());
    let again = middle.dialect.handshake(Some(&token)).unwrap().target;
    assert_eq!(again, "/?accessToken=new&format=json&v=2&resume=k2");
}
