//! The upstream is lost, in every way there is, and the client hears nothing of it.

use std::time::Duration;

use perennial::demo::service::{Cut, Options, Target};

use crate::ably_client::{
    Format,
    wire::FORMATS,
    world::{World, long_lived},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_an_end_and_a_close_are_hidden() {
    let cuts = [Cut::Reset, Cut::Drop, Cut::Close(1000), Cut::Close(1011)];
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        for (nth, cut) in (1..).zip(cuts) {
            world.talk_until(&client, "one", |counts| counts.accepted >= nth * 20).await;
            world.faults().cut(&Target::All, cut);
            world.talk_until(&client, "one", |counts| counts.resumes == nth).await;
        }
        world.whole(&client, "one").await;
        assert_eq!((world.counts().failed_resumes, world.generation()), (0, 1));
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_found_out_and_hidden() {
    for format in FORMATS {
        let world = World::start(long_lived(), "keepalive = \"200ms\"").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        world.faults().silence(&Target::All);
        world.talk_until(&client, "one", |counts| counts.resumes == 1).await;
        world.whole(&client, "one").await;
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_resumed_with_its_newest_key() {
    // The service takes no other: `newest_key_only`.
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        for resumes in 1..=2 {
            world.exchange().await;
            world.exchange().await;
            world.faults().reset();
            world.talk_until(&client, "one", |counts| counts.resumes == resumes).await;
        }
        world.whole(&client, "one").await;
        assert_eq!(world.counts().failed_resumes, 0);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_flaps_is_hidden() {
    for format in FORMATS {
        // A key may be lost on its way: the service has to take the one before it too.
        let world = World::start(Options { newest_key_only: false, ..long_lived() }, "").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        world.faults().periodic_reset(Some(Duration::from_millis(150)));
        world.talk_until(&client, "one", |counts| counts.resumes >= 8).await;
        world.faults().periodic_reset(None);
        world.whole(&client, "one").await;
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_handshakes_are_tried_again() {
    let world = World::start(long_lived(), "").await;
    let client = world.client(Format::Json, "c").await;
    client.attach("one").await;
    world.faults().refuse_handshakes(3, 503);
    world.faults().reset();
    world.talk_until(&client, "one", |counts| counts.resumes == 1).await;
    assert_eq!((world.counts().refused, world.generation()), (3, 1));
    // A 401 is about the token: another one is fetched before the next attempt.
    world.faults().refuse_handshakes(1, 401);
    world.faults().reset();
    world.talk_until(&client, "one", |counts| counts.resumes == 2).await;
    assert_eq!((world.counts().refused, world.generation()), (4, 2));
    world.whole(&client, "one").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_in_an_exchange_and_in_a_resume_lose_nothing() {
    let batches = Options { ack_batch: 4, ack_delay: Duration::from_millis(5), ..long_lived() };
    let world = World::start(Options { newest_key_only: false, ..batches }, "").await;
    let client = world.client(Format::Msgpack, "c").await;
    client.attach("one").await;
    for round in 1..=6 {
        world.faults().hint(&Target::All);
        world.talk_until(&client, "one", |counts| counts.auths >= round).await;
        // Counted before the cut: it may be back before this test's thread goes on.
        let connects = world.counts().connects;
        world.faults().cut(&Target::All, if round % 2 == 0 { Cut::Drop } else { Cut::Reset });
        // Once more as soon as it is back, before or while it is told of its channels.
        world.talk_until(&client, "one", |counts| counts.connects > connects).await;
        let before = world.counts();
        world
            .talk_until(&client, "one", |counts| {
                // A connection that is only just made may not be there yet for a reset to meet.
                if counts.losses == before.losses {
                    world.faults().reset();
                }
                counts.auths_accepted > before.auths_accepted || counts.resumes >= 2 * round
            })
            .await;
    }
    world.whole(&client, "one").await;
    world.end().await;
}
