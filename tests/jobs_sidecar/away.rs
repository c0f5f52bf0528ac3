//! Clients that lose their socket and come back with the token that they began with.

use std::time::Duration;

use serde_json::json;

use crate::{
    jobs::{Closed, How, Kind, Leave, Options, Ready, Scenario, Silent},
    jobs_sidecar::stage::{ALICE, LIFETIME, MOMENT, Plan, Run, Stage},
};

/// More than any of these clients is away for.
const LONG_GRACE: Duration = Duration::from_secs(10);

/// A client that loses its socket after `at` seconds and is back after some more. It says nothing meanwhile: what
/// was on its way would be lost.
fn leaves(scenario: Scenario, at: f64, back: f64) -> Scenario {
    let silent = Some(Silent { from: at - 0.4, seconds: back + 0.8 });
    let millis = back * 1000.0;
    let options = match scenario.kind {
        Kind::PartySocket => {
            json!({ "minReconnectionDelay": millis, "maxReconnectionDelay": millis, "minUptime": 100 })
        }
        Kind::Ws | Kind::Undici => json!({}),
    };
    let leave = Some(Leave { at, how: How::Destroy });
    Scenario { silent, leave, back: Some(back), options, ..scenario }
}

/// It was away once, and everything that it said was taken and answered.
fn assert_back(run: &Run) {
    let client = &run.client;
    assert_eq!((client.opens.len(), client.open_at_end), (2, true), "{client:#?}");
    client.assert_answered();
    assert!(client.opens[1].protocol.ends_with(&run.job.token), "it got the subprotocol that it offered");
    assert_eq!(run.seen().work.received, client.sent, "{:#?}", run.ledger);
    assert!(run.seen().refused.is_empty() && run.ledger.expired() == 0, "{:#?}", run.ledger);
    run.ledger.rotations();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_client_that_is_away_at_the_refresh_hears_what_it_missed_and_the_service_saw_no_gap() {
    let progress = Some(Duration::from_millis(50));
    let options = Options { progress, newest: true, lifetime: LIFETIME, ..Options::default() };
    let plan = Plan { options, grace: LONG_GRACE, session: "park = \"5s\"", ..Plan::default() };
    let stage = Stage::set(plan).await;
    let runs =
        stage.run(&[Kind::Ws, Kind::PartySocket], |s| Scenario { seconds: 5.0, ..leaves(s, 1.5, 1.6) }).await;
    for run in &runs {
        assert_back(run);
        let (client, connections) = (&run.client, &run.seen().connections);
        assert_eq!(run.seen().tokens()[..2], [0, 1], "{:#?}", run.ledger);
        // One connection after the other, each ended by the sidecar once the next one stood.
        assert_eq!(connections.len(), run.ledger.refreshes.len() + 1, "{:#?}", run.ledger);
        for pair in connections.windows(2) {
            let Closed { at, by, .. } = pair[0].closed.as_ref().unwrap();
            assert!(by == "client" && pair[1].opened <= *at, "{:#?}", run.ledger);
        }
        let renewed = run.ledger.refreshes[0].at;
        let (left, back) = (client.closes[0].at, client.opens[1].at);
        assert!(back - left > 1400, "it was away: {client:#?} {renewed}");
        // What was on its way to the socket that was destroyed is nobody's to give.
        let heard = client.progress;
        assert_eq!((heard.doubled, heard.reordered), (0, 0), "{client:#?}");
        assert!(heard.gaps <= 1 && heard.received > 80, "{client:#?}");
    }
    let held = stage.metric("messages_held_total", "direction=\"down\"").await;
    assert!(held >= 2.0 * 20.0, "both were kept what they missed: {held}");
    let log = stage.stop().await;
    assert_eq!(log.matches("client back").count(), 2, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_client_that_is_back_within_grace_is_served_on_the_new_token() {
    let stage = Stage::set(Plan { grace: LONG_GRACE, ..Plan::default() }).await;
    let runs =
        stage.run(&[Kind::Ws, Kind::PartySocket], |s| Scenario { seconds: 5.5, ..leaves(s, 3.3, 0.5) }).await;
    for run in &runs {
        assert_back(run);
        // Its token was the first one, and is renewed on from the second.
        assert_eq!(run.seen().tokens(), [0, 1, 1, 2], "{:#?}", run.ledger);
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_client_that_is_back_after_the_grace_is_told_so_and_the_service_is_not_dialled() {
    let stage = Stage::set(Plan::default()).await;
    let runs = stage
        .run(&[Kind::Ws, Kind::PartySocket], |s| {
            let away = leaves(s, 3.3, 1.5);
            let silent = Some(Silent { from: 2.9, seconds: 60.0 });
            Scenario { seconds: 6.0, silent, settle: 1.0, ..away }
        })
        .await;
    for run in &runs {
        let client = &run.client;
        assert!(client.opens.len() > 1 && !client.open_at_end, "{client:#?}");
        for close in &client.closes[1..client.opens.len()] {
            assert_eq!((close.code, close.reason.as_str()), (1008, "Token expired"), "{client:#?}");
        }
        let seen = run.seen();
        assert_eq!((seen.tokens(), seen.refused.len()), (vec![0, 1], 0), "{:#?}", run.ledger);
        assert_eq!(run.ledger.rotations(), 1, "nobody is on the credential: {:#?}", run.ledger);
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn the_upstream_of_a_client_that_is_never_back_is_let_go_when_park_is_over_and_not_renewed() {
    let stage = Stage::set(Plan { session: "park = \"3s\"", ..Plan::default() }).await;
    let ready = Ready::start().await;
    let job = stage.service.job().await;
    let who = vec![job.client(stage.sidecar.port, ALICE)];
    let leave = Some(Leave { at: 0.4, how: How::Destroy });
    let gone = Scenario { seconds: 0.5, settle: 0.1, leave, ..Scenario::new(Kind::Ws, who) };
    ready.run(gone).await;
    let ledger = stage.service.until(&job, |ledger| ledger.refreshes.len() == 1).await;
    assert!(ledger.client(ALICE).open() > 0, "it is kept, and renewed: {ledger:#?}");
    let ledger = stage.service.until(&job, |ledger| ledger.client(ALICE).open() == 0).await;
    let seen = ledger.client(ALICE);
    let ends: Vec<_> = seen.connections.iter().map(|c| c.closed.as_ref().unwrap()).collect();
    assert_eq!(seen.tokens(), [0, 1], "{ledger:#?}");
    let kept = ends[1].at - seen.connections[0].opened;
    assert!(kept >= 3300 && ends[1].at < ledger.tokens[1].ends, "{ledger:#?}");
    // With the last session its credential ends, and with that all that would have renewed it.
    let ended = async {
        while stage.metric("credentials", "|state=\"valid\"").await > 0.0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIFETIME, ended).await.expect("the credential ends");
    let left = ledger.tokens[1].expires - ends[1].at;
    tokio::time::sleep(Duration::from_millis(left) + MOMENT).await;
    let later = stage.service.ledger(&job).await;
    assert_eq!((later.rotations(), later.client(ALICE).connections.len()), (1, 2), "{later:#?}");
    stage.stop().await;
}
