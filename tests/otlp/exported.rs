//! What arrives at a collector that works.

use serde_json::{Value as Json, json};

use crate::otlp::{collector::Collector, stage::Stage};

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
    assert_eq!(failed.0["status"]["code"], 2);
    assert!(!failed.0["status"]["message"].as_str().unwrap().is_empty(), "{failed:?}");
    stage.exchange().await;
    let exchange = collector.span("the exchange", |span| span.is("exchange")).await;
    let generation = exchange.get("generation");
    let refresh = collector
        .span("its refresh", |span| span.is("token refresh") && span.get("generation") == generation)
        .await;
    assert_eq!(generation, "2");
    assert_eq!(refresh.get("trigger"), "hint");
    for span in [&exchange, &refresh] {
        assert_eq!((span.get("route").as_str(), span.get("outcome").as_str()), ("ably", "ok"));
        assert_eq!(span.0["status"], json!({ "code": 0 }));
        assert!(span.time("startTimeUnixNano") < span.time("endTimeUnixNano"));
    }
    assert_eq!(exchange.get("credential"), refresh.get("credential"));
    assert_eq!(exchange.get("credential").len(), 8);
    assert_eq!(exchange.0["traceId"], refresh.0["traceId"]);
    assert_eq!(exchange.0["parentSpanId"], refresh.0["spanId"]);
    assert!(refresh.0.get("parentSpanId").is_none());
    assert!(exchange.time("endTimeUnixNano") > refresh.time("endTimeUnixNano"));

    let given = stage.given.lock().unwrap().clone();
    let page = stage.sidecar.ask("/metrics").await.1;
    let log = stage.end().await;
    assert_eq!(given.len(), 2);
    assert!(log.contains("traces are exported") && !log.contains("spans not exported"), "{log}");
    tells_nothing("the log", &log, &given);
    tells_nothing("/metrics", &page, &given);
    for taken in collector.taken() {
        assert!(taken.head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{}", taken.head);
        assert!(taken.head.contains("content-type: application/json\r\n"), "{}", taken.head);
        assert!(taken.head.contains("authorization: Bearer can4ry-of-the-header\r\n"), "{}", taken.head);
        tells_nothing("a request", &taken.body, &given);
        let body: Json = serde_json::from_str(&taken.body).unwrap();
        let resource = body["resourceSpans"][0]["resource"]["attributes"].as_array().unwrap();
        for (key, value) in [("service.name", "gate"), ("deployment.environment", "staging")] {
            assert!(
                resource.contains(&json!({ "key": key, "value": { "stringValue": value } })),
                "{resource:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_at_the_end_is_sent() {
    let collector = Collector::start().await;
    // A batch gathers for a minute: longer than this test lives.
    let stage = Stage::start(collector.port, &[("OTEL_BSP_SCHEDULE_DELAY", "60000")]).await;
    stage.exchange().await;
    assert!(collector.taken().is_empty());
    let log = stage.end().await;
    let names: Vec<_> = collector.spans().iter().map(|span| span.0["name"].clone()).collect();
    assert_eq!(collector.taken().len(), 1, "one request");
    let mut refreshes = names.iter().filter(|name| **name == "token refresh");
    assert!(refreshes.by_ref().count() == 3 && names.contains(&json!("exchange")), "{names:?}");
    assert!(!log.contains("spans not exported"), "{log}");
}
