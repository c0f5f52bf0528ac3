//! What arrives at a collector that works.

use serde_json::Value as Json;

use crate::otlp::{
    collector::{Collector, Span},
    stage::Stage,
};

const SOON: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "30");

/// Nothing that was secret is in what was said; the tokens are those that the endpoint gave.
fn tells_nothing(place: &str, said: &str, given: &[String]) {
    assert!(!said.contains("can4ry"), "a canary in {place}:\n{said}");
    for answer in given {
        let answer: Json = serde_json::from_str(answer).unwrap();
        let token = answer["token"].as_str().unwrap();
        assert!(token.len() > 8 && !said.contains(token), "{token} in {place}:\n{said}");
        // Nor the part of it that is random.
        let (_, secret) = token.split_once('.').unwrap();
        assert!(!said.contains(secret), "{secret} in {place}:\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_and_the_exchange_it_brought_about_are_one_trace() {
    let collector = Collector::start().await;
    let variables = [
        SOON,
        ("OTEL_SERVICE_NAME", "gate"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=st%61ging"),
    ];
    let stage = Stage::start(collector.port, &variables).await;
    let failed =
        collector.span("the failed refresh", |s| s.is("token refresh") && s.get("outcome") != "ok").await;
    assert_eq!((failed.get("trigger").as_str(), failed.get("generation").as_str()), ("start", ""));
    assert_eq!((failed.status(), failed.attribute("error.type").as_str()), (2, "failed"));
    assert!(!failed.0.status.as_ref().unwrap().message.is_empty(), "{failed:?}");
    let post = collector.span("its request", |span| span.is_below(&failed)).await;
    assert_eq!((post.0.name.as_str(), post.0.kind, post.status()), ("GET", 3, 2));
    assert_eq!(post.attribute("server.address"), "127.0.0.1");
    assert!(post.attribute("server.port").parse::<u16>().is_ok(), "{post:?}");
    assert_eq!(post.attribute("http.response.status_code"), "500");
    stage.exchange().await;
    let exchange = collector.span("the exchange", |span| span.is("exchange")).await;
    let generation = exchange.get("generation");
    let is_its_refresh = |span: &Span| span.is("token refresh") && span.get("generation") == generation;
    let refresh = collector.span("its refresh", is_its_refresh).await;
    assert_eq!(generation, "2");
    assert_eq!(refresh.get("trigger"), "hint");
    for span in [&exchange, &refresh] {
        assert_eq!((span.get("route").as_str(), span.get("outcome").as_str()), ("ably", "ok"));
        assert_eq!(span.status(), 0);
        assert!(span.0.start_time_unix_nano < span.0.end_time_unix_nano);
    }
    assert_eq!(exchange.get("credential"), refresh.get("credential"));
    assert_eq!(exchange.get("credential").len(), 8);
    assert!(exchange.is_below(&refresh) && refresh.0.parent_span_id.is_empty());
    assert!(exchange.0.end_time_unix_nano > refresh.0.end_time_unix_nano);

    let given = stage.given.lock().unwrap().clone();
    let page = stage.sidecar.ask("/metrics").await.1;
    let log = stage.end().await;
    assert_eq!(given.len(), 2);
    assert!(log.contains("traces are exported") && !log.contains("spans dropped"), "{log}");
    for (line, span) in
        [("token refresh failed", &failed), ("token refreshed", &refresh), ("re-authenticated", &refresh)]
    {
        let trace = format!("\"trace_id\":\"{}\"", span.trace());
        assert!(
            log.lines().any(|said| said.contains(line) && said.contains(&trace)),
            "{line} {trace}: {log}"
        );
    }
    tells_nothing("the log", &log, &given);
    tells_nothing("/metrics", &page, &given);
    for taken in collector.taken() {
        assert!(taken.head.starts_with("post /v1/traces http/1.1\r\n"), "{}", taken.head);
        assert!(taken.head.contains("content-type: application/x-protobuf\r\n"), "{}", taken.head);
        assert!(taken.head.contains("authorization: bearer can4ry-of-the-header\r\n"), "{}", taken.head);
        tells_nothing("a request", &String::from_utf8_lossy(&taken.body), &given);
        let sender =
            ["service.name", "deployment.environment", "service.version"].map(|key| taken.sender(key));
        assert_eq!(sender, ["gate", "staging", env!("CARGO_PKG_VERSION")]);
        assert_eq!(taken.sender("service.instance.id"), collector.taken()[0].sender("service.instance.id"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_at_the_end_is_sent_and_compressed_if_that_is_wanted() {
    let collector = Collector::start().await;
    // A batch gathers for a minute: longer than this test lives.
    let variables = [("OTEL_BSP_SCHEDULE_DELAY", "60000"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")];
    let stage = Stage::start(collector.port, &variables).await;
    stage.exchange().await;
    assert!(collector.taken().is_empty());
    let log = stage.end().await;
    let [taken] = &collector.taken()[..] else { panic!("one request") };
    assert!(taken.head.contains("content-encoding: gzip\r\n"), "{}", taken.head);
    let names: Vec<_> = collector.spans().iter().map(|span| span.0.name.clone()).collect();
    let refreshes = names.iter().filter(|name| *name == "token refresh");
    assert!(refreshes.count() == 3 && names.iter().any(|name| name == "exchange"), "{names:?}");
    assert!(!log.contains("spans dropped"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_that_the_sampler_leaves_out_is_in_no_line() {
    let collector = Collector::start().await;
    let stage = Stage::start(collector.port, &[SOON, ("OTEL_TRACES_SAMPLER", "always_off")]).await;
    stage.exchange().await;
    let log = stage.end().await;
    assert!(log.contains("traces are exported") && log.contains("re-authenticated"), "{log}");
    assert!(!log.contains("trace_id"), "{log}");
    assert!(collector.taken().is_empty());
}
