//! What each path answers.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use tokio_util::sync::CancellationToken;

use super::{AdminState, Denied, Server, operator, page};

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

/// Answers one request; `lasting` is told where the answer is a stream.
pub(super) fn respond<B>(
    request: &Request<B>,
    peer: SocketAddr,
    server: &Server,
    lasting: &CancellationToken,
) -> Response<Body> {
    let (method, path) = (request.method(), request.uri().path());
    if let Some(action) = path.strip_prefix("/rehearse/") {
        return match *method {
            Method::POST => rehearse(request, peer, action, &*server.state),
            _ => only("POST"),
        };
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        return only("GET, HEAD");
    }
    let state = &*server.state;
    if matches!(path, "/" | "/status.json" | "/events")
        && let Err(denied) = operator::check_host(request.headers(), |name| state.is_host(name))
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
        "/metrics" => typed(METRICS, state.render_metrics()),
        "/readyz" | "/ready" => match state.ready() {
            Ok(()) => text(StatusCode::OK, format!("ready: {READY}\n")),
            Err(missing) => {
                let body = format!("not ready\n{}\nchecked: {READY}\n", missing.trim_end());
                text(StatusCode::SERVICE_UNAVAILABLE, body)
            }
        },
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

fn takes_html<B>(request: &Request<B>) -> bool {
    let accepts = request.headers().get_all(ACCEPT);
    accepts.iter().any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")))
}

fn rehearse<B>(
    request: &Request<B>,
    peer: SocketAddr,
    action: &str,
    state: &dyn AdminState,
) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let value = |name: &str| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    let sessions = value("sessions").unwrap_or_else(|| "1".to_owned());
    let done = operator::check(request.headers(), peer, state.rehearsal_secret().as_ref())
        .and_then(|()| state.rehearse(action, value("route").as_deref(), &sessions));
    match done {
        Ok(done) => typed("application/json", serde_json::to_vec(&done).unwrap_or_default()),
        Err(denied) => refused(&denied),
    }
}

fn refused(denied: &Denied) -> Response<Body> {
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

fn only(methods: &'static str) -> Response<Body> {
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
