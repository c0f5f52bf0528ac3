//! A JWT that is signed here: with which key, and what stands in it.
//!
//! ```text
//!   source = "jwt"                 the token itself
//!   [route.token.jwt]              `{jwt}` in a request of source = "http"
//!   private_key, … of "oauth2"     a client's proof of itself, or a grant
//! ```
//!
//! `iat`, `exp` and `jti` are made for each JWT, and nobody else sets them.

use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::{
    Algorithm, KeyError, SigningKey, Template,
    declare::{At, Kind, table, value},
    json::{Body, Members},
    section::Section,
    text::Plain,
    value::{Kept, Time, Unread},
};

/// With what a JWT is signed, and what stands in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Signer {
    /// The key, and how it signs.
    pub key: SigningKey,
    /// `kid`.
    pub key_id: Option<String>,
    /// `aud`, if it is not the server's own name and not among the claims.
    pub audience: Option<String>,
    /// More members of the header.
    pub header: Map<String, Json>,
    /// More claims: the text of a JSON object, expanded for [`super::Place::JsonString`]. `None`: there are none.
    pub claims: Option<Template>,
    /// From `iat` to `exp`.
    pub lifetime: Duration,
}

table! {
    /// A JWT that is signed here.
    pub(super) struct SignedTable {
        /// A private key in PEM.
        private_key: maybe Unread;
        /// A secret that the other side has too.
        shared_secret: maybe Kept;
        /// How the JWT is signed.
        algorithm: maybe Algorithm, otherwise("what is usual for the key; `HS256` with `shared_secret`");
        /// The `kid` of the JWT.
        key_id: maybe Plain;
        /// The claims, as JSON. `iat`, `exp` and `jti` are set by Perennial.
        claims: maybe Claims;
        /// More members of the JWT's header, as JSON.
        header: maybe Members;
        /// How long a JWT lives.
        ttl: maybe Time, otherwise("`\"1h\"`, or `\"5m\"` in `[route.token.jwt]`");
    }
}

value! {
    /// Members of a JSON object, some of which are not for the operator to set.
    pub(super) Claims: Template, Kind::Body, |value, at: At| {
        let own = value.as_table().and_then(|table| ["iat", "exp", "jti"].into_iter().find(|key| table.contains_key(*key)));
        if let Some(own) = own {
            return Err(format!("{own} is set for each JWT; remove it"));
        }
        Body::read(value, at)
    }
}

/// How long a JWT for one request lives: long enough for a clock that is a little off.
pub(super) const ONE_REQUEST: Duration = Duration::from_secs(5 * 60);

impl Signer {
    /// With nothing in the JWT but what each has.
    pub fn new(key: SigningKey) -> Self {
        let (key_id, audience, header, claims) = (None, None, Map::new(), None);
        Self { key, key_id, audience, header, claims, lifetime: ONE_REQUEST }
    }

    /// `None`: there is a problem, which is noted. `ttl`: how long a JWT lives, if nothing else is written.
    pub(super) fn of(section: &Section<'_>, table: SignedTable, ttl: Duration) -> Option<Self> {
        let SignedTable { private_key, shared_secret, algorithm, key_id, claims, header, ttl: written } =
            table;
        match (section.has("private_key"), section.has("shared_secret")) {
            (true, true) => section.refuse("shared_secret", "one key signs: keep one of the two"),
            (false, false) => section.missing(
                "private_key",
                "private_key = { file = \"PATH\" }, or shared_secret if the other side has the same one",
            ),
            (true, false) | (false, true) => {}
        }
        let is_shared = private_key.is_none();
        let secret = private_key.or(shared_secret)?;
        let key = SigningKey { secret, is_shared, algorithm };
        let name = if is_shared { "shared_secret" } else { "private_key" };
        key.is_sound(section, name).then_some(Self {
            key,
            key_id,
            audience: None,
            header: header.unwrap_or_default(),
            claims,
            lifetime: written.unwrap_or(ttl),
        })
    }

    /// All that differs from client to client.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.claims.iter()
    }
}

impl SigningKey {
    /// Can it sign as it is to? If not, that is noted at the key `name`.
    pub(super) fn is_sound(&self, section: &Section<'_>, name: &'static str) -> bool {
        let Err(error) = self.read() else { return true };
        // An algorithm that is no word has been named already.
        if section.has("algorithm") == self.algorithm.is_some() {
            let message = if let KeyError::Mismatch { kind, algorithm, usual, .. } = &error {
                format!("is {kind}, which cannot sign {algorithm}; write algorithm = \"{usual}\"")
            } else {
                error.to_string()
            };
            section.refuse(name, message);
        }
        false
    }
}
