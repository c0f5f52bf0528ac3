//! What is held is bounded, and goes on no faster than the service takes it; and nothing of it is lost.
//!
//! Broken on purpose, and caught: the queue has no bound · there is no pace · what comes while held messages
//! go overtakes them.

use std::time::Duration;

use crate::ably_client::{
    Client, Format, PATIENCE,
    wire::FORMATS,
    world::{World, long_lived},
};
use perennial::demo::service::{Options, Target};

const QUEUE: usize = 64 * 1024;
/// Bytes of one message; 320 of them are 5 MiB.
const LARGE: usize = 16 * 1024;
const MANY: usize = 320;
/// What the kernel and the sidecar's reading may take ahead of what is held, in messages: far from all.
const AHEAD: u64 = MANY as u64 / 2;

const HELD: &str = "perennial_held_bytes{direction=\"up\",route=\"ably\"}";

/// The client pushes 5 MiB, while `is_shut` says that the service takes nothing, and until all of it is
/// accepted; what was held at most, and how many messages the client got rid of meanwhile.
async fn push(world: &World, client: &Client, is_shut: impl Fn(&World) -> bool) -> (f64, u64) {
    let pad = "x".repeat(LARGE);
    let pushing = async {
        for _ in 0..MANY {
            client.publish_padded("one", &pad).await;
        }
    };
    let watching = async {
        let mut look = tokio::time::interval(Duration::from_millis(2));
        let (mut held, mut early) = (0.0_f64, 0);
        while world.counts().accepted < MANY as u64 {
            held = held.max(world.metric(HELD));
            if is_shut(world) {
                early = client.seen(|seen| seen.published("one"));
            }
            look.tick().await;
        }
        (held, early)
    };
    let both = async { tokio::join!(pushing, watching).1 };
    tokio::time::timeout(PATIENCE, both).await.unwrap_or_else(|_| panic!("{:?}", world.counts()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pushes_through_a_slow_exchange_is_throttled_and_not_cut() {
    for format in FORMATS {
        let world = World::start(long_lived(), "queue = \"64KiB\"").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        world.faults().delay_auths(1, Duration::from_secs(2));
        world.faults().hint(&Target::All);
        world.until("the exchange", |counts| counts.auths == 1).await;
        let (held, early) = push(&world, &client, |world| world.counts().auths_accepted == 0).await;
        world.whole(&client, "one").await;
        println!("{format:?}: held {held} bytes at most; {early} of {MANY} were sent during the exchange");
        assert!(held >= LARGE as f64 && held <= (QUEUE + 2 * LARGE) as f64, "{held}");
        assert!(early < AHEAD, "{early} of {MANY} were taken, though nothing went on");
        assert_eq!((world.counts().connects, world.sessions_closed()), (1, 0.0));
        assert_eq!(world.metric(HELD), 0.0);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pushes_into_an_outage_is_throttled_and_not_cut() {
    let world = World::start(long_lived(), "queue = \"64KiB\"").await;
    let client = world.client(Format::Msgpack, "c").await;
    client.attach("one").await;
    // Each refusal doubles the wait, from a second on: three seconds of it.
    world.faults().refuse_handshakes(2, 503);
    world.faults().reset();
    world.until("the service is away", |counts| counts.refused >= 1).await;
    let (held, early) = push(&world, &client, |world| world.counts().resumes == 0).await;
    world.whole(&client, "one").await;
    assert!(held <= (QUEUE + 2 * LARGE) as f64, "{held}");
    assert!(early < AHEAD, "{early} of {MANY} were taken, though nobody was there");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_acknowledged_is_bounded_too() {
    let world = World::start(long_lived(), "queue = \"64KiB\"").await;
    let client = world.client(Format::Json, "c").await;
    client.attach("one").await;
    world.faults().hold_acks();
    let release = async {
        world.until("as much as may be remembered", |counts| counts.accepted >= 4).await;
        let accepted = world.counts().accepted;
        assert!(accepted <= (QUEUE / LARGE + 4) as u64, "{accepted}");
        world.reset().await;
        world.faults().release_acks();
    };
    let ((), (_, early)) = tokio::join!(release, push(&world, &client, |world| world.counts().accepted < 8));
    assert!(early < AHEAD, "{early}");
    world.whole(&client, "one").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_held_goes_no_faster_than_the_service_takes_it() {
    for format in FORMATS {
        let world = World::start(Options { max_inbound_rate: 100, ..long_lived() }, "").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        world.away().await;
        for _ in 0..250 {
            client.publish("one").await;
        }
        world.faults().clear();
        // What comes while they go waits behind them.
        world.until("they are on their way", |counts| counts.accepted > 0).await;
        for _ in 0..20 {
            client.publish("one").await;
        }
        world.whole(&client, "one").await;
        let counts = world.counts();
        assert_eq!((counts.accepted, counts.over_rate), (270, 0));
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_counts_towards_the_pace() {
    let options = Options { max_inbound_rate: 100, ..long_lived() };
    let world = World::start(options, "keepalive = \"200ms\"").await;
    let client = world.client(Format::Json, "c").await;
    client.attach("one").await;
    // Eighty never arrive, and eighty more are held: together they are more than a second's worth.
    world.faults().silence(&Target::All);
    for _ in 0..80 {
        client.publish("one").await;
    }
    world.faults().refuse_handshakes(3, 503);
    world.until("it is found out", |counts| counts.refused >= 1).await;
    for _ in 0..80 {
        client.publish("one").await;
    }
    world.whole(&client, "one").await;
    let counts = world.counts();
    assert_eq!((counts.accepted, counts.over_rate), (160, 0));
    world.end().await;
}
