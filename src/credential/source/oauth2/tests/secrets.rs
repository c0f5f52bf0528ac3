//! Nothing shows a secret, and a changed one is seen.

use std::sync::Arc;

use super::*;
use crate::{
    config::{Signer, SigningKey},
    credential::source::Source,
};

#[tokio::test]
async fn no_debug_and_no_error_has_a_secret_in_it() {
    let echo = r#"{"error":"invalid_grant","error_description":"CANARY CANARY-1 CANARY-2 CANARY-3"}"#;
    let asking = Asking { refresh_token: Some(Arc::new("CANARY-3".into())), ..Asking::default() };
    let (said, seen) = beside(&[status("400 Bad Request", echo)], async |port| {
        let mut source = source(port);
        source.server =
            AuthorizationServer::TokenUrl(address(&format!("http://127.0.0.1:{port}/token?key=CANARY")));
        source.grant = Grant::RefreshToken(Secret::literal("CANARY-1"));
        source.client_auth = ClientAuth::Basic(Secret::literal("CANARY-2"));
        source.parameters = vec![("p".to_owned(), Template::parse("CANARY"))];
        let tokens = OAuth2Tokens::new(&source, &Egress::default()).unwrap();
        let error = ask(&tokens, &asking).await.unwrap_err();
        format!("{tokens:?} {source:?} {error} {error:?}")
    })
    .await;
    assert!(seen[0].contains("CANARY-3"), "it was shown to the server");
    assert!(!said.contains("CANARY"), "{said}");
}

#[test]
fn a_token_that_was_issued_shows_nothing() {
    let source = OAuth2Source { grant: Grant::RefreshToken(Secret::literal("x")), ..source(1) };
    let body = r#"{"access_token":"CANARY","refresh_token":"CANARY"}"#;
    let granted = answer::understood(&source, &http::HeaderMap::new(), None, body.as_bytes()).unwrap();
    assert!(!format!("{granted:?}").contains("CANARY"));
}

/// What a source like that is asked with.
fn asked_with(change: impl FnOnce(&mut OAuth2Source)) -> Option<Vec<u8>> {
    let mut source = source(1);
    change(&mut source);
    OAuth2Tokens::new(&source, &Egress::default()).unwrap().asked_with()
}

#[test]
fn every_part_of_what_is_asked_with_counts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let pem = || rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    std::fs::write(&path, pem()).unwrap();
    let key = || SigningKey::private(Secret::file(&path));
    let signer = || Signer::new(key());
    let proof = || ClientAuth::PrivateKeyJwt(Box::new(signer()));
    let scope = |texts: &[&str]| texts.iter().map(|text| Template::parse(text)).collect();
    let all = [
        asked_with(|_| {}),
        asked_with(|source| source.client_id = Some("you".to_owned())),
        asked_with(|source| source.server = AuthorizationServer::TokenUrl(address("http://h"))),
        asked_with(|source| source.client_auth = ClientAuth::Basic(Secret::literal("x"))),
        asked_with(|source| source.client_auth = ClientAuth::Basic(Secret::literal("y"))),
        asked_with(|source| source.client_auth = ClientAuth::Post(Secret::literal("x"))),
        asked_with(|source| source.client_auth = proof()),
        asked_with(rotates),
        asked_with(|source| source.grant = Grant::RefreshToken(Secret::literal("second"))),
        asked_with(|source| source.grant = Grant::Assertion(Secret::literal("second"))),
        asked_with(|source| source.grant = Grant::TokenExchange(Box::new(exchange()))),
        asked_with(|source| source.scope = scope(&["a", "b"])),
        asked_with(|source| source.scope = scope(&["ab"])),
        asked_with(|source| source.audience = scope(&["ab"])),
        asked_with(|source| source.resource = scope(&["ab"])),
        asked_with(|source| source.parameters = vec![("ab".to_owned(), Template::parse(""))]),
        asked_with(|source| source.parameters = vec![("a".to_owned(), Template::parse("b"))]),
    ];
    for (nth, one) in all.iter().enumerate() {
        assert!(one.is_some());
        assert_eq!(all.iter().filter(|other| *other == one).count(), 1, "{nth}");
    }
    let before = asked_with(|source| source.client_auth = proof());
    assert_eq!(before, all[6], "a signature is no part of it");
    std::fs::write(&path, pem()).unwrap();
    assert_ne!(asked_with(|source| source.client_auth = proof()), before);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(asked_with(|source| source.client_auth = proof()), None);
}

#[test]
fn a_lineage_is_the_first_and_is_asked_at_one_place() {
    let tokens = |change: fn(&mut OAuth2Source)| {
        let mut source = source(1);
        rotates(&mut source);
        change(&mut source);
        Source::OAuth2(Box::new(OAuth2Tokens::new(&source, &Egress::default()).unwrap()))
    };
    let lineage = |change: fn(&mut OAuth2Source)| tokens(change).lineage();
    let usual = lineage(|_| {});
    assert!(usual.is_some());
    assert_eq!(usual, lineage(|source| source.scope = vec![Template::parse("a")]));
    let another = lineage(|source| source.grant = Grant::RefreshToken(Secret::literal("another")));
    assert!(another.is_some() && another != usual);
    let elsewhere: [fn(&mut OAuth2Source); 2] = [
        |source| source.client_id = Some("you".to_owned()),
        |source| source.server = AuthorizationServer::TokenUrl(address("http://h")),
    ];
    for other in elsewhere {
        assert_eq!(lineage(other), usual, "the same chain");
        assert_ne!(tokens(other).asked_at(), tokens(|_| {}).asked_at(), "of another server or client");
    }
    assert_eq!(lineage(|source| source.grant = Grant::ClientCredentials), None);
    assert_eq!(lineage(|source| source.grant = Grant::RefreshToken(Secret::file("/nonexistent"))), None);
}

#[tokio::test]
async fn less_scope_than_was_asked_for_is_news_once() {
    let granted = |scope: &str| ok(&format!(r#"{{"access_token":"abc","scope":"{scope}"}}"#));
    let replies = [granted("a b"), granted("b c"), granted("b"), granted("b a")];
    let (news, _) = beside(&replies, async |port| {
        let mut source = source(port);
        source.scope = vec![Template::parse("a b")];
        let tokens = OAuth2Tokens::new(&source, &Egress::default()).unwrap();
        let mut left = Vec::new();
        for _ in 0..4 {
            ask(&tokens, &Asking::default()).await.unwrap();
            left.push(tokens.scope_said.last());
        }
        left
    })
    .await;
    assert_eq!(news, ["", "a", "a", ""]);
}
