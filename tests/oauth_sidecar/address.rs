//! A refresh token that the provider replaced is not shown to another address, and the provider's grant lives on. The
//! configured one is shown where the configuration says.

use super::{ready, rotating};
use crate::{provider::Provider, sidecar::Sidecar, support::until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider, which tests/all installs"]
async fn another_spelling_of_the_address_uses_no_dead_refresh_token() {
    let provider = Provider::start(2).await;
    let directory = tempfile::tempdir().unwrap();
    let (state, seed) = (directory.path().join("state"), directory.path().join("refresh"));
    std::fs::write(&seed, provider.seed("basic").await).unwrap();
    let configuration = rotating(provider.port, &state, &seed);
    let sidecar = Sidecar::start(&configuration).await;
    ready(&sidecar).await;
    provider.until(|ledger| ledger.granted >= 2).await;
    sidecar.stop().await;

    // The same server, and another client of it as far as anybody can tell.
    let sidecar = Sidecar::start(&configuration.replace("http://127.0.0.1", "http://localhost")).await;
    let said = "the store has a newer refresh token than the configured one";
    until("the reason", || async { sidecar.ask("/status.json").await.1 }, |status| status.contains(said))
        .await;
    sidecar.stop().await;
    let ledger = provider.ledger().await;
    assert_eq!((ledger.refused.len(), ledger.revoked), (0, 0), "{ledger:?}");

    // Back at the old address it goes on from where it was.
    let sidecar = Sidecar::start(&configuration).await;
    ready(&sidecar).await;
    sidecar.stop().await;
    let ledger = provider.ledger().await;
    assert_eq!((ledger.refused.len(), ledger.revoked), (0, 0), "{ledger:?}");
}

/// Nothing has replaced the configured refresh token: there is no newer one that could be of another address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider, which tests/all installs"]
async fn a_wrong_address_can_be_put_right() {
    let provider = Provider::start(2).await;
    let directory = tempfile::tempdir().unwrap();
    let (state, seed) = (directory.path().join("state"), directory.path().join("refresh"));
    std::fs::write(&seed, provider.seed("basic").await).unwrap();
    let configuration = rotating(provider.port, &state, &seed);
    let sidecar = Sidecar::start(&configuration.replace("/token\"\n", "/tokens\"\n")).await;
    let status = || async { sidecar.ask("/status.json").await.1 };
    until("the refusal", status, |status| status.contains("there is no token endpoint at this address"))
        .await;
    sidecar.stop().await;
    assert_eq!(provider.ledger().await.granted, 0);

    let sidecar = Sidecar::start(&configuration).await;
    ready(&sidecar).await;
    sidecar.stop().await;
    let ledger = provider.ledger().await;
    assert_eq!((ledger.refused.len(), ledger.revoked), (0, 0), "{ledger:?}");
}
