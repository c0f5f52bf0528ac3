//! What a failure means: whether repeating mends it, and what somebody has to do where it does not.
//!
//! | what came back | kind |
//! |---|---|
//! | 429, 503 | passing |
//! | a code that speaks of the request (RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 6750 §3.1); 401, 403 | terminal |
//! | with a refresh token: nothing whole, another 5xx, or a 200 that is of no use | lost |
//! | everything else: `temporarily_unavailable`, `server_error`, `slow_down`, codes nobody knows | passing |
//!
//! `error_description` may hold anything, and is not looked at.

use std::{fmt, time::Duration};

use http::StatusCode;

use super::{
    super::{SourceError, answer::BadAnswer},
    answer::Bad,
};
use crate::{
    config::{ClientAuth, Grant, OAuth2Source, Secret},
    credential::keeper::FailureKind,
    net::http::HttpError,
};

/// Errors that somebody has to do something about.
const TERMINAL: [&str; 9] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "invalid_token",
    "insufficient_scope",
];

/// What was shown to the server, as far as an error speaks of it.
#[derive(Clone, Copy)]
pub(super) struct Shown<'s> {
    pub(super) source: &'s OAuth2Source,
    /// Was it a refresh token that took the configured one's place?
    pub(super) rotated: bool,
}

impl Shown<'_> {
    /// There is no whole answer.
    pub(super) fn unanswered(self, error: &HttpError) -> SourceError {
        if error.may_have_arrived() { self.useless(error) } else { SourceError::passing(error.to_string()) }
    }

    /// The server has answered, and what it gave, if anything, is of no use.
    pub(super) fn useless(self, what: &dyn fmt::Display) -> SourceError {
        if self.is_used_up() {
            SourceError::lost(used_up(what))
        } else {
            SourceError::passing(what.to_string())
        }
    }

    /// An answer of status 200 that brought no token.
    pub(super) fn bad(self, bad: &Bad) -> SourceError {
        match bad {
            // Some servers have no other status.
            Bad::Answer(BadAnswer::Error(code)) => self.refused(StatusCode::OK, Some(code), None),
            // The next answer would be the same.
            Bad::Kind(_) | Bad::Issued => SourceError::terminal(bad.to_string()),
            Bad::Answer(_) | Bad::Bare | Bad::NoToken | Bad::RefreshToken(_) => self.useless(bad),
        }
    }

    /// The server said no. `code` is OAuth's, if it is one that may be shown.
    pub(super) fn refused(
        self,
        status: StatusCode,
        code: Option<&str>,
        retry_after: Option<Duration>,
    ) -> SourceError {
        let kind = self.kind(status, code);
        let mut reason = format!("the token endpoint answered {status}");
        if let Some(code) = code {
            reason = format!("{reason} ({code})");
        }
        if status.is_redirection() {
            reason.push_str(", and a redirect is not followed");
        }
        if kind == FailureKind::Lost {
            reason = used_up(&reason);
        }
        if let Some(way_out) = code.and_then(|code| self.way_out(code)) {
            reason = format!("{reason}: {way_out}");
        }
        SourceError { kind, retry_after, reason }
    }

    fn kind(self, status: StatusCode, code: Option<&str>) -> FailureKind {
        let busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let barred = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        // Neither has looked at the request at all.
        let unread = matches!(status, StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED);
        if busy {
            FailureKind::Passing
        } else if barred || code.is_some_and(|code| TERMINAL.contains(&code)) {
            FailureKind::Terminal
        } else if status.is_server_error() && !unread && self.is_used_up() {
            FailureKind::Lost
        } else {
            FailureKind::Passing
        }
    }

    /// May what was shown be good for nothing after this?
    fn is_used_up(self) -> bool {
        matches!(self.source.grant, Grant::RefreshToken(_))
    }

    fn way_out(self, code: &str) -> Option<String> {
        Some(match code {
            "invalid_grant" => return self.another_grant(),
            "invalid_client" => self.another_proof(),
            "unauthorized_client" => {
                format!("the server does not let this client use grant = \"{}\"", self.source.grant.word())
            }
            "unsupported_grant_type" => {
                format!("the server has no grant = \"{}\"", self.source.grant.word())
            }
            "invalid_scope" => "the server does not grant this scope to this client; check scope".to_owned(),
            "invalid_target" => "the server issues no token for that; check audience and resource".to_owned(),
            "invalid_request" => {
                "the server misses a field, or cannot use one; check client_auth, scope, audience, resource and \
                 parameters"
                    .to_owned()
            }
            _ => return None,
        })
    }

    /// What to do about a grant that was refused.
    fn another_grant(self) -> Option<String> {
        let spent = "expired, revoked or already used";
        Some(match &self.source.grant {
            Grant::ClientCredentials => return None,
            Grant::RefreshToken(first) => {
                let which = if self.rotated {
                    "the refresh token that the server gave last"
                } else {
                    "the refresh token"
                };
                format!("{which} was refused: {spent}; put a new one in {}", place(first, "refresh_token"))
            }
            Grant::Assertion(assertion) => {
                format!(
                    "the assertion was refused: {spent}; put a new one in {}",
                    place(assertion, "assertion")
                )
            }
            Grant::SignedAssertion(assertion) => format!(
                "the assertion was refused; check the key in {}, assertion_issuer, subject, assertion_audience and \
                 the clock",
                place(&assertion.signer.key.secret, "private_key")
            ),
            Grant::TokenExchange(exchange) => {
                let kept = exchange.subject_token.as_secret();
                let way_out = kept.map_or_else(String::new, |secret| {
                    format!("; put a new one in {}", place(secret, "subject_token"))
                });
                format!("the subject's token, or the actor's, was refused: {spent}{way_out}")
            }
        })
    }

    /// What to do about a client that was refused.
    fn another_proof(self) -> String {
        let with = match &self.source.client_auth {
            ClientAuth::None => "client_id, and whether the server wants a client_secret".to_owned(),
            ClientAuth::Basic(secret) | ClientAuth::Post(secret) => {
                format!("client_id, client_auth and the secret in {}", place(secret, "client_secret"))
            }
            ClientAuth::PrivateKeyJwt(signer) => format!(
                "client_id, key_id, assertion_audience, the clock and the key in {}",
                place(&signer.key.secret, "private_key")
            ),
        };
        format!("the client was refused; check {with}")
    }
}

fn used_up(what: &dyn fmt::Display) -> String {
    format!("{what}; the refresh token may be used up, and its successor lost")
}

/// Where somebody puts a new one.
fn place(secret: &Secret, key: &str) -> String {
    if secret.is_literal() { format!("{key} of the configuration") } else { secret.place() }
}
