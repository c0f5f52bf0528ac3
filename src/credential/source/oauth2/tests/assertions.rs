//! JWTs that are signed here, verified with the public key by somebody else's code.

use std::collections::HashSet;

use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData,
    SignatureAlgorithm,
};
use serde_json::Value;

use super::*;
use crate::{
    config::{Algorithm, SignedAssertion, Signer, SigningKey},
    credential::keeper::FailureKind,
    credential::source::signed::signed,
};

fn made(of: &'static SignatureAlgorithm) -> (KeyPair, Signer) {
    let pair = KeyPair::generate_for(of).unwrap();
    let key = SigningKey::private(Secret::literal(&pair.serialize_pem()));
    (pair, Signer { key_id: Some("kid-1".to_owned()), ..Signer::new(key) })
}

/// The claims, once the signature is good.
fn verified(jwt: &str, public: &DecodingKey, algorithm: jsonwebtoken::Algorithm) -> Value {
    let header = decode_header(jwt).unwrap();
    assert_eq!((header.alg, header.kid.as_deref()), (algorithm, Some("kid-1")));
    assert_eq!(header.typ.as_deref(), Some("JWT"));
    let mut checks = Validation::new(algorithm);
    checks.validate_exp = false;
    checks.validate_aud = false;
    checks.required_spec_claims = HashSet::new();
    decode::<Value>(jwt, public, &checks).unwrap().claims
}

fn field(request: &str, name: &str) -> String {
    form(request).into_iter().find(|(known, _)| known == name).unwrap().1
}

#[tokio::test]
async fn every_algorithm_is_verified_with_the_public_key() {
    use jsonwebtoken::Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let rsa = made(&PKCS_RSA_SHA256);
    let rsa_key = DecodingKey::from_rsa_der(rsa.0.der_bytes());
    let p256 = made(&PKCS_ECDSA_P256_SHA256);
    let p384 = made(&PKCS_ECDSA_P384_SHA384);
    let ed = made(&PKCS_ED25519);
    let ec = |pair: &KeyPair| DecodingKey::from_ec_der(pair.der_bytes());
    let cases = [
        (&rsa.1, &rsa_key, Some(Algorithm::Rs256), RS256),
        (&rsa.1, &rsa_key, Some(Algorithm::Rs384), RS384),
        (&rsa.1, &rsa_key, Some(Algorithm::Rs512), RS512),
        (&rsa.1, &rsa_key, Some(Algorithm::Ps256), PS256),
        (&rsa.1, &rsa_key, Some(Algorithm::Ps384), PS384),
        (&rsa.1, &rsa_key, Some(Algorithm::Ps512), PS512),
        (&rsa.1, &rsa_key, None, RS256),
        (&p256.1, &ec(&p256.0), None, ES256),
        (&p384.1, &ec(&p384.0), None, ES384),
        (&ed.1, &DecodingKey::from_ed_der(ed.0.der_bytes()), None, EdDSA),
    ];
    for (signer, public, asked, algorithm) in cases {
        let mut signer = signer.clone();
        signer.key.algorithm = asked;
        let usual = [("iss", "i"), ("sub", "s"), ("aud", "a")];
        let jwt = signed(&signer, &usual, &|_| None, now()).unwrap();
        let claims = verified(&jwt, public, algorithm);
        assert_eq!((&claims["iss"], &claims["sub"], &claims["aud"]), (&"i".into(), &"s".into(), &"a".into()));
    }
}

#[tokio::test]
async fn a_clients_proof_says_who_to_whom_and_when() {
    let (pair, signer) = made(&PKCS_ECDSA_P256_SHA256);
    let public = DecodingKey::from_ec_der(pair.der_bytes());
    let (_, seen) = beside(&[ok(TOKEN), ok(TOKEN)], async |port| {
        let mut source = source(port);
        source.client_auth = ClientAuth::PrivateKeyJwt(Box::new(signer));
        let tokens = OAuth2Tokens::new(&source, &Egress::default()).unwrap();
        ask(&tokens, &Asking::default()).await.unwrap();
        ask(&tokens, &Asking::default()).await.unwrap();
        port
    })
    .await;
    let mut known = HashSet::new();
    for request in &seen {
        let names: Vec<_> = form(request).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["grant_type", "client_id", "client_assertion_type", "client_assertion"]);
        let kind = field(request, "client_assertion_type");
        assert_eq!(kind, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        let claims = verified(&field(request, "client_assertion"), &public, jsonwebtoken::Algorithm::ES256);
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let jti = claims["jti"].as_str().unwrap().to_owned();
        assert!(jti.len() >= 22, "{jti}");
        assert!(known.insert(jti), "a fresh one for each request");
        let expected = serde_json::json!({
            "iss": "me", "sub": "me", "aud": format!("http://{host}/token?a=b"), "jti": claims["jti"],
            "iat": 1_799_999_970, "exp": 1_800_000_270,
        });
        assert_eq!(claims, expected);
    }
    assert_eq!(known.len(), 2);
}

#[tokio::test]
async fn a_proof_is_for_the_issuer_where_there_is_one_and_for_another_where_that_is_said() {
    let (pair, mut signer) = made(&PKCS_ED25519);
    let public = DecodingKey::from_ed_der(pair.der_bytes());
    let document = r#"{"issuer":"http://127.0.0.1:{port}","token_endpoint":"http://127.0.0.1:{port}/t"}"#;
    for audience in [None, Some("https://aud")] {
        signer.audience = audience.map(str::to_owned);
        let (issuer, seen) = beside(&[ok(document), ok(TOKEN)], async |port| {
            let issuer = format!("http://127.0.0.1:{port}");
            let mut source = source(port);
            source.server = AuthorizationServer::Issuer(address(&issuer));
            source.client_auth = ClientAuth::PrivateKeyJwt(Box::new(signer.clone()));
            ask(&OAuth2Tokens::new(&source, &Egress::default()).unwrap(), &Asking::default()).await.unwrap();
            issuer
        })
        .await;
        let claims = verified(&field(&seen[1], "client_assertion"), &public, jsonwebtoken::Algorithm::EdDSA);
        assert_eq!(claims["aud"], Value::from(audience.map_or(issuer, str::to_owned)));
    }
}

#[tokio::test]
async fn a_signed_grant_says_for_whom() {
    let (pair, mut signer) = made(&PKCS_ED25519);
    let public = DecodingKey::from_ed_der(pair.der_bytes());
    for audience in [None, Some("https://aud")] {
        signer.audience = audience.map(str::to_owned);
        let (_, seen) = fetch(ok(TOKEN), &Asking::default(), |source| {
            let (issuer, subject) = ("robot".to_owned(), "someone".to_owned());
            let signer = signer.clone();
            source.client_id = None;
            source.grant = Grant::SignedAssertion(Box::new(SignedAssertion { issuer, subject, signer }));
        })
        .await;
        assert_eq!(field(&seen, "grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
        let claims = verified(&field(&seen, "assertion"), &public, jsonwebtoken::Algorithm::EdDSA);
        let host = seen.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let expected = audience.map_or_else(|| format!("http://{host}/token?a=b"), str::to_owned);
        assert_eq!((&claims["iss"], &claims["sub"]), (&"robot".into(), &"someone".into()));
        assert_eq!(claims["aud"], Value::from(expected));
    }
}

#[tokio::test]
async fn a_secret_signs_too() {
    let (_, seen) = fetch(ok(TOKEN), &Asking::default(), |source| {
        source.client_auth = ClientAuth::SecretJwt(Box::new(Signer::new(SigningKey::shared(
            Secret::literal("the secret of both sides"),
        ))));
    })
    .await;
    let form: std::collections::HashMap<_, _> = form(&seen).into_iter().collect();
    assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let key = DecodingKey::from_secret(b"the secret of both sides");
    let mut rules = Validation::new(jsonwebtoken::Algorithm::HS256);
    (rules.validate_aud, rules.validate_exp) = (false, false);
    let claims = decode::<Value>(&form["client_assertion"], &key, &rules).unwrap().claims;
    assert_eq!((&claims["iss"], &claims["sub"]), (&"me".into(), &"me".into()));
    assert!(!form.contains_key("client_secret"), "it does not go out");
}

/// A projected token of Kubernetes is replaced before it ends.
#[tokio::test]
async fn an_assertion_of_somebody_else_is_read_at_each_use() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwt");
    std::fs::write(&path, "eyJ.one.s\n").unwrap();
    let refusal = r#"{"error":"invalid_client","error_description":"eyJ.two.s has ended"}"#;
    let (said, seen) = beside(&[ok(TOKEN), status("401 Unauthorized", refusal)], async |port| {
        let mut source = source(port);
        source.client_auth = ClientAuth::Assertion(Secret::file(&path));
        let tokens = OAuth2Tokens::new(&source, &Egress::default()).unwrap();
        let before = tokens.asked_with();
        ask(&tokens, &Asking::default()).await.unwrap();
        std::fs::write(&path, "eyJ.two.s\n").unwrap();
        a_moment_later().await;
        assert_eq!(tokens.asked_with(), before, "it is the same client");
        ask(&tokens, &Asking::default()).await.unwrap_err().to_string()
    })
    .await;
    for (request, assertion) in seen.iter().zip(["eyJ.one.s", "eyJ.two.s"]) {
        let form: std::collections::HashMap<_, _> = form(request).into_iter().collect();
        assert_eq!((&*form["client_assertion"], &*form["client_id"]), (assertion, "me"));
    }
    assert!(said.contains("*** has ended") && said.contains("has it ended?"), "{said}");
}

#[tokio::test]
async fn a_key_that_went_bad_is_said_and_nothing_goes_out() {
    let (pair, mut signer) = made(&PKCS_ED25519);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    std::fs::write(&path, pair.serialize_pem()).unwrap();
    signer.key.secret = Secret::file(&path);
    signer.key.algorithm = Some(Algorithm::EdDsa);
    let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    let (errors, seen) = beside(&[], async |port| {
        let mut source = source(port);
        source.client_auth = ClientAuth::PrivateKeyJwt(Box::new(signer));
        let tokens = OAuth2Tokens::new(&source, &Egress::default()).unwrap();
        let mut errors = Vec::new();
        for text in [Some("-----BEGIN PRIVATE KEY-----\nCANARY"), Some(&other), None] {
            match text {
                Some(text) => std::fs::write(&path, text).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            a_moment_later().await;
            errors.push(ask(&tokens, &Asking::default()).await.unwrap_err());
        }
        errors
    })
    .await;
    let kinds: Vec<_> = errors.iter().map(|error| error.kind).collect();
    assert_eq!(kinds, [FailureKind::Terminal, FailureKind::Terminal, FailureKind::Passing]);
    let said: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert!(
        said[0].ends_with("key.pem holds no private key in PEM (-----BEGIN PRIVATE KEY-----)"),
        "{said:?}"
    );
    assert!(said[1].ends_with("is P-256, which cannot sign EdDSA; write ES256"), "{said:?}");
    assert!(said[2].contains("cannot be read"), "{said:?}");
    assert!(seen.is_empty());
}
