//! Jobs that take longer than their tokens live.

use std::time::Duration;

use futures_util::future::join_all;

use crate::{
    jobs::{KINDS, Kind, Ledger, Options, Ready, Scenario, Silent, Work},
    jobs_sidecar::stage::{ALICE, LIFETIME, Plan, Run, Stage},
};

/// All kinds of clients, two jobs each, with progress pushed to the newest connection alone.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_job_of_ten_token_lifetimes_loses_no_message_either_way_and_no_client_notices() {
    let progress = Some(Duration::from_millis(50));
    let options = Options { lifetime: LIFETIME, progress, newest: true, ..Options::default() };
    let stage = Stage::set(Plan { options, ..Plan::default() }).await;
    let shape = |scenario| Scenario { seconds: 10.0 * LIFETIME.as_secs_f64() + 1.0, rate: 25.0, ..scenario };
    let runs = stage.run(&[KINDS, KINDS].concat(), shape).await;
    for run in &runs {
        let Run { client, ledger, .. } = run;
        let (kind, renewed) = (client.kind, ledger.refreshes.len());
        println!(
            "{kind:?}: {} sent, {} pushed, {renewed} tokens, longest {:?}",
            client.sent, client.progress.received, client.longest
        );
        run.assert_unnoticed(10);
        assert!(client.progress.received > 400, "{client:#?}");
    }
    stage.assert_none_lost().await;
    // The sidecar's count is the ledgers' count.
    let refreshed = stage.metric("token_refreshes_total", "outcome=\"ok\"|trigger=\"schedule\"").await;
    assert_eq!(refreshed, runs.iter().map(|run| run.ledger.rotations() as f64).sum::<f64>());
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn a_job_that_is_silent_for_three_lifetimes_stays_connected_and_is_refreshed() {
    let stage = Stage::set(Plan::default()).await;
    let three = 3.0 * LIFETIME.as_secs_f64();
    let silent = Some(Silent { from: 0.5, seconds: three });
    let runs = stage.run(&KINDS, |scenario| Scenario { seconds: three + 1.0, silent, ..scenario }).await;
    for run in &runs {
        // Half a second of work before the silence, and half a second after it.
        assert!(run.client.sent < 75, "{:#?}", run.client);
        run.assert_unnoticed(3);
    }
    stage.assert_none_lost().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn two_clients_on_one_token_have_one_refresh_and_both_go_on() {
    let stage = Stage::set(Plan::default()).await;
    let ready = join_all([Ready::start(), Ready::start()]).await;
    let job = stage.service.job().await;
    let clients = join_all(ready.into_iter().zip([(Kind::Ws, ALICE), (Kind::Undici, "bob")]).map(
        |(ready, (kind, name))| {
            let who = vec![job.client(stage.sidecar.port, name)];
            ready.run(Scenario { seconds: 2.5 * LIFETIME.as_secs_f64(), ..Scenario::new(kind, who) })
        },
    ))
    .await;
    let over = |ledger: &Ledger| ledger.clients.values().all(|seen| seen.open() == 0);
    let ledger = stage.service.until(&job, over).await;
    let rotations = ledger.rotations();
    assert!((2..=4).contains(&rotations) && ledger.expired() == 0, "{ledger:#?}");
    for client in clients.iter().flat_map(|report| &report.clients) {
        client.assert_untouched();
        let seen = ledger.client(&client.name);
        assert_eq!((&seen.work, seen.refused.len()), (&Work::all(client.sent), 0), "{ledger:#?}");
        assert!(seen.connections.len() >= rotations, "{ledger:#?}");
    }
    let refreshed = stage.metric("token_refreshes_total", "outcome=\"ok\"|trigger=\"schedule\"").await;
    assert_eq!(refreshed, rotations as f64, "one request for both");
    stage.assert_none_lost().await;
    stage.stop().await;
}
