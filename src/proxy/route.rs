//! What the sessions of one route share.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    census::Census,
    hosts::Hosts,
    http::Service,
    outside::Provider,
    parking::Lot,
    reach::Reach,
    refusals::Politeness,
    sessions::{Extremes, Sessions},
    upstream::{self, Opened, Refused},
};
use crate::{
    clock::{self, Instant, Now},
    config::{DialectKind, Endpoint, Route, Swap, Upstream},
    credential::{Clients, Credential},
    dialect::{Dialects, Outgoing},
    net::{Dialer, Pool},
    telemetry::{DialPurpose, Dialled, RouteMetrics, Spans},
};

/// Sessions of one route that exchange at once: a service is not asked by all of them together.
const TURNS: usize = 32;

/// Whose tokens the sessions of a route use.
#[derive(Debug, Clone)]
pub enum Tokens {
    /// A plain proxy has none.
    None,
    /// All sessions use the same.
    Route(Arc<Credential>),
    /// Each client has its own.
    Clients(Arc<Clients>),
}

/// What bounds a route.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of the largest message.
    pub message: usize,
    /// Bytes of the head of a service's answer to a handshake.
    pub head: usize,
    /// Connections that clients may come back to.
    pub remembered: usize,
}

/// One route at work.
#[derive(Debug)]
pub struct RouteContext {
    pub route: Arc<Route>,
    hosts: Hosts,
    pub(super) dialects: Dialects,
    /// Where plain requests go.
    pub(super) http: Option<Service>,
    pub tokens: Tokens,
    /// What else its messages take from outside.
    pub outside: Arc<[Provider]>,
    pub(super) metrics: Arc<RouteMetrics>,
    pub(super) spans: Spans,
    pub sessions: Arc<Sessions>,
    pub(super) census: Census,
    pub(super) turns: Arc<Semaphore>,
    /// It was said that a service may have to hear again what clients said.
    pub(super) warned: Arc<AtomicBool>,
    pub(super) politeness: Politeness,
    pub(super) parking: Arc<Lot>,
    pub(super) bounds: Bounds,
    /// Can the service be reached?
    pub reach: Reach,
}

impl RouteContext {
    /// A route, a dialer for each of its upstreams, the tokens that its sessions use, and what counts them.
    pub fn new(
        route: Arc<Route>,
        dialers: Vec<Dialer>,
        tokens: Tokens,
        metrics: Arc<RouteMetrics>,
        bounds: Bounds,
    ) -> Self {
        let session = &route.session;
        let endpoints: Vec<&Endpoint> = route.upstream.endpoints().collect();
        let once = route.token.as_ref().is_some_and(|token| token.refresh.once);
        let hosts = Hosts::new(dialers, &endpoints, once);
        Self {
            politeness: Politeness::new(session.reconnect, session.hold),
            dialects: Dialects::new(Arc::clone(&route), bounds.remembered),
            http: None,
            route,
            hosts,
            tokens,
            outside: Arc::default(),
            census: Census::new(Arc::clone(&metrics)),
            metrics,
            spans: Spans::default(),
            sessions: Arc::default(),
            turns: Arc::new(Semaphore::new(TURNS)),
            warned: Arc::default(),
            parking: Arc::default(),
            bounds,
            reach: Reach::default(),
        }
    }

    /// Takes the place of `before`, the same route as it was configured: clients of that one may come back to
    /// this one, and exchanges of both take turns.
    #[must_use]
    pub fn in_place_of(mut self, before: &Self) -> Self {
        self.dialects = before.dialects.with(Arc::clone(&self.route));
        self.parking = Arc::clone(&before.parking);
        self.turns = Arc::clone(&before.turns);
        self.warned = Arc::clone(&before.warned);
        self
    }

    /// Its messages take values from outside.
    #[must_use]
    pub fn with_outside(mut self, outside: Arc<[Provider]>) -> Self {
        self.outside = outside;
        self
    }

    /// Has its re-authentications traced.
    #[must_use]
    pub fn with_spans(mut self, spans: Spans) -> Self {
        self.spans = spans;
        self
    }

    /// Passes plain requests on as well, over connections of this dialer. What these do runs on `tasks`,
    /// until `stop`.
    #[must_use]
    pub fn with_http(mut self, dialer: Dialer, tasks: TaskTracker, stop: CancellationToken) -> Self {
        self.http = self.route.http.clone().map(|route| {
            let pool = Pool::new(dialer, route.timeout, tasks, stop);
            Service { route, pool }
        });
        self
    }

    /// Dials the service, or where the token says that it is, and opens a WebSocket.
    pub(super) async fn open(
        &self,
        purpose: DialPurpose,
        outgoing: Outgoing,
        deadline: Instant,
    ) -> Result<Opened, Refused> {
        let tell = |opened: &Result<Opened, Refused>| {
            self.metrics.dialled(purpose, opened.as_ref().map_or_else(Refused::outcome, |_| Dialled::Ok));
        };
        let opened = if outgoing.elsewhere.is_some() {
            let opened = self.open_elsewhere(outgoing, deadline).await;
            tell(&opened);
            opened
        } else {
            self.hosts.open(outgoing, self.bounds, deadline, tell).await
        };
        self.reach.note(&opened);
        opened
    }

    async fn open_elsewhere(&self, outgoing: Outgoing, deadline: Instant) -> Result<Opened, Refused> {
        let (Some(at), Some(dialer)) = (&outgoing.elsewhere, self.hosts.first()) else {
            return Err(Refused::Elsewhere("it says nothing".to_owned()));
        };
        let Upstream { endpoint, tls, .. } = &self.route.upstream;
        if at.tls != endpoint.tls {
            let scheme = if endpoint.tls { "wss" } else { "ws" };
            return Err(Refused::Elsewhere(format!("it is not {scheme}://, as upstream is")));
        }
        let dialer = dialer.at(&at.host, at.port, tls);
        let dialer = dialer.map_err(|error| Refused::Elsewhere(error.to_string()))?;
        Box::pin(upstream::open(&dialer, outgoing, self.bounds, deadline)).await
    }

    /// The credential of the route, where all clients share one.
    pub fn credential(&self) -> Option<&Arc<Credential>> {
        match &self.tokens {
            Tokens::Route(credential) => Some(credential),
            Tokens::None | Tokens::Clients(_) => None,
        }
    }

    /// The credentials of its clients, where each has its own.
    pub fn clients(&self) -> Option<&Arc<Clients>> {
        match &self.tokens {
            Tokens::Clients(clients) => Some(clients),
            Tokens::None | Tokens::Route(_) => None,
        }
    }

    /// Are its sessions re-authenticated if there is a newer token?
    pub fn follows_tokens(&self) -> bool {
        let once = self.route.token.as_ref().is_none_or(|token| token.refresh.once);
        match &self.route.dialect {
            DialectKind::None => false,
            DialectKind::Declared(rules) if rules.exchanges_the_token() => !once,
            DialectKind::Handshake | DialectKind::Declared(_) => {
                !once && self.route.session.swap != Swap::Never
            }
            DialectKind::Ably => !once,
        }
    }

    /// Brings the seconds that its sessions spent up to date, for a scrape.
    pub fn look(&self) {
        self.census.look(clock::now());
    }

    /// What stands out among its sessions.
    pub fn extremes(&self) -> Extremes {
        self.sessions.extremes(clock::now())
    }

    /// When the certificate that is shown to the service ends, since the Unix epoch; `None`: none is shown.
    pub fn certificate_ends(&self) -> Option<Duration> {
        self.hosts.first()?.certificate_ends()
    }

    /// Is there a token that may be used, or none needed?
    pub fn is_ready(&self) -> bool {
        let now = Now::read();
        self.credential().is_none_or(|c| c.current().is_some_and(|token| !token.is_expired(now)))
    }
}
