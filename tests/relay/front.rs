//! What stands in front of Perennial and is set up wrongly: each client is told, and the log names the cause.
//!
//! Broken on purpose, and caught: what is left of a handshake is a plain request · a PROXY header is read of anyone who sends
//! it · it is not asked of those who have to send it.

use crate::{
    sidecar::Sidecar,
    support::{
        http::{ask, handshake},
        plain,
        service::Service,
        ws::Wire,
    },
};

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x12\x67\0\x50";

/// Each wrong set-up that people meet first: the answer says so, and so does one line of the log.
#[tokio::test]
async fn each_wrong_set_up_is_named() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    let port = sidecar.port;
    let host = format!("Host: 127.0.0.1:{port}\r\n");
    let (key, version) = ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "Sec-WebSocket-Version: 13\r\n");
    let proxied = [b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n", handshake("/", "").as_bytes()].concat();
    let proxied_2 = [V2, handshake("/", "").as_bytes()].concat();
    let cases: [(&str, Vec<u8>, u16, &str); 8] = [
        (
            "nginx without a word about WebSocket",
            format!("GET / HTTP/1.0\r\n{host}Connection: close\r\n{key}{version}\r\n").into(),
            426,
            "without its Upgrade header",
        ),
        (
            "the same over HTTP/1.1",
            format!("GET / HTTP/1.1\r\n{host}{key}{version}\r\n").into(),
            426,
            "without its Upgrade header",
        ),
        (
            "Upgrade, over HTTP/1.0",
            format!(
                "GET / HTTP/1.0\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\n{key}{version}\r\n"
            )
            .into(),
            426,
            "speaks HTTP/1.0",
        ),
        (
            "Upgrade without Connection",
            format!("GET / HTTP/1.1\r\n{host}Connection: close\r\nUpgrade: websocket\r\n{key}{version}\r\n")
                .into(),
            400,
            "Connection of its own",
        ),
        (
            "WebSocket over HTTP/2, in Envoy",
            format!("GET / HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\n{version}\r\n")
                .into(),
            400,
            "no Sec-WebSocket-Key",
        ),
        ("PROXY protocol, 1", proxied, 400, "a header of PROXY protocol"),
        ("PROXY protocol, 2", proxied_2, 400, "a header of PROXY protocol"),
        ("HAProxy's health check", "OPTIONS / HTTP/1.0\r\n\r\n".into(), 404, "looks like a health check"),
    ];
    for (what, request, status, said) in &cases {
        let (answer, mut client) = ask(port, request).await;
        assert_eq!(answer.status(), *status, "{what}");
        let text = String::from_utf8(client.rest().await).unwrap();
        assert!(text.contains(said), "{what}: {text}");
        if *status == 426 {
            assert_eq!(answer.get("upgrade"), Some("websocket"), "{what}");
            assert!(answer.get("connection").is_some_and(|value| value.contains("Upgrade")), "{what}");
        }
    }
    assert!(service.is_alone().await);
    let counted = sidecar.metric("perennial_handshakes_total{outcome=\"bad_request\",route=\"plain\"}").await;
    assert_eq!(counted, 5.0, "what was a handshake once is counted as one");
    let log = sidecar.stop().await;
    let warnings = log.lines().filter(|line| line.contains("what stands in front is set up wrongly"));
    let warnings: Vec<&str> = warnings.collect();
    assert_eq!(warnings.len(), cases.len(), "{log}");
    for (what, _, _, said) in &cases {
        let line =
            warnings.iter().find(|line| line.contains(said)).unwrap_or_else(|| panic!("{what}: {log}"));
        assert!(
            line.contains(said) && line.contains("\"WARN\"") && line.contains("127.0.0.1:"),
            "{what}: {line}"
        );
    }
}

/// PROXY protocol is taken of those of whom it is asked, and of nobody else.
#[tokio::test]
async fn proxy_protocol_names_the_client() {
    let service = Service::start().await;
    let listen = "[listen]\nproxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let route = plain(service.port) + "forwarded = \"x-forwarded\"\n";
    let sidecar = Sidecar::start(&format!("{listen}{route}")).await;
    for (header, expected) in [
        (&b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n"[..], "192.0.2.7"),
        (V2, "192.0.2.7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    ] {
        let mut client = Wire::dial(sidecar.port).await;
        client.send(header).await;
        // It is not the client's own word: that one is not trusted.
        client.send(handshake("/", "X-Forwarded-For: 10.9.9.9\r\n")).await;
        let asked = service.asked().await;
        let told = asked.head.get("x-forwarded-for").unwrap().to_owned();
        assert!(told.ends_with(expected), "{told}");
        assert_eq!(told.contains("10.9.9.9"), expected == "127.0.0.1", "{told}");
        let _theirs = asked.accept("").await;
        assert_eq!(client.head().await.status(), 101);
    }
    // A peer that is to send it, and does not, is not served.
    let mut client = Wire::dial(sidecar.port).await;
    client.send(handshake("/", "")).await;
    assert_eq!(client.rest().await, b"");
    assert!(service.is_alone().await);
    let log = sidecar.stop().await;
    assert!(log.contains("\"client\":\"192.0.2.7:4711\""), "{log}");
    assert!(log.contains("no header of PROXY protocol"), "{log}");
}
