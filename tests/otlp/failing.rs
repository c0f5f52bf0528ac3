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
    assert!(!log.contains("can4ry") && !log.contains("\"dropped\":0"), "{log}");
    // At the end at the latest.
    assert!((1..=2).contains(&log.matches("spans dropped").count()), "{log}");
    log
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_down_or_silent_changes_nothing() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let silent = Collector::answering("").await;
    let (down, slow) = tokio::join!(beside_it(dead), beside_it(silent.port));
    for (log, why) in [(&down, "connect to 127.0.0.1"), (&slow, "no complete answer in time")] {
        let lines: Vec<_> =
            log.lines().filter(|line| line.contains("collector unavailable, retrying")).collect();
        assert!(lines.len() == 1 && lines[0].contains(why), "{log}");
    }
    assert!(!silent.taken().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_refuses_changes_nothing() {
    let refuses = "HTTP/1.1 404 can4ry-of-a-reason\r\nContent-Length: 20\r\n\r\ncan4ry-of-an-answer.";
    let elsewhere = "HTTP/1.1 307 x\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n";
    let [refuses, elsewhere] = [Collector::answering(refuses).await, Collector::answering(elsewhere).await];
    let (refused, moved) = tokio::join!(beside_it(refuses.port), beside_it(elsewhere.port));
    assert!(refused.contains("the collector answered 404"), "{refused}");
    assert!(moved.contains("the collector answered 307"), "{moved}");
    assert!(!refused.contains("retrying") && !moved.contains("retrying"), "{refused}{moved}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_answers_nonsense_changes_nothing() {
    let nonsense = Collector::answering("can4ry-of-no-HTTP\r\n\r\n").await;
    let garbled = beside_it(nonsense.port).await;
    assert!(garbled.contains("HTTP with 127.0.0.1"), "{garbled}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_for_a_while_gets_the_same_request_again_and_nothing_is_lost() {
    let busy = "HTTP/1.1 503 x\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
    let often = "HTTP/1.1 429 x\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
    let collector = Collector::away(&[busy, often, ""]).await;
    let stage = Stage::start(collector.port, &VARIABLES).await;
    stage.exchange().await;
    let exchange = |collector: &Collector| collector.spans().iter().any(|span| span.is("exchange"));
    collector.until("the exchange", exchange).await;
    let log = stage.end().await;
    let taken = collector.taken();
    assert!(taken.len() >= 4, "{}", taken.len());
    assert!(taken[..4].iter().all(|again| again.body == taken[0].body), "with the same identifiers");
    assert_eq!(log.matches("collector unavailable, retrying").count(), 1, "{log}");
    assert_eq!(log.matches("collector available again").count(), 1, "{log}");
    assert!(!log.contains("\"dropped\""), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_collector_takes_and_refuses_in_part_is_counted() {
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceResponse,
    };
    use prost::Message;
    let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "can4ry".to_owned() };
    let body = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let body = String::from_utf8(body).unwrap();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let log = beside_it(Collector::answering(&answer).await.port).await;
    assert!(log.contains("\"message\":\"spans dropped\",\"dropped\":1,"), "{log}");
}
