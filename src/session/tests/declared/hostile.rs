//! Peers that write JSON as nobody does, say nothing that can be read, or say too much.

use super::*;

const SETS: &str = r#"
[[dialect.x.frame]]
match = { "/type" = "auth" }
set = { "/p/token" = "{token}" }
replay = true
answer = { "/type" = "ok" }
[[dialect.x.frame]]
name = "sub"
match = { "/type" = "sub" }
replay = true
key = "/id"
until = { "/type" = "unsub", "/id" = "{key}" }
[[dialect.x.frame]]
from = "server"
match = { "/type" = "deadline" }
remove = "/at"
"#;

#[test]
fn a_message_of_the_clients_that_may_hold_its_token_and_cannot_be_read_ends_the_session() {
    let deep = format!("{{\"type\":\"auth\",\"p\":{}{}}}", "[".repeat(300), "]".repeat(300));
    for refused in [
        r#"{"type":"auth","type":"x"}"#,
        r#"{"type":"x","p":{"token":1},"type":"auth"}"#,
        r#"{"type":"auth""#,
        r#"{"type":"auth","p":"text"}"#,
        r#"{"type":"auth","p":{"token":1,"token":2}}"#,
        &deep,
    ] {
        let said = Talk::begins(SETS).client(refused);
        assert_eq!(said[0][..17], *"close client 1008", "{refused} {said:?}");
    }
}

#[test]
fn every_spelling_of_what_a_rule_means_is_meant() {
    for (text, expected) in [
        (r#"{"\u0074ype":"auth"}"#, r#"1 {"\u0074ype":"auth","p":{"token":"T1"}}"#),
        (r#"{"type":"\u0061uth"}"#, r#"1 {"type":"\u0061uth","p":{"token":"T1"}}"#),
        (r#" { "p" : null , "type" : "auth" } "#, r#"1  { "p" : {"token":"T1"} , "type" : "auth" } "#),
        (
            r#"{"type":"auth","big":12345678901234567890123,"p":{}}"#,
            r#"1 {"type":"auth","big":12345678901234567890123,"p":{"token":"T1"}}"#,
        ),
    ] {
        assert_eq!(Talk::begins(SETS).client(text), [expected], "{text}");
    }
}

#[test]
fn what_no_rule_is_about_passes_as_it_is() {
    for text in
        ["", "hello", "7", "[]", "[1,2", "\"type\"", r#"{"type":"other","type":"another"}"#, "{}", "\u{1}"]
    {
        let expected: &[&str] = if text == "[1,2" { &["close client 1008"] } else { &["forward"] };
        let said = Talk::begins(SETS).client(text);
        if text.contains("another") || text == "[1,2" {
            // It begins like what is read, and cannot be: it may be meant.
            assert_eq!(said[0][..17], *"close client 1008", "{text}");
        } else {
            assert_eq!(said, expected, "{text}");
        }
    }
    let mut talk = Talk::begins(SETS);
    for audio in [&b"{\xff\xfe\x00"[..], b"\x00\x01", b"[\xc3"] {
        let said = talk.tell(Event::Client(Message { kind: Kind::Binary, payload: audio }));
        assert_eq!(said, ["forward"], "bytes that are no text are no JSON");
    }
    for text in [r#"{"type":"deadline","type":"x"}"#, "{\"type\":", "", "audio"] {
        assert_eq!(talk.service(1, text), ["forward"], "in doubt the service's goes on: {text}");
    }
    assert_eq!(
        talk.service(1, r#"{"type":"deadline","at":7,"n":1}"#),
        [r#"client {"type":"deadline","n":1}"#]
    );
}

#[test]
fn what_is_remembered_is_bounded_and_then_no_connection_is_replaced() {
    let mut talk = Talk::begins_with(SETS, "session = { queue = \"4KiB\" }");
    for nth in 0..40 {
        let long = "x".repeat(100);
        assert_eq!(talk.client(&format!(r#"{{"type":"sub","id":{nth},"x":"{long}"}}"#)), ["forward"]);
    }
    let said = talk.renewed();
    assert!(said[0].starts_with("failed: what a new connection has to hear"), "{said:?}");
    assert_eq!(talk.session.serving(), Some(Epoch(1)));
    assert_eq!(talk.closes(1, None, ""), ["drop client", "finished Upstream"]);
}

#[test]
fn a_client_that_cannot_be_read_keeps_its_connection() {
    let mut talk = Talk::begins(SETS);
    talk.client("CONNECT something");
    let said = talk.renewed();
    assert!(said[0].starts_with("failed: none of the client's messages can be read"), "{said:?}");
}

#[test]
fn messages_of_a_batch_are_looked_at_one_by_one() {
    let mut talk = Talk::begins("home-assistant");
    talk.service(1, r#"{"type":"auth_required"}"#);
    talk.client(r#"{"type":"auth","access_token":"old"}"#);
    talk.service(1, r#"{"type":"auth_ok"}"#);
    talk.client(r#"{"type":"subscribe_events","id":3}"#);
    assert_eq!(
        talk.service(1, r#"[{"id":3,"type":"result","success":true},{"id":3,"type":"event"}]"#),
        ["forward"]
    );
    assert_eq!(talk.closes(1, None, ""), ["dial 2"]);
    talk.opened(2);
    assert_eq!(talk.service(2, r#"{"type":"auth_required"}"#), [r#"2 {"type":"auth","access_token":"T1"}"#]);
    assert_eq!(talk.service(2, r#"{"type":"auth_ok"}"#), [r#"2 {"type":"subscribe_events","id":3}"#]);
    let batch = r#"[{"id":3,"type":"result","success":true},{"id":3,"type":"event","n":1},{"id":3,"type":"event","n":2}]"#;
    assert_eq!(
        talk.service(2, batch),
        [r#"client [{"id":3,"type":"event","n":1},{"id":3,"type":"event","n":2}]"#]
    );
    // A token that is refused in a message: another one is wanted, and the client hears nothing.
    talk.closes(2, None, "");
    talk.passes(Duration::from_secs(1));
    talk.opened(3);
    talk.service(3, r#"{"type":"auth_required"}"#);
    let said = talk.service(3, r#"{"type":"auth_invalid","message":"no"}"#);
    assert!(said[0].starts_with("failed: ") && said[1..].contains(&"demand".to_owned()), "{said:?}");
}

const SUBSCRIBES: &str = "[[dialect.x.frame]]\nmatch = { \"/a\" = 1 }\nreplay = true\nkey = \"/k\"\n\
                          [[dialect.x.frame]]\nfrom = \"server\"\nmatch = { \"/b\" = 1 }\nmeans = \"lost\"\n\
                          [dialect.x.swap]\nsettle = \"50ms\"";

/// What cannot be read begins like JSON, and is cut off.
#[test]
fn a_new_connection_that_speaks_otherwise_is_not_taken() {
    let mut talk = Talk::begins(SUBSCRIBES);
    assert_eq!(talk.service(1, r#"{"n":1}"#), ["forward"]);
    talk.renewed();
    talk.opened(2);
    assert_eq!(talk.service(2, "{\"n"), ["failed: the messages of the new connection cannot be read"]);
    assert_eq!(talk.client(r#"{"n":2}"#), ["forward"], "the old one serves on");
}

#[test]
fn a_new_connection_that_serves_and_speaks_otherwise_is_made_once_more() {
    let mut talk = Talk::begins(SUBSCRIBES);
    talk.service(1, r#"{"n":1}"#);
    talk.renewed();
    talk.opened(2);
    talk.passes(Duration::from_millis(300));
    talk.passes(Duration::from_millis(60));
    talk.closes(1, Some(1000), "");
    assert_eq!(talk.client(r#"{"n":2}"#), ["forward"], "the new one serves");
    let said = talk.service(2, "{\"n");
    assert_eq!(said[1], "failed: the messages of the new connection cannot be read");
    talk.passes(Duration::from_secs(1));
    talk.opened(3);
    talk.passes(Duration::from_millis(300));
    // Now it is passed on, and counted.
    let said = talk.service(3, "{\"n");
    assert_eq!(said[0], "forward");
    assert_eq!(talk.client(r#"{"n":3}"#), ["forward"]);
}

#[test]
fn a_service_that_could_never_be_read_is_served_as_before() {
    let mut talk = Talk::begins(SUBSCRIBES);
    assert_eq!(talk.service(1, "{\"n"), ["forward"]);
    talk.renewed();
    talk.opened(2);
    assert_eq!(talk.service(2, "{\"n"), [""; 0]);
    talk.passes(Duration::from_millis(60));
    let served = talk.closes(1, Some(1000), "");
    assert_eq!(served, ["client {\"n"]);
}
