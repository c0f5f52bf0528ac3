//! A new token on the live connection, and messages that carry one.

use super::*;

const JOIN: &str = r#"["6","6","room","phx_join",{"config":{},"access_token":"old"}]"#;
const REPLY: &str = r#"["6","6","room","phx_reply",{"status":"ok","response":{}}]"#;

fn with(text: &str, token: &str) -> String {
    text.replace("old", token)
}

/// A client that has joined one channel.
fn joined() -> Talk {
    let mut talk = Talk::begins("supabase");
    assert_eq!(talk.client(JOIN), [format!("1 {}", with(JOIN, "T1"))]);
    assert_eq!(talk.service(1, REPLY), ["forward"]);
    talk
}

#[test]
fn each_channel_gets_the_new_token_and_silence_is_a_yes() {
    let mut talk = joined();
    let second = JOIN.replace("room", "hall").replace('6', "7");
    talk.client(&second);
    talk.service(1, &REPLY.replace("room", "hall").replace('6', "7"));
    assert_eq!(
        talk.renewed(),
        [
            r#"1 ["6","p4000000000","room","access_token",{"access_token":"T2"}]"#,
            r#"1 ["7","p4000000001","hall","access_token",{"access_token":"T2"}]"#,
        ]
    );
    assert_eq!(talk.session.phase(), Phase::Exchanging);
    assert_eq!(talk.client("[]"), [""; 0], "the client waits");
    assert_eq!(talk.passes(Duration::from_secs(1)), ["1 []"]);
    assert_eq!(talk.session.phase(), Phase::Live);
    assert_eq!(talk.session.authenticated_with().generation, Generation(2));
}

#[test]
fn a_no_is_hidden_and_the_channels_are_joined_again_with_another_token() {
    let mut talk = joined();
    talk.renewed();
    let no = r#"["6",null,"room","system",{"extension":"system","status":"error","message":"no"}]"#;
    let said = talk.service(1, no);
    assert!(said[0].starts_with("failed: ") && said[1..] == ["demand", "demand"], "{said:?}");
    talk.generation += 1;
    let token = numbered(3, 60, talk.now);
    assert_eq!(talk.tell(Event::Token(&token)), ["dial 2"]);
    assert_eq!(talk.opened(2), [format!("2 {}", with(JOIN, "T3"))]);
    assert_eq!(talk.service(2, REPLY), [""; 0]);
    assert_eq!(talk.session.phase(), Phase::Live);
    // What the service says to a join beside its answer is hidden once.
    let state = r#"["6",null,"room","presence_state",{}]"#;
    assert_eq!(talk.service(2, state), [""; 0]);
    assert_eq!(talk.service(2, state), ["forward"]);
}

#[test]
fn with_nothing_to_show_it_for_a_new_token_is_just_known() {
    let mut talk = Talk::begins("supabase");
    assert_eq!(talk.renewed(), [""; 0]);
    assert_eq!(talk.session.phase(), Phase::Live);
    assert_eq!(talk.session.authenticated_with().generation, Generation(2));
    assert_eq!(talk.client(JOIN), [format!("1 {}", with(JOIN, "T2"))]);
}

#[test]
fn a_channel_that_died_of_its_token_is_joined_again_unseen() {
    let mut talk = joined();
    let died = r#"["6",null,"room","system",{"extension":"system","status":"error","message":"Token has expired 1 second ago"}]"#;
    assert_eq!(talk.service(1, died), ["demand", "demand"]);
    assert_eq!(talk.service(1, r#"["6","6","room","phx_close",{}]"#), [""; 0]);
}

#[test]
fn the_clients_own_renewal_stays_here() {
    assert_eq!(joined().client(r#"["6","9","room","access_token",{"access_token":"mine"}]"#), [""; 0]);
}

const ONCE: &str = r#"
[[dialect.x.frame]]
match = { "/do" = "sub" }
set = { "/token" = "{token}" }
replay = true
key = ["/a", "/b"]
answer = { "/ok" = "{item/a}" }
[[dialect.x.exchange]]
send = { do = "auth", id = "{id}", with = "Bearer {token|base64}" }
ok = { "/id" = "{id}", "/ok" = true }
fail = { "/id" = "{id}", "/ok" = false }
"#;

#[test]
fn an_exchange_is_answered_by_its_own_id() {
    let mut talk = Talk::begins(ONCE);
    assert_eq!(talk.renewed(), [r#"1 {"do":"auth","id":4000000000,"with":"Bearer VDI="}"#]);
    assert_eq!(talk.service(1, r#"{"id":1,"ok":true}"#), ["forward"], "the answer to another");
    assert_eq!(talk.service(1, r#"{"id":4000000000,"ok":true}"#), [""; 0]);
    assert_eq!(talk.session.phase(), Phase::Live);
    assert_eq!(talk.renewed()[0][..25], *r#"1 {"do":"auth","id":40000"#);
    let said = talk.passes(Duration::from_secs(5));
    assert!(said[0].starts_with("failed: no answer"), "{said:?}");
}

#[test]
fn a_message_that_shows_a_token_waits_for_one_that_may_go_out() {
    let mut talk = Talk::begins_with(ONCE, "session = { swap = \"never\" }");
    talk.passes(Duration::from_secs(61));
    let sub = r#"{"do":"sub","a":1}"#;
    assert_eq!(talk.client(sub), ["demand"], "the only token has ended");
    assert_eq!(talk.client("{}"), [""; 0], "and what follows waits behind it");
    talk.generation = 2;
    let token = numbered(2, 60, talk.now);
    let said = talk.tell(Event::Token(&token));
    assert_eq!(said, [r#"1 {"do":"sub","a":1,"token":"T2"}"#, "1 {}"]);
    // If none comes, it does not wait for ever.
    talk.passes(Duration::from_secs(61));
    talk.client(sub);
    assert_eq!(
        talk.passes(Duration::from_secs(60)),
        ["close client 1008 Token expired", "finished TokenExpired"]
    );
}

#[test]
fn a_subscription_that_the_service_refuses_holds_no_restoring_up() {
    let mut talk = joined();
    let hall = JOIN.replace("room", "hall").replace('6', "7");
    let no = r#"["7","7","hall","phx_reply",{"status":"error","response":{}}]"#;
    talk.client(&hall);
    talk.service(1, &REPLY.replace("room", "hall").replace('6', "7"));
    assert_eq!(talk.closes(1, None, ""), ["dial 2"]);
    assert_eq!(talk.opened(2), [format!("2 {}", with(JOIN, "T1"))]);
    assert_eq!(talk.service(2, REPLY), [format!("2 {}", with(&hall, "T1"))]);
    // The client hears that it has one channel less.
    assert_eq!(talk.service(2, no), [format!("client {no}")]);
    assert_eq!(talk.session.phase(), Phase::Live);
    talk.closes(2, None, "");
    talk.passes(Duration::from_secs(1));
    assert_eq!(talk.opened(3), [format!("3 {}", with(JOIN, "T1"))]);
    assert_eq!(talk.service(3, REPLY), [""; 0], "it is not joined again");
    assert_eq!(talk.session.phase(), Phase::Live);
}

#[test]
fn behind_data_that_the_client_is_slow_to_take_an_answer_is_awaited_for_longer() {
    let mut talk = Talk::begins(ONCE);
    talk.renewed();
    talk.now += Duration::from_secs(4);
    talk.tell(Event::Unread);
    // The first five seconds are over, and what is read now is not the answer yet.
    talk.now += Duration::from_secs(4);
    assert_eq!(talk.service(1, r#"{"n":1}"#), ["forward"]);
    assert_eq!(talk.tell(Event::Timer), [""; 0]);
    assert_eq!(talk.service(1, r#"{"id":4000000000,"ok":true}"#), [""; 0]);
    assert_eq!(talk.session.phase(), Phase::Live);
}
