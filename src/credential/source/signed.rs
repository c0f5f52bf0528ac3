//! JWTs that are signed here (RFC 7515, RFC 7519): a token, the `{jwt}` of a request, a client's proof of itself, a grant.
//!
//! 1. Each has an id of its own (`jti`), and is made for one use.
//! 2. `iat` is set back a little, for a server whose clock is slow. `exp` is as far from it as was configured: some servers
//!    refuse a JWT that lives for longer.
//! 3. The key is read at each signature, so that a changed file counts at once.

use std::time::Duration;

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{
        RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
    },
};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{
    Asking, Issued, SourceError,
    answer::jwt_life,
    jwt,
    parts::Parts,
    request::{Values, expand},
};
use crate::{
    clock::Now,
    config::{Algorithm, KeyError, KeyPair, Name, Place, Signer},
};

/// `iat` is set back by this, and by a tenth of the life at the most.
const SET_BACK: Duration = Duration::from_secs(30);

/// `source = "jwt"`.
#[derive(Debug)]
pub struct JwtTokens {
    signer: Signer,
}

impl JwtTokens {
    pub(super) fn new(signer: &Signer) -> Self {
        Self { signer: signer.clone() }
    }

    /// A token that begins now.
    pub(super) fn mint(&self, asking: &Asking, now: Now) -> Result<Issued, SourceError> {
        let values = |name: &Name| asking.value(name);
        let text = signed(&self.signer, &[], &values, now)?;
        Ok(Issued::new(text.as_str(), jwt_life(&text)))
    }

    /// The key and all that is signed, to be compared with what it was.
    pub(super) fn asked_with(&self) -> Option<Vec<u8>> {
        let mut parts = Parts::default();
        parts.signer(&self.signer)?;
        Some(parts.whole())
    }
}

/// A JWT that begins now. `usual`: claims, if the configuration has no other ones.
pub(super) fn signed(
    signer: &Signer,
    usual: &[(&str, &str)],
    values: Values<'_, '_>,
    now: Now,
) -> Result<Zeroizing<String>, SourceError> {
    let (pair, algorithm) = signer.key.read().map_err(|error| match error {
        KeyError::Secret(error) => SourceError::passing(error.to_string()),
        KeyError::Encrypted(_) | KeyError::NotPem(_) | KeyError::Unusable(_) | KeyError::Mismatch { .. } => {
            SourceError::terminal(error.to_string())
        }
    })?;
    let issued = now.wall.saturating_sub(SET_BACK.min(signer.lifetime / 10)).as_secs();
    let ends = issued.saturating_add(signer.lifetime.as_secs());
    let mut claims: Map<String, Value> =
        usual.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
    claims.extend(configured(signer, values)?);
    claims.extend([
        ("iat".to_owned(), issued.into()),
        ("exp".to_owned(), ends.into()),
        ("jti".to_owned(), jwt::fresh_id()?.into()),
    ]);
    let mut header = Map::from_iter([("typ".to_owned(), Value::from("JWT"))]);
    header.extend(signer.header.clone());
    header.extend(signer.key_id.as_deref().map(|kid| ("kid".to_owned(), Value::from(kid))));
    header.insert("alg".to_owned(), algorithm.word().into());
    jwt::signed(&header, &claims, |text| sign(&pair, algorithm, text))
        .map(Zeroizing::new)
        .ok_or_else(|| SourceError::terminal("the key cannot sign"))
}

/// The claims of the configuration.
fn configured(signer: &Signer, values: Values<'_, '_>) -> Result<Map<String, Value>, SourceError> {
    let Some(claims) = &signer.claims else { return Ok(Map::new()) };
    let text = Zeroizing::new(expand(claims, Place::JsonString, values)?);
    serde_json::from_str(&text).map_err(|_| SourceError::terminal("the claims are no JSON object"))
}

fn sign(pair: &KeyPair, algorithm: Algorithm, text: &[u8]) -> Option<Vec<u8>> {
    let random = SystemRandom::new();
    match pair {
        KeyPair::Rsa(pair) => {
            let padding = match algorithm {
                Algorithm::Rs256 => &RSA_PKCS1_SHA256,
                Algorithm::Rs384 => &RSA_PKCS1_SHA384,
                Algorithm::Rs512 => &RSA_PKCS1_SHA512,
                Algorithm::Ps256 => &RSA_PSS_SHA256,
                Algorithm::Ps384 => &RSA_PSS_SHA384,
                Algorithm::Ps512 => &RSA_PSS_SHA512,
                Algorithm::Es256
                | Algorithm::Es384
                | Algorithm::EdDsa
                | Algorithm::Hs256
                | Algorithm::Hs384
                | Algorithm::Hs512 => return None,
            };
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(padding, &random, text, &mut signature).ok()?;
            Some(signature)
        }
        KeyPair::P256(pair) | KeyPair::P384(pair) => Some(pair.sign(&random, text).ok()?.as_ref().to_vec()),
        KeyPair::Ed25519(pair) => Some(pair.sign(text).as_ref().to_vec()),
        KeyPair::Shared(secret) => {
            let hash = if algorithm == Algorithm::Hs512 {
                hmac::HMAC_SHA512
            } else if algorithm == Algorithm::Hs384 {
                hmac::HMAC_SHA384
            } else {
                hmac::HMAC_SHA256
            };
            Some(hmac::sign(&hmac::Key::new(hash, secret.as_bytes()), text).as_ref().to_vec())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        clock,
        config::{Secret, SigningKey, Template},
    };

    fn now() -> Now {
        Now { mono: clock::now(), wall: Duration::from_secs(1_800_000_000) }
    }

    fn signer() -> Signer {
        Signer::new(SigningKey::shared(Secret::literal("the secret of both sides")))
    }

    #[tokio::test]
    async fn claims_and_header_are_what_was_configured() {
        let claims = r#"{"sub":"{query.user}","video":{"room":"r","join":true},"aud":["a","b"]}"#;
        let signer = Signer {
            key_id: Some("k".to_owned()),
            header: json!({ "typ": "at+jwt", "x5t#S256": "abc" }).as_object().unwrap().clone(),
            claims: Some(Template::parse(claims)),
            lifetime: Duration::from_secs(3600),
            ..signer()
        };
        let user = |name: &Name| (*name == Name::Query("user".to_owned())).then_some("al\"ice");
        let usual = [("iss", "me"), ("aud", "usual")];
        let text = signed(&signer, &usual, &user, now()).unwrap();
        let jwt = jwt::Jwt::read(&text).unwrap();
        let header = json!({ "typ": "at+jwt", "x5t#S256": "abc", "kid": "k", "alg": "HS256" });
        assert_eq!(Value::Object(jwt.header), header);
        let claims = json!({
            "iss": "me", "sub": "al\"ice", "aud": ["a", "b"], "video": { "room": "r", "join": true },
            "iat": 1_799_999_970, "exp": 1_800_003_570, "jti": jwt.claims["jti"],
        });
        assert_eq!(Value::Object(jwt.claims), claims);
    }

    #[tokio::test]
    async fn a_token_ends_as_it_says() {
        let source = JwtTokens::new(&Signer { lifetime: Duration::from_secs(60), ..signer() });
        let issued = source.mint(&Asking::default(), now()).unwrap();
        assert_eq!(issued.life.from(now()), Some(Duration::from_secs(54)), "set back by a tenth");
        let again = source.mint(&Asking::default(), now()).unwrap();
        assert_ne!(issued.text, again.text, "each has an id of its own");
        let missing = Signer { claims: Some(Template::parse(r#"{"sub":"{query.user}"}"#)), ..signer() };
        let error = JwtTokens::new(&missing).mint(&Asking::default(), now()).unwrap_err();
        assert_eq!(error.reason, "there is no value for {query.user}");
    }

    #[tokio::test]
    async fn a_shared_secret_signs_with_each_hash() {
        for (algorithm, other) in [
            (Algorithm::Hs256, jsonwebtoken::Algorithm::HS256),
            (Algorithm::Hs384, jsonwebtoken::Algorithm::HS384),
            (Algorithm::Hs512, jsonwebtoken::Algorithm::HS512),
        ] {
            let mut signer = signer();
            signer.key.algorithm = Some(algorithm);
            let text = signed(&signer, &[], &|_| None, now()).unwrap();
            let key = jsonwebtoken::DecodingKey::from_secret(b"the secret of both sides");
            let mut rules = jsonwebtoken::Validation::new(other);
            (rules.validate_aud, rules.validate_exp) = (false, false);
            jsonwebtoken::decode::<Value>(&text, &key, &rules).unwrap();
        }
    }
}
