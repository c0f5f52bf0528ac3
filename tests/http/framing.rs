//! Requests that mean to be taken for two, or for another's: Perennial always writes itself what the service sees.
//!
//! Broken on purpose, and caught: absolute form is let in.

use super::{LAST, OWN, Stage, chunk, get, take};
use crate::support::ws::Wire;

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

fn post(more: &str) -> String {
    get("/", more).replace("GET", "POST")
}

/// What has no one meaning is refused, and nothing behind it is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_be_two_requests_is_none() {
    let stage = Stage::start("", "").await;
    for (case, request, status) in [
        ("two lengths", post("Content-Length: 0\r\nContent-Length: 44\r\n"), 400),
        ("a list of lengths", post("Content-Length: 0, 44\r\n"), 400),
        ("a signed length", post("Content-Length: +44\r\n"), 400),
        ("a length that is none", post("Content-Length: 0x2c\r\n"), 400),
        ("a length beyond all", post("Content-Length: 99999999999999999999\r\n"), 400),
        ("another coding", post("Transfer-Encoding: identity\r\n"), 400),
        ("a coding before chunks", post("Transfer-Encoding: gzip, chunked\r\n"), 501),
        ("another coding last", post("Transfer-Encoding: chunked, identity\r\n"), 400),
        ("chunked in two lines", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), 400),
        ("an odd spelling", post("Transfer-Encoding: xchunked\r\n"), 400),
        ("an odd space", post("Transfer-Encoding: \x0bchunked\r\n"), 400),
        ("chunks in HTTP/1.0", post("Transfer-Encoding: chunked\r\n").replace("/1.1", "/1.0"), 400),
        ("a space before the colon", post("Content-Length : 44\r\n"), 400),
        ("a folded line", post("X: 1\r\n Content-Length: 44\r\n"), 400),
        ("a lone CR", post("X: 1\rContent-Length: 44\r\n"), 400),
        ("a NUL", post("X: 1\0\r\n"), 400),
        ("two Hosts", get("/", "Host: evil.example\r\n"), 400),
        ("no Host", "GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("absolute form of another", get("http://metadata.example/latest", ""), 403),
        ("absolute form with a user", get("http://a:b@127.0.0.1/", ""), 400),
        ("another scheme", get("file:///etc/passwd", ""), 400),
        ("the server as a whole", get("*", "").replace("GET", "OPTIONS"), 400),
        ("a path that climbs", get("/%2e%2e/x", ""), 400),
    ] {
        let (answer, said) = stage.refused(request + SMUGGLED).await;
        assert_eq!(answer, status, "{case}: {said}");
        assert!(said.lines().count() <= 1, "{case}: a second answer: {said}");
    }
    stage.end().await;
}

/// Both a length and chunks: the chunks count, and the connection ends (RFC 9112 §6.1). That is hyper's
/// doing. The service sees chunks only, and whatever came behind them is never read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_with_a_length_are_chunks_and_the_last_request() {
    let stage = Stage::start("", "").await;
    for more in [
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let (mut client, mut asked) = stage.ask(format!("{}0\r\n\r\n{SMUGGLED}", post(more))).await;
        let framing = (asked.head.get("transfer-encoding"), asked.head.get("content-length"));
        assert_eq!(framing, (Some("chunked"), None), "{more}");
        assert!(chunk(&mut asked.wire).await.is_empty());
        asked.wire.send(LAST).await;
        let answer = client.head().await;
        assert_eq!((answer.status(), answer.get("connection")), (200, Some("close")));
        assert_eq!(client.rest().await, b"ok");
        assert!(asked.wire.buffer.is_empty() && stage.service.is_alone().await, "{more}");
    }
    stage.end().await;
}

/// A lone LF ends a line (RFC 9112 §2.2); what goes on has none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_odd_is_written_anew() {
    let stage = Stage::start("", "").await;
    for request in [
        get("/", "X-A: 1\r\n").replace("\r\n", "\n"),
        get("/", "X-A:\t1 \r\n"),
        format!("\r\n{}", get("/", "x-a: 1\r\n")),
        get("/#fragment", "X-A: 1\r\n"),
    ] {
        let (answer, _, asked) = stage.play(&request, LAST).await;
        assert_eq!(answer.status(), 200, "{request:?}");
        assert_eq!((asked.head.target(), asked.head.get("x-a")), ("/base/", Some("1")), "{request:?}");
        assert!(asked.wire.buffer.is_empty());
    }
    stage.end().await;
}

/// A chunk that is none, in the middle of a request: the service's connection breaks off, and the answer to
/// the client is its last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_are_none_end_both_connections() {
    let stage = Stage::start("", "").await;
    for bad in ["zz\r\n", "-1\r\n", "ffffffffffffffffff\r\n", "5\nhello\n0\n\n", "1\r\nxyz\r\n"] {
        let (mut client, mut asked) = stage.ask(post("Transfer-Encoding: chunked\r\n") + "2\r\nab\r\n").await;
        assert_eq!(chunk(&mut asked.wire).await, b"ab", "{bad:?}");
        client.send(format!("{bad}{SMUGGLED}")).await;
        assert_eq!(client.head().await.status(), 400, "{bad:?}");
        let said = client.rest().await;
        assert_eq!(said, b"the body of the request broke off\n", "{bad:?}");
        let more = asked.wire.rest().await;
        assert!(!String::from_utf8_lossy(&more).contains("smuggled"), "{bad:?}");
        assert!(!more.ends_with(b"0\r\n\r\n"), "{bad:?}: it does not end as if it were whole");
        assert!(stage.service.is_alone().await, "{bad:?}");
    }
    stage.end().await;
}

/// Requests in a row on one connection keep their order, and each has its own answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_a_row_have_their_answers_in_order() {
    let stage = Stage::start("", "").await;
    let mut client = Wire::dial(stage.sidecar.port).await;
    let own = format!("Authorization: {OWN}\r\n");
    client.send(get("/1", &own) + &get("/2", &own) + &get("/3", &own)).await;
    let mut asked = stage.service.asked().await;
    for nth in ["1", "2", "3"] {
        if nth != "1" {
            asked.head = asked.wire.head().await;
        }
        assert_eq!(asked.head.target(), format!("/base/{nth}"));
        assert_eq!(asked.head.get("authorization"), Some("Bearer token-1"));
        asked.wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{nth}")).await;
        assert_eq!(client.head().await.status(), 200);
        assert_eq!(take(&mut client, 1).await, nth.as_bytes());
    }
    assert!(stage.service.is_alone().await, "one connection served all three");
    stage.end().await;
}

/// What a service sends that could be taken for two answers goes on with one meaning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_services_framing_is_written_anew_too() {
    let stage = Stage::start("", "").await;
    let both = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
                2\r\nok\r\n0\r\n\r\n";
    let (answer, mut client, _) = stage.play(get("/", "Connection: close\r\n"), both).await;
    assert_eq!((answer.get("content-length"), answer.get("transfer-encoding")), (None, Some("chunked")));
    assert_eq!(client.rest().await, b"2\r\nok\r\n0\r\n\r\n");
    for broken in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ] {
        let (mut client, asked) = stage.ask(get("/", "").replace("GET", "POST")).await;
        let _theirs = asked.answer(broken).await;
        assert_eq!(client.head().await.status(), 502, "{broken}");
    }
    stage.end().await;
}
