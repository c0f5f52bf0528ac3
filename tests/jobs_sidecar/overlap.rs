//! What the overlap of two connections costs, and that it is counted.
//!
//! ```text
//!   service pushes to   overlap     the client
//!   the newest          keep        hears every number once                            (long.rs)
//!   all                 keep        misses none; hears again at most what was kept     (overlapped)
//!   the newest          discard     misses exactly what was discarded                  (lost, overlap)
//!   all                 discard     misses at most that, and hears none again
//! ```
//!
//! Each against a service that answers a Close, where the overlap is a matter of milliseconds, and against one that
//! does not, where it is a quarter of a second.

use std::time::Duration;

use crate::{
    jobs::{KINDS, Options, Scenario},
    jobs_sidecar::stage::{LIFETIME, Plan, Run, Stage},
};

/// What the clients heard of the service's numbers, all together.
struct Heard {
    doubled: u64,
    reordered: u64,
    gaps: u64,
    /// By the sidecar's count.
    kept: f64,
    discarded: f64,
    swaps: f64,
}

async fn heard(newest: bool, answers: bool, session: &'static str) -> Heard {
    let progress = Some(Duration::from_millis(20));
    let options = Options { progress, newest, answers, lifetime: LIFETIME, ..Options::default() };
    let stage = Stage::set(Plan { options, session, ..Plan::default() }).await;
    let runs = stage.run(&KINDS, |scenario| Scenario { seconds: 6.0, settle: 1.0, ..scenario }).await;
    for run in &runs {
        // The client's own messages do not depend on it.
        assert_eq!((run.client.opens.len(), run.client.open_at_end), (1, true), "{:#?}", run.client);
        run.client.assert_answered();
        run.assert_served(2);
    }
    let sum = |of: fn(&Run) -> u64| runs.iter().map(of).sum::<u64>();
    let heard = Heard {
        doubled: sum(|run| run.client.progress.doubled),
        reordered: sum(|run| run.client.progress.reordered),
        gaps: sum(|run| run.client.progress.gaps),
        kept: stage.metric("messages_overlapped_total", "").await,
        discarded: stage.lost("down", "overlap").await,
        swaps: stage.metric("reauthentications_total", "method=\"swap\",outcome=\"ok\"").await,
    };
    let Heard { doubled, gaps, kept, discarded, swaps, .. } = heard;
    println!(
        "newest: {newest}, answers: {answers}, {session:?}: {doubled} twice of {kept} kept, {gaps} missing of {discarded} discarded, {swaps} swaps"
    );
    assert!(swaps >= 2.0 * runs.len() as f64);
    stage.stop().await;
    heard
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn an_overlap_that_is_kept_leaves_no_gap_and_what_is_heard_twice_is_counted() {
    for all in <[Heard; 2]>::from(tokio::join!(heard(false, true, ""), heard(false, false, ""))) {
        assert_eq!((all.gaps, all.reordered, all.discarded), (0, 0, 0.0));
        assert!(all.doubled as f64 <= all.kept, "{} twice, {} kept", all.doubled, all.kept);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: run by tests/all"]
async fn an_overlap_that_is_discarded_costs_what_the_sidecar_counts_and_nothing_is_heard_twice() {
    let discard = "overlap = \"discard\"";
    let (newest, all) = tokio::join!(heard(true, false, discard), heard(false, true, discard));
    assert_eq!((newest.doubled, newest.reordered, newest.kept), (0, 0, 0.0));
    assert_eq!(newest.gaps as f64, newest.discarded);
    assert!(newest.gaps > 20, "there was an overlap: {}", newest.gaps);
    assert_eq!((all.doubled, all.reordered, all.kept), (0, 0, 0.0));
    assert!(all.gaps as f64 <= all.discarded);
}
