//! Services whose tokens belong to their clients, and legacy clients, against each other: what proves both.
//!
//! Everything that other tests say about the sidecar rests on this: that the services end a connection with its
//! token, that their ledgers miss nothing, and that a client left to itself is seen to suffer.

use std::time::Duration;

use crate::jobs::{
    BearerService, Client, Closed, How, Job, JobService, KINDS, Kind, Leave, Ledger, Options, Report,
    Scenario, Seen, Silent, Work, run_clients, run_clients_until,
};
use crate::support::{
    http::{Head, ask, handshake},
    ws::{CLOSE, TEXT, Wire, close, masked},
};
use futures_util::future::join_all;
use perennial::clock;
use serde_json::json;
use tokio::sync::oneshot;

/// How late a machine under load may be, in milliseconds; a quiet one is by less than five.
const LATE: u64 = 500;

/// A lifetime that no test lives to see.
const LONG: Duration = Duration::from_secs(600);

/// A handshake of one's own making.
async fn dial(port: u16, target: &str, more: &str) -> (Head, Wire) {
    ask(port, handshake(target, more)).await
}

async fn status(service: &JobService, job: &Job, token: &str) -> u16 {
    dial(service.port, &job.target("raw", token), "").await.0.status()
}

fn work(seq: u64) -> Vec<u8> {
    masked(TEXT, json!({ "type": "work", "seq": seq }).to_string().as_bytes())
}

/// One client of each kind, each with a job of its own, until its job has seen enough of it.
async fn one_of_each(
    service: &JobService,
    back: Option<f64>,
    enough: impl Fn(&Ledger, &Seen) -> bool,
) -> Vec<(Job, Kind, Client)> {
    let runs = KINDS.map(|kind| {
        let enough = &enough;
        async move {
            let job = service.job().await;
            let scenario = Scenario { back, ..Scenario::new(kind, vec![job.client(service.port, "alice")]) };
            let seen = service
                .until(&job, |ledger| ledger.clients.get("alice").is_some_and(|seen| enough(ledger, seen)));
            let client = run_until(scenario, seen).await;
            (job, kind, client)
        }
    });
    join_all(runs).await
}

/// One client, until something has happened.
async fn run_until<T>(scenario: Scenario, happened: impl Future<Output = T>) -> Client {
    let (stop, stopped) = oneshot::channel();
    let client = run_clients_until(Scenario { seconds: 60.0, settle: 2.0, ..scenario }, stopped);
    let (mut report, _) = tokio::join!(client, async {
        happened.await;
        stop.send(()).expect("the client still runs");
    });
    report.clients.remove(0)
}

fn last_close(seen: &Seen) -> &Closed {
    seen.connections.last().and_then(|connection| connection.closed.as_ref()).expect("it has ended")
}

// ---- clients

#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_client_whose_token_lives_on_sees_its_messages_and_nothing_else() {
    let progress = Some(Duration::from_millis(20));
    let service = JobService::start(Options { progress, lifetime: LONG, ..Options::default() }).await;
    for (job, kind, client) in
        one_of_each(&service, None, |ledger, seen| seen.work.received > 50 && ledger.progress > 20).await
    {
        client.assert_untouched();
        assert!(
            client.opens[0].protocol.ends_with(&job.token),
            "{kind:?} got the subprotocol that it offered"
        );
        println!("{kind:?}: {} sent, Close answered in {:?} ms", client.sent, client.close_took);
        let ledger = service.ledger(&job).await;
        assert_eq!(ledger.client("alice").work, Work::all(client.sent), "{kind:?}");
        assert_eq!(last_close(ledger.client("alice")).by, "client", "{kind:?}");
        let last = client.progress.last.expect("it was pushed to");
        assert!(
            client.progress.received > 10 && last <= ledger.progress,
            "{kind:?}: {ledger:#?} {client:#?}"
        );
    }
    service.stop().await;
}

/// What Perennial is for: a client that knows no way to a new token.
#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_client_is_closed_when_its_token_ends_and_not_let_in_again() {
    // A Node may take seconds to begin, and beside others so may a reply.
    let service =
        JobService::start(Options { lifetime: Duration::from_secs(10), ..Options::default() }).await;
    for (job, kind, client) in one_of_each(&service, Some(0.3), |_, seen| seen.refused.len() > 1).await {
        let first = &client.closes[0];
        assert_eq!((first.code, first.reason.as_str()), (1008, "Token expired"), "{kind:?}: {client:#?}");
        assert!(
            client.answered > 0 && !client.open_at_end && client.opens.len() == 1,
            "{kind:?}: {client:#?}"
        );
        let ledger = service.ledger(&job).await;
        let (seen, token) = (ledger.client("alice"), &ledger.tokens[0]);
        let closed = last_close(seen);
        println!("{kind:?}: closed {} ms after its token ended", closed.at.abs_diff(token.ends));
        assert!((token.ends..token.ends + LATE).contains(&closed.at), "{kind:?}: {ledger:#?}");
        assert_eq!((closed.by.as_str(), ledger.expired()), ("service", 1), "{kind:?}");
        let refused: Vec<_> = seen.refused.iter().map(|r| (r.status, r.why.as_str())).collect();
        assert!(refused.iter().all(|r| *r == (401, "expired token")), "{kind:?}: {refused:?}");
    }
    service.stop().await;
}

#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_client_that_loses_its_socket_comes_back_with_its_old_token() {
    let service = JobService::start(Options { greeting: true, lifetime: LONG, ..Options::default() }).await;
    for kind in [Kind::Ws, Kind::PartySocket] {
        let job = service.job().await;
        let scenario = Scenario {
            leave: Some(Leave { at: 0.8, how: How::Destroy }),
            silent: Some(Silent { from: 0.3, seconds: 1.0 }),
            back: Some(0.2),
            // It has to be back within this time, on a machine that does other things as well.
            seconds: 6.0,
            ..Scenario::new(kind, vec![job.client(service.port, "alice")])
        };
        let client = run_clients(scenario).await.clients.remove(0);
        client.assert_whole();
        assert_eq!((client.opens.len(), client.open_at_end), (2, true), "{kind:?}: {client:#?}");
        assert_eq!(client.other.len(), 1, "{kind:?} is greeted once, when it is back: {client:#?}");
        let ledger = service.ledger(&job).await;
        let seen = ledger.client("alice");
        let ends: Vec<_> = seen.connections.iter().map(|c| c.closed.as_ref().unwrap().by.as_str()).collect();
        assert_eq!((seen.work.clone(), ends), (Work::all(client.sent), vec!["loss", "client"]), "{kind:?}");
    }
    service.stop().await;
}

#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn two_hundred_clients_at_once_have_jobs_of_their_own() {
    let service = JobService::start(Options { lifetime: LONG, ..Options::default() }).await;
    let jobs = join_all((0..200).map(|_| service.job())).await;
    let who = (0..).zip(&jobs).map(|(n, job)| job.client(service.port, &format!("client-{n}"))).collect();
    let Report { clients, pauses } =
        run_clients(Scenario { rate: 5.0, ..Scenario::new(Kind::Ws, who) }).await;
    clients.iter().for_each(Client::assert_untouched);
    println!("{pauses:?}");
    assert_eq!((clients.len(), pauses.count), (200, clients.iter().map(|c| c.sent).sum()));
    for (client, job) in clients.iter().zip(&jobs) {
        assert_eq!(service.ledger(job).await.client(&client.name).work, Work::all(client.sent));
    }
    service.stop().await;
}

// ---- tokens

#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_token_is_found_in_either_place_and_must_be_known() {
    let service = JobService::start(Options::default()).await;
    let (job, other) = (service.job().await, service.job().await);
    let bare = format!("/ws?jobId={}&client=raw", job.id);
    let protocol = |token: &str| format!("sec-websocket-protocol: chat, bookstrack-auth.{token}\r\n");
    for (target, more, expected) in [
        (job.target("raw", &job.token), String::new(), 101),
        (bare.clone(), protocol(&job.token), 101),
        (job.target("raw", &job.token), protocol(&job.token), 101),
        (job.target("raw", &job.token), protocol(&other.token), 401),
        (job.target("raw", &other.token), protocol(&job.token), 401),
        (job.target("raw", &other.token), String::new(), 401),
        (bare, String::new(), 401),
        ("/ws?jobId=none&token=none".to_owned(), String::new(), 401),
    ] {
        let (head, _) = dial(service.port, &target, &more).await;
        assert_eq!(head.status(), expected, "{target} {more}");
        let chosen = head.get("sec-websocket-protocol");
        let offered = format!("bookstrack-auth.{}", job.token);
        let due = (expected == 101 && !more.is_empty()).then_some(offered.as_str());
        assert_eq!(chosen, due, "{target} {more}");
    }
    assert_eq!(service.ledger(&job).await.client("raw").refused.len(), 4);
    service.stop().await;
}

#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_superseded_token_is_taken_within_its_grace_and_ends_at_once_when_it_is_superseded_twice() {
    let [lifetime, window, grace] = [3000, 1500, 1200].map(Duration::from_millis);
    let service = JobService::start(Options { lifetime, window, grace, ..Options::default() }).await;
    let job = service.job().await;
    let early = service.refresh(&job, &job.token).await;
    assert_eq!((early.status, early.text("error").as_str()), (403, "too early"));
    let (_, mut first) = dial(service.port, &job.target("raw", &job.token), "").await;

    tokio::time::sleep(lifetime.mul_f64(0.55)).await;
    let second = service.refresh(&job, &job.token).await.text("token");
    assert_eq!(status(&service, &job, &second).await, 101, "the new one");
    assert_eq!(status(&service, &job, &job.token).await, 101, "the old one, within its grace");
    assert_eq!(service.refresh(&job, &second).await.status, 403, "a new one is too young");

    // With the old one again, as where the answer to the first refresh was lost.
    let third = service.refresh(&job, &job.token).await;
    assert_eq!((third.status, third.body["expiresIn"].as_f64()), (200, Some(3.0)), "{third:?}");
    let third = third.text("token");
    assert_eq!(first.ending().await, Some((1008, "Token expired".into())), "its connections end with it");
    assert_eq!(status(&service, &job, &job.token).await, 401, "superseded twice");
    assert_eq!(service.refresh(&job, &job.token).await.status, 401, "superseded twice");
    assert_eq!((status(&service, &job, &second).await, status(&service, &job, &third).await), (101, 101));

    let (_, mut old) = dial(service.port, &job.target("old", &second), "").await;
    let (_, mut new) = dial(service.port, &job.target("new", &third), "").await;
    assert_eq!(old.ending().await, Some((1008, "Token expired".into())));
    new.send(work(0)).await;
    assert_eq!(new.message().await.text(), r#"{"type":"done","seq":0}"#, "the current one lives on");
    assert_eq!(status(&service, &job, &second).await, 401, "beyond its grace");

    let ledger = service.ledger(&job).await;
    let (grace, closed) = (&ledger.tokens[1], last_close(ledger.client("old")));
    assert!(
        grace.ends < grace.expires && (grace.ends..grace.ends + LATE).contains(&closed.at),
        "{ledger:#?}"
    );
    let asked: Vec<_> = ledger.refreshes.iter().map(|r| (r.token, r.status, r.issued)).collect();
    let expected = [
        (Some(0), 403, None),
        (Some(0), 200, Some(1)),
        (Some(1), 403, None),
        (Some(0), 200, Some(2)),
        (Some(0), 401, None),
    ];
    assert_eq!(asked, expected);
    service.stop().await;
}

// ---- messages

#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn the_ledger_finds_what_is_lost_doubled_and_out_of_order() {
    let service = JobService::start(Options::default()).await;
    for (sent, expected) in [
        (vec![0, 1, 2], Work::all(3)),
        (vec![0, 2], Work { received: 2, next: 3, missing: vec![1], ..Work::default() }),
        (vec![1, 2], Work { received: 2, next: 3, missing: vec![0], ..Work::default() }),
        (vec![0, 1, 1], Work { received: 3, next: 2, duplicates: 1, ..Work::default() }),
        (vec![0, 2, 1], Work { received: 3, next: 3, out_of_order: 1, ..Work::default() }),
        (vec![0, 2, 1, 1], Work { received: 4, next: 3, out_of_order: 1, duplicates: 1, ..Work::default() }),
    ] {
        let job = service.job().await;
        let (_, mut wire) = dial(service.port, &job.target("raw", &job.token), "").await;
        for seq in &sent {
            wire.send(work(*seq)).await;
            assert_eq!(wire.message().await.text(), format!(r#"{{"type":"done","seq":{seq}}}"#));
        }
        assert_eq!(service.ledger(&job).await.client("raw").work, expected, "{sent:?}");
    }
    service.stop().await;
}

/// A swap rests on this: when the Close is answered, everything before it has been taken.
#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn what_was_sent_before_a_close_is_in_the_ledger_when_the_close_is_answered() {
    let service = JobService::start(Options::default()).await;
    let mut took = Vec::new();
    for _ in 0..20 {
        let job = service.job().await;
        let (_, mut wire) = dial(service.port, &job.target("raw", &job.token), "").await;
        let mut bytes: Vec<u8> = (0..200).flat_map(work).collect();
        bytes.extend(masked(CLOSE, &close(1000, "bye")));
        let begun = clock::now();
        wire.send(bytes).await;
        assert_eq!(wire.ending().await, Some((1000, "bye".into())));
        took.push(begun.elapsed());
        assert_eq!(service.ledger(&job).await.client("raw").work, Work::all(200));
    }
    took.sort();
    println!("200 messages and a Close: {:?}, at most {:?}", took[took.len() / 2], took[took.len() - 1]);
    service.stop().await;
}

/// What a service does that leaves it to its runtime; its sockets are seen to close all the same.
#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_service_that_does_not_answer_a_close_leaves_its_client_waiting() {
    let service = JobService::start(Options { answers: false, ..Options::default() }).await;
    let job = service.job().await;
    let (_, mut wire) = dial(service.port, &job.target("raw", &job.token), "").await;
    wire.send(masked(CLOSE, &close(1000, "bye"))).await;
    service.until(&job, |ledger| ledger.client("raw").open() == 0).await;
    let answer = tokio::time::timeout(Duration::from_millis(300), wire.frame()).await;
    assert!(answer.is_err(), "{answer:?}");
    service.stop().await;
}

#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn progress_goes_to_every_connection_or_to_the_newest_alone() {
    for newest in [false, true] {
        let progress = Some(Duration::from_millis(30));
        let service = JobService::start(Options { progress, newest, ..Options::default() }).await;
        let job = service.job().await;
        let (_, mut old) = dial(service.port, &job.target("raw", &job.token), "").await;
        let started = service.until(&job, |ledger| ledger.progress > 2).await.progress;
        let (_, mut new) = dial(service.port, &job.target("raw", &job.token), "").await;
        let number = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["n"].as_u64();
        let heard = number(new.message().await.text()).unwrap();
        assert!(heard > started, "{heard} is not what went before: {started}");
        assert_eq!(number(new.message().await.text()), Some(heard + 1), "without a gap");
        old.send(masked(CLOSE, &close(1000, ""))).await;
        let mut last = 0;
        while let Some(frame) = old.frame().await.filter(|frame| frame.opcode() == TEXT) {
            assert_eq!(number(frame.text()), Some(last + 1));
            last += 1;
        }
        assert_eq!(last < heard, newest, "the old one heard up to {last}, the new one from {heard}");
        service.stop().await;
    }
}

#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_second_connection_is_greeted_or_refused() {
    let service = JobService::start(Options { greeting: true, single: true, ..Options::default() }).await;
    let job = service.job().await;
    let target = job.target("raw", &job.token);
    let (_, mut first) = dial(service.port, &target, "").await;
    assert_eq!(dial(service.port, &target, "").await.0.status(), 409);
    assert_eq!(dial(service.port, &job.target("other", &job.token), "").await.0.status(), 101);
    first.send([work(0), masked(CLOSE, &close(1000, ""))].concat()).await;
    assert_eq!(first.message().await.text(), r#"{"type":"done","seq":0}"#, "nobody greets the first");
    first.ending().await.expect("a Close");
    let (head, mut second) = dial(service.port, &target, "").await;
    assert_eq!(head.status(), 101, "as soon as the Close was answered");
    assert!(second.message().await.text().starts_with(r#"{"type":"reconnected","at":"#));
    let ledger = service.ledger(&job).await;
    let seen = ledger.client("raw");
    assert_eq!((seen.connections.len(), seen.open(), seen.refused[0].status), (2, 1, 409));
    service.stop().await;
}

// ---- faults

#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn faults_strike_once_and_the_ledger_outlives_them() {
    let always = Duration::from_secs(4);
    let service = JobService::start(Options { window: always, ..Options::default() }).await;
    let job = service.job().await;
    let target = job.target("raw", &job.token);
    service.fault(&job, json!({ "handshake": "refuse" })).await;
    assert_eq!(dial(service.port, &target, "").await.0.status(), 503);
    assert_eq!(dial(service.port, &job.target("other", &job.token), "").await.0.status(), 101);
    service.fault(&job, json!({ "handshake": "slow", "ms": 300 })).await;
    let begun = clock::now();
    let (head, mut wire) = dial(service.port, &target, "").await;
    assert!(head.status() == 101 && begun.elapsed() >= Duration::from_millis(300));

    wire.send(work(0)).await;
    wire.message().await;
    service.fault(&job, json!({ "drop": "connection" })).await;
    assert_eq!(wire.ending().await, None, "no Close");
    let (_, mut again) = dial(service.port, &target, "").await;
    again.send(work(1)).await;
    again.message().await;
    let ledger = service.ledger(&job).await;
    let seen = ledger.client("raw");
    assert_eq!((&seen.work, seen.connections.len(), seen.open()), (&Work::all(2), 2, 1), "{ledger:#?}");

    service.fault(&job, json!({ "refresh": "fail" })).await;
    assert_eq!(service.refresh(&job, &job.token).await.status, 503);
    service.fault(&job, json!({ "refresh": "lost" })).await;
    assert_eq!(service.refresh(&job, &job.token).await.status, 502);
    service.fault(&job, json!({ "refresh": "slow", "ms": 300 })).await;
    let begun = clock::now();
    let slow = service.refresh(&job, &job.token).await;
    assert_eq!(slow.status, 200, "with the old one, since the new one was lost");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(service.refresh(&job, &slow.text("token")).await.status, 200);
    let ledger = service.ledger(&job).await;
    let asked: Vec<_> = ledger.refreshes.iter().map(|r| (r.outcome.as_str(), r.issued)).collect();
    assert_eq!(asked, [("failed on purpose", None), ("lost", Some(1)), ("slow", Some(2)), ("ok", Some(3))]);
    service.stop().await;
}

// ---- the other service

#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn the_bearer_service_closes_4401_at_a_tokens_end() {
    let service = BearerService::start(Duration::from_secs(3)).await;
    let (alice, bob) = (service.login("alice").await, service.login("bob").await);
    let cookie = format!("cookie: theme=dark; token={}\r\n", bob.access_token);
    let (head, mut wire) = dial(service.port, "/ws", &cookie).await;
    assert_eq!(head.status(), 101);
    for more in ["", "authorization: Bearer none\r\n"] {
        assert_eq!(dial(service.port, "/ws", more).await.0.status(), 401, "{more}");
    }
    let scenario = Scenario::new(Kind::Ws, vec![alice.client(service.port, "alice")]);
    let client = run_until(scenario, service.until(|ledger| ledger.expired() == 2)).await;
    assert_eq!(
        (client.closes[0].code, client.closes[0].reason.as_str()),
        (4401, "token expired"),
        "{client:#?}"
    );
    let first = wire.message().await;
    assert_eq!((first.opcode(), &first.payload[2..]), (CLOSE, &b"token expired"[..]), "no echo of alice's");
    assert_eq!(service.renew(&alice.access_token).await.status, 401, "too late");
    let ledger = service.ledger().await;
    let (seen, token) = (ledger.client("alice"), &ledger.tokens[0]);
    assert!((token.ends..token.ends + LATE).contains(&last_close(seen).at), "{ledger:#?}");
    assert!(client.answered > 0 && seen.work.missing.is_empty() && ledger.expired() == 2, "{ledger:#?}");
    service.stop().await;
}

#[tokio::test]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn the_bearer_service_renews_a_token_and_cuts_connections() {
    let service = BearerService::start(LONG).await;
    let old = service.login("alice").await;
    let new = service.renew(&old.access_token).await.text("access_token");
    assert_ne!(new, old.access_token);
    let (head, mut wire) = dial(service.port, "/ws", &format!("authorization: Bearer {new}\r\n")).await;
    assert_eq!(head.status(), 101);
    wire.send([work(0), work(2)].concat()).await;
    assert_eq!(wire.message().await.text(), r#"{"type":"done","seq":0}"#);
    assert_eq!(wire.message().await.text(), r#"{"type":"done","seq":2}"#);
    service.drop_connections().await;
    assert_eq!(wire.ending().await, None, "no Close");
    let ledger = service.until(|ledger| ledger.client("alice").open() == 0).await;
    let seen = ledger.client("alice");
    assert_eq!(last_close(seen).by, "loss");
    assert_eq!(seen.work, Work { received: 2, next: 3, missing: vec![1], ..Work::default() });
    assert_eq!((ledger.refreshes[0].token, ledger.refreshes[0].issued), (Some(0), Some(1)));
    service.stop().await;
}
