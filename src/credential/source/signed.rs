//! JWTs that are signed here (RFC 7515, RFC 7519, RFC 7523 §3): a client's proof of itself, or a grant.
//!
//! 1. Each is made for one request, and has an id of its own (`jti`).
//! 2. Each lives for five minutes: long enough for a clock that is a little slow, and no longer.
//! 3. The key is read at each signature, so that a changed file counts at once.

use std::time::Duration;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
    },
};
use serde::Serialize;
use zeroize::Zeroizing;

use super::super::{SourceError, jwt};
use crate::{
    clock::Now,
    config::{Algorithm, KeyError, KeyPair, Signer},
};

/// How long an assertion is good for.
const LIFE: Duration = Duration::from_secs(5 * 60);

/// What an assertion says.
#[derive(Clone, Copy)]
pub(super) struct Claims<'a> {
    pub(super) issuer: &'a str,
    pub(super) subject: &'a str,
    pub(super) audience: &'a str,
}

#[derive(Serialize)]
struct Body<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: u64,
    exp: u64,
}

/// A JWT that begins now.
pub(super) fn signed(
    signer: &Signer,
    claims: Claims<'_>,
    now: Now,
) -> Result<Zeroizing<String>, SourceError> {
    let (pair, algorithm) = signer.key.read().map_err(|error| match error {
        KeyError::Secret(error) => SourceError::passing(error.to_string()),
        KeyError::Encrypted(_) | KeyError::NotPem(_) | KeyError::Unusable(_) | KeyError::Mismatch { .. } => {
            SourceError::terminal(error.to_string())
        }
    })?;
    let sign = |text: &[u8]| sign(&pair, algorithm, text);
    jwt::signed(algorithm.word(), signer.key_id.as_deref(), &body(claims, now)?, sign)
        .map(Zeroizing::new)
        .ok_or_else(|| SourceError::terminal("the private key cannot sign"))
}

/// The same, signed with a secret that the server has too.
pub(super) fn signed_with_secret(
    secret: &str,
    claims: Claims<'_>,
    now: Now,
) -> Result<Zeroizing<String>, SourceError> {
    jwt::signed_with_secret(None, &body(claims, now)?, secret)
        .map(Zeroizing::new)
        .ok_or_else(|| SourceError::terminal("the secret cannot sign"))
}

fn body(claims: Claims<'_>, now: Now) -> Result<Body<'_>, SourceError> {
    let iat = now.wall.as_secs();
    let Claims { issuer: iss, subject: sub, audience: aud } = claims;
    Ok(Body { iss, sub, aud, jti: jwt::fresh_id()?, iat, exp: iat.saturating_add(LIFE.as_secs()) })
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
                Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return None,
            };
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(padding, &random, text, &mut signature).ok()?;
            Some(signature)
        }
        KeyPair::P256(pair) | KeyPair::P384(pair) => Some(pair.sign(&random, text).ok()?.as_ref().to_vec()),
        KeyPair::Ed25519(pair) => Some(pair.sign(text).as_ref().to_vec()),
    }
}
