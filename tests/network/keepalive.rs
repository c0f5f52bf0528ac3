//! A quiet session: how often it is asked whether it is still there, and what becomes of a peer that hangs.

use std::time::Duration;

use crate::{
    stage::{DIALECTS, Stage},
    tcp::Terms,
};

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// The keepalive of a dialect: Ably's is shorter.
pub fn keepalive(dialect: &str) -> (&'static str, Duration) {
    if dialect == "ably" { ("keepalive = \"5s\"", secs(5.0)) } else { ("keepalive = \"10s\"", secs(10.0)) }
}

/// An idle session of 27 s; the Pings that the service and the client got.
async fn idle(dialect: &'static str, millis: u64) -> (u64, u64) {
    let terms = Terms::rtt(millis);
    let stage = Stage::set(dialect, keepalive(dialect).0, terms);
    let (mut client, _, mut service, far) = stage.session(terms).await;
    tokio::join!(client.listen(secs(27.0)), service.listen(secs(27.0)));
    let of = format!("{dialect}, round trip {millis} ms");
    stage.is_calm(&of);
    assert!(!far.is_left(), "{of}: a session that is idle goes on");
    assert_eq!(stage.fabric.dials().len(), 1, "{of}: dialled once");
    (service.pings, client.pings)
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_is_pinged_once_per_keepalive_at_any_round_trip_time() {
    for millis in [0, 50, 200, 1000] {
        for dialect in DIALECTS {
            let (service, client) = idle(dialect, millis).await;
            println!("{dialect} at {millis} ms: {service} Pings to the service, {client} to the client");
            let (least, most) = if dialect == "ably" { (3, 5) } else { (1, 2) };
            assert!((least..=most).contains(&service), "{dialect} at {millis} ms: {service} to the service");
            assert!(client <= most, "{dialect} at {millis} ms: {client} to the client");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_is_found_on_an_idle_link() {
    for dialect in DIALECTS {
        let (line, every) = keepalive(dialect);
        let terms = Terms::rtt(50);
        let stage = Stage::set(dialect, line, terms);
        let (mut client, _, service, far) = stage.session(terms).await;
        let hangs = perennial::clock::now();
        let found = async {
            while !far.is_left() {
                tokio::time::sleep(secs(0.01)).await;
            }
            hangs.elapsed()
        };
        let limit = every.mul_f64(1.5) + secs(0.5);
        let found = tokio::select! {
            biased;
            found = found => Some(found),
            _ = client.listen(limit) => None,
        };
        stage.is_calm(dialect);
        println!("{dialect}: {found:?}");
        assert!(found.is_some(), "{dialect}: not found within {limit:?}");
        assert!(found > Some(every), "{dialect}: it had no time to answer: {found:?}");
        drop(service);
    }
}
