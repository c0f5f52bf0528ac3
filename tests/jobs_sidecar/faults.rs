//! What goes wrong at the service, and how little of it the client sees.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    jobs::{Job, Ledger, Options, Seen, Work},
    jobs_sidecar::stage::{ALICE, Plan, Run, Stage},
};

/// There is time to try a refresh again before the token ends, and before the grace does.
fn wide() -> Options {
    let [lifetime, window, grace] = [6000, 4000, 1500].map(Duration::from_millis);
    Options { lifetime, window, grace, ..Options::default() }
}

fn seen<T>(ledger: &Ledger, of: impl FnOnce(&Seen) -> T) -> Option<T> {
    ledger.clients.get(ALICE).map(of)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_lost_connection_is_hidden_and_what_may_be_lost_with_it_is_counted() {
    const DROPS: u64 = 3;
    let stage = Stage::set(Plan::default()).await;
    let happens = async |job: &Job| {
        for drop in 1..=DROPS {
            let worked = |ledger: &Ledger| seen(ledger, |seen| seen.work.received > drop * 30) == Some(true);
            stage.service.until(job, worked).await;
            stage.service.fault(job, json!({ "drop": "connection" })).await;
            let back = |ledger: &Ledger| {
                seen(ledger, |seen| seen.open() == 1 && seen.connections.len() as u64 > drop) == Some(true)
            };
            stage.service.until(job, back).await;
        }
        stage.service.until(job, |ledger| seen(ledger, |seen| seen.work.received > 150) == Some(true)).await
    };
    let run = stage.run_until(|scenario| scenario, happens).await;
    let Run { client, ledger, .. } = &run;
    client.assert_one_connection();
    let work = &ledger.client(ALICE).work;
    let missing = work.missing.len() as u64;
    let (up, down) = (stage.lost("up", "unacknowledged").await, stage.lost("down", "discontinued").await);
    println!("{missing} of {} missing, {up} in doubt; {} unanswered", client.sent, client.done.lost);
    assert_eq!((work.duplicates, work.out_of_order, work.late), (0, 0, 0), "{ledger:#?}");
    assert_eq!((client.done.doubled, client.done.reordered), (0, 0), "{client:#?}");
    assert_eq!((work.next, work.received + missing), (client.sent, client.sent), "{ledger:#?}");
    assert!(up >= missing as f64 && down >= DROPS as f64, "{missing} missing, {up} up, {down} down");
    stage.stop().await;
}

/// A job whose next refresh goes wrong, and its client until that has been made up for.
async fn with_fault(stage: &Stage, fault: Value, renewed: usize) -> Run {
    let moved = |ledger: &Ledger| {
        let tokens = seen(ledger, |seen| seen.tokens()).unwrap_or_default();
        tokens.contains(&renewed) && tokens.contains(&(renewed + 1))
    };
    let happens = async |job: &Job| {
        stage.service.fault(job, fault).await;
        stage.service.until(job, moved).await
    };
    stage.run_until(|scenario| scenario, happens).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_refresh_that_fails_once_or_is_slow_is_made_up_for_and_nobody_notices() {
    let stage = Stage::set(Plan { options: wide(), ..Plan::default() }).await;
    let faults = [json!({ "refresh": "fail" }), json!({ "refresh": "slow", "ms": 300 })];
    let outcomes = [vec![(503, Some(0), None), (200, Some(0), Some(1))], vec![(200, Some(0), Some(1))]];
    let runs = join_all(faults.map(|fault| with_fault(&stage, fault, 1))).await;
    for (Run { client, ledger, .. }, expected) in runs.iter().zip(outcomes) {
        client.assert_untouched();
        let asked: Vec<_> = ledger.refreshes.iter().map(|r| (r.status, r.token, r.issued)).collect();
        assert_eq!(asked[..expected.len()], expected, "{ledger:#?}");
        assert_eq!(ledger.client(ALICE).work, Work::all(client.sent));
        assert_eq!(ledger.expired(), 0, "{ledger:#?}");
    }
    stage.assert_none_lost().await;
    stage.stop().await;
}

/// The service issued a token, and nobody had it in time: the connection ends with the token before it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_refresh_whose_answer_is_lost_or_too_late_costs_the_connection_and_not_the_session() {
    let stage = Stage::set(Plan { options: wide(), ..Plan::default() }).await;
    let faults = [
        // Asked for again with the old token, which that supersedes twice.
        (json!({ "refresh": "lost" }), 2, 1),
        // Beyond the service's grace.
        (json!({ "refresh": "slow", "ms": 2200 }), 1, 0),
    ];
    let runs = join_all(faults.map(|(fault, renewed, skipped)| {
        let stage = &stage;
        async move { (with_fault(stage, fault, renewed).await, skipped) }
    }))
    .await;
    let mut missing = 0;
    for (Run { client, ledger, .. }, skipped) in &runs {
        client.assert_one_connection();
        let seen = ledger.client(ALICE);
        assert_eq!((ledger.expired(), seen.refused.len()), (1, 0), "{ledger:#?}");
        assert_eq!(seen.tokens()[..2], [0, 1 + skipped], "{ledger:#?}");
        assert_eq!((seen.work.duplicates, seen.work.out_of_order), (0, 0), "{ledger:#?}");
        missing += seen.work.missing.len();
    }
    let up = stage.lost("up", "unacknowledged").await;
    println!("{missing} missing, {up} in doubt");
    assert!(up >= missing as f64, "{missing} missing, {up} in doubt");
    stage.stop().await;
}
