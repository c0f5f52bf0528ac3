//! Each way in which a client proves who it is, and what is said if its clock is wrong.

use std::path::Path;

use serde_json::json;

use crate::{
    keycloak::rig::{Keycloak, at},
    oauth_sidecar::{grants::public, ready, refreshes, route},
    provider::{Front, SECRET},
    sidecar::Sidecar,
    support::until,
};

/// Preloaded, it gives a program another time; the loader knows what $LIB is.
const FAKETIME: &str = "/usr/$LIB/faketime/libfaketime.so.1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Keycloak: tests/keycloak/install"]
async fn each_proof_is_taken_and_a_wrong_clock_is_named() {
    let keycloak = Keycloak::start().await;
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key.pem");
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    keycloak.realm_with_keys("proofs", &json!({}), &public(&pair)).await;
    for proof in ["basic", "post", "client_secret_jwt", "private_key_jwt"] {
        is_taken(&configuration(keycloak.port, proof, &key)).await;
        println!("{proof}: taken twice");
    }
    for (offset, reason, said) in [
        ("-120s", "Token was issued too far in the past to be used now", "behind the server's"),
        ("+120s", "Token was issued in the future", "ahead of the server's"),
    ] {
        clock_is_named(&keycloak, &key, offset, (reason, said)).await;
    }
}

fn configuration(port: u16, proof: &str, key: &Path) -> String {
    let plain = at("proofs", &route(port, &format!("client_auth = \"{proof}\"")));
    let secret = format!("client_secret = \"{SECRET}\"");
    match proof {
        "client_secret_jwt" => plain
            .replace("client_id = \"basic\"", "client_id = \"signer\"")
            .replace(&secret, &format!("client_secret = \"{SECRET}, which is long enough to sign with\"")),
        "private_key_jwt" => plain
            .replace("client_id = \"basic\"", "client_id = \"prover\"")
            .replace(&secret, &format!("private_key = {{ file = \"{}\" }}", key.display())),
        _ => plain,
    }
}

/// What works once works again: each assertion has an id of its own.
async fn is_taken(configuration: &str) {
    let sidecar = Sidecar::start(configuration).await;
    ready(&sidecar).await;
    sidecar.refresh().await;
    until("a second token", || refreshes(&sidecar, "ok"), |ok| *ok >= 2.0).await;
    assert_eq!(refreshes(&sidecar, "rejected").await, 0.0);
    let log = sidecar.stop().await;
    assert!(!log.contains(SECRET), "a secret in the log");
}

/// Keycloak says which way it is wrong, but not what time it has: by how much can be told if there is a reverse proxy
/// before it.
async fn clock_is_named(keycloak: &Keycloak, key: &Path, offset: &str, (reason, which): (&str, &str)) {
    let clock = [("LD_PRELOAD", FAKETIME), ("FAKETIME", offset), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let front = Front::with_time(keycloak.port).await;
    for port in [keycloak.port, front.port] {
        let prover = configuration(port, "private_key_jwt", key);
        let sidecar = Sidecar::launch(&prover, &[], &clock).await;
        until("a refusal", || refreshes(&sidecar, "rejected"), |count| *count > 0.0).await;
        let log = sidecar.stop().await;
        let advice = format!(
            "{reason}\\\": the client was refused; check client_id, key_id, assertion_audience, the clock"
        );
        assert!(log.contains(&advice), "{log}");
        let told = log.split_once("; the clock here is ").map(|(_, told)| told.split('"').next().unwrap());
        println!("{offset}: {reason}; the clock here is {}", told.unwrap_or("(not told)"));
        let by = (118..=122).map(|seconds| format!("{seconds} s {which}"));
        assert_eq!(port == front.port, by.into_iter().any(|by| told == Some(by.as_str())), "{log}");
    }
}
