//! Slow peers: one that makes progress is alive.

use std::time::Duration;

use crate::{
    loss::publish_padded,
    peer::Peer,
    stage::{DIALECTS, Stage},
    support::ws::CLOSE,
    tcp::Terms,
};

/// Bytes of one message, about.
const MESSAGE: usize = 8 * 1024;
/// A kernel that takes much ahead of a slow way, as Linux does.
const DEEP: usize = 2500 * 1024;

/// How a service, or the way to it, is slow.
#[derive(Debug, Clone, Copy)]
enum Slow {
    Reader,
    Way,
}

/// Reads messages until so many have come, and acknowledges them as its dialect does; how many came.
async fn takes(service: &mut Peer, dialect: &str, messages: u64) -> u64 {
    for number in 0..messages {
        let Some(frame) = service.next().await else { return number };
        if frame.opcode() == CLOSE {
            return number;
        }
        if dialect == "ably" {
            service.text(&format!(r#"{{"action":1,"msgSerial":{number},"count":1}}"#));
        } else if number % 8 == 0 {
            service.text("so far, so good");
        }
    }
    service.flush().await;
    messages
}

/// A client says `bytes` in one go to a service that takes `rate` bytes a second.
async fn upload(dialect: &'static str, slow: Slow, bytes: usize, rate: u64) {
    let far = Terms { send: DEEP, ..Terms::rtt(20) };
    let far = if let Slow::Way = slow { Terms { rate, ..far } } else { far };
    let stage = Stage::set(dialect, "", far);
    let (mut client, _, mut service, _) = stage.session(Terms::rtt(20)).await;
    if let Slow::Reader = slow {
        service.pace = rate;
    }
    let messages = (bytes / MESSAGE) as u64;
    let pad = "x".repeat(MESSAGE);
    let talking = async {
        for number in 0..messages {
            client.text(&publish_padded(dialect, number, &pad));
            while client.waiting() > 4 * MESSAGE {
                client.listen(Duration::from_millis(10)).await;
                if client.end.is_some() {
                    return;
                }
            }
        }
        client.listen(Duration::from_secs(3600)).await;
    };
    let enough = Duration::from_secs_f64(bytes as f64 / rate as f64 * 1.5 + 10.0);
    let heard = async { tokio::time::timeout(enough, takes(&mut service, dialect, messages)).await };
    let heard = tokio::select! {
        biased;
        heard = heard => heard,
        () = talking => Ok(0),
    };
    let of = format!("{dialect}, a slow {slow:?}, {bytes} bytes at {rate} a second");
    stage.is_calm(&of);
    println!("{of}: {heard:?} of {messages} after {:?}", stage.elapsed());
    assert_eq!(heard, Ok(messages), "{of}: within {enough:?}");
}

#[tokio::test(start_paused = true)]
async fn a_large_upload_to_a_slow_service_arrives_whole() {
    for dialect in DIALECTS {
        for slow in [Slow::Reader, Slow::Way] {
            upload(dialect, slow, 8_000_000, 150_000).await;
            upload(dialect, slow, 1_000_000, 10_000).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_never_cut() {
    for dialect in DIALECTS {
        let stage = Stage::set(dialect, "", Terms::rtt(20));
        let (mut client, near, mut service, _) =
            stage.session(Terms { receive: 64 * 1024, ..Terms::rtt(20) }).await;
        client.pace = 10_000;
        let messages = 1_000_000 / MESSAGE;
        let pad = "x".repeat(MESSAGE);
        let message = if dialect == "ably" {
            format!(r#"{{"action":15,"channel":"c","messages":[{{"data":"{pad}"}}]}}"#)
        } else {
            pad
        };
        for _ in 0..messages {
            service.text(&message);
        }
        let (heard, _) =
            tokio::join!(client.listen(Duration::from_secs(150)), service.listen(Duration::from_secs(150)));
        stage.is_calm(dialect);
        assert!(!near.is_left(), "{dialect}: the client was cut");
        let whole = heard.iter().filter(|frame| frame.payload.len() >= MESSAGE);
        assert_eq!(whole.count(), messages, "{dialect}: all of it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_way_with_a_minute_in_its_buffers_is_no_hung_peer() {
    // Six Pings are on it at once.
    let far = Terms { rate: 1200, send: 64 * 1024, receive: 8 * 1024, ..Terms::rtt(100) };
    let stage = Stage::set("none", "keepalive = \"10s\"", far);
    let (mut client, near, mut service, _) = stage.session(Terms::rtt(20)).await;
    let second = Duration::from_secs(1);
    for _ in 0..60 {
        for _ in 0..20 {
            client.text(&"x".repeat(100));
        }
        tokio::join!(client.listen(second), service.listen(second));
    }
    tokio::join!(client.listen(400 * second), service.listen(400 * second));
    assert!(!near.is_left(), "a service that answers each Ping was cut");
}

/// A leg that is not read for the want of room is read again as soon as there is some: a wake-up that is lost costs the
/// time to the next timer.
#[tokio::test(start_paused = true)]
async fn a_transfer_takes_as_long_as_the_way_does() {
    const BYTES: usize = 8_000_000;
    let slow = Terms { rate: 1_000_000, ..Terms::rtt(20) };
    for dialect in ["none", "handshake"] {
        for (is_up, near, far) in [(true, Terms::rtt(20), slow), (false, slow, Terms::rtt(20))] {
            let stage = Stage::set(dialect, "", far);
            let (mut client, _, mut service, _) = stage.session(near).await;
            let (from, to) = if is_up { (&mut client, &mut service) } else { (&mut service, &mut client) };
            for _ in 0..BYTES / MESSAGE {
                from.text(&"x".repeat(MESSAGE));
            }
            let began = perennial::clock::now();
            tokio::join!(from.listen(Duration::from_secs(60)), to.listen(Duration::from_secs(60)));
            let took = to.heard - began;
            println!("{dialect}, up {is_up}: {took:?}");
            assert!(took < Duration::from_secs(12), "{dialect}, up {is_up}: 8 MB at 1 MB/s took {took:?}");
        }
    }
}
