//! What each path answers to who only looks; what an operator asks for besides is in `actions`.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCEPT, ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY,
        WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    },
    request::Parts,
};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use tokio_util::sync::CancellationToken;

use super::{AdminState, Denied, Server, health::Health, operator, page};

/// An answer's body: whole, or a stream of events.
pub(super) type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// The text format of Prometheus.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

const READY: &str = "the listener accepts; each route's credential has a valid token";

const INDEX: &str = "\
Perennial

/             the status page, in a browser
/status.json  the same for a program; `perennial status` shows it in a terminal
/metrics      every series, for Prometheus
/readyz       200 while it can serve: the listener accepts, each route's credential has a valid token
/startupz     200 when that was so once
/livez        200 while the loop turns
";

/// Answers one request; `lasting` is told if the answer is a stream.
pub(super) fn respond(request: &Parts, server: &Server, lasting: &CancellationToken) -> Response<Body> {
    let (method, path) = (&request.method, request.uri.path());
    if !matches!(*method, Method::GET | Method::HEAD) {
        return only("GET, HEAD");
    }
    let state = &*server.state;
    if matches!(path, "/" | "/status.json" | "/events")
        && let Err(denied) = operator::check_host(&request.headers, |name| state.is_host(name))
    {
        return refused(&denied);
    }
    match path {
        "/" if takes_html(request) => page::index(),
        "/" => text(StatusCode::OK, INDEX),
        "/page.css" => page::css(),
        "/page.js" => page::js(),
        "/status.json" => typed("application/json", server.streams.latest()),
        "/events" if *method == Method::HEAD => typed("text/event-stream", ""),
        "/events" => match server.streams.open() {
            Some(body) => {
                lasting.cancel();
                finished("text/event-stream", body)
            }
            None => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "as many look on as may; close a page, or read /status.json\n",
            ),
        },
        "/metrics" => metrics(request, state.render_metrics()),
        "/readyz" | "/ready" => ready(state),
        "/startupz" | "/startup" if state.started() => text(StatusCode::OK, "started: was ready once\n"),
        "/startupz" | "/startup" => {
            let missing = state.ready().err().unwrap_or_default();
            let body = format!("not started: was never ready\n{}\nchecked: {READY}\n", missing.trim_end());
            text(StatusCode::SERVICE_UNAVAILABLE, body)
        }
        "/livez" | "/live" | "/healthz" => text(StatusCode::OK, "live: the loop turns\n"),
        _ => text(StatusCode::NOT_FOUND, format!("not here\n\n{INDEX}")),
    }
}

/// Ready or not; and what is wrong all the same, which changes nothing: a sidecar whose service is away would only lose
/// its clients' connections.
fn ready(state: &dyn AdminState) -> Response<Body> {
    let Health { level, conditions } = state.status().health;
    let wrong: String =
        conditions.iter().map(|one| format!("{}: {}\n", one.level.word(), one.sentence())).collect();
    match state.ready() {
        Ok(()) => text(StatusCode::OK, format!("ready: {READY}\n{}\n{wrong}", level.word())),
        Err(missing) => {
            let body = format!("not ready\n{}\nchecked: {READY}\n{wrong}", missing.trim_end());
            text(StatusCode::SERVICE_UNAVAILABLE, body)
        }
    }
}

/// Compressed, if the scraper takes that.
fn metrics(request: &Parts, page: String) -> Response<Body> {
    let squeezed = takes_gzip(&request.headers).then(|| squeeze(page.as_bytes())).and_then(Result::ok);
    let encoded = squeezed.is_some();
    let mut response = typed(METRICS, squeezed.map_or_else(|| Bytes::from(page), Bytes::from));
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    if encoded {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn squeeze(page: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut into = GzEncoder::new(Vec::new(), Compression::fast());
    into.write_all(page)?;
    into.finish()
}

/// RFC 9110 §12.5.3; with `q=0` it is refused.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let named = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
        is_gzip && weight.is_none_or(|weight| weight > 0.0)
    })
}

fn takes_html(request: &Parts) -> bool {
    let accepts = request.headers.get_all(ACCEPT);
    accepts.iter().any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")))
}

pub(super) fn refused(denied: &Denied) -> Response<Body> {
    let status = match denied {
        Denied::Unauthorized(_) => StatusCode::UNAUTHORIZED,
        Denied::Forbidden(_) => StatusCode::FORBIDDEN,
        Denied::Unknown(_) => StatusCode::NOT_FOUND,
        Denied::Bad(_) => StatusCode::BAD_REQUEST,
    };
    let mut response = text(status, format!("{denied}\n"));
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110 §11.6.1
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

pub(super) fn only(methods: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {methods}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = typed("text/plain; charset=utf-8", body);
    *response.status_mut() = status;
    response
}

/// 200, with something whole.
pub(super) fn typed(kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    finished(kind, Full::new(body.into()).boxed_unsync())
}

fn finished(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // No page of another origin shows this, or parts of it, as its own.
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}
