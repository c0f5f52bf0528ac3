//! Clients that show tokens of their own: whose credential it is, what is served and what is not.

use crate::{
    handshake::stage::{LATER, Plan, SOON, Stage, assert_shows, choose, down, json, up},
    support::{
        http::{ask, handshake},
        until,
        ws::{CLOSE, Wire, bare, close, masked},
    },
};

/// Moves a session over from `old` to a connection made with `token`.
async fn moved(stage: &Stage, old: &mut Wire, token: &str) -> Wire {
    let new = stage.replaced(token).await;
    assert_eq!(old.message().await.opcode(), CLOSE);
    old.send(bare(CLOSE, &close(1000, ""))).await;
    new
}

/// A client says goodbye, and the service answers it.
async fn leaves(mut client: Wire, mut theirs: Wire) {
    client.send(masked(CLOSE, &close(1000, ""))).await;
    assert_eq!(theirs.ending().await, Some((1000, String::new())));
    theirs.send(bare(CLOSE, &close(1000, ""))).await;
    assert_eq!(client.ending().await, Some((1000, String::new())));
}

/// A client that is turned away by a Close, and the service undisturbed.
async fn turned_away(stage: &Stage, token: &str, reason: &str) {
    let (answer, mut client) = stage.asks(token).await;
    assert_eq!(answer.status(), 101, "{answer:?}");
    assert_eq!(answer.get("sec-websocket-protocol"), Some(&*format!("auth.{token}")));
    assert_eq!(client.ending().await, Some((1008, reason.to_owned())));
    client.send(masked(CLOSE, &close(1008, ""))).await;
    client.end().await;
    assert!(stage.service.is_alone().await, "the service was dialled");
}

#[tokio::test]
async fn two_clients_on_one_token_share_one_refresh() {
    let stage = Stage::set(Plan::default()).await;
    let (mut one, mut first) = stage.client("T0").await;
    let (mut two, mut second) = stage.client("T0").await;
    stage.refresh("T0", "T1").await;
    // Either may be the first to move.
    let (a, b) = (stage.replaced("T1").await, stage.replaced("T1").await);
    for old in [&mut first, &mut second] {
        assert_eq!(old.message().await.opcode(), CLOSE);
        old.send(bare(CLOSE, &close(1000, ""))).await;
    }
    let mut new = [a, b];
    one.send(masked(1, b"of the one")).await;
    two.send(masked(1, b"of the other")).await;
    let said = [new[0].message().await, new[1].message().await];
    let mut said: Vec<_> = said.iter().map(|frame| frame.text().to_owned()).collect();
    said.sort();
    assert_eq!(said, ["of the one", "of the other"]);
    assert!(stage.endpoint.is_alone().await, "one refresh for both");
    let series = "perennial_token_refreshes_total{outcome=\"ok\",route=\"jobs\",trigger=\"schedule\"}";
    assert_eq!(stage.metric(series).await, 1.0);
    assert_eq!(stage.metric("perennial_credentials{route=\"jobs\",state=\"valid\"}").await, 1.0);
    assert!(stage.metric("perennial_token_expiration_timestamp_seconds{route=\"jobs\"}").await > 1e9);
}

#[tokio::test]
async fn a_silent_client_is_refreshed_for_and_nobody_else() {
    let stage = Stage::set(Plan::default()).await;
    let (_silent, mut old) = stage.client("T0").await;
    let (gone, theirs) = stage.client("T9").await;
    leaves(gone, theirs).await;
    stage.refresh("T0", "T1").await;
    moved(&stage, &mut old, "T1").await;
    let credentials = "perennial_credentials{route=\"jobs\",state=\"valid\"}";
    until("the other credential ends", || stage.metric(credentials), |count| *count == 1.0).await;
    assert!(stage.endpoint.is_alone().await, "nobody is on T9");
}

#[tokio::test]
async fn a_superseded_token_is_served_within_its_grace_and_revoked_by_the_next_one() {
    let stage = Stage::set(Plan { client: "grace = \"1h\"\nrevoke_for = \"2h\"", ..Plan::default() }).await;
    let (mut client, mut old) = stage.client("T0").await;
    stage.refreshes("T0").await.answer(json(200, r#"{"token":"T1","expiresIn":2}"#)).await;
    let mut new = moved(&stage, &mut old, "T1").await;
    // Within the grace, with the others there: the same credential, its current token.
    let (_, mut back, mut theirs) = stage.is_served("T0", "T1").await;
    up(&mut back, &mut theirs, "back").await;
    leaves(back, theirs).await;
    // Superseded a second time: refused at once, whatever is left of the grace.
    stage.refresh("T1", "T2").await;
    let mut newest = moved(&stage, &mut new, "T2").await;
    up(&mut client, &mut newest, "on").await;
    turned_away(&stage, "T0", "Token expired").await;
    // The one between is within its own grace.
    stage.is_served("T1", "T2").await;
}

#[tokio::test]
async fn a_token_beyond_its_grace_goes_nowhere() {
    let stage = Stage::set(Plan { client: "grace = \"0s\"", ..Plan::default() }).await;
    let (_client, mut old) = stage.client("T0").await;
    stage.refresh("T0", "T1").await;
    let _new = moved(&stage, &mut old, "T1").await;
    turned_away(&stage, "T0", "Token expired").await;
}

#[tokio::test]
async fn a_client_that_comes_back_to_an_empty_house_within_grace_is_served() {
    let stage = Stage::set(Plan { client: "grace = \"1h\"\nrevoke_for = \"2h\"", ..Plan::default() }).await;
    let (mut client, mut old) = stage.client("T0").await;
    stage.refresh("T0", "T1").await;
    let mut new = moved(&stage, &mut old, "T1").await;
    up(&mut client, &mut new, "on").await;
    leaves(client, new).await;
    let credentials = "perennial_credentials{route=\"jobs\",state=\"valid\"}";
    until("the credential ends with its last session", || stage.metric(credentials), |count| *count == 0.0)
        .await;
    let (_, mut back, mut theirs) = stage.is_served("T0", "T1").await;
    up(&mut back, &mut theirs, "back").await;
}

#[tokio::test]
async fn a_token_that_was_never_seen_is_the_services_to_judge() {
    let stage = Stage::set(Plan { token: LATER, ..Plan::default() }).await;
    let refused = async {
        let asked = stage.service.asked().await;
        assert_shows(&asked.head, "made-up");
        asked.answer("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nX-Why: unknown\r\n\r\n").await
    };
    let ((answer, _), _) = tokio::join!(stage.asks("made-up"), refused);
    assert_eq!((answer.status(), answer.get("x-why")), (401, Some("unknown")));
    assert!(stage.endpoint.is_alone().await, "nothing is renewed that nobody has vouched for");
    let credentials = "perennial_credentials{route=\"jobs\",state=\"valid\"}";
    until("nothing is left of it", || stage.metric(credentials), |count| *count == 0.0).await;
}

#[tokio::test]
async fn what_a_client_shows_has_to_be_there_and_to_agree() {
    let stage = Stage::set(Plan::default()).await;
    for (target, offer, reason) in [
        ("/ws?jobId=7", "", "Token missing"),
        ("/ws?jobId=7&token=", "", "Token missing"),
        ("/ws?jobId=7&token=T0", "Sec-WebSocket-Protocol: app, auth.T1\r\n", "Tokens disagree"),
        ("/ws?jobId=7&token=T0&token=T1", "", "Tokens disagree"),
    ] {
        let (answer, mut client) = ask(stage.sidecar.port, handshake(target, offer)).await;
        assert_eq!(answer.status(), 101, "{answer:?}");
        assert_eq!(answer.get("sec-websocket-protocol"), (!offer.is_empty()).then_some("app"));
        assert_eq!(client.ending().await, Some((1008, reason.to_owned())), "{target} {offer}");
    }
    assert!(stage.service.is_alone().await);
}

#[tokio::test]
async fn a_token_that_says_itself_that_it_has_ended_is_not_dialled_with() {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let stage = Stage::set(Plan { token: LATER, ..Plan::default() }).await;
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let jwt =
        format!("{}.{}.{}", part(r#"{"alg":"HS256"}"#), part(r#"{"exp":1000000000}"#), part("signature"));
    turned_away(&stage, &jwt, "Token expired").await;
}

#[tokio::test]
async fn a_refresh_waits_for_a_swap_that_is_under_way_and_is_not_lost() {
    // The second token is due before the service has answered the swap to it.
    let stage = Stage::set(Plan { token: SOON, ..Plan::default() }).await;
    let (mut client, mut old) = stage.client("T0").await;
    stage.refreshes("T0").await.answer(json(200, r#"{"token":"T1","expiresIn":4}"#)).await;
    let asked = stage.service.asked().await;
    assert_shows(&asked.head, "T1");
    let due = std::time::Duration::from_millis(3200);
    let early = tokio::time::timeout(due, stage.endpoint.connection()).await;
    assert!(early.is_err(), "the refresh came while its token was still being shown");
    let mut new = choose(asked, "T1").await;
    assert_eq!(old.message().await.opcode(), CLOSE);
    old.send(bare(CLOSE, &close(1000, ""))).await;
    stage.refresh("T1", "T2").await;
    let mut newest = moved(&stage, &mut new, "T2").await;
    up(&mut client, &mut newest, "on").await;
    down(&mut newest, &mut client, "and back").await;
}
