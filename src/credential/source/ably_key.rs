//! Ably's JWT, minted here from the key: no request, no server that could be down.
//!
//! HS256 with the key's secret; `kid` is the key's name. The expiry lies in the token, and Ably checks it
//! by its own clock, so ours has to be about right. Each has an id of its own (`jti`): a token that Ably
//! rejects in the second of its birth is replaced by another one, and not by the same.

use std::{fmt, time::Duration};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::{Issued, SourceError, jwt};
use crate::{
    clock::Now,
    config::{AblyKeySource, Secret},
    credential::keeper::Life,
};

/// Mints a JWT at each fetch.
#[derive(Debug)]
pub struct AblyKey {
    key: Secret,
    ttl: Duration,
    capability: String,
    client_id: Option<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    jti: String,
    iat: u64,
    exp: u64,
    #[serde(rename = "x-ably-capability")]
    capability: &'a str,
    #[serde(rename = "x-ably-clientId", skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
}

impl AblyKey {
    /// The key is read at each mint.
    pub fn new(source: &AblyKeySource) -> Self {
        Self {
            key: source.key.clone(),
            ttl: source.ttl,
            capability: source.capability.clone(),
            client_id: source.client_id.clone(),
        }
    }

    /// A token that begins now.
    pub fn mint(&self, now: Now) -> Result<Issued, SourceError> {
        let text = self.key.reveal().map_err(|error| SourceError::passing(error.to_string()))?;
        let key = Key::parse(&text).map_err(|error| SourceError::terminal(error.to_string()))?;
        let iat = now.wall.as_secs();
        let exp = iat.saturating_add(self.ttl.as_secs());
        let claims = Claims {
            jti: jwt::fresh_id()?,
            iat,
            exp,
            capability: &self.capability,
            client_id: self.client_id.as_deref(),
        };
        let text = jwt::signed_with_secret(Some(key.name), &claims, key.secret)
            .ok_or_else(|| SourceError::terminal("the key cannot sign a token"))?;
        let life = Life::Until { wall: Duration::from_secs(exp), at_most: Some(self.ttl) };
        Ok(Issued::new(text, life))
    }

    /// The key, to be compared with what it was.
    pub(super) fn asked_with(&self) -> Option<Vec<u8>> {
        self.key.reveal().ok().map(|secret| secret.as_bytes().to_vec())
    }
}

/// `appId.keyId:secret`, taken apart.
struct Key<'a> {
    name: &'a str,
    secret: &'a str,
}

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key is not of the form appId.keyId:secret")]
pub struct KeyError;

impl<'a> Key<'a> {
    fn parse(text: &'a str) -> Result<Self, KeyError> {
        let (name, secret) = text.trim().split_once(':').ok_or(KeyError)?;
        let whole = name.split_once('.').is_some_and(|(app, id)| !app.is_empty() && !id.is_empty());
        if whole && !secret.is_empty() { Ok(Self { name, secret }) } else { Err(KeyError) }
    }
}

impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.name)
    }
}

/// The signature of Ably's TokenRequest: each field on a line of its own, an absent one on an empty line.
pub fn token_request_mac(secret: &str, fields: [&str; 6]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut signed = hmac::Context::with_key(&key);
    for field in fields {
        signed.update(field.as_bytes());
        signed.update(b"\n");
    }
    STANDARD.encode(signed.sign())
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;
    use crate::{clock, credential::keeper::FailureKind};

    fn source(key: &str, client_id: Option<&str>) -> AblyKey {
        AblyKey::new(&AblyKeySource {
            key: Secret::literal(key),
            ttl: Duration::from_secs(3600),
            capability: r#"{"*":["*"]}"#.to_owned(),
            client_id: client_id.map(str::to_owned),
        })
    }

    fn now() -> Now {
        Now { mono: clock::now(), wall: Duration::from_millis(1_700_000_000_900) }
    }

    #[test]
    fn the_jwt_is_ablys() {
        let issued = source(" xVLyHw.Dhzg9g:secretsecretsecret ", Some("bob")).mint(now()).unwrap();
        let parts: Vec<_> = issued.text.split('.').collect();
        let read =
            |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
        assert_eq!(read(parts[0]), json!({"typ": "JWT", "alg": "HS256", "kid": "xVLyHw.Dhzg9g"}));
        let claims = read(parts[1]);
        assert_eq!(
            claims,
            json!({"jti": claims["jti"], "iat": 1_700_000_000, "exp": 1_700_003_600, "x-ably-capability": "{\"*\":[\"*\"]}",
                "x-ably-clientId": "bob"})
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secretsecretsecret");
        let signed = format!("{}.{}", parts[0], parts[1]);
        hmac::verify(&key, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).unwrap();
        let wall = Duration::from_secs(1_700_003_600);
        assert_eq!(issued.life, Life::Until { wall, at_most: Some(Duration::from_secs(3600)) });
    }

    #[test]
    fn two_of_the_same_moment_differ() {
        let (source, now) = (source("a.b:c", None), now());
        assert_ne!(source.mint(now).unwrap().text, source.mint(now).unwrap().text);
    }

    #[test]
    fn nobody_is_named_where_nobody_was() {
        let issued = source("a.b:c", None).mint(now()).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(issued.text.split('.').nth(1).unwrap()).unwrap();
        assert!(!String::from_utf8(claims).unwrap().contains("clientId"));
    }

    #[test]
    fn a_bad_key_is_said_and_not_shown() {
        for key in ["CANARY", "CANARY:x", "a.b:", ".CANARY:x"] {
            let error = source(key, None).mint(now()).unwrap_err();
            assert_eq!(error.kind, FailureKind::Terminal);
            assert!(!format!("{error} {error:?}").contains("CANARY"));
        }
    }

    #[test]
    fn the_mac_is_ably_js_own() {
        let capability = r#"{"*":["subscribe"],"private":["publish","subscribe"]}"#;
        let fields = ["xVLyHw.Dhzg9g", "3600000", capability, "bob", "1700000000000", "0123456789abcdef"];
        let mac = token_request_mac("secretsecretsecret", fields);
        assert_eq!(mac, "efHRDHkUAQen34egED5/xDvxK9n80qZPiHvMYijBRlQ=");
        let fields = ["xVLyHw.Dhzg9g", "", "", "", "1700000000000", "0123456789abcdef"];
        let mac = token_request_mac("secretsecretsecret", fields);
        assert_eq!(mac, "W1+o8EnJ+zwFNghDknhK9j0HyNOfBMrgcdxvDej+/+4=");
    }
}
