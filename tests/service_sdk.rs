//! Real Ably clients straight against the embedded service: what proves the service faithful.
//!
//! Everything that other tests say about the sidecar rests on this: that the service treats a real
//! client as Ably does, and that a client left to itself is seen to suffer when its token ends.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test's helpers fail the test")]

mod sdk;

use std::time::Duration;

use perennial::demo::service::{Cut, Options, Service, ServiceHandle, Target};
use sdk::{ALL, Format, Scenario, Sdk, run_client, run_client_until};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

async fn service(options: Options) -> ServiceHandle {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Service::start(listener, options, &CancellationToken::new()).unwrap()
}

fn scenario(service: &ServiceHandle, who: (Sdk, Format)) -> Scenario {
    Scenario::new(who, service.address().port())
}

#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_client_with_its_key_sees_nothing_but_its_messages() {
    for who in ALL {
        let service = service(Options::default()).await;
        let report = run_client(Scenario {
            key: Some(service.key().expose()),
            client_id: Some("alice".into()),
            presence: true,
            ..scenario(&service, who)
        })
        .await;
        report.assert_untouched();
        let entered: Vec<_> = report.presence_events.iter().map(|e| e.client_id.as_str()).collect();
        assert_eq!(entered, ["alice", "alice"], "{who:?}: once on each channel");
        let counts = service.ledger().counts();
        assert_eq!(service.ledger().violations(), Vec::<String>::new(), "{who:?}");
        assert_eq!((counts.accepted, counts.closes), (report.published + 2, 1), "{who:?}");
        service.stop().await;
    }
}

#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_client_whose_token_lives_on_sees_nothing() {
    for who in ALL {
        let service = service(Options::default()).await;
        let token = service.mint_jwt(Duration::from_secs(3600), Some("bob"));
        let report = run_client(Scenario { token: Some(token.token), ..scenario(&service, who) }).await;
        report.assert_untouched();
        assert_eq!(service.ledger().violations(), Vec::<String>::new(), "{who:?}");
        service.stop().await;
    }
}
