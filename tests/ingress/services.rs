//! Each proxy in front and behind: what passes, what is idle, and what a reload does.
//!
//! Broken on purpose, and caught: the sidecar pings no client, and nginx ends it · a trusted proxy is not believed.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::{
    net::TcpSocket,
    time::{sleep, timeout},
};

use super::{Ingress, KINDS, Kind};
use crate::{
    sidecar::Sidecar,
    support::{
        beside, free_port,
        http::handshake,
        plain,
        service::{Asked, Service},
        ws::{PING, PONG, TEXT, Wire, bare, masked},
    },
};

/// Longer than any of them lets a connection be idle that says nothing.
const IDLE: Duration = Duration::from_secs(130);

/// A message each way. What is answered meanwhile is the business of a real client: Pings.
async fn exchange(client: &mut Wire, theirs: &mut Wire, words: &str) {
    client.send(masked(TEXT, words.as_bytes())).await;
    assert_eq!(heard(theirs, false).await, words);
    theirs.send(bare(TEXT, words.as_bytes())).await;
    assert_eq!(heard(client, true).await, words);
}

/// The next text; Pings are answered, as a client or a service does.
async fn heard(wire: &mut Wire, as_client: bool) -> String {
    loop {
        let frame = wire.patient_frame().await.expect("it goes on");
        match frame.opcode() {
            TEXT => return frame.text().to_owned(),
            PING => wire.send(pong(&frame.payload, as_client)).await,
            _ => {}
        }
    }
}

fn pong(payload: &[u8], as_client: bool) -> Vec<u8> {
    if as_client { masked(PONG, payload) } else { bare(PONG, payload) }
}

/// Says nothing for so long, but answers Pings.
async fn idle(kind: Kind, wire: &mut Wire, as_client: bool) {
    let answering = async {
        loop {
            let frame = wire.patient_frame().await;
            let frame = frame.unwrap_or_else(|| panic!("{kind:?} has ended it; client: {as_client}"));
            assert_eq!(frame.opcode(), PING, "nothing is said");
            wire.send(pong(&frame.payload, as_client)).await;
        }
    };
    let _ = timeout(IDLE, answering).await;
}

/// A route to this port, which pings as it does by default.
fn route(port: u16, dialect: &str) -> String {
    let route = plain(port).replace("session.keepalive = \"10m\"\n", "");
    let token = match dialect {
        "none" => "",
        _ => {
            "token = { source = \"static\", token = \"T\" }\nhandshake = { header = \"X-Token: {token}\" }\n"
        }
    };
    route.replace("\"none\"", &format!("\"{dialect}\"")) + token
}

/// Each proxy with each dialect.
fn all() -> impl Iterator<Item = (Kind, &'static str)> {
    KINDS.into_iter().flat_map(|kind| ["none", "handshake"].map(|dialect| (kind, dialect)))
}

/// Where the client is, and the ingress is not.
const CLIENT: &str = "127.0.0.2";

/// A client that asks until the service hears of it: some proxies listen before they have read where to.
async fn knock(port: u16, service: &Service, more: &str) -> (Wire, Asked) {
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{CLIENT}:0").parse().unwrap()).unwrap();
        let mut client = Wire::new(socket.connect(([127, 0, 0, 1], port).into()).await.unwrap());
        client.send(handshake("/a?b=c", more)).await;
        tokio::select! {
            asked = service.asked() => return (client, asked),
            _ = client.head() => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn in_front((kind, dialect): (Kind, &str)) {
    let service = Service::start().await;
    let route = route(service.port, dialect) + "forwarded = \"x-forwarded\"\n";
    let sidecar = Sidecar::start(&format!("[listen]\ntrusted_proxies = [\"127.0.0.1\"]\n{route}")).await;
    let ingress = Ingress::start(kind, sidecar.port).await;
    let (mut client, asked) = knock(ingress.port, &service, "X-Forwarded-For: 10.9.9.9\r\n").await;
    // The client, which the ingress names, and then the ingress. (For a client on loopback Envoy names another address of
    // the machine.)
    let told = asked.head.get("x-forwarded-for").unwrap_or_default().to_owned();
    let hops: Vec<&str> = told.split(", ").collect();
    let [.., named, "127.0.0.1"] = hops[..] else { panic!("{kind:?}: {told}") };
    assert!(named == CLIENT || kind == Kind::Envoy && named != "10.9.9.9", "{kind:?}: {told}");
    assert_eq!(asked.head.get("x-forwarded-proto"), Some("http"), "{kind:?}");
    assert_eq!(asked.head.target(), "/a?b=c", "{kind:?}");
    let mut theirs = asked.accept("").await;
    assert_eq!(client.head().await.status(), 101, "{kind:?}");
    exchange(&mut client, &mut theirs, "hello").await;
    tokio::join!(idle(kind, &mut client, true), idle(kind, &mut theirs, false));
    exchange(&mut client, &mut theirs, "still here").await;
    drop((client, theirs));
    let (log, own) = (sidecar.stop().await, format!("\"client\":\"{named}\""));
    assert!(log.contains(&own), "{kind:?} says who the client is: {log}");
}

async fn behind((kind, dialect): (Kind, &str)) {
    let service = Service::start().await;
    let ingress = Ingress::start(kind, service.port).await;
    let sidecar = Sidecar::start(&route(ingress.port, dialect)).await;
    let (mut client, asked) = knock(sidecar.port, &service, "").await;
    assert_eq!(asked.head.target(), "/a?b=c", "{kind:?}");
    let mut theirs = asked.accept("").await;
    assert_eq!(client.head().await.status(), 101, "{kind:?}");
    exchange(&mut client, &mut theirs, "hello").await;
    tokio::join!(idle(kind, &mut client, true), idle(kind, &mut theirs, false));
    exchange(&mut client, &mut theirs, "still here").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs six proxies: tests/ingress/install"]
async fn a_client_lives_behind_each_and_is_known() {
    join_all(all().map(in_front)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs six proxies: tests/ingress/install"]
async fn a_session_lives_in_front_of_each() {
    join_all(all().map(behind)).await;
}

/// Messages of a run; the reload comes after the first hundred.
const MESSAGES: u64 = 300;

/// What is behind is reloaded under traffic: the client is not closed, and what may be lost is counted.
async fn reloaded(kind: Kind) {
    let service = Service::start().await;
    let ingress = Ingress::start(kind, service.port).await;
    let route = plain(ingress.port).replace("\"none\"", "\"handshake\"")
        + "token = { source = \"static\", token = \"T\" }\nhandshake = { query = \"t\" }\n";
    let sidecar = Sidecar::start(&route).await;
    let mut client = Wire::dial(sidecar.port).await;
    client.send(handshake("/", "")).await;
    let (tell, mut told) = tokio::sync::mpsc::channel(2 * MESSAGES as usize);
    beside(async move {
        loop {
            let mut theirs = service.asked().await.accept("").await;
            let tell = tell.clone();
            beside(async move {
                while let Some(frame) = theirs.patient_frame().await {
                    match frame.opcode() {
                        TEXT => tell.send(frame.text().parse::<u64>().unwrap()).await.unwrap_or_default(),
                        PING => theirs.send(pong(&frame.payload, false)).await,
                        _ => {}
                    }
                }
            });
        }
    });
    assert_eq!(client.head().await.status(), 101, "{kind:?}");

    for number in 0..MESSAGES {
        if number == 100 {
            ingress.reload(kind);
        }
        client.send(masked(TEXT, number.to_string().as_bytes())).await;
        sleep(Duration::from_millis(20)).await;
    }
    let mut got = Vec::new();
    while got.last() != Some(&(MESSAGES - 1)) {
        let next = timeout(Duration::from_secs(20), told.recv()).await;
        got.push(next.unwrap_or_else(|_| panic!("{kind:?}: the last message never came: {got:?}")).unwrap());
    }
    assert!(got.is_sorted_by(|one, next| one < next), "{kind:?}: in order, and none twice: {got:?}");
    let lost = MESSAGES - got.len() as u64;
    let mut counted = 0.0;
    for reason in ["unacknowledged", "discontinued"] {
        let labels = format!("direction=\"up\",reason=\"{reason}\",route=\"plain\"");
        counted += sidecar.metric(&format!("perennial_messages_lost_total{{{labels}}}")).await;
    }
    assert!(lost as f64 <= counted, "{kind:?}: {lost} lost, {counted} counted");
    assert!(timeout(Duration::from_millis(200), client.end()).await.is_err(), "{kind:?}: the client is open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs six proxies: tests/ingress/install"]
async fn a_reload_behind_is_not_noticed() {
    join_all([Kind::Nginx, Kind::Haproxy, Kind::Apache].map(reloaded)).await;
}

/// A balancer that passes bytes on says who the client is by PROXY protocol.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs six proxies: tests/ingress/install"]
async fn haproxy_speaks_proxy_protocol() {
    for way in ["send-proxy", "send-proxy-v2"] {
        let service = Service::start().await;
        let listen = "[listen]\nproxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]\n";
        let sidecar =
            Sidecar::start(&format!("{listen}{}forwarded = \"x-forwarded\"\n", plain(service.port))).await;
        let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
        let file = dir.path().join("haproxy.cfg");
        let text = format!(
            "defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n\
             listen l\n    bind 127.0.0.1:{port}\n    server s 127.0.0.1:{} {way}\n",
            sidecar.port
        );
        std::fs::write(&file, text).unwrap();
        let mut haproxy = super::command(Kind::Haproxy, &file, (port, dir.path()));
        let child = haproxy.kill_on_drop(true).spawn().unwrap();
        let _haproxy = Ingress { port, child, directory: dir };
        let listens = async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        crate::support::until("HAProxy", listens, |listens| *listens).await;
        // Another address of this machine: the client is told from the balancer.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut client = Wire::new(socket.connect(([127, 0, 0, 1], port).into()).await.unwrap());
        client.send(handshake("/", "")).await;
        let asked = service.asked().await;
        assert_eq!(asked.head.get("x-forwarded-for"), Some("127.0.0.2"), "{way}");
        let mut theirs = asked.accept("").await;
        assert_eq!(client.head().await.status(), 101, "{way}");
        exchange(&mut client, &mut theirs, "hello").await;
    }
}
