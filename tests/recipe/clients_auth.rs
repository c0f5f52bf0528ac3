//! A client that re-authenticates by itself: exactly one CONNECTED answers it, whatever else goes on.

use std::time::Duration;

use perennial::demo::service::{Options, Target, TokenAnswer, TokenFault};

use crate::ably_client::{
    Client, Format, PATIENCE,
    wire::FORMATS,
    world::{World, long_lived},
};

/// The client's AUTH is answered, and no second answer comes before that of a ping behind it.
async fn answered_once(client: &Client, connected: usize) {
    client.until("its AUTH is answered", |seen| seen.connected > connected).await;
    client.ping("behind").await;
    client.until("a ping behind it", |seen| seen.pongs.iter().any(|id| id == "behind")).await;
    assert_eq!(client.seen(|seen| seen.connected), connected + 1);
    client.calm();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_all_is_well() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        client.publish("one").await;
        client.authorize().await;
        client.publish("one").await;
        answered_once(&client, 1).await;
        world.whole(&client, "one").await;
        let counts = world.counts();
        assert_eq!((counts.auths_accepted, counts.bad_credentials, counts.dead_tokens), (1, 0, 0));
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn during_an_exchange_of_perennials_own() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        world.faults().delay_auths(1, Duration::from_millis(300));
        world.faults().hint(&Target::All);
        world.until("the exchange", |counts| counts.auths == 1).await;
        client.publish("one").await;
        client.authorize().await;
        client.publish("one").await;
        answered_once(&client, 1).await;
        world.whole(&client, "one").await;
        assert_eq!(world.counts().overlapping_auths, 0);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn across_a_loss_of_the_upstream() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        world.faults().delay_auths(1, PATIENCE);
        client.authorize().await;
        world.until("the client's exchange", |counts| counts.auths == 1).await;
        client.publish("one").await;
        world.reset().await;
        answered_once(&client, 1).await;
        // And one that comes while there is nobody to ask.
        world.away().await;
        client.authorize().await;
        client.publish("one").await;
        world.faults().clear();
        client.until("its second AUTH is answered", |seen| seen.connected == 3).await;
        world.whole(&client, "one").await;
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_perennial_has_no_token_that_may_be_shown() {
    let options = Options { token_answer: TokenAnswer::Bare, ..long_lived() };
    let world = World::start_with(options, "lifetime = \"1s\"", "").await;
    let client = world.client(Format::Json, "c").await;
    client.attach("one").await;
    world.faults().token_endpoint(std::iter::repeat_n(TokenFault::Status(503), 100));
    let credential = world.app.credential("ably").unwrap();
    let ended = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while credential.current().is_some_and(|token| !token.is_expired(perennial::clock::Now::read())) {
            look.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    client.authorize().await;
    client.publish("one").await;
    client.until("a publish behind it passes", |seen| seen.unacked.is_empty()).await;
    world.faults().clear();
    answered_once(&client, 1).await;
    world.until("exchanges go on", |counts| counts.auths_accepted >= 3).await;
    world.whole(&client, "one").await;
    world.end().await;
}
