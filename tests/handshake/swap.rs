//! A new token is a new connection, and the client sees nothing of it.

use crate::{
    handshake::stage::{LATER, Plan, Stage, assert_shows, choose, down, json, up},
    support::{
        until,
        ws::{CLOSE, MASK, PING, PONG, TEXT, Wire, bare, close, frame, masked},
    },
};

const SWAPS: &str = "perennial_reauthentications_total{method=\"swap\",outcome=\"ok\",route=\"jobs\"}";

/// The old connection is told to end.
async fn told_to_end(old: &mut Wire) {
    let last = old.message().await;
    assert_eq!((last.opcode(), last.payload), (CLOSE, close(1000, "")));
}

/// And does so.
async fn ends(old: &mut Wire) {
    told_to_end(old).await;
    old.send(bare(CLOSE, &close(1000, ""))).await;
}

#[tokio::test]
async fn a_new_token_moves_the_connection_and_nothing_is_lost() {
    let stage = Stage::set(Plan::default()).await;
    let (mut client, mut old) = stage.client("T0").await;
    up(&mut client, &mut old, "one").await;
    stage.refresh("T0", "T1").await;
    let asked = stage.service.asked().await;
    assert_shows(&asked.head, "T1");
    // While the new one is being made, the old one serves as ever.
    up(&mut client, &mut old, "two").await;
    down(&mut old, &mut client, "of the old").await;
    let mut new = choose(asked, "T1").await;
    told_to_end(&mut old).await;
    // The barrier is down: what the client says now is for the new one, and only when the old one has ended.
    client.send(masked(TEXT, b"three")).await;
    new.send(bare(TEXT, b"first of the new")).await;
    down(&mut old, &mut client, "last of the old").await;
    client.send(masked(TEXT, b"four")).await;
    old.send(bare(CLOSE, &close(4000, "replaced"))).await;
    old.end().await;
    assert_eq!(client.message().await.text(), "first of the new");
    assert_eq!(new.message().await.text(), "three");
    assert_eq!(new.message().await.text(), "four");
    up(&mut client, &mut new, "five").await;
    down(&mut new, &mut client, "of the new").await;
    assert_eq!(stage.metric(SWAPS).await, 1.0);
    assert_eq!(stage.metric("perennial_messages_overlapped_total{route=\"jobs\"}").await, 1.0);
    client.send(masked(CLOSE, &close(1000, "done"))).await;
    assert_eq!(new.ending().await, Some((1000, "done".to_owned())));
}

#[tokio::test]
async fn a_new_connection_that_is_refused_leaves_the_old_one_alone() {
    let stage = Stage::set(Plan::default()).await;
    let (mut client, mut old) = stage.client("T0").await;
    stage.refresh("T0", "T1").await;
    stage.service.asked().await.answer("HTTP/1.1 503 Not now\r\nContent-Length: 0\r\n\r\n").await;
    up(&mut client, &mut old, "still here").await;
    // It is tried again.
    let mut new = stage.replaced("T1").await;
    ends(&mut old).await;
    up(&mut client, &mut new, "moved").await;
}

#[tokio::test]
async fn a_token_that_the_service_refuses_is_renewed_while_the_old_one_serves() {
    let stage = Stage::set(Plan::default()).await;
    let (mut client, mut old) = stage.client("T0").await;
    stage.refresh("T0", "T1").await;
    stage.service.asked().await.answer("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n").await;
    stage.refresh("T1", "T2").await;
    let asked = stage.service.asked().await;
    assert_shows(&asked.head, "T2");
    up(&mut client, &mut old, "still here").await;
    let mut new = choose(asked, "T2").await;
    ends(&mut old).await;
    up(&mut client, &mut new, "moved").await;
}

#[tokio::test]
async fn an_old_connection_that_is_lost_meanwhile_is_made_up_for() {
    let stage = Stage::set(Plan::default()).await;
    let (mut client, old) = stage.client("T0").await;
    stage.refresh("T0", "T1").await;
    let asked = stage.service.asked().await;
    drop(old);
    let resuming = "perennial_sessions{route=\"jobs\",state=\"resuming\"}";
    until("the loss is seen", || stage.metric(resuming), |resuming| *resuming == 1.0).await;
    client.send(masked(TEXT, b"held")).await;
    let mut new = choose(asked, "T1").await;
    assert_eq!(new.message().await.text(), "held");
    down(&mut new, &mut client, "of the new").await;
}

#[tokio::test]
async fn a_client_that_leaves_while_the_old_one_ends_is_heard_to_its_end() {
    let stage = Stage::set(Plan::default()).await;
    let (mut client, mut old) = stage.client("T0").await;
    stage.refresh("T0", "T1").await;
    let mut new = stage.replaced("T1").await;
    told_to_end(&mut old).await;
    client.send(masked(TEXT, b"last words")).await;
    client.send(masked(CLOSE, &close(1000, "bye"))).await;
    old.send(bare(CLOSE, &close(1000, ""))).await;
    assert_eq!(new.message().await.text(), "last words");
    assert_eq!(new.message().await.payload, close(1000, "bye"));
    new.send(bare(CLOSE, &close(1000, "bye"))).await;
    assert_eq!(client.ending().await, Some((1000, "bye".to_owned())));
}

#[tokio::test]
async fn a_message_in_fragments_is_on_one_connection() {
    let stage = Stage::set(Plan::default()).await;
    let (mut client, mut old) = stage.client("T0").await;
    client.send(frame(TEXT, b"in ", Some(MASK))).await;
    old.send(frame(TEXT, b"half a ", None)).await;
    stage.refresh("T0", "T1").await;
    let mut new = stage.replaced("T1").await;
    told_to_end(&mut old).await;
    client.send(frame(0x80, b"two", Some(MASK))).await;
    old.send(frame(0x80, b"message", None)).await;
    let (first, second) = (client.message().await, client.message().await);
    assert_eq!((first.text(), second.text()), ("half a ", "message"));
    old.send(bare(CLOSE, &close(1000, ""))).await;
    // What is held goes on as one message.
    assert_eq!(new.message().await.text(), "in two");
}

#[tokio::test]
async fn a_greeting_is_for_perennial_and_only_the_first_message_is_one() {
    let greeting =
        Plan { more: "[route.handshake]\ngreeting = { type = \"reconnected\" }", ..Plan::default() };
    let stage = Stage::set(greeting).await;
    let (mut client, mut old) = stage.client("T0").await;
    // The client's own connection is greeted as ever.
    down(&mut old, &mut client, r#"{"type":"reconnected"}"#).await;
    stage.refresh("T0", "T1").await;
    let mut new = stage.replaced("T1").await;
    told_to_end(&mut old).await;
    new.send(bare(TEXT, br#"{"type":"reconnected","at":7}"#)).await;
    new.send(bare(TEXT, br#"{"type":"reconnected","at":8}"#)).await;
    old.send(bare(CLOSE, &close(1000, ""))).await;
    assert_eq!(client.message().await.text(), r#"{"type":"reconnected","at":8}"#);
}

#[tokio::test]
async fn what_the_overlap_costs_is_counted_where_it_is_discarded() {
    let stage = Stage::set(Plan { more: "[route.session]\noverlap = \"discard\"", ..Plan::default() }).await;
    let (mut client, mut old) = stage.client("T0").await;
    stage.refresh("T0", "T1").await;
    let mut new = stage.replaced("T1").await;
    told_to_end(&mut old).await;
    down(&mut old, &mut client, "to both").await;
    new.send(bare(TEXT, b"to both")).await;
    let lost = "perennial_messages_lost_total{direction=\"down\",reason=\"overlap\",route=\"jobs\"}";
    until("it is counted", || stage.metric(lost), |lost| *lost == 1.0).await;
    old.send(bare(CLOSE, &close(1000, ""))).await;
    until("the new one serves", || stage.metric(SWAPS), |swaps| *swaps == 1.0).await;
    down(&mut new, &mut client, "to one").await;
}

/// All of it is there when the sidecar looks: what the new one said before the old one's Close is of the overlap.
#[tokio::test]
async fn what_came_before_the_old_ones_close_is_of_the_overlap() {
    let stage = Stage::set(Plan { more: "[route.session]\noverlap = \"discard\"", ..Plan::default() }).await;
    let (mut client, mut old) = stage.client("T0").await;
    stage.refresh("T0", "T1").await;
    let mut new = stage.replaced("T1").await;
    told_to_end(&mut old).await;
    stage.sidecar.signal("STOP");
    new.send(bare(TEXT, b"to both")).await;
    old.send([bare(TEXT, b"to both"), bare(CLOSE, &close(1000, ""))].concat()).await;
    stage.sidecar.signal("CONT");
    assert_eq!(client.message().await.text(), "to both");
    down(&mut new, &mut client, "to one").await;
    let lost = "perennial_messages_lost_total{direction=\"down\",reason=\"overlap\",route=\"jobs\"}";
    assert_eq!(stage.metric(lost).await, 1.0);
}

#[tokio::test]
async fn a_service_that_allows_one_connection_has_the_old_one_ended_first() {
    let stage = Stage::set(Plan { more: "[route.session]\nswap = \"break\"", ..Plan::default() }).await;
    let (mut client, mut old) = stage.client("T0").await;
    stage.refresh("T0", "T1").await;
    told_to_end(&mut old).await;
    client.send(masked(TEXT, b"held")).await;
    down(&mut old, &mut client, "last of the old").await;
    assert!(stage.service.is_alone().await, "the old one has not ended yet");
    old.send(bare(CLOSE, &close(1000, ""))).await;
    let mut new = stage.replaced("T1").await;
    assert_eq!(new.message().await.text(), "held");
    down(&mut new, &mut client, "of the new").await;
}

#[tokio::test]
async fn a_token_that_ended_before_it_was_thought_to_is_renewed_behind_the_clients_back() {
    for (code, reason) in [(1008, "Token expired"), (4401, ""), (3000, "no")] {
        let stage = Stage::set(Plan { token: LATER, ..Plan::default() }).await;
        let (mut client, mut old) = stage.client("T0").await;
        up(&mut client, &mut old, "one").await;
        old.send(bare(CLOSE, &close(code, reason))).await;
        stage.refresh("T0", "T1").await;
        client.send(masked(TEXT, b"held")).await;
        let mut new = stage.replaced("T1").await;
        assert_eq!(new.message().await.text(), "held");
        down(&mut new, &mut client, "of the new").await;
    }
}

#[tokio::test]
async fn a_refresh_that_is_refused_for_good_ends_with_what_is_true() {
    let stage = Stage::set(Plan { token: LATER, ..Plan::default() }).await;
    let (mut client, mut old) = stage.client("T0").await;
    old.send(bare(CLOSE, &close(1008, "Token expired"))).await;
    stage.refreshes("T0").await.answer(json(401, r#"{"error":"unknown token"}"#)).await;
    assert_eq!(client.ending().await, Some((1008, "Token expired".to_owned())));
}

#[tokio::test]
async fn a_lost_connection_is_made_anew_and_what_may_be_lost_is_counted() {
    let stage = Stage::set(Plan { token: LATER, ..Plan::default() }).await;
    let (mut client, mut old) = stage.client("T0").await;
    up(&mut client, &mut old, "one").await;
    up(&mut client, &mut old, "two").await;
    drop(old);
    let mut new = stage.replaced("T0").await;
    up(&mut client, &mut new, "three").await;
    let lost = |direction, reason| {
        format!(
            "perennial_messages_lost_total{{direction=\"{direction}\",reason=\"{reason}\",route=\"jobs\"}}"
        )
    };
    // The service acknowledges nothing, and no ping has been answered: both may be lost.
    assert_eq!(stage.metric(&lost("up", "unacknowledged")).await, 2.0);
    assert_eq!(stage.metric(&lost("down", "discontinued")).await, 1.0);
    for (code, reason) in [(1001, "deploy"), (1012, "restart")] {
        new.send(bare(CLOSE, &close(code, reason))).await;
        new = stage.replaced("T0").await;
        up(&mut client, &mut new, "and on").await;
    }
    // "three" and "and on": each message is counted once, however often a connection is lost after it.
    assert_eq!(stage.metric(&lost("up", "unacknowledged")).await, 4.0);
    assert_eq!(stage.metric(&lost("down", "discontinued")).await, 3.0);
}

#[tokio::test]
async fn a_last_word_of_the_services_is_the_clients() {
    for (code, reason) in [(1000, "done"), (4000, "cancelled"), (1008, "not allowed"), (1011, "oops")] {
        let stage = Stage::set(Plan { token: LATER, ..Plan::default() }).await;
        let (mut client, mut old) = stage.client("T0").await;
        old.send(bare(CLOSE, &close(code, reason))).await;
        assert_eq!(client.ending().await, Some((code, reason.to_owned())));
    }
}

#[tokio::test]
async fn a_client_that_leaves_during_an_outage_is_heard_to_its_end() {
    for goodbye in [Some(close(1000, "bye")), None] {
        let stage = Stage::set(Plan { token: LATER, ..Plan::default() }).await;
        let (mut client, old) = stage.client("T0").await;
        drop(old);
        let asked = stage.service.asked().await;
        client.send(masked(TEXT, b"last words")).await;
        match &goodbye {
            Some(close) => client.send(masked(CLOSE, close)).await,
            None => drop(client),
        }
        let held = "perennial_messages_held_total{direction=\"up\",route=\"jobs\"}";
        until("they are held", || stage.metric(held), |held| *held == 1.0).await;
        let mut new = choose(asked, "T0").await;
        assert_eq!(new.message().await.text(), "last words");
        assert_eq!(new.ending().await.is_some(), goodbye.is_some(), "a client that vanished said no Close");
    }
}

#[tokio::test]
async fn a_refusal_that_is_known_ends_the_session_when_its_token_does() {
    let stage = Stage::set(Plan::default()).await;
    let (mut client, mut old) = stage.client("T0").await;
    stage.refreshes("T0").await.answer(json(403, r#"{"error":"not allowed"}"#)).await;
    up(&mut client, &mut old, "the token is still good").await;
    old.send(bare(CLOSE, &close(1008, "Token expired"))).await;
    assert_eq!(client.ending().await, Some((1008, "Token expired".to_owned())));
}

#[tokio::test]
async fn a_first_message_that_is_no_greeting_is_the_clients() {
    let greeting =
        Plan { more: "[route.handshake]\ngreeting = { type = \"reconnected\" }", ..Plan::default() };
    let stage = Stage::set(greeting).await;
    let (mut client, mut old) = stage.client("T0").await;
    stage.refresh("T0", "T1").await;
    let mut new = stage.replaced("T1").await;
    told_to_end(&mut old).await;
    for text in [r#"{"type":"progress","of":"reconnected"}"#, r#"{"type":"reconnected"}"#] {
        new.send(bare(TEXT, text.as_bytes())).await;
    }
    old.send(bare(CLOSE, &close(1000, ""))).await;
    assert_eq!(client.message().await.text(), r#"{"type":"progress","of":"reconnected"}"#);
    assert_eq!(client.message().await.text(), r#"{"type":"reconnected"}"#);
}

/// A socket that hibernates, where nobody wrote the answer to a Close: its runtime answers Pings.
#[tokio::test]
async fn a_service_that_never_answers_a_close_is_done_when_it_has_read_everything() {
    let stage = Stage::set(Plan::default()).await;
    let (mut client, mut old) = stage.client("T0").await;
    stage.refresh("T0", "T1").await;
    let mut new = stage.replaced("T1").await;
    let ping = old.frame().await.unwrap();
    assert_eq!(ping.opcode(), PING);
    told_to_end(&mut old).await;
    client.send(masked(TEXT, b"held")).await;
    old.send(bare(PONG, &ping.payload)).await;
    down(&mut old, &mut client, "still something").await;
    assert_eq!(new.message().await.text(), "held");
    let lost = "perennial_messages_lost_total{direction=\"down\",reason=\"discontinued\",route=\"jobs\"}";
    assert_eq!(stage.metric(lost).await, 0.0, "it said that it has read everything");
}

#[tokio::test]
async fn a_client_that_leaves_between_two_connections_is_heard_to_its_end() {
    let stage = Stage::set(Plan { more: "[route.session]\nswap = \"break\"", ..Plan::default() }).await;
    let (mut client, mut old) = stage.client("T0").await;
    stage.refresh("T0", "T1").await;
    told_to_end(&mut old).await;
    client.send(masked(TEXT, b"last words")).await;
    client.send(masked(CLOSE, &close(1000, "bye"))).await;
    let held = "perennial_messages_held_total{direction=\"up\",route=\"jobs\"}";
    until("they are held", || stage.metric(held), |held| *held == 1.0).await;
    old.send(bare(CLOSE, &close(1000, ""))).await;
    let mut new = stage.replaced("T1").await;
    assert_eq!(new.message().await.text(), "last words");
    assert_eq!(new.ending().await, Some((1000, "bye".to_owned())));
    new.send(bare(CLOSE, &close(1000, "bye"))).await;
    assert_eq!(client.ending().await, Some((1000, "bye".to_owned())));
}

#[tokio::test]
async fn a_cookie_of_the_service_is_shown_at_the_next_handshake() {
    let stage = Stage::set(Plan { token: LATER, ..Plan::default() }).await;
    let cookies = "Set-Cookie: lb=b2; Path=/; HttpOnly\r\nSet-Cookie: gone=1\r\n";
    let protocol = "Sec-WebSocket-Protocol: auth.T0\r\n";
    let ((answer, mut client), old) = tokio::join!(stage.asks("T0"), async {
        let asked = stage.service.asked().await;
        assert_eq!(asked.head.get("cookie"), None);
        asked.accept(&format!("{protocol}{cookies}")).await
    });
    assert_eq!(answer.all("set-cookie"), ["lb=b2; Path=/; HttpOnly", "gone=1"], "the client gets them, too");
    drop(old);
    let asked = stage.service.asked().await;
    assert_eq!(asked.head.get("cookie"), Some("lb=b2; gone=1"));
    let next =
        asked.accept(&format!("{protocol}Set-Cookie: gone=; Max-Age=0\r\nSet-Cookie: lb=b3\r\n")).await;
    drop(next);
    let asked = stage.service.asked().await;
    assert_eq!(asked.head.get("cookie"), Some("lb=b3"));
    let mut last = choose(asked, "T0").await;
    up(&mut client, &mut last, "still here").await;
}
