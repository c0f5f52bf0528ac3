//! H01 to H19, H51, H54 to H61 and H65: requests.

use crate::{
    hostile::Stage,
    support::{
        http::{Head, ask, handshake},
        plain,
        ws::{TEXT, Wire, masked, session_at},
    },
};

fn get(lines: &[&str]) -> String {
    format!("GET / HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"))
}

const USUAL: [&str; 5] = [
    "Host: 127.0.0.1",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/// The usual handshake with one line in another's place; an empty one takes it out.
fn with(name: &str, line: &str) -> String {
    let lines: Vec<&str> =
        USUAL.iter().map(|usual| if usual.starts_with(name) { line } else { usual }).collect();
    get(&lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>())
}

fn cases() -> Vec<(&'static str, String, u16)> {
    let and = |line: &str| handshake("/", &format!("{line}\r\n"));
    let first = |line: &str| handshake("/", "").replace("GET / HTTP/1.1", line);
    let many: String = (0..96).map(|n| format!("X-{n}: 1\r\n")).collect();
    vec![
        ("H02 upgrade-with-cl", and("Content-Length: 5") + "hello", 400),
        ("H03 upgrade-with-te-chunked", and("Transfer-Encoding: chunked") + "0\r\n\r\n", 400),
        ("H03 te-twice", and("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), 400),
        ("H03 te-obs", and("Transfer-Encoding: \x0bchunked"), 400),
        ("H03 HTTP/1.0", first("GET / HTTP/1.0"), 426),
        ("H04 upgrade-h2c", with("Upgrade", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), 426),
        ("H05 connect-method", first("CONNECT example.com:443 HTTP/1.1"), 405),
        ("H06 version-12", with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 12"), 426),
        ("H06 version-13,8", with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 13, 8"), 426),
        ("H06 version-missing", with("Sec-WebSocket-Version", ""), 426),
        ("H07 obs-fold", and("X-A: 1\r\n folded"), 400),
        ("H07 nul-in-value", and("X-A: 1\0"), 400),
        ("H07 cr-in-value", and("X-A: 1\rX-B: 2"), 400),
        ("H07 space-before-colon", and("X-A : 1"), 400),
        ("H07 empty-name", and(": 1"), 400),
        ("H14 head-16k+1", and(&format!("X-A: {}", "a".repeat(16 * 1024))), 431),
        ("H14 101-headers", handshake("/", &many), 431),
        ("H15 key-missing", with("Sec-WebSocket-Key", ""), 400),
        ("H15 key-15-bytes", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1"), 400),
        ("H15 key-twice", and(USUAL[4]), 400),
        ("H15 key-not-base64", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!=="), 400),
        ("H16 protocol-10k-tokens", and(&format!("Sec-WebSocket-Protocol: {}", "a,".repeat(10_000))), 431),
        ("H17 method-post", first("POST / HTTP/1.1"), 405),
        ("H17 method-get-lowercase", first("get / HTTP/1.1"), 405),
        ("H51 absolute-form-with-user", first("GET ws://a:b@169.254.169.254/ HTTP/1.1"), 400),
        ("H54 host-twice", and("Host: evil.example"), 400),
        ("H54 host-missing", with("Host", ""), 400),
        ("H18 not-a-request", "SSH-2.0-OpenSSH_9.9\r\n\r\n".into(), 400),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_handshake_is_refused_and_goes_nowhere() {
    let mut stage = Stage::start("handshake = \"2s\"", plain).await;
    for (case, request, status) in cases() {
        let (answer, mut wire) = ask(stage.port(), request).await;
        assert_eq!(answer.status(), status, "{case}: {answer:?}");
        if status == 426 {
            assert_eq!(answer.get("sec-websocket-version"), Some("13"), "{case}");
        }
        // It is hung up on: nothing behind it is read as another request.
        wire.rest().await;
        assert!(stage.service.is_alone().await, "{case}: the service was asked");
        stage.honest.relays().await;
    }
    stage.end().await;
}

/// H18: what begins as another protocol is cut off, with or without an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_protocol_is_cut_off() {
    let stage = Stage::start("", plain).await;
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 64]].concat();
    for (case, bytes) in [
        ("tls-on-plain-port", hello),
        ("http2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("garbage", vec![0xff; 64]),
    ] {
        let mut wire = Wire::dial(stage.port()).await;
        wire.send(&bytes).await;
        let began = perennial::clock::now();
        let answer = wire.rest().await;
        assert!(began.elapsed().as_secs() < 8, "{case}: it had the time of a handshake");
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{case}");
    }
    assert!(stage.service.is_alone().await);
    stage.end().await;
}

/// H13: a second request behind a refused one is not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_behind_a_refusal_is_not_read() {
    let stage =
        Stage::start("", |port| plain(port) + "[route.client]\norigins = [\"https://good.example\"]\n").await;
    let refused = handshake("/", "Origin: https://evil.example\r\n");
    let (answer, mut wire) = ask(stage.port(), refused + &handshake("/", "")).await;
    assert_eq!((answer.status(), answer.get("connection")), (403, Some("close")));
    let why = "this origin is not allowed; to allow it, add \"https://evil.example\" to client.origins of the route\n";
    assert_eq!(String::from_utf8_lossy(&wire.rest().await), why);
    assert!(stage.service.is_alone().await);
    stage.end().await;
}

/// H55 to H59: pages from elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_from_elsewhere_is_not_let_in() {
    let stage = Stage::start("", |port| {
        let named = plain(port).replace("plain", "named") + "path = \"/named\"\n";
        plain(port) + &named + "[route.client]\norigins = [\"https://good.example\"]\n"
    })
    .await;
    let own = format!("http://127.0.0.1:{}", stage.port());
    for (case, target, host, origin) in [
        ("H55 origin-evil", "/", "127.0.0.1", "https://evil.example"),
        ("H56 origin-null", "/", "127.0.0.1", "null"),
        ("H57 origin-suffix", "/named", "127.0.0.1", "https://good.example.evil"),
        ("H57 origin-prefix", "/named", "127.0.0.1", "https://evil-good.example"),
        ("H58 origin-scheme-http-vs-https", "/named", "127.0.0.1", "http://good.example"),
        ("H58 origin-port", "/named", "127.0.0.1", "https://good.example:444"),
        ("H59 dns-rebinding-host", "/", "evil.example:7370", "http://evil.example:7370"),
        ("own, but others are named", "/named", &own[7..], &own),
        ("two", "/named", "127.0.0.1", "https://good.example\r\nOrigin: https://evil.example"),
    ] {
        let request = handshake(target, &format!("Origin: {origin}\r\n"))
            .replace("Host: 127.0.0.1", &format!("Host: {host}"));
        let (answer, _) = ask(stage.port(), request).await;
        assert_eq!(answer.status(), 403, "{case}");
    }
    session_at(stage.port(), &stage.service, "/named", "Origin: https://good.example\r\n").await;
    assert!(stage.service.is_alone().await);
    stage.end().await;
}

/// Well-formed, or near enough, and harmless: these are let in, and what reaches the service is Perennial's
/// own request.
///
/// - H01: words before the 101 are held, and told after it; the service sees none before.
/// - H07 header-lf-only: RFC 9112 2.2 lets a recipient take a lone LF for a line's end. What goes on is
///   written by Perennial itself, so that nobody behind can see it otherwise.
/// - H16 extensions-nested-quotes: extensions are neither read nor forwarded, so that nothing is to refuse.
/// - H54: `Host` and `X-Forwarded-Host` choose nothing; the service is the configured one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_odd_is_written_anew() {
    let mut stage = Stage::start("", plain).await;
    let quotes = format!("Sec-WebSocket-Extensions: {}\r\n", "a;b=\"\\\"\\\"\";".repeat(500));
    let early = masked(TEXT, b"before the 101");
    for (case, request) in [
        ("H01 early-frames", [handshake("/", "").as_bytes(), &early].concat()),
        ("H07 header-lf-only", handshake("/", "").replace("\r\n", "\n").into()),
        ("H16 extensions-nested-quotes", handshake("/", &quotes).into()),
        ("H19 upgrade-list", with("Upgrade", "Upgrade: h2c, websocket").into()),
        ("H19 upgrade-twice", handshake("/", "Upgrade: h2c\r\n").into()),
        // It leads nowhere else.
        ("H51 absolute-form", handshake("ws://169.254.169.254/", "").into()),
        ("H54 host-evil", handshake("/", "").replace("127.0.0.1", "evil.example").into()),
        ("H54 host-with-userinfo", handshake("/", "").replace("127.0.0.1", "evil.example@127.0.0.1").into()),
        ("H54 x-forwarded-host", handshake("/", "X-Forwarded-Host: evil.example\r\n").into()),
    ] {
        let ((answer, _client), mut theirs) = tokio::join!(ask(stage.port(), request), async {
            let asked = stage.service.asked().await;
            assert_eq!(asked.head.first, "GET / HTTP/1.1", "{case}");
            assert_eq!(asked.head.get("host"), Some(&*format!("127.0.0.1:{}", stage.service.port)), "{case}");
            let offered = asked.head.get("sec-websocket-extensions").is_some();
            assert_eq!(offered, case.starts_with("H16"), "{case}: what nobody reads is between the ends");
            assert!(asked.wire.buffer.is_empty(), "{case}: something before the 101");
            asked.accept("").await
        });
        assert_eq!(answer.status(), 101, "{case}");
        if case.starts_with("H01") {
            assert_eq!(theirs.message().await.raw, early);
        }
        stage.honest.relays().await;
    }
    stage.end().await;
}

/// A route whose token goes into a header.
fn keyed(port: u16) -> String {
    plain(port)
        + "[route.token]\nsource = \"static\"\ntoken = \"the-token\"\n\
           [route.handshake]\nheader = \"X-Api-Key: {token}\"\nquery = \"key\"\ncookie = \"key\"\n"
}

/// H08, H09 and H61: nothing that a client says takes the token's place, or stands beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_stands_alone_in_its_places() {
    let stage = Stage::start("", keyed).await;
    for (case, target, more) in [
        ("H08 connection-nominates", "/", "Connection: X-Api-Key, Host, Cookie, X-Other\r\nX-Other: 1\r\n"),
        ("H09 duplicate", "/", "X-Api-Key: evil\r\nx-api-key: evil\r\n"),
        ("H09 underscore-twin", "/", "X_Api_Key: evil\r\nx-api_key: evil\r\n"),
        ("H61 token-in-query", "/?key=evil&k%65y=evil&other=1", ""),
        ("H61 cookie", "/", "Cookie: key=evil; other=1\r\nCookie: key=evil\r\n"),
    ] {
        let (asked, ..) = session_at(stage.port(), &stage.service, target, more).await;
        assert_eq!(asked.get("x-api-key"), Some("the-token"), "{case}");
        let text = format!("{asked:?}");
        assert!(!text.contains("evil") && !text.to_lowercase().contains("x-other"), "{case}: {text}");
        assert!(asked.target().ends_with("key=the-token"), "{case}: {text}");
        assert!(asked.get("cookie").unwrap().ends_with("key=the-token"), "{case}: {text}");
    }
    stage.end().await;
}

/// H60: a path is taken for what the service will take it for: no spelling leads around a route's gate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_of_a_path_leads_around_its_gate() {
    let stage = Stage::start("", |port| {
        let gated = plain(port).replace("plain", "gated") + "path = \"/gated\"\n";
        plain(port) + &gated + "[route.client]\nsecret = \"open sesame\"\n"
    })
    .await;
    for target in [
        "/gated",
        "//gated",
        "/%67ated",
        "/gated/",
        "/gated/x",
        "/gated?skip=",
        "/gated%2fx",
        "/gated#x",
        "/./gated",
        "/x/../gated",
        "/x/%2e%2e/gated",
        "/x%2f..%2fgated",
        "/x/..;/gated",
        "/x/.%2E/gated",
        "/x\\..\\gated",
        "/gated;x",
        "/%2567ated/../gated",
    ] {
        let (answer, _) = ask(stage.port(), handshake(target, "")).await;
        assert!([400, 401].contains(&answer.status()), "{target}: {answer:?}");
    }
    assert!(stage.service.is_alone().await);
    for target in ["/other", "/gatedx", "/a//b/...", "/a%2Fb?x=/../gated", "/%", "/%C3%A9"] {
        let (asked, ..) = session_at(stage.port(), &stage.service, target, "").await;
        assert_eq!(asked.target(), target, "the service sees it as it was written");
    }
    stage.end().await;
}

/// H65: what a peer says is in the log, if at all, on one line, short, and without what moves a terminal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_writes_no_line_of_the_log() {
    let stage = Stage::start("", plain).await;
    let long = format!("/{}", "long".repeat(2_500));
    for target in ["/%0aERROR%1b[2J", "/\u{202e}bidi\u{2066}", &long] {
        session_at(stage.port(), &stage.service, target, "User-Agent: \u{9b}2J\u{202e}\r\n").await;
    }
    let refusal = "HTTP/1.1 500 \u{1b}[2J\u{202e}\nERROR forged\r\n\r\n";
    let _: (_, (Head, Wire)) = tokio::join!(
        async { stage.service.asked().await.answer(refusal).await },
        ask(stage.port(), handshake("/", ""))
    );
    let log = stage.end().await;
    for line in log.lines() {
        assert!(line.starts_with('{') && line.len() < 1024, "{line}");
        assert!(
            !line.contains(|c: char| c.is_control() || ('\u{202a}'..='\u{2069}').contains(&c)),
            "{line:?}"
        );
    }
}
