//! The first dial of a handshake: until the service answers, or the time is over.
//!
//! ```text
//!   dial ──► 101 ──────────────────────────► a connection
//!     ▲  ├─ 401, 403: the token's fault? ──► another token, once
//!     └──┼─ cannot be reached ─────────────► again, a moment later
//!        └─ anything else ─────────────────► the client gets it
//! ```

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    admission::{self, Refusal},
    answer::{Answer, end_to_end, quotes, refuse, without},
    body::AnswerBody,
    caller::Caller,
    report,
    route::RouteContext,
    tally::Turned,
    upstream::{Opened, Refused},
};
use crate::{
    clock::{self, Instant},
    credential::{Lease, Token, Trigger},
    dialect::Dialect,
    telemetry::{DialPurpose, Dialled, Handshake},
};

/// Time between two dials of one handshake.
const RETRY: Duration = Duration::from_millis(300);

/// Why there is no upstream.
pub(super) enum Failed {
    Answer(Box<Answer>),
    Refused(Refusal),
}

/// Dials until the service answers. If it cannot be reached, that is tried again.
///
/// If it refuses the token, that is replaced once. Two tokens are not: one that nobody has vouched for, and one that
/// others were just accepted with. The fault is not the token's then, and the client gets the service's answer.
pub(super) async fn dial(
    route: &RouteContext,
    lease: Option<&Lease>,
    dialect: &mut dyn Dialect,
    Caller { session, client }: Caller,
    deadline: Instant,
) -> Result<(Opened, Option<Arc<Token>>), Failed> {
    let failed = |answer| Failed::Answer(Box::new(answer));
    let (name, mut renewed, mut attempt) = (&*route.route.name, false, 0);
    loop {
        let token = admission::token(lease, deadline).await.map_err(Failed::Refused)?;
        let outgoing = dialect.handshake(token.as_deref()).map_err(|error| {
            tracing::warn!(%session, route = name, %client, error, "the handshake cannot be made");
            let why = "the handshake with the service cannot be made";
            let turned = Turned::new(Handshake::BadRequest, name, why);
            failed(turned.answer(StatusCode::BAD_GATEWAY))
        })?;
        let refused = match route.open(DialPurpose::First, outgoing, deadline).await {
            Ok(opened) => return Ok((opened, token)),
            Err(refused) => refused,
        };
        attempt += 1;
        report::not_reached(session, name, &refused.to_string(), attempt);
        match (&refused, &token, lease) {
            (
                Refused::Status { status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, .. },
                Some(token),
                Some(lease),
            ) if !renewed && lease.may_blame(token.generation, clock::now()) => {
                renewed = true;
                if !renew(lease, token, deadline).await {
                    return Err(failed(pass_on(name, refused, Some(token))));
                }
            }
            (Refused::Dial(_) | Refused::Http(_), Some(token), lease) if clock::now() + RETRY < deadline => {
                tokio::time::sleep(RETRY).await;
                // A ticket may have been seen.
                if let Some(lease) = lease.filter(|lease| lease.is_once())
                    && !renew(lease, token, deadline).await
                {
                    return Err(failed(pass_on(name, refused, Some(token))));
                }
            }
            _ => return Err(failed(pass_on(name, refused, token.as_deref()))),
        }
    }
}

/// Waits for a token in place of one that the service refused; is there one?
async fn renew(lease: &Lease, token: &Token, deadline: Instant) -> bool {
    let credential = lease.credential();
    credential.demand(Some(token.generation), Trigger::Expiry);
    credential.newer(token.generation, deadline).await.is_some()
}

/// The service's headers; what is behind them is not its own.
pub(super) fn copy_headers(from: &HeaderMap, to: &mut HeaderMap) {
    end_to_end(from, to);
    to.remove(header::CONTENT_LENGTH);
}

/// What the service, or the way to it, said instead of 101. What quotes the token stays behind: a header, the target of
/// a redirect above all, and a body, with what is said of its kind.
fn pass_on(route: &str, refused: Refused, token: Option<&Token>) -> Answer {
    let turned = |outcome, why: &'static str| Turned::new(outcome, route, why);
    let answered = match refused.outcome() {
        Dialled::Unreachable => Handshake::UpstreamUnreachable,
        Dialled::Ok | Dialled::Tls | Dialled::Rejected | Dialled::Timeout => Handshake::UpstreamRejected,
    };
    match refused {
        Refused::Status { status, headers, body, .. } => {
            let body =
                body.filter(|body| !headers.contains_key(header::CONTENT_ENCODING) && !quotes(body, token));
            let mut response = refuse(status, "");
            copy_headers(&without(*headers, token), response.headers_mut());
            match body {
                Some(body) => *response.body_mut() = AnswerBody::Own(body.into()),
                None => {
                    response.headers_mut().remove(header::CONTENT_TYPE);
                    response.headers_mut().remove(header::CONTENT_ENCODING);
                }
            }
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            turned(answered, "").with(response)
        }
        Refused::TimedOut => turned(Handshake::Timeout, "the service did not answer in time")
            .answer(StatusCode::GATEWAY_TIMEOUT),
        Refused::Dial(_) | Refused::Elsewhere(_) => {
            turned(Handshake::UpstreamUnreachable, "the service cannot be reached; see the log")
                .answer(StatusCode::BAD_GATEWAY)
        }
        Refused::Http(_) | Refused::Request(_) | Refused::Not101(_) | Refused::NoEnd => turned(
            Handshake::UpstreamRejected,
            "the service did not answer as a WebSocket service does; see the log",
        )
        .answer(StatusCode::BAD_GATEWAY),
    }
}
