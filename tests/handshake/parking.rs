//! A client that went away, and the upstream that is kept for it.

use crate::{
    handshake::stage::{LATER, Plan, Stage, down, up},
    support::{
        until,
        ws::{CLOSE, TEXT, Wire, bare, close, masked},
    },
};

const PARKED: &str = "perennial_sessions{route=\"jobs\",state=\"parked\"}";

async fn stage() -> Stage {
    Stage::set(Plan { token: LATER, more: "[route.session]\npark = \"1m\"", ..Plan::default() }).await
}

async fn goes_away(stage: &Stage, client: Wire) {
    drop(client);
    until("it is seen to be away", || stage.metric(PARKED), |parked| *parked == 1.0).await;
}

/// The client comes back, and the service sees nothing of it.
async fn comes_back(stage: &Stage, token: &str) -> Wire {
    let (answer, client) = stage.asks(token).await;
    assert_eq!(answer.status(), 101, "{answer:?}");
    assert_eq!(answer.get("sec-websocket-protocol"), Some(&*format!("auth.{token}")));
    client
}

#[tokio::test]
async fn a_client_that_comes_back_finds_what_it_missed() {
    let stage = stage().await;
    let (mut client, mut theirs) = stage.client("T0").await;
    up(&mut client, &mut theirs, "one").await;
    goes_away(&stage, client).await;
    for text in ["missed", "missed, too"] {
        theirs.send(bare(TEXT, text.as_bytes())).await;
    }
    let held = "perennial_messages_held_total{direction=\"down\",route=\"jobs\"}";
    until("both are kept", || stage.metric(held), |held| *held == 2.0).await;
    let mut back = comes_back(&stage, "T0").await;
    assert_eq!(back.message().await.text(), "missed");
    assert_eq!(back.message().await.text(), "missed, too");
    up(&mut back, &mut theirs, "here again").await;
    down(&mut theirs, &mut back, "so am I").await;
    assert!(stage.service.is_alone().await, "the upstream was kept");
    assert_eq!(stage.metric(PARKED).await, 0.0);
    // And a second time, with a Close that is none.
    back.send(masked(CLOSE, &close(1001, ""))).await;
    assert_eq!(back.ending().await, Some((1001, String::new())));
    until("it is seen to be away", || stage.metric(PARKED), |parked| *parked == 1.0).await;
    let mut back = comes_back(&stage, "T0").await;
    up(&mut back, &mut theirs, "and again").await;
}

/// The service's cookies were for the one who was there first.
#[tokio::test]
async fn a_client_that_comes_back_is_given_no_cookies_of_the_first() {
    let stage = stage().await;
    let ((answer, client), _theirs) = tokio::join!(stage.asks("T0"), async {
        let asked = stage.service.asked().await;
        asked.accept("Sec-WebSocket-Protocol: auth.T0\r\nSet-Cookie: session=s1\r\n").await
    });
    assert_eq!(answer.get("set-cookie"), Some("session=s1"));
    goes_away(&stage, client).await;
    let (answer, _back) = stage.asks("T0").await;
    assert_eq!((answer.status(), answer.get("set-cookie")), (101, None));
    assert!(stage.service.is_alone().await, "the upstream was kept");
}

#[tokio::test]
async fn a_goodbye_is_meant() {
    let stage = stage().await;
    let (mut client, mut theirs) = stage.client("T0").await;
    client.send(masked(CLOSE, &close(1000, "done"))).await;
    assert_eq!(theirs.ending().await, Some((1000, "done".to_owned())));
    theirs.send(bare(CLOSE, &close(1000, "done"))).await;
    assert_eq!(client.ending().await, Some((1000, "done".to_owned())));
}

#[tokio::test]
async fn nobody_else_is_given_a_parked_upstream() {
    let stage = stage().await;
    let (client, mut theirs) = stage.client("T0").await;
    goes_away(&stage, client).await;
    let (mut other, mut others) = stage.client("T9").await;
    up(&mut other, &mut others, "mine").await;
    assert_eq!(stage.metric(PARKED).await, 1.0);
    let mut back = comes_back(&stage, "T0").await;
    up(&mut back, &mut theirs, "mine").await;
}

#[tokio::test]
async fn a_service_that_says_its_last_word_meanwhile_is_heard() {
    let stage = stage().await;
    let (client, mut theirs) = stage.client("T0").await;
    goes_away(&stage, client).await;
    theirs.send(bare(TEXT, b"the result")).await;
    theirs.send(bare(CLOSE, &close(1000, "job done"))).await;
    assert_eq!(theirs.ending().await, Some((1000, "job done".to_owned())));
    let mut back = comes_back(&stage, "T0").await;
    assert_eq!(back.message().await.text(), "the result");
    assert_eq!(back.ending().await, Some((1000, "job done".to_owned())));
}

#[tokio::test]
async fn a_client_that_stays_away_is_not_waited_for_for_ever() {
    let plan = Plan { token: LATER, more: "[route.session]\npark = \"300ms\"", ..Plan::default() };
    let stage = Stage::set(plan).await;
    let (client, mut theirs) = stage.client("T0").await;
    drop(client);
    theirs.end().await;
    let closed = "perennial_sessions_closed_total{reason=\"client\",route=\"jobs\"}";
    until("the session is over", || stage.metric(closed), |closed| *closed == 1.0).await;
    let (mut back, mut theirs) = stage.client("T0").await;
    up(&mut back, &mut theirs, "a new one").await;
}

#[tokio::test]
async fn a_parked_upstream_is_moved_to_a_new_token_like_any_other() {
    let plan = Plan {
        more: "[route.session]\npark = \"1m\"",
        client: "grace = \"1h\"\nrevoke_for = \"2h\"",
        ..Plan::default()
    };
    let stage = Stage::set(plan).await;
    let (client, mut old) = stage.client("T0").await;
    goes_away(&stage, client).await;
    stage.refresh("T0", "T1").await;
    let mut new = stage.replaced("T1").await;
    assert_eq!(old.message().await.opcode(), CLOSE);
    old.send(bare(TEXT, b"last of the old")).await;
    new.send(bare(TEXT, b"first of the new")).await;
    old.send(bare(CLOSE, &close(1000, ""))).await;
    // With the token that it left with, which is superseded now.
    let mut back = comes_back(&stage, "T0").await;
    assert_eq!(back.message().await.text(), "last of the old");
    assert_eq!(back.message().await.text(), "first of the new");
    up(&mut back, &mut new, "here again").await;
}

#[tokio::test]
async fn what_is_kept_stays_within_its_bound() {
    let plan =
        Plan { token: LATER, more: "[route.session]\npark = \"1m\"\nqueue = \"64KiB\"", ..Plan::default() };
    let stage = Stage::set(plan).await;
    let (client, mut theirs) = stage.client("T0").await;
    goes_away(&stage, client).await;
    // Sixteen megabytes for a client that is not there; the service is stopped, and nothing is lost.
    let (text, count) = ("x".repeat(16 * 1024), 1024);
    let writer = async {
        for _ in 0..count {
            theirs.send(bare(TEXT, text.as_bytes())).await;
        }
    };
    let reader = async {
        let kept = "perennial_held_bytes{direction=\"down\",route=\"jobs\"}";
        let full = until("the queue is full", || stage.metric(kept), |kept| *kept >= 64.0 * 1024.0).await;
        assert!(full <= 96.0 * 1024.0, "{full} bytes are kept");
        let mut back = comes_back(&stage, "T0").await;
        for _ in 0..count {
            assert_eq!(back.message().await.payload.len(), text.len());
        }
    };
    tokio::join!(writer, reader);
}
