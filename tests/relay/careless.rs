//! Clients and services that are not careful: what they mean is served, as far as it is safe.
//!
//! Broken on purpose, and caught: only `Upgrade: websocket` alone is a handshake · the first line is not escaped · 1xx are
//! not counted · the first `Sec-WebSocket-Accept` counts · a coded body is passed on.

use crate::{
    sidecar::Sidecar,
    support::{
        http::{ask, handshake},
        plain,
        service::Service,
        ws::{Wire, session_at},
    },
};

/// A route with plain requests as well.
async fn start(more: &str) -> (Service, Sidecar) {
    let service = Service::start().await;
    let http = format!("http.upstream = \"http://127.0.0.1:{}\"\n", service.port);
    let sidecar = Sidecar::start(&format!("{}{http}{more}", plain(service.port))).await;
    (service, sidecar)
}

const OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";

/// Plain requests as Java's own `HttpClient` and `curl --http2` send them, absolute targets, HTTP/1.0.
#[tokio::test]
async fn plain_requests_of_careless_clients_are_served() {
    let (service, sidecar) = start("").await;
    let host = format!("127.0.0.1:{}", sidecar.port);
    let java = "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAA\r\nUpgrade: h2c\r\n";
    for (what, request, target) in [
        ("java", format!("GET /a HTTP/1.1\r\nHost: {host}\r\n{java}\r\n"), "/a"),
        ("a protocol of its own", format!("GET /a HTTP/1.1\r\nHost: {host}\r\nUpgrade: x/1\r\n\r\n"), "/a"),
        ("an absolute target", format!("GET http://{host}/a?b HTTP/1.1\r\nHost: {host}\r\n\r\n"), "/a?b"),
        ("HTTP/1.0", "GET /a HTTP/1.0\r\nUser-Agent: old\r\n\r\n".to_owned(), "/a"),
        ("quotes", format!("GET /a?f={{\"b\":1}} HTTP/1.1\r\nHost: {host}\r\n\r\n"), "/a?f={%22b%22:1}"),
        ("no ASCII", format!("GET /a?f=é HTTP/1.1\r\nHost: {host}\r\n\r\n"), "/a?f=%C3%A9"),
    ] {
        let (mut client, asked) = (Wire::dial(sidecar.port).await, service.asked());
        client.send(request).await;
        let asked = asked.await;
        assert_eq!(asked.head.first, format!("GET {target} HTTP/1.1"), "{what}");
        assert_eq!(asked.head.get("upgrade"), None, "{what}");
        asked.answer(OK).await;
        assert_eq!(client.head().await.status(), 200, "{what}");
    }
}

#[tokio::test]
async fn handshakes_of_careless_clients_are_served() {
    let (service, sidecar) = start("").await;
    let absolute = format!("http://127.0.0.1:{}/ws?a", sidecar.port);
    for (target, more, expected) in [
        ("/ws?filter={\"a\":1}", "", "/ws?filter={%22a%22:1}"),
        (&*absolute, "", "/ws?a"),
        ("/ws", "Upgrade: h2c\r\n", "/ws"),
    ] {
        let (asked, mut client, mut theirs) = session_at(sidecar.port, &service, target, more).await;
        assert_eq!(asked.target(), expected);
        theirs.send(crate::support::ws::bare(1, b"heard")).await;
        assert_eq!(client.message().await.text(), "heard", "{target}");
    }
}

/// A head may have what `limits.head` says, and an answer too.
#[tokio::test]
async fn heads_are_as_long_as_is_said() {
    let (service, sidecar) = start("[limits]\nhead = \"64KiB\"\n").await;
    let cookie = |kib: usize| format!("Cookie: a={}\r\n", "x".repeat(kib << 10));
    let (asked, ..) = session_at(sidecar.port, &service, "/", &cookie(40)).await;
    assert_eq!(asked.get("cookie").map(str::len), Some((40 << 10) + 2));
    let (answer, _) = ask(sidecar.port, handshake("/", &cookie(70))).await;
    assert_eq!(answer.status(), 431);
    let long = cookie(40).replace("Cookie", "Set-Cookie");
    let asked = async { service.asked().await.accept(&long).await };
    let ((answer, _client), _theirs) = tokio::join!(ask(sidecar.port, handshake("/", "")), asked);
    assert_eq!((answer.status(), answer.get("set-cookie").map(str::len)), (101, Some((40 << 10) + 2)));
}

/// 101s that RFC 6455 §4.1 and §4.2.2 say to fail.
#[tokio::test]
async fn a_101_that_is_none_is_failed() {
    let (service, sidecar) = start("").await;
    let offer = "Sec-WebSocket-Protocol: chat\r\n";
    for (what, change) in [
        ("two accepts", ("\r\n\r\n", "\r\nSec-WebSocket-Accept: d3Jvbmc=\r\n\r\n")),
        (
            "two subprotocols",
            ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
        ),
        ("one that was not offered", ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: evil\r\n\r\n")),
        ("an extension that was not offered", ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n")),
        ("two upgrades", ("Upgrade: websocket", "Upgrade: h2c, websocket")),
        ("HTTP/1.0", ("HTTP/1.1", "HTTP/1.0")),
    ] {
        let asked = async {
            let asked = service.asked().await;
            let switching = asked.switching("").replacen(change.0, change.1, 1);
            asked.answer(switching).await
        };
        let ((answer, mut client), _theirs) = tokio::join!(ask(sidecar.port, handshake("/", offer)), asked);
        assert_eq!(answer.status(), 502, "{what}");
        let said = String::from_utf8(client.rest().await).unwrap();
        assert_eq!(said, "the service did not answer as a WebSocket service does; see the log\n", "{what}");
    }
}

/// Answers before the answer are read, but not for ever: each is work.
#[tokio::test]
async fn answers_before_the_answer_are_few() {
    let (service, sidecar) = start("").await;
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    for (count, status) in [(10, 101), (1000, 502)] {
        let asked = async {
            let asked = service.asked().await;
            let answer = early.repeat(count) + &asked.switching("");
            asked.answer(answer).await
        };
        let ((answer, _client), _theirs) = tokio::join!(ask(sidecar.port, handshake("/", "")), asked);
        assert_eq!(answer.status(), status, "{count}");
    }
}

/// A body in a coding that is not passed on would be another body (RFC 9112 §6.1).
#[tokio::test]
async fn a_body_in_another_coding_is_refused_both_ways() {
    let (service, sidecar) = start("").await;
    let host = format!("Host: 127.0.0.1:{}\r\n", sidecar.port);
    let request = format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(ask(sidecar.port, request).await.0.status(), 501);
    assert!(service.is_alone().await);
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    let asked = async { service.asked().await.answer(answer).await };
    let get = format!("GET / HTTP/1.1\r\n{host}\r\n");
    let ((answer, _client), _theirs) = tokio::join!(ask(sidecar.port, get), asked);
    assert_eq!(answer.status(), 502);
}

/// RFC 9110 §7.6.2.
#[tokio::test]
async fn options_are_passed_on_as_often_as_they_may_be() {
    let (service, sidecar) = start("").await;
    let options = |left: u32| {
        format!("OPTIONS /a HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nMax-Forwards: {left}\r\n\r\n", sidecar.port)
    };
    let (answer, _) = ask(sidecar.port, options(0)).await;
    assert_eq!((answer.status(), answer.get("allow").is_some()), (204, true));
    assert!(service.is_alone().await);
    let asked = async {
        let asked = service.asked().await;
        assert_eq!(asked.head.get("max-forwards"), Some("1"));
        asked.answer(OK).await
    };
    let ((answer, _client), _theirs) = tokio::join!(ask(sidecar.port, options(2)), asked);
    assert_eq!(answer.status(), 200);
}
