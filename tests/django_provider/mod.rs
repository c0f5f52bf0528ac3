//! An OAuth server of another kind: django-oauth-toolkit, which forgives a refresh token that comes twice for as long as
//! it is told to, and ends its whole family after that.
//!
//! ```text
//!   sidecar ──► Front ──► python app.py (django-oauth-toolkit, SQLite in memory)
//!                 │ keeps an answer back, while the sidecar is killed
//! ```
//!
//! It is installed by `tests/django_provider/install`, and run, seeded and asked as `provider` is.

use std::path::PathBuf;

use crate::{
    oauth_sidecar::{killed::killed_unheard, ready, rotating},
    provider::{Front, Provider, SECRET},
    sidecar::Sidecar,
};

/// Tokens that live for so many seconds, from a server that forgives for so many.
async fn django(ttl: u64, grace: u64) -> Provider {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".tools/django/bin/python");
    assert!(python.exists(), "first: tests/django_provider/install");
    let options = serde_json::json!({ "TTL": ttl, "GRACE": grace }).to_string();
    Provider::run(&python, &root.join("tests/django_provider/app.py"), &options).await
}

/// A server, a front before it, and a sidecar with a refresh token of its own.
struct Rig {
    provider: Provider,
    front: Front,
    directory: tempfile::TempDir,
}

impl Rig {
    async fn new(ttl: u64, grace: u64) -> Self {
        let provider = django(ttl, grace).await;
        let front = Front::start(provider.port).await;
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("refresh"), provider.seed("basic").await).unwrap();
        Self { provider, front, directory }
    }

    fn configuration(&self) -> String {
        let path = self.directory.path();
        rotating(self.front.port, &path.join("state"), &path.join("refresh"))
    }

    async fn sidecar(&self) -> Sidecar {
        let sidecar = Sidecar::start(&self.configuration()).await;
        ready(&sidecar).await;
        sidecar
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs django-oauth-toolkit, which tests/all installs"]
async fn no_refresh_token_is_used_twice_if_nothing_goes_wrong() {
    let rig = Rig::new(2, 0).await;
    let sidecar = rig.sidecar().await;
    let ledger = rig.provider.until(|ledger| ledger.granted >= 4 || ledger.revoked > 0).await;
    sidecar.stop().await;
    assert_eq!((ledger.refused.len(), ledger.revoked), (0, 0), "{ledger:?}");
}

/// Of so many kills between the server's answer and its arrival, none costs the family: the server forgives for ten
/// seconds, and the next process asks again at once. The token that is stored would have been good for most of a minute.
async fn a_kill_is_forgiven(rounds: u64) {
    let rig = Rig::new(60, 10).await;
    let mut sidecar = rig.sidecar().await;
    for round in 1..=rounds {
        let survived;
        (sidecar, survived) = killed_unheard(sidecar, &rig.front).await;
        let ledger = rig.provider.ledger().await;
        assert!(survived && ledger.revoked == 0, "of {rounds} the one that was lost is {round}: {ledger:?}");
        // The answer that was kept back, and the one to the same refresh token.
        assert_eq!((ledger.granted, ledger.refused.len()), (1 + 2 * round, 0), "{ledger:?}");
    }
    println!("{rounds} of {rounds} families lived on");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs django-oauth-toolkit, which tests/all installs"]
async fn a_kill_before_the_answer_has_come_is_forgiven_by_a_server_with_grace() {
    a_kill_is_forgiven(3).await;
}

/// The words are the server's own; it says no more than a code.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs django-oauth-toolkit, which tests/all installs"]
async fn a_refusal_is_said_in_the_servers_words() {
    let rig = Rig::new(60, 0).await;
    let secret = |text: String| text.replace(SECRET, "another");
    let sidecar = Sidecar::start(&secret(rig.configuration())).await;
    rig.provider.until(|ledger| ledger.refused == ["invalid_client"]).await;
    let log = sidecar.stop().await;
    assert!(log.contains("401 Unauthorized (invalid_client)"), "{log}");
    assert!(log.contains("check client_id, client_auth and the secret in client_secret"), "{log}");

    // It was not used up: the same refresh token is good for the right client.
    rig.sidecar().await.stop().await;
    assert_eq!(rig.provider.ledger().await.revoked, 0);

    // If the store is gone, the first one comes again, which ends its family.
    std::fs::remove_dir_all(rig.directory.path().join("state")).unwrap();
    let sidecar = Sidecar::start(&rig.configuration()).await;
    let ledger = rig.provider.until(|ledger| ledger.refused.len() == 2).await;
    assert_eq!((ledger.refused[1].as_str(), ledger.revoked), ("invalid_grant", 1));
    let log = sidecar.stop().await;
    assert!(log.contains("400 Bad Request (invalid_grant): the refresh token was refused"), "{log}");
    let file = rig.directory.path().join("refresh");
    assert!(log.contains(&format!("put a new one in the file {}", file.display())), "{log}");
}

mod services {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs django-oauth-toolkit, which tests/all installs"]
    async fn twenty_kills_before_the_answer_has_come_are_forgiven_by_a_server_with_grace() {
        super::a_kill_is_forgiven(20).await;
    }
}
