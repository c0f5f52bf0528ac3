//! What passes of a handshake, and what does not: the service is asked before the client is answered.

use crate::{
    sidecar::Sidecar,
    support::{
        http::{ACCEPT, ask, handshake},
        plain,
        service::{Asked, Service},
        soon,
        ws::{Wire, session_at},
    },
};

async fn start() -> (Service, Sidecar) {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    (service, sidecar)
}

#[tokio::test]
async fn what_is_not_of_the_hop_goes_on_to_the_service() {
    let (service, sidecar) = start().await;
    let more = "User-Agent: old client/1.0\r\nAuthorization: Basic abc\r\nCookie: a=1\r\nCookie: b=2\r\n\
                X-Forwarded-Host: evil.example\r\nSec-WebSocket-Protocol: one, two\r\n\
                Connection: X-Of-This-Hop, keep-alive\r\nX-Of-This-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                Proxy-Authorization: Basic hop\r\nTE: trailers\r\n";
    let (asked, ..) = session_at(sidecar.port, &service, "/some/path?a=%2F&b", more).await;
    assert_eq!(asked.first, "GET /some/path?a=%2F&b HTTP/1.1");
    assert_eq!(asked.get("host"), Some(&*format!("127.0.0.1:{}", service.port)));
    assert_eq!(asked.get("user-agent"), Some("old client/1.0"));
    assert_eq!(asked.get("authorization"), Some("Basic abc"));
    assert_eq!(asked.all("cookie"), ["a=1", "b=2"]);
    assert_eq!(asked.get("sec-websocket-protocol"), Some("one, two"));
    for (name, expected) in
        [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")]
    {
        assert_eq!(asked.get(name), Some(expected));
    }
    // A handshake of Perennial's own: its key is not the client's. What a client says of who it is goes no further.
    assert_ne!(asked.get("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    for name in ["x-of-this-hop", "keep-alive", "proxy-authorization", "te", "x-forwarded-host"] {
        assert_eq!(asked.get(name), None, "{name}");
    }
}

#[tokio::test]
async fn what_the_service_says_with_its_101_reaches_the_client() {
    let (service, sidecar) = start().await;
    let more = "Sec-WebSocket-Protocol: two\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Request-Id: 17\r\n\
                Connection: X-Of-This-Hop\r\nX-Of-This-Hop: 1\r\nKeep-Alive: timeout=5\r\n";
    let request = handshake("/", "Sec-WebSocket-Protocol: one, two\r\n");
    let ((answer, _client), _theirs) =
        tokio::join!(ask(sidecar.port, request), async { service.asked().await.accept(more).await });
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.get("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(answer.get("sec-websocket-protocol"), Some("two"));
    assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(answer.get("x-request-id"), Some("17"));
    assert_eq!(answer.get("connection").map(str::to_ascii_lowercase).as_deref(), Some("upgrade"));
    for name in ["x-of-this-hop", "keep-alive", "sec-websocket-extensions"] {
        assert_eq!(answer.get(name), None, "{name}");
    }
}

/// What a service answers instead of 101 is the client's: status, headers, and what it says about it, if that is short.
#[tokio::test]
async fn a_refusal_reaches_the_client_with_its_reason() {
    let (service, sidecar) = start().await;
    for (status, reason) in
        [(401, "Unauthorized"), (403, "Forbidden"), (404, "Not Found"), (503, "Busy"), (302, "Found")]
    {
        let refusal = format!(
            "HTTP/1.1 {status} {reason}\r\nWWW-Authenticate: Bearer realm=\"x\"\r\nRetry-After: 7\r\n\
             Content-Type: text/plain\r\nContent-Length: 11\r\nConnection: close, X-Of-This-Hop\r\n\
             X-Of-This-Hop: 1\r\n\r\nnot for you"
        );
        let ((answer, mut client), mut theirs) = tokio::join!(ask(sidecar.port, handshake("/", "")), async {
            service.asked().await.answer(refusal).await
        });
        assert_eq!(answer.status(), status);
        assert_eq!(answer.get("www-authenticate"), Some("Bearer realm=\"x\""));
        assert_eq!(answer.get("retry-after"), Some("7"));
        assert_eq!(answer.get("content-type"), Some("text/plain"));
        assert_eq!(answer.get("x-of-this-hop"), None);
        assert_eq!(client.rest().await, b"not for you");
        theirs.end().await;
    }
}

/// What is long, compressed, late or quotes the token stays behind, and so does what is said of its kind.
#[tokio::test]
async fn a_reason_that_cannot_be_shown_stays_behind() {
    let service = Service::start().await;
    let text = plain(service.port)
        + "token = { source = \"static\", token = \"t0ken/1\" }\nhandshake = { query = \"t\" }\n";
    let sidecar = Sidecar::start(&text).await;
    let sized = |length: usize, body: &str| format!("Content-Length: {length}\r\n\r\n{body}");
    for (what, rest, kept) in [
        ("short", sized(5, "short"), "short"),
        ("the longest", sized(4096, &"x".repeat(4096)), &*"x".repeat(4096)),
        ("long", sized(4097, &"x".repeat(4097)), ""),
        ("the token", sized(14, "bad: t0ken/1 !"), ""),
        ("the token, encoded", sized(14, "bad: t0ken%2F1"), ""),
        ("compressed", format!("Content-Encoding: gzip\r\n{}", sized(5, "short")), ""),
        ("late", sized(100, "and then nothing"), ""),
    ] {
        let refusal = format!("HTTP/1.1 418 No\r\nContent-Type: text/plain\r\n{rest}");
        let asked = async { service.asked().await.answer(refusal).await };
        let ((answer, mut client), _theirs) = tokio::join!(ask(sidecar.port, handshake("/", "")), asked);
        assert_eq!(answer.status(), 418, "{what}");
        assert_eq!(answer.get("content-type").is_some(), !kept.is_empty(), "{what}");
        assert_eq!(answer.get("content-encoding"), None, "{what}");
        assert_eq!(String::from_utf8(client.rest().await).unwrap(), kept, "{what}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_said_to_be() {
    let (service, sidecar) = start().await;
    drop(service);
    let (answer, mut client) = ask(sidecar.port, handshake("/", "")).await;
    assert_eq!(answer.status(), 502);
    let said = String::from_utf8(client.rest().await).unwrap();
    assert_eq!(said, "the service cannot be reached; see the log\n");
}

/// The longest path wins, at the bounds of its segments; what no route has is 404, and goes nowhere.
#[tokio::test]
async fn the_longest_path_wins() {
    let [short, long] = [Service::start().await, Service::start().await];
    let route = |path: &str, port: u16, name: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"ws://127.0.0.1:{port}/base\"\ndialect = \"none\"\n"
        )
    };
    let sidecar =
        Sidecar::start(&(route("/a", short.port, "short") + &route("/a/b", long.port, "long"))).await;
    for (target, service, expected) in [
        ("/a", &short, "/base/a"),
        ("/a/", &short, "/base/a/"),
        ("/a/bc?x=1", &short, "/base/a/bc?x=1"),
        ("/a/b", &long, "/base/a/b"),
        ("/a/b/c", &long, "/base/a/b/c"),
    ] {
        let (asked, ..) = session_at(sidecar.port, service, target, "").await;
        assert_eq!(asked.target(), expected, "{target}");
    }
    for target in ["/", "/ab", "/A", "/x/a"] {
        let (answer, _) = ask(sidecar.port, handshake(target, "")).await;
        assert_eq!(answer.status(), 404, "{target}");
    }
    assert!(short.is_alone().await && long.is_alone().await);
}

/// A client that leaves before it was answered takes its half-made connection with it.
#[tokio::test]
async fn a_client_that_leaves_early_leaves_nothing_behind() {
    let (service, sidecar) = start().await;
    let mut client = Wire::dial(sidecar.port).await;
    client.send(handshake("/", "")).await;
    let mut asked: Asked = service.asked().await;
    drop(client);
    soon("the end of the upstream", asked.wire.end()).await;
}
