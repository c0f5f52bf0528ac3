//! Answers that were lost after the provider had rotated: asked for again at once, then said loudly; sessions live on.

use std::time::Duration;

use super::{ready, rotating, said};
use crate::{
    provider::{Front, Provider, Way},
    sidecar::Sidecar,
};

/// This provider allows for no second use, so the chain ends. What is asked: that it is noticed within seconds, said
/// with the way out, and that a new secret in the file is taken while the process runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider, which tests/all installs"]
async fn a_loss_that_the_provider_does_not_forgive_is_said_and_mended_by_a_new_secret() {
    let directory = tempfile::tempdir().unwrap();
    let (state, file) = (directory.path().join("state"), directory.path().join("refresh"));
    let provider = Provider::start(2).await;
    let front = Front::start(provider.port).await;
    std::fs::write(&file, provider.seed("basic").await).unwrap();
    let sidecar = Sidecar::start(&rotating(front.port, &state, &file)).await;
    ready(&sidecar).await;
    front.next(Way::Lose);
    let ledger = provider.until(|ledger| ledger.revoked == 1).await;
    assert_eq!(ledger.refused, ["invalid_grant"]);
    let passed = front.passed();
    let [.., first, again] = passed.as_slice() else { panic!("asked twice: {passed:?}") };
    assert!(again.asked - first.answered.unwrap() < Duration::from_secs(1), "asked again within a second");
    std::fs::write(&file, provider.seed("basic").await).unwrap();
    let granted = ledger.granted;
    provider.until(|ledger| ledger.granted > granted).await;
    ready(&sidecar).await;
    let log = sidecar.stop().await;
    assert!(log.contains("an answer was lost before"), "{log}");
    assert_eq!(said(&log, "session closed"), 0);
    let refresh_token = std::fs::read_to_string(&file).unwrap();
    assert!(!log.contains(&refresh_token), "a secret in the log");
}
