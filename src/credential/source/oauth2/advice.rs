//! What a failure means: whether repeating fixes it, and what somebody has to do if it does not.
//!
//! | what came back | kind |
//! |---|---|
//! | with `Retry-After`; 408, 425, 429, 503; a code that says "later" | passing |
//! | a code that speaks of the request (RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 6750 §3.1) | terminal |
//! | JSON with 401 or 403; to a refresh token, JSON with any 4xx, or with 200 and an error | terminal |
//! | with a refresh token: nothing whole, another 5xx, or a 200 that is of no use | lost |
//! | everything else: a page of a gateway, a code that nobody knows | passing |

use std::{fmt, time::Duration};

use http::StatusCode;

use super::{
    super::SourceError,
    answer::{Bad, Useless},
    said::Said,
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

/// Errors that pass by themselves, whatever their status.
const PASSING: [&str; 7] = [
    "temporarily_unavailable",
    "server_error",
    "slow_down",
    "authorization_pending",
    "rate_limit_exceeded",
    "too_many_requests",
    "over_request_rate_limit",
];

/// Clocks that differ by less are not worth a word.
const CLOCKS_AGREE: Duration = Duration::from_secs(20);

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
        if error.may_have_arrived() { self.useless(error) } else { SourceError::unreached(error.to_string()) }
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
    pub(super) fn bad(self, Useless { bad, rotated }: Useless) -> SourceError {
        let error = match (&bad, &rotated) {
            // The next answer would be the same.
            (Bad::Kind(_) | Bad::Issued, _) => SourceError::terminal(bad.to_string()),
            (_, Some(_)) => SourceError::passing(bad.to_string()),
            (Bad::Answer(_) | Bad::Bare | Bad::NoToken | Bad::RefreshToken(_), None) => self.useless(&bad),
        };
        SourceError { rotated, ..error }
    }

    /// The server said no. `clocks`: its own and ours, if something was signed.
    pub(super) fn refused(
        self,
        status: StatusCode,
        said: &Said,
        retry_after: Option<Duration>,
        clocks: Option<(Duration, Duration)>,
    ) -> SourceError {
        let kind = self.kind(status, said, retry_after.is_some());
        let mut reason = format!("the token endpoint answered {status}");
        if let Some(code) = &said.code {
            reason = format!("{reason} ({code})");
        }
        if let Some(words) = &said.reason {
            reason = format!("{reason} \"{words}\"");
        }
        if status.is_redirection() {
            reason.push_str(", and a redirect is not followed");
        }
        if kind == FailureKind::Lost {
            reason = used_up(&reason);
        }
        if let Some(way_out) = self.way_out(status, said) {
            reason = format!("{reason}: {way_out}");
        }
        if let Some(clocks) = clocks.and_then(differ) {
            reason = format!("{reason}; {clocks}");
        }
        SourceError { retry_after, ..SourceError::of(kind, reason) }
    }

    fn kind(self, status: StatusCode, said: &Said, is_told_when: bool) -> FailureKind {
        let code = said.code.as_deref();
        let later = is_told_when || matches!(status.as_u16(), 408 | 425 | 429 | 503);
        let barred = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        // Neither has looked at the request at all.
        let unread = matches!(status, StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED);
        let refused = said.is_json && (status.is_client_error() || status.is_success());
        if later || code.is_some_and(|code| PASSING.contains(&code) && !status.is_server_error()) {
            FailureKind::Passing
        } else if code.is_some_and(|code| TERMINAL.contains(&code))
            || refused && (barred || self.is_used_up())
        {
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

    fn way_out(self, status: StatusCode, said: &Said) -> Option<String> {
        if said.speaks_of("dpop") {
            return Some(
                "the server wants DPoP, which is not supported; turn it off for this client".to_owned(),
            );
        }
        Some(match said.code.as_deref() {
            None if status == StatusCode::NOT_FOUND => {
                "there is no token endpoint at this address; check token_url, or issuer".to_owned()
            }
            None => return None,
            Some("invalid_grant") if said.speaks_of("issuer") => {
                "the refresh token was issued under another address of the server; ask at that one".to_owned()
            }
            Some(code) => return self.way_out_of(code, status),
        })
    }

    fn way_out_of(self, code: &str, status: StatusCode) -> Option<String> {
        Some(match code {
            "invalid_grant" => return self.another_grant(),
            "invalid_client" => self.another_proof(),
            // Keycloak's word for a wrong secret.
            "unauthorized_client" if status == StatusCode::UNAUTHORIZED => self.another_proof(),
            "unauthorized_client" => {
                format!("the server does not let this client use grant = \"{}\"", self.source.grant.word())
            }
            "unsupported_grant_type" => {
                format!("the server has no grant = \"{}\"", self.source.grant.word())
            }
            "invalid_scope" => "the server does not grant this scope to this client; check scope".to_owned(),
            "invalid_target" => "the server issues no token for that; check audience and resource".to_owned(),
            // RFC 8693 §2.2.2 wants this word for a token that was refused.
            "invalid_request" if matches!(self.source.grant, Grant::TokenExchange(_)) => {
                "the server misses a field, or does not take subject_token: has it ended?".to_owned()
            }
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
            ClientAuth::SecretJwt(secret) => {
                format!("client_id, the clock and the secret in {}", place(secret, "client_secret"))
            }
            ClientAuth::Assertion(assertion) => {
                format!(
                    "client_id, and the assertion in {}: has it ended?",
                    place(assertion, "client_assertion")
                )
            }
            ClientAuth::PrivateKeyJwt(signer) => format!(
                "client_id, key_id, assertion_audience, the clock and the key in {}",
                place(&signer.key.secret, "private_key")
            ),
        };
        format!("the client was refused; check {with}")
    }
}

/// What is wrong with the clocks, if something is.
fn differ((theirs, ours): (Duration, Duration)) -> Option<String> {
    let difference = theirs.abs_diff(ours);
    let which = if theirs > ours { "behind" } else { "ahead of" };
    let seconds = difference.as_secs();
    (difference > CLOCKS_AGREE).then(|| format!("the clock here is {seconds} s {which} the server's"))
}

fn used_up(what: &dyn fmt::Display) -> String {
    format!("{what}; the refresh token may be used up, and its successor lost")
}

/// Where somebody puts a new one.
fn place(secret: &Secret, key: &str) -> String {
    if secret.is_literal() { format!("{key} of the configuration") } else { secret.place() }
}
