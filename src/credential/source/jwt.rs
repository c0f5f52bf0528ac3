//! A JWT as anybody can read it (RFC 7519, in the compact form of RFC 7515). Its signature is the service's to verify.

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
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
