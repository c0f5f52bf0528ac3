//! Values from outside in messages: a channel's token, a signature over what the service said.

use super::*;
use crate::dialect::Want;

/// Each subscription shows a token of its channel, which is renewed in band.
const CHANNELS: &str = r#"
[dialect.x.source.channel]
source = "http"
url = "http://auth/token?channel={arg}"
[[dialect.x.frame]]
name = "subscribe"
match = { "/op" = "sub" }
arg = "{item/channel}"
set = { "/token" = "{token.channel}" }
replay = true
key = "/channel"
until = [{ "/op" = "unsub", "/channel" = "{key}" }]
answer = [{ "/ok" = "sub", "/channel" = "{key}" }]
[[dialect.x.exchange]]
for_each = "subscribe"
source = "channel"
send = { op = "renew", channel = "{key}", token = "{token.channel}" }
ok = [{ "/ok" = "renew", "/channel" = "{key}" }]
fail = [{ "/no" = "renew", "/channel" = "{key}" }]
"#;

/// The first message on each connection is signed over the service's hello.
const SIGNED: &str = r#"
[dialect.x.source.sign]
source = "exec"
command = ["sign"]
use = "once"
[[dialect.x.frame]]
from = "server"
match = { "/op" = "hello" }
means = "ready"
capture = { nonce = "/nonce" }
[[dialect.x.frame]]
name = "connect"
match = { "/op" = "connect" }
arg = "{var.nonce}"
set = { "/sig" = "{token.sign}" }
replay = true
answer = [{ "/op" = "welcome" }]
"#;

impl Talk {
    /// The value of this source for this has come: a text and its number. It lives for five seconds.
    fn value(&mut self, (source, arg): (&str, &str), value: Option<(&str, u64)>) -> Vec<String> {
        let want = Want { source: source.into(), arg: arg.into() };
        let token = value.map(|(text, generation)| {
            let mut token = Token::new(text, Generation(generation), Now::read(), None);
            token.expires = Some(self.now + Duration::from_secs(5));
            token
        });
        self.tell(Event::Value(&want, token.as_ref()))
    }

    fn turn(&mut self) -> Vec<String> {
        let token = numbered(self.generation, 60, self.now);
        self.tell(Event::Turn(Some(&token)))
    }
}

const A: (&str, &str) = ("channel", "a");

#[test]
fn a_message_waits_for_its_value_and_what_follows_behind_it() {
    let mut talk = Talk::begins(CHANNELS);
    assert_eq!(talk.client(r#"{"op":"sub","channel":"a","token":"mine"}"#), ["fetch channel for a"]);
    assert_eq!(talk.client(r#"{"op":"pub","channel":"a"}"#), [""; 0]);
    assert_eq!(talk.service(1, r#"{"op":"pub","channel":"b"}"#), ["forward"]);
    assert_eq!(
        talk.value(A, Some(("A1", 1))),
        [r#"1 {"op":"sub","channel":"a","token":"A1"}"#, r#"1 {"op":"pub","channel":"a"}"#]
    );
    // It is there for the next one.
    let again = talk.client(r#"{"op":"sub","channel":"a","token":"mine"}"#);
    assert_eq!(again, [r#"1 {"op":"sub","channel":"a","token":"A1"}"#]);
}

#[test]
fn a_value_that_cannot_be_had_leaves_the_message_to_the_service() {
    let mut talk = Talk::begins(CHANNELS);
    talk.client(r#"{"op":"sub","channel":"a","token":"mine"}"#);
    assert_eq!(talk.value(A, None), [r#"1 {"op":"sub","channel":"a","token":"mine"}"#]);
    // The next one asks again.
    assert_eq!(talk.client(r#"{"op":"sub","channel":"a","token":"mine"}"#), ["fetch channel for a"]);
}

#[test]
fn what_is_said_again_takes_its_value_first() {
    let mut talk = Talk::begins(CHANNELS);
    talk.client(r#"{"op":"sub","channel":"a","token":"mine"}"#);
    talk.value(A, Some(("A1", 1)));
    talk.service(1, r#"{"ok":"sub","channel":"a"}"#);
    // Its end is known: on the new connection another one is needed.
    talk.closes(1, None, "");
    talk.passes(Duration::from_secs(6));
    assert_eq!(talk.opened(2), ["fetch channel for a"]);
    assert_eq!(talk.value(A, Some(("A2", 2))), [r#"2 {"op":"sub","channel":"a","token":"A2"}"#]);
    assert_eq!(talk.service(2, r#"{"ok":"sub","channel":"a"}"#), [""; 0]);
    assert_eq!(talk.client(r#"{"op":"pub"}"#), ["forward"]);
}

#[test]
fn a_newer_value_is_shown_on_the_live_connection() {
    let mut talk = Talk::begins(CHANNELS);
    for (arg, text) in [("a", "A1"), ("b", "B1")] {
        talk.client(&format!(r#"{{"op":"sub","channel":"{arg}"}}"#));
        talk.value(("channel", arg), Some((text, 1)));
        talk.service(1, &format!(r#"{{"ok":"sub","channel":"{arg}"}}"#));
    }
    assert_eq!(talk.value(A, Some(("A2", 2))), [""; 0]);
    assert_eq!(talk.turn(), [r#"1 {"channel":"a","op":"renew","token":"A2"}"#]);
    assert_eq!(talk.service(1, r#"{"ok":"renew","channel":"a"}"#), [""; 0]);
    assert_eq!(talk.client(r#"{"op":"pub"}"#), ["forward"]);
    assert_eq!(talk.turn(), [""; 0], "nothing is new any more");
    // The other one is refused: another value is wanted, and the connection serves on.
    talk.value(("channel", "b"), Some(("B2", 2)));
    talk.turn();
    let said = talk.service(1, r#"{"no":"renew","channel":"b"}"#);
    assert_eq!(said[0], "fetch channel for b, not 2");
    assert!(said[1].starts_with("failed"), "{said:?}");
    assert_eq!(talk.client(r#"{"op":"pub"}"#), ["forward"]);
}

#[test]
fn a_channel_that_was_left_needs_no_value() {
    let mut talk = Talk::begins(CHANNELS);
    talk.client(r#"{"op":"sub","channel":"a"}"#);
    talk.value(A, Some(("A1", 1)));
    let want = Want { source: "channel".into(), arg: "a".into() };
    assert!(talk.session.takes(&want));
    talk.client(r#"{"op":"unsub","channel":"a"}"#);
    assert!(!talk.session.takes(&want));
    assert_eq!(talk.value(A, Some(("A2", 2))), [""; 0]);
    assert_eq!(talk.turn(), [""; 0]);
}

#[test]
fn each_connection_is_signed_over_its_own_hello() {
    let mut talk = Talk::begins(SIGNED);
    talk.service(1, r#"{"op":"hello","nonce":"n1"}"#);
    assert_eq!(talk.client(r#"{"op":"connect","sig":"mine"}"#), ["fetch sign for n1"]);
    assert_eq!(talk.value(("sign", "n1"), Some(("S1", 1))), [r#"1 {"op":"connect","sig":"S1"}"#]);
    talk.service(1, r#"{"op":"welcome"}"#);
    talk.renewed();
    assert_eq!(talk.opened(2), [""; 0], "the service speaks first");
    assert_eq!(talk.service(2, r#"{"op":"hello","nonce":"n2"}"#), ["fetch sign for n2"]);
    assert_eq!(talk.value(("sign", "n2"), Some(("S2", 1))), [r#"2 {"op":"connect","sig":"S2"}"#]);
    let serves = talk.service(2, r#"{"op":"welcome"}"#);
    assert!(serves.contains(&"close 1 1000".to_owned()), "{serves:?}");
}

#[test]
fn a_swap_whose_value_does_not_come_is_given_up() {
    let mut talk = Talk::begins(SIGNED);
    talk.service(1, r#"{"op":"hello","nonce":"n1"}"#);
    talk.client(r#"{"op":"connect","sig":"mine"}"#);
    talk.value(("sign", "n1"), Some(("S1", 1)));
    talk.service(1, r#"{"op":"welcome"}"#);
    talk.renewed();
    talk.opened(2);
    talk.service(2, r#"{"op":"hello","nonce":"n2"}"#);
    assert_eq!(talk.client(r#"{"op":"meanwhile"}"#), ["forward"], "the client does not wait for it");
    let failed = talk.passes(Duration::from_secs(6));
    assert!(failed.iter().any(|line| line.starts_with("failed")), "{failed:?}");
    assert_eq!(talk.client(r#"{"op":"other"}"#), ["forward"], "the old connection serves on");
}

/// While a message waits for its value nothing is tried again with it: each try would be counted.
#[test]
fn what_waits_for_a_value_is_left_alone_until_that_comes() {
    let mut talk = Talk::begins(CHANNELS);
    talk.client(r#"{"op":"sub","channel":"a"}"#);
    let mut out = Vec::new();
    let said = Message { kind: Kind::Text, payload: br#"{"op":"pub"}"# };
    talk.session.on_event(Event::Upstream(Epoch(1), said), talk.now, &mut out);
    assert!(!out.iter().any(|action| matches!(action, Action::Note(Note::Released { .. }))), "{out:?}");
    assert_eq!(talk.value(A, Some(("A1", 1))), [r#"1 {"op":"sub","channel":"a","token":"A1"}"#]);
}
