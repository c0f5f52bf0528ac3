//! Real Ably clients straight against the embedded service: what proves the service faithful.
//!
//! Everything that other tests say about the sidecar rests on this: that the service treats a real
//! client as Ably does, and that a client left to itself is seen to suffer when its token ends.

use std::time::Duration;

use crate::sdk::{ALL, Format, Scenario, Sdk, run_client, run_client_until};
use perennial::demo::service::{Cut, Faults, Ledger, Options, Service, ServiceHandle, Target};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);

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

/// What Perennial is for: a client that cannot renew its token is seen to fail over it, at its end or
/// already when it is asked for another.
#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_client_with_a_literal_token_fails() {
    for who in ALL {
        for hint_before in [0, 1].map(Duration::from_secs) {
            let service = service(Options { hint_before, ..Options::default() }).await;
            let token = Some(service.mint_jwt(Duration::from_secs(2), Some("bob")).token);
            let report = run_client(Scenario { token, seconds: 10.0, ..scenario(&service, who) }).await;
            assert!(report.connected && report.final_state == "failed", "{who:?}: {report:#?}");
            assert!(report.acked > 0, "{who:?}: {report:#?}");
            let last = report.connection_events.last().expect("the end is told");
            assert_eq!((last.to.as_str(), last.code), ("failed", Some(40171)), "{who:?}: {report:#?}");
            let counts = service.ledger().counts();
            let hinted = u64::from(!hint_before.is_zero());
            assert_eq!((counts.hints, counts.expiry_disconnects), (hinted, 1 - hinted), "{who:?}");
            service.stop().await;
        }
    }
}

#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_client_that_renews_its_token_itself_sees_updates_only() {
    for who in ALL {
        let service = service(Options {
            token_lifetime: Duration::from_secs(3),
            hint_before: Duration::from_secs(2),
            ..Options::default()
        })
        .await;
        let mut scenario = Scenario { seconds: 4.0, ..scenario(&service, who) };
        // By asking a server of the application's, and by signing a request for the service itself.
        match who.1 {
            Format::Json => scenario.auth_url = Some(format!("http://{}/token", service.address())),
            Format::Msgpack => {
                scenario.key = Some(service.key().expose());
                scenario.options = serde_json::json!({ "useTokenAuth": true });
            }
        }
        let report = run_client(scenario).await;
        assert!(report.connection_events.iter().all(|e| e.event == "update"), "{who:?}: {report:#?}");
        assert!(report.channel_events.is_empty(), "{who:?}: {report:#?}");
        assert_eq!(
            (report.acked, report.lost, report.doubled),
            (report.published, 0, 0),
            "{who:?}: {report:#?}"
        );
        let counts = service.ledger().counts();
        assert!(counts.auths_accepted >= 2, "{who:?}: {counts:?}");
        assert_eq!((counts.expiry_disconnects, counts.dead_tokens), (0, 0), "{who:?}");
        assert_eq!(service.ledger().violations(), Vec::<String>::new(), "{who:?}");
        service.stop().await;
    }
}

/// Left to itself a client sees each loss; with resume and history it loses no message over it.
#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_client_that_loses_its_transport_comes_back_and_misses_nothing() {
    for who in ALL {
        let service = service(Options::default()).await;
        let ledger = service.ledger();
        let (stop, stopped) = oneshot::channel();
        let client = run_client_until(
            Scenario {
                key: Some(service.key().expose()),
                client_id: Some("alice".into()),
                presence: true,
                seconds: 60.0,
                ..scenario(&service, who)
            },
            stopped,
        );
        let trouble = async {
            let served = cut_four_times(&service).await;
            stop.send(()).unwrap();
            served
        };
        let (report, served) = tokio::join!(client, trouble);
        assert_eq!(report.error, None, "{who:?}");
        assert_eq!(report.from_server, served, "{who:?}: {report:#?}");
        assert_eq!((report.acked, report.nacked, report.unanswered), (report.published, 0, 0), "{who:?}");
        assert_eq!((report.lost, report.doubled, report.reordered), (0, 0, 0), "{who:?}: {report:#?}");
        let losses = report.connection_events.iter().filter(|e| e.to == "disconnected").count();
        assert_eq!(losses, 4, "{who:?}: the client sees each loss: {:#?}", report.connection_events);
        assert!(ledger.counts().repeats > 0, "{who:?}: the unacknowledged publish was sent again");
        assert_eq!(ledger.violations(), Vec::<String>::new(), "{who:?}");
        let left = report.presence_events.iter().filter(|e| e.action == "leave").count();
        assert_eq!(left, 0, "{who:?}: {:#?}", report.presence_events);
        service.stop().await;
    }
}

/// Ends the one client's transport in four ways, with messages on their way each time, and waits for
/// it to come back; how many messages the service published.
async fn cut_four_times(service: &ServiceHandle) -> u64 {
    let (ledger, faults) = (service.ledger(), service.faults());
    let cuts: [fn(&Faults); 4] = [
        Faults::reset,
        |faults| faults.cut_before_ack(1),
        |faults| faults.cut(&Target::All, Cut::Close(1001)),
        |faults| faults.cut(&Target::All, Cut::Drop),
    ];
    let mut served = 0;
    for (round, cut) in (1..).zip(cuts) {
        settled(&ledger, round).await;
        for _ in 0..5 {
            service.publish("one", "server", served);
            served += 1;
        }
        cut(&faults);
        service.publish("one", "server", served);
        served += 1;
        let back = ledger.until(PATIENCE, |r| r.counts.resumes == round).await;
        assert!(back, "{round}: {:?} {:?}", ledger.counts(), ledger.violations());
    }
    settled(&ledger, 5).await;
    served
}

/// Waits until the client has attached its two channels for the nth time, and was served for a while:
/// ably-js 2 sends a serial too early where it is cut off before its presence is acknowledged again.
async fn settled(ledger: &Ledger, times: u64) {
    let attached = ledger.until(PATIENCE, |r| r.counts.attaches >= 2 * times).await;
    let enough = ledger.counts().accepted + 50;
    let served = ledger.until(PATIENCE, |r| r.counts.accepted > enough).await;
    assert!(attached && served, "{times}: {:?} {:?}", ledger.counts(), ledger.violations());
}
