//! New connections: what they hear again, what the client hears of it, and what it does not.

use super::*;

const GRAPHQL: &str = "graphql-transport-ws";
const INIT: &str = r#"{"type":"connection_init","payload":{"token":"old","n":1.50}}"#;
const SUBSCRIBE: &str = r#"{"id":"1","type":"subscribe","payload":{"query":"subscription { tick }"}}"#;
const SETTLE: Duration = Duration::from_millis(50);

fn tick(nth: u32) -> String {
    format!(r#"{{"id":"1","type":"next","payload":{{"data":{{"tick":{nth}}}}}}}"#)
}

fn init(token: &str) -> String {
    INIT.replace("old", token)
}

/// A client that has subscribed.
fn subscribed() -> Talk {
    let mut talk = Talk::begins(GRAPHQL);
    assert_eq!(talk.client(INIT), [format!("1 {}", init("T1"))], "nothing but the token changes");
    assert_eq!(talk.service(1, r#"{"type":"connection_ack"}"#), ["forward"]);
    assert_eq!(talk.client(SUBSCRIBE), ["forward"]);
    assert_eq!(talk.service(1, &tick(1)), ["forward"]);
    talk
}

/// The same, in whose swap the new connection has been told everything.
fn swapping() -> Talk {
    let mut talk = subscribed();
    assert_eq!(talk.renewed(), ["dial 2"]);
    assert_eq!(talk.opened(2), [format!("2 {}", init("T2"))]);
    assert_eq!(talk.service(2, r#"{"type":"connection_ack"}"#), [format!("2 {SUBSCRIBE}")]);
    talk
}

#[test]
fn a_swap_says_again_what_opened_the_conversation() {
    let mut talk = swapping();
    assert_eq!(talk.service(1, &tick(2)), ["forward"], "the old one serves on");
    assert_eq!(talk.service(2, &tick(2)), [""; 0], "what it has said the new one need not say");
    // The new one is first this time.
    assert_eq!(talk.service(2, &tick(3)), [""; 0]);
    assert_eq!(talk.service(1, &tick(3)), ["forward"]);
    assert_eq!(talk.passes(SETTLE), ["close 1 1000"]);
    assert_eq!(talk.service(2, &tick(4)), [""; 0]);
    assert_eq!(talk.closes(1, Some(1000), ""), [format!("client {}", tick(4))]);
    assert_eq!(talk.session.phase(), Phase::Live);
    assert_eq!(talk.service(2, &tick(5)), ["forward"]);
}

#[test]
fn a_late_copy_of_the_last_message_is_heard_once() {
    let mut talk = swapping();
    talk.passes(SETTLE);
    assert_eq!(talk.service(1, &tick(2)), ["forward"]);
    talk.closes(1, Some(1000), "");
    assert_eq!(talk.service(2, &tick(2)), [""; 0]);
    assert_eq!(talk.service(2, &tick(3)), ["forward"]);
    // After a while nobody looks any more.
    talk.passes(Duration::from_secs(2));
    assert_eq!(talk.service(2, &tick(3)), ["forward"]);
}

#[test]
fn while_a_new_connection_is_restored_what_changes_its_state_waits() {
    let mut talk = subscribed();
    talk.renewed();
    talk.opened(2);
    let query = r#"{"id":"2","type":"subscribe","payload":{"query":"{ a }"}}"#;
    assert_eq!(talk.client(query), ["forward"], "a query changes nothing");
    let complete = r#"{"id":"1","type":"complete"}"#;
    assert_eq!(talk.client(complete), [""; 0]);
    assert_eq!(talk.client(query), [""; 0], "and what follows waits behind it");
    talk.service(2, r#"{"type":"connection_ack"}"#);
    talk.passes(SETTLE);
    assert_eq!(talk.closes(1, Some(1000), ""), [format!("2 {complete}"), format!("2 {query}")]);
}

#[test]
fn what_has_ended_is_not_said_again() {
    for ends in [Ok(r#"{"id":"1","type":"complete"}"#), Err(r#"{"type":"error","id":"1","payload":[]}"#)] {
        let mut talk = subscribed();
        match ends {
            Ok(client) => assert_eq!(talk.client(client), ["forward"]),
            Err(service) => assert_eq!(talk.service(1, service), ["forward"]),
        }
        talk.renewed();
        assert_eq!(talk.opened(2), [format!("2 {}", init("T2"))]);
        assert_eq!(talk.service(2, r#"{"type":"connection_ack"}"#), [""; 0]);
    }
}

#[test]
fn an_answer_that_does_not_come_fails_the_swap_and_the_old_connection_serves_on() {
    let mut talk = subscribed();
    talk.renewed();
    talk.opened(2);
    assert_eq!(talk.passes(Duration::from_secs(5)), ["failed: the new connection was not there in time"]);
    assert_eq!(talk.session.serving(), Some(Epoch(1)));
    assert_eq!(talk.service(1, &tick(2)), ["forward"]);
}

#[test]
fn a_lost_connection_is_made_again_and_what_it_says_first_comes_after_the_answers() {
    let mut talk = subscribed();
    assert_eq!(talk.closes(1, None, ""), ["dial 2"]);
    assert_eq!(talk.client(r#"{"type":"ping"}"#), [""; 0]);
    assert_eq!(talk.opened(2), [format!("2 {}", init("T1"))]);
    assert_eq!(talk.service(2, r#"{"type":"ping"}"#), [""; 0], "it waits");
    let all = talk.service(2, r#"{"type":"connection_ack"}"#);
    assert_eq!(
        all,
        [format!("2 {SUBSCRIBE}"), r#"client {"type":"ping"}"#.into(), r#"2 {"type":"ping"}"#.into()]
    );
}

#[test]
fn an_answer_that_the_client_has_not_heard_is_the_clients() {
    let mut talk = Talk::begins(GRAPHQL);
    talk.client(INIT);
    assert_eq!(talk.closes(1, None, ""), ["dial 2"]);
    talk.opened(2);
    assert_eq!(talk.service(2, r#"{"type":"connection_ack"}"#), [r#"client {"type":"connection_ack"}"#]);
    // The next time it has.
    talk.closes(2, None, "");
    talk.passes(Duration::from_secs(1));
    talk.opened(3);
    assert_eq!(talk.service(3, r#"{"type":"connection_ack"}"#), [""; 0]);
}

#[test]
fn closes_mean_what_the_dialect_says_of_them() {
    for (code, reason, expected) in [
        (4403, "Forbidden", "demand"),
        (4400, "Could not verify JWT: JWTExpired", "demand"),
        (4400, "Invalid message", "close client 4400 Invalid message"),
        (1001, "", "dial 2"),
    ] {
        assert_eq!(subscribed().closes(1, Some(code), reason)[0], expected, "{code} {reason}");
    }
}

const SPEAKS_FIRST: &str = r#"
[[dialect.x.frame]]
from = "server"
match = { "/op" = 10 }
means = "ready"
[[dialect.x.frame]]
name = "identify"
match = { "/op" = 2 }
set = { "/d/token" = "{token}" }
replay = true
answer = { "/t" = ["READY", "RESUMED"] }
capture = { intents = "/d/intents" }
[[dialect.x.frame]]
from = "server"
match = { "/t" = "READY" }
capture = { session = "/d/session_id" }
[[dialect.x.frame]]
from = "server"
match = { "/s" = { min = 1 } }
capture = { seq = "/s" }
[[dialect.x.frame]]
from = "server"
match = { "/op" = 7 }
means = "lost"
[[dialect.x.frame]]
from = "server"
match = { "/op" = 8 }
means = "final"
[dialect.x.swap]
order = "break"
close_old = "drop"
[dialect.x.resume]
if = ["session", "seq"]
query = { from = "{var.seq|next}" }
instead_of = "identify"
send = { op = 6, d = { token = "{token}", session_id = "{var.session}", seq = "{var.seq}" } }
answer = { "/t" = "RESUMED" }
fail = { "/op" = 9 }
[[dialect.x.away]]
match = { "/op" = 1 }
reply = { op = 11, d = "{item/d}" }
[[dialect.x.away]]
every = "3s"
send = { op = 0 }
"#;

/// A client that has identified itself, and has heard three messages.
fn identified() -> Talk {
    let mut talk = Talk::begins(SPEAKS_FIRST);
    assert_eq!(talk.service(1, r#"{"op":10}"#), ["forward"], "the client's first hello");
    assert_eq!(talk.client(r#"{"op":2,"d":{"token":"old"}}"#), [r#"1 {"op":2,"d":{"token":"T1"}}"#]);
    assert_eq!(talk.service(1, r#"{"t":"READY","s":1,"d":{"session_id":"s7"}}"#), ["forward"]);
    assert_eq!(talk.service(1, r#"{"t":"X","s":3}"#), ["forward"]);
    talk
}

#[test]
fn a_resumption_takes_the_place_of_what_opened_the_conversation() {
    let mut talk = identified();
    assert_eq!(talk.service(1, r#"{"op":7}"#), ["dial 2"], "it is swallowed");
    assert_eq!(talk.target(), "/ws?a=1&token=T1&from=4");
    assert_eq!(talk.opened(2), [""; 0], "the service speaks first");
    let resume = r#"2 {"d":{"seq":3,"session_id":"s7","token":"T1"},"op":6}"#;
    assert_eq!(talk.service(2, r#"{"op":10}"#), [resume]);
    assert_eq!(talk.service(2, r#"{"t":"X","s":4}"#), [""; 0], "what was missed waits");
    assert_eq!(talk.service(2, r#"{"t":"RESUMED","s":5}"#), [r#"client {"t":"X","s":4}"#]);
    assert_eq!(talk.session.phase(), Phase::Live);
}

#[test]
fn a_service_that_continues_nothing_is_heard_by_the_client() {
    let mut talk = identified();
    talk.closes(1, None, "");
    talk.opened(2);
    talk.service(2, r#"{"op":10}"#);
    assert_eq!(talk.service(2, r#"{"op":9}"#), [r#"client {"op":9}"#]);
    assert_eq!(talk.client(r#"{"op":2,"d":{}}"#), [r#"2 {"op":2,"d":{"token":"T1"}}"#], "and starts over");
}

#[test]
fn while_the_service_is_away_the_client_is_answered() {
    let mut talk = identified();
    talk.closes(1, None, "");
    assert_eq!(talk.client(r#"{"op":1,"d":41}"#), [r#"client {"d":41,"op":11}"#]);
    assert_eq!(talk.passes(Duration::from_secs(3)), [r#"client {"op":0}"#]);
    talk.opened(2);
    talk.service(2, r#"{"op":10}"#);
    talk.service(2, r#"{"t":"RESUMED","s":5}"#);
    assert_eq!(talk.client(r#"{"op":1,"d":42}"#), ["forward"]);
    assert_eq!(talk.passes(Duration::from_secs(3)), [""; 0]);
}

#[test]
fn an_old_connection_may_be_left_without_a_close() {
    let mut talk = identified();
    assert_eq!(talk.renewed(), [""; 0], "it is asked whether it has read everything");
    talk.tell(Event::UpstreamRead(Epoch(1), 1));
    assert_eq!(talk.passes(Duration::from_millis(250)), ["dial 2"]);
}

#[test]
fn a_last_word_wins_over_the_close_behind_it() {
    let mut talk = identified();
    assert_eq!(talk.service(1, r#"{"op":8}"#), ["forward"]);
    assert_eq!(talk.closes(1, Some(1001), "away"), ["close client 1001 away", "finished Upstream"]);
}

#[test]
fn a_subscription_that_is_refused_in_a_swap_is_the_clients_to_know() {
    let mut talk = Talk::begins("action-cable");
    let subscribe = r#"{"command":"subscribe","identifier":"T"}"#;
    talk.service(1, r#"{"type":"welcome"}"#);
    talk.client(subscribe);
    talk.service(1, r#"{"type":"confirm_subscription","identifier":"T"}"#);
    talk.renewed();
    talk.opened(2);
    assert_eq!(talk.service(2, r#"{"type":"welcome"}"#), [format!("2 {subscribe}")]);
    let no = r#"{"type":"reject_subscription","identifier":"T"}"#;
    assert_eq!(talk.service(2, no), [format!("client {no}")]);
    talk.passes(Duration::from_millis(50));
    talk.closes(1, Some(1000), "");
    assert_eq!(talk.session.phase(), Phase::Live);
}

#[test]
fn what_is_hidden_is_hidden_for_a_while_only() {
    let mut talk = Talk::begins("appsync");
    talk.client(r#"{"type":"connection_init"}"#);
    talk.service(1, r#"{"type":"connection_ack"}"#);
    talk.closes(1, None, "");
    talk.opened(2);
    talk.service(2, r#"{"type":"connection_ack"}"#);
    talk.passes(Duration::from_secs(6));
    assert_eq!(talk.service(2, r#"{"type":"ka"}"#), ["forward"]);
}

#[test]
fn a_request_has_its_answer_on_the_connection_that_carried_it() {
    let query = r#"{"id":"2","type":"subscribe","payload":{"query":"{ a }"}}"#;
    let mut talk = swapping();
    assert_eq!(talk.client(query), ["forward"]);
    assert_eq!(talk.passes(SETTLE), [""; 0], "the old connection still owes an answer");
    assert_eq!(talk.client(r#"{"type":"ping"}"#), [""; 0], "what is said now waits");
    assert_eq!(talk.service(1, r#"{"id":"2","type":"next","payload":{}}"#), ["forward"]);
    assert_eq!(talk.service(1, r#"{"id":"2","type":"complete"}"#), ["forward", "close 1 1000"]);
    assert_eq!(talk.closes(1, Some(1000), ""), [r#"2 {"type":"ping"}"#]);
    // An answer that does not come is not waited for without end.
    let mut talk = swapping();
    talk.client(query);
    talk.passes(SETTLE);
    assert_eq!(talk.passes(Duration::from_secs(1)), ["close 1 1000"]);
    talk.closes(1, Some(1000), "");
    // The next swap does not wait for it again.
    assert_eq!(talk.renewed(), ["dial 3"]);
    talk.opened(3);
    talk.service(3, r#"{"type":"connection_ack"}"#);
    assert_eq!(talk.passes(SETTLE), ["close 2 1000"]);
}

const ACKNOWLEDGES: &str = r#"
[[dialect.x.frame]]
from = "server"
match = { "/delivery" = { exists = true } }
owed = true
key = "/delivery"
until = { "/ack" = "{key}" }
"#;

#[test]
fn an_acknowledgement_of_what_the_old_connection_said_goes_nowhere_else() {
    let mut talk = Talk::begins(ACKNOWLEDGES);
    talk.service(1, r#"{"delivery":1}"#);
    talk.service(1, r#"{"delivery":2}"#);
    assert_eq!(talk.client(r#"{"ack":1}"#), ["forward"]);
    talk.closes(1, None, "");
    talk.opened(2);
    talk.tell(Event::UpstreamRead(Epoch(2), 0));
    assert_eq!(talk.client(r#"{"ack":2}"#), [""; 0], "the service knows it no more");
    talk.service(2, r#"{"delivery":2}"#);
    assert_eq!(talk.client(r#"{"ack":2}"#), ["forward"]);
}

#[test]
fn an_answer_that_both_connections_give_is_heard_once() {
    let ack = r#"{"type":"connection_ack"}"#;
    for new_first in [true, false] {
        let mut talk = Talk::begins(GRAPHQL);
        talk.client(INIT);
        talk.renewed();
        talk.opened(2);
        let heard = |new: Vec<String>, old: Vec<String>| [new.len(), old.len()];
        if new_first {
            let new = talk.service(2, ack);
            assert_eq!(heard(new, talk.service(1, ack)), [1, 0]);
        } else {
            let old = talk.service(1, ack);
            assert_eq!(heard(talk.service(2, ack), old), [0, 1]);
        }
    }
}

const BATCHES: &str = r#"
[dialect.x]
codec = "json-batch"
[[dialect.x.frame]]
match = { "/do" = "sub" }
replay = true
answer = { "/ok" = true }
"#;

#[test]
fn what_stands_behind_the_last_answer_in_a_batch_is_kept() {
    let mut talk = Talk::begins(BATCHES);
    assert_eq!(talk.client(r#"[ {"x":1}, {"do":"sub"} ]"#), ["forward"], "as its bytes");
    talk.service(1, r#"[{"ok":true},{"n":1}]"#);
    talk.renewed();
    assert_eq!(talk.opened(2), [r#"2 {"do":"sub"}"#]);
    talk.service(2, r#"[{"n":7},{"ok":true},{"n":2}]"#);
    talk.tell(Event::UpstreamRead(Epoch(1), 1));
    assert_eq!(talk.closes(1, Some(1000), ""), [r#"client [{"n":2}]"#]);
    // After a loss it comes in its order.
    talk.closes(2, None, "");
    talk.passes(Duration::from_secs(1));
    talk.opened(3);
    talk.service(3, r#"[{"n":3}]"#);
    assert_eq!(talk.service(3, r#"[{"ok":true},{"n":4}]"#), [r#"client [{"n":3}]"#, r#"client [{"n":4}]"#]);
}

#[test]
fn if_the_old_connection_is_gone_the_new_one_is_restored_as_after_a_loss() {
    let mut talk = subscribed();
    talk.renewed();
    talk.opened(2);
    assert_eq!(talk.closes(1, Some(1001), ""), [""; 0], "it is the swap's doing");
    let early = r#"{"type":"ping"}"#;
    assert_eq!(talk.service(2, early), [""; 0], "nobody else says it: it waits");
    let all = talk.service(2, r#"{"type":"connection_ack"}"#);
    assert_eq!(all, [format!("2 {SUBSCRIBE}"), format!("client {early}")]);
    assert_eq!(talk.session.phase(), Phase::Live);
}

/// One message names several channels; each is left, answered and said again by itself.
#[test]
fn each_element_of_an_array_is_remembered_by_itself() {
    let mut talk = Talk::begins(
        r#"
        [[dialect.x.frame]]
        name = "subscribe"
        match = { "/op" = "sub" }
        replay = true
        key = "/args/*/ch"
        until = [{ "/op" = "unsub", "/args/*/ch" = "{key}" }, { from = "server", "/no/ch" = "{key}" }]
        answer = [{ "/ok/ch" = "{key}" }]"#,
    );
    assert_eq!(
        talk.client(r#"{"op":"sub","n":1,"args":[{"ch":"a"},{"ch":"b","x":[1]},{"ch":"c"}]}"#),
        ["forward"]
    );
    for ch in ["a", "b"] {
        assert_eq!(talk.service(1, &format!(r#"{{"ok":{{"ch":"{ch}"}}}}"#)), ["forward"]);
    }
    assert_eq!(talk.service(1, r#"{"no":{"ch":"c"}}"#), ["forward"]);
    talk.client(r#"{"op":"sub","args":[{"ch":"d"}]}"#);
    talk.client(r#"{"op":"unsub","args":[{"ch":"a"},{"ch":"z"}]}"#);
    talk.renewed();
    assert_eq!(talk.opened(2), [r#"2 {"op":"sub","n":1,"args":[{"ch":"b","x":[1]}]}"#]);
    assert_eq!(talk.service(2, r#"{"ok":{"ch":"b"}}"#), [r#"2 {"op":"sub","args":[{"ch":"d"}]}"#]);
}

#[test]
fn a_parameter_of_a_resumption_takes_the_place_of_the_clients() {
    let mut talk = Talk::begins("[dialect.x.resume]\nquery = { a = \"\", b = \"2\" }");
    assert_eq!(talk.target(), "/ws?token=T1&a=&b=2");
}
