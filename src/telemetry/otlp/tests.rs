//! What the variables mean. What arrives at a collector is tested in `tests/otlp`.

use std::{collections::BTreeMap, time::Duration};

use super::environment::{self, Settings, Wrong};

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
fn a_header_that_cannot_be_sent_is_an_error_and_never_shown() {
    let list = |value| read(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_HEADERS", value)]);
    assert!(list("Authorization=Bearer%20can4ry, X-Team = blue ,").is_ok());
    for bad in ["can4ry", "a=b,can4ry", "can 4ry=can4ry", "a=can4ry%0a", "=can4ry", "a=can4ry%ff"] {
        let error = list(bad).unwrap_err().to_string();
        assert!(error.starts_with("OTEL_EXPORTER_OTLP_HEADERS: entry "), "{error}");
        assert!(!error.contains("4ry"), "{error}");
    }
    assert!(list(&"a=b,".repeat(100)).is_err());
}

#[test]
fn what_cannot_be_used_is_an_error_that_names_the_variable_and_quotes_nothing() {
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://can4ry"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:can4ry@host"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "can4ry"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "can4ry"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "can4ry"),
    ] {
        let error = read(&[ENDPOINT, (variable, value)]).unwrap_err().to_string();
        assert!(error.starts_with(variable) && !error.contains("can4ry"), "{error}");
    }
    let ignored = |variable, value| settings(&[ENDPOINT, (variable, value)]).ignored;
    assert!(ignored("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf").is_empty());
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_TRACES_EXPORTER", "can4ry"),
        ("OTEL_TRACES_SAMPLER", "can4ry"),
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
fn each_process_has_a_name_of_its_own() {
    let id = || {
        let resource = settings(&[ENDPOINT]).resource;
        resource.into_iter().find(|(key, _)| key == "service.instance.id").unwrap().1
    };
    let id = [id(), id()];
    assert_ne!(id[0], id[1]);
    assert_eq!((id[0].len(), &id[0][14..15]), (36, "4"), "{id:?}");
    assert!("89ab".contains(&id[0][19..20]), "{id:?}");
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
