//! What Keycloak refuses: the log has its reason word for word, and advice that leads to the cause.

use serde_json::json;

use crate::{
    keycloak::rig::{Family, Keycloak, at},
    oauth_sidecar::{ready, refreshes, route},
    provider::SECRET,
    sidecar::Sidecar,
    support::until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Keycloak: tests/keycloak/install"]
async fn each_refusal_is_said_in_keycloaks_words_with_advice_that_fits() {
    let keycloak = Keycloak::start().await;
    keycloak.realm("refusals", &json!({})).await;
    of_the_client(&keycloak).await;
    of_another_address(&keycloak).await;
    of_a_session_that_was_ended(&keycloak).await;
}

async fn of_the_client(keycloak: &Keycloak) {
    let plain = at("refusals", &route(keycloak.port, ""));
    let exchange = "grant = \"token_exchange\"\nsubject_token = \"one that has ended\"";
    let client = |name: &str, text: &str| text.replace("\"basic\"", &format!("\"{name}\""));
    for (configuration, reason, advice) in [
        (
            plain.replace(SECRET, "another"),
            "401 Unauthorized (unauthorized_client) \"Invalid client or Invalid client credentials\"",
            "the client was refused; check client_id, client_auth and the secret in client_secret",
        ),
        (
            client("bound", &plain),
            "400 Bad Request (invalid_request) \"DPoP proof is missing\"",
            "the server wants DPoP, which is not supported; turn it off for this client",
        ),
        (
            plain.replace("/realms/refusals/", "/realms/nowhere/"),
            "404 Not Found \"Realm does not exist\"",
            "there is no token endpoint at this address; check token_url",
        ),
        (
            client("exchanger", &at("refusals", &route(keycloak.port, exchange))),
            "400 Bad Request (invalid_request) \"Invalid token\"",
            "does not take subject_token: has it ended?",
        ),
    ] {
        is_said(Sidecar::start(&configuration).await, reason, advice).await;
    }
}

/// Within a cluster Keycloak is often asked under another name. The refresh token is good all the while.
async fn of_another_address(keycloak: &Keycloak) {
    let family = Family::of(keycloak, "refusals").await;
    let elsewhere = family.configuration().replace("http://127.0.0.1", "http://localhost");
    let expected = format!(
        "400 Bad Request (invalid_grant) \"Invalid token issuer. Expected 'http://localhost:{}/realms/refusals'\"",
        family.front.port
    );
    let advice = "the refresh token was issued under another address of the server; ask at that one";
    is_said(Sidecar::start(&elsewhere).await, &expected, advice).await;
    let sidecar = Sidecar::start(&family.configuration()).await;
    ready(&sidecar).await;
    sidecar.stop().await;
}

async fn of_a_session_that_was_ended(keycloak: &Keycloak) {
    let family = Family::of(keycloak, "refusals").await;
    let sidecar = Sidecar::start(&family.configuration()).await;
    ready(&sidecar).await;
    keycloak.end_sessions("refusals").await;
    sidecar.refresh().await;
    // Of a token that was issued in the same second, Keycloak says `Stale token`.
    let reason = "the token endpoint answered 400 Bad Request (invalid_grant) \"S";
    is_said_as(sidecar, reason, "\": the refresh token that the server gave last was refused: ").await;
}

/// The sidecar says so once it was refused: on the status page, and in the log.
async fn is_said(sidecar: Sidecar, reason: &str, advice: &str) {
    is_said_as(sidecar, &format!("{reason}: "), advice).await;
}

/// The same; the reason is the beginning of it.
async fn is_said_as(sidecar: Sidecar, reason: &str, advice: &str) {
    let failed = || async { refreshes(&sidecar, "rejected").await + refreshes(&sidecar, "failed").await };
    until("a refusal", failed, |count| *count > 0.0).await;
    let (_, status) = sidecar.ask("/status.json").await;
    for said in [status, sidecar.stop().await] {
        let said = said.replace("\\\"", "\"");
        assert!(said.contains(reason) && said.contains(advice), "{reason}: {advice}: {said}");
        assert!(!said.contains(SECRET), "a secret is shown");
    }
    println!("{reason}");
}
