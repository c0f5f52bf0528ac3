//! What goes out: each grant's form, and each client's proof, byte by byte.

use std::sync::Arc;

use super::*;
use crate::{
    config::Name,
    credential::{
        keeper::{FailureKind, Life},
        source::ClientValues,
    },
};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";

fn client(values: &[(Name, &str)]) -> Asking {
    let names: Vec<_> = values.iter().map(|(name, _)| name.clone()).collect();
    let read =
        |name: &Name| values.iter().find(|(known, _)| known == name).map(|(_, value)| (*value).to_owned());
    Asking { client: Arc::new(ClientValues::of(&names, read)), ..Asking::default() }
}

fn templates(texts: &[&str]) -> Vec<Template> {
    texts.iter().map(|text| Template::parse(text)).collect()
}

#[tokio::test]
async fn client_credentials_with_all_that_may_be_asked_for() {
    let (issued, seen) = fetch(ok(TOKEN), &Asking::default(), |source| {
        source.client_auth = ClientAuth::Basic(Secret::literal("s"));
        source.scope = templates(&["a b", "c"]);
        source.audience = templates(&["one", "two"]);
        source.resource = templates(&["https://a/?x=1&y", "https://b/"]);
        source.parameters = vec![
            ("x y".to_owned(), Template::parse("p&q=é")),
            ("pin".to_owned(), Template::secret(Secret::literal("7"))),
        ];
    })
    .await;
    let issued = issued.unwrap();
    assert_eq!((issued.text.as_str(), issued.life), ("abc", Life::For(Duration::from_secs(60))));
    assert_eq!(issued.refresh_token, None);
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /token?a=b HTTP/1.1\r\n"), "{head}");
    for line in [
        "authorization: Basic bWU6cw==",
        "content-type: application/x-www-form-urlencoded",
        "accept: application/json",
        "accept-encoding: identity",
    ] {
        assert!(head.lines().any(|said| said == line), "{line}\n{head}");
    }
    assert_eq!(
        body,
        "grant_type=client_credentials&scope=a+b+c&audience=one&audience=two&\
         resource=https%3A%2F%2Fa%2F%3Fx%3D1%26y&resource=https%3A%2F%2Fb%2F&x+y=p%26q%3D%C3%A9&pin=7"
    );
}

#[tokio::test]
async fn a_refresh_token_is_the_newest_there_is() {
    let answer = || ok(r#"{"access_token":"abc","refresh_token":"third"}"#);
    let (issued, seen) = fetch(answer(), &Asking::default(), rotates).await;
    assert_eq!(issued.unwrap().refresh_token.unwrap().as_str(), "third");
    assert_eq!(
        form(&seen),
        pairs(&[("grant_type", "refresh_token"), ("refresh_token", "first"), ("client_id", "me")])
    );
    let newer = Asking { refresh_token: Some(Arc::new("sec ond&".into())), ..Asking::default() };
    let (_, seen) = fetch(answer(), &newer, rotates).await;
    assert!(seen.ends_with("grant_type=refresh_token&refresh_token=sec+ond%26&client_id=me"), "{seen}");
}

#[tokio::test]
async fn an_exchange_shows_the_clients_token() {
    let asking = client(&[(Name::ClientToken, "t&a=b"), (Name::Query("id".into()), "7")]);
    let (issued, seen) = fetch(ok(TOKEN), &asking, |source| {
        source.client_id = None;
        source.scope = templates(&["read:{query.id}"]);
        source.grant = Grant::TokenExchange(Box::new(TokenExchange {
            actor_token: Some((Template::parse("actor"), "urn:x".to_owned())),
            requested_token_type: Some("urn:y".to_owned()),
            ..exchange()
        }));
    })
    .await;
    assert_eq!(issued.unwrap().text, "abc");
    let expected = [
        ("grant_type", EXCHANGE),
        ("subject_token", "t&a=b"),
        ("subject_token_type", ACCESS),
        ("actor_token", "actor"),
        ("actor_token_type", "urn:x"),
        ("requested_token_type", "urn:y"),
        ("scope", "read:7"),
    ];
    assert_eq!(form(&seen), pairs(&expected));
}

#[tokio::test]
async fn a_clients_value_begins_no_other_scope() {
    let asking = client(&[(Name::Query("id".into()), "7 admin")]);
    let (result, seen) = beside(&[], async |port| {
        let mut source = source(port);
        source.scope = templates(&["read:{query.id}"]);
        ask(&OAuth2Tokens::new(&source, &Egress::default()).unwrap(), &asking).await
    })
    .await;
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), "the value of {query.id} cannot stand in a scope");
    assert!(seen.is_empty(), "nothing went out");
}

#[tokio::test]
async fn a_kept_assertion_is_read_at_each_use() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwt");
    std::fs::write(&path, "one\n").unwrap();
    let (_, seen) = beside(&[ok(TOKEN), ok(TOKEN)], async |port| {
        let mut source = source(port);
        source.grant = Grant::Assertion(Secret::file(&path));
        let tokens = OAuth2Tokens::new(&source, &Egress::default()).unwrap();
        ask(&tokens, &Asking::default()).await.unwrap();
        std::fs::write(&path, "two\n").unwrap();
        a_moment_later().await;
        ask(&tokens, &Asking::default()).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        a_moment_later().await;
        let error = ask(&tokens, &Asking::default()).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Passing, "{error}");
        assert!(error.reason.contains("jwt cannot be read"), "{error}");
    })
    .await;
    let expected =
        |assertion| pairs(&[("grant_type", BEARER), ("assertion", assertion), ("client_id", "me")]);
    assert_eq!([form(&seen[0]), form(&seen[1])], [expected("one"), expected("two")]);
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn a_secret_stands_in_the_header_or_in_the_form() {
    let (_, seen) = fetch(ok(TOKEN), &Asking::default(), |source| {
        source.client_auth = ClientAuth::Post(Secret::literal("p:& é"));
    })
    .await;
    assert!(
        seen.ends_with("grant_type=client_credentials&client_id=me&client_secret=p%3A%26+%C3%A9"),
        "{seen}"
    );
    assert!(!seen.contains("authorization"), "{seen}");
    let (_, seen) = fetch(ok(TOKEN), &Asking::default(), |source| {
        source.client_id = Some("m:e".to_owned());
        source.client_auth = ClientAuth::Basic(Secret::literal("p:& é"));
    })
    .await;
    // "m%3Ae:p%3A%26+%C3%A9"
    assert!(seen.contains("authorization: Basic bSUzQWU6cCUzQSUyNislQzMlQTk=\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\ngrant_type=client_credentials"), "{seen}");
    let (_, seen) = fetch(ok(TOKEN), &Asking::default(), |_| {}).await;
    assert!(seen.ends_with("\r\n\r\ngrant_type=client_credentials&client_id=me"), "{seen}");
}

#[tokio::test]
async fn a_value_that_is_not_there_yet_passes() {
    let (result, _) = beside(&[], async |port| {
        let mut source = source(port);
        source.grant = Grant::TokenExchange(Box::new(exchange()));
        ask(&OAuth2Tokens::new(&source, &Egress::default()).unwrap(), &Asking::default()).await
    })
    .await;
    let error = result.unwrap_err();
    assert_eq!(
        (error.kind, error.to_string().as_str()),
        (FailureKind::Passing, "there is no value for {client.token}")
    );
}

#[tokio::test]
async fn a_grant_of_the_servers_own_is_sent_as_it_is() {
    let (issued, seen) = fetch(ok(TOKEN), &Asking::default(), |source| {
        source.grant = Grant::Other("account_credentials".to_owned());
        source.client_auth = ClientAuth::Basic(Secret::literal("s"));
        source.parameters = vec![("account_id".to_owned(), Template::parse("7"))];
        source.headers = vec![("apikey".parse().unwrap(), Template::secret(Secret::literal("CANARY")))];
    })
    .await;
    assert_eq!(issued.unwrap().text, "abc");
    assert!(seen.contains("\r\napikey: CANARY\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\ngrant_type=account_credentials&account_id=7"), "{seen}");
}

#[tokio::test]
async fn the_token_is_where_the_configuration_says() {
    use crate::config::{AnswerFields, AnswerForm, Part};
    let body = r#"{"access_token":"a","id_token":"i","expires_in":60,"refresh_token":"r"}"#;
    let (issued, _) = fetch(ok(body), &Asking::default(), |source| {
        rotates(source);
        source.answer = AnswerForm::Fields(AnswerFields {
            token: Part::Pointer("/id_token".to_owned()),
            expires_in: None,
            expires_at: None,
            refresh_token: None,
        });
    })
    .await;
    let issued = issued.unwrap();
    assert_eq!((issued.text.as_str(), issued.refresh_token.unwrap().as_str()), ("i", "r"));
    assert_eq!(issued.life, Life::For(Duration::from_secs(60)));
}
