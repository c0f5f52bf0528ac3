//! Tokens by OAuth 2.0 (RFC 6749): one request to the token endpoint, one answer.
//!
//! ```text
//!   issuer ──► discovery ─┐
//!   token_url ────────────┴─► asked: the grant's form ──► POST ──► answer ──► a token, a refresh token
//!                              ▲            ▲                  └─► refusal ─► passing · lost · terminal, advice
//!                        client_auth      signed (JWTs)
//! ```
//!
//! 1. One deadline covers all, discovery included. A redirect is not followed: it would carry secrets elsewhere.
//! 2. What repeating can fix is told from what it cannot by a rule, and by OAuth's own codes (`source::refusal`). What a
//!    server says in free text is shown, without secrets (`source::said`).
//! 3. A refresh token may be used up by the request that shows it. Where that stays open, the failure says so: it is
//!    [`FailureKind::Lost`](crate::credential::keeper::FailureKind).
//! 4. Every request has assertions of its own: their `jti` is good for one use.

mod advice;
mod answer;
mod asked;
mod asked_with;
mod client_auth;
mod discovery;
pub mod login;
mod once;

use std::{fmt, sync::Arc};

use http::{Method, StatusCode};

use super::{
    Asking, Issued, Rotating, SourceError,
    refusal::Refused,
    request::{MAX_ANSWER, content_type, request},
};
use crate::{
    clock::{Instant, Now},
    config::{AuthorizationServer, Grant, OAuth2Source},
    net::{
        Dialer, Egress, TlsError,
        http::{self as net_http, HttpError},
    },
};
use advice::Shown;
use answer::Granted;
use asked::Asked;
use discovery::Discovery;
use once::Once;

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
    pub fn new(source: &OAuth2Source, egress: &Egress) -> Result<Self, TlsError> {
        let place = match &source.server {
            AuthorizationServer::Issuer(issuer) => {
                Place::Found(Box::new(Discovery::new(issuer, &source.tls, egress)?))
            }
            AuthorizationServer::TokenUrl(address) => Place::Here(Arc::new(TokenEndpoint {
                dialer: Dialer::new(&address.endpoint, &source.tls)?.by(egress),
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
        let sent = shown.sent();
        let request = request(Method::POST, &endpoint.target, headers, body)?;
        let response =
            net_http::request(&endpoint.dialer, request, MAX_ANSWER, deadline).await.map_err(|error| {
                if matches!(error, HttpError::Dial(_)) {
                    self.forget();
                }
                sent.unanswered(&error)
            })?;
        if matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
            self.forget();
        }
        let refused = || {
            let signed = self.source.signers().next().is_some();
            let refused = Refused::of(&response, &mask, signed, now);
            sent.refused(&refused, shown.advice(&refused))
        };
        if !response.status().is_success() {
            return Err(refused());
        }
        let kind = content_type(&response).map_err(|reason| sent.useless(&reason))?;
        let granted = answer::understood(&self.source, response.headers(), kind, response.body());
        let Granted { issued, scope } =
            granted.map_err(|useless| match useless.is_refusal(response.body()) {
                // Some servers have no other status.
                true => refused(),
                false => sent.bad(useless),
            })?;
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

    /// The configured refresh token, and where and as whom it is shown.
    pub(super) fn rotating(&self) -> Option<Rotating<'_>> {
        let Grant::RefreshToken(first) = &self.source.grant else { return None };
        Some(Rotating { first, at: asked_with::asked_at(&self.source) })
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
