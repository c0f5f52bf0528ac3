//! How it ends: sessions first, within the window, and the process with status 0.

use std::time::Duration;

use perennial::clock;

use crate::{
    sidecar::Sidecar,
    support::{
        http::handshake,
        plain,
        service::Service,
        soon,
        ws::{CLOSE, TEXT, masked, session},
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_told_1001_within_the_window() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&format!("[limits]\ndrain = \"1s\"\n{}", plain(service.port))).await;
    let mut sessions = Vec::new();
    for _ in 0..30 {
        sessions.push(session(sidecar.port, &service).await);
    }
    let mut waiting = crate::support::ws::Wire::dial(sidecar.port).await;
    waiting.send(&handshake("/", "").as_bytes()[..30]).await;
    let began = clock::now();
    sidecar.signal("TERM");
    let mut ends = Vec::new();
    for (mut client, mut theirs) in sessions {
        ends.push(crate::support::beside(async move {
            let ending = client.ending().await;
            let at = clock::now();
            client.send(masked(CLOSE, &1001_u16.to_be_bytes())).await;
            client.end().await;
            assert!(theirs.ending().await.is_some(), "the service is told too");
            (ending, at)
        }));
    }
    let mut when = Vec::new();
    for end in ends {
        let (ending, at) = soon("a Close", end).await.unwrap();
        assert_eq!(ending, Some((1001, "the proxy is going away".into())));
        when.push(at - began);
    }
    waiting.end().await;
    let status = soon("its end", sidecar.ended()).await;
    assert_eq!(status.0, Some(0), "{}", status.1);
    assert!(clock::now() - began < Duration::from_secs(3));
    // Spread over the window: not all at once, so that the clients do not come back in one wave.
    let (first, last) = (when.iter().min().unwrap(), when.iter().max().unwrap());
    assert!(*last < Duration::from_millis(1500) && *last - *first > Duration::from_millis(500), "{when:?}");
    assert!(!status.1.contains("panicked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&format!("[limits]\ndrain = \"20s\"\n{}", plain(service.port))).await;
    let (mut client, _theirs) = session(sidecar.port, &service).await;
    let (mut more, _theirs) = session(sidecar.port, &service).await;
    let began = clock::now();
    sidecar.signal("TERM");
    // The first session is told at once; it does not answer, so that nothing ends by itself.
    assert_eq!(client.ending().await.map(|(code, _)| code), Some(1001));
    sidecar.signal("INT");
    let (status, log) = soon("its end", sidecar.ended()).await;
    assert_eq!(status, Some(1), "{log}");
    assert!(clock::now() - began < Duration::from_secs(2), "{:?}", clock::now() - began);
    more.rest().await;
}

/// Who was told `listening` may say stop: that it is about to be stopped is known by then.
#[tokio::test]
async fn a_signal_right_after_the_start_is_followed() {
    for _ in 0..5 {
        let (status, log) = {
            let sidecar = Sidecar::start(&plain(9)).await;
            sidecar.signal("TERM");
            soon("its end", sidecar.ended()).await
        };
        assert_eq!(status, Some(0), "{log}");
    }
}

#[tokio::test]
async fn while_it_goes_away_nobody_is_let_in() {
    let service = Service::start().await;
    // Sessions are told one part after the other: the second has time until its turn, on a busy machine too.
    let sidecar = Sidecar::start(&format!("[limits]\ndrain = \"10m\"\n{}", plain(service.port))).await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    // It is told first if it was there first.
    client.send(masked(TEXT, b"here")).await;
    assert_eq!(theirs.message().await.text(), "here");
    let (mut second, mut its) = session(sidecar.port, &service).await;
    assert_eq!(sidecar.ask("/readyz").await.0, 200);
    sidecar.signal("TERM");
    assert_eq!(client.ending().await.map(|(code, _)| code), Some(1001));
    theirs.ending().await;
    assert_eq!(sidecar.ask("/readyz").await.0, 503);
    assert_eq!(sidecar.ask("/livez").await.0, 200);
    let refused = async {
        match tokio::net::TcpStream::connect(("127.0.0.1", sidecar.port)).await {
            Ok(tcp) => crate::support::ws::Wire::new(tcp).rest().await.is_empty(),
            Err(_) => true,
        }
    };
    assert!(refused.await);
    second.send(masked(TEXT, b"still here")).await;
    assert_eq!(its.message().await.text(), "still here");
}
