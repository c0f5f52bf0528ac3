//! From a client's request to a session: the service is dialled before the client is answered.
//!
//! ```text
//!   request ─► handshake? route? allowed? ─► whose token? ─► kept? dial ─► 101 ─► take the socket over ─► driver
//!                    │                            │             │
//!                    └── 4xx                      │             └── the service's own status and headers
//!                                                 └── 503, or 101 and the dialect's last words
//! ```
//!
//! Everything here has one deadline, `limits.handshake`. What can be tried again is, within it.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, upgrade};
use hyper_util::rt::TokioIo;
use opentelemetry::trace::FutureExt;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    admission::{self, Admitted, Refusal},
    answer::{Answer, target_at, without},
    body::AnswerBody,
    caller::Caller,
    client::{self, Client},
    driver::Driver,
    first_dial::{Failed, copy_headers, dial},
    gate,
    goodbye::{self, Words},
    listener::Proxy,
    opening::{Access, Beginning},
    outside::Values,
    pace::{Pace, Paced},
    parking::{Found, Kept, Key, Spot},
    places::Permit,
    route::RouteContext,
    sessions::{HOPELESS, Handle, Place, TOKEN},
    shape,
    tally::{Tally, Turned, draining, no_path, no_route},
    upstream::Opened,
};
use crate::{
    clock::{self, Instant, Now},
    config::{self, DialectKind},
    credential::{Lease, News, Subscription, Token, Traced},
    dialect::{Dialect, Doing, Presented, Request as Asked},
    net::link::{Link, Side},
    session::{Needs, Policy, Session, Shown},
    telemetry::Handshake,
    wire::Close,
};

/// Answers one handshake of a client.
pub(super) async fn serve(
    proxy: Arc<Proxy>,
    mut request: Request<Incoming>,
    client: &Client,
    (pace, stop): (&Pace, CancellationToken),
) -> Answer {
    let caller = Caller::new(client.address);
    let mut tally = Tally::new(&proxy.nowhere, stop.clone());
    let deadline = clock::now() + proxy.limits.handshake;
    let prepared = stop
        .run_until_cancelled(prepare(&proxy, &request, (client, caller, pace), deadline, &mut tally))
        .await;
    match prepared.unwrap_or_else(|| Err(Box::new(draining()))) {
        Ok((ready, answer)) => {
            let answer = accept(&request, &answer);
            let client = upgrade::on(&mut request);
            let tasks = proxy.tasks.clone();
            proxy.tasks.spawn(async move {
                match tokio::time::timeout_at(deadline, client).await {
                    Ok(Ok(upgraded)) => {
                        if let Some(refresh) = ready.refresh() {
                            tally.goes_with(&refresh);
                        }
                        tally.count(ready.outcome(), StatusCode::SWITCHING_PROTOCOLS);
                        begin(upgraded, ready, &tasks);
                    }
                    Ok(Err(_)) | Err(_) => {
                        let Caller { session, client } = caller;
                        tracing::debug!(%session, %client, "the client left during its handshake");
                    }
                }
            });
            answer
        }
        Err(answer) => {
            let turned = answer.extensions().get::<Turned>();
            tally.count(turned.map_or(Handshake::BadRequest, |turned| turned.outcome), answer.status());
            *answer
        }
    }
}

/// What waits for its client's socket.
enum Ready {
    Session(Box<New>),
    /// A session whose client went away, and is back.
    Parked(Kept, Arc<RouteContext>, Words),
    /// The client is turned away, but is told why.
    Goodbye(Words, Arc<RouteContext>, Permit),
}

impl Ready {
    fn outcome(&self) -> Handshake {
        match self {
            Self::Session(_) | Self::Parked(..) => Handshake::Accepted,
            Self::Goodbye(..) => Handshake::Token,
        }
    }

    /// Where the token comes from that the service was shown.
    fn refresh(&self) -> Option<Arc<Traced>> {
        match self {
            Self::Session(new) => new.lease.as_ref()?.credential().traced(new.shown?.generation),
            Self::Parked(..) | Self::Goodbye(..) => None,
        }
    }
}

/// A new session.
struct New {
    caller: Caller,
    route: Arc<RouteContext>,
    opened: Opened,
    dialect: Box<dyn Dialect>,
    shown: Option<Shown>,
    lease: Option<Lease>,
    values: Option<Box<Values>>,
    /// Where it is kept for its client, and the answer that a client gets that comes back.
    spot: Option<(Key, HeaderMap)>,
    opening: Duration,
    permit: Permit,
}

/// Everything up to the 101; with the headers that it is to have.
async fn prepare(
    proxy: &Proxy,
    request: &Request<Incoming>,
    (client, caller, pace): (&Client, Caller, &Pace),
    deadline: Instant,
    tally: &mut Tally,
) -> Result<(Ready, HeaderMap), Box<Answer>> {
    let address = caller.client.ip();
    if !proxy.crowd.may_ask(address, proxy.limits.handshakes_per_second, clock::now()) {
        return Err(too_many("", "limits.handshakes_per_second is reached; try again later"));
    }
    let (route, mut asked) = route_of(proxy, request, client, tally)?;
    let permit = permit(proxy, &route.route.name, address)?;
    pace.is_a_session();
    match admission::admit(route, &mut asked, &caller.client, Now::read()).await {
        Ok(Admitted { lease: Some(lease), .. }) if lease.is_over(proxy.limits.sessions_per_credential) => {
            Err(too_many(&route.route.name, "limits.sessions_per_credential is reached; try again later"))
        }
        Ok(admitted) => {
            let opened = open(route, asked, admitted, (caller, permit), deadline);
            opened.with_context(tally.context()).await
        }
        Err(refusal) => turn_away(route, &asked, refusal, permit),
    }
}

/// A place for one more session.
fn permit(proxy: &Proxy, route: &str, address: IpAddr) -> Result<Permit, Box<Answer>> {
    let Some(place) = proxy.sessions.take(proxy.limits.sessions) else {
        let turned = Turned::new(Handshake::Limit, route, "limits.sessions is reached; try again later");
        return Err(Box::new(turned.answer(StatusCode::SERVICE_UNAVAILABLE)));
    };
    match proxy.crowd.enter(address, proxy.limits.sessions_per_address) {
        Some(seat) => Ok(Permit(place, seat)),
        None => Err(too_many(route, "limits.sessions_per_address is reached; try again later")),
    }
}

/// This client has, or does, as much as one may.
fn too_many(route: &str, why: &'static str) -> Box<Answer> {
    let turned = Turned::new(Handshake::Limit, route, why);
    let mut answer = turned.answer(StatusCode::TOO_MANY_REQUESTS);
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    Box::new(answer)
}

/// The route of a request, and what of it goes on, where it may come in.
fn route_of<'p>(
    proxy: &'p Proxy,
    request: &Request<Incoming>,
    client: &Client,
    tally: &mut Tally,
) -> Result<(&'p Arc<RouteContext>, Asked), Box<Answer>> {
    let Some(path) = config::meant(request.uri().path()) else {
        return Err(Box::new(no_path()));
    };
    let Some(route) = proxy.route(&path) else {
        return Err(Box::new(no_route()));
    };
    tally.is_of(route);
    let turn_away = |denied: gate::Denied| denied.answer(&route.route);
    shape::check_handshake(request).map_err(turn_away)?;
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let mut asked = Asked::new(target, request.headers());
    gate::admit(&route.route, &mut asked, client::host(request)).map_err(turn_away)?;
    client.introduce(&route.route, &mut asked, &route.route.upstream.endpoint).map_err(turn_away)?;
    if route.route.dialect == DialectKind::None {
        asked.pass_extensions(request.headers());
    }
    if let Some((name, _)) = &route.route.handshake.header {
        gate::remove_twins(&mut asked.headers, name);
    }
    Ok((route, asked))
}

/// A refusal: by a status, or by the last words after the handshake, which every client can read.
fn turn_away(
    route: &Arc<RouteContext>,
    asked: &Asked,
    refusal: Refusal,
    permit: Permit,
) -> Result<(Ready, HeaderMap), Box<Answer>> {
    let (doing, reason) = match refusal {
        Refusal::Status(status, why) => {
            let turned = Turned::new(Handshake::Token, &route.route.name, why);
            return Err(Box::new(turned.answer(status)));
        }
        Refusal::Missing => (Doing::TokenUnclear, Refusal::MISSING),
        Refusal::Policy(doing, reason) => (doing, reason),
    };
    let words = route.dialects.turn_away(asked, doing, Close::new(Close::POLICY, reason));
    Ok((Ready::Goodbye(words, Arc::clone(route), permit), first_offer(&asked.headers)))
}

/// A client that offers subprotocols takes a 101 without one for a failure.
fn first_offer(asked: &HeaderMap) -> HeaderMap {
    let mut answer = HeaderMap::new();
    let offers = asked.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    let first = offers.and_then(|list| list.split(',').map(str::trim).find(|offer| !offer.is_empty()));
    if let Some(Ok(mut value)) = first.map(HeaderValue::from_str) {
        value.set_sensitive(true);
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    answer
}

/// Finds the upstream that was kept for this client, or dials a new one.
async fn open(
    route: &Arc<RouteContext>,
    mut asked: Asked,
    admitted: Admitted,
    (caller, permit): (Caller, Permit),
    deadline: Instant,
) -> Result<(Ready, HeaderMap), Box<Answer>> {
    let Admitted { lease, presented } = admitted;
    let key = parking_key(route, &asked, lease.as_ref());
    let offers = asked.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().cloned().collect::<Vec<_>>();
    if let Some(key) = &key {
        let fits = |chosen: Option<&str>| is_offered(&offers, chosen, presented.as_ref());
        match route.parking.find(key, fits, deadline).await {
            Found::Session(kept) => {
                let answer = answered(&kept.answer, None, presented.as_ref());
                let close = Close::new(Close::TRY_AGAIN, "the session has ended; try again");
                let words = route.dialects.turn_away(&asked, Doing::NotTheClients, close);
                return Ok((Ready::Parked(kept, Arc::clone(route), words), answer));
            }
            Found::Ambiguous => route.metrics.return_ambiguous(),
            Found::None => {}
        }
    }
    let values = Values::new(&route.outside, &asked);
    let shown = asked.clone();
    asked.target = target_at(&route.route.upstream.endpoint.path_and_query, &asked.target);
    let mut dialect = route.dialects.open(asked, clock::now());
    let (opened, token) = match dial(route, lease.as_ref(), &mut *dialect, caller, deadline).await {
        Ok(dialled) => dialled,
        Err(Failed::Answer(answer)) => return Err(answer),
        Err(Failed::Refused(refusal)) => return turn_away(route, &shown, refusal, permit),
    };
    dialect.answered(&opened.headers);
    if let Some(lease) = &lease {
        lease.prove();
    }
    let answer = answered(&opened.headers, token.as_deref(), presented.as_ref());
    let spot = key.map(|key| (key, for_later(answer.clone())));
    let opening = deadline.saturating_duration_since(clock::now()).max(Duration::from_secs(1));
    let shown = token.as_deref().map(Shown::from);
    let route = Arc::clone(route);
    let new = New { caller, route, opened, dialect, shown, lease, values, spot, opening, permit };
    Ok((Ready::Session(Box::new(new)), answer))
}

/// Where the client's upstream is kept when it goes away; `None` where that is not done.
fn parking_key(route: &RouteContext, asked: &Asked, lease: Option<&Lease>) -> Option<Key> {
    let lease = lease.filter(|lease| lease.is_own() && !route.route.session.park.is_zero())?;
    let mut target = asked.clone();
    if let Some(name) = route.route.client.token.as_ref().and_then(|places| places.query.as_ref()) {
        target.remove_parameters(|parameter| parameter.name == *name);
    }
    Some(Key::new(lease.credential(), &target.target))
}

/// Is what the service once chose among what the client offers now?
fn is_offered(offers: &[HeaderValue], chosen: Option<&str>, presented: Option<&Presented>) -> bool {
    let Some(chosen) = chosen else { return true };
    presented.is_some_and(|presented| presented.carried(chosen))
        || offers
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|list| list.split(',').any(|offer| offer.trim() == chosen))
}

/// The service's headers, without what quotes the token, and with the client's own offer where the service
/// chose a subprotocol that carried one.
fn answered(headers: &HeaderMap, token: Option<&Token>, presented: Option<&Presented>) -> HeaderMap {
    let chosen = headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    let own = presented.and_then(|presented| presented.answer(chosen));
    let mut answer = without(headers.clone(), token);
    if let Some(own) = own {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, own.clone());
    }
    answer
}

/// The same for a client that comes back: it has been given its cookies, and nobody else is to get them.
fn for_later(mut answer: HeaderMap) -> HeaderMap {
    answer.remove(header::SET_COOKIE);
    answer
}

/// Takes the client's socket over from hyper, for what waits for it.
fn begin(upgraded: upgrade::Upgraded, ready: Ready, tasks: &TaskTracker) {
    let Ok(parts) = upgraded.downcast::<TokioIo<Paced>>() else { return };
    let now = clock::now();
    let link = |route: &RouteContext, extended: bool| {
        let (stream, ahead) = parts.io.into_inner().into_parts();
        let early = [&parts.read_buf[..], &ahead].concat();
        let mut link = Link::new(stream, Side::Client, &early, route.bounds.message, now);
        link.inbound.allow_extensions(extended);
        link
    };
    // Each is a task of its own: the handshake's future was large, a session's is small.
    match ready {
        Ready::Session(new) => {
            let client = link(&new.route, new.opened.is_extended());
            tasks.spawn(start(client, *new, now));
        }
        Ready::Parked(kept, route, words) => {
            if let Err(client) = kept.handle.hand_over(link(&route, false)) {
                tasks.spawn(goodbye::say(*client, words));
            }
        }
        Ready::Goodbye(words, route, permit) => {
            let client = link(&route, false);
            tasks.spawn(async move {
                goodbye::say(client, words).await;
                drop(permit);
            });
        }
    }
}

fn start(client: Link, new: New, now: Instant) -> Driver {
    let New { caller, route, opened, dialect, shown, lease, values, spot, opening, permit } = new;
    let credential = lease.as_ref().map(|lease| lease.credential().shared_name());
    let place = route.sessions.enter(Handle::new(caller, credential, now), permit);
    if let (Some(lease), Some(shown)) = (&lease, shown) {
        lease.credential().accepted(shown.generation, place.number(), now);
    }
    let spot = spot.map(|(key, answer)| Spot::take(&route.parking, key, answer, &place.handle));
    let access = lease.map(|lease| Access { news: lease.is_own().then(|| news(&lease, &place)), lease });
    let policy = Policy { session: route.route.session, opening, needs: needs(access.as_ref()) };
    // Read after the subscription: what is published in between is not missed.
    let newest = access.as_ref().and_then(|access| access.lease.credential().current());
    let newest = newest.as_deref().map(Shown::from).or(shown);
    let session = Session::new(dialect, policy, newest, fastrand::u64(..), now);
    let begin = Beginning { client, upstream: opened.link, shown, session, access, values, spot };
    Driver::new(begin, route, place, now)
}

fn needs(access: Option<&Access>) -> Needs {
    match access {
        None => Needs::Nothing,
        Some(access) if access.lease.is_once() => Needs::Ticket,
        Some(_) => Needs::Token,
    }
}

/// Has the session woken by its own credential.
fn news(lease: &Lease, place: &Place) -> Subscription {
    let handle = Arc::clone(&place.handle);
    lease.credential().subscribe(Box::new(move |news| match news {
        News::Token(_) => handle.say(TOKEN),
        News::Hopeless => handle.say(HOPELESS),
    }))
}

/// The 101, with what the service chose and said.
fn accept(request: &Request<Incoming>, service: &HeaderMap) -> Answer {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map_or(&[][..], HeaderValue::as_bytes);
    let mut response = Response::new(AnswerBody::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    copy_headers(service, headers);
    for extension in service.get_all(header::SEC_WEBSOCKET_EXTENSIONS) {
        // The client offered it to the service.
        headers.append(header::SEC_WEBSOCKET_EXTENSIONS, extension.clone());
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key)) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}
