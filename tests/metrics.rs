//! What an operator reads off, before and after there was something to count.

use std::collections::BTreeMap;

use crate::support::{
    http::{ask, handshake},
    plain,
    service::Service,
    until,
    ws::{CLOSE, TEXT, bare, close, masked, session},
};
use perennial::{app::App, config::Config};

const PAGE: &str = include_str!("../docs/metrics.md");

/// Series by name and labels, as they are written.
fn parsed(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

async fn start(port: u16) -> App {
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[limits]\ndrain = \"0s\"\n{}",
        plain(port)
    );
    App::start(&Config::parse(&text, "test").unwrap()).await.unwrap()
}

async fn scrape(app: &App) -> BTreeMap<String, f64> {
    parsed(&scraped(app).await)
}

async fn scraped(app: &App) -> String {
    let (head, mut wire) =
        ask(app.admin().port(), "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(head.get("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    String::from_utf8(wire.rest().await).unwrap()
}

#[tokio::test]
async fn the_page_of_the_metrics_has_each_family_with_its_type() {
    let app = start(9).await;
    let text = scraped(&app).await;
    let served = text.lines().filter_map(|line| line.strip_prefix("# TYPE perennial_")?.split_once(' '));
    // A family without a series is not served: there is no certificate.
    let served: BTreeMap<&str, &str> =
        served.chain([("tls_certificate_expiration_timestamp_seconds", "gauge")]).collect();
    let cells = |line: &'static str| line.split(" | ").collect::<Vec<_>>();
    let rows = PAGE.lines().filter_map(|line| Some(cells(line.strip_prefix("| `perennial_")?)));
    let rows: Vec<_> = rows.map(|cells| (cells[0].trim_end_matches('`'), cells[1])).collect();
    let twice = "docs/metrics.md has a row twice";
    assert_eq!(rows.len(), rows.iter().collect::<std::collections::BTreeSet<_>>().len(), "{twice}");
    assert_eq!(rows.into_iter().collect::<BTreeMap<_, _>>(), served, "docs/metrics.md, and what is served");
    app.stop().await;
}

#[tokio::test]
async fn every_series_stands_at_zero_from_the_start() {
    let app = start(9).await;
    let series = scrape(&app).await;
    for (one, value) in series.iter().filter(|(one, _)| one.starts_with("perennial_")) {
        let zero = !one.starts_with("perennial_config_")
            && !one.contains("_limit")
            && !["clock_time_seconds", "store_up", "build_info"].iter().any(|name| one.contains(name));
        assert!(!zero || *value == 0.0, "{one} does not stand at zero");
    }
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"] {
        assert!(series.contains_key(name), "{name} is not there");
    }
    for state in ["opening", "live", "exchanging", "resuming", "swapping", "parked", "closing"] {
        for family in ["sessions", "session_seconds_total"] {
            assert_eq!(series[&format!("perennial_{family}{{route=\"plain\",state=\"{state}\"}}")], 0.0);
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn the_counters_say_what_happened() {
    let service = Service::start().await;
    let app = start(service.port).await;
    let get = |series: &BTreeMap<String, f64>, name: &str| series[&format!("perennial_{name}")];
    let live = "sessions{route=\"plain\",state=\"live\"}";
    let live_seconds = "session_seconds_total{route=\"plain\",state=\"live\"}";
    let (mut client, mut theirs) = session(app.address().port(), &service).await;
    let first = until("a live session", || scrape(&app), |series| get(series, live) == 1.0).await;
    // Time goes by, and is counted while the session lasts.
    until("its seconds", || scrape(&app), |series| get(series, live_seconds) > get(&first, live_seconds))
        .await;
    let (up, down) = (masked(TEXT, b"one"), bare(TEXT, &[b'd'; 200]));
    client.send(up.repeat(3)).await;
    theirs.send(down.repeat(2)).await;
    for _ in 0..3 {
        theirs.message().await;
    }
    for _ in 0..2 {
        client.message().await;
    }
    client.send(masked(CLOSE, &close(1000, ""))).await;
    theirs.ending().await;
    theirs.send(bare(CLOSE, &close(1000, ""))).await;
    client.ending().await;
    let ended = "sessions_closed_total{reason=\"client\",route=\"plain\"}";
    let series = until("its end", || scrape(&app), |series| get(series, ended) == 1.0).await;
    for (name, expected) in [
        (live, 0.0),
        ("messages_total{direction=\"up\",route=\"plain\"}", 3.0),
        ("messages_total{direction=\"down\",route=\"plain\"}", 2.0),
        ("sessions_closed_total{reason=\"upstream\",route=\"plain\"}", 0.0),
        ("sessions_closed_total{reason=\"token_expired\",route=\"plain\"}", 0.0),
        ("sessions_closed_total{reason=\"internal\",route=\"plain\"}", 0.0),
        ("sessions{route=\"plain\",state=\"opening\"}", 0.0),
        ("sessions{route=\"plain\",state=\"closing\"}", 0.0),
    ] {
        assert_eq!(get(&series, name), expected, "{name}");
    }
    // Both messages and both Closes, with their headers.
    let bytes =
        |direction: &str| get(&series, &format!("bytes_total{{direction=\"{direction}\",route=\"plain\"}}"));
    assert_eq!(bytes("up"), (3 * up.len() + masked(CLOSE, &[3, 232]).len()) as f64);
    assert_eq!(bytes("down"), (2 * down.len() + bare(CLOSE, &[3, 232]).len()) as f64);
    let total = get(&series, live_seconds);
    assert!(total > 0.0 && total < 20.0, "{total}");
    app.stop().await;
}

/// What comes with the handshake is counted too.
#[tokio::test]
async fn early_words_are_counted() {
    let service = Service::start().await;
    let app = start(service.port).await;
    let (up, down) = (masked(TEXT, b"early"), bare(TEXT, b"early, too"));
    let request = [handshake("/", "").as_bytes(), &up].concat();
    let ((_, mut client), mut theirs) = tokio::join!(ask(app.address().port(), request), async {
        let asked = service.asked().await;
        let answer = [asked.switching("").as_bytes(), &down].concat();
        asked.answer(answer).await
    });
    assert_eq!(theirs.message().await.raw, up);
    assert_eq!(client.message().await.raw, down);
    let series = scrape(&app).await;
    for (name, direction, expected) in [
        ("messages", "up", 1),
        ("messages", "down", 1),
        ("bytes", "up", up.len()),
        ("bytes", "down", down.len()),
    ] {
        let name = format!("perennial_{name}_total{{direction=\"{direction}\",route=\"plain\"}}");
        assert_eq!(series[&name], expected as f64, "{name}");
    }
    drop((client, theirs));
    app.stop().await;
}
