//! At the door: what became of each handshake is counted, and one client cannot have what is there for all.

use tokio::net::TcpSocket;

use crate::{
    sidecar::Sidecar,
    support::{
        beside,
        http::{ask, handshake},
        plain,
        service::Service,
        until,
        ws::{CLOSE, Wire, close, masked},
    },
};

/// A route of this name and path.
fn route(name: &str, port: u16) -> String {
    plain(port).replace("plain", name) + &format!("path = \"/{name}\"\n")
}

async fn counted(sidecar: &Sidecar, route: &str, outcome: &str) -> f64 {
    sidecar.metric(&format!("perennial_handshakes_total{{outcome=\"{outcome}\",route=\"{route}\"}}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_handshake_is_counted_by_what_became_of_it() {
    let (service, echo) = (Service::start().await, Service::start().await.echo());
    let text = [
        "[limits]\nhandshake = \"2s\"\n".to_owned(),
        route("open", echo),
        route("guarded", echo) + "client.secret = \"open-sesame\"\n",
        route("played", service.port),
        route("dead", 9),
        route("own", echo).replace("\"none\"", "\"handshake\"")
            + "[route.token]\nsource = \"http\"\nurl = \"http://127.0.0.1:9/\"\nshare = \"client\"\n\
               [route.client]\ntoken.query = \"token\"\n[route.handshake]\nquery = \"token\"\n",
    ];
    let sidecar = Sidecar::start(&text.concat()).await;
    let port = sidecar.port;
    let status = async |target: &str, more: &str| ask(port, handshake(target, more)).await.0.status();
    assert_eq!(status("/open", "").await, 101);
    assert_eq!(status("/guarded", "X-Perennial-Secret: wrong\r\n").await, 401);
    assert_eq!(status("/open", "Origin: https://evil.example\r\n").await, 403);
    assert_eq!(status("/nowhere", "").await, 404);
    assert_eq!(status("/open", "Sec-WebSocket-Key: x\r\n").await, 400);
    assert_eq!(status("/dead", "").await, 502);
    assert_eq!(status("/own", "").await, 101, "it is told why by a Close");
    let (refused, ()) = tokio::join!(ask(port, handshake("/played", "")), async {
        service.asked().await.answer("HTTP/1.1 418 No\r\nContent-Length: 0\r\n\r\n").await;
    });
    assert_eq!(refused.0.status(), 418);
    // A client that speaks TLS to a port that does not.
    let mut tls = Wire::dial(port).await;
    tls.send([0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0x00, 0x00, 0x01, 0x03]).await;
    tls.rest().await;
    let (away, ()) = tokio::join!(ask(port, handshake("/played", "")), async {
        service.asked().await.answer("HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n").await;
    });
    assert_eq!(away.0.status(), 503, "as its load balancer said");
    let (late, asked) = tokio::join!(ask(port, handshake("/played", "")), service.asked());
    assert_eq!((late.0.status(), asked.head.target()), (504, "/played"));
    let mut gone = Wire::dial(port).await;
    gone.send(handshake("/played", "")).await;
    let asked = service.asked().await;
    drop((gone, asked));
    for (route, outcome) in [
        ("open", "accepted"),
        ("guarded", "unauthorized"),
        ("open", "origin"),
        ("", "not_found"),
        ("", "bad_request"),
        ("open", "bad_request"),
        ("dead", "upstream_unreachable"),
        ("own", "token"),
        ("played", "upstream_rejected"),
        ("played", "upstream_unreachable"),
        ("played", "timeout"),
        ("played", "client_gone"),
    ] {
        let what = format!("{route}: {outcome}");
        until(&what, async || counted(&sidecar, route, outcome).await, |count| *count == 1.0).await;
    }
    let log = sidecar.stop().await;
    for line in [
        "\"outcome\":\"unauthorized\"",
        "\"outcome\":\"origin\"",
        "\"outcome\":\"not_found\"",
        "it speaks TLS",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_dial_is_counted_by_why_it_was_made_and_what_it_came_to() {
    let (service, plain_http) = (Service::start().await, Service::start().await);
    let text = [
        "[limits]\nhandshake = \"2s\"\n".to_owned(),
        route("dead", 9),
        route("plain", plain_http.port).replace("ws://", "wss://"),
        route("played", service.port).replace("\"none\"", "\"handshake\"")
            + "token = { source = \"static\", token = \"T\" }\nhandshake = { query = \"t\" }\n",
    ];
    beside(async move {
        while let Some(mut wire) = plain_http.connection().await {
            let _ = wire.try_send(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let sidecar = Sidecar::start(&text.concat()).await;
    let port = sidecar.port;
    let status = async |target: &str| ask(port, handshake(target, "")).await.0.status();
    assert_eq!(status("/dead").await, 502);
    assert_eq!(status("/plain").await, 502, "nobody speaks TLS there");
    let (refused, ()) = tokio::join!(status("/played"), async {
        service.asked().await.answer("HTTP/1.1 418 No\r\nContent-Length: 0\r\n\r\n").await;
    });
    assert_eq!(refused, 418);
    let (late, _asked) = tokio::join!(status("/played"), service.asked());
    assert_eq!(late, 504);
    let (_client, theirs) =
        tokio::join!(ask(port, handshake("/played", "")), async { service.asked().await.accept("").await });
    drop(theirs);
    let _again = service.asked().await.accept("").await;
    for (route, purpose, outcome) in [
        ("dead", "first", "unreachable"),
        ("plain", "first", "tls"),
        ("played", "first", "rejected"),
        ("played", "first", "timeout"),
        ("played", "first", "ok"),
        ("played", "resume", "ok"),
    ] {
        let labels = format!("outcome=\"{outcome}\",purpose=\"{purpose}\",route=\"{route}\"");
        let series = format!("perennial_upstream_connections_total{{{labels}}}");
        until(&series, || sidecar.metric(&series), |count| *count >= 1.0).await;
    }
    let (_, status) = sidecar.ask("/status.json").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let routes = status["routes"].as_array().unwrap();
    let of = |name: &str| &routes.iter().find(|route| route["name"] == name).unwrap()["unreached"];
    assert!(of("dead")["error"].as_str().unwrap().starts_with("connect to 127.0.0.1:9: "), "{status}");
    assert!(of("plain")["failures"].as_u64().unwrap() >= 1, "{status}");
    assert!(of("played").is_null(), "it answers now: {status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_has_no_more_sessions_than_one_may() {
    let echo = Service::start().await.echo();
    let sidecar = Sidecar::start(&format!("[limits]\nsessions_per_address = 2\n{}", route("a", echo))).await;
    let knock = async || ask(sidecar.port, handshake("/a", "")).await;
    let (first, second, third) = (knock().await, knock().await, knock().await);
    assert_eq!([&first, &second, &third].map(|(head, _)| head.status()), [101, 101, 429]);
    assert_eq!(third.0.get("retry-after"), Some("1"));
    // Somebody else is served.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = Wire::new(socket.connect(([127, 0, 0, 1], sidecar.port).into()).await.unwrap());
    other.send(handshake("/a", "")).await;
    assert_eq!(other.head().await.status(), 101);
    let mut first = first.1;
    first.send(masked(CLOSE, &close(1000, ""))).await;
    first.ending().await;
    drop(first);
    until("room", async || knock().await.0.status(), |status| *status == 101).await;
    assert!(counted(&sidecar, "a", "limit").await >= 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_credential_has_no_more_sessions_than_one_may() {
    let echo = Service::start().await.echo();
    let own = route("own", echo).replace("\"none\"", "\"handshake\"")
        + "[route.token]\nsource = \"http\"\nurl = \"http://127.0.0.1:9/\"\nshare = \"client\"\n\
           [route.client]\ntoken.query = \"token\"\n[route.handshake]\nquery = \"token\"\n";
    let sidecar = Sidecar::start(&format!("[limits]\nsessions_per_credential = 1\n{own}")).await;
    let knock = async |token: &str| ask(sidecar.port, handshake(&format!("/own?token={token}"), "")).await;
    let (first, again, other) = (knock("T1").await, knock("T1").await, knock("T2").await);
    assert_eq!([&first, &again, &other].map(|(head, _)| head.status()), [101, 429, 101]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_begins_no_more_handshakes_a_second_than_one_may() {
    let echo = Service::start().await.echo();
    let gate = "client.secret = \"open-sesame\"\n";
    let sidecar =
        Sidecar::start(&format!("[limits]\nhandshakes_per_second = 1\n{}{gate}", route("a", echo))).await;
    let shown = "X-Perennial-Secret: open-sesame\r\n";
    let knock = async || ask(sidecar.port, handshake("/a", shown)).await.0.status();
    assert_eq!(knock().await, 101);
    until("a second too many", knock, |status| *status == 429).await;
    until("time has passed", knock, |status| *status == 101).await;
}
