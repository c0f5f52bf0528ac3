//! The upstream leg's handshake: Perennial's own request, and a 101 that is really one.
//!
//! Nothing of the client's handshake is relayed as it is, but for the extensions of a session in which nothing is read.
//! Only a 101 of HTTP/1.1 with the right `Upgrade`, `Connection` and `Sec-WebSocket-Accept`, each once, counts
//! (RFC 6455 §4.1).

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Collected, Empty, Limited};
use hyper::{body::Incoming, client::conn::http1, upgrade};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_util::sync::CancellationToken;

use super::route::Bounds;
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

/// Answers before the answer (1xx) that are read: each is work, and the service may send any number.
const MAX_INFORMATIONAL: usize = 16;
/// Bytes of what a service says about its refusal that reach the client, and how long they may take.
const MAX_REASON: usize = 4 * 1024;
const REASON_TIME: Duration = Duration::from_secs(1);

/// An upstream connection whose handshake was accepted.
pub(super) struct Opened {
    pub(super) link: Link,
    /// The service's headers, to be shown to the client.
    pub(super) headers: HeaderMap,
}

impl Opened {
    /// Did the service take an extension that the client offered?
    pub(super) fn is_extended(&self) -> bool {
        self.headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS)
    }
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
        headers: Box<HeaderMap>,
        /// What it said about it; `None`: too much, or not in time.
        body: Option<Bytes>,
        /// When it wants to be asked again, if it says so.
        retry_after: Option<Duration>,
    },
    #[error("the service's 101 is none: {0}")]
    Not101(&'static str),
    #[error("the service sent {MAX_INFORMATIONAL} answers before its answer (1xx)")]
    NoEnd,
    #[error("the URL that is the token cannot be dialled: {0}")]
    Elsewhere(String),
}

impl Refused {
    /// Is it for the next host to try: was this one not reached, or does it say that it fails?
    pub(super) fn is_of_the_host(&self) -> bool {
        match self {
            Self::Dial(_) | Self::TimedOut | Self::Http(_) => true,
            Self::Status { status, .. } => (500..=504).contains(&status.as_u16()),
            Self::Request(_) | Self::Not101(_) | Self::NoEnd | Self::Elsewhere(_) => false,
        }
    }

    /// Can the service have seen the handshake?
    pub(super) fn may_have_arrived(&self) -> bool {
        match self {
            Self::Dial(_) | Self::Request(_) | Self::Elsewhere(_) => false,
            Self::TimedOut | Self::Http(_) | Self::Status { .. } | Self::Not101(_) | Self::NoEnd => true,
        }
    }

    /// As it is counted.
    pub(super) fn outcome(&self) -> Dialled {
        match self {
            Self::Dial(error) if error.is_late() => Dialled::Timeout,
            Self::Dial(error) if error.stage == Stage::Tls => Dialled::Tls,
            Self::Dial(_) | Self::Elsewhere(_) => Dialled::Unreachable,
            // A gateway says of the service what a closed port says.
            Self::Status { status, .. } if GATEWAY.contains(status) => Dialled::Unreachable,
            Self::TimedOut => Dialled::Timeout,
            Self::Http(_) | Self::Request(_) | Self::Status { .. } | Self::Not101(_) | Self::NoEnd => {
                Dialled::Rejected
            }
        }
    }
}

/// Dials, and opens a WebSocket.
pub(super) async fn open(
    dialer: &Dialer,
    outgoing: Outgoing,
    bounds: Bounds,
    deadline: Instant,
) -> Result<Opened, Refused> {
    let asked = Asked::begin("dial", dialer);
    let opened = connect(dialer, outgoing, bounds, deadline).await;
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
    bounds: Bounds,
    deadline: Instant,
) -> Result<Opened, Refused> {
    let stream = dialer.connect(deadline).await?;
    let peer = stream.peer();
    let answer = handshake(stream, dialer.authority(), outgoing, bounds.head);
    let answer = tokio::time::timeout_at(deadline, answer).await.unwrap_or(Err(Refused::TimedOut));
    if matches!(answer, Err(Refused::TimedOut | Refused::Http(_))) {
        // Another address of the service may serve.
        dialer.blame(peer);
    }
    let (stream, early, headers) = answer?;
    let mut link = Link::new(stream, Side::Upstream, &early, bounds.message, clock::now());
    link.inbound.allow_extensions(headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS));
    Ok(Opened { link, headers })
}

async fn handshake(
    stream: Stream,
    authority: String,
    outgoing: Outgoing,
    head: usize,
) -> Result<(Stream, Bytes, HeaderMap), Refused> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(head).max_headers(100);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let key = generate_key();
    let offered = Offered::of(&outgoing.headers);
    let mut request = request(outgoing, &authority, &key)?;
    let too_many = count_informational(&mut request);
    let answered = async {
        let response = tokio::select! {
            biased;
            () = too_many.cancelled() => return Err(Refused::NoEnd),
            response = sender.send_request(request) => response?,
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(response).await);
        }
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

/// Ends when the service has sent more 1xx than anyone has to read.
fn count_informational<B>(request: &mut Request<B>) -> CancellationToken {
    let too_many = CancellationToken::new();
    let (seen, tell) = (AtomicUsize::new(0), too_many.clone());
    hyper::ext::on_informational(request, move |_| {
        if seen.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_INFORMATIONAL {
            tell.cancel();
        }
    });
    too_many
}

/// What the service said instead of 101, with what it said about it.
async fn refusal(response: Response<Incoming>) -> Refused {
    let (parts, body) = response.into_parts();
    let read = Limited::new(body, MAX_REASON).collect();
    let body = tokio::time::timeout(REASON_TIME, read).await.ok().and_then(Result::ok);
    let retry_after = retry_after(&parts.headers, Now::read());
    Refused::Status {
        status: parts.status,
        headers: Box::new(parts.headers),
        body: body.map(Collected::to_bytes),
        retry_after,
    }
}

/// Is this the answer that RFC 6455 §4.1 asks for?
fn check(response: &Response<Incoming>, key: &str, offered: &Offered) -> Result<(), Refused> {
    let headers = response.headers();
    if response.version() != Version::HTTP_11 {
        return Err(Refused::Not101("it is not of HTTP/1.1"));
    }
    if one(headers, &header::UPGRADE).is_none_or(|upgrade| !upgrade.eq_ignore_ascii_case(b"websocket")) {
        return Err(Refused::Not101("it does not upgrade to websocket"));
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(Refused::Not101("its Connection header does not say Upgrade"));
    }
    let accept = one(headers, &header::SEC_WEBSOCKET_ACCEPT);
    if accept != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(Refused::Not101("its Sec-WebSocket-Accept is wrong, or there are two"));
    }
    if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) && !offered.extensions {
        return Err(Refused::Not101("it names an extension that was not offered"));
    }
    if !headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        return Ok(());
    }
    match one(headers, &header::SEC_WEBSOCKET_PROTOCOL) {
        Some(chosen) if offered.protocols.iter().any(|name| name.as_bytes() == chosen) => Ok(()),
        Some(_) => Err(Refused::Not101("it names a subprotocol that was not offered")),
        None => Err(Refused::Not101("it names two subprotocols")),
    }
}

/// The value of a header that is there once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.as_bytes().trim_ascii();
    values.next().is_none().then_some(value)
}

/// What a service may choose from.
struct Offered {
    protocols: Vec<String>,
    extensions: bool,
}

impl Offered {
    fn of(headers: &HeaderMap) -> Self {
        let lists =
            headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
        let protocols = lists.flat_map(|list| list.split(',')).map(|name| name.trim().to_owned()).collect();
        Self { protocols, extensions: headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) }
    }
}

/// Does a comma-separated header hold this token, in any case?
pub(super) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}
