//! The first connection: nothing has been shown to the client yet, so what can be fixed is fixed.

use perennial::demo::service::{Options, Target};

use crate::ably_client::{
    Client, Format, Refused,
    wire::FORMATS,
    world::{World, long_lived},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_of_the_credential_gives_way_to_exactly_one() {
    let world = World::start(long_lived(), "").await;
    let spellings: [&[(&str, &str)]; 6] = [
        &[("accessToken", "stale")],
        &[("access_token", "stale")],
        &[("key", "demo01.key001:not-the-secret")],
        &[("key", "a.b:c"), ("access_token", "x&accessToken=y"), ("accessToken", "z")],
        &[("access_token", "one"), ("access_token", "two")],
        &[],
    ];
    for (format, credentials) in FORMATS.into_iter().flat_map(|format| spellings.map(|s| (format, s))) {
        let mut dial = world.dial(format, "c").without("accessToken");
        dial.query.extend(credentials.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let client = Client::connect(dial).await;
        client.calm();
        client.close().await;
    }
    let counts = world.counts();
    assert_eq!((counts.connects, counts.bad_credentials, counts.token_requests), (18, 0, 1));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_revoked_before_is_replaced_before_the_client_is_answered() {
    let world = World::start(long_lived(), "").await;
    world.until("the first token", |counts| counts.tokens_issued == 1).await;
    world.faults().expire(&Target::All);
    let client = world.client(Format::Json, "c").await;
    client.attach("one").await;
    world.speak("one", 3);
    world.whole(&client, "one").await;
    let counts = world.counts();
    assert_eq!((counts.revoked_tokens, counts.token_requests, counts.connects), (1, 2, 1));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_claims_to_be_another_is_told_so_and_costs_no_token() {
    let world = World::start(Options { token_client_id: Some("alice".into()), ..long_lived() }, "").await;
    let alice = world.client(Format::Json, "alice").await;
    alice.attach("one").await;
    for format in FORMATS {
        let bob =
            Client::open(world.dial(format, "bob").with("clientId", "bob").turned_away()).await.unwrap();
        bob.until("it is told, and ended", |seen| seen.ended.is_some()).await;
        bob.calm();
        bob.seen(|seen| assert_eq!(seen.frames[0]["error"]["code"], 40102));
    }
    world.speak("one", 3);
    world.whole(&alice, "one").await;
    let counts = world.counts();
    assert_eq!((counts.token_requests, counts.dials), (1, 4), "one dial each, all with the one token");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_refused_is_refused_to_the_client_as_the_service_did() {
    let world = World::start(long_lived(), "").await;
    world.faults().refuse_handshakes(1, 503);
    let refused = Client::open(world.dial(Format::Json, "c")).await.err();
    assert_eq!(refused, Some(Refused(Some(503))));
    // But where it is the token that was refused, another one is tried first.
    world.faults().refuse_handshakes(1, 401);
    let client = world.client(Format::Json, "c").await;
    client.calm();
    assert_eq!(world.counts().token_requests, 2);
    world.end().await;
}
