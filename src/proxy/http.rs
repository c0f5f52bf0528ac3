//! Plain HTTP through a route: a request that is no WebSocket goes to the service with the current token.
//!
//! ```text
//!   request ─► path? route? [route.http]? ─► may it come in? ─► token ─► service ─► head ─► body, as it comes
//!                    └── 4xx                      └── 403        └─ 503      └── 502, 504
//!                                                                  ▲    401, without a body: once more
//!                                                                  └──── with the newer token ◄───┘
//! ```
//!
//! 1. The target is the configuration's: no form of the request's target and no `Host` chooses another.
//! 2. What the service is sent, Perennial writes itself, so that nobody behind can take it apart otherwise. What came
//!    in chunks and with a length is chunks, and hyper ends its connection (RFC 9112 §6.1).
//! 3. An expectation of 100-continue is met here, when the service's connection is ready for the body.
//! 4. Nothing is sent twice that might have been done: only a 401, and what is harmless, without a body.
//! 5. Every request has a permit until its last byte.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::{Body, Incoming};

use super::{
    admission::{self, Admitted, Refusal},
    answer::{Answer, end_to_end, refuse, target_at, without},
    body::{AnswerBody, Download, Upload, UploadState},
    client::{self, Client},
    gate,
    listener::Proxy,
    pace::{Pace, STILL},
    places::Taken,
    route::RouteContext,
    shape,
    tally::{Turned, no_path, no_route},
};
use crate::{
    clock::{self, Instant, Now},
    config::{self, HttpRoute},
    credential::{Lease, Token, Trigger},
    dialect::{self, Outgoing, Request as Asked},
    net::{Pool, PoolError},
    telemetry::Handshake,
};

/// How long a client whose token was refused is let wait for a newer one.
const RENEWAL: Duration = Duration::from_secs(10);

/// The service of a route's plain requests.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) route: HttpRoute,
    pub(super) pool: Pool<Upload>,
}

/// A client that is turned away is told so by a status.
fn refused(refusal: Refusal) -> Box<Answer> {
    let (status, why) = match refusal {
        Refusal::Status(status, why) => (status, why),
        Refusal::Missing => (StatusCode::UNAUTHORIZED, Refusal::MISSING),
        Refusal::Policy(_, why) => (StatusCode::UNAUTHORIZED, why),
    };
    Box::new(refuse(status, why))
}

/// Answers one request that is no WebSocket handshake.
pub(super) async fn serve(
    proxy: &Proxy,
    request: Request<Incoming>,
    client: &Client,
    pace: &Arc<Pace>,
) -> Answer {
    let began = clock::now();
    let Some(path) = config::meant(request.uri().path()) else {
        return no_path();
    };
    let probe = shape::is_probe(&request);
    let Some(route) = proxy.route(&path) else {
        return if probe { probed("") } else { no_route() };
    };
    if let Err(mangled) = shape::check_remains(&request) {
        route.metrics.handshakes().count(Handshake::BadRequest);
        return *mangled.answer(&route.route);
    }
    let Some(service) = &route.http else {
        return if probe { probed(&route.route.name) } else { refuse(StatusCode::NOT_FOUND, NO_HTTP) };
    };
    let method = known(request.method());
    let exchange = Exchange { proxy, route, service, client, pace, began };
    let answer = exchange.answer(request).await.unwrap_or_else(|refusal| *refusal);
    let (status, duration_ms) = (answer.status().as_u16(), clock::milliseconds(clock::now() - began));
    route.metrics.http_answered(status);
    tracing::debug!(route = route.route.name, client = %client.address, method, status, duration_ms, "http request");
    answer
}

const NO_HTTP: &str =
    "this route has no [route.http]: it serves WebSocket only, and this is no WebSocket handshake";

/// For a health check that nobody here can answer.
fn probed(route: &str) -> Answer {
    let why = "this looks like a health check: it belongs to the admin port, which has /livez and /readyz";
    Turned::new(Handshake::NotFound, route, why).in_front().answer(StatusCode::NOT_FOUND)
}

/// How often a request may still be passed on, and once less from here (RFC 9110 §7.6.2); `None`: as often as it takes.
fn passed_on_once_less(headers: &mut HeaderMap) -> Option<u64> {
    let left: u64 = headers.get(header::MAX_FORWARDS)?.to_str().ok()?.trim().parse().ok()?;
    headers.insert(header::MAX_FORWARDS, left.saturating_sub(1).into());
    Some(left)
}

/// What is asked of Perennial itself.
fn options() -> Answer {
    let mut answer = Response::new(AnswerBody::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    answer.headers_mut().insert(header::ALLOW, methods);
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// A method as a log shows it: one of the peer's own making may be anything.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// One request on its way to the service and back.
struct Exchange<'a> {
    proxy: &'a Proxy,
    route: &'a RouteContext,
    service: &'a Service,
    client: &'a Client,
    pace: &'a Arc<Pace>,
    began: Instant,
}

/// What is sent, as often as it is sent.
struct Template {
    method: Method,
    asked: Asked,
    /// The body's length; `None`: nobody knows before its end.
    length: Option<u64>,
    /// The client named it, also where it is 0.
    named: bool,
}

impl Exchange<'_> {
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Box<Answer>> {
        let (template, body) = self.admit(request)?;
        let Some(permit) = self.proxy.requests.take(self.proxy.limits.sessions) else {
            return Err(Box::new(refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "as many requests as limits.sessions are in flight; try again later",
            )));
        };
        self.forward(template, body, permit).await
    }

    /// Is this a request that may go on? What of it does.
    fn admit(&self, request: Request<Incoming>) -> Result<(Template, Incoming), Box<Answer>> {
        let turn_away = |denied: gate::Denied| denied.answer(&self.route.route);
        shape::check_request(&request).map_err(turn_away)?;
        let host = client::host(&request).map(str::to_owned);
        let host = host.as_deref();
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut asked = Asked::new(target, &parts.headers);
        gate::check_page(&self.route.route.client, &asked, host, self.proxy.listen.lets_in())
            .map_err(turn_away)?;
        gate::admit(&self.route.route, &mut asked, host).map_err(turn_away)?;
        let to = &self.service.route.upstream.endpoint;
        self.client.introduce(&self.route.route, &mut asked, to).map_err(turn_away)?;
        asked.headers.remove(header::EXPECT);
        if parts.method == Method::OPTIONS && passed_on_once_less(&mut asked.headers) == Some(0) {
            return Err(Box::new(options()));
        }
        asked.target = target_at(&self.service.route.upstream.endpoint.path_and_query, &asked.target);
        let named = parts.headers.contains_key(header::CONTENT_LENGTH);
        Ok((Template { method: parts.method, asked, length: body.size_hint().exact(), named }, body))
    }

    async fn forward(
        &self,
        mut template: Template,
        body: Incoming,
        permit: Taken,
    ) -> Result<Answer, Box<Answer>> {
        let deadline = self.began + self.service.route.timeout;
        let Admitted { lease, .. } = self.credential(&mut template.asked).await?;
        let mut token = admission::token(lease.as_ref(), deadline).await.map_err(refused)?;
        let empty = body.is_end_stream();
        let (body, upload) = Upload::new(body);
        let (mut body, mut renewed, mut repeated) = (Some(body), false, false);
        loop {
            let request = template.request(self.route, &self.service.route, token.as_deref(), body.take())?;
            let answer = pin!(self.send(request, repeated));
            let answer = self.in_time(answer, empty, &upload).await?;
            match answer {
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED && !renewed => {
                    renewed = true;
                    let given = lease.as_ref().zip(token.as_deref());
                    let given =
                        given.filter(|(lease, token)| lease.may_blame(token.generation, clock::now()));
                    match self.renew(given, empty, deadline).await {
                        Some(newer) => token = Some(newer),
                        None => return Ok(self.pass_on(response, token.as_deref(), permit)),
                    }
                }
                Ok(response) => {
                    // It vouches for no token: a public page says 200 to any.
                    return Ok(self.pass_on(response, token.as_deref(), permit));
                }
                Err(PoolError::Exchange { .. }) if empty && !repeated && template.method.is_idempotent() => {
                    // Most likely the service closed an idle connection as the request went out on it.
                    repeated = true;
                }
                Err(error) => return Err(self.failed(&error, &upload)),
            }
        }
    }

    /// What is sent once more because of a stale connection meets no other stale one.
    async fn send(&self, request: Request<Upload>, repeated: bool) -> Result<Response<Incoming>, PoolError> {
        match repeated {
            false => self.service.pool.send(request).await,
            true => self.service.pool.send_alone(request).await,
        }
    }

    /// The head of the answer, or that it is not there in time. The time runs from the last that the client
    /// sent; while more is owed by the client, it has as long as any body that does not move.
    async fn in_time<T>(
        &self,
        mut answer: Pin<&mut impl Future<Output = T>>,
        empty: bool,
        upload: &UploadState,
    ) -> Result<T, Box<Answer>> {
        let timeout = self.service.route.timeout;
        let due = || match (empty, upload.is_owed()) {
            (true, _) => self.began + timeout,
            (false, true) => self.pace.moved() + STILL,
            (false, false) => self.pace.moved() + timeout,
        };
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer),
                () = upload.changed() => {}
                () = tokio::time::sleep_until(due()) => {}
            }
            if due() <= clock::now() {
                return Err(Box::new(if upload.is_owed() {
                    refuse(StatusCode::REQUEST_TIMEOUT, "the rest of the request did not come")
                } else {
                    let (route, client) = (&*self.route.route.name, &self.client.address);
                    let timeout_ms = clock::milliseconds(timeout);
                    tracing::info!(route, %client, timeout_ms, "no answer to an http request");
                    refuse(StatusCode::GATEWAY_TIMEOUT, "the service did not answer in time")
                }));
            }
        }
    }

    /// Says that the token was refused, and waits for another where the request can be repeated.
    async fn renew(
        &self,
        given: Option<(&Lease, &Token)>,
        empty: bool,
        deadline: Instant,
    ) -> Option<Arc<Token>> {
        let (lease, token) = given?;
        let credential = lease.credential();
        credential.demand(Some(token.generation), Trigger::Expiry);
        if !empty {
            return None;
        }
        let until = deadline.min(clock::now() + RENEWAL);
        credential.newer(token.generation, until).await
    }

    /// Whose token the request goes on with. A client that shows none asks in its own name, if it had to show something
    /// to come in, or if anyone may: who may not open a WebSocket may not ask here either.
    async fn credential(&self, asked: &mut Asked) -> Result<Admitted, Box<Answer>> {
        let listen = &self.proxy.listen;
        let is_let_in = listen.is_loopback() || listen.lets_in() || self.route.route.client.secret.is_some();
        match admission::admit(self.route, asked, &self.client.address, Now::read()).await {
            Err(Refusal::Missing) if is_let_in => Ok(Admitted { lease: None, presented: None }),
            admitted => admitted.map_err(refused),
        }
    }

    /// The service's own answer.
    fn pass_on(&self, response: Response<Incoming>, token: Option<&Token>, permit: Taken) -> Answer {
        let (parts, from) = response.into_parts();
        if parts.status.is_informational() {
            return refuse(StatusCode::BAD_GATEWAY, "the service answered with what is no answer");
        }
        if !shape::is_framed(&parts.headers) {
            let why = "the service answered in a transfer coding that nobody asked for";
            return refuse(StatusCode::BAD_GATEWAY, why);
        }
        let mut headers = HeaderMap::with_capacity(parts.headers.len());
        end_to_end(&without(parts.headers, token), &mut headers);
        let download = Download { from, pace: Arc::clone(self.pace), permit };
        let mut answer = Response::new(AnswerBody::Passed(download));
        *answer.status_mut() = parts.status;
        *answer.headers_mut() = headers;
        answer
    }

    fn failed(&self, error: &PoolError, upload: &UploadState) -> Box<Answer> {
        if upload.is_broken() {
            return Box::new(refuse(StatusCode::BAD_REQUEST, "the body of the request broke off"));
        }
        tracing::info!(route = self.route.route.name, client = %self.client.address, %error, "http request not answered");
        let why = match error {
            PoolError::Dial(_) => "the service cannot be reached; see the log",
            PoolError::Exchange { .. } => "the service did not answer as HTTP/1.1 does; see the log",
            PoolError::Request(_) => "the request cannot be written for the service",
        };
        Box::new(refuse(StatusCode::BAD_GATEWAY, why))
    }
}

impl Template {
    /// The request with the token in it.
    fn request(
        &self,
        route: &RouteContext,
        http: &HttpRoute,
        token: Option<&Token>,
        body: Option<Upload>,
    ) -> Result<Request<Upload>, Box<Answer>> {
        let failed = |error: &str| {
            tracing::warn!(route = route.route.name, error, "an http request cannot be made");
            Box::new(refuse(
                StatusCode::BAD_GATEWAY,
                "the request for the service cannot be made; see the log",
            ))
        };
        let Outgoing { target, headers, .. } = self.placed(route, http, token).map_err(|why| failed(&why))?;
        let mut request = Request::new(body.unwrap_or_else(Upload::empty));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = target.parse::<Uri>().map_err(|_| failed("its target is none"))?;
        *request.headers_mut() = headers;
        // As the client framed it: hyper would send no length with nothing, and nothing with a GET.
        match self.length {
            Some(0) if !self.named => {}
            Some(length) => {
                request.headers_mut().insert(header::CONTENT_LENGTH, length.into());
            }
            None => {
                let chunked = HeaderValue::from_static("chunked");
                request.headers_mut().insert(header::TRANSFER_ENCODING, chunked);
            }
        }
        debug_assert_eq!(request.version(), Version::HTTP_11);
        Ok(request)
    }

    /// The token in its place, and nothing that could be taken for it.
    fn placed(
        &self,
        route: &RouteContext,
        http: &HttpRoute,
        token: Option<&Token>,
    ) -> Result<Outgoing, String> {
        let mut asked = self.asked.clone();
        let Some(token) = token else {
            return Ok(Outgoing { target: asked.target, headers: asked.headers, elsewhere: None });
        };
        gate::remove_twins(&mut asked.headers, &header::AUTHORIZATION);
        if let Some((name, _)) = &http.placement.header {
            gate::remove_twins(&mut asked.headers, name);
        }
        dialect::beside(&asked, &route.route, &http.placement, token)
    }
}
