//! The room as a whole: what suffices, what is refused and how, and that no secret is ever shown.

use std::{path::Path, time::Duration};

use proptest::prelude::*;

use super::*;

/// The smallest useful file. (The variable is one that cargo sets for tests: they cannot set any.)
const SMALLEST: &str = r#"
[[route]]
upstream = "wss://main.realtime.ably.net"
dialect = "ably"
[route.token]
source = "ably-key"
key = { env = "CARGO_PKG_NAME" }
"#;

/// Every key that there is, secrets wherever one may stand.
const EVERYTHING: &str = r#"
[listen]
address = "0.0.0.0:0"
open = true
[admin]
address = "[::1]:0"
[limits]
sessions = 5
message = "64KiB"
handshake = "1s500ms"
drain = "0s"
history = "1MiB"
[state]
store = "disk"
path = "/tmp/state"

[[route]]
name = "short"
path = "/a"
upstream = "ws://localhost:9000/base"
dialect = "none"
[route.token]
source = "http"
url = "https://auth.example.com/token?key=CANARY"
headers = { Authorization = "Bearer CANARY", X-Old = "CANARY{token}", X-Env = { env = "CARGO_PKG_NAME" } }
json = { user = "u-{token}", list = [1, 2.5, true], inner = { pass = "CANARY" }, of = { env = "CARGO_PKG_NAME" } }
refresh_before = "30s"
check_every = "1m"
lifetime = "2h"
share = "route"
timeout = "5s"
exchange = "https://rest.ably.io"
[route.token.tls]
server_name = "auth.internal"
[route.client]
origins = ["https://App.Example.com:443"]
secret = "CANARY"
[route.handshake]
query = "token"
header = "X-Token: CANARY {token}"
subprotocol = "auth.{token}"
cookie = "session"
[route.session]
queue = "2MiB"
hold = "5s"
reconnect = "2m"
keepalive = "20s"
[route.http]
upstream = "https://rest.example.com/v1"
timeout = "45s"
header = "X-Rest: CANARY {token}"
[route.http.tls]
server_name = "rest.internal"

[[route]]
path = "/a/longer"
upstream = "wss://main.realtime.ably.net"
dialect = "ably"
token = { source = "ably-key", key = "app.key:CANARY", ttl = "2h", capability = { "chat:*" = ["publish"] }, client_id = "me" }

[[route]]
path = "/form"
upstream = "wss://main.realtime.ably.net"
dialect = "ably"
token = { source = "http", url = "https://h/t", form = { pass = "CANARY" } }

[[route]]
path = "/body"
upstream = "wss://main.realtime.ably.net"
dialect = "ably"
token = { source = "http", url = "https://h/t", headers = { content-type = "application/json" }, body = '{"p":"CANARY","t":"{token}"}' }

[[route]]
path = "/static"
upstream = "wss://main.realtime.ably.net"
dialect = "ably"
token = { source = "static", token = "CANARY" }

[[route]]
path = "/file"
upstream = "wss://main.realtime.ably.net"
dialect = "ably"
token = { source = "file", path = "/run/token" }

[[route]]
path = "/exec"
upstream = "wss://main.realtime.ably.net"
dialect = "ably"
token = { source = "exec", command = ["tool", "print token"], env = { SECRET = "CANARY", OTHER = { env = "CARGO_PKG_NAME" } }, directory = "/srv" }

[[route]]
path = "/plain"
upstream = "ws://localhost"
dialect = "none"
"#;

fn parse(text: &str) -> Config {
    Config::parse(text, "perennial.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

/// What `check` prints of it.
fn shown(text: &str) -> String {
    Config::effective_text(text, "perennial.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

/// What is printed can be read again, and means the same: its values are the same, from wherever they come.
fn again(text: &str) -> String {
    let values = |text: &str| {
        let without = |line: &str| line.split(" # ").next().unwrap_or("").trim_end().to_owned();
        let lines = text.lines().filter(|line| !line.starts_with('#')).map(without);
        lines.collect::<Vec<_>>().join("\n")
    };
    let once = shown(text);
    let twice = Config::effective_text(&once, "p").unwrap_or_else(|errors| panic!("{errors}\n{once}"));
    assert_eq!(values(&twice), values(&once));
    once
}

fn refused(text: &str) -> String {
    Config::parse(text, "p").expect_err(text).to_string()
}

fn http_of(route: &Route) -> &HttpSource {
    let Some(TokenConfig { source: SourceConfig::Http(http), .. }) = &route.token else {
        panic!("{} has no http source", route.name)
    };
    http
}

#[test]
fn six_lines_suffice() {
    let config = parse(SMALLEST);
    assert_eq!(config.listen.addresses[0].to_string(), "127.0.0.1:7370");
    assert_eq!(config.admin.address.to_string(), "127.0.0.1:7371");
    let Limits { sessions, message, handshake, shutdown_delay, drain, history, .. } = config.limits;
    let ten = Duration::from_secs(10);
    assert_eq!((sessions, message, handshake, drain), (10_000, 1 << 20, ten, ten));
    assert_eq!((history, shutdown_delay), (64 << 20, Duration::ZERO));
    let of_each = (config.limits.sessions_per_address, config.limits.sessions_per_credential);
    assert_eq!((of_each, config.limits.handshakes_per_second), ((None, None), None));
    assert!(matches!(config.state, StateConfig::Memory));
    let route = &config.routes[0];
    assert_eq!((route.name.as_str(), route.path.as_str()), ("ably", "/"));
    let SessionPolicy { queue, hold, reconnect, keepalive, park, overlap, swap, stateless } = route.session;
    assert_eq!((park, overlap, swap, stateless), (Duration::ZERO, Overlap::Keep, Swap::Make, false));
    assert_eq!((queue, hold, reconnect, keepalive), (1 << 20, ten, ten * 6, ten / 2));
    let token = route.token.as_ref().unwrap();
    assert_eq!((token.refresh.check_every, token.refresh.timeout), (ten * 90, ten));
    let SourceConfig::AblyKey(key) = &token.source else { panic!("{token:?}") };
    assert_eq!((key.ttl, key.capability.as_str()), (ten * 360, r#"{"*":["*"]}"#));
    assert_eq!(&*key.key.reveal().unwrap(), "perennial");
}

#[test]
fn everything_is_understood() {
    let config = parse(EVERYTHING);
    let paths: Vec<_> = config.routes.iter().map(|route| route.path.as_str()).collect();
    assert_eq!(paths, ["/a/longer", "/static", "/plain", "/form", "/body", "/file", "/exec", "/a"]);
    let names: Vec<_> = config.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["ably", "route5", "route8", "route3", "route4", "route6", "route7", "short"]);
    assert_eq!(config.limits.handshake, Duration::from_millis(1500));
    assert_eq!(config.limits.history, 1 << 20);
    assert!(matches!(&config.state, StateConfig::Disk { path, .. } if path == Path::new("/tmp/state")));
    let route = &config.routes[7];
    assert_eq!(route.client.origins, ["https://app.example.com"]);
    assert_eq!(route.upstream.endpoint.authority(), "localhost:9000");
    assert_eq!(route.upstream.endpoint.path_and_query, "/base");
    let plain = route.http.as_ref().unwrap();
    assert_eq!(plain.upstream.endpoint.authority(), "rest.example.com");
    assert_eq!(plain.upstream.endpoint.path_and_query, "/v1");
    assert_eq!(plain.upstream.tls.server_name.as_deref(), Some("rest.internal"));
    assert_eq!(plain.timeout, Duration::from_secs(45));
    assert_eq!(plain.placement.header.as_ref().unwrap().0, "x-rest");
    let http = http_of(route);
    assert_eq!((&http.method, http.exchange.host.as_str()), (&http::Method::POST, "rest.ably.io"));
    let (kind, body) = http.body.render(&|_| Some("\"old")).unwrap().unwrap();
    assert_eq!(kind, Some("application/json"));
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let inner = serde_json::json!({ "pass": "CANARY" });
    let want =
        serde_json::json!({ "user": "u-\"old", "list": [1, 2.5, true], "inner": inner, "of": "perennial" });
    assert_eq!(body, want);
    let Some(TokenConfig { source: SourceConfig::Exec(exec), .. }) = &config.routes[6].token else {
        panic!("no command")
    };
    assert_eq!((&*exec.program, &*exec.arguments), ("tool", &["print token".to_owned()][..]));
    let names: Vec<&str> = exec.env.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names, exec.directory.as_deref()), (vec!["OTHER", "SECRET"], Some(Path::new("/srv"))));
    let form = http_of(&config.routes[3]);
    assert_eq!(form.exchange.host, "main.realtime.ably.net");
    assert_eq!(form.body.render(&|_| None).unwrap().unwrap().1, "pass=CANARY");
    let text = http_of(&config.routes[4]).body.render(&|_| Some("\"")).unwrap().unwrap();
    assert_eq!(text, (None, r#"{"p":"CANARY","t":"\""}"#.to_owned()));
}

#[test]
fn plain_http_needs_one_line() {
    let text = format!("{SMALLEST}[route.http]\nupstream = \"http://rest\"\n");
    let config = parse(&text);
    let HttpRoute { upstream, timeout, placement } = config.routes[0].http.as_ref().unwrap();
    assert_eq!((upstream.endpoint.port, *timeout), (80, Duration::from_secs(30)));
    let (name, value) = placement.header.as_ref().unwrap();
    assert_eq!((name.as_str(), value.shown(true).as_str()), ("authorization", "Bearer {token}"));
    again(&text);
    let without =
        "[[route]]\nupstream = \"ws://h\"\ndialect = \"none\"\n[route.http]\nupstream = \"http://h\"";
    let plain = parse(without);
    assert!(plain.routes[0].http.as_ref().unwrap().placement.header.is_none(), "there is no token");
    again(without);
}

#[test]
fn what_is_printed_of_a_shared_handshake_can_be_read_again() {
    let text = "[[route]]\nupstream = \"ws://h\"\ndialect = \"handshake\"\n[route.token]\nsource = \"file\"\npath = \"/t\"\n\
                [route.handshake]\nheader = \"Authorization: Bearer {token}\"\n";
    let printed = again(text);
    assert!(!printed.contains("park"), "{printed}");
}

#[test]
fn a_listener_beyond_loopback_is_let_be_where_it_says_who_may_come_in() {
    let listen = |lines: &str| format!("[listen]\n{lines}\n{SMALLEST}");
    for lines in [
        "address = \"127.0.0.2:0\"",
        "address = \"[::ffff:127.0.0.1]:0\"",
        "open = true\naddress = \"[::]:0\"",
    ] {
        parse(&listen(lines));
    }
    let open = listen("address = \"[::]:0\"");
    parse(&format!("{open}[route.client]\nsecret = \"x\""));
    let mutual = "certificate = 'Cargo.toml'\nkey = 'Cargo.toml'\nclient_ca = 'Cargo.toml'";
    parse(&listen(&format!("address = \"[::]:0\"\n{mutual}")));
    let both = open + "[[route]]\npath = \"/b\"\nupstream = \"ws://h\"\ndialect = \"none\"";
    assert_eq!(refused(&both).lines().count(), 2, "one for each route");
}

#[test]
fn no_secret_is_shown() {
    let config = parse(EVERYTHING);
    let printed = shown(EVERYTHING);
    assert!(!printed.contains("CANARY"), "{printed}");
    let debug = format!("{config:#?}");
    assert!(!debug.contains("CANARY"), "{debug}");
}

#[test]
fn what_is_printed_is_toml_with_the_defaults_in_it_and_says_where_each_value_comes_from() {
    let printed = shown(EVERYTHING);
    toml::from_str::<toml::Table>(&printed).unwrap_or_else(|error| panic!("{error}\n{printed}"));
    // An environment variable is not masked, so that this one is a configuration, and the same again.
    let printed = again(SMALLEST);
    let has = |key: &str, value: &str, origin: &str| {
        let line = printed.lines().find(|line| line.starts_with(&format!("{key} = ")));
        let line = line.unwrap_or_else(|| panic!("no {key} in\n{printed}"));
        let (written, comment) = line.split_once(" # ").unwrap();
        assert_eq!((written.trim_end(), comment), (&*format!("{key} = {value}"), origin));
    };
    has("ttl", "\"1h\"", "default");
    has("message", "\"1MiB\"", "default");
    has("upstream", "\"wss://main.realtime.ably.net\"", "line 3");
    has("key", "{ env = \"CARGO_PKG_NAME\" }", "line 7");
    // What depends on others is said as it comes out.
    has("name", "\"ably\"", "default");
    has("keepalive", "\"5s\"", "default");
    assert!(printed.contains("\n# refresh_before: a quarter of its life; "), "{printed}");
    for useless in ["park", "swap", "grace", "greeting"] {
        assert!(!printed.contains(useless), "{useless} in\n{printed}");
    }
}

#[test]
fn a_word_in_braces_that_is_no_name_is_told() {
    let of = |url: &str| {
        let token =
            format!("[route.token]\nsource = \"http\"\nurl = \"{url}\"\nform = {{ a = \"{{CANARY}}\" }}");
        shown(&format!("[[route]]\nupstream = \"wss://h\"\ndialect = \"ably\"\n{token}"))
    };
    let printed = of("https://h/{id}");
    assert!(
        printed.contains("\n# url: {id} is no name, and is sent as it is written. Names: {token}, "),
        "{printed}"
    );
    // A form may hold a secret.
    assert!(
        printed.contains("\n# form: a word in braces is no name") && !printed.contains("CANARY"),
        "{printed}"
    );
    assert!(!of("https://h/{token}").contains("# url"));
}

#[test]
fn a_store_on_disk_has_a_directory_of_its_own() {
    let state = |lines: &str| parse(&format!("[state]\n{lines}\n{SMALLEST}")).state;
    assert!(matches!(state("store = \"memory\""), StateConfig::Memory));
    assert!(matches!(state(""), StateConfig::Memory));
    let StateConfig::Disk { path, secret } = state("store = \"disk\"") else { panic!("not on disk") };
    assert_eq!((path.as_path(), secret.len()), (Path::new("/var/lib/perennial"), 0));
}

#[test]
fn a_store_in_redis_has_an_address_and_defaults() {
    let text = |lines: &str| {
        format!("[state]\nstore = \"redis\"\nsecret = \"CANARY-of-16-bytes\"\n{lines}\n{SMALLEST}")
    };
    let config = |lines: &str| parse(&text(lines));
    let redis = |config: &Config| match &config.state {
        StateConfig::Redis(redis) => redis.clone(),
        StateConfig::Memory | StateConfig::Disk { .. } => panic!("{config:?}"),
    };
    let few = redis(&config("url = \"redis://h\""));
    assert_eq!((few.prefix.as_str(), few.timeout), ("perennial", Duration::from_secs(1)));
    assert_eq!(few.tls, UpstreamTls::default());
    let lines = "url = \"rediss://u:CANARY@h:7000/3\"\nprefix = \"a:b\"\ntimeout = \"250ms\"\n[state.tls]\nserver_name = \"r\"";
    let all = config(lines);
    let printed = shown(&text(lines));
    assert!(!format!("{printed} {all:?}").contains("CANARY"), "{printed} {all:?}");
    for value in ["url = \"***\"", "prefix = \"a:b\"", "timeout = \"250ms\"", "server_name = \"r\""] {
        assert!(printed.contains(value), "{printed}");
    }
    let address = redis(&all).address().unwrap();
    assert_eq!((address.place.to_string().as_str(), address.database), ("h:7000", 3));
}

#[tokio::test(start_paused = true)]
async fn the_address_of_a_redis_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("url");
    std::fs::write(&file, "redis://:old@h\n").unwrap();
    let state = format!(
        "[state]\nstore = \"redis\"\nsecret = \"a secret of 16 b\"\nurl = {{ file = '{}' }}\n{SMALLEST}",
        file.display()
    );
    let StateConfig::Redis(kept) = parse(&state).state else { panic!("{state}") };
    std::fs::write(&file, "redis://:new@h\n").unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(kept.address().unwrap().login.password.unwrap().as_str(), "new");
}

#[test]
fn a_file_is_loaded_and_named_in_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perennial.toml");
    let missing = Config::load(&path).unwrap_err().to_string();
    assert_eq!(missing, format!("{}: cannot be read: entity not found", path.display()));
    std::fs::write(&path, b"# one\n# t\xfcr\n").unwrap();
    let latin = Config::load(&path).unwrap_err().to_string();
    assert_eq!(latin, format!("{}: line 2 is not UTF-8; save the file as UTF-8", path.display()));
    std::fs::write(&path, SMALLEST).unwrap();
    assert!(Config::load(&path).is_ok());
}

#[test]
fn all_problems_are_named_at_once() {
    let text =
        "[listen]\nadress = 1\n[limits]\nsessions = 0\n[[route]]\npath = 'x'\n[route.session]\nhold = 5\n";
    assert_eq!(
        refused(text),
        "p:2:1: listen.adress: unknown key; did you mean \"address\"?\n\
         p:4:12: limits.sessions: must be a whole number, 1 or more\n\
         p:5:1: route.dialect: missing; add dialect = \"ably\" or \"handshake\", or \"none\" for a plain proxy\n\
         p:5:1: route.upstream: missing; add upstream = \"wss://…\"\n\
         p:6:8: route.path: expected a path that begins with \"/\", without query, fragment or spaces\n\
         p:8:8: route.session.hold: expected a duration such as \"30s\", \"2h30m\" or \"250ms\", found an integer"
    );
}

mod clients;
mod closes;
mod oauth2;
mod places;
mod refusals;
mod sources;

proptest! {
    /// Whatever stands in the file, there is an answer, and never a panic.
    #[test]
    fn any_text_has_an_answer(text in "(\\[\\[?(listen|route|route.token|x)\\]\\]?\n|(key|source|ttl|url|address|[a-z]) = [\"'0-9a-z{}\\[\\]=. ]{0,20}\n){0,12}") {
        let _ = Config::parse(&text, "p");
    }

    /// A secret in any place that takes a string, right or wrong, is not in what is said of it.
    #[test]
    fn no_error_shows_a_value(nth in 0_usize..80, wrong in "(CANARY|CANARY ?[{}:/?@#]{0,4}CANARY|ws://CANARY:CANARY@h)") {
        let mut strings = EVERYTHING.match_indices('"').collect::<Vec<_>>();
        strings.truncate(strings.len() / 2 * 2);
        let pair = &strings[(nth * 2) % strings.len()..][..2];
        let text = [&EVERYTHING[..=pair[0].0], &wrong, &EVERYTHING[pair[1].0..]].concat();
        match Config::parse(&text, "p") {
            Ok(_) => {}
            // The name of a variable and a path are shown, and may be anything.
            Err(errors) => prop_assert!(
                !format!("{errors} {errors:?}")
                    .replace(&format!("the file {wrong}"), "")
                    .replace(&format!("the environment variable {wrong}"), "")
                    .contains("CANARY"),
                "{errors}"
            ),
        }
    }
}
