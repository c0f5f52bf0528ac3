//! One session's flood leaves the others their turn.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::{
    peer::Peer,
    stage::Stage,
    support::ws::PONG,
    tcp::{Cable, Terms},
};

/// A way that holds a whole flood, and on which it arrives at one moment.
const WIDE: Terms =
    Terms { latency: Duration::from_millis(1), rate: 1 << 50, send: 4 << 20, receive: 4 << 20 };

/// Hostile P9: 300,000 Pongs that nobody asked for are there at one moment. Who speaks at that moment is served before
/// the last of them is looked at, and so is who comes behind.
#[tokio::test(start_paused = true)]
async fn a_flood_of_pongs_leaves_the_others_their_turn() {
    let stage = Stage::set("none", "", Terms { latency: Duration::ZERO, ..WIDE });
    let (mut first, _, first_service, _) = stage.session(WIDE).await;
    let (mut flooder, flood, mut flooded, _) = stage.session(WIDE).await;
    let (mut second, _, second_service, _) = stage.session(WIDE).await;
    for _ in 0..300_000 {
        flooder.frame(0x80 | PONG, &[]);
    }
    first.text("first");
    second.text("second");
    // Tasks of their own: the runtime looks at the test itself only now and then.
    let mut services = JoinSet::new();
    for service in [first_service, second_service] {
        services.spawn(heard_before(service, flood.clone()));
    }
    tokio::join!(first.flush(), flooder.flush(), second.flush(), flooded.listen(Duration::from_secs(1)));
    let mut heard = services.join_all().await;
    heard.sort();
    assert_eq!(
        heard,
        [("first".to_owned(), true), ("second".to_owned(), true)],
        "who waited for the whole flood?"
    );
    assert_eq!(flood.unread(0), 0, "the flood is taken as well");
}

/// What the service hears, and whether some of the flood is still to be read then.
async fn heard_before(mut service: Peer, flood: Cable) -> (String, bool) {
    let heard = service.next().await.map(|frame| frame.text().to_owned());
    (heard.unwrap_or_default(), flood.unread(0) > 0)
}
