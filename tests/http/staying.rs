//! A client's connection over several requests, and how it ends.
//!
//! Broken on purpose, and caught: a connection is cut after a fixed time · the next head has no deadline ·
//! nobody looks when it begins · a drain cuts what is under way · it does not end what idles · it has no end.

use std::time::Duration;

use perennial::clock;

use super::{OK, Stage, get, take};
use crate::support::{
    http::handshake,
    service::Asked,
    soon,
    ws::{CLOSE, TEXT, Wire, bare, close, masked},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_opens_on_a_connection_that_served_a_request() {
    let stage = Stage::start("", "").await;
    let (answer, mut client, asked) = stage.play(get("/", ""), OK).await;
    assert_eq!((answer.status(), take(&mut client, 2).await), (200, b"ok".to_vec()));
    assert_eq!(answer.get("connection"), None, "it stays");
    client.send(handshake("/ws", "")).await;
    let opened = stage.service.asked().await;
    assert_eq!(opened.head.target(), "/ws?token=token-1");
    let mut theirs = opened.accept("").await;
    assert_eq!(client.head().await.status(), 101);
    client.send(masked(TEXT, b"up")).await;
    assert_eq!(theirs.message().await.text(), "up");
    theirs.send(bare(CLOSE, &close(4001, "bye"))).await;
    assert_eq!(client.ending().await, Some((4001, "bye".into())));
    drop(asked);
    stage.end().await;
}

/// `limits.handshake` is for heads and handshakes: a body may take longer, and so may a pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_and_a_pause_may_be_longer_than_a_handshake() {
    let stage = Stage::start("handshake = \"500ms\"", "").await;
    let (answer, mut client, mut asked) =
        stage.play(get("/", ""), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n").await;
    assert_eq!(answer.status(), 200);
    // What cut every connection was twice this limit and a second.
    for piece in ["a", "b", "c"] {
        tokio::time::sleep(Duration::from_millis(700)).await;
        asked.wire.send(piece).await;
        assert_eq!(take(&mut client, 1).await, piece.as_bytes());
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    client.send(get("/again", "")).await;
    assert_eq!(asked.wire.head().await.target(), "/base/again");
    asked.wire.send(OK).await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(take(&mut client, 2).await, b"ok");
    // But the next head, once begun, has to come.
    let began = clock::now();
    client.send("GET / HT").await;
    client.end().await;
    assert!((450..10_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_lets_a_body_under_way_finish() {
    let stage = Stage::start("drain = \"15s\"", "").await;
    let (_, mut client, mut asked) =
        stage.play(get("/", ""), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").await;
    assert_eq!(take(&mut client, 5).await, b"first");
    let (mut waits, unanswered) = stage.ask(get("/slow", "")).await;
    let mut idle = Wire::dial(stage.sidecar.port).await;
    idle.send(get("/idle", "")).await;
    stage.service.asked().await.wire.send(OK).await;
    assert_eq!(idle.head().await.status(), 200);
    assert_eq!(take(&mut idle, 2).await, b"ok");
    let mut silent = Wire::dial(stage.sidecar.port).await;
    silent.send("GET / HT").await;
    let began = clock::now();
    stage.sidecar.signal("TERM");
    // Who waits for nothing is let go at once.
    idle.end().await;
    silent.end().await;
    let Asked { wire: mut theirs, .. } = unanswered;
    theirs.send(OK).await;
    let answer = waits.head().await;
    assert_eq!((answer.status(), answer.get("connection")), (200, Some("close")));
    assert_eq!(waits.rest().await, b"ok");
    asked.wire.send("after").await;
    assert_eq!(client.rest().await, b"after", "whole, and then the end");
    let (status, log) = soon("its end", stage.sidecar.ended()).await;
    assert_eq!(status, Some(0), "{log}");
    assert!(began.elapsed() < Duration::from_secs(12), "nobody is waited for any more");
}

/// A body that does not end within the drain's window is cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends() {
    let stage = Stage::start("drain = \"500ms\"", "").await;
    let (_, mut client, mut asked) =
        stage.play(get("/", ""), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").await;
    let began = clock::now();
    stage.sidecar.signal("TERM");
    assert_eq!(client.rest().await, b"first");
    asked.wire.end().await;
    let (status, log) = soon("its end", stage.sidecar.ended()).await;
    assert_eq!(status, Some(0), "{log}");
    assert!((450..10_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}
