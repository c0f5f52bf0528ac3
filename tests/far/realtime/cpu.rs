//! What idle sessions cost does not depend on how far away their service is.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::sleep;

use crate::{
    far::stage::{Dialect, Stage},
    wire_proxy::{Conditions, Direction, Kind},
};

const MEASURED: Duration = Duration::from_secs(20);
/// A session has four sockets in this process, and there are two lines.
const SOCKETS: u64 = 8;

/// The unit of /proc/PID/stat, which is the same on every Linux machine.
const TICK: Duration = Duration::from_millis(10);

/// How many sessions: as many as this process may have sockets for.
fn sessions() -> usize {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    if limit.maximum.is_none_or(|most| most > 1_100 * SOCKETS) { 1_000 } else { 100 }
}

/// CPU time of a process so far.
pub fn cpu(id: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    let ticks = after_name.split(' ').skip(11).take(2).map(|field| field.parse::<u32>().unwrap());
    TICK * ticks.sum()
}

/// The CPU time that a sidecar takes for idle sessions on a line of this round-trip time.
async fn idle(sessions: usize, round_trip: u64) -> Duration {
    let stage = Stage::set(Dialect::None, Conditions::round_trip(round_trip)).await;
    let clients: Vec<_> =
        stream::iter(0..sessions).map(|_| stage.idle()).buffer_unordered(50).collect().await;
    let before = cpu(stage.sidecar.id());
    sleep(MEASURED).await;
    let used = cpu(stage.sidecar.id()) - before;
    let pings = stage.proxy.count(Direction::Up, Kind::Ping);
    println!("{sessions} sessions, {round_trip} ms: {used:?} of CPU in {MEASURED:?}, {pings} Pings");
    assert!(clients.iter().all(|client| !client.is_finished()), "{round_trip} ms: a client was closed");
    used
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_sessions_cost_the_same_at_any_distance() {
    let sessions = sessions();
    let (near, far) = tokio::join!(idle(sessions, 0), idle(sessions, 100));
    assert!(far < near.mul_f64(1.1) + Duration::from_millis(300), "near {near:?}, far {far:?}");
    assert!(far < MEASURED / 10, "{sessions} idle sessions took {far:?} of CPU in {MEASURED:?}");
}
