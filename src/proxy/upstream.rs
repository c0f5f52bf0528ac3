//! The upstream leg's handshake: Perennial's own request, and a 101 that is really one.
//!
//! Nothing of the client's handshake is relayed as it is. Only 101 with the right `Upgrade`,
//! `Connection` and `Sec-WebSocket-Accept` counts (RFC 6455 §4.1); no extension is offered or taken.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::{body::Incoming, client::conn::http1, upgrade};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

use crate::{
    clock::{self, Instant, Now},
    dialect::Outgoing,
    net::{
        DialError, Dialer, Stage, Stream,
        http::retry_after,
        link::{Link, Side},
        trace::Asked,
    },
    telemetry::Dialled,
};

/// Bytes that a service's answer to the handshake may have.
const MAX_HEAD: usize = 16 * 1024;

/// An upstream connection whose handshake was accepted.
pub(super) struct Opened {
    pub(super) link: Link,
    /// The service's headers, to be shown to the client.
    pub(super) headers: HeaderMap,
}

/// With these a load balancer says that it cannot reach the service, or a service that it cannot serve.
const GATEWAY: [StatusCode; 3] =
    [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];

/// Why there is no upstream connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("{0}")]
    Dial(#[from] DialError),
    #[error("the service did not answer the handshake in time")]
    TimedOut,
    #[error("the handshake failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("the handshake could not be written: {0}")]
    Request(#[from] http::Error),
    /// The service's own answer.
    #[error("the service answered {status}")]
    Status {
        status: StatusCode,
        headers: HeaderMap,
        /// When it wants to be asked again, if it says so.
        retry_after: Option<Duration>,
    },
    #[error("the service's 101 is none: {0}")]
    Not101(&'static str),
    #[error("the URL that is the token cannot be dialled: {0}")]
    Elsewhere(String),
}

impl Refused {
    /// As it is counted.
    pub(super) fn outcome(&self) -> Dialled {
        match self {
            Self::Dial(error) if error.is_late() => Dialled::Timeout,
            Self::Dial(error) if error.stage == Stage::Tls => Dialled::Tls,
            Self::Dial(_) | Self::Elsewhere(_) => Dialled::Unreachable,
            // A gateway says of the service what a closed port says.
            Self::Status { status, .. } if GATEWAY.contains(status) => Dialled::Unreachable,
            Self::TimedOut => Dialled::Timeout,
            Self::Http(_) | Self::Request(_) | Self::Status { .. } | Self::Not101(_) => Dialled::Rejected,
        }
    }
}

/// Dials, and opens a WebSocket.
pub(super) async fn open(
    dialer: &Dialer,
    outgoing: Outgoing,
    limit: usize,
    deadline: Instant,
) -> Result<Opened, Refused> {
    let asked = Asked::begin("dial", dialer);
    let opened = connect(dialer, outgoing, limit, deadline).await;
    asked.end(match &opened {
        Ok(_) => Ok(StatusCode::SWITCHING_PROTOCOLS),
        Err(Refused::Status { status, .. }) => Ok(*status),
        Err(refused) => Err(refused.outcome().as_str()),
    });
    opened
}

async fn connect(
    dialer: &Dialer,
    outgoing: Outgoing,
    limit: usize,
    deadline: Instant,
) -> Result<Opened, Refused> {
    let stream = dialer.connect(deadline).await?;
    let answer = handshake(stream, dialer.authority(), outgoing);
    let (stream, early, headers) =
        tokio::time::timeout_at(deadline, answer).await.map_err(|_| Refused::TimedOut)??;
    Ok(Opened { link: Link::new(stream, Side::Upstream, &early, limit, clock::now()), headers })
}

async fn handshake(
    stream: Stream,
    authority: String,
    outgoing: Outgoing,
) -> Result<(Stream, Bytes, HeaderMap), Refused> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD).max_headers(100);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let key = generate_key();
    let offered = offered_protocols(&outgoing.headers);
    let request = request(outgoing, &authority, &key)?;
    let answered = async {
        let response = sender.send_request(request).await?;
        check(&response, &key, &offered)?;
        let headers = response.headers().clone();
        Ok::<_, Refused>((upgrade::on(response).await?, headers))
    };
    // Both: the connection is what moves the answer, and it ends as soon as it has been upgraded.
    let drive = async { connection.with_upgrades().await.map_err(Refused::Http) };
    let (upgraded, headers) = first_failure(answered, drive).await?;
    match upgraded.downcast::<TokioIo<Stream>>() {
        Ok(parts) => Ok((parts.io.into_inner(), parts.read_buf, headers)),
        Err(_) => Err(Refused::Not101("the connection could not be taken over")),
    }
}

/// The answer, while `drive` runs beside it. The first fault of either counts.
async fn first_failure<T>(
    answer: impl Future<Output = Result<T, Refused>>,
    drive: impl Future<Output = Result<(), Refused>>,
) -> Result<T, Refused> {
    tokio::pin!(answer, drive);
    let mut driving = true;
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            ended = &mut drive, if driving => {
                ended?;
                driving = false;
            }
        }
    }
}

fn request(outgoing: Outgoing, authority: &str, key: &str) -> Result<Request<Empty<Bytes>>, http::Error> {
    let mut request = Request::builder().method(Method::GET).uri(outgoing.target).body(Empty::new())?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_str(authority)?);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_str(key)?);
    headers.extend(outgoing.headers);
    Ok(request)
}

/// Is this the answer that RFC 6455 §4.1 asks for?
fn check(response: &Response<Incoming>, key: &str, offered: &[String]) -> Result<(), Refused> {
    let headers = response.headers();
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (status, retry_after) = (response.status(), retry_after(headers, Now::read()));
        return Err(Refused::Status { status, headers: headers.clone(), retry_after });
    }
    if !has_token(headers, &header::UPGRADE, "websocket") {
        return Err(Refused::Not101("it does not upgrade to websocket"));
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(Refused::Not101("its Connection header does not say Upgrade"));
    }
    let accept = headers.get(header::SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
    if accept != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(Refused::Not101("its Sec-WebSocket-Accept is wrong"));
    }
    if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        return Err(Refused::Not101("it names an extension that was not offered"));
    }
    match headers.get(header::SEC_WEBSOCKET_PROTOCOL).map(HeaderValue::to_str) {
        Some(Ok(chosen)) if offered.iter().any(|name| name == chosen.trim()) => Ok(()),
        None => Ok(()),
        Some(_) => Err(Refused::Not101("it names a subprotocol that was not offered")),
    }
}

fn offered_protocols(headers: &HeaderMap) -> Vec<String> {
    let lists =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(|name| name.trim().to_owned()).collect()
}

/// Does a comma-separated header hold this token, in any case?
pub(super) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}
