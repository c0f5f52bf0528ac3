//! Bodies: streamed both ways, and never collected.
//!
//! Broken on purpose, and caught: what breaks off ends cleanly · the length of an empty request is dropped ·
//! the chunks of a GET are left to hyper · an expectation goes on.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{LAST, OK, Stage, chunk, get, take};
use crate::support::{beside, resident, soon, ws::Wire};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn post(more: &str) -> String {
    get("/up", more).replace("GET", "POST")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_streams_while_the_service_still_holds_the_rest() {
    let stage = Stage::start("", "").await;
    let events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (answer, mut client, mut asked) = stage.play(get("/", "Accept: text/event-stream\r\n"), events).await;
    assert_eq!(answer.get("content-type"), Some("text/event-stream"));
    for event in ["data: 1\n\n", "data: 22\n\n", "data: 333\n\n"] {
        asked.wire.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
        assert_eq!(chunk(&mut client).await, event.as_bytes());
    }
    asked.wire.send("0\r\n\r\n").await;
    assert!(chunk(&mut client).await.is_empty(), "it ends when the service's ends");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_streams_while_the_client_still_holds_the_rest() {
    let stage = Stage::start("", "").await;
    let (mut client, mut asked) = stage.ask(post("Content-Length: 10\r\n") + "first").await;
    assert_eq!((asked.head.get("content-length"), asked.head.get("transfer-encoding")), (Some("10"), None));
    assert_eq!(take(&mut asked.wire, 5).await, b"first");
    // The answer may begin before the request has ended, and both go on side by side.
    asked.wire.send(format!("{CHUNKED}5\r\nearly\r\n")).await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(chunk(&mut client).await, b"early");
    client.send("later").await;
    assert_eq!(take(&mut asked.wire, 5).await, b"later");
    asked.wire.send("4\r\nlate\r\n0\r\n\r\n").await;
    assert_eq!(chunk(&mut client).await, b"late");
    assert!(chunk(&mut client).await.is_empty());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_stay_chunks_and_trailers_stay_behind() {
    let stage = Stage::start("", "").await;
    let body = "5\r\nfirst\r\n6\r\nsecond\r\n0\r\nX-Trailer: 1\r\n\r\n";
    for method in ["POST", "GET", "DELETE"] {
        let request =
            post("Connection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Trailer\r\nTE: trailers\r\n");
        let (mut client, mut asked) = stage.ask(request.replace("POST", method) + body).await;
        let framing = (asked.head.get("transfer-encoding"), asked.head.get("content-length"));
        assert_eq!(framing, (Some("chunked"), None), "{method}");
        let mut all = Vec::new();
        loop {
            match chunk(&mut asked.wire).await {
                piece if piece.is_empty() => break,
                piece => all.extend(piece),
            }
        }
        assert_eq!(all, b"firstsecond", "{method}");
        asked
            .wire
            .send(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n",
            )
            .await;
        asked.wire.send("2\r\nok\r\n0\r\nX-T: 1\r\n\r\n").await;
        assert_eq!(client.head().await.get("trailer"), None);
        assert_eq!(client.rest().await, b"2\r\nok\r\n0\r\n\r\n", "{method}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_a_body_has_none_and_keeps_its_length() {
    let stage = Stage::start("", "").await;
    for (method, head, length) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5000\r\n\r\n", Some("5000")),
        ("GET", "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", None),
        ("GET", "HTTP/1.1 304 Not Modified\r\nConnection: close\r\nETag: \"e\"\r\n\r\n", None),
        ("GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", Some("0")),
    ] {
        let request = get("/", "Connection: close\r\n").replace("GET", method);
        let (answer, mut client, _) = stage.play(request, head).await;
        assert_eq!(answer.first, head.lines().next().unwrap());
        assert_eq!(answer.get("content-length"), length, "{head}");
        assert_eq!(answer.get("transfer-encoding"), None, "{head}");
        assert_eq!(client.rest().await, b"", "{head}");
    }
    // An empty request is as the client framed it.
    let (_, _, asked) = stage.play(post("Content-Length: 0\r\n"), LAST).await;
    assert_eq!(asked.head.get("content-length"), Some("0"));
    let (_, _, asked) = stage.play(post(""), OK).await;
    assert_eq!((asked.head.get("content-length"), asked.head.get("transfer-encoding")), (None, None));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expectation_is_met_when_the_service_is_there() {
    let stage = Stage::start("", "").await;
    let (mut client, mut asked) = stage.ask(post("Content-Length: 4\r\nExpect: 100-continue\r\n")).await;
    assert_eq!(asked.head.get("expect"), None, "it was met here");
    assert_eq!(client.head().await.first, "HTTP/1.1 100 Continue");
    client.send("body").await;
    assert_eq!(take(&mut asked.wire, 4).await, b"body");
    asked.wire.send(format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{OK}")).await;
    assert_eq!(client.head().await.first, "HTTP/1.1 200 OK");
    assert_eq!(take(&mut client, 2).await, b"ok");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_is_not_told_to_continue() {
    let stage = Stage::start("", "").await;
    let request = post("Origin: https://evil.example\r\nContent-Length: 4\r\nExpect: 100-continue\r\n");
    let (status, _) = stage.refused(request).await;
    assert_eq!(status, 403);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_takes_its_request_with_it() {
    let stage = Stage::start("", "").await;
    // Before the answer, in the middle of the answer, and in the middle of the request.
    let (client, mut asked) = stage.ask(get("/", "")).await;
    drop(client);
    asked.wire.end().await;
    let (answer, client, mut asked) = stage.play(get("/", ""), &format!("{CHUNKED}5\r\nfirst\r\n")).await;
    assert_eq!(answer.status(), 200);
    drop(client);
    // Anyone who still writes notices.
    soon("the end of the service's connection", async {
        while asked.wire.io.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (client, mut asked) = stage.ask(post("Content-Length: 10\r\n") + "first").await;
    assert_eq!(take(&mut asked.wire, 5).await, b"first");
    drop(client);
    asked.wire.end().await;
    stage.end().await;
}

/// What a service does not finish is not finished for the client either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_goes_away_breaks_the_answer() {
    let stage = Stage::start("", "").await;
    for (head, first) in [
        (CHUNKED.to_owned(), "5\r\nfirst\r\n"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n".to_owned(), "first"),
    ] {
        let (answer, mut client, asked) = stage.play(get("/", ""), &(head + first)).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(take(&mut client, first.len()).await, first.as_bytes());
        drop(asked);
        assert_eq!(client.rest().await, b"", "no last chunk, and no more bytes: it broke off");
    }
    stage.end().await;
}

/// Two hundred mebibytes for a client that does not read: the service waits, the sidecar does not grow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_costs_no_memory() {
    const SIZE: usize = 200 << 20;
    let stage = Stage::start("", "").await;
    let mut client = Wire::dial_narrow(stage.sidecar.port).await;
    client.send(get("/", "")).await;
    let mut asked = stage.service.asked().await;
    let before = resident(stage.sidecar.id());
    asked.wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n")).await;
    let (stalled, mut waits) = tokio::sync::watch::channel(false);
    let said = beside(async move {
        let piece = vec![7; 1 << 20];
        let mut sent = 0;
        while sent < SIZE {
            match tokio::time::timeout(Duration::from_millis(300), asked.wire.io.write(&piece)).await {
                Ok(n) => sent += n.unwrap(),
                Err(_) => drop(stalled.send(true)),
            }
        }
        asked
    });
    soon("the service to wait", waits.wait_for(|stalled| *stalled)).await.unwrap();
    let grown = resident(stage.sidecar.id()).saturating_sub(before);
    assert!(grown < 4 << 20, "it grew by {grown} bytes");
    assert_eq!(client.head().await.status(), 200);
    let mut heard = client.buffer.len();
    let mut buffer = vec![0; 1 << 20];
    soon("every byte", async {
        while heard < SIZE {
            let n = client.io.read(&mut buffer).await.unwrap();
            assert!(n > 0 && buffer[..n].iter().all(|byte| *byte == 7), "it ended early, or is another");
            heard += n;
        }
    })
    .await;
    assert_eq!(heard, SIZE);
    let grown = resident(stage.sidecar.id()).saturating_sub(before);
    assert!(grown < 4 << 20, "it grew by {grown} bytes");
    drop(said.await.unwrap());
    stage.end().await;
}

/// The other way round: a service that does not read makes the client wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_does_not_read_costs_no_memory() {
    const SIZE: usize = 200 << 20;
    let stage = Stage::start("", "").await;
    let (mut client, mut asked) = stage.ask(post(&format!("Content-Length: {SIZE}\r\n"))).await;
    let before = resident(stage.sidecar.id());
    let piece = vec![7; 1 << 20];
    let mut sent = 0;
    while let Ok(n) = tokio::time::timeout(Duration::from_millis(300), client.io.write(&piece)).await {
        sent += n.unwrap();
        assert!(sent < SIZE / 2, "somebody keeps it");
    }
    let grown = resident(stage.sidecar.id()).saturating_sub(before);
    assert!(grown < 4 << 20, "it grew by {grown} bytes after {sent} were sent");
    let rest = SIZE - sent;
    let (heard, ()) = tokio::join!(
        async {
            let (mut heard, mut buffer) = (asked.wire.buffer.len(), vec![0; 1 << 20]);
            while heard < SIZE {
                heard += soon("more", asked.wire.io.read(&mut buffer)).await.unwrap();
            }
            heard
        },
        async {
            for _ in 0..rest >> 20 {
                client.io.write_all(&piece).await.unwrap();
            }
            client.io.write_all(&piece[..rest & 0xf_ffff]).await.unwrap();
        }
    );
    assert_eq!(heard, SIZE);
    asked.wire.send(OK).await;
    assert_eq!(client.head().await.status(), 200);
    stage.end().await;
}
