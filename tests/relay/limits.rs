//! What is bounded: messages, sessions, handshakes, and the memory of a slow client's session.

use std::time::Duration;

use perennial::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    sidecar::Sidecar,
    support::{
        beside,
        http::{ask, handshake},
        plain, resident, seeded,
        service::Service,
        soon, until,
        ws::{BINARY, CLOSE, CONTINUATION, Honest, TEXT, Wire, bare, close, frame, masked, session},
    },
};

/// What one session may cost: its queue of a mebibyte, and a mebibyte besides.
const MOST: usize = 2 << 20;

/// A route that is tested, and one beside it that must not notice.
async fn start(limits: &str) -> (Service, Sidecar, Honest) {
    let service = Service::start().await;
    let beside_it = Service::start().await.echo();
    let other = plain(beside_it).replace("plain", "other") + "path = \"/other\"\n";
    let sidecar = Sidecar::start(&format!("[limits]\n{limits}\n{other}{}", plain(service.port))).await;
    let honest = Honest::open(sidecar.port, "/other").await;
    (service, sidecar, honest)
}

#[tokio::test]
async fn a_clients_message_beyond_the_limit_is_1009_for_it() {
    let (service, sidecar, mut honest) = start("message = \"64KiB\"").await;
    let limit = 64 * 1024;
    let just = masked(BINARY, &vec![1; limit]);
    let over = masked(BINARY, &vec![1; limit + 1]);
    let first = frame(BINARY, &vec![1; limit], Some([7; 4]));
    let in_fragments = [first.clone(), frame(0x80 | CONTINUATION, b"1", Some([7; 4]))].concat();
    let far_over = masked(BINARY, &vec![1; 16 << 20]);
    for (said, goes_on) in [(over, 0), (in_fragments, first.len()), (far_over, 0)] {
        let (mut client, mut theirs) = session(sidecar.port, &service).await;
        client.send(&just).await;
        assert!(theirs.message().await.raw == just, "the largest message that is allowed");
        let reads = async {
            let mut rest = Vec::new();
            while let Some(frame) = theirs.frame().await {
                if frame.opcode() == CLOSE {
                    assert_eq!(frame.payload[..2], 1001_u16.to_be_bytes(), "the limit is not the service's");
                    break;
                }
                rest.extend(frame.raw);
            }
            rest
        };
        // A client that is told may still be writing: it is let finish, so that it reads what it is told.
        let ((), rest) = tokio::join!(async { client.send(&said).await }, reads);
        assert_eq!(rest.len(), goes_on);
        let ending = client.ending().await.expect("a Close");
        assert_eq!(ending, (1009, "a message is larger than the limit".into()));
        honest.relays().await;
    }
}

#[tokio::test]
async fn a_services_message_beyond_the_limit_is_1009_for_it() {
    let (service, sidecar, mut honest) = start("message = \"64KiB\"").await;
    let over = bare(BINARY, &vec![1; 64 * 1024 + 1]);
    let in_fragments = [frame(TEXT, &vec![1; 64 * 1024], None), frame(0x80, b"1", None)].concat();
    for said in [over, in_fragments] {
        let (mut client, mut theirs) = session(sidecar.port, &service).await;
        let (_, ending) = tokio::join!(theirs.try_send(&said), client.ending());
        assert_eq!(ending, Some((1009, "the service broke the protocol".into())));
        assert_eq!(theirs.ending().await.map(|(code, _)| code), Some(1009));
        honest.relays().await;
    }
}

#[tokio::test]
async fn a_session_too_many_is_503_until_there_is_room() {
    let (service, sidecar, mut honest) = start("sessions = 2").await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    let (answer, mut wire) = ask(sidecar.port, handshake("/", "")).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(wire.rest().await, b"limits.sessions is reached; try again later\n");
    assert!(service.is_alone().await, "the service is not asked");
    honest.relays().await;
    client.send(masked(CLOSE, &close(1000, ""))).await;
    assert_eq!(theirs.ending().await, Some((1000, String::new())));
    theirs.send(bare(CLOSE, &close(1000, ""))).await;
    client.ending().await;
    client.end().await;
    until(
        "room",
        async || ask(sidecar.port, handshake("/other", "")).await.0.status(),
        |status| *status == 101,
    )
    .await;
}

/// Takes nothing and says nothing, or a byte now and then: how long it was let stand.
async fn patience_with(port: u16, first: &[u8], drip: &[u8]) -> Duration {
    let began = clock::now();
    let mut wire = Wire::dial(port).await;
    wire.send(first).await;
    let mut drips = drip.iter().cycle();
    soon("its end", async {
        let mut buffer = [0; 1024];
        loop {
            match tokio::time::timeout(Duration::from_millis(50), wire.io.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(_)) => {}
                Err(_) => {
                    if let Some(byte) = drips.next() {
                        let _ = wire.io.write_all(&[*byte]).await;
                    }
                }
            }
        }
    })
    .await;
    clock::now() - began
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_has_a_deadline() {
    let (service, sidecar, mut honest) = start("handshake = \"1s\"").await;
    let head = handshake("/", "");
    let port = sidecar.port;
    let (silent, half, dripping, unanswered) = tokio::join!(
        patience_with(port, b"", b""),
        patience_with(port, &head.as_bytes()[..40], b""),
        patience_with(port, &head.as_bytes()[..40], b"a"),
        async {
            let began = clock::now();
            let ((answer, _), mut asked) = tokio::join!(ask(port, &head), service.asked());
            let took = clock::now() - began;
            assert_eq!(answer.status(), 504);
            asked.wire.end().await;
            took
        }
    );
    for (who, took) in
        [("silent", silent), ("half", half), ("dripping", dripping), ("unanswered", unanswered)]
    {
        assert!((900..8_000).contains(&took.as_millis()), "{who}: {took:?}");
    }
    honest.relays().await;
    assert!(!sidecar.stop().await.contains("panicked"));
}

/// A hundred mebibytes for a client that does not read: the service is made to wait, the sidecar does not
/// grow, and when the client reads on it has every byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_costs_no_memory() {
    const SIZE: usize = 100 << 20;
    let (service, sidecar, mut honest) = start("").await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    let before = resident(sidecar.id());
    let mut random = seeded();
    let mut payload = vec![0; 1000];
    random.fill(&mut payload);
    let message = bare(BINARY, &payload);
    let count = SIZE / message.len();
    let piece = message.repeat(100);
    let (stalled, mut waits) = tokio::sync::watch::channel(false);
    let said = beside(async move {
        for _ in 0..count / 100 {
            let mut rest = &piece[..];
            while !rest.is_empty() {
                match tokio::time::timeout(Duration::from_millis(300), theirs.io.write(rest)).await {
                    Ok(n) => rest = &rest[n.unwrap()..],
                    Err(_) => drop(stalled.send(true)),
                }
            }
        }
        theirs
    });
    soon("the service to wait", waits.wait_for(|stalled| *stalled)).await.unwrap();
    let grown = resident(sidecar.id()).saturating_sub(before);
    println!("it grew by {grown} bytes");
    assert!(grown < MOST, "it grew by {grown} bytes");
    honest.relays().await;
    let expected = message.repeat(count / 100 * 100);
    let mut heard = Vec::with_capacity(expected.len());
    soon("every byte", async {
        while heard.len() < expected.len() {
            assert_ne!(client.io.read_buf(&mut heard).await.unwrap(), 0, "it ended early");
        }
    })
    .await;
    assert!(heard == expected, "other bytes than were said");
    let grown = resident(sidecar.id()).saturating_sub(before);
    println!("it grew by {grown} bytes");
    assert!(grown < MOST, "it grew by {grown} bytes");
    drop(said.await.unwrap());
}

/// The other way round: a service that does not read makes the client wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_does_not_read_costs_no_memory() {
    let (service, sidecar, mut honest) = start("").await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    let before = resident(sidecar.id());
    let message = masked(BINARY, &[3; 60_000]);
    let mut said = Vec::new();
    while said.len() < 100 << 20 {
        match tokio::time::timeout(Duration::from_millis(300), client.io.write(&message)).await {
            Ok(n) => said.extend_from_slice(&message[..n.unwrap()]),
            Err(_) => break,
        }
        // Whole messages or a part of the last: the next write goes on where this one ended.
        let part = said.len() % message.len();
        if part > 0 {
            match tokio::time::timeout(Duration::from_millis(300), client.io.write(&message[part..])).await {
                Ok(n) => said.extend_from_slice(&message[part..part + n.unwrap()]),
                Err(_) => break,
            }
            if said.len() % message.len() > 0 {
                break;
            }
        }
    }
    let grown = resident(sidecar.id()).saturating_sub(before);
    println!("it grew by {grown} bytes");
    assert!(grown < MOST, "it grew by {grown} bytes after {} were said", said.len());
    honest.relays().await;
    let mut heard = Vec::new();
    soon("every byte", async {
        while heard.len() < said.len() {
            assert_ne!(theirs.io.read_buf(&mut heard).await.unwrap(), 0, "it ended early");
        }
    })
    .await;
    assert!(heard == said);
}
