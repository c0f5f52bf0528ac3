//! Known failures that the simulated network shows; `tests/README.md` lists them.

use std::time::Duration;

use perennial::{clock, proxy::Practice};

use crate::{
    ably,
    expected::expected_failure,
    stage::Stage,
    storm,
    support::ws::{CLOSE, TEXT},
    tcp::Terms,
};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_swap_goes_on_once_the_fence_is_answered() {
    expected_failure("core.md 5, S06", async || {
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
        let (heard, _) = tokio::join!(
            tokio::time::timeout(secs(20), next.next()),
            tokio::time::timeout(secs(20), old.next())
        );
        assert!(heard.is_ok_and(|frame| frame.is_some()), "setting up: the next connection serves");
        let took = next.heard - asked;
        assert!(took < secs(3), "the client's message waited for {took:?}");
    });
}

#[test]
fn an_outage_that_flaps_comes_to_an_end() {
    expected_failure("core.md 10, S03", async || {
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
    });
}

#[test]
fn a_close_never_stands_inside_a_data_frame() {
    expected_failure("core.md 9, L01", async || {
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
    });
}

#[test]
fn a_slow_client_survives_an_exchange() {
    expected_failure("core.md 6, L02", async || {
        let stage = Stage::set("ably", "queue = \"64KiB\"", Terms::rtt(20));
        let (mut client, near, mut service, _) = stage.session(Terms::rtt(20)).await;
        client.pace = 20_000;
        let pad = "x".repeat(8000);
        for _ in 0..300 {
            service.text(&format!(r#"{{"action":15,"channel":"c","messages":[{{"data":"{pad}"}}]}}"#));
        }
        let exchange = async {
            tokio::time::sleep(secs(3)).await;
            stage.context.sessions.practise(Practice::Reauthenticate, |all| all);
        };
        let (heard, _, ()) = tokio::join!(client.listen(secs(200)), service.listen(secs(200)), exchange);
        assert!(!near.is_left(), "the client was cut after {} of 300 messages", heard.len());
    });
}

#[test]
fn what_is_missing_was_counted() {
    expected_failure("core.md 13, H04", async || {
        for seed in 100..140 {
            let uncounted = storm::run("handshake", seed).await.uncounted;
            assert!(uncounted.is_empty(), "{uncounted:?}");
        }
    });
}

#[test]
fn a_client_that_comes_back_at_once_finds_its_session() {
    expected_failure("core.md 8, H08", async || {
        let stage = Stage::parking(Terms::rtt(20));
        let (_client, near, mut service, _) = stage.session(Terms::rtt(20)).await;
        near.freeze();
        let again = async { tokio::time::timeout(secs(5), stage.service()).await.ok() };
        let (_back, _other, _) = tokio::join!(stage.client(Terms::rtt(20)), again, service.listen(secs(5)));
        assert_eq!(stage.fabric.dials().len(), 1, "the service is dialled again for a client that it serves");
    });
}

#[test]
fn what_a_vanished_client_was_owed_is_kept_for_it() {
    expected_failure("core.md 8, H03", async || {
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
        assert!(
            heard.len() as u64 + lost >= 100,
            "heard {} of 100 when it was back; lost: {lost}",
            heard.len()
        );
    });
}

#[test]
fn what_was_kept_survives_a_return_that_fails() {
    expected_failure("core.md 8, H02", async || {
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
    });
}

#[test]
fn a_dial_that_was_given_up_ends_no_session() {
    expected_failure("new: a handshake that comes late supersedes", ably::a_late_handshake);
}
