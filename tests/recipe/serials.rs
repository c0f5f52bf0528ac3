//! Publishes over a loss: once each, in order, each acknowledged once, in the client's counting.

use std::time::Duration;

use perennial::demo::service::{Options, Target};

use crate::ably_client::{
    wire::FORMATS,
    world::{World, long_lived},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_whose_ack_was_lost_is_sent_again_with_its_serial() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        for resumes in 1..=3 {
            world.faults().cut_before_ack(1);
            for _ in 0..5 {
                client.publish("one").await;
            }
            world.until("the resume", |counts| counts.resumes == resumes).await;
            client.settled().await;
        }
        world.whole(&client, "one").await;
        let counts = world.counts();
        assert_eq!(counts.accepted, 15);
        assert!(counts.repeats >= 3, "{counts:?}");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_without_an_ack_are_sent_again_in_their_order() {
    for (format, reack) in FORMATS.into_iter().zip([true, false, false]) {
        // Where the service stays silent about repeats, the next ACK covers them.
        let world = World::start(Options { reack, ..long_lived() }, "").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        world.faults().hold_acks();
        for _ in 0..30 {
            client.publish("one").await;
        }
        world.until("they are taken", |counts| counts.accepted == 30).await;
        world.reset().await;
        world.until("they are repeated", |counts| counts.repeats == 30).await;
        world.faults().release_acks();
        client.publish("one").await;
        world.whole(&client, "one").await;
        assert_eq!(client.seen(|seen| seen.acks), 31);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_arrived_goes_before_what_was_held() {
    for format in FORMATS {
        let world = World::start(long_lived(), "keepalive = \"200ms\"").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        world.faults().silence(&Target::All);
        for _ in 0..10 {
            client.publish("one").await;
        }
        world.faults().refuse_handshakes(2, 503);
        world.until("it is found out", |counts| counts.refused >= 1).await;
        for _ in 0..10 {
            client.publish("one").await;
        }
        world.whole(&client, "one").await;
        let counts = world.counts();
        assert_eq!((counts.accepted, counts.repeats), (20, 0));
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_of_several_reach_the_client_as_they_are() {
    for format in FORMATS {
        let options = Options { ack_batch: 7, ack_delay: Duration::from_millis(30), ..long_lived() };
        let world = World::start(options, "").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        world.talk_until(&client, "one", |counts| counts.accepted >= 40).await;
        world.faults().reset();
        world.talk_until(&client, "one", |counts| counts.accepted >= 80).await;
        world.whole(&client, "one").await;
        world.end().await;
    }
}
