//! A service that hangs while its host lives: the kernel acknowledges everything, and nothing ever answers.

use std::time::Duration;

use perennial::clock;

use super::cpu::cpu;
use crate::{
    far::stage::{DIALECTS, Dialect, Stage, all},
    support::{peak, resident},
    wire_proxy::{Action, Conditions, Direction, Fault, Kind},
};

#[derive(Debug, Clone, Copy)]
enum Hung {
    /// It reads, and says nothing.
    Mute,
    /// It does not even read, as a process that was stopped.
    Frozen,
}

/// What a session may take beside what it had: a Ping or two, and the next connection. A flood takes much more.
const GROWTH: usize = 16 << 20;

async fn found(dialect: Dialect, hung: Hung) {
    let case = format!("{dialect:?}, {hung:?}");
    let stage = Stage::set(dialect, Conditions::default()).await;
    let client = stage.idle().await;
    let process = stage.sidecar.id();
    let (began, used, memory) = (clock::now(), cpu(process), resident(process));
    for kind in [Kind::Ping, Kind::Pong, Kind::Text, Kind::Binary] {
        stage.proxy.inject(Fault::each(Direction::Down, kind, Action::Drop));
    }
    if let Hung::Frozen = hung {
        stage.proxy.inject(Fault::next(Direction::Up, Kind::Ping, Action::Stall));
    }
    let every = dialect.keepalive();
    // A sidecar that waited for one keepalive more would need 2.5 of them.
    let took = stage.found(client, began, every * 2).await;
    let (used, grown) = (cpu(process) - used, peak(process).saturating_sub(memory));
    let pings = stage.proxy.count(Direction::Up, Kind::Ping);
    println!("{case}: found after {took:?}, {pings} Pings, {used:?} of CPU, {grown} bytes");
    assert!(took > every, "{case}: a service that is far away is not dead: {took:?}");
    assert!((1..=2).contains(&pings), "{case}: {pings} Pings");
    assert!(used < Duration::from_millis(100), "{case}: the sidecar took {used:?} of CPU to wait");
    assert!(grown < GROWTH, "{case}: the sidecar has grown by {grown} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_hangs_is_found_after_one_and_a_half_keepalives_and_asked_twice_at_most() {
    let cases =
        DIALECTS.iter().flat_map(|dialect| [Hung::Mute, Hung::Frozen].map(|hung| found(*dialect, hung)));
    all(cases).await;
}
