//! Every query of the dashboards and every rule, asked of a Prometheus that scraped a sidecar under load.
//!
//! 1. A panel's query returns a value that is a number. One over time is asked over time, one of now is asked now.
//! 2. A variable has a value to choose.
//! 3. A recording rule has recorded. An alert's expression was evaluated without an error; where nothing is wrong it
//!    is rightly empty, so each series that it names has to be there.
//! 4. Every panel is drawn.

use std::{process::Stdio, time::Duration};

use serde_json::Value as Json;

use super::{DASHBOARDS, at, read, run, run_with, server::Prometheus, stage::Stage};

/// Longer than it takes by far: a busy machine must not fail it.
const PATIENCE: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(250);

/// No part of this stage has TLS.
const ABSENT: &str = "perennial_tls_certificate_expiration_timestamp_seconds";

/// What has to return data.
struct Query {
    /// Where it stands.
    place: String,
    expr: String,
    over_time: bool,
}

impl Query {
    /// Is it right if it returns nothing?
    fn may_be_empty(&self) -> bool {
        self.expr.contains(ABSENT)
    }
}

/// All of a dashboard: panels, annotations, variables.
fn of_dashboard(name: &str, sidecar: &str) -> Vec<Query> {
    let dashboard: Json = serde_json::from_str(&read(&format!("dashboards/{name}"))).unwrap();
    let list = |value: &Json| value.as_array().cloned().unwrap_or_default();
    let query = |place: &Json, expr: &Json, over_time| Query {
        place: format!("{name}: {place}"),
        expr: substituted(expr.as_str().unwrap(), sidecar),
        over_time,
    };
    let panels = list(&dashboard["panels"]).into_iter().flat_map(|panel| {
        let of = |target: Json| query(&panel["title"], &target["expr"], target["range"] == true);
        list(&panel["targets"]).into_iter().map(of).collect::<Vec<_>>()
    });
    let annotations = list(&dashboard["annotations"]["list"])
        .into_iter()
        .map(|annotation| query(&annotation["name"], &annotation["target"]["expr"], true));
    let variables = list(&dashboard["templating"]["list"])
        .into_iter()
        .filter(|variable| variable["type"] == "query")
        .map(|variable| {
            let asked = variable["query"]["query"].as_str().unwrap();
            let inside = asked.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
            let (series, label) = inside.rsplit_once(", ").unwrap();
            query(&variable["name"], &format!("count by ({label}) ({series}) > 0").into(), false)
        });
    panels.chain(annotations).chain(variables).collect()
}

/// As Grafana would, for a scrape each second.
fn substituted(expr: &str, sidecar: &str) -> String {
    let values = [
        ("$__rate_interval", "5s"),
        ("$__range", "30s"),
        ("$job", "perennial"),
        ("$instance", sidecar),
        ("$route", ".+"),
    ];
    let expr = values.iter().fold(expr.to_owned(), |expr, (name, value)| expr.replace(name, value));
    assert!(!expr.contains('$'), "a variable that is not known: {expr}");
    expr
}

/// All of the rules, once Prometheus has evaluated them without an error.
async fn of_rules(prometheus: &Prometheus) -> Vec<Query> {
    let answer = prometheus.get("/api/v1/rules").await;
    let groups = answer["data"]["groups"].as_array().unwrap();
    let rules: Vec<&Json> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert!(rules.len() > 10, "{answer:#}");
    let mut queries = Vec::new();
    for rule in rules {
        assert!(rule["health"] != "err" && rule["lastError"].is_null(), "{rule:#}");
        let name = rule["name"].as_str().unwrap();
        let place = format!("rules.yml: {name}");
        let query = |expr: String| Query { place: place.clone(), expr, over_time: false };
        if rule["type"] == "recording" {
            queries.push(query(name.to_owned()));
        } else {
            queries.extend(series(rule["query"].as_str().unwrap()).into_iter().map(query));
        }
    }
    queries
}

/// The series that an expression names, with their matchers and without their spans.
fn series(expr: &str) -> Vec<String> {
    let named = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = expr;
    while let Some(begin) = rest.find(named) {
        let word = rest[begin..].split(|c| !named(c)).next().unwrap();
        let mut end = begin + word.len();
        if word == "up"
            || ["perennial_", "process_"].iter().any(|family| word.starts_with(family))
            || word.contains(':')
        {
            if rest[end..].starts_with('{') {
                end += rest[end..].find('}').unwrap() + 1;
            }
            found.push(rest[begin..end].to_owned());
        }
        rest = &rest[end..];
    }
    assert!(!found.is_empty(), "{expr}");
    found
}

/// Asks until every query has returned data, and fails with those that did not, or with one that is wrong.
async fn all_return_data(prometheus: &Prometheus, mut waiting: Vec<Query>) {
    let mut pause = tokio::time::interval(PAUSE);
    let asking = async {
        while !waiting.is_empty() {
            pause.tick().await;
            let mut still = Vec::new();
            for query in std::mem::take(&mut waiting) {
                match prometheus.values(&query.expr, query.over_time).await {
                    Ok(values) if values.iter().any(|value| !value.is_nan()) => {}
                    Ok(_) if query.may_be_empty() => {}
                    Ok(_) => still.push(query),
                    Err(error) => panic!("{}: {}: {error}", query.place, query.expr),
                }
            }
            waiting = still;
        }
    };
    let done = tokio::time::timeout(PATIENCE, asking).await;
    let said = waiting.iter().map(|Query { place, expr, .. }| format!("{place}: {expr}\n"));
    assert!(done.is_ok(), "these returned nothing:\n{}", said.collect::<String>());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs prometheus, promtool and Node: run by tests/all"]
async fn every_query_returns_data() {
    let stage = Stage::set().await;
    let prometheus = Prometheus::start(stage.sidecar.admin).await;
    let sidecar = format!("127.0.0.1:{}", stage.sidecar.admin);
    let mut queries = of_rules(&prometheus).await;
    queries.extend(DASHBOARDS.iter().flat_map(|name| of_dashboard(name, &sidecar)));
    // The same question is asked once.
    queries.sort_by(|a, b| (&a.expr, a.over_time).cmp(&(&b.expr, b.over_time)));
    queries.dedup_by(|a, b| (&a.expr, a.over_time) == (&b.expr, b.over_time));
    println!("{} queries", queries.len());
    all_return_data(&prometheus, queries).await;
    // By now each has been evaluated.
    of_rules(&prometheus).await;

    // For a person who wants to see more of it.
    let seconds = std::env::var("PERENNIAL_LOOK").unwrap_or_else(|_| "1".into());
    let scraped = format!("count_over_time(perennial_build_info[1h]) >= {seconds}");
    let enough = Query { place: "PERENNIAL_LOOK".into(), expr: scraped, over_time: false };
    all_return_data(&prometheus, vec![enough]).await;
    drawn(&prometheus, &sidecar);
    well_formed(&stage).await;
    stage.end().await;
}

/// Every panel is drawn, and none says that it has no data.
fn drawn(prometheus: &Prometheus, sidecar: &str) {
    for name in DASHBOARDS {
        let page = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).with_extension("html");
        let dashboard = at(&format!("dashboards/{name}"));
        let address = format!("http://127.0.0.1:{}", prometheus.port);
        let paths = [&dashboard, &page].map(|path| path.to_str().unwrap());
        let (good, said) = run("node", &["tests/dashboards/draw.mjs", paths[0], &address, sidecar, paths[1]]);
        assert!(good, "{said}");
        let page = std::fs::read_to_string(page).unwrap();
        let dashboard: Json = serde_json::from_str(&std::fs::read_to_string(dashboard).unwrap()).unwrap();
        let panels = dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row");
        assert_eq!(page.matches("<figure").count(), panels.clone().count(), "{name}");
        let names = |target: &Json| target["expr"].as_str().unwrap().contains(ABSENT);
        let absent = panels.filter(|panel| panel["targets"].as_array().unwrap().iter().all(names));
        assert!(page.matches("No data").count() <= absent.count(), "{name}");
    }
}

/// promtool reads the scrape itself.
async fn well_formed(stage: &Stage) {
    let (_, metrics) = stage.sidecar.ask("/metrics").await;
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, metrics.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let (good, said) = run_with("promtool", &["check", "metrics"], Stdio::from(file));
    assert!(good, "{said}");
}
