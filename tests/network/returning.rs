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

/// Core 3.2: it comes back in the very moment in which its session ends. It is served, or told; never left alone.
#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_at_the_last_moment_is_served_or_told() {
    let (mut served, mut began) = (0, 0);
    for late in (0..200).step_by(4) {
        let stage = Stage::parking(Terms::rtt(20));
        let (_client, near, mut old, _) = stage.session(Terms::rtt(20)).await;
        near.reset();
        // It is kept for a minute.
        old.listen(secs(60) - Duration::from_millis(100) + Duration::from_millis(late)).await;
        let dialled = tokio::time::timeout(secs(2), stage.service());
        let ((mut back, _), dialled, _) =
            tokio::join!(stage.client(Terms::rtt(20)), dialled, old.listen(secs(2)));
        back.text("after");
        let told = async { tokio::time::timeout(secs(6), back.next()).await.is_ok() };
        let (told, kept, new) = match dialled {
            Ok((mut new, _)) => {
                let (told, kept, new) = tokio::join!(told, old.listen(secs(6)), new.listen(secs(6)));
                (told, kept.len(), new.len())
            }
            Err(_) => {
                let (told, kept) = tokio::join!(told, old.listen(secs(6)));
                (told, kept.len(), 0)
            }
        };
        assert!(told || kept + new == 1, "{late} ms: nobody heard it, and it heard nothing");
        (served, began) = (served + kept, began + new);
    }
    assert!(served > 0 && began > 0, "the moment was not among these: {served} {began}");
}
