//! SIGHUP and `perennial reload`: what is changed serves those who come; those who are there notice nothing.

use crate::{
    sidecar::Sidecar,
    support::{
        http::{ask, handshake},
        plain,
        service::Service,
        until,
        ws::{CLOSE, TEXT, Wire, bare, masked, session, session_at},
    },
};

/// Both ways, once.
pub(crate) async fn relays(client: &mut Wire, service: &mut Wire) {
    client.send(masked(TEXT, b"up")).await;
    assert_eq!(service.message().await.text(), "up");
    service.send(bare(TEXT, b"down")).await;
    assert_eq!(client.message().await.text(), "down");
}

/// Has the sidecar read this configuration; did it take effect?
pub(crate) async fn reload(sidecar: &Sidecar, configuration: &str) -> bool {
    let ports = "[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n";
    reload_whole(sidecar, &format!("{ports}{configuration}")).await
}

/// The same, with tables for both addresses among it.
pub(crate) async fn reload_whole(sidecar: &Sidecar, configuration: &str) -> bool {
    reloads(sidecar, || {
        sidecar.configure(configuration);
        sidecar.signal("HUP");
    })
    .await
}

/// Waits for the reload that `cause` brings about; did it take effect?
pub(crate) async fn reloads(sidecar: &Sidecar, cause: impl FnOnce()) -> bool {
    let tried = async || {
        let (_, status) = sidecar.ask("/status.json").await;
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        (status["reload"]["at"].as_f64(), status["reload"]["successful"].as_bool().unwrap())
    };
    let (before, _) = tried().await;
    cause();
    until("a reload", &tried, |(at, _)| *at != before).await.1
}

/// A plain route of this name and path.
pub(crate) fn route(name: &str, path: &str, port: u16) -> String {
    plain(port).replace("\"plain\"", &format!("\"{name}\"\npath = \"{path}\""))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_as_it_was_is_not_touched() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    assert!(reload(&sidecar, &plain(service.port)).await);
    relays(&mut client, &mut theirs).await;
    assert!(service.is_alone().await, "no new connection was made");
    assert_eq!(sidecar.metric("perennial_config_last_reload_successful").await, 1.0);
    drop((client, theirs));
    let log = sidecar.stop().await;
    assert!(log.contains("\"reloaded\"") && log.contains("\"changed\":\"\""), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_route_serves_who_comes_and_who_is_there_stays() {
    let (old, new) = (Service::start().await, Service::start().await);
    let sidecar = Sidecar::start(&plain(old.port)).await;
    let (mut client, mut theirs) = session(sidecar.port, &old).await;
    assert!(reload(&sidecar, &plain(new.port)).await);
    let (mut second, mut its) = session(sidecar.port, &new).await;
    relays(&mut client, &mut theirs).await;
    relays(&mut second, &mut its).await;
    assert_eq!(
        sidecar.metric("perennial_sessions{route=\"plain\",state=\"live\"}").await,
        2.0,
        "both are counted"
    );
    assert!(old.is_alone().await);
    // The one that was there is drained as well.
    sidecar.signal("TERM");
    for wire in [&mut client, &mut second] {
        assert_eq!(wire.ending().await.map(|(code, _)| code), Some(1001));
        wire.send(masked(CLOSE, &1001_u16.to_be_bytes())).await;
    }
    assert_eq!(sidecar.ended().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_come_and_go() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&route("a", "/a", service.port)).await;
    let (_, mut client, mut theirs) = session_at(sidecar.port, &service, "/a", "").await;
    assert_eq!(ask(sidecar.port, handshake("/b", "")).await.0.status(), 404);
    assert!(reload(&sidecar, &route("b", "/b", service.port)).await);
    assert_eq!(ask(sidecar.port, handshake("/a", "")).await.0.status(), 404);
    let (_, mut second, mut its) = session_at(sidecar.port, &service, "/b", "").await;
    relays(&mut client, &mut theirs).await;
    relays(&mut second, &mut its).await;
    assert_eq!(sidecar.metric("perennial_sessions{route=\"a\",state=\"live\"}").await, 1.0);
    client.send(masked(CLOSE, &1000_u16.to_be_bytes())).await;
    theirs.ending().await;
    theirs.send(bare(CLOSE, &1000_u16.to_be_bytes())).await;
    let live = "perennial_sessions{route=\"a\",state=\"live\"}";
    until("its end", || sidecar.metric(live), |live| *live == 0.0).await;
    let log = sidecar.stop().await;
    assert!(log.contains("\"added\":\"b\"") && log.contains("\"removed\":\"a\""), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_listener_moves_and_sessions_stay() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    let free = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let moved = format!("[listen]\naddress = \"127.0.0.1:{free}\"\n[admin]\naddress = \"127.0.0.1:0\"\n");
    let (_, before) = sidecar.ask("/status.json").await;
    assert!(before.contains(&format!("127.0.0.1:{}", sidecar.port)));
    sidecar.configure(&format!("{moved}{}", plain(service.port)));
    sidecar.signal("HUP");
    let (mut second, mut its) = {
        let there = || async { tokio::net::TcpStream::connect(("127.0.0.1", free)).await.is_ok() };
        until("the new listener", there, |there| *there).await;
        session(free, &service).await
    };
    relays(&mut client, &mut theirs).await;
    relays(&mut second, &mut its).await;
    let gone = || async { tokio::net::TcpStream::connect(("127.0.0.1", sidecar.port)).await.is_err() };
    until("the old listener's end", gone, |gone| *gone).await;
}

/// The commonest move: the same port, at every address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_listener_moves_to_an_address_that_has_its_own_in_it() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    let to = |address: &str| {
        let listen = format!("[listen]\naddress = \"{address}:{}\"\nopen = true\n", sidecar.port);
        format!("{listen}[admin]\naddress = \"127.0.0.1:0\"\n{}", plain(service.port))
    };
    for (address, elsewhere) in [("0.0.0.0", true), ("127.0.0.1", false)] {
        assert!(reload_whole(&sidecar, &to(address)).await, "to {address}");
        let there = || async { tokio::net::TcpStream::connect(("127.0.0.2", sidecar.port)).await.is_ok() };
        until("the move", there, |there| *there == elsewhere).await;
        let (mut second, mut its) = session(sidecar.port, &service).await;
        relays(&mut second, &mut its).await;
        relays(&mut client, &mut theirs).await;
        let taken = std::net::TcpListener::bind(("127.0.0.1", sidecar.port));
        assert!(taken.is_err(), "another process has to choose another port");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_counts_who_is_there_already() {
    let service = Service::start().await;
    let limited = |sessions: u32| format!("[limits]\nsessions = {sessions}\n{}", plain(service.port));
    let sidecar = Sidecar::start(&limited(2)).await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    assert!(reload(&sidecar, &limited(1)).await);
    assert_eq!(ask(sidecar.port, handshake("/", "")).await.0.status(), 503);
    assert!(reload(&sidecar, &limited(3)).await);
    session(sidecar.port, &service).await;
    relays(&mut client, &mut theirs).await;
}

/// A token that cannot be had keeps a route from being ready; what puts that right reaches who is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_put_right_reaches_the_sessions_that_are_there() {
    let service = Service::start().await;
    let with = |source: &str| {
        let route = plain(service.port).replace("none", "handshake");
        let header = "[route.handshake]\nheader = \"Authorization: Bearer {token}\"\n";
        format!("{route}[route.token]\n{source}\n{header}")
    };
    let of = |token: &str| with(&format!("source = \"static\"\ntoken = \"{token}\""));
    let sidecar = Sidecar::start(&of("T1")).await;
    let (head, mut client, mut theirs) = session_at(sidecar.port, &service, "/", "").await;
    assert_eq!(head.get("authorization"), Some("Bearer T1"));
    assert!(reload(&sidecar, &with("source = \"exec\"\ncommand = [\"false\"]")).await);
    relays(&mut client, &mut theirs).await;
    let failed = "perennial_token_refreshes_total{outcome=\"failed\",route=\"plain\",trigger=\"operator\"}";
    until("a failure", || sidecar.metric(failed), |failed| *failed >= 1.0).await;
    assert_eq!(sidecar.ask("/readyz").await.0, 200, "the token in hand is valid");
    assert!(reload(&sidecar, &of("T2")).await);
    let moved = service.asked().await;
    assert_eq!(
        moved.head.get("authorization"),
        Some("Bearer T2"),
        "the session that was there has the new one"
    );
    let mut moved = moved.accept("").await;
    theirs.ending().await;
    theirs.send(bare(CLOSE, &1000_u16.to_be_bytes())).await;
    relays(&mut client, &mut moved).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warning_that_is_new_is_logged_once() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    let open = "[[route]]\nname = \"open\"\nupstream = \"ws://feed.test\"\npath = \"/open\"\ndialect = \"handshake\"\n\
                token = { source = \"file\", path = \"/t\" }\nhandshake = { query = \"t\" }\n";
    for _ in 0..2 {
        assert!(reload(&sidecar, &format!("{}\n{open}", plain(service.port))).await);
    }
    let log = sidecar.stop().await;
    assert_eq!(log.matches("the token goes to feed.test without TLS").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_is_asked_for_says_what_came_of_it() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    let ports = "[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n";
    let said = |status, out: &str| (Some(status), out.to_owned(), String::new());
    assert_eq!(sidecar.command(&["reload"]).await, said(0, "Reloaded; nothing has changed.\n"));

    sidecar.configure(&format!("{ports}[limits]\nsessions = 9\n{}", route("b", "/b", service.port)));
    // All of them at once: each is told of a reload that has read the file as it is now.
    let command = || sidecar.command(&["reload"]);
    let (one, two, three, four) = tokio::join!(command(), command(), command(), command());
    let all = [one, two, three, four];
    let changed = "Reloaded: route \"b\" added, route \"plain\" removed, [limits] changed.\n";
    assert!(all.iter().any(|one| *one == said(0, changed)), "{all:?}");
    assert!(all.iter().all(|one| one.0 == Some(0)), "{all:?}");
    relays(&mut client, &mut theirs).await;

    let nonsense = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(nonsense.path(), "no certificate\n").unwrap();
    let tls = format!("tls = {{ ca = \"{}\" }}\n", nonsense.path().display());
    let secure =
        |name: &str| route(name, &format!("/{name}"), service.port).replace("ws://", "wss://") + &tls;
    let refused = [
        (
            format!("{ports}[limits]\nsessionz = 9\n[[route]]\nupstream = \"no\"\n"),
            ["limits.sessionz", "route.upstream"],
        ),
        (
            format!("{ports}{}{}", secure("c"), secure("d")),
            ["route \"c\": [route.tls]", "route \"d\": [route.tls]"],
        ),
        (
            format!("{ports}[limits]\nhistory = \"128KiB\"\n{}", secure("e")),
            ["limits.history cannot", "route \"e\""],
        ),
    ];
    for (configuration, words) in refused {
        sidecar.configure(&configuration);
        let (status, out, err) = sidecar.command(&["reload"]).await;
        assert_eq!((status, &*out), (Some(1), ""), "{err}");
        assert!(err.starts_with("perennial: not reloaded, the configuration before it stays:\n"), "{err}");
        assert!(words.iter().all(|word| err.contains(word)), "{words:?}: {err}");
    }
    assert_eq!(sidecar.metric("perennial_config_last_reload_successful").await, 0.0);
    let (_, mut client, mut theirs) = session_at(sidecar.port, &service, "/b", "").await;
    relays(&mut client, &mut theirs).await;
}
