//! H10 to H12 and H48: a service that is none.

use crate::{
    hostile::Stage,
    support::{
        http::{ask, handshake},
        plain,
        service::Asked,
    },
};

/// What the service answers, as it would stand on the wire.
type Answer = fn(&Asked) -> Vec<u8>;

fn change(asked: &Asked, from: &str, to: &str) -> Vec<u8> {
    asked.switching("").replace(from, to).into()
}

/// The corpus wants 502 for whatever is not 101. Here a service's own refusal is the client's to see, status
/// and headers (H10 `upstream-200-upgrade`, H12): only its body stays behind.
const CASES: [(&str, Answer, u16); 18] = [
    ("H10 upstream-200-upgrade", |asked| change(asked, "101 Switching Protocols", "200 OK"), 200),
    ("H11 101-reused", |asked| change(asked, &asked.accept_key(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), 502),
    ("H11 101-without-upgrade", |asked| change(asked, "Upgrade: websocket\r\n", ""), 502),
    ("H11 101-to-h2c", |asked| change(asked, "Upgrade: websocket", "Upgrade: h2c"), 502),
    ("H11 101-without-connection", |asked| change(asked, "Connection: Upgrade\r\n", ""), 502),
    ("H11 accept-missing", |asked| change(asked, "Sec-WebSocket-Accept", "X-Accept"), 502),
    (
        "H11 accept-lowercase",
        |asked| change(asked, &asked.accept_key(), &asked.accept_key().to_lowercase()),
        502,
    ),
    ("H11 unoffered-subprotocol", |asked| asked.switching("Sec-WebSocket-Protocol: c\r\n").into(), 502),
    ("H11 two-subprotocols", |asked| asked.switching("Sec-WebSocket-Protocol: a, b\r\n").into(), 502),
    (
        "H11 unoffered-extension",
        |asked| asked.switching("Sec-WebSocket-Extensions: permessage-deflate\r\n").into(),
        502,
    ),
    (
        "H48 server_max_window_bits=99",
        |asked| {
            asked
                .switching("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99\r\n")
                .into()
        },
        502,
    ),
    (
        "H12 upstream-302",
        |_| {
            b"HTTP/1.1 302 Found\r\nLocation: ws://169.254.169.254/\r\nContent-Length: 6\r\n\r\nSECRET".into()
        },
        302,
    ),
    (
        "H12 upstream-401-with-body-secret",
        |_| b"HTTP/1.1 401 No\r\nContent-Length: 6\r\n\r\nSECRET".into(),
        401,
    ),
    ("H12 endless-body", |_| [b"HTTP/1.1 503 No\r\n\r\n".to_vec(), vec![b'S'; 1 << 20]].concat(), 503),
    ("H14 101-headers", |asked| asked.switching(&"X-A: 1\r\n".repeat(101)).into(), 502),
    ("H14 head-too-long", |asked| asked.switching(&format!("X-A: {}\r\n", "a".repeat(20_000))).into(), 502),
    ("no HTTP at all", |_| b"SSH-2.0-OpenSSH_9.9\r\n\r\n".into(), 502),
    ("an end instead of an answer", |_| Vec::new(), 502),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_none_is_not_relayed_with() {
    let mut stage = Stage::start("", plain).await;
    for (case, answer, status) in CASES {
        let request = handshake("/", "Sec-WebSocket-Protocol: a, b\r\n");
        let ((head, mut client), ()) = tokio::join!(ask(stage.port(), request), async {
            let asked = stage.service.asked().await;
            let bytes = answer(&asked);
            let ended = bytes.is_empty();
            let mut theirs = asked.answer(bytes).await;
            if !ended {
                // It is hung up on, whatever it said.
                theirs.rest().await;
            }
        });
        assert_eq!(head.status(), status, "{case}: {head:?}");
        let body = client.rest().await;
        assert!(body.len() < 200, "{case}: it did not end");
        stage.honest.relays().await;
    }
    stage.end().await;
}
