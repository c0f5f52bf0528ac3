//! What the provider takes: each way to prove oneself, by URL and by issuer.

use super::{ready, rotating, route};
use crate::{
    provider::{Provider, SECRET},
    sidecar::Sidecar,
};

/// Runs until the second token, so that what works once works again; its log.
async fn serves(provider: &Provider, configuration: &str) -> String {
    let before = provider.ledger().await.granted;
    let sidecar = Sidecar::start(configuration).await;
    ready(&sidecar).await;
    provider.until(|ledger| ledger.granted >= before + 2).await;
    let ledger = provider.ledger().await;
    assert_eq!((ledger.refused.len(), ledger.revoked), (0, 0), "{ledger:?}");
    sidecar.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider, which tests/all installs"]
async fn a_secret_in_the_header_or_in_the_body() {
    let provider = Provider::start(2).await;
    let basic = route(provider.port, "scope = \"ws\"\n");
    let post = basic.replace("\"basic\"", "\"post\"").replace("scope = ", "client_auth = \"post\"\nscope = ");
    for configuration in [basic, post] {
        let log = serves(&provider, &configuration).await;
        assert!(!log.contains(SECRET), "a secret in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider, which tests/all installs"]
async fn an_issuer_tells_where_to_ask() {
    let provider = Provider::start(2).await;
    let url = format!("token_url = \"http://127.0.0.1:{}/token\"", provider.port);
    let issuer = format!("issuer = \"http://127.0.0.1:{}\"", provider.port);
    serves(&provider, &route(provider.port, "").replace(&url, &issuer)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider, which tests/all installs"]
async fn a_private_key_proves_who_asks() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let provider = Provider::start_with(2, &public(&pair)).await;
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key.pem");
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    let proof =
        format!("client_auth = \"private_key_jwt\"\nprivate_key = {{ file = \"{}\" }}", key.display());
    let secret = format!("client_secret = \"{SECRET}\"");
    let configuration = route(provider.port, "").replace("\"basic\"", "\"prover\"").replace(&secret, &proof);
    serves(&provider, &configuration).await;
}

/// The public half as a JSON Web Key Set.
pub fn public(pair: &rcgen::KeyPair) -> serde_json::Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    // The point as SEC 1 has it: 4, x, y.
    let point = pair.public_key_raw();
    assert_eq!((point[0], point.len()), (4, 65));
    let coordinate = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
    serde_json::json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig",
        "x": coordinate(1..33), "y": coordinate(33..65),
    }] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider, which tests/all installs"]
async fn a_refresh_token_is_rotated_and_outlives_a_restart() {
    let provider = Provider::start(2).await;
    let directory = tempfile::tempdir().unwrap();
    let (state, seed) = (directory.path().join("state"), directory.path().join("refresh"));
    std::fs::write(&seed, provider.seed("basic").await).unwrap();
    let configuration = rotating(provider.port, &state, &seed);
    for _ in 0..3 {
        serves(&provider, &configuration).await;
    }
}

/// `perennial token` takes part in the chain: it asks where nothing that lives is kept, and the sidecar goes on from
/// there. Beside a sidecar that owns the store it says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider, which tests/all installs"]
async fn the_token_command_does_not_disturb_the_chain() {
    let provider = Provider::start(60).await;
    let directory = tempfile::tempdir().unwrap();
    let (state, seed) = (directory.path().join("state"), directory.path().join("refresh"));
    std::fs::write(&seed, provider.seed("basic").await).unwrap();
    let configuration = rotating(provider.port, &state, &seed);
    let file = directory.path().join("perennial.toml");
    std::fs::write(&file, &configuration).unwrap();
    let token = || {
        let binary =
            std::env::var("PERENNIAL_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_perennial").into());
        let said =
            std::process::Command::new(binary).args(["token", "--config"]).arg(&file).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (said.status.code(), text(&said.stdout), text(&said.stderr))
    };
    let (status, page, log) = token();
    assert_eq!(status, Some(0), "{log}");
    assert!(
        page.contains("refresh token  came with it (not shown)") && page.contains("JWT, alg RS256"),
        "{page}"
    );
    let (status, page, log) = token();
    assert_eq!(status, Some(0), "{log}");
    assert!(page.contains("the store had a token that lives"), "{page}");
    assert_eq!(provider.ledger().await.granted, 1);
    let sidecar = Sidecar::start(&configuration).await;
    ready(&sidecar).await;
    assert_eq!(provider.ledger().await.granted, 1, "it goes on with the one that is kept");
    let (status, _, log) = token();
    assert_eq!(status, Some(1));
    assert!(log.contains("has an owner already"), "{log}");
    sidecar.stop().await;
}
