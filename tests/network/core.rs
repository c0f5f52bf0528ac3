//! Rules of the core that a network puts to the test: what a swap waits for, when an outage ends, where a Close may
//! stand, and what a client that went away is owed.

use std::time::Duration;

use perennial::{clock, proxy::Practice};

use crate::{
    stage::{CONNECTED, Stage},
    support::ws::{CLOSE, TEXT},
    tcp::Terms,
};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_swap_goes_on_once_the_fence_is_answered() {
    // The client speaks while the answer to the fence is on its way: a quarter of what the old one is then
    // listened to.
    let stage = Stage::set("handshake", "", Terms::rtt(400));
    let (mut client, _, mut old, _) = stage.session(Terms::rtt(20)).await;
    client.text("said before the swap");
    client.flush().await;
    assert!(old.next().await.is_some(), "setting up: the service hears the client");
    stage.context.sessions.practise(Practice::Reauthenticate, |all| all);
    let (mut next, _) = stage.service().await;
    // The old one is asked to end, and does not answer that; its Pongs come.
    while old.next().await.is_some_and(|frame| frame.opcode() != CLOSE) {}
    let asked = clock::now();
    client.text("said during the swap");
    client.flush().await;
    let (heard, _) =
        tokio::join!(tokio::time::timeout(secs(20), next.next()), tokio::time::timeout(secs(20), old.next()));
    assert!(heard.is_ok_and(|frame| frame.is_some()), "setting up: the next connection serves");
    let took = next.heard - asked;
    assert!(took < secs(3), "the client's message waited for {took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_flaps_comes_to_an_end() {
    let stage = Stage::set("handshake", "reconnect = \"60s\"", Terms::rtt(20));
    let (mut client, near, service, _) = stage.session(Terms::rtt(20)).await;
    drop(service);
    let greeter = async {
        loop {
            let (mut service, _) = stage.service().await;
            service.text("hello");
            service.flush().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        biased;
        () = greeter => {}
        _ = client.listen(secs(600)) => {}
    }
    let dials = stage.fabric.dials().len();
    assert!(near.is_left(), "after ten minutes and {dials} connections the client knows of nothing");
}

#[tokio::test(start_paused = true)]
async fn a_close_never_stands_inside_a_data_frame() {
    let stage = Stage::set("none", "", Terms::rtt(20));
    let (mut client, _, mut service, _) = stage.session(Terms::rtt(20)).await;
    // The head of a frame of 10 000 bytes, and a tenth of them.
    service.raw(&[0x80 | TEXT, 126, 0x27, 0x10]);
    service.raw(&[b'x'; 1000]);
    service.flush().await;
    client.listen(secs(1)).await;
    stage.context.sessions.drain(0, 1);
    client.listen(secs(10)).await;
    let rest = client.unread();
    assert!(rest.len() > 1000, "setting up: the frame has begun: {} bytes", rest.len());
    let foreign = rest[4..].iter().filter(|byte| **byte != b'x').count();
    assert_eq!(foreign, 0, "bytes inside the frame that the service never said");
}

#[tokio::test(start_paused = true)]
async fn what_a_vanished_client_was_owed_is_kept_for_it() {
    let stage = Stage::parking(Terms::rtt(20));
    let (mut client, near, mut service, _) = stage.session(Terms::rtt(200)).await;
    for number in 0..100 {
        service.text(&format!("{number}"));
    }
    service.flush().await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    near.reset();
    tokio::join!(client.listen(secs(1)), service.listen(secs(1)));
    let (mut back, _) = stage.client(Terms::rtt(20)).await;
    let (heard, _) = tokio::join!(back.listen(secs(5)), service.listen(secs(5)));
    assert_eq!(stage.fabric.dials().len(), 1, "setting up: its session was kept");
    let lost = stage.lost();
    assert!(heard.len() as u64 + lost >= 100, "heard {} of 100 when it was back; lost: {lost}", heard.len());
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_survives_a_return_that_fails() {
    let stage = Stage::parking(Terms::rtt(20));
    let (client, near, mut service, _) = stage.session(Terms::rtt(20)).await;
    near.reset();
    drop(client);
    service.text("missed");
    service.listen(secs(1)).await;
    // It asks, and its network is gone again before the answer is there.
    let (first, way) = stage.knock(Terms::rtt(1000)).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    way.reset();
    drop(first);
    service.listen(secs(1)).await;
    let (mut back, _) = stage.client(Terms::rtt(20)).await;
    let (heard, _) = tokio::join!(back.listen(secs(5)), service.listen(secs(5)));
    assert_eq!(stage.fabric.dials().len(), 1, "setting up: its session was kept");
    assert!(
        heard.iter().any(|frame| frame.text() == "missed"),
        "`missed` never comes; lost: {}",
        stage.lost()
    );
}

/// The answer to the exchange stands behind what the client is slow to take: two minutes of it.
#[tokio::test(start_paused = true)]
async fn a_slow_client_survives_an_exchange() {
    let stage = Stage::set("ably", "queue = \"64KiB\"", Terms::rtt(20));
    let (mut client, near, mut service, _) = stage.session(Terms::rtt(20)).await;
    client.pace = 20_000;
    let pad = "x".repeat(8000);
    for _ in 0..300 {
        service.text(&format!(r#"{{"action":15,"channel":"c","messages":[{{"data":"{pad}"}}]}}"#));
    }
    let serving = async {
        while let Ok(Some(frame)) = tokio::time::timeout(secs(200), service.next()).await {
            if frame.text().contains("\"action\":17") {
                service.text(CONNECTED);
            }
        }
    };
    let exchange = async {
        tokio::time::sleep(secs(3)).await;
        stage.context.sessions.practise(Practice::Reauthenticate, |all| all);
    };
    let (heard, (), ()) = tokio::join!(client.listen(secs(200)), serving, exchange);
    assert!(!near.is_left(), "the client was cut after {} of 300 messages", heard.len());
    let whole = heard.iter().filter(|frame| frame.payload.len() > 8000).count();
    assert_eq!((whole, stage.fabric.dials().len()), (300, 1), "all of it, on the same connection");
}

/// Core 3.1: the service ends it while half a minute of it is still on its way to a slow client.
#[tokio::test(start_paused = true)]
async fn a_slow_client_hears_everything_before_its_close() {
    for dialect in ["none", "handshake"] {
        let stage = Stage::set(dialect, "", Terms::rtt(20));
        // The kernels keep little: what is left of it is owed by the proxy when the service's Close comes.
        let narrow = Terms { send: 16 * 1024, receive: 16 * 1024, ..Terms::rtt(20) };
        let (mut client, near, mut service, _) = stage.session(narrow).await;
        client.pace = 4_000;
        for _ in 0..16 {
            service.text(&"x".repeat(8000));
        }
        service.frame(0x80 | CLOSE, &[&4001_u16.to_be_bytes()[..], b"bye"].concat());
        let hearing = async {
            let mut heard = 0;
            while let Some(frame) = client.next().await {
                if frame.opcode() == CLOSE {
                    return (heard, frame.payload[..2].to_vec());
                }
                heard += 1;
            }
            (heard, Vec::new())
        };
        let (heard, _) = tokio::join!(hearing, service.listen(secs(60)));
        assert_eq!(heard, (16, 4001_u16.to_be_bytes().to_vec()), "{dialect}, cut: {}", near.is_left());
    }
}
