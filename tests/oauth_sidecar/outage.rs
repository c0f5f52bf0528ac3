//! A token endpoint that is away for three lifetimes, before a service that tolerates it.

use std::time::Duration;

use tokio::time::Instant;

use super::{ready, route, said};
use crate::{
    provider::{Front, Provider},
    sidecar::Sidecar,
    support::{service::Service, ws::Honest},
};

/// Of a token, in seconds.
const LIFETIME: u64 = 2;
/// The longest wait between two tries where no token is left (DESIGN §3.2).
const STEP: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider, which tests/all installs"]
async fn no_session_is_closed_while_the_endpoint_is_away_for_three_lifetimes() {
    let service = Service::start().await.echo();
    let provider = Provider::start(LIFETIME).await;
    let front = Front::start(provider.port).await;
    let configuration = route(front.port, "").replace("127.0.0.1:9\"", &format!("127.0.0.1:{service}\""));
    let sidecar = Sidecar::start(&configuration).await;
    ready(&sidecar).await;
    let mut sessions = Vec::new();
    for _ in 0..20 {
        sessions.push(Honest::open(sidecar.port, "/").await);
    }

    front.cut(true);
    let away = Instant::now();
    while away.elapsed() < Duration::from_secs(3 * LIFETIME) {
        for session in &mut sessions {
            session.relays().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_ne!(sidecar.ask("/readyz").await.0, 200, "its token has ended");
    front.cut(false);
    let back = Instant::now();
    let waiting = async {
        while sidecar.ask("/readyz").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(STEP, waiting).await.expect("fresh again within one backoff step");
    println!("fresh again {:?} after the endpoint's return", back.elapsed());
    for session in &mut sessions {
        session.relays().await;
    }
    assert_eq!(sidecar.metric("perennial_sessions{route=\"oauth\",state=\"live\"}").await, 20.0);
    assert_eq!(
        sidecar.metric("perennial_sessions_closed_total{reason=\"token_expired\",route=\"oauth\"}").await,
        0.0
    );
    drop(sessions);
    let log = sidecar.stop().await;
    assert!(said(&log, "token refresh failed") > 1, "{log}");
}
