//! Clients that come at the moment of the stop: who is about to ask, or has asked, is told to come again.

use std::time::Duration;

use tokio::time::timeout;

use crate::{stage::Stage, support::http::handshake, tcp::Terms};

const NEVER: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn who_is_about_to_ask_is_told_to_come_again() {
    let terms = Terms::rtt(200);
    let stage = Stage::set("handshake", "", terms);
    let (mut early, _near) = stage.connect(terms);
    let (mut asked, _far) = stage.knock(terms).await;
    // The service takes the connection, and says nothing.
    let (_service, _cable) = stage.fabric.accept().await;
    stage.leave();
    early.send(handshake("/", "")).await;
    for client in [&mut asked, &mut early] {
        let head = timeout(NEVER, client.head()).await.unwrap();
        assert_eq!(head.status(), 503, "{head:?}");
        assert_eq!(head.get("connection"), Some("close"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_does_not_hold_up_the_end() {
    let terms = Terms::rtt(200);
    let stage = Stage::set("handshake", "", terms);
    let (mut silent, _near) = stage.connect(terms);
    stage.leave();
    let said = timeout(Duration::from_secs(3), silent.rest()).await.expect("it is closed");
    assert_eq!(said, Vec::<u8>::new());
}
