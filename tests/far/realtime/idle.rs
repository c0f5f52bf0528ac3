//! An idle session is pinged once in a keepalive, however far away its service is.

use std::{ops::RangeInclusive, time::Duration};

use tokio::time::sleep;

use crate::{
    far::stage::{DIALECTS, Dialect, Stage, all},
    wire_proxy::{Conditions, Direction, Kind},
};

/// Two keepalives of 10 s, five of 5 s, and a part of the next.
const IDLE: Duration = Duration::from_secs(27);

/// Pings in that time: one for each keepalive. A Pong that takes its time moves the next Ping away.
fn pings(dialect: Dialect) -> RangeInclusive<usize> {
    match dialect {
        Dialect::None | Dialect::Handshake => 1..=2,
        Dialect::Ably => 3..=5,
    }
}

async fn idle(dialect: Dialect, round_trip: u64) {
    let case = format!("{dialect:?}, {round_trip} ms");
    let stage = Stage::set(dialect, Conditions::round_trip(round_trip)).await;
    let client = stage.idle().await;
    sleep(IDLE).await;
    let times = stage.proxy.seen(|seen| seen.times(Direction::Up, Kind::Ping));
    let closest = times.windows(2).map(|two| two[1] - two[0]).min().unwrap_or(IDLE);
    println!("{case}: {} Pings, the closest two within {closest:?}", times.len());
    assert!(pings(dialect).contains(&times.len()), "{case}: {} Pings in {IDLE:?}", times.len());
    assert!(closest > dialect.keepalive() * 4 / 5, "{case}: two Pings within {closest:?}");
    assert!(!client.is_finished(), "{case}: the client was closed");
    assert_eq!(stage.proxy.seen(|seen| seen.connections()), 1, "{case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_is_pinged_once_in_a_keepalive_at_any_round_trip_time() {
    let cases = DIALECTS.iter().flat_map(|dialect| [0, 50, 200, 1_000].map(|rtt| idle(*dialect, rtt)));
    all(cases).await;
}
