//! A way that is dead: both hosts are there, and nothing arrives any more.

use std::time::Duration;

use perennial::clock;

use crate::{
    fabric::Answer,
    keepalive::keepalive,
    stage::{DIALECTS, Stage},
    support::ws::CLOSE,
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
        while !far.is_left() && since.elapsed() < every * 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        far.is_left().then(|| since.elapsed())
    };
    let found = tokio::select! {
        biased;
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
    let mut late = Vec::new();
    for dialect in DIALECTS {
        for busy in [false, true] {
            for every in [5, 10] {
                let (line, every) = (format!("keepalive = \"{every}s\""), Duration::from_secs(every));
                let found = found(dialect, busy, every, &line).await;
                let of = format!("{dialect}, busy {busy}, {line}: {found:?} of {:?}", limit(every));
                println!("{of}");
                late.extend((found.is_none_or(|found| found > limit(every))).then_some(of));
            }
        }
    }
    assert!(late.is_empty(), "too late: {late:#?}");
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

#[tokio::test(start_paused = true)]
async fn dials_that_hang_cost_no_more_than_hold() {
    let stage = Stage::set("handshake", "hold = \"5s\"", Terms::rtt(20));
    let (mut client, near, service, _) = stage.session(Terms::rtt(20)).await;
    stage.fabric.answer(|count| if count < 3 { Answer::Silence } else { Answer::Connect(Terms::rtt(20)) });
    drop(service);
    // Two dials of 5 s each, and pauses that are below 5 s together.
    let patience = Duration::from_secs(15);
    let (back, _) = tokio::join!(tokio::time::timeout(patience, stage.service()), client.listen(patience));
    assert!(back.is_ok(), "the third dial connects");
    assert!(!near.is_left(), "the client knows of nothing");
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_both_connections() {
    for dialect in ["none", "handshake"] {
        let stage = Stage::set(dialect, "", Terms::rtt(20));
        let (mut client, near, mut service, far) = stage.session(Terms::rtt(20)).await;
        client.frame(0x80 | CLOSE, &[3, 232]);
        let serving = async {
            let close = service.next().await;
            assert_eq!(close.map(|frame| frame.payload), Some(vec![3, 232]), "{dialect}");
            service.frame(0x80 | CLOSE, &[3, 232]);
            service.flush().await;
            drop(service);
        };
        tokio::join!(client.listen(Duration::from_secs(1)), serving);
        drop(client);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(near.is_over() && far.is_over(), "{dialect}: both have ended within two seconds");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_vanished_is_noticed() {
    for dialect in DIALECTS {
        let stage = Stage::set(dialect, "keepalive = \"10s\"", Terms::rtt(20));
        let (_client, near, mut service, _) = stage.session(Terms::rtt(20)).await;
        near.freeze();
        // A Ping within 10 s, 30 s for its acknowledgement, and the last Close.
        service.listen(Duration::from_secs(60)).await;
        assert!(stage.context.sessions.is_empty(), "{dialect}: the session still waits for its client");
    }
}

/// A kernel tells of a reset at once if something is written, and gives what came before it to those who read on.
#[tokio::test(start_paused = true)]
async fn what_a_service_said_before_its_reset_is_heard_by_a_slow_client() {
    for dialect in ["none", "handshake"] {
        let stage = Stage::set(dialect, "", Terms::NEAR);
        let (mut client, _, mut service, far) = stage.session(Terms::NEAR).await;
        let count = 700;
        for number in 0..count {
            service.text(&publish_padded("none", number, &"-".repeat(1000)));
        }
        assert!(service.flush().await, "{dialect}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let unread = far.unread(0).max(far.unread(1));
        assert!(unread > 10_000, "{dialect}: {unread} bytes wait for the client to read");
        far.reset();
        client.text("said meanwhile");
        assert!(client.flush().await);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let heard = client.listen(Duration::from_secs(5)).await;
        assert_eq!(heard.len() as u64, count, "{dialect}");
        stage.is_calm(dialect);
    }
}
