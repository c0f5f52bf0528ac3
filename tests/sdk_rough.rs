//! Unmodified Ably clients in Go and Java through a rough minute: they lose nothing, double nothing, and see nothing
//! that they would not see at the service itself. The one in Python names no format in JSON; it lives through its tokens.
//!
//! ```text
//!   client ─── near ─── sidecar ─── service
//!              cut      SIGTERM     reset before its ACKs; away
//! ```

use std::time::Duration;

use futures_util::future::join_all;
use perennial::{
    clock::{self, Instant},
    demo::service::{Connected, Counts, Options, Service, ServiceHandle},
};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
};
use tokio_util::sync::CancellationToken;

use crate::{
    sdk::{
        Format, GO_AND_JAVA, GO_AND_JAVA_LEGACY, PYTHON, Report, Scenario, Sdk, run_client, run_client_until,
    },
    sidecar::Sidecar,
    wire_proxy::{Action, Conditions, Cut, Direction, Fault, Kind, WireProxy},
};

/// More than five lives of a token.
const SECONDS: f64 = 27.0;
/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A strict service, which asks for a new token late.
fn options() -> Options {
    Options { basic: false, hint_before: Duration::from_millis(800), ..Options::default() }
}

fn service(options: Options) -> ServiceHandle {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    Service::start(listener, options, &CancellationToken::new()).unwrap()
}

/// Tokens for `alice` that live for so many seconds, and what else stands under `[route.session]`.
fn route(port: u16, service: &ServiceHandle, lifetime: u64, session: &str) -> String {
    format!(
        "[limits]\ndrain = \"1s\"\n[[route]]\nupstream = \"ws://127.0.0.1:{port}\"\ndialect = \"ably\"\n[route.token]\n\
         source = \"ably-key\"\nkey = \"{}\"\nttl = \"{lifetime}s\"\nclient_id = \"alice\"\n[route.session]\n{session}",
        service.key().expose(),
    )
}

/// `WithToken("any.token")`, `o.token = "any.token"`.
fn scenario(who: (Sdk, Format), port: u16) -> Scenario {
    Scenario {
        token: Some("any.token".into()),
        client_id: Some("alice".into()),
        rate: 10.0,
        ..Scenario::new(who, port)
    }
}

async fn until(service: &ServiceHandle, what: &str, is_so: impl Fn(&Counts) -> bool) {
    let come = service.ledger().until(PATIENCE, |record| is_so(&record.counts)).await;
    assert!(come, "waited for: {what}\n{:?}", service.ledger().counts());
}

/// So many more publishes have been taken.
async fn publishes(service: &ServiceHandle, more: u64) {
    let before = service.ledger().counts().accepted;
    until(service, "publishes", |counts| counts.accepted >= before + more).await;
}

/// All are connected, and publish.
async fn everybody_is_there(service: &ServiceHandle, clients: u64) {
    until(service, "clients", |counts| counts.connects >= clients).await;
    publishes(service, 10 * clients).await;
}

/// The service resets everybody while it owes acknowledgements.
async fn kill_upstream(service: &ServiceHandle, clients: u64) {
    let before = service.ledger().counts().resumes;
    service.faults().hold_acks();
    publishes(service, 4 * clients).await;
    service.faults().reset();
    service.faults().release_acks();
    until(service, "resumes", |counts| counts.resumes >= before + clients).await;
    publishes(service, 4 * clients).await;
}

/// Everybody's own connection is cut.
async fn cut_clients(service: &ServiceHandle, near: &WireProxy, clients: u64) {
    let before = near.seen(|seen| seen.connections());
    near.cut(Cut::Reset);
    near.until("they are back", PATIENCE, |seen| seen.connections() >= before + clients).await;
    publishes(service, 4 * clients).await;
}

/// Nothing was lost or doubled, and everything was answered once.
fn assert_exact(who: (Sdk, Format), report: &Report) {
    println!("{who:?}: {} published, {} acknowledged", report.published, report.acked);
    assert_eq!((&report.error, report.failures.len()), (&None, 0), "{who:?}: {report:#?}");
    assert!(report.published > 50 && report.closed_cleanly, "{who:?}: {report:#?}");
    assert_eq!(report.final_state, "connected", "{who:?}: {report:#?}");
    let answered = (report.acked, report.nacked, report.acked_twice, report.received);
    assert_eq!(answered, (report.published, 0, 0, report.published), "{who:?}: {report:#?}");
    assert_eq!((report.lost, report.doubled, report.reordered), (0, 0, 0), "{who:?}: {report:#?}");
}

/// It saw its own connection end and come back so often, and nothing of a channel but that it goes on.
fn assert_saw_only(who: (Sdk, Format), report: &Report, reconnects: usize) {
    let events = &report.connection_events;
    let back = events.iter().filter(|event| event.to == "connected").count();
    let odd = events.iter().any(|event| matches!(&*event.to, "failed" | "suspended" | "closed"));
    assert!(back == reconnects && !odd, "{who:?}: {events:#?}");
    let gaps =
        report.channel_events.iter().any(|event| event.resumed == Some(false) && event.to == "attached");
    let failed = report.channel_events.iter().any(|event| matches!(&*event.to, "failed" | "suspended"));
    assert!(!gaps && !failed, "{who:?}: {:#?}", report.channel_events);
}

async fn rough(all: [(Sdk, Format); 4]) {
    let service = service(options());
    let sidecar = Sidecar::start(&route(service.address().port(), &service, 5, "")).await;
    let near = WireProxy::start(sidecar.port, Conditions::default());
    let clients = all.len() as u64;
    let script = async {
        everybody_is_there(&service, clients).await;
        kill_upstream(&service, clients).await;
        cut_clients(&service, &near, clients).await;
        kill_upstream(&service, clients).await;
        cut_clients(&service, &near, clients).await;
    };
    let run = |who| {
        let presence =
            Scenario { presence: true, detach: true, seconds: SECONDS, ..scenario(who, near.port) };
        run_client(presence)
    };
    let (reports, ()) = tokio::join!(join_all(all.map(run)), script);
    let log = sidecar.stop().await;
    let (counts, violations) = (service.ledger().counts(), service.ledger().violations());
    println!("{log}\n{counts:?}");
    for (who, report) in all.into_iter().zip(&reports) {
        assert_exact(who, report);
        assert_saw_only(who, report, 2);
    }
    assert_eq!(violations, Vec::<String>::new());
    assert_eq!(
        (counts.expiry_disconnects, counts.dead_tokens, counts.failed_resumes),
        (0, 0, 0),
        "{counts:?}"
    );
    assert!(counts.auths >= 4 * clients, "five lives of a token: {counts:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and Java: run by tests/all"]
async fn clients_in_go_and_java_live_through_a_rough_minute() {
    rough(GO_AND_JAVA).await;
}

/// Both legs are cut at random for half a minute, while tokens live for three seconds.
async fn storm(all: [(Sdk, Format); 4]) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let service = service(Options { hint_before: Duration::from_millis(600), ..options() });
    let sidecar = Sidecar::start(&route(service.address().port(), &service, 3, "")).await;
    let near = WireProxy::start(sidecar.port, Conditions::default());
    let script = async {
        everybody_is_there(&service, all.len() as u64).await;
        let until = clock::now() + Duration::from_secs(30);
        while clock::now() < until {
            tokio::time::sleep(Duration::from_millis(random.u64(200..1500))).await;
            if random.u8(..3) == 0 { near.cut(Cut::Reset) } else { service.faults().reset() }
        }
    };
    let run = |who| run_client(Scenario { seconds: 36.0, settle: 20.0, ..scenario(who, near.port) });
    let (reports, ()) = tokio::join!(join_all(all.map(run)), script);
    println!("{}\n{:?}", sidecar.stop().await, service.ledger().counts());
    for (who, report) in all.into_iter().zip(&reports) {
        assert_exact(who, report);
    }
    assert_eq!(service.ledger().violations(), Vec::<String>::new());
    service.stop().await;
}

/// The service is away for longer than Perennial hides; then Perennial itself stops, and is run again.
async fn told_to_come_back(all: [(Sdk, Format); 4]) {
    // After a resume ably-go's channels send what they queued, while its connection repeats what has no answer.
    let service = service(Options { late_serials: true, ..options() });
    let far = WireProxy::start(service.address().port(), Conditions::default());
    let sidecar = Sidecar::start(&route(far.port, &service, 5, "reconnect = \"2s\"")).await;
    let (port, clients) = (sidecar.port, all.len() as u64);
    let (stop, stopped) = watch::channel(false);
    let script = async {
        everybody_is_there(&service, clients).await;
        let said = Said { since: clock::now(), before: service.ledger().counts().accepted, clients };
        // No status reaches the clients: ably-java 1.2 fails for good at one, without Perennial as well.
        far.inject(Fault::each(Direction::Up, Kind::Connection, Action::Cut(Cut::Fin)));
        far.cut(Cut::Reset);
        tokio::time::timeout(PATIENCE, outage_is_told(&sidecar)).await.expect("everybody is told");
        far.heal();
        let first = said.all_is_heard(&service, 1).await;
        let (log, gone) = sidecar.stopped().await;
        println!("{log}");
        let sidecar = gone.again().await;
        let heard = [first, said.all_is_heard(&service, 2).await];
        stop.send_replace(true);
        (sidecar, heard)
    };
    let run = |who| {
        let mut stopped = stopped.clone();
        let (end, ended) = oneshot::channel();
        let running = run_client_until(Scenario { seconds: 200.0, ..scenario(who, port) }, ended);
        async move {
            let ending = async move {
                let _ = stopped.wait_for(|stopped| *stopped).await;
                let _ = end.send(());
            };
            tokio::join!(running, ending).0
        }
    };
    let (reports, (sidecar, heard)) = tokio::join!(join_all(all.map(run)), script);
    println!("{}\n{:?}", sidecar.stop().await, service.ledger().counts());
    let (ledger, connections) = (service.ledger(), service.connections());
    println!("{:#?}\n{connections:#?}", ledger.violations());
    for (who, report) in all.into_iter().zip(&reports) {
        println!("{who:?}: {} published, {} doubled", report.published, report.doubled);
        assert_eq!((&report.error, &*report.final_state), (&None, "connected"), "{who:?}: {report:#?}");
        // No order: what ably-go queued is overtaken by what it publishes once it is connected.
        assert_eq!(
            (report.acked, report.nacked, report.lost),
            (report.published, 0, 0),
            "{who:?}: {report:#?}"
        );
        // What was on its way when Perennial stopped, and had no answer, is said again.
        assert!(report.doubled <= 8, "{who:?}: {report:#?}");
        let failed = report.connection_events.iter().any(|event| event.to == "failed");
        assert!(!failed, "{who:?}: {report:#?}");
    }
    assert_eq!(heard, [true; 2], "{:?}\n{connections:#?}", ledger.counts());
    service.stop().await;
}

/// The sidecar has begun to hide an outage, and has stopped to.
async fn outage_is_told(sidecar: &Sidecar) {
    let resuming = "perennial_sessions{route=\"ably\",state=\"resuming\"}";
    let phases: [fn(f64) -> bool; 2] = [|sessions| sessions > 0.0, |sessions| sessions == 0.0];
    for is_so in phases {
        while !is_so(sidecar.metric(resuming).await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What clients have said since then, whether they were connected or not: each publishes against the clock.
struct Said {
    since: Instant,
    before: u64,
    clients: u64,
}

impl Said {
    /// All have come back so often, have their channels, and the service has taken what they said, up to half a second
    /// ago. An SDK that is refused tries again after 15 s, and then more seldom; ably-java refuses to publish to a channel
    /// that waited for 10 s.
    async fn all_is_heard(&self, service: &ServiceHandle, times: u64) -> bool {
        let heard = |counts: &Counts| {
            // On two channels, ten times a second.
            let said = 20.0 * self.clients as f64 * (self.since.elapsed().as_secs_f64() - 0.5);
            let back = counts.connects >= (times + 1) * self.clients;
            back && counts.accepted as f64 >= self.before as f64 + said
        };
        let attached = async {
            let is_attached = |it: &&Connected| it.live && it.attached.len() == 2;
            while (service.connections().iter().filter(is_attached).count() as u64) < self.clients {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let heard = service.ledger().until(2 * PATIENCE, |record| heard(&record.counts)).await;
        heard && tokio::time::timeout(PATIENCE, attached).await.is_ok()
    }
}

/// ably-java believes that a second CONNECTED takes back what is not acknowledged, and that a client id which it did
/// not name is a contradiction to its key.
async fn its_own_token(all: [(Sdk, Format); 2]) {
    let slow = Options { ack_batch: 100, ack_delay: Duration::from_millis(60), ..options() };
    let service = service(slow);
    let sidecar = Sidecar::start(&route(service.address().port(), &service, 5, "")).await;
    let token = Some(format!("http://{}/token", service.address()));
    let run = |who| {
        let (authorizes, keyed) = (scenario(who, sidecar.port), scenario(who, sidecar.port));
        let authorizes = Scenario {
            token: None,
            auth_url: token.clone(),
            authorize_every: Some(2.0),
            seconds: 12.0,
            rate: 4.0,
            ..authorizes
        };
        let keyed = Scenario {
            token: None,
            key: Some("any.key:atall".into()),
            client_id: None,
            seconds: 6.0,
            ..keyed
        };
        async move { (who, run_client(authorizes).await, run_client(keyed).await) }
    };
    let reports = join_all(all.map(run)).await;
    println!("{}\n{:?}", sidecar.stop().await, service.ledger().counts());
    for (who, authorizes, keyed) in &reports {
        assert_exact(*who, authorizes);
        assert!(authorizes.authorized >= 4, "{who:?}: {authorizes:#?}");
        assert!(authorizes.connection_events.iter().all(|event| event.event == "update"), "{authorizes:#?}");
        assert_exact(*who, keyed);
        assert!(keyed.connection_events.is_empty(), "{who:?}: {keyed:#?}");
    }
    assert_eq!(service.ledger().violations(), Vec::<String>::new());
    service.stop().await;
}

/// Nobody is cut: no client has anything to notice.
async fn five_tokens(all: [(Sdk, Format); 2]) {
    let service = service(options());
    let sidecar = Sidecar::start(&route(service.address().port(), &service, 5, "")).await;
    let run = |who| {
        let presence = Scenario { presence: true, seconds: SECONDS, ..scenario(who, sidecar.port) };
        run_client(presence)
    };
    let reports = join_all(all.map(run)).await;
    let log = sidecar.stop().await;
    let (counts, violations) = (service.ledger().counts(), service.ledger().violations());
    println!("{log}\n{counts:?}");
    for (who, report) in all.into_iter().zip(&reports) {
        assert_exact(who, report);
        assert!(report.connection_events.is_empty(), "{who:?}: {:#?}", report.connection_events);
        assert!(report.channel_events.is_empty(), "{who:?}: {:#?}", report.channel_events);
    }
    assert_eq!(violations, Vec::<String>::new());
    assert_eq!((counts.expiry_disconnects, counts.dead_tokens), (0, 0), "{counts:?}");
    assert!(counts.auths >= 4 * all.len() as u64, "five lives of a token: {counts:?}");
    service.stop().await;
}

/// What takes longer, and older SDKs.
mod services {
    use super::*;

    const JAVA: [(Sdk, Format); 2] = [(Sdk::JavaCurrent, Format::Json), (Sdk::JavaCurrent, Format::Msgpack)];
    const OLD_JAVA: [(Sdk, Format); 2] =
        [(Sdk::JavaLegacy, Format::Json), (Sdk::JavaLegacy, Format::Msgpack)];

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs Go and Java: run by tests/all --services"]
    async fn older_clients_in_go_and_java_live_through_a_rough_minute() {
        rough(GO_AND_JAVA_LEGACY).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs Go and Java: run by tests/all --services"]
    async fn clients_in_go_and_java_live_through_a_storm() {
        storm(GO_AND_JAVA).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs Go and Java: run by tests/all --services"]
    async fn older_clients_in_go_and_java_live_through_a_storm() {
        storm(GO_AND_JAVA_LEGACY).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs Go and Java: run by tests/all --services"]
    async fn clients_in_go_and_java_come_back_when_they_are_told_to() {
        told_to_come_back(GO_AND_JAVA).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs Go and Java: run by tests/all --services"]
    async fn older_clients_in_go_and_java_come_back_when_they_are_told_to() {
        told_to_come_back(GO_AND_JAVA_LEGACY).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs Python: run by tests/all --services"]
    async fn clients_in_python_live_through_five_tokens() {
        five_tokens(PYTHON).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs Java: run by tests/all --services"]
    async fn clients_in_java_lose_nothing_by_their_own_token_or_key() {
        its_own_token(JAVA).await;
        its_own_token(OLD_JAVA).await;
    }
}
