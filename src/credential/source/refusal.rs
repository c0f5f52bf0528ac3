//! What a failed request means: whether repeating fixes it.
//!
//! | what came back | kind |
//! |---|---|
//! | with `Retry-After`; 408, 425, 429, 503; a code or words that say "later" | passing |
//! | a code that speaks of the request (RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 6750 §3.1) | terminal |
//! | 401 or 403 in JSON; from a server that speaks of itself in plain text, also in that | terminal |
//! | to a refresh token, JSON with any 4xx, or with 200 and an error | terminal |
//! | with a refresh token: nothing whole, another 5xx, a fault of the server itself, or a 200 that is of no use | lost |
//! | everything else: a page of a gateway, a code that nobody knows | passing |

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{Response, StatusCode};

use super::{
    SourceError,
    answer::Useless,
    mask::Mask,
    said::{Form, Said},
};
use crate::{
    clock::Now,
    credential::keeper::FailureKind,
    net::http::{HttpError, date, rate_limited_for, retry_after},
};

/// Errors that somebody has to do something about: RFC 6749's, RFC 8693's and RFC 6750's, then Azure's, DPoP's (RFC 9449),
/// Salesforce's, Slack's and GitHub's.
const TERMINAL: [&str; 18] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "invalid_token",
    "insufficient_scope",
    "invalid_resource",
    "invalid_dpop_proof",
    "use_dpop_nonce",
    "invalid_client_id",
    "invalid_client_credentials",
    "inactive_user",
    "inactive_org",
    "bad_client_secret",
    "incorrect_client_credentials",
];

/// Errors that pass by themselves, whatever their status.
const PASSING: [&str; 9] = [
    "temporarily_unavailable",
    "server_error",
    "slow_down",
    "authorization_pending",
    "rate_limit_exceeded",
    "rate_limited",
    "ratelimited",
    "too_many_requests",
    "over_request_rate_limit",
];

/// What a server says of a client that asks too often, if it has no code and no status for it: GitHub with 403, AWS with 400.
const TOO_OFTEN: [&str; 5] =
    ["rate limit", "rate exceeded", "too many requests", "toomanyrequests", "throttl"];

/// Errors of the server itself, whatever their status. Slack says that the request may have happened all the same.
const BROKEN: [&str; 2] = ["internal_error", "fatal_error"];

/// Clocks that differ by less are not worth a word.
const CLOCKS_AGREE: Duration = Duration::from_secs(20);

/// Is this the answer of something that gives no tokens at all: a redirect, a page that is not there?
pub(super) fn is_misplaced(status: StatusCode) -> bool {
    status.is_redirection() || matches!(status.as_u16(), 404 | 405 | 406 | 410 | 415 | 501)
}

/// Is this the code of an error that somebody has to do something about?
pub(super) fn stays(code: &str) -> bool {
    TERMINAL.contains(&code)
}

/// A request, as far as its failure depends on it.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    /// Who was asked, as an error names it.
    pub(super) whom: &'static str,
    /// Does the server give its own answers in JSON only?
    pub(super) speaks_json: bool,
    /// Was a refresh token shown, which may be good for nothing after this?
    pub(super) is_used_up: bool,
}

/// A server's no.
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) said: Said,
    retry_after: Option<Duration>,
    /// The server's clock and ours, if something was signed here.
    clocks: Option<(Duration, Duration)>,
}

impl Refused {
    /// `mask` knows what was sent; `signed`: something in it was dated by our clock.
    pub(super) fn of(response: &Response<Bytes>, mask: &Mask, signed: bool, now: Now) -> Self {
        let (status, mut said) = (response.status(), Said::of(response.body(), mask));
        if said.form == Form::Words && !status.is_client_error() {
            // They are no words about the request, and may be anything.
            said.reason = None;
        }
        let limited = status == StatusCode::TOO_MANY_REQUESTS;
        let wait = if limited { rate_limited_for } else { retry_after };
        let retry_after = wait(response.headers(), now);
        let theirs = signed.then(|| date(response.headers())).flatten();
        Self { status, said, retry_after, clocks: theirs.map(|theirs| (theirs, now.wall)) }
    }
}

impl Sent {
    /// There is no whole answer.
    pub(super) fn unanswered(self, error: &HttpError) -> SourceError {
        if error.may_have_arrived() { self.useless(error) } else { SourceError::unreached(error.to_string()) }
    }

    /// The server has answered, and what it gave, if anything, is of no use.
    pub(super) fn useless(self, what: &dyn fmt::Display) -> SourceError {
        if self.is_used_up {
            SourceError::lost(used_up(what))
        } else {
            SourceError::passing(what.to_string())
        }
    }

    /// An answer of status 200 that brought no token.
    pub(super) fn bad(self, Useless { bad, rotated }: Useless) -> SourceError {
        let error = if bad.stays() {
            SourceError::terminal(bad.to_string())
        } else if rotated.is_some() {
            SourceError::passing(bad.to_string())
        } else {
            self.useless(&bad)
        };
        SourceError { rotated, misplaced: bad.is_misplaced(), ..error }
    }

    /// The server said no. `advice`: what to do about it, if that is known.
    pub(super) fn refused(self, refused: &Refused, advice: Option<String>) -> SourceError {
        let Refused { status, said, retry_after, clocks } = refused;
        let kind = self.kind(refused);
        let mut reason = format!("{} answered {status}", self.whom);
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
        if let Some(advice) = advice {
            reason = format!("{reason}: {advice}");
        }
        if let Some(clocks) = clocks.and_then(differ) {
            reason = format!("{reason}; {clocks}");
        }
        let misplaced = retry_after.is_none() && said.code.is_none() && is_misplaced(*status);
        SourceError { retry_after: *retry_after, misplaced, ..SourceError::of(kind, reason) }
    }

    fn kind(self, Refused { status, said, retry_after, .. }: &Refused) -> FailureKind {
        let code = said.code.as_deref();
        let later = retry_after.is_some() || matches!(status.as_u16(), 408 | 425 | 429 | 503);
        let own = said.form == Form::Json || said.form == Form::Words && !self.speaks_json;
        let barred = matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        // Neither has looked at the request at all.
        let unread = matches!(*status, StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED);
        let judged = said.form == Form::Json && (status.is_client_error() || status.is_success());
        let too_often = judged && code.is_none() && TOO_OFTEN.iter().any(|words| said.speaks_of(words));
        let later = later
            || too_often
            || code.is_some_and(|code| PASSING.contains(&code) && !status.is_server_error());
        if later {
            FailureKind::Passing
        } else if code.is_some_and(|code| BROKEN.contains(&code)) {
            if self.is_used_up { FailureKind::Lost } else { FailureKind::Passing }
        } else if code.is_some_and(stays) || own && barred || judged && self.is_used_up {
            FailureKind::Terminal
        } else if status.is_server_error() && !unread && self.is_used_up {
            FailureKind::Lost
        } else {
            FailureKind::Passing
        }
    }
}

fn used_up(what: &dyn fmt::Display) -> String {
    format!("{what}; the refresh token may be used up, and its successor lost")
}

/// What is wrong with the clocks, if something is.
fn differ((theirs, ours): (Duration, Duration)) -> Option<String> {
    let difference = theirs.abs_diff(ours);
    let which = if theirs > ours { "behind" } else { "ahead of" };
    let seconds = difference.as_secs();
    (difference > CLOCKS_AGREE).then(|| format!("the clock here is {seconds} s {which} the server's"))
}
