//! What a client authenticates with: the key, a JWT signed with it, or a token issued here.
//!
//! ```text
//!   key   demo01.key001:secret          basic, never ends
//!   JWT   header.claims.signature       HS256 with the key's secret; `exp` is kept to the millisecond
//!   token demo01.XXXXXXXX               opaque; known here, with its expiry
//! ```
//!
//! A refusal says what was wrong *and* whose fault it is: presenting a token that has ended by its
//! own clock is what a sidecar must never do; one that was revoked it could not know about.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::Duration,
};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value as Json, json};

use crate::credential::source::jwt::{Jwt, is_signed_with_secret, signed_with_secret};

/// How long an issued token that has ended is still known to have ended.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// How far the timestamp of a token request may be from now.
const REQUEST_WINDOW: Duration = Duration::from_secs(120);

/// An application's key, `appId.keyId:secret`.
#[derive(Clone)]
pub struct Key {
    name: Box<str>,
    secret: Box<str>,
}

impl Key {
    /// Reads `appId.keyId:secret`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, secret) = text.split_once(':')?;
        let (app, id) = name.split_once('.')?;
        let whole = !app.is_empty() && !id.is_empty() && !secret.is_empty();
        whole.then(|| Self { name: name.into(), secret: secret.into() })
    }

    /// The key of the demo.
    pub fn demo() -> Self {
        Self { name: "demo01.key001".into(), secret: "a-secret-that-guards-nothing-but-a-demo".into() }
    }

    /// `appId.keyId`: what may be said aloud.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole key, as a client presents it.
    pub fn expose(&self) -> String {
        format!("{}:{}", self.name, self.secret)
    }

    pub(super) fn app(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }

    /// The signature of a token request, over its members as the client wrote them.
    pub(super) fn signs(&self, signed_text: &str, mac: &str) -> bool {
        let Ok(mac) = STANDARD.decode(mac) else { return false };
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        hmac::verify(&key, signed_text.as_bytes(), &mac).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}:***)", self.name)
    }
}

/// A token made here, and when it ends.
#[derive(Clone)]
pub struct Minted {
    /// The token itself.
    pub token: String,
    /// When it was made, since the Unix epoch.
    pub issued: Duration,
    /// When it ends, since the Unix epoch.
    pub expires: Duration,
    /// Whose it is; `*` where anybody's.
    pub client_id: Option<String>,
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// A credential as it stood in a request or in an AUTH.
#[derive(Clone, Copy)]
pub(super) enum Presented<'a> {
    Key(&'a str),
    Token(&'a str),
}

/// What a good credential gives.
#[derive(Clone)]
pub(super) struct Grant {
    pub(super) client_id: Option<String>,
    /// When it ends on the wall clock; a key does not.
    pub(super) expires: Option<Duration>,
    /// The token, to revoke it by; empty for a key.
    pub(super) token: String,
}

/// Why a credential is refused, and by whose fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denial {
    pub(super) code: u64,
    pub(super) status: u64,
    pub(super) message: &'static str,
    pub(super) flaw: Flaw,
}

impl Denial {
    /// What the client is told.
    pub(super) fn told(&self) -> (u64, u64, &'static str) {
        (self.code, self.status, self.message)
    }
}

/// What is wrong with a refused credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It has ended: anyone who presents it could have known.
    Dead,
    /// It was ended before its time.
    Revoked,
    /// It never was good, or does not belong here.
    Bad,
}

const EXPIRED: Denial = Denial {
    code: 40142,
    status: 401,
    message: "key/token status changed (token expired)",
    flaw: Flaw::Dead,
};
const REVOKED: Denial = Denial { flaw: Flaw::Revoked, ..EXPIRED };
const UNKNOWN: Denial = Denial { code: 40143, status: 401, message: "token unrecognised", flaw: Flaw::Dead };
const INVALID: Denial = Denial { code: 40101, status: 401, message: "invalid credentials", flaw: Flaw::Bad };

/// Issues tokens and judges credentials.
pub(super) struct Issuer {
    key: Key,
    basic: bool,
    issued: HashMap<String, Minted>,
    revoked: HashSet<String>,
    nonces: HashMap<String, Duration>,
}

impl Issuer {
    pub(super) fn new(key: Key, basic: bool) -> Self {
        Self { key, basic, issued: HashMap::new(), revoked: HashSet::new(), nonces: HashMap::new() }
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// An opaque token.
    pub(super) fn issue(&mut self, lifetime: Duration, client_id: Option<String>, wall: Duration) -> Minted {
        self.issued.retain(|_, t| t.expires + REMEMBERED > wall);
        let text: String = std::iter::repeat_with(fastrand::alphanumeric).take(40).collect();
        let token = format!("{}.{text}", self.key.app());
        let minted = Minted { token, issued: wall, expires: wall + lifetime, client_id };
        self.issued.insert(minted.token.clone(), minted.clone());
        minted
    }

    /// A JWT that lives for `lifetime`: to the millisecond where that is no whole number of seconds,
    /// as RFC 7519 allows; else, as everybody writes it, to the end of the second.
    pub(super) fn mint(&self, lifetime: Duration, client_id: Option<String>, wall: Duration) -> Minted {
        let whole = lifetime.subsec_nanos() == 0;
        let seconds = (wall + lifetime).as_secs() + u64::from(wall.subsec_nanos() != 0);
        let expires = if whole { Duration::from_secs(seconds) } else { wall + lifetime };
        let exp = if whole { json!(seconds) } else { json!(expires.as_secs_f64()) };
        let mut claims = json!({
            "iat": wall.as_secs(),
            "exp": exp,
            "x-ably-capability": r#"{"*":["*"]}"#,
            // Two tokens of one second are two tokens.
            "jti": fastrand::u64(..).to_string(),
        });
        if let (Some(id), Json::Object(claims)) = (&client_id, &mut claims) {
            claims.insert("x-ably-clientId".into(), id.as_str().into());
        }
        let token = signed_with_secret(Some(&self.key.name), &claims, &self.key.secret).unwrap_or_default();
        Minted { token, issued: wall, expires, client_id }
    }

    /// Ends these tokens now.
    pub(super) fn revoke(&mut self, tokens: impl IntoIterator<Item = String>) {
        self.revoked.extend(tokens);
    }

    /// Ends all issued tokens now.
    pub(super) fn revoke_issued(&mut self) {
        let all: Vec<String> = self.issued.keys().cloned().collect();
        self.revoke(all);
    }

    /// Is this nonce of a token request, written at `timestamp`, new and of now?
    pub(super) fn takes_nonce(
        &mut self,
        nonce: &str,
        timestamp: Duration,
        wall: Duration,
    ) -> Result<(), Denial> {
        if wall.abs_diff(timestamp) > REQUEST_WINDOW {
            return Err(Denial { code: 40104, message: "timestamp not current", ..INVALID });
        }
        self.nonces.retain(|_, at| wall.saturating_sub(*at) <= REQUEST_WINDOW * 2);
        match self.nonces.insert(nonce.to_owned(), wall) {
            Some(_) => Err(Denial { code: 40105, message: "nonce value replayed", ..INVALID }),
            None => Ok(()),
        }
    }

    /// Judges a credential.
    pub(super) fn judge(&self, presented: Presented<'_>, wall: Duration) -> Result<Grant, Denial> {
        match presented {
            Presented::Key(_) if !self.basic => {
                Err(Denial { code: 40103, message: "basic authentication is not allowed", ..INVALID })
            }
            Presented::Key(text) if text == self.key.expose() => {
                Ok(Grant { client_id: None, expires: None, token: String::new() })
            }
            Presented::Key(_) => Err(INVALID),
            Presented::Token(text) if self.revoked.contains(text) => Err(REVOKED),
            Presented::Token(text) => {
                let grant = self.read(text)?;
                match grant.expires {
                    Some(at) if at <= wall => Err(EXPIRED),
                    Some(_) | None => Ok(grant),
                }
            }
        }
    }

    fn read(&self, text: &str) -> Result<Grant, Denial> {
        if let Some(known) = self.issued.get(text) {
            let client_id = known.client_id.clone();
            return Ok(Grant { client_id, expires: Some(known.expires), token: text.into() });
        }
        if text.starts_with("eyJ") {
            return self.read_jwt(text);
        }
        let opaque =
            text.split_once('.').is_some_and(|(app, rest)| app == self.key.app() && !rest.is_empty());
        Err(if opaque { UNKNOWN } else { INVALID })
    }

    fn read_jwt(&self, text: &str) -> Result<Grant, Denial> {
        let Jwt { header, claims } = Jwt::read(text).ok_or(INVALID)?;
        let says = |name: &str, value: &str| header.get(name).and_then(Json::as_str) == Some(value);
        if !says("alg", "HS256")
            || !says("kid", self.key.name())
            || !is_signed_with_secret(text, &self.key.secret)
        {
            return Err(INVALID);
        }
        // It is judged by the caller.
        let exp = claims.get("exp").and_then(Json::as_f64);
        let exp = exp.filter(|e| e.is_finite() && (0.0..1e12).contains(e)).ok_or(INVALID)?;
        Ok(Grant {
            client_id: claims.get("x-ably-clientId").and_then(Json::as_str).map(str::to_owned),
            expires: Some(Duration::from_secs_f64(exp)),
            token: text.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_700_000_000);
    const MILLISECOND: Duration = Duration::from_millis(1);

    fn issuer() -> Issuer {
        Issuer::new(Key::demo(), false)
    }

    #[test]
    fn a_token_ends_at_its_millisecond() {
        let mut issuer = issuer();
        let opaque = issuer.issue(Duration::from_millis(2500), None, NOW);
        let jwt = issuer.mint(Duration::from_millis(2500), None, NOW);
        for minted in [opaque, jwt] {
            let token = Presented::Token(&minted.token);
            assert!(issuer.judge(token, minted.expires - MILLISECOND).is_ok());
            assert_eq!(issuer.judge(token, minted.expires + MILLISECOND).err(), Some(EXPIRED));
        }
    }

    #[test]
    fn a_jwt_lives_at_least_as_long_as_asked() {
        let wall = NOW + Duration::from_millis(300);
        let minted = issuer().mint(Duration::from_secs(2), None, wall);
        assert_eq!(minted.expires, NOW + Duration::from_secs(3));
        assert!(issuer().judge(Presented::Token(&minted.token), minted.expires - MILLISECOND).is_ok());
        assert!(issuer().judge(Presented::Token(&minted.token), minted.expires).is_err());
    }

    #[test]
    fn a_jwt_of_another_key_is_invalid_and_an_unknown_token_unknown() {
        let other = Issuer::new(Key::parse("demo01.key001:other").unwrap(), false);
        let forged = other.mint(Duration::from_secs(60), None, NOW);
        assert_eq!(issuer().judge(Presented::Token(&forged.token), NOW).err(), Some(INVALID));
        assert_eq!(issuer().judge(Presented::Token("demo01.zzz"), NOW).err(), Some(UNKNOWN));
        assert_eq!(issuer().judge(Presented::Token("zzz"), NOW).err(), Some(INVALID));
        assert!(issuer().judge(Presented::Key(&Key::demo().expose()), NOW).is_err(), "basic is off");
    }

    #[test]
    fn a_nonce_is_taken_once_and_only_near_its_time() {
        let mut issuer = issuer();
        assert!(issuer.takes_nonce("n", NOW, NOW).is_ok());
        assert_eq!(issuer.takes_nonce("n", NOW, NOW).map_err(|d| d.code), Err(40105));
        let old = NOW - REQUEST_WINDOW - MILLISECOND;
        assert_eq!(issuer.takes_nonce("m", old, NOW).map_err(|d| d.code), Err(40104));
    }

    #[test]
    fn debug_masks_the_secret() {
        assert!(!format!("{:?}", Key::demo()).contains("secret"));
    }
}
