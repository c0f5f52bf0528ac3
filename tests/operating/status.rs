//! The snapshot: what it says is so.

use perennial::admin::status::Status;

use crate::{
    ably_client::{
        Format,
        world::{World, long_lived},
    },
    sidecar::ask,
};

async fn status(world: &World) -> Status {
    let (code, body) = ask(world.app.admin().port(), "/status.json").await;
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_shown_as_it_is() {
    let world = World::start(long_lived(), "queue = \"64KiB\"").await;
    let client = world.client(Format::Json, "c").await;
    client.attach("one").await;
    client.publish("one").await;
    world.exchange().await;
    world.whole(&client, "one").await;
    let status = status(&world).await;
    assert!(status.ready && status.problems.is_empty() && !status.draining && status.rehearsal);
    assert_eq!(status.address, world.app.address().to_string());
    assert!(status.reload.successful && status.store.up && status.store.kind == "memory");
    let [route] = &status.routes[..] else { panic!("{status:?}") };
    assert_eq!((&*route.name, &*route.dialect, &*route.share), ("ably", "ably", "route"));
    assert_eq!(route.upstream, format!("ws://127.0.0.1:{}", world.service.address().port()));
    assert_eq!((route.sessions["live"], route.sessions.len()), (1, 7));
    assert_eq!((route.credentials_total, route.limits.queue), (1, 64 << 10));
    let [credential] = &route.credentials[..] else { panic!("{route:?}") };
    assert_eq!((&*credential.state, credential.generation), ("valid", world.generation()));
    let (expires, next) = (credential.expires.unwrap(), credential.next_refresh.unwrap());
    assert!(credential.issued.unwrap() <= status.now && status.now < next && next < expires);
    assert_eq!(credential.refreshes, route.refreshes.ok);
    assert_eq!(route.reauthentications["exchange"].ok, 1);
    assert_eq!(
        (route.exchange_latencies.len(), route.refresh_latencies.len() as u64),
        (1, route.refreshes.ok)
    );
    assert_eq!((route.lost.up, route.lost.down, route.closed["token_expired"]), (0, 0, 0));
    assert!(route.uptime.unwrap() > 0.5, "{:?}", route.uptime);
    assert_eq!(route.holds.len(), 60);
    let total = "perennial_token_refresh_duration_seconds_count{phase=\"total\",route=\"ably\"}";
    assert_eq!(world.metric(total), 1.0, "the fetch and the exchange of one session");
    world.end().await;
}

/// While the service is away the client's messages wait, and it is seen for how long.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_seen_while_it_waits() {
    let world = World::start(long_lived(), "").await;
    let client = world.client(Format::Json, "c").await;
    client.attach("one").await;
    world.away().await;
    client.publish("one").await;
    world.until_metric("perennial_longest_hold_seconds{route=\"ably\"}", 0.05).await;
    let route = status(&world).await.routes.remove(0);
    assert!(route.longest_hold.unwrap() >= 0.05, "{route:?}");
    assert!(route.fullest_queue > 0 && route.held_bytes.up == route.fullest_queue, "{route:?}");
    assert_eq!(world.metric("perennial_reconnect_limit_seconds{route=\"ably\"}"), 60.0);
    world.end().await;
}
