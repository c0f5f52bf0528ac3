//! An idle session is pinged once in a keepalive, however far away its service is.

use std::{ops::RangeInclusive, time::Duration};

use futures_util::future::join_all;
use tokio::time::sleep;

use crate::{
    stage::{DIALECTS, Dialect, Stage},
    wire_proxy::{Conditions, Direction, Kind},
};

/// Two keepalives of 10 s, five of 5 s, and a part of the next.
const IDLE: Duration = Duration::from_secs(27);

/// Pings in that time: one for each keepalive. A Pong that takes its time moves the next Ping away.
fn pings(dialect: Dialect) -> RangeInclusive<u64> {
    match dialect {
        Dialect::None | Dialect::Handshake => 1..=2,
        Dialect::Ably => 3..=5,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_is_pinged_once_in_a_keepalive_at_any_round_trip_time() {
    let cases = DIALECTS.iter().flat_map(|dialect| [0, 50, 200, 1_000].map(|rtt| (*dialect, rtt)));
    let counted = join_all(cases.map(|(dialect, rtt)| async move {
        let stage = Stage::set(dialect, Conditions::round_trip(rtt)).await;
        let client = stage.idle().await;
        sleep(IDLE).await;
        let count = |direction, kind| stage.proxy.count(direction, kind);
        let seen = (count(Direction::Up, Kind::Ping), count(Direction::Down, Kind::Pong));
        println!("{dialect:?}, {rtt} ms: {} Pings, {} Pongs", seen.0, seen.1);
        assert!(!client.is_finished(), "{dialect:?}, {rtt} ms: the client was closed");
        assert_eq!(count(Direction::Up, Kind::Connection), 1, "{dialect:?}, {rtt} ms");
        (dialect, rtt, seen.0)
    }))
    .await;
    let wrong: Vec<_> =
        counted.iter().filter(|(dialect, _, count)| !pings(*dialect).contains(count)).collect();
    assert!(wrong.is_empty(), "dialect, round trip in ms, Pings in {IDLE:?}: {wrong:?}");
}
