//! What has to last longer than one token: a family of refresh tokens that ends if it is idle, and the exchange of a
//! client's own token.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::{
    keycloak::rig::{Family, Keycloak, at},
    oauth_sidecar::{killed::is_served, ready, refreshes},
    provider::SECRET,
    sidecar::Sidecar,
    support::{service::Service, ws::Honest},
};

/// A refresh token that is not used for so long has ended.
const IDLE: Duration = Duration::from_secs(20);
/// Of the tokens that are exchanged, in realm.json.
const LIFE: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Keycloak: tests/keycloak/install"]
async fn a_family_outlives_ten_idle_times_and_an_exchange_the_clients_own_token() {
    let keycloak = Keycloak::start().await;
    tokio::join!(idle(&keycloak), exchange(&keycloak));
}

/// An access token lives for three idle times: who waits for its end is too late.
async fn idle(keycloak: &Keycloak) {
    let changes = json!({ "accessTokenLifespan": 60, "ssoSessionIdleTimeout": IDLE.as_secs() });
    keycloak.realm("idle", &changes).await;
    let family = Family::of(keycloak, "idle").await;
    let sidecar = Sidecar::start(&family.configuration()).await;
    ready(&sidecar).await;
    let began = Instant::now();
    while began.elapsed() < 10 * IDLE {
        assert_eq!(refreshes(&sidecar, "rejected").await, 0.0, "after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let passed = family.front.passed();
    let longest = passed.windows(2).map(|two| two[1].asked - two[0].asked).max().unwrap();
    println!("{} requests in ten idle times, {longest:?} apart at most", passed.len());
    assert!(longest < IDLE, "{longest:?}");
    // And it lives on.
    let (_, sidecar) = sidecar.killed_and_run_again().await;
    ready(&sidecar).await;
    sidecar.refresh().await;
    assert!(is_served(&sidecar).await);
    sidecar.stop().await;
}

/// What the client showed is good for 15 s. What Keycloak gave for it is exchanged in its turn.
async fn exchange(keycloak: &Keycloak) {
    keycloak.realm("exchange", &json!({})).await;
    let service = Service::start().await.echo();
    let sidecar = Sidecar::start(&at(
        "exchange",
        &format!(
            r#"
[[route]]
name = "oauth"
upstream = "ws://127.0.0.1:{service}"
dialect = "handshake"
client.token.query = "token"
[route.token]
source = "oauth2"
token_url = "http://127.0.0.1:{port}/token"
grant = "token_exchange"
subject_token = "{{token}}"
client_id = "exchanger"
client_secret = "{SECRET}"
share = "client"
"#,
            port = keycloak.port
        ),
    ))
    .await;
    let token = keycloak.users_token("exchange", keycloak.port).await;
    let began = Instant::now();
    let mut client = Honest::open(sidecar.port, &format!("/?token={token}")).await;
    let mut relayed = 0;
    while began.elapsed() < 4 * LIFE {
        client.relays().await;
        relayed += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (exchanged, refused) = (refreshes(&sidecar, "ok").await, refreshes(&sidecar, "rejected").await);
    println!("{relayed} of {relayed} echoes in four lives of the client's own token; {exchanged} exchanges");
    assert!(exchanged >= 4.0 && refused == 0.0, "{exchanged} exchanges, {refused} refused");
    let swaps = "perennial_reauthentications_total{method=\"swap\",outcome=\"ok\",route=\"oauth\"}";
    assert!(sidecar.metric(swaps).await >= 4.0, "each new token is shown to the service");
    sidecar.stop().await;
}
