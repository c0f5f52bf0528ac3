//! SIGTERM: behind a load balancer, in the middle of a handshake, and while something hangs.

use super::reload::relays;
use crate::{
    sidecar::Sidecar,
    support::{
        http::handshake,
        plain,
        service::Service,
        until,
        ws::{Wire, session},
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_served_for_the_delay_while_readiness_says_no() {
    let service = Service::start().await;
    let sidecar =
        Sidecar::start(&format!("[limits]\nshutdown_delay = \"1h\"\n{}", plain(service.port))).await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    sidecar.signal("TERM");
    until("readiness to fail", || sidecar.ask("/readyz"), |(status, _)| *status == 503).await;
    let (mut second, mut its) = session(sidecar.port, &service).await;
    relays(&mut client, &mut theirs).await;
    relays(&mut second, &mut its).await;
    // A second signal does not wait for the hour.
    sidecar.signal("TERM");
    sidecar.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_its_handshake_is_told_to_come_again() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    let mut client = Wire::dial(sidecar.port).await;
    client.send(handshake("/", "")).await;
    // The service has been asked, and does not answer.
    let _asked = service.asked().await;
    sidecar.signal("TERM");
    assert_eq!(client.head().await.status(), 503);
    let (status, log) = sidecar.ended().await;
    assert_eq!(status, Some(0), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_hangs_does_not_hold_up_the_end() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    let file = sidecar.file();
    std::fs::remove_file(&file).unwrap();
    // Who opens it waits for somebody who writes, as a mounted directory waits whose server is gone.
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    sidecar.signal("HUP");
    relays(&mut client, &mut theirs).await;
    drop((client, theirs));
    let (status, log) = {
        sidecar.signal("TERM");
        sidecar.ended().await
    };
    assert_eq!(status, Some(0), "{log}");
}
