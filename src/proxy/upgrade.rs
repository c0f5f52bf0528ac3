//! From a client's request to a session: the service is dialled before the client is answered.
//!
//! ```text
//!   request ─► handshake? route? allowed? ─► token ─► dial ─► 101 ─► take the socket over ─► driver
//!                    │                         │        │
//!                    └── 4xx                   └─ 503   └── the service's own status and headers
//! ```
//!
//! Everything here has one deadline, `limits.handshake`. What can be tried again is, within it.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, upgrade};
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    answer::{Answer, end_to_end, refuse, target_at, without},
    body::AnswerBody,
    driver::Driver,
    gate,
    listener::Proxy,
    pace::Paced,
    route::RouteContext,
    upstream::{self, Opened, Refused},
};
use crate::{
    clock::{self, Instant},
    credential::{Token, Trigger},
    dialect::{Dialect, Request as Asked},
    net::link::{Link, Side},
    session::{Policy, Session, Shown},
};

/// Time between two dials of one handshake.
const RETRY: Duration = Duration::from_millis(300);

/// Answers one handshake of a client.
pub(super) async fn serve(proxy: Arc<Proxy>, mut request: Request<Incoming>) -> Answer {
    let deadline = clock::now() + proxy.limits.handshake;
    match prepare(&proxy, &request, deadline).await {
        Ok(ready) => {
            let answer = accept(&request, &ready.opened.headers);
            let client = upgrade::on(&mut request);
            let tasks = proxy.tasks.clone();
            proxy.tasks.spawn(async move {
                match tokio::time::timeout_at(deadline, client).await {
                    Ok(Ok(upgraded)) => {
                        if let Some(driver) = start(upgraded, ready) {
                            // A task of its own: the handshake's future was large, a session's is small.
                            tasks.spawn(driver);
                        }
                    }
                    Ok(Err(_)) | Err(_) => tracing::debug!("the client left during its handshake"),
                }
            });
            answer
        }
        Err(answer) => answer,
    }
}

/// A session that waits for its client's socket.
struct Ready {
    route: Arc<RouteContext>,
    opened: Opened,
    dialect: Box<dyn Dialect>,
    shown: Option<Shown>,
    opening: Duration,
    permit: OwnedSemaphorePermit,
}

async fn prepare(proxy: &Proxy, request: &Request<Incoming>, deadline: Instant) -> Result<Ready, Answer> {
    let turn_away = |denied: gate::Denied| refuse(denied.status, denied.why);
    let Some(path) = gate::meant(request.uri().path()) else {
        return Err(refuse(StatusCode::BAD_REQUEST, "a path with . or .. is not served"));
    };
    let Some(route) = proxy.route(&path) else {
        return Err(refuse(StatusCode::NOT_FOUND, "no route has this path"));
    };
    gate::check_handshake(request).map_err(turn_away)?;
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let mut asked = Asked::new(target, request.headers());
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    gate::admit(&route.route, &mut asked, host).map_err(turn_away)?;
    let Ok(permit) = Arc::clone(&proxy.sessions).try_acquire_owned() else {
        return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "limits.sessions is reached; try again later"));
    };
    if let Some((name, _)) = &route.route.handshake.header {
        gate::remove_twins(&mut asked.headers, name);
    }
    asked.target = target_at(&route.route.upstream.endpoint.path_and_query, &asked.target);
    let mut dialect = route.dialects.open(asked, clock::now());
    let (opened, shown) = dial(route, &mut *dialect, deadline).await?;
    let opening = deadline.saturating_duration_since(clock::now()).max(Duration::from_secs(1));
    Ok(Ready { route: Arc::clone(route), opened, dialect, shown, opening, permit })
}

/// Dials until the service answers: what passes is tried again, a refused token is replaced once.
async fn dial(
    route: &RouteContext,
    dialect: &mut dyn Dialect,
    deadline: Instant,
) -> Result<(Opened, Option<Shown>), Answer> {
    let mut renewed = false;
    loop {
        let token = usable(route, deadline).await?;
        let outgoing = dialect.handshake(token.as_deref()).map_err(|why| {
            tracing::warn!(route = route.route.name, why, "the handshake cannot be made");
            refuse(StatusCode::BAD_GATEWAY, "the handshake with the service cannot be made")
        })?;
        let refused = match upstream::open(&route.dialer, outgoing, route.limit, deadline).await {
            Ok(mut opened) => {
                opened.headers = without(opened.headers, token.as_deref());
                return Ok((opened, token.as_deref().map(Shown::from)));
            }
            Err(refused) => refused,
        };
        tracing::info!(route = route.route.name, error = %refused, "upstream not reached");
        match (&refused, &token) {
            (Refused::Status(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _), Some(token))
                if !renewed =>
            {
                renewed = true;
                if !renew(route, token, deadline).await {
                    return Err(pass_on(refused, Some(token)));
                }
            }
            (Refused::Dial(_) | Refused::Http(_), Some(_)) if clock::now() + RETRY < deadline => {
                tokio::time::sleep(RETRY).await;
            }
            _ => return Err(pass_on(refused, token.as_deref())),
        }
    }
}

async fn usable(route: &RouteContext, deadline: Instant) -> Result<Option<Arc<Token>>, Answer> {
    let Some(credential) = route.credential() else { return Ok(None) };
    match credential.usable(deadline).await {
        Some(token) => Ok(Some(token)),
        None => {
            Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "no token could be fetched in time; see the log"))
        }
    }
}

/// Waits for a token in place of one that the service refused; is there one?
async fn renew(route: &RouteContext, token: &Token, deadline: Instant) -> bool {
    let Some(credential) = route.credential() else { return false };
    credential.demand(Some(token.generation), Trigger::Expiry);
    credential.newer(token.generation, deadline).await.is_some()
}

/// Takes the client's socket over from hyper.
fn start(upgraded: upgrade::Upgraded, ready: Ready) -> Option<impl Future<Output = ()> + Send + 'static> {
    let parts = upgraded.downcast::<TokioIo<Paced>>().ok()?;
    let now = clock::now();
    let Ready { route, opened, dialect, shown, opening, permit } = ready;
    let client = Link::new(parts.io.into_inner().stream, Side::Client, &parts.read_buf, route.limit, now);
    let policy = Policy { session: route.route.session, opening, needs_token: route.has_credential() };
    let newest = route.token().as_deref().map(Shown::from).or(shown);
    let session = Session::new(dialect, policy, newest, fastrand::u64(..), now);
    let place = route.sessions.enter(permit);
    Some(Driver::new(client, opened.link, shown, session, route, place, now))
}

/// The 101, with what the service chose and said.
fn accept(request: &Request<Incoming>, service: &HeaderMap) -> Answer {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map_or(&[][..], HeaderValue::as_bytes);
    let mut response = Response::new(AnswerBody::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    copy_headers(service, headers);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key)) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// The service's headers; what is behind them is not its own.
fn copy_headers(from: &HeaderMap, to: &mut HeaderMap) {
    end_to_end(from, to);
    to.remove(header::CONTENT_LENGTH);
}

/// What the service, or the way to it, said instead of 101. Its body stays behind: it may quote a token.
/// So may a header, the target of a redirect above all: one that does stays behind too.
fn pass_on(refused: Refused, token: Option<&Token>) -> Answer {
    match refused {
        Refused::Status(status, headers) => {
            let mut response = refuse(status, "");
            copy_headers(&without(headers, token), response.headers_mut());
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        }
        Refused::TimedOut => refuse(StatusCode::GATEWAY_TIMEOUT, "the service did not answer in time"),
        Refused::Dial(_) => refuse(StatusCode::BAD_GATEWAY, "the service cannot be reached; see the log"),
        Refused::Http(_) | Refused::Request(_) | Refused::Not101(_) => refuse(
            StatusCode::BAD_GATEWAY,
            "the service did not answer as a WebSocket service does; see the log",
        ),
    }
}
