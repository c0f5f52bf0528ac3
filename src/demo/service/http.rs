//! The listener: upgrades, and the few plain requests that a client's REST half makes.
//!
//! ```text
//!   GET  /                            with Upgrade: websocket ─► a transport
//!   GET  /token                       a token, in the form that Options say
//!   POST /keys/{keyName}/requestToken TokenRequest ─► TokenDetails
//!   GET  /time                        [milliseconds]
//! ```

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    connect::{Credential, Request as Connect},
    connection::{Line, Wishes},
    frame::Format,
    hub::Shared,
    requests,
    transport::{self, Wire},
};

/// Messages on the way to one client; one that lets more pile up is reset.
const LINE: usize = 65_536;
/// Orders on the way to one transport.
const ORDERS: usize = 16;
/// The largest body of a plain request.
const BODY: usize = 65_536;

/// Accepts until told to stop.
pub(super) async fn accept(
    listener: TcpListener,
    shared: Shared,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                let serve = serve(stream, peer, shared.clone(), tasks.clone(), stop.clone());
                tasks.spawn(serve);
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                // Out of file descriptors, most likely: turning in circles frees none.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Shared,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let ended = stop.clone();
    let service = service_fn(move |request| {
        let (shared, tasks, stop) = (shared.clone(), tasks.clone(), stop.clone());
        async move { Ok::<_, Infallible>(answer(request, shared, tasks, stop).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::select! {
        () = ended.cancelled() => {}
        served = serving => if let Err(error) = served {
            tracing::debug!(%error, %peer, "connection ended");
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: Shared,
    tasks: TaskTracker,
    stop: CancellationToken,
) -> Response<Full<Bytes>> {
    if is_upgrade(&request) {
        return upgrade(request, &shared, &tasks, stop);
    }
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET | &Method::POST, "/token") => {
            let query = request.uri().query().unwrap_or_default().to_owned();
            requests::token(&query, &shared).await
        }
        (&Method::GET, "/time") => requests::time(),
        (&Method::POST, path) if path.starts_with("/keys/") => {
            let Some(name) = path.strip_prefix("/keys/").and_then(|p| p.strip_suffix("/requestToken")) else {
                return plain(StatusCode::NOT_FOUND, "");
            };
            let authorization =
                request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).map(str::to_owned);
            let Ok(body) = Limited::new(request.into_body(), BODY).collect().await else {
                return plain(StatusCode::PAYLOAD_TOO_LARGE, "");
            };
            requests::request_token(name, authorization.as_deref(), &body.to_bytes(), &shared).await
        }
        _ => plain(StatusCode::NOT_FOUND, ""),
    }
}

/// A response of plain text.
pub(super) fn plain(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn is_upgrade(request: &Request<Incoming>) -> bool {
    let named = request.headers().get(header::UPGRADE).and_then(|v| v.to_str().ok());
    named.is_some_and(|v| v.eq_ignore_ascii_case("websocket"))
}

fn upgrade(
    request: Request<Incoming>,
    shared: &Shared,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Response<Full<Bytes>> {
    shared.ledger.count(|c| c.dials += 1);
    if let Some(status) = shared.lock().standing.refuse.pop_front() {
        shared.ledger.count(|c| c.refused += 1);
        return plain(
            StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
            "refused by order",
        );
    }
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        shared.ledger.violation("handshake: no Sec-WebSocket-Key".into());
        return plain(StatusCode::BAD_REQUEST, "");
    };
    let accept = derive_accept_key(key.as_bytes());
    let connect = read_query(request.uri().query().unwrap_or_default());
    let shared = shared.clone();
    tasks.spawn(async move {
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => open(upgraded, &connect, shared, stop).await,
            Err(error) => tracing::debug!(%error, "no upgrade"),
        }
    });
    let mut response = plain(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

async fn open(upgraded: Upgraded, connect: &Connect, shared: Shared, stop: CancellationToken) {
    // Only hyper's own rewinding of what it read too far stands between the two types.
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else { return };
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(shared.options.max_message_size.saturating_mul(8)));
    let (stream, read) = (parts.io.into_inner(), parts.read_buf.to_vec());
    let socket = WebSocketStream::from_partially_read(stream, read, Role::Server, Some(config)).await;
    let (frames, out) = mpsc::channel(LINE);
    let (control, orders) = mpsc::channel(ORDERS);
    let id = shared.lock().open(connect, &Line { frames, control });
    transport::run(Wire { socket, frames: out, control: orders }, id, shared, stop).await;
}

/// Reads a client's query, strictly: what is said twice is wrong.
fn read_query(query: &str) -> Connect {
    let mut wishes = Wishes {
        format: Format::Json,
        version: 0,
        echo: true,
        heartbeats: true,
        client_id: None,
        resume: None,
    };
    let mut credentials = Vec::new();
    let mut fault = None;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "key" => credentials.push(Credential::Key(value.into_owned())),
            "accessToken" | "access_token" => credentials.push(Credential::Token(value.into_owned())),
            "format" if value == "json" => wishes.format = Format::Json,
            "format" if value == "msgpack" => wishes.format = Format::Msgpack,
            "format" => fault = Some((40000, 400, "unknown format")),
            // Of the 1.x family only the whole part counts: all of it is refused below.
            "v" => wishes.version = value.split('.').next().and_then(|v| v.parse().ok()).unwrap_or(0),
            "echo" => wishes.echo = value != "false",
            "heartbeats" => wishes.heartbeats = value != "false",
            "clientId" => wishes.client_id = Some(value.into_owned()),
            "resume" | "recover" if wishes.resume.is_some() => {
                fault = Some((40000, 400, "more than one connection to continue"));
            }
            "resume" | "recover" => wishes.resume = Some(value.into_owned()),
            _ => {}
        }
    }
    if wishes.version < 2 {
        fault = fault.or(Some((80024, 400, "protocol version is no longer supported")));
    }
    Connect { wishes, credentials, fault }
}
