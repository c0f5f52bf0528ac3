//! Tokens by OAuth 2.0 (RFC 6749): one request to the token endpoint, one answer.
//!
//! ```text
//!   issuer ──► discovery ─┐
//!   token_url ────────────┴─► asked: the grant's form ──► POST ──► answer ──► a token, a refresh token
//!                              ▲            ▲                  └─► refusal ─► passing · lost · terminal
//!                        client_auth    assertion (JWTs, signed)
//! ```
//!
//! 1. One deadline covers all, discovery included. A redirect is not followed: it would carry secrets elsewhere.
//! 2. What repeating can fix is told from what it cannot by a rule, and by OAuth's own codes (`refusal`). What a server
//!    says in free text is shown, without secrets (`said`).
//! 3. A refresh token may be used up by the request that shows it. Where that stays open, the failure says so: it is
//!    [`FailureKind::Lost`](crate::credential::keeper::FailureKind).
//! 4. Every request has assertions of its own: their `jti` is good for one use.

mod answer;
mod asked;
mod asked_with;
mod assertion;
mod client_auth;
mod discovery;
mod once;
mod refusal;
mod said;

use std::{fmt, sync::Arc};

use http::{Method, StatusCode};

use super::{
    Asking, Issued, SourceError,
    answer::BadAnswer,
    request::{MAX_ANSWER, content_type, request, retry_after},
};
use crate::{
    clock::{Instant, Now},
    config::{AuthorizationServer, Grant, OAuth2Source},
    net::{
        Dialer, TlsError,
        http::{self as net_http, HttpError},
    },
};
use answer::{Bad, Granted, Useless};
use asked::Asked;
use discovery::Discovery;
use once::Once;
use refusal::Shown;
use said::Said;

/// `source = "oauth2"`.
pub struct OAuth2Tokens {
    source: OAuth2Source,
    place: Place,
    scope_said: Once,
}

enum Place {
    Here(Arc<TokenEndpoint>),
    Found(Box<Discovery>),
}

/// Where a token is asked for.
#[derive(Debug)]
struct TokenEndpoint {
    dialer: Dialer,
    /// Path and query.
    target: String,
    /// As the server knows it.
    url: String,
}

impl OAuth2Tokens {
    /// Reads the certificates of the token endpoint, or of the issuer.
    pub fn new(source: &OAuth2Source) -> Result<Self, TlsError> {
        let place = match &source.server {
            AuthorizationServer::Issuer(issuer) => {
                Place::Found(Box::new(Discovery::new(issuer, &source.tls)?))
            }
            AuthorizationServer::TokenUrl(address) => Place::Here(Arc::new(TokenEndpoint {
                dialer: Dialer::new(&address.endpoint, &source.tls)?,
                target: address.endpoint.path_and_query.clone(),
                url: address.text.clone(),
            })),
        };
        Ok(Self { source: source.clone(), place, scope_said: Once::default() })
    }

    pub(super) async fn fetch(
        &self,
        asking: &Asking,
        now: Now,
        deadline: Instant,
    ) -> Result<Issued, SourceError> {
        let endpoint = match &self.place {
            Place::Here(endpoint) => endpoint.clone(),
            Place::Found(discovery) => discovery.find(&self.source.client_auth, now, deadline).await?,
        };
        let Asked { headers, body, scopes, mask } = asked::asked(&self.source, asking, &endpoint.url, now)?;
        let shown = Shown { source: &self.source, rotated: asking.refresh_token.is_some() };
        let request = request(Method::POST, &endpoint.target, headers, body)?;
        let response =
            net_http::request(&endpoint.dialer, request, MAX_ANSWER, deadline).await.map_err(|error| {
                if matches!(error, HttpError::Dial(_)) {
                    self.forget();
                }
                shown.unanswered(&error)
            })?;
        let status = response.status();
        if matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
            self.forget();
        }
        let refused = || {
            let said = Said::of(response.body(), &mask);
            let ahead = self.source.signs().then(|| net_http::date(response.headers())).flatten();
            let clock = ahead.map(|theirs| (theirs, now.wall));
            shown.refused(status, &said, retry_after(response.headers(), now), clock)
        };
        if !status.is_success() {
            return Err(refused());
        }
        let kind = content_type(&response).map_err(|reason| shown.useless(&reason))?;
        let Granted { issued, scope } = match answer::understood(kind, response.body(), &self.source.grant) {
            Ok(granted) => granted,
            // Some servers have no other status.
            Err(Useless { bad: Bad::Answer(BadAnswer::Error(_)), rotated: None }) => return Err(refused()),
            Err(useless) => return Err(shown.bad(useless)),
        };
        self.compare(&scopes, scope.as_deref());
        Ok(issued)
    }

    /// The endpoint may have moved: its issuer is asked again.
    fn forget(&self) {
        if let Place::Found(discovery) = &self.place {
            discovery.forget();
        }
    }

    /// A server may grant less than was asked for (RFC 6749 §3.3): that is said, once for each change.
    fn compare(&self, asked: &[String], granted: Option<&str>) {
        let missing = match granted {
            Some(granted) => answer::missing(asked, granted),
            // It says nothing where it granted all.
            None => String::new(),
        };
        if self.scope_said.is_news(&missing) && !missing.is_empty() {
            // A scope that was made of what a client sent is not for the log.
            let own = self.source.scope.iter().all(|scope| scope.as_literal().is_some());
            let missing = own.then_some(missing);
            tracing::warn!(
                server = self.source.server.address().endpoint.authority(),
                missing,
                "the token has less scope than was asked for"
            );
        }
    }

    /// All that the operator has the source ask with; `None` where it cannot be read.
    pub(super) fn asked_with(&self) -> Option<Vec<u8>> {
        asked_with::asked_with(&self.source)
    }

    /// See [`super::Source::rotates`].
    pub(super) fn rotates(&self) -> bool {
        matches!(self.source.grant, Grant::RefreshToken(_))
    }

    /// See [`super::Source::lineage`].
    pub(super) fn lineage(&self) -> Option<Vec<u8>> {
        asked_with::lineage(&self.source)
    }

    /// See [`super::Source::asked_at`].
    pub(super) fn asked_at(&self) -> Option<Vec<u8>> {
        self.rotates().then(|| asked_with::asked_at(&self.source))
    }
}

impl fmt::Debug for OAuth2Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2Tokens")
            .field("server", &self.source.server)
            .field("grant", &self.source.grant.word())
            .field("client_auth", &self.source.client_auth.word())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
