//! A client that says goodbye is answered, and what it had said before is not forgotten.

use std::time::Duration;

use perennial::{clock, demo::service::Target};

use crate::ably_client::{
    Format, PATIENCE,
    wire::FORMATS,
    world::{World, long_lived},
};

/// An SDK waits for ten seconds (RTN12b).
const IN_TIME: Duration = Duration::from_secs(9);

#[tokio::test(flavor = "multi_thread")]
async fn during_an_exchange() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        world.faults().delay_auths(1, PATIENCE);
        world.faults().hint(&Target::All);
        world.until("the exchange", |counts| counts.auths == 1).await;
        for _ in 0..5 {
            client.publish("one").await;
        }
        client.close().await;
        client.until("what it said before", |seen| seen.unacked.is_empty()).await;
        client.calm();
        let counts = world.counts();
        assert_eq!((counts.accepted, counts.closes, counts.losses), (5, 1, 0));
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_service_that_comes_back_in_time() {
    let world = World::start(long_lived(), "").await;
    let client = world.client(Format::Json, "c").await;
    client.attach("one").await;
    world.away().await;
    client.publish("one").await;
    client.send(serde_json::json!({"action": 7})).await;
    world.faults().clear();
    client.until("it is closed", |seen| seen.closed && seen.ended.is_some()).await;
    client.until("what it said before", |seen| seen.unacked.is_empty()).await;
    client.calm();
    let counts = world.counts();
    assert_eq!((counts.accepted, counts.closes), (1, 1), "no presence is left behind");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_service_that_stays_away() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        world.away().await;
        let before = clock::now();
        client.close().await;
        assert!(clock::now() - before < IN_TIME);
        client.calm();
        world.end().await;
    }
}
