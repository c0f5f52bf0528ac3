//! What is said where there is no answer, and what is asked again.
//!
//! Broken on purpose, and caught: a 401 is not tried again · it is tried for ever · a request with a body is
//! tried again · the head has no deadline · an upload's time runs from its beginning · nobody looks when an
//! upload has ended · a permit is given back with the head · a POST is repeated · nothing is repeated ·
//! what is repeated may take an idle connection.

use std::time::Duration;

use super::{LAST, OK, Stage, get, route, take};
use crate::sidecar::Sidecar;
use crate::support::{beside, http::ask, service::Service, until, ws::Wire};

const REFUSED: &str = "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nWWW-Authenticate: Bearer\r\nContent-Length: 3\r\n\r\nno!";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_token_is_replaced_once() {
    let stage = Stage::start("", "").await;
    let (mut client, asked) = stage.ask(get("/", "")).await;
    assert_eq!(asked.head.get("authorization"), Some("Bearer token-1"));
    let _first = asked.answer(REFUSED).await;
    let mut again = stage.service.asked().await;
    assert_eq!((again.head.get("authorization"), again.head.target()), (Some("Bearer token-2"), "/base/"));
    again.wire.send(LAST).await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(take(&mut client, 2).await, b"ok");
    // Refused twice is refused: the service's own answer reaches the client, with its body.
    let (mut client, asked) = stage.ask(get("/", "Connection: close\r\n")).await;
    let _first = asked.answer(REFUSED).await;
    let again = stage.service.asked().await;
    assert_eq!(again.head.get("authorization"), Some("Bearer token-3"));
    let _second = again.answer(REFUSED).await;
    let answer = client.head().await;
    assert_eq!((answer.status(), answer.get("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(client.rest().await, b"no!");
    assert!(stage.service.is_alone().await);
    stage.end().await;
}

/// A request with a body is not kept to be sent again; the next one has the newer token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_a_body_is_not_repeated() {
    let stage = Stage::start("", "").await;
    let post = get("/", "Content-Length: 4\r\n").replace("GET", "POST") + "body";
    let (answer, _, asked) = stage.play(&post, REFUSED).await;
    assert_eq!((answer.status(), asked.head.get("authorization")), (401, Some("Bearer token-1")));
    let newer = until(
        "the next token",
        async || stage.play(&post, LAST).await.2.head.get("authorization").unwrap().to_owned(),
        |token| token != "Bearer token-1",
    )
    .await;
    assert_eq!(newer, "Bearer token-2");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_said() {
    let stage = Stage::start("", "").await;
    // It hangs up unasked, or does not speak HTTP; where that is harmless it is asked once more.
    for (answer, times) in [("", 2), ("SSH-2.0-OpenSSH_9.9\r\n", 2)] {
        let (mut client, asked) = stage.ask(get("/", "")).await;
        drop(asked.answer(answer).await);
        for _ in 1..times {
            drop(stage.service.asked().await.answer(answer).await);
        }
        assert_eq!(client.head().await.status(), 502);
        assert_eq!(client.rest().await, b"the service did not answer as HTTP/1.1 does; see the log\n");
    }
    let (mut client, asked) = stage.ask(get("/", "").replace("GET", "POST")).await;
    drop(asked);
    assert_eq!(client.head().await.status(), 502, "a POST may have been done: it is not sent again");
    assert!(stage.service.is_alone().await);
    let Stage { service, sidecar } = stage;
    drop(service);
    let (answer, mut client) = ask(sidecar.port, get("/", "")).await;
    assert_eq!((answer.status(), answer.get("connection")), (502, Some("close")));
    assert_eq!(client.rest().await, b"the service cannot be reached; see the log\n");
    let (_, metrics) = sidecar.ask("/metrics").await;
    assert!(metrics.contains("perennial_http_requests_total{code=\"5xx\",route=\"rest\"} 4\n"), "{metrics}");
    let log = sidecar.stop().await;
    assert!(log.contains("http request not answered") && log.contains("connect to 127.0.0.1"), "{log}");
}

/// A connection that the service closed while it was idle is not the client's trouble.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_went_stale_is_made_anew() {
    let stage = Stage::start("", "").await;
    let (answer, mut client, asked) = stage.play(get("/", ""), OK).await;
    assert_eq!((answer.status(), take(&mut client, 2).await), (200, b"ok".to_vec()));
    let mut idle = asked.wire;
    // The next request comes on the same connection, and dies with it.
    client.send(get("/again", "")).await;
    assert_eq!(idle.head().await.target(), "/base/again");
    drop(idle);
    let mut anew = stage.service.asked().await;
    assert_eq!(anew.head.target(), "/base/again");
    anew.wire.send(OK).await;
    assert_eq!(client.head().await.status(), 200);
    stage.end().await;
}

/// A service that restarted closed them all: what is asked once more does not take the next idle one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_stale_connection_is_not_met() {
    let stage = Stage::start("", "").await;
    let ((mut one, mut first), (mut two, mut second)) =
        (stage.ask(get("/one", "")).await, stage.ask(get("/two", "")).await);
    for (client, asked) in [(&mut one, &mut first), (&mut two, &mut second)] {
        asked.wire.send(OK).await;
        assert_eq!((client.head().await.status(), take(client, 2).await), (200, b"ok".to_vec()));
    }
    // Both are idle. The one that is taken dies with the request; nothing comes on the other.
    one.send(get("/again", "")).await;
    let (again, dead, idle) = tokio::select! {
        head = first.wire.head() => (head, first, second),
        head = second.wire.head() => (head, second, first),
    };
    assert_eq!(again.target(), "/base/again");
    drop(dead);
    let mut anew = stage.service.asked().await;
    drop(idle);
    anew.wire.send(OK).await;
    assert_eq!((anew.head.target(), one.head().await.status()), ("/base/again", 200));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_does_not_come_is_504() {
    let stage = Stage::start("", "timeout = \"500ms\"").await;
    let began = perennial::clock::now();
    let (mut client, mut asked) = stage.ask(get("/", "")).await;
    asked.wire.send("HTTP/1.1 200 OK\r\n").await;
    assert_eq!(client.head().await.status(), 504);
    assert_eq!(client.rest().await, b"the service did not answer in time\n");
    assert!((450..10_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    asked.wire.end().await;
    stage.end().await;
}

/// The time of an upload runs from the last of it: one that moves may take longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_moves_has_the_time_it_takes() {
    let stage = Stage::start("", "timeout = \"1s\"").await;
    let request = get("/", "Content-Length: 8\r\n").replace("GET", "POST");
    let (mut client, mut asked) = stage.ask(&request).await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        client.send("x").await;
        assert_eq!(take(&mut asked.wire, 1).await, b"x");
    }
    let ended = perennial::clock::now();
    assert_eq!(client.head().await.status(), 504);
    assert!((900..10_000).contains(&ended.elapsed().as_millis()), "{:?}", ended.elapsed());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_in_time_is_503() {
    let service = Service::start().await;
    let dead = Service::start().await.port;
    let text = route(service.port, dead) + "timeout = \"300ms\"\n";
    let stage = Stage { sidecar: Sidecar::start(&text).await, service };
    let (status, said) = stage.refused(get("/", "")).await;
    assert_eq!((status, said.as_str()), (503, "no token could be fetched in time; see the log\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_too_many_is_503_until_one_has_ended() {
    let stage = Stage::start("sessions = 1", "").await;
    // Its head is answered, its body is not over: it is still in flight.
    let (answer, mut client, mut asked) =
        stage.play(get("/", ""), "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab").await;
    assert_eq!(answer.status(), 200);
    let (status, said) = stage.refused(get("/", "")).await;
    assert_eq!(status, 503);
    assert_eq!(said, "as many requests as limits.sessions are in flight; try again later\n");
    asked.wire.send("cd").await;
    assert_eq!(take(&mut client, 4).await, b"abcd");
    let Stage { service, sidecar } = stage;
    let anew = async move { answers(service.connection().await.unwrap()).await };
    beside(async move { tokio::join!(answers(asked.wire), anew) });
    let again = async || ask(sidecar.port, get("/", "")).await.0.status();
    until("room", again, |status| *status == 200).await;
}

/// Answers whatever comes on a connection.
async fn answers(mut wire: Wire) {
    while !wire.head().await.first.is_empty() {
        wire.send(OK).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_none_is_400() {
    let stage = Stage::start("", "").await;
    let request = get("/", "Transfer-Encoding: chunked\r\n").replace("GET", "POST");
    let (mut client, mut asked) = stage.ask(request + "5\r\nfirst\r\n").await;
    assert_eq!(take(&mut asked.wire, 10).await, b"5\r\nfirst\r\n");
    client.send("nonsense\r\n").await;
    assert_eq!(client.head().await.status(), 400);
    asked.wire.end().await;
    stage.end().await;
}
