//! The port that the browser comes back to: one answer is taken, and everything else is sent away.
//!
//! ```text
//!   GET /callback?state=…&code=…     ──► the code: the end of the wait
//!   GET /callback?state=…&error=…    ──► the server's no: the end as well
//!   another state, none, no code     ──► 400, and the wait goes on
//!   everything else (/favicon.ico)   ──► 404, and the wait goes on
//! ```
//!
//! 1. The page that answers is plain words, and says nothing of what came.
//! 2. A connection has seconds, and there are few at a time: browsers open some that they do not use.

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};
use url::form_urlencoded;

use super::LoginError;
use crate::{
    clock::Instant,
    config::SecretText,
    credential::source::{mask::Mask, said::Said},
};

/// Where a browser is sent.
pub(super) const CALLBACK: &str = "/callback";
/// Of one connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections at a time.
const MOST: usize = 16;
/// A head may be this long.
const MAX_HEAD: usize = 64 * 1024;
const AFTER_A_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// What tells the answer to this login.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) state: SecretText,
    /// Who answers, if that is known (RFC 9207).
    pub(super) issuer: Option<String>,
}

/// What the server says by way of the browser.
#[derive(Debug, PartialEq, Eq)]
enum Brought {
    Code(SecretText),
    /// Why there is none.
    No(String),
}

/// The code that the browser brings.
pub(super) async fn wait(
    listener: TcpListener,
    expected: Expected,
    ends: Instant,
) -> Result<SecretText, LoginError> {
    let expected = Arc::new(expected);
    let mut visits = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = sleep_until(ends) => {
                return Err(LoginError::failed("no answer came from the browser in time; log in again"));
            }
            Some(visited) = visits.join_next() => match visited {
                Ok(Some(Brought::Code(code))) => return Ok(code),
                Ok(Some(Brought::No(why))) => return Err(LoginError::Failed(why)),
                Ok(None) | Err(_) => {}
            },
            accepted = listener.accept(), if visits.len() < MOST => match accepted {
                Ok((stream, _)) => {
                    visits.spawn(visit(stream, Arc::clone(&expected)));
                }
                Err(_) => sleep(AFTER_A_FAILED_ACCEPT).await,
            },
        }
    }
}

/// Answers one request, and says what it brought.
async fn visit(stream: TcpStream, expected: Arc<Expected>) -> Option<Brought> {
    let brought = Arc::new(OnceLock::new());
    let answer = service_fn({
        let brought = Arc::clone(&brought);
        move |request: Request<Incoming>| {
            let judged = judged(&expected, request.method(), request.uri());
            let (status, words) = match &judged {
                Ok(Brought::Code(_)) => (StatusCode::OK, "The answer has arrived. Go back to the terminal."),
                Ok(Brought::No(_)) => (StatusCode::OK, "The server said no. The terminal says why."),
                Err(refused) => *refused,
            };
            if let Ok(judged) = judged {
                let _ = brought.set(judged);
            }
            async move { Ok::<_, Infallible>(page(status, words)) }
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    // What it brought counts, whether the page reached anybody or not.
    let _ = timeout(PATIENCE, served).await;
    Arc::into_inner(brought).and_then(OnceLock::into_inner)
}

fn page(status: StatusCode, words: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(words.as_bytes())));
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What a request is; the error is the answer to one that does not count.
fn judged(
    expected: &Expected,
    method: &Method,
    uri: &http::Uri,
) -> Result<Brought, (StatusCode, &'static str)> {
    if method != Method::GET || uri.path() != CALLBACK {
        return Err((StatusCode::NOT_FOUND, "There is nothing here."));
    }
    let bad = |words| Err((StatusCode::BAD_REQUEST, words));
    let fields: Vec<_> = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).collect();
    // None may be there twice (RFC 6749 §3.1): then it is not the server's answer.
    let field = |name: &str| {
        let mut all = fields.iter().filter(|(one, _)| one == name).map(|(_, value)| &**value);
        all.next().filter(|value| !value.is_empty() && all.next().is_none())
    };
    if field("state").is_none_or(|state| expected.state != *state) {
        return bad("This is not the answer to the login that the terminal waits for.");
    }
    let other = |issuer: &str| expected.issuer.as_deref().is_some_and(|expected| expected != issuer);
    if field("iss").is_some_and(other) {
        return bad("This answer is of another server.");
    }
    match (field("error"), field("code")) {
        (Some(error), _) => Ok(Brought::No(refusal(error, field("error_description")))),
        (None, Some(code)) => Ok(Brought::Code(code.into())),
        (None, None) => bad("This answer has no code in it."),
    }
}

/// RFC 6749 §4.1.2.1, as fit to be shown as what a token endpoint says.
fn refusal(error: &str, description: Option<&str>) -> String {
    let body = json!({ "error": error, "error_description": description }).to_string();
    let said = Said::of(body.as_bytes(), &Mask::default());
    let mut reason = "the authorization endpoint said no".to_owned();
    if let Some(code) = &said.code {
        reason = format!("{reason} ({code})");
    }
    if let Some(words) = &said.reason {
        reason = format!("{reason} \"{words}\"");
    }
    let way_out = match said.code.as_deref() {
        Some("access_denied") => "somebody refused the login, or may not let this client in",
        Some("unauthorized_client" | "unsupported_response_type") => {
            "the server does not let this client log in so; allow it there, or try --way device"
        }
        Some("invalid_scope") => {
            "the server does not grant this scope to this client; check scope, and --scope"
        }
        Some("temporarily_unavailable" | "server_error") => "log in again later",
        _ => return reason,
    };
    format!("{reason}: {way_out}")
}

#[cfg(test)]
mod tests;
