//! Where tokens come from.
//!
//! ```text
//!   http ──► answer ──► a token
//!     ▲         └─────► an Ably TokenRequest, exchanged over http
//!   oauth2 ──┘  file, exec ──► answer     ably_key, jwt: signed here     static_token: as it stands
//! ```
//!
//! 1. A fetch ends by its deadline.
//! 2. What a source gives has been looked at: a token is one line of visible ASCII, at most 128 KiB.
//! 3. An error says what was wrong with an answer, and quotes nothing of it but fixed words.
//! 4. Secrets are read when they are used, so a changed one works at once.

mod ably_key;
pub mod answer;
mod asking;
mod exec;
mod file;
mod http;
pub mod jwt;
mod mask;
#[cfg(test)]
mod names;
mod oauth2;
mod parts;
#[cfg(test)]
mod played;
mod refusal;
mod request;
mod said;
mod signed;
mod static_token;

use std::{path::Path, time::Duration};

pub use ably_key::{AblyKey, KeyError, token_request_mac};
pub use answer::{BadAnswer, Issued, Useless};
pub use asking::{Asking, ClientValues};
pub use exec::{ExecTokens, reap_orphans};
pub use file::FileToken;
pub use http::HttpTokens;
pub use oauth2::{OAuth2Tokens, login};
#[cfg(test)]
pub(super) use played::{Fault, Played};
pub use signed::JwtTokens;
pub use static_token::StaticToken;

use parts::Parts;

use super::keeper::{FailureKind, FetchFailure};
use crate::{
    clock::{Instant, Now},
    config::{Secret, SecretText, SourceConfig},
    net::{Egress, TlsError},
};

/// How often to look whether a secret has changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A source of tokens for one credential.
#[derive(Debug)]
pub enum Source {
    Http(Box<HttpTokens>),
    OAuth2(Box<OAuth2Tokens>),
    AblyKey(AblyKey),
    File(FileToken),
    Static(StaticToken),
    Exec(ExecTokens),
    Jwt(Box<JwtTokens>),
    #[cfg(test)]
    Played(Played),
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SourceError {
    pub kind: FailureKind,
    pub retry_after: Option<Duration>,
    /// Without secrets.
    pub reason: String,
    /// The answer was of no use, but for the refresh token in it: the one before it may be dead.
    pub rotated: Option<Rotated>,
    /// What answered does not seem to give tokens at all: another page, a redirect, JSON without one.
    pub misplaced: bool,
}

/// A refresh token that came, and how long it lives if the server said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    pub refresh_token: SecretText,
    pub life: Option<Duration>,
}

/// A source whose answers may each bring the next refresh token.
struct Rotating<'s> {
    /// The configured one.
    first: &'s Secret,
    /// Where and as which client it is shown.
    at: Vec<u8>,
}

impl Source {
    /// Reads what the source needs beforehand: the certificates of a token endpoint, which is asked by this way out.
    pub fn new(config: &SourceConfig, egress: &Egress) -> Result<Self, TlsError> {
        Ok(match config {
            SourceConfig::Http(http) => Self::Http(Box::new(HttpTokens::new(http, egress)?)),
            SourceConfig::OAuth2(source) => Self::OAuth2(Box::new(OAuth2Tokens::new(source, egress)?)),
            SourceConfig::AblyKey(key) => Self::AblyKey(AblyKey::new(key)),
            SourceConfig::Static { token } => Self::Static(StaticToken::new(token)),
            SourceConfig::File { path, answer } => Self::File(FileToken::new(path, answer)),
            SourceConfig::Exec(exec) => Self::Exec(ExecTokens::new(exec)),
            SourceConfig::Jwt(signer) => Self::Jwt(Box::new(JwtTokens::new(signer))),
        })
    }

    /// One token, by `deadline`.
    pub async fn fetch(&self, asking: &Asking, now: Now, deadline: Instant) -> Result<Issued, SourceError> {
        match self {
            Self::Http(http) => http.fetch(asking, now, deadline).await,
            Self::OAuth2(oauth2) => Box::pin(oauth2.fetch(asking, now, deadline)).await,
            Self::AblyKey(key) => key.mint(now),
            Self::File(file) => file.fetch(deadline).await,
            Self::Static(token) => token.fetch(),
            Self::Exec(exec) => exec.fetch(asking, deadline).await,
            Self::Jwt(jwt) => jwt.mint(asking, now),
            #[cfg(test)]
            Self::Played(server) => server.fetch(asking).await,
        }
    }

    /// How often to look whether what the source is asked with has changed.
    pub fn look_every(&self) -> Duration {
        if matches!(self, Self::File(_)) { file::LOOK_EVERY } else { LOOK_EVERY }
    }

    /// May each of its answers be the only one to go on from?
    pub fn rotates(&self) -> bool {
        #[cfg(test)]
        if matches!(self, Self::Played(_)) {
            return true;
        }
        self.rotating().is_some()
    }

    /// The file of the first refresh token, if there is no such file yet: `perennial login` writes it.
    pub fn awaited(&self) -> Option<&Path> {
        let Self::OAuth2(oauth2) = self else { return None };
        oauth2.rotating()?.first.awaited()
    }

    fn rotating(&self) -> Option<Rotating<'_>> {
        match self {
            Self::OAuth2(oauth2) => oauth2.rotating(),
            Self::Http(http) => http.rotating(),
            Self::AblyKey(_) | Self::File(_) | Self::Static(_) | Self::Exec(_) | Self::Jwt(_) => None,
            #[cfg(test)]
            Self::Played(_) => None,
        }
    }

    /// Is the same token good for every sidecar that asks with the same configuration? What is read or made on
    /// this machine costs nobody anything.
    pub fn is_worth_sharing(&self) -> bool {
        match self {
            Self::Http(_) | Self::OAuth2(_) | Self::Exec(_) => true,
            Self::AblyKey(_) | Self::Jwt(_) | Self::File(_) | Self::Static(_) => false,
            #[cfg(test)]
            Self::Played(_) => true,
        }
    }

    /// What names the chain of refresh tokens that each answer may go on with: the configured first of them. `None` if
    /// the source takes none, or if it cannot be read.
    ///
    /// It is a secret.
    pub fn lineage(&self) -> Option<Vec<u8>> {
        #[cfg(test)]
        if let Self::Played(server) = self {
            return Some(server.lineage());
        }
        let mut parts = Parts::default();
        parts.put("refresh token");
        parts.secret(self.rotating()?.first)?;
        Some(parts.whole())
    }

    /// The server and the client that a refresh token is of; `None` if the source takes none.
    pub fn asked_at(&self) -> Option<Vec<u8>> {
        self.rotating().map(|rotating| rotating.at)
    }

    /// All that the source is asked with, to be hashed and compared; `None` where it cannot be read.
    ///
    /// It is a secret.
    pub async fn asked_with(&self) -> Option<Vec<u8>> {
        match self {
            Self::Http(http) => http.asked_with(),
            Self::OAuth2(oauth2) => oauth2.asked_with(),
            Self::AblyKey(key) => key.asked_with(),
            Self::File(file) => file.contents().await,
            Self::Static(token) => token.asked_with(),
            Self::Exec(exec) => exec.asked_with(),
            Self::Jwt(jwt) => jwt.asked_with(),
            #[cfg(test)]
            Self::Played(server) => Some(server.asked_with()),
        }
    }
}

impl SourceError {
    /// The request went out and its answer did not come whole: the source may have acted on it.
    pub fn lost(reason: impl Into<String>) -> Self {
        Self::of(FailureKind::Lost, reason)
    }

    /// It may pass by itself.
    pub fn passing(reason: impl Into<String>) -> Self {
        Self::of(FailureKind::Passing, reason)
    }

    /// Nobody was there to be asked.
    pub fn unreached(reason: impl Into<String>) -> Self {
        Self::of(FailureKind::Unreached, reason)
    }

    /// Somebody has to change something.
    pub fn terminal(reason: impl Into<String>) -> Self {
        Self::of(FailureKind::Terminal, reason)
    }

    pub(super) fn of(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self { kind, retry_after: None, reason: reason.into(), rotated: None, misplaced: false }
    }
}

impl From<SourceError> for FetchFailure {
    fn from(error: SourceError) -> Self {
        Self { kind: error.kind, retry_after: error.retry_after, reason: error.reason }
    }
}

impl From<BadAnswer> for SourceError {
    fn from(bad: BadAnswer) -> Self {
        let kind = if bad.stays() { FailureKind::Terminal } else { FailureKind::Passing };
        Self { misplaced: bad.is_misplaced(), ..Self::of(kind, bad.to_string()) }
    }
}

impl From<Useless> for SourceError {
    fn from(useless: Useless) -> Self {
        useless.bad.into()
    }
}
