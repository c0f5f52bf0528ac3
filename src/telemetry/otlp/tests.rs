//! What the variables mean, and what becomes of spans; the collector itself is played in `tests/otlp.rs`.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value as Json, json};

use super::{
    environment::{self, Settings, Wrong},
    json::Answer,
    traces::Traces,
};
use crate::telemetry::{
    Method, Outcome, Trigger,
    spans::{Span, What},
};

fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, Wrong> {
    let all: BTreeMap<&str, &str> = variables.iter().copied().collect();
    environment::read(|name| all.get(name).map(|value| (*value).to_owned()))
}

fn settings(variables: &[(&str, &str)]) -> Settings {
    read(variables).unwrap().unwrap()
}

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

#[test]
fn nothing_is_exported_unless_an_endpoint_is_named() {
    for variables in [
        &[][..],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
        &[("OTEL_SERVICE_NAME", "gate"), ("OTEL_EXPORTER_OTLP_HEADERS", "a=b")],
        &[ENDPOINT, ("OTEL_SDK_DISABLED", "True")],
        &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
    ] {
        assert!(read(variables).unwrap().is_none(), "{variables:?}");
    }
}

#[test]
fn an_endpoint_of_every_signal_gets_the_path_and_that_of_traces_does_not() {
    let target = |variables: &[_]| settings(variables).endpoint.path_and_query;
    assert_eq!(target(&[ENDPOINT]), "/v1/traces");
    assert_eq!(target(&[(ENDPOINT.0, "https://c/otlp/?key=1")]), "/otlp/v1/traces?key=1");
    let own = settings(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://other/in")]).endpoint;
    assert_eq!((own.authority().as_str(), own.path_and_query.as_str()), ("other", "/in"));
}

#[test]
fn headers_are_read_and_never_shown() {
    let list = "Authorization=Bearer%20can4ry, X-Team = blue ,Content-Type=text/plain,";
    let settings = settings(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_HEADERS", list)]);
    assert_eq!(settings.headers["authorization"], "Bearer can4ry");
    assert_eq!(settings.headers["x-team"], "blue");
    assert_eq!(settings.headers.len(), 2, "how the body is sent is not theirs to say");
    assert!(!format!("{settings:?}").contains("can4ry"), "{settings:?}");
    for bad in ["can4ry", "a=b,can4ry", "can 4ry=can4ry", "a=can4ry%0a", "=can4ry", "a=can4ry%ff"] {
        let error = read(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_HEADERS", bad)]).unwrap_err().to_string();
        assert!(error.starts_with("OTEL_EXPORTER_OTLP_HEADERS: entry "), "{error}");
        assert!(!error.contains("4ry"), "{error}");
    }
    let many = "a=b,".repeat(100);
    assert!(read(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_HEADERS", &many)]).is_err());
}

#[test]
fn what_cannot_be_used_is_an_error_that_names_the_variable_and_quotes_nothing() {
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://can4ry"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:can4ry@host"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "can4ry"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "can4ry"),
    ] {
        let error = read(&[ENDPOINT, (variable, value)]).unwrap_err().to_string();
        assert!(error.starts_with(variable) && !error.contains("can4ry"), "{error}");
    }
    let ignored = |variable, value| settings(&[ENDPOINT, (variable, value)]).ignored;
    assert!(ignored("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json").is_empty());
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_RESOURCE_ATTRIBUTES", "can4ry"),
    ] {
        assert_eq!(ignored(variable, value)[0].variable, variable);
    }
}

#[test]
fn the_resource_says_who_it_is() {
    let resource = |variables: &[_]| {
        let variables = [&[ENDPOINT], variables].concat();
        settings(&variables).resource.into_iter().collect::<BTreeMap<_, _>>()
    };
    assert_eq!(resource(&[])["service.name"], "perennial");
    let own = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,k8s.pod.name=pod%2C1");
    assert_eq!(resource(&[own])["service.name"], "a");
    assert_eq!(resource(&[own])["k8s.pod.name"], "pod,1");
    assert_eq!(resource(&[own, ("OTEL_SERVICE_NAME", "b")])["service.name"], "b");
}

#[test]
fn times_are_held_within_bounds() {
    let times = |variables: &[_]| {
        let settings = settings(&[&[ENDPOINT], variables].concat());
        (settings.timeout, settings.delay)
    };
    assert_eq!(times(&[]), (Duration::from_secs(10), Duration::from_secs(5)));
    let all = [("OTEL_EXPORTER_OTLP_TIMEOUT", "0"), ("OTEL_BSP_SCHEDULE_DELAY", "99999999")];
    assert_eq!(times(&all), (Duration::from_millis(10), Duration::from_secs(60)));
    assert_eq!(times(&[all[0], ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "7000")]).0, Duration::from_secs(7));
}

fn span(what: What, credential: &str, generation: Option<u64>, ended: u64) -> Span {
    Span {
        what,
        route: "ably".to_owned(),
        credential: Some(credential.to_owned()),
        generation,
        outcome: if generation.is_some() { Outcome::Ok } else { Outcome::Failed },
        took: Duration::from_millis(1500),
        ended: Duration::from_secs(ended),
        error: generation.is_none().then(|| "no answer in time".to_owned()),
    }
}

fn refresh(credential: &str, generation: Option<u64>, ended: u64) -> Span {
    span(What::Refresh(Trigger::Schedule), credential, generation, ended)
}

fn shown(method: Method, credential: &str, generation: u64, ended: u64) -> Span {
    span(What::Reauthentication(method), credential, Some(generation), ended)
}

/// The spans of one request, as JSON.
fn sent(traces: &mut Traces, spans: &[Span]) -> Vec<Json> {
    let resource = [("service.name".to_owned(), "gate".to_owned())];
    let body: Json = serde_json::from_slice(&traces.request(spans, &resource)).unwrap();
    let resource = &body["resourceSpans"][0];
    let name = json!([{ "key": "service.name", "value": { "stringValue": "gate" } }]);
    assert_eq!(resource["resource"]["attributes"], name);
    assert_eq!(resource["scopeSpans"][0]["scope"]["name"], "perennial");
    resource["scopeSpans"][0]["spans"].as_array().unwrap().clone()
}

#[test]
fn a_span_is_written_as_the_mapping_has_it() {
    let spans = sent(&mut Traces::default(), &[refresh("1a2b", Some(7), 100), refresh("1a2b", None, 200)]);
    let text = |value: &str| json!({ "stringValue": value });
    assert_eq!(
        spans[0]["attributes"],
        json!([
            { "key": "perennial.route", "value": text("ably") },
            { "key": "perennial.trigger", "value": text("schedule") },
            { "key": "perennial.outcome", "value": text("ok") },
            { "key": "perennial.credential", "value": text("1a2b") },
            { "key": "perennial.generation", "value": { "intValue": "7" } },
        ])
    );
    assert_eq!((&spans[0]["name"], &spans[0]["kind"]), (&json!("token refresh"), &json!(1)));
    assert_eq!(spans[0]["startTimeUnixNano"], "98500000000");
    assert_eq!(spans[0]["endTimeUnixNano"], "100000000000");
    assert_eq!(spans[0]["status"], json!({ "code": 0 }));
    assert_eq!(spans[1]["status"], json!({ "code": 2, "message": "no answer in time" }));
    for (id, length) in [("traceId", 32), ("spanId", 16)] {
        let [one, other] = [0, 1].map(|at: usize| spans[at][id].as_str().unwrap());
        assert!(one.len() == length && one.bytes().all(|b| b.is_ascii_hexdigit()) && one != other, "{one}");
    }
}

#[test]
fn an_exchange_belongs_to_the_refresh_that_brought_it_about() {
    let mut traces = Traces::default();
    // The session was quicker to say so than the credential.
    let spans = sent(&mut traces, &[shown(Method::Exchange, "1a2b", 7, 101), refresh("1a2b", Some(7), 100)]);
    assert_eq!(spans[0]["parentSpanId"], spans[1]["spanId"]);
    assert_eq!(spans[0]["traceId"], spans[1]["traceId"]);
    assert!(spans[0].get("links").is_none() && spans[1].get("parentSpanId").is_none());
    let refreshed = json!([{ "traceId": spans[1]["traceId"], "spanId": spans[1]["spanId"] }]);
    // In a later request, and on other sessions.
    let later = [
        shown(Method::Swap, "1a2b", 7, 110),
        shown(Method::Resume, "1a2b", 7, 110),
        shown(Method::Exchange, "1a2b", 7, 1000),
        shown(Method::Exchange, "1a2b", 6, 101),
        shown(Method::Exchange, "other", 7, 101),
    ];
    let [swap, resume, late, older, other] = &sent(&mut traces, &later)[..] else { panic!() };
    assert_eq!(swap["traceId"], spans[1]["traceId"]);
    for linked in [resume, late] {
        assert_eq!(linked["links"], refreshed);
        assert!(linked.get("parentSpanId").is_none() && linked["traceId"] != spans[1]["traceId"]);
    }
    for alone in [older, other] {
        assert!(alone.get("parentSpanId").is_none() && alone.get("links").is_none(), "{alone}");
    }
    // What failed brought no token, and takes no place.
    sent(&mut traces, &[refresh("1a2b", None, 200)]);
    assert_eq!(sent(&mut traces, &later[1..2])[0]["links"], refreshed);
}

#[test]
fn what_is_kept_in_mind_is_bounded() {
    let mut traces = Traces::default();
    for nth in 0..11 {
        let many: Vec<_> = (0..1000).map(|n| refresh(&format!("{nth}-{n}"), Some(1), 100)).collect();
        traces.request(&many, &[]);
    }
    assert_eq!(traces.len(), 10_000);
}

#[test]
fn an_answer_of_any_kind_is_read() {
    let rejected = |body: &str| Answer::rejected(body.as_bytes());
    assert_eq!(rejected("{\"partialSuccess\":{\"rejectedSpans\":\"3\",\"errorMessage\":\"no\"}}"), 3);
    assert_eq!(rejected("{\"partialSuccess\":{\"rejectedSpans\":2}}"), 2);
    for body in ["", "{}", "nonsense", "[1]", "{\"partialSuccess\":{\"rejectedSpans\":-1}}", "\u{0}"] {
        assert_eq!(rejected(body), 0, "{body}");
    }
}
