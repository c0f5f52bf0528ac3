//! A machine reads the log: a session's lines are joined by `session`, a number is a number, one message has one shape.

use std::collections::{BTreeMap, BTreeSet};

use perennial::demo::service::{Service, Target};
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    ably_client::{Client, Dial, Format, world::long_lived},
    sidecar::Sidecar,
    support::until,
};

const EXCHANGED: &str =
    "perennial_reauthentications_total{method=\"exchange\",outcome=\"ok\",route=\"ably\"}";
const RESUMED: &str = "perennial_upstream_gap_seconds_count{route=\"ably\"}";
/// Values that may look like a number, and are names.
const NAMES: [&str; 4] = ["session", "credential", "version", "timestamp"];
/// Not each line of its message has it: a client that vanished sent no code.
const MAY_BE_ABSENT: &str = "close_code";
/// Old names.
const NO_FIELDS: [&str; 6] = ["way", "cause", "why", "took", "gap", "duration"];

type Line = Map<String, Value>;

/// A session that is re-authenticated and resumed, and one more that the service refuses at first.
async fn log() -> Vec<Line> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = Service::start(listener, long_lived(), &CancellationToken::new()).unwrap();
    let at = service.address();
    let configuration = format!(
        "[limits]\ndrain = \"200ms\"\n[[route]]\nname = \"ably\"\nupstream = \"ws://{at}\"\ndialect = \"ably\"\n\
         [route.token]\nsource = \"http\"\nurl = \"http://{at}/token\"\n"
    );
    let sidecar = Sidecar::launch(&configuration, &["--log-level", "debug"], &[]).await;
    until("a token", || sidecar.ask("/readyz"), |(status, _)| *status == 200).await;
    let address = ([127, 0, 0, 1], sidecar.port).into();
    let first = Client::connect(Dial::new(address, Format::Json, "first")).await;
    first.attach("one").await;
    service.faults().hint(&Target::All);
    until("an exchange", || sidecar.metric(EXCHANGED), |count| *count == 1.0).await;
    service.faults().refuse_handshakes(2, 503);
    service.faults().reset();
    until("it is resumed", || sidecar.metric(RESUMED), |count| *count == 1.0).await;
    service.faults().refuse_handshakes(1, 503);
    assert!(Client::open(Dial::new(address, Format::Json, "second")).await.is_err());
    let second = Client::connect(Dial::new(address, Format::Json, "second")).await;
    second.close().await;
    drop((first, second));
    let log = sidecar.stop().await;
    service.stop().await;
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

fn text<'l>(line: &'l Line, name: &str) -> &'l str {
    line.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Would somebody who adds up numbers want it as one? Also a duration: `14ms`, `4.985s`.
fn is_number(value: &str) -> bool {
    let number = value.trim_end_matches(|c: char| c.is_alphabetic());
    let unit = &value[number.len()..];
    number.parse::<f64>().is_ok() && ["", "ns", "µs", "ms", "s"].contains(&unit)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_can_read_it() {
    let log = log().await;
    let mut sessions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut shapes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in &log {
        let (message, session) = (text(line, "message"), text(line, "session"));
        if text(line, "target") == "perennial::proxy::report" {
            assert!(session.len() == 8 && !text(line, "route").is_empty(), "{line:?}");
        }
        sessions.entry(session).or_default().insert(message);
        if message == "session opened" {
            let client: std::net::SocketAddr = text(line, "client").parse().unwrap();
            assert!(client.ip().is_loopback() && client.port() > 0);
        }
        let names: BTreeSet<_> =
            line.keys().map(String::as_str).filter(|name| *name != MAY_BE_ABSENT).collect();
        assert!(names.is_disjoint(&NO_FIELDS.into()), "{line:?}");
        assert_eq!(*shapes.entry(message).or_insert_with(|| names.clone()), names, "{line:?}");
        for (name, value) in line {
            let value = value.as_str().unwrap_or_default();
            assert!(NAMES.contains(&&**name) || !is_number(value), "{name} is a string: {line:?}");
        }
    }
    let all = [
        "session opened",
        "re-authenticated",
        "upstream lost",
        "upstream not reached",
        "upstream resumed",
        "session closed",
    ];
    let whole = |messages: &BTreeSet<_>| all.iter().all(|message| messages.contains(message));
    assert!(sessions.values().any(whole), "{sessions:#?}");
    let lost = log.iter().find(|line| text(line, "message") == "upstream not reached").unwrap();
    assert_eq!((&lost["level"], &lost["attempt"]), (&"WARN".into(), &1.into()), "{lost:?}");
    let exchanged = log.iter().find(|line| text(line, "message") == "re-authenticated").unwrap();
    assert_eq!((text(exchanged, "method"), &exchanged["generation"]), ("exchange", &2.into()));
    assert!(exchanged["duration_ms"].as_f64().is_some_and(|duration| duration > 0.0), "{exchanged:?}");
}
