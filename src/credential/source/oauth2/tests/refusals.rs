//! The whole table of errors: the kind of each, for the plain grant and for a refresh token, and its way out.

use std::sync::Arc;

use super::*;
use crate::{
    config::{SignedAssertion, Signer, SigningKey},
    credential::keeper::FailureKind::{self, Lost, Passing, Terminal},
};

#[tokio::test]
async fn each_status_and_code_has_its_kind() {
    let table: [(&'static str, &str, FailureKind, FailureKind); 42] = [
        ("400 Bad Request", "invalid_request", Terminal, Terminal),
        ("401 Unauthorized", "invalid_client", Terminal, Terminal),
        ("400 Bad Request", "invalid_client", Terminal, Terminal),
        ("400 Bad Request", "invalid_grant", Terminal, Terminal),
        ("400 Bad Request", "unauthorized_client", Terminal, Terminal),
        ("400 Bad Request", "unsupported_grant_type", Terminal, Terminal),
        ("400 Bad Request", "invalid_scope", Terminal, Terminal),
        ("400 Bad Request", "invalid_target", Terminal, Terminal),
        ("400 Bad Request", "invalid_token", Terminal, Terminal),
        ("400 Bad Request", "insufficient_scope", Terminal, Terminal),
        ("401 Unauthorized", "", Passing, Passing),
        ("403 Forbidden", "", Passing, Passing),
        ("403 Forbidden", "nobody_knows_this", Terminal, Terminal),
        ("403 Forbidden", "rate_limit_exceeded", Passing, Passing),
        ("200 OK", "bad_refresh_token", Passing, Terminal),
        ("403 Forbidden", "insufficient_scope", Terminal, Terminal),
        ("500 Internal Server Error", "invalid_grant", Terminal, Terminal),
        ("200 OK", "invalid_grant", Terminal, Terminal),
        ("200 OK", "temporarily_unavailable", Passing, Passing),
        ("400 Bad Request", "temporarily_unavailable", Passing, Passing),
        ("400 Bad Request", "server_error", Passing, Passing),
        ("400 Bad Request", "slow_down", Passing, Passing),
        ("400 Bad Request", "nobody_knows_this", Passing, Terminal),
        ("400 Bad Request", "", Passing, Passing),
        ("404 Not Found", "", Passing, Passing),
        ("405 Method Not Allowed", "", Passing, Passing),
        ("408 Request Timeout", "", Passing, Passing),
        ("425 Too Early", "", Passing, Passing),
        ("429 Too Many Requests", "", Passing, Passing),
        ("429 Too Many Requests", "invalid_request", Passing, Passing),
        ("302 Found", "", Passing, Passing),
        ("500 Internal Server Error", "", Passing, Lost),
        ("500 Internal Server Error", "server_error", Passing, Lost),
        ("502 Bad Gateway", "", Passing, Lost),
        ("504 Gateway Timeout", "", Passing, Lost),
        ("524 A Timeout Occurred", "", Passing, Lost),
        ("501 Not Implemented", "", Passing, Passing),
        ("503 Service Unavailable", "", Passing, Passing),
        ("503 Service Unavailable", "invalid_grant", Passing, Passing),
        ("400 Bad Request", "invalid_dpop_proof", Terminal, Terminal),
        ("400 Bad Request", "inactive_org", Terminal, Terminal),
        ("200 OK", "internal_error", Passing, Lost),
    ];
    for (line, code, plain, rotating) in table {
        let body = match code {
            "" => String::new(),
            code => {
                format!(r#"{{"error":"{code}","error_description":"Its words","error_uri":"http://CANARY"}}"#)
            }
        };
        let errors = both(|| status(line, &body)).await;
        assert_eq!((errors.0.kind, errors.1.kind), (plain, rotating), "{line} {code}");
        for error in [errors.0, errors.1] {
            let said = format!("{error} {error:?}");
            assert!(error.reason.contains(&line[..3]) && error.reason.contains(code), "{said}");
            assert!(!said.contains("CANARY"), "{said}");
            assert_eq!(error.reason.contains("\"Its words\""), !code.is_empty(), "{said}");
            let loss = error.reason.contains("may be used up");
            assert_eq!(loss, error.kind == Lost, "{said}");
        }
    }
}

#[tokio::test]
async fn the_servers_words_are_shown_and_lead_somewhere() {
    let table: [(&'static str, &str, &str); 6] = [
        (
            "401 Unauthorized",
            r#"{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}"#,
            "401 Unauthorized (unauthorized_client) \"Invalid client or Invalid client credentials\": the client was \
             refused; check client_id, and whether the server wants a client_secret",
        ),
        (
            "400 Bad Request",
            r#"{"error":"invalid_grant","error_description":"Invalid token issuer. Expected 'http://a'"}"#,
            "400 Bad Request (invalid_grant) \"Invalid token issuer. Expected 'http://a'\": the refresh token was issued \
             under another address of the server; ask at that one",
        ),
        (
            "400 Bad Request",
            r#"{"error":"invalid_request","error_description":"DPoP proof is missing"}"#,
            "400 Bad Request (invalid_request) \"DPoP proof is missing\": the server wants DPoP, which is not supported; \
             turn it off for this client",
        ),
        (
            "404 Not Found",
            r#"{"error":"Realm does not exist"}"#,
            "404 Not Found \"Realm does not exist\": there is no token endpoint at this address; check token_url, or issuer",
        ),
        (
            "400 Bad Request",
            r#"{"status":400,"message":"Invalid refresh token first"}"#,
            "400 Bad Request \"Invalid refresh token ***, 400\"",
        ),
        ("403 Forbidden", "<html>blocked", "403 Forbidden"),
    ];
    for (line, body, expected) in table {
        let (_, rotating) = both(|| status(line, body)).await;
        assert_eq!(rotating.to_string(), format!("the token endpoint answered {expected}"));
    }
}

#[tokio::test]
async fn clocks_that_differ_are_told_if_something_was_signed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem())
        .unwrap();
    let proof = || {
        let key = SigningKey::private(Secret::file(&path));
        ClientAuth::PrivateKeyJwt(Box::new(Signer::new(key)))
    };
    // It is 15 Jan 2027, 08:00 here.
    for (date, said) in [
        ("Fri, 15 Jan 2027 08:02:00 GMT", Some("the clock here is 120 s behind the server's")),
        ("Fri, 15 Jan 2027 07:58:00 GMT", Some("the clock here is 120 s ahead of the server's")),
        ("Fri, 15 Jan 2027 08:00:05 GMT", None),
    ] {
        let header: &'static str = Box::leak(format!("date: {date}\r\n").into_boxed_str());
        let answer = || Reply::Whole("401 Unauthorized", header, r#"{"error":"invalid_client"}"#.to_owned());
        let (result, _) = fetch(answer(), &Asking::default(), |s| s.client_auth = proof()).await;
        let error = result.unwrap_err().to_string();
        assert_eq!(error.split("; ").last().filter(|last| last.contains("clock here")), said, "{error}");
        let (result, _) = fetch(answer(), &Asking::default(), |_| {}).await;
        assert!(!result.unwrap_err().to_string().contains("clock"), "nothing was signed");
    }
}

#[tokio::test]
async fn when_to_come_again_is_handed_on() {
    let at = |line, header| move || Reply::Whole(line, header, String::new());
    let (plain, rotating) = both(at("503 Service Unavailable", "retry-after: 7\r\n")).await;
    assert_eq!((plain.retry_after, rotating.retry_after), (Some(Duration::from_secs(7)), plain.retry_after));
    let date = "retry-after: Fri, 15 Jan 2027 08:00:30 GMT\r\n";
    assert_eq!(both(at("429 Too Many Requests", date)).await.0.retry_after, Some(Duration::from_secs(30)));
    assert_eq!(both(at("429 Too Many Requests", "retry-after: soon\r\n")).await.0.retry_after, None);
}

/// What is said of a code.
async fn said(code: &str, asking: &Asking, change: impl FnOnce(&mut OAuth2Source)) -> String {
    let body = format!(r#"{{"error":"{code}"}}"#);
    let (result, _) = fetch(status("400 Bad Request", &body), asking, change).await;
    let error = result.unwrap_err().to_string();
    let head = format!("the token endpoint answered 400 Bad Request ({code})");
    error.strip_prefix(&head).unwrap_or_else(|| panic!("{error}")).to_owned()
}

#[tokio::test]
async fn a_refused_grant_says_where_a_new_one_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kept");
    std::fs::write(&path, "x").unwrap();
    let file = path.display();
    let nobody = Asking::default();
    let kept = Secret::file(&path);
    let spent = "expired, revoked or already used";
    assert_eq!(said("invalid_grant", &nobody, |_| {}).await, "");
    let error = said("invalid_grant", &nobody, |s| s.grant = Grant::RefreshToken(kept.clone())).await;
    assert_eq!(error, format!(": the refresh token was refused: {spent}; put a new one in the file {file}"));
    let newer = Asking { refresh_token: Some(Arc::new("n".into())), ..Asking::default() };
    let error = said("invalid_grant", &newer, rotates).await;
    let last = "the refresh token that the server gave last";
    assert_eq!(
        error,
        format!(": {last} was refused: {spent}; put a new one in refresh_token of the configuration")
    );
    let env = Grant::Assertion(Secret::env("CARGO_PKG_NAME"));
    let error = said("invalid_grant", &nobody, |s| s.grant = env).await;
    let variable = "the environment variable CARGO_PKG_NAME";
    assert_eq!(error, format!(": the assertion was refused: {spent}; put a new one in {variable}"));
    let subject = TokenExchange { subject_token: Template::secret(kept.clone()), ..exchange() };
    let error = said("invalid_grant", &nobody, |s| s.grant = Grant::TokenExchange(Box::new(subject))).await;
    let whose = "the subject's token, or the actor's,";
    assert_eq!(error, format!(": {whose} was refused: {spent}; put a new one in the file {file}"));
    let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    std::fs::write(&path, pem).unwrap();
    let key = SigningKey::private(Secret::file(&path));
    let signer = Signer::new(key);
    let signed = SignedAssertion { issuer: "i".into(), subject: "s".into(), signer: signer.clone() };
    let error = said("invalid_grant", &nobody, |s| s.grant = Grant::SignedAssertion(Box::new(signed))).await;
    assert!(error.contains(&format!("check the key in the file {file}")), "{error}");
    let proof = ClientAuth::PrivateKeyJwt(Box::new(signer));
    let error = said("invalid_client", &nobody, |s| s.client_auth = proof).await;
    assert!(error.contains(&format!("the clock and the key in the file {file}")), "{error}");
}

#[tokio::test]
async fn every_other_refusal_has_a_way_out() {
    let nobody = Asking::default();
    for (code, way_out) in [
        (
            "invalid_client",
            ": the client was refused; check client_id, and whether the server wants a client_secret",
        ),
        ("unauthorized_client", ": the server does not let this client use grant = \"client_credentials\""),
        ("unsupported_grant_type", ": the server has no grant = \"client_credentials\""),
        ("invalid_scope", ": the server does not grant this scope to this client; check scope"),
        ("invalid_target", ": the server issues no token for that; check audience and resource"),
        (
            "invalid_request",
            ": the server misses a field, or cannot use one; check client_auth, scope, audience, resource and parameters",
        ),
        ("slow_down", ""),
    ] {
        assert_eq!(said(code, &nobody, |_| {}).await, way_out);
    }
    let secret = ClientAuth::Post(Secret::env("CARGO_PKG_NAME"));
    let error = said("invalid_client", &nobody, |source| source.client_auth = secret).await;
    let variable = "the environment variable CARGO_PKG_NAME";
    assert_eq!(
        error,
        format!(": the client was refused; check client_id, client_auth and the secret in {variable}")
    );
}
