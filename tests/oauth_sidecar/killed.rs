//! `kill -9` at random moments around rotations: a chain is lost only with an answer that was on its way.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    provider::{Front, Provider},
    ready, refreshes, rotating,
    sidecar::Sidecar,
};

/// An answer that came so long before the end of the process has reached the disk.
const WRITTEN: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider, which tests/all installs"]
async fn kills_around_rotations_cost_no_chain_whose_answer_had_come() {
    let rounds: usize = std::env::var("PERENNIAL_KILLS").map_or(200, |text| text.parse().unwrap());
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
    for round in 0..rounds {
        let asked = front.passed().len();
        if round % 4 == 0 {
            tokio::time::sleep(Duration::from_millis(random.u64(0..700))).await;
        } else {
            front.asked(asked + 1).await;
            tokio::time::sleep(Duration::from_micros(random.u64(0..12_000))).await;
        }
        let killed = Instant::now();
        let (log, next) = sidecar.killed_and_run_again().await;
        sidecar = next;
        // Nothing is under way now but what the new process asks.
        let last = front.passed().into_iter().filter(|passed| passed.asked <= killed).next_back();
        let near = last.filter(|passed| killed - passed.asked < WRITTEN);
        around += usize::from(near.is_some());
        let revoked = provider.ledger().await.revoked;
        if is_ready(&sidecar).await {
            assert_eq!(provider.ledger().await.revoked, lost, "round {round}: served, and the grant ended?");
        } else {
            // The provider has rotated, and nobody has what it said.
            let ledger = provider.until(|ledger| ledger.revoked > lost).await;
            let delivered = near.and_then(|passed| passed.delivered).filter(|at| *at <= killed);
            assert!(
                near.is_some(),
                "round {round}: lost though nothing was on its way ({revoked}, {ledger:?}): {log}"
            );
            latest = latest.max(delivered.map_or(Duration::ZERO, |at| killed - at));
            lost = ledger.revoked;
            // The operator puts a new one in its place, and it is taken while the process runs.
            std::fs::write(&file, provider.seed("basic").await).unwrap();
            ready(&sidecar).await;
        }
        taken_over += usize::from(refreshes(&sidecar, "ok").await == 0.0);
    }
    let log = sidecar.stop().await;
    println!(
        "{rounds} kills, {around} of them within {WRITTEN:?} of a request: {lost} answers lost on their way, of those \
         delivered to its socket the latest {latest:?} before the kill; {taken_over} starts were served from the disk"
    );
    assert!(around >= rounds / 2, "only {around} of {rounds} kills were near a request");
    assert!(!log.contains("panicked"), "{log}");
}

/// Does the new process have a token before its source refuses for good?
async fn is_ready(sidecar: &Sidecar) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        if sidecar.ask("/readyz").await.0 == 200 {
            return true;
        }
        if refreshes(sidecar, "rejected").await > 0.0 {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("neither a token nor a refusal within 20 s");
}
