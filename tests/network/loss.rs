//! A way that is dead: both hosts are there, and nothing arrives any more.

use std::time::Duration;

use perennial::clock;

use crate::{
    keepalive::keepalive,
    stage::{DIALECTS, Stage},
    tcp::Terms,
};

/// How soon a dead way is noticed: `keepalive` 5 s: 8 s, 10 s: 16 s.
fn limit(keepalive: Duration) -> Duration {
    keepalive.mul_f64(1.6)
}

/// How long it takes until the connection to the service is given up, which is dead after a second.
async fn found(dialect: &'static str, busy: bool, every: Duration, line: &str) -> Option<Duration> {
    let terms = Terms::rtt(50);
    let stage = Stage::set(dialect, line, terms);
    let (mut client, _, mut service, far) = stage.session(terms).await;
    let talking = async {
        for number in 0.. {
            if busy {
                client.text(&publish(dialect, number));
            }
            client.listen(Duration::from_millis(100)).await;
        }
    };
    let dying = async {
        service.listen(Duration::from_secs(1)).await;
        far.freeze();
        let since = clock::now();
        while !far.is_left() && since.elapsed() < limit(every) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        far.is_left().then(|| since.elapsed())
    };
    let found = tokio::select! {
        () = talking => None,
        found = dying => found,
    };
    stage.is_calm(dialect);
    found
}

/// A client's message, which a service of the dialect understands.
pub fn publish(dialect: &str, number: u64) -> String {
    publish_padded(dialect, number, "")
}

/// The same with something that makes it large.
pub fn publish_padded(dialect: &str, number: u64, pad: &str) -> String {
    if dialect == "ably" {
        format!(
            r#"{{"action":15,"channel":"c","msgSerial":{number},"messages":[{{"name":"n","data":"{number} {pad}"}}]}}"#
        )
    } else {
        format!("{number} {pad}")
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_way_is_found_whether_idle_or_busy() {
    for dialect in DIALECTS {
        for busy in [false, true] {
            for every in [5, 10] {
                let (line, every) = (format!("keepalive = \"{every}s\""), Duration::from_secs(every));
                let found = found(dialect, busy, every, &line).await;
                println!("{dialect}, busy {busy}, {line}: {found:?}");
                assert!(found.is_some(), "{dialect}, busy {busy}, {line}: not within {:?}", limit(every));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_way_that_is_dead_for_a_moment_costs_nothing() {
    for dialect in DIALECTS {
        let (line, every) = keepalive(dialect);
        let terms = Terms::rtt(50);
        let stage = Stage::set(dialect, line, terms);
        let (mut client, _, mut service, far) = stage.session(terms).await;
        for number in 0..5 {
            client.text(&publish(dialect, number));
            far.freeze();
            let pause = every.mul_f64(0.4);
            tokio::join!(client.listen(pause), service.listen(pause));
            far.thaw();
            let heard = tokio::join!(client.listen(every), service.listen(every)).1;
            assert_eq!(heard.len(), 1, "{dialect}: message {number}");
        }
        stage.is_calm(dialect);
        assert_eq!(stage.fabric.dials().len(), 1, "{dialect}: one connection for all of it");
    }
}
