//! Collectors that are of no use: the sidecar works as ever, and says so seldom.

use std::time::Duration;

use perennial::clock;
use tokio::net::TcpListener;

use crate::otlp::{collector::Collector, stage::Stage};

const VARIABLES: [(&str, &str); 2] =
    [("OTEL_BSP_SCHEDULE_DELAY", "30"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "300")];

/// A whole session beside such a collector; its log.
async fn beside_it(port: u16) -> String {
    let stage = Stage::start(port, &VARIABLES).await;
    stage.exchange().await;
    stage.exchange().await;
    let began = clock::now();
    let log = stage.end().await;
    assert!(clock::now() - began < Duration::from_secs(5), "{:?}", clock::now() - began);
    // Once when it failed, and at the end what became of the rest.
    let said = log.matches("spans not exported").count();
    assert!((1..=2).contains(&said), "said {said} times:\n{log}");
    assert!(!log.contains("can4ry"), "{log}");
    log
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_down_or_silent_changes_nothing() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let silent = Collector::answering("").await;
    let (down, slow) = tokio::join!(beside_it(dead), beside_it(silent.port));
    assert!(down.contains("connect to 127.0.0.1"), "{down}");
    assert!(slow.contains("no complete answer in time"), "{slow}");
    assert!(!silent.taken().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_refuses_or_answers_nonsense_changes_nothing() {
    let refuses = "HTTP/1.1 400 can4ry-of-a-reason\r\nContent-Length: 20\r\n\r\ncan4ry-of-an-answer.";
    let nonsense = "can4ry-of-no-HTTP\r\n\r\n";
    let elsewhere = "HTTP/1.1 307 x\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n";
    let [refuses, nonsense, elsewhere] = [
        Collector::answering(refuses).await,
        Collector::answering(nonsense).await,
        Collector::answering(elsewhere).await,
    ];
    let (refused, garbled, moved) =
        tokio::join!(beside_it(refuses.port), beside_it(nonsense.port), beside_it(elsewhere.port));
    assert!(refused.contains("the collector answered 400"), "{refused}");
    assert!(garbled.contains("HTTP with 127.0.0.1"), "{garbled}");
    assert!(moved.contains("the collector answered 307"), "{moved}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_for_a_while_gets_the_same_request_again() {
    let busy = "HTTP/1.1 503 x\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
    let collector = Collector::answering(busy).await;
    let stage = Stage::start(collector.port, &VARIABLES).await;
    collector.until("a second try", |collector| collector.taken().len() >= 2).await;
    let taken = collector.taken();
    assert_eq!(taken[0].body, taken[1].body, "with the same identifiers");
    stage.end().await;
}
