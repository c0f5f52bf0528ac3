//! `kill -9` at random moments around rotations: a chain is lost only with an answer that was on its way.

use std::time::Duration;

use tokio::time::Instant;

use super::{ready, refreshes, rotating, said, shared};
use crate::{
    provider::{Front, Provider, Way},
    sidecar::Sidecar,
    support::redis::RedisServer,
};

/// So soon after an answer a kill is near it.
const NEAR: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider, which tests/all installs"]
async fn kills_around_rotations_cost_no_chain_whose_answer_had_come() {
    let rounds: usize = std::env::var("PERENNIAL_KILLS").map_or(40, |text| text.parse().unwrap());
    let seed: u64 =
        std::env::var("PERENNIAL_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().unwrap());
    println!("PERENNIAL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let (state, file) = (directory.path().join("state"), directory.path().join("refresh"));
    let provider = Provider::start(1).await;
    let front = Front::start(provider.port).await;
    std::fs::write(&file, provider.seed("basic").await).unwrap();
    let mut sidecar = Sidecar::start(&rotating(front.port, &state, &file)).await;
    ready(&sidecar).await;

    let (mut around, mut lost, mut taken_over, mut latest) = (0, 0, 0, Duration::ZERO);
    // Since the last refresh that came to its end: was a process killed that had asked, and had not said how that
    // ended? And how long before had the answer come? What is said has been written down before.
    let mut doubt = None;
    let mut before = 0;
    for round in 0..rounds {
        let asked = front.passed().len();
        match round % 8 {
            0 => tokio::time::sleep(Duration::from_millis(random.u64(0..700))).await,
            // Before it has done anything, or while it does.
            1 => tokio::time::sleep(Duration::from_millis(random.u64(0..30))).await,
            _ => {
                front.asked(asked + 1).await;
                tokio::time::sleep(Duration::from_micros(random.u64(0..12_000))).await;
            }
        }
        let aimed = Instant::now();
        let (log, gone) = sidecar.killed().await;
        let killed = Instant::now();
        assert!(!log.contains("panicked"), "{log}");
        front.quiet().await;
        let passed = front.passed();
        let unsaid = (passed.len() - before).saturating_sub(ends(&log));
        before = passed.len();
        sidecar = gone.again().await;
        taken_over += usize::from(log.contains("token taken over"));
        let delivered = passed.last().and_then(|last| last.delivered);
        around += usize::from(unsaid > 0 || delivered.is_some_and(|at| at + NEAR > aimed));
        if unsaid > 0 {
            let late = delivered.and_then(|at| killed.checked_duration_since(at));
            doubt = doubt.max(Some(late.unwrap_or_default()));
        }
        if round % 8 == 0 {
            // The next kill comes soon after the start.
            continue;
        }
        if is_served(&sidecar).await {
            assert_eq!(provider.ledger().await.revoked, lost, "round {round}: served, and the grant ended?");
        } else {
            // The provider has rotated, and nobody has what it said.
            lost = provider.until(|ledger| ledger.revoked > lost).await.revoked;
            let late = doubt.unwrap_or_else(|| panic!("round {round}: lost though each end was said: {log}"));
            latest = latest.max(late);
            // The operator puts a new one in its place, and it is taken while the process runs.
            std::fs::write(&file, provider.seed("basic").await).unwrap();
            ready(&sidecar).await;
        }
        doubt = None;
    }
    let log = sidecar.stop().await;
    println!(
        "{rounds} kills, {around} of them with a request on its way or answered within {NEAR:?}: {lost} answers \
         lost; of those that had reached its socket, the latest did {latest:?} before the kill; {taken_over} processes \
         were served from the disk first"
    );
    assert!(around >= rounds / 2, "only {around} of {rounds} kills were near a request");
    assert!(!log.contains("panicked"), "{log}");
}

/// How many requests a log says the end of. That what was found on the disk lived no longer is no request's.
fn ends(log: &str) -> usize {
    let failed = |line: &&str| line.contains("\"token refresh failed\"") && !line.contains("already expired");
    said(log, "token refreshed") + log.lines().filter(failed).count()
}

/// Kills a sidecar when the service has answered and the answer has not come, and runs it again at once. With it:
/// does the new process get a token?
pub async fn killed_unheard(sidecar: Sidecar, front: &Front) -> (Sidecar, bool) {
    let before = front.passed().len();
    front.next(Way::Keep);
    sidecar.refresh().await;
    front.answered(before + 1).await;
    let (log, sidecar) = sidecar.killed_and_run_again().await;
    assert_eq!(said(&log, "token refreshed"), 1, "the one before: {log}");
    ready(&sidecar).await;
    let served = is_served(&sidecar).await;
    let passed = front.passed();
    let [kept, again, ..] = &passed[before..] else { panic!("asked once: {passed:?}") };
    println!(
        "asked again {:?} after the answer that was lost: {served}",
        again.asked - kept.answered.unwrap()
    );
    (sidecar, served)
}

/// Has the new process refreshed its token, or been refused for good?
pub async fn is_served(sidecar: &Sidecar) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        if refreshes(sidecar, "ok").await > 0.0 {
            return true;
        }
        if refreshes(sidecar, "rejected").await > 0.0 {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("neither a token nor a refusal within 20 s");
}

/// SIGTERM is no kill: what has been asked for is written down before the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider and redis-server, which tests/all installs"]
async fn a_stop_waits_for_an_answer_that_cannot_be_asked_for_twice() {
    let provider = Provider::start(2).await;
    let redis = RedisServer::durable().await;
    for shares in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let (state, file) = (directory.path().join("state"), directory.path().join("refresh"));
        let front = Front::start(provider.port).await;
        std::fs::write(&file, provider.seed("basic").await).unwrap();
        let configuration = match shares {
            false => rotating(front.port, &state, &file),
            true => shared(front.port, redis.port, &file),
        };
        let sidecar = Sidecar::start(&configuration).await;
        ready(&sidecar).await;
        let asked = front.passed().len();
        front.next(Way::After(Duration::from_millis(700)));
        front.asked(asked + 1).await;
        sidecar.stop().await;
        let sidecar = Sidecar::start(&configuration).await;
        front.asked(asked + 2).await;
        ready(&sidecar).await;
        sidecar.stop().await;
        let ledger = provider.ledger().await;
        assert_eq!((ledger.refused.len(), ledger.revoked), (0, 0), "shared: {shares}: {ledger:?}");
    }
}
