//! Unmodified clients whose service is far away: they publish all the time, their tokens are renewed several
//! times, and they notice nothing; what passes beside their messages is in bounds.

use std::time::Duration;

use futures_util::future::join_all;
use perennial::demo::service::{Options, Service};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    far::stage::Dialect,
    jobs::{self, JobService, KINDS},
    jobs_sidecar::stage::{self as jobs_stage, Plan},
    sdk::{ALL, Report, Scenario, run_client},
    sidecar::Sidecar,
    wire_proxy::{Conditions, Direction, Kind, WireProxy},
};

/// The round-trip time between the sidecar and the service, in milliseconds, that every run tries.
const FAR: u64 = 200;

/// More than five lives of a token.
const PUBLISHED: Duration = Duration::from_secs(22);
const LIFETIME: Duration = Duration::from_secs(4);

/// The most Pings that so many connections are sent in such a time.
fn pings(connections: usize, time: Duration, keepalive: Duration) -> u64 {
    connections as u64 * (time.as_secs() / keepalive.as_secs() + 1)
}

async fn ably(round_trip: u64) {
    let options = Options { basic: false, hint_before: Duration::from_millis(800), ..Options::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = Service::start(listener, options, &CancellationToken::new()).unwrap();
    let proxy = WireProxy::start(service.address().port(), Conditions::round_trip(round_trip));
    let route = Dialect::Ably.route(&format!("127.0.0.1:{}", proxy.port)).replace("1h", "4s");
    let sidecar = Sidecar::start(&route).await;
    let reports = join_all(ALL.map(|who| {
        run_client(Scenario {
            key: Some(service.key().expose()),
            client_id: Some("alice".into()),
            seconds: PUBLISHED.as_secs_f64(),
            rate: 10.0,
            presence: true,
            ..Scenario::new(who, sidecar.port)
        })
    }))
    .await;
    let log = sidecar.stop().await;
    let (counts, violations) = (service.ledger().counts(), service.ledger().violations());
    let sent = proxy.count(Direction::Up, Kind::Ping);
    println!("{round_trip} ms, {ALL:?}: {} AUTHs, {sent} Pings\n{log}", counts.auths);
    reports.iter().for_each(Report::assert_untouched);
    assert_eq!(violations, Vec::<String>::new());
    assert_eq!((counts.expiry_disconnects, counts.resumes, counts.dead_tokens), (0, 0, 0), "{counts:?}");
    assert!(counts.auths >= 4 * 5, "each of them re-authenticated five times: {counts:?}");
    assert_eq!(proxy.seen(|seen| seen.connections()), 4, "{round_trip} ms");
    // Node takes seconds to begin, and to settle.
    let most = pings(4, PUBLISHED + Duration::from_secs(10), Dialect::Ably.keepalive());
    assert!(sent <= most, "{round_trip} ms: {sent} Pings, at most {most}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn ably_clients_far_from_their_service_live_through_five_tokens_and_notice_nothing() {
    ably(FAR).await;
}

/// Each swap makes a connection, on which a Ping asks whether the service serves it, and leaves one, on which a Ping
/// asks whether it has read everything.
const PINGS_OF_A_SWAP: u64 = 2;

async fn jobs(round_trip: u64) {
    let [window, grace] = [2_000, 1_500].map(Duration::from_millis);
    let progress = Some(Duration::from_millis(50));
    let options = jobs::Options {
        lifetime: LIFETIME,
        window,
        grace,
        progress,
        newest: true,
        ..jobs::Options::default()
    };
    let service = JobService::start(options).await;
    let proxy = WireProxy::start(service.port, Conditions::round_trip(round_trip));
    let plan = Plan { options, grace, renewed_at: Some(service.port), ..Plan::default() };
    let sidecar = Sidecar::start(&plan.configuration(proxy.port)).await;
    let stage = jobs_stage::Stage { service, sidecar };
    let shape = |scenario| jobs::Scenario { seconds: 14.0, rate: 20.0, ..scenario };
    let runs = stage.run(&KINDS, shape).await;
    let sent = proxy.count(Direction::Up, Kind::Ping);
    let connections = proxy.seen(|seen| seen.connections());
    println!("{round_trip} ms, {KINDS:?}: {connections} connections, {sent} Pings");
    for run in &runs {
        println!(
            "{round_trip} ms, {:?}: {} sent, longest {:?}",
            run.client.kind, run.client.sent, run.client.longest
        );
        run.assert_unnoticed(3);
    }
    stage.assert_none_lost().await;
    stage.stop().await;
    // And one that speaks is asked what it has read, four times a second at most.
    let asked = 4 * 25 * KINDS.len() as u64;
    let silent = pings(3, Duration::from_secs(25), Dialect::Handshake.keepalive());
    let most = PINGS_OF_A_SWAP * connections + silent + asked;
    assert!(sent <= most, "{round_trip} ms: {sent} Pings, at most {most}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn clients_of_jobs_far_from_their_service_live_through_three_swaps_and_notice_nothing() {
    jobs(FAR).await;
}

/// The same at other distances.
mod services {
    use super::{ably, jobs};
    use crate::far::stage::all;

    /// In milliseconds.
    const ROUND_TRIPS: [u64; 2] = [0, 50];

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs Node and npm packages: run by tests/all --services"]
    async fn ably_clients_at_any_distance_live_through_five_tokens_and_notice_nothing() {
        all(ROUND_TRIPS.into_iter().map(ably)).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs Node and npm packages: run by tests/all --services"]
    async fn clients_of_jobs_at_any_distance_live_through_three_swaps_and_notice_nothing() {
        // One after the other: a workerd and three Nodes each take a machine's cores when they begin.
        for round_trip in ROUND_TRIPS {
            jobs(round_trip).await;
        }
    }
}
