//! JWTs (RFC 7519, in the compact form of RFC 7515): read as anybody can read them, and signed here. The signature of one
//! that came is the service's to verify.

use aws_lc_rs::{hmac, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::{Map, Value};

use super::SourceError;

/// What stands in a signed JWT.
pub struct Jwt {
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
}

impl Jwt {
    /// Takes it apart; `None` where it is none, or an encrypted one.
    pub fn read(token: &str) -> Option<Self> {
        let (header, claims) = parts(token)?;
        Some(Self { header: object(header)?, claims: object(claims)? })
    }
}

/// The claims of what need be no more than shaped like a signed JWT.
pub(super) fn claims(token: &str) -> Option<Map<String, Value>> {
    object(parts(token)?.1)
}

/// A JWT with the signature that `sign` gives for the text before it; `None` if it gives none.
pub(super) fn signed(
    header: &impl Serialize,
    claims: &impl Serialize,
    sign: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
) -> Option<String> {
    let [header, claims] = [serde_json::to_vec(header).ok()?, serde_json::to_vec(claims).ok()?]
        .map(|part| URL_SAFE_NO_PAD.encode(part));
    let text = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(sign(text.as_bytes())?);
    Some(format!("{text}.{signature}"))
}

/// A JWT that is signed with a secret of both sides: HS256 (RFC 7518 §3.2).
pub fn signed_with_secret(key_id: Option<&str>, claims: &impl Serialize, secret: &str) -> Option<String> {
    #[derive(Serialize)]
    struct Header<'a> {
        typ: &'static str,
        alg: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        kid: Option<&'a str>,
    }
    let sign = |text: &[u8]| Some(hmac::sign(&hs256(secret), text).as_ref().to_vec());
    signed(&Header { typ: "JWT", alg: "HS256", kid: key_id }, claims, sign)
}

/// Is it signed with this secret?
pub fn is_signed_with_secret(token: &str, secret: &str) -> bool {
    token.rsplit_once('.').is_some_and(|(text, signature)| {
        let signature = URL_SAFE_NO_PAD.decode(signature);
        signature.is_ok_and(|signature| hmac::verify(&hs256(secret), text.as_bytes(), &signature).is_ok())
    })
}

fn hs256(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}

/// An id for one JWT (`jti`, RFC 7519 §4.1.7): 128 random bits. Without one, two JWTs of the same second are the same.
pub(super) fn fresh_id() -> Result<String, SourceError> {
    let mut random = [0; 16];
    rand::fill(&mut random).map_err(|_| SourceError::passing("the system has no random numbers"))?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

fn parts(token: &str) -> Option<(&str, &str)> {
    let mut parts = token.split('.');
    match (parts.next()?, parts.next()?, parts.next()?, parts.next()) {
        (header, claims, _, None) => Some((header, claims)),
        (_, _, _, Some(_)) => None,
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&bytes).ok()
}
