//! Tokens that live for two seconds, on a hundred sessions, for twenty of their lives: in real time and on
//! real sockets, since time is what this is about.
//!
//! Broken on purpose, and caught: no session asks for its turn.

use std::time::Duration;

use crate::ably_client::{
    Client, Format, PATIENCE,
    world::{World, long_lived, short_lived},
};
use perennial::demo::service::{Options, Target};

const EXCHANGE: &str = "perennial_token_refresh_duration_seconds{phase=\"exchange\",route=\"ably\"}";
const HOLD: &str = "perennial_hold_seconds{direction=\"up\",route=\"ably\"}";

/// A histogram: the upper bounds of its buckets, with how many are at or below each.
fn histogram(world: &World, series: &str) -> Vec<(f64, u64)> {
    let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap();
    let prefix = format!("{name}_bucket{{{labels},le=\"");
    let text = world.app.metrics();
    let lines = text.lines().filter_map(|line| line.strip_prefix(prefix.as_str()));
    let bucket = |line: &str| {
        let (bound, count) = line.split_once("\"} ").unwrap();
        (bound.parse().unwrap_or(f64::INFINITY), count.parse().unwrap())
    };
    lines.map(bucket).collect()
}

/// The bound of the bucket in which the given part of all lies.
fn percentile(buckets: &[(f64, u64)], part: f64) -> f64 {
    let all = buckets.last().map_or(0, |(_, count)| *count);
    let due = (all as f64 * part).ceil() as u64;
    buckets.iter().find(|(_, count)| *count >= due).map_or(f64::INFINITY, |(bound, _)| *bound)
}

fn print(what: &str, buckets: &[(f64, u64)]) {
    let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|part| percentile(buckets, part));
    let all = buckets.last().map_or(0, |(_, count)| *count);
    println!("{what}: {all}; p50 ≤ {p50} s, p90 ≤ {p90} s, p99 ≤ {p99} s");
}

/// Sessions on channels of their own, in both formats.
async fn sessions(world: &World, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for nth in 0..count {
        let format = if nth % 2 == 0 { Format::Json } else { Format::Msgpack };
        let client = world.client(format, &format!("c{nth}")).await;
        client.attach(&client.dial.name).await;
        clients.push(client);
    }
    clients
}

/// Every session publishes and is published to, in turn, until the service has counted so.
async fn talk(world: &World, clients: &[Client], is_so: impl Fn(&World) -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    while !is_so(world) {
        tick.tick().await;
        for client in clients {
            client.publish(&client.dial.name).await;
            world.speak(&client.dial.name, 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn realtime_a_hundred_sessions_live_through_twenty_tokens() {
    let world = World::start(short_lived(Duration::from_secs(2)), "").await;
    let clients = sessions(&world, 100).await;
    let talking =
        talk(&world, &clients, |world| world.generation() > 20 && world.counts().auths_accepted >= 100 * 20);
    let done = tokio::time::timeout(PATIENCE * 3, talking).await;
    assert!(done.is_ok(), "{:?}", world.counts());
    for client in &clients {
        world.whole(client, &client.dial.name).await;
    }
    let counts = world.counts();
    let margin = world.service.ledger().read(|record| record.smallest_margin()).unwrap();
    println!("{counts:?}\nsmallest margin: {margin:?}");
    print("exchanges", &histogram(&world, EXCHANGE));
    print("messages held", &histogram(&world, HOLD));
    assert!(margin > Duration::ZERO);
    assert_eq!((counts.dials, counts.connects, counts.losses), (100, 100, 0));
    assert_eq!((counts.expiry_disconnects, counts.dead_tokens, counts.bad_credentials), (0, 0, 0));
    assert_eq!((counts.auths, counts.overlapping_auths), (counts.auths_accepted, 0));
    assert_eq!(counts.token_requests, world.generation(), "one request for each generation");
    assert_eq!(world.sessions_closed(), 0.0);
    world.end().await;
}

/// A service is not asked by all of them together. How long each took is printed.
#[tokio::test(flavor = "multi_thread")]
async fn realtime_three_hundred_that_share_a_token_do_not_show_the_next_all_at_once() {
    const SESSIONS: u64 = 300;
    const EXCHANGES: u64 = 4;
    const AT_ONCE: u64 = 32;
    // The service itself takes ten milliseconds for each.
    let options = Options { auth_delay: Duration::from_millis(10), ..long_lived() };
    let world = World::start(options, "").await;
    let clients = sessions(&world, SESSIONS as usize).await;
    for nth in 1..=EXCHANGES {
        world.faults().hint(&Target::All);
        let done = talk(&world, &clients, |world| world.counts().auths_accepted >= nth * SESSIONS);
        assert!(tokio::time::timeout(PATIENCE, done).await.is_ok(), "{:?}", world.counts());
    }
    for client in &clients {
        world.whole(client, &client.dial.name).await;
    }
    let exchanges = histogram(&world, EXCHANGE);
    print("exchanges", &exchanges);
    print("messages held", &histogram(&world, HOLD));
    assert_eq!(exchanges.last().unwrap().1, SESSIONS * EXCHANGES);
    let counts = world.counts();
    assert_eq!((counts.connects, counts.overlapping_auths), (SESSIONS, 0));
    assert_eq!((counts.token_requests, world.generation()), (EXCHANGES + 1, EXCHANGES + 1));
    // The service counts an answer before it says it, and with the answer a turn ends.
    assert!((2..=AT_ONCE).contains(&counts.most_auths_at_once), "{counts:?}");
    world.end().await;
}
