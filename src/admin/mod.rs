//! The operator's HTTP server: metrics and health.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | every series, for Prometheus |
//! | `/startupz`, `/startup` | 200 when the sidecar was ready once, else 503 |
//! | `/readyz`, `/ready` | 200 while it can serve, else 503 and what is missing |
//! | `/livez`, `/live`, `/healthz` | 200 while this loop turns |
//! | `/` | these, as text |
//!
//! It only reads, and holds no secret. A connection carries one request, has a deadline, and is one of
//! a bounded number: whoever reaches the port cannot hold more than that.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub mod client;
pub mod status;

/// Connections at once: a few scrapers and probes, many times over. The next waits to be accepted.
const CONNECTIONS: usize = 64;
/// From the accepted socket to the whole head of the request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// From the accepted socket to the last byte of the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);
/// How long answers under way may take after the stop.
const DRAIN: Duration = Duration::from_secs(1);
/// Pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the server asks of the sidecar. Called on the server's tasks, so each answers at once.
pub trait AdminState: Send + Sync + 'static {
    /// Every series in the text format 0.0.4.
    fn render_metrics(&self) -> String;
    /// Does the listener accept, and has each credential of a route a valid token? Else what is
    /// missing, one line for each: it is shown as it is, so it names routes and no secret.
    fn ready(&self) -> Result<(), String>;
    /// Was it ready once?
    fn started(&self) -> bool;
}

/// Answers on `listener` until `shutdown`, then finishes what is under way (within a second).
pub async fn serve(listener: TcpListener, state: Arc<dyn AdminState>, shutdown: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    while let Some((stream, permit)) = next(&listener, &permits, &shutdown).await {
        connections.spawn(connection(stream, permit, Arc::clone(&state), shutdown.clone()));
    }
    connections.close();
    // A connection that outlives this has a deadline of its own.
    let _ = timeout(DRAIN, connections.wait()).await;
}

/// The next connection, as soon as there is room for it; `None`: it is over.
async fn next(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let accepted = async {
        let permit = Arc::clone(permits).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, permit)),
                Err(error) => {
                    tracing::warn!(%error, "admin connection not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    shutdown.run_until_cancelled(accepted).await.flatten()
}

async fn connection(
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
    state: Arc<dyn AdminState>,
    shutdown: CancellationToken,
) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &*state);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        // One request each: scrapes and probes are seconds apart, and an idle connection takes a place.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = std::pin::pin!(connection);
    let served = async {
        tokio::select! {
            served = &mut connection => return served,
            () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    };
    match timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin connection failed"),
        Err(_) => tracing::debug!("admin connection timed out"),
    }
}

fn respond(method: &Method, path: &str, state: &dyn AdminState) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/" => text(StatusCode::OK, INDEX),
        "/metrics" => {
            let mut response = text(StatusCode::OK, state.render_metrics());
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(METRICS));
            response
        }
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

/// The text format of Prometheus.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

const READY: &str = "the listener accepts; each route's credential has a valid token";

const INDEX: &str = "\
Perennial

/metrics   every series, for Prometheus
/readyz    200 while it can serve: the listener accepts, each route's credential has a valid token
/startupz  200 when that was so once
/livez     200 while the loop turns
";

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests;
