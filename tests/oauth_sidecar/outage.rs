//! A token endpoint that is away for three lifetimes, before a service that tolerates it.

use std::time::Duration;

use tokio::time::Instant;

use super::{ready, route, said};
use crate::{
    provider::{Front, Provider},
    sidecar::Sidecar,
    support::{service::Service, until, ws::Honest},
};

/// Of a token, in seconds.
const LIFETIME: u64 = 2;
/// Longer than the longest wait between two tries if no token is left (30 s, DESIGN §3.2), and shorter than the one
/// after a refusal that no repeating changes (60 s).
const STEP: Duration = Duration::from_secs(45);

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
    // Each of them may be about to show the newer token.
    let live = || sidecar.metric("perennial_sessions{route=\"oauth\",state=\"live\"}");
    until("20 live sessions", live, |live| *live == 20.0).await;
    assert_eq!(
        sidecar.metric("perennial_sessions_closed_total{reason=\"token_expired\",route=\"oauth\"}").await,
        0.0
    );
    drop(sessions);
    let log = sidecar.stop().await;
    assert!(said(&log, "token refresh failed") > 1, "{log}");
}
