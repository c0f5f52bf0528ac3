//! The main job: unmodified Ably clients, of both generations and in both formats, through the sidecar.
//!
//! The sidecar is the binary, run as the README says, with a configuration of six lines. The service is
//! the embedded one; `service_sdk.rs` proves that it treats these clients as Ably does.

use std::time::Duration;

use crate::sdk::{ALL, Format, Scenario, Sdk, run_client};
use crate::sidecar::Sidecar;
use perennial::demo::service::{Options, Service, ServiceHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A token's life: the client lives through more than five of them.
const LIFETIME: Duration = Duration::from_secs(4);
const SECONDS: f64 = 22.0;

async fn service(options: Options) -> ServiceHandle {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Service::start(listener, options, &CancellationToken::new()).unwrap()
}

fn options() -> Options {
    Options { basic: false, hint_before: Duration::from_millis(800), ..Options::default() }
}

fn six_lines(service: &ServiceHandle) -> String {
    format!(
        "[[route]]\nupstream = \"ws://{}\"\ndialect = \"ably\"\n[route.token]\nsource = \"ably-key\"\nkey = \"{}\"\nttl = \"{}s\"\n",
        service.address(),
        service.key().expose(),
        LIFETIME.as_secs(),
    )
}

/// `new Ably.Realtime({key, tls: false, realtimeHost: '127.0.0.1', port})`, with presence.
fn scenario(sidecar: &Sidecar, service: &ServiceHandle, who: (Sdk, Format)) -> Scenario {
    Scenario {
        key: Some(service.key().expose()),
        client_id: Some("alice".into()),
        seconds: SECONDS,
        presence: true,
        ..Scenario::new(who, sidecar.port)
    }
}

/// Every client in every format, side by side; then the service had nothing to object to either.
async fn nobody_notices_anything(service: &ServiceHandle) {
    let sidecar = Sidecar::start(&six_lines(service)).await;
    let reports = ALL.map(|who| run_client(scenario(&sidecar, service, who)));
    let reports = futures_util::future::join_all(reports).await;
    let log = sidecar.stop().await;
    println!("{log}\n{:?}", service.ledger().violations());
    for (who, report) in ALL.iter().zip(&reports) {
        println!("{who:?}: {} published, {} acknowledged", report.published, report.acked);
        report.assert_untouched();
    }
    assert_eq!(service.ledger().violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn clients_live_through_five_tokens_and_notice_nothing() {
    let service = service(options()).await;
    nobody_notices_anything(&service).await;
    let counts = service.ledger().counts();
    assert_eq!((counts.expiry_disconnects, counts.resumes, counts.dead_tokens), (0, 0, 0), "{counts:?}");
    assert!(counts.auths >= 4 * 5, "each of them re-authenticated five times: {counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn clients_notice_nothing_of_a_reset_every_three_seconds() {
    let batched = Options { ack_batch: 8, ack_delay: Duration::from_millis(300), ..options() };
    let service = service(Options { periodic_reset: Some(Duration::from_secs(3)), ..batched }).await;
    nobody_notices_anything(&service).await;
    let counts = service.ledger().counts();
    println!("{counts:?}");
    assert!(counts.resumes >= 4 * 5, "each of them was reset five times: {counts:?}");
    assert!(counts.repeats > 0, "publishes were un-acknowledged when the connection was reset");
}
