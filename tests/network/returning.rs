//! A client that comes while the proxy believes that it is there: its network changed, or it is another one.

use std::time::Duration;

use perennial::clock;

use crate::{stage::Stage, tcp::Terms};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_at_once_finds_its_session() {
    let stage = Stage::parking(Terms::rtt(20));
    let (mut client, near, mut service, _) = stage.session(Terms::rtt(20)).await;
    client.text("before");
    client.flush().await;
    assert!(service.next().await.is_some(), "setting up: the service hears it");
    near.freeze();
    // What it was sent, and never got, is no reason to wait for it longer.
    service.text(&"x".repeat(4000));
    service.flush().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = clock::now();
    let ((mut back, _), _) = tokio::join!(stage.client(Terms::rtt(20)), service.listen(secs(3)));
    assert_eq!(stage.fabric.dials().len(), 1, "the service is dialled again for a client that it serves");
    assert!(clock::now() - begun <= secs(3), "{:?}", clock::now() - begun);
    back.text("after");
    let (_, heard) = tokio::join!(back.listen(secs(1)), service.listen(secs(1)));
    assert_eq!(heard.first().map(|frame| frame.text()), Some("after"));
    assert_eq!(stage.lost(), 1, "what it may not have read is counted");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_there_keeps_its_session_and_the_other_gets_one_at_once() {
    let stage = Stage::parking(Terms::rtt(20));
    let (mut first, near, mut service, _) = stage.session(Terms::rtt(600)).await;
    let begun = clock::now();
    let second = async {
        let ((second, _), (other, _)) = tokio::join!(stage.client(Terms::rtt(20)), stage.service());
        (second, other, clock::now() - begun)
    };
    let (_, _, (_second, _other, took)) =
        tokio::join!(first.listen(secs(5)), service.listen(secs(5)), second);
    assert_eq!((stage.fabric.dials().len(), first.pings), (2, 1), "each has its own");
    assert!(took < secs(1), "it waited for the first client's answer, not longer: {took:?}");
    assert!(!near.is_left(), "the first is served on");
}

/// Its host acknowledges, and it has read little of what it was sent: that is no client that vanished.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_keeps_its_session() {
    let stage = Stage::parking(Terms::rtt(20));
    let (mut first, near, mut service, _) = stage.session(Terms::rtt(20)).await;
    first.pace = 2_000;
    for _ in 0..20 {
        service.text(&"x".repeat(1000));
    }
    let second = async {
        tokio::time::sleep(secs(1)).await;
        let ((mut second, _), (mut other, _)) = tokio::join!(stage.client(Terms::rtt(20)), stage.service());
        tokio::join!(second.listen(secs(19)), other.listen(secs(19)));
    };
    let (heard, _, ()) = tokio::join!(first.listen(secs(20)), service.listen(secs(20)), second);
    assert_eq!((heard.len(), stage.fabric.dials().len()), (20, 2));
    assert!(!near.is_left(), "the first is served on");
}
