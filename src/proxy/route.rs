//! What the sessions of one route share.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{census::Census, http::Service, sessions::Sessions};
use crate::{
    clock::{self, Now},
    config::Route,
    credential::{self, Credential, Token},
    dialect::Dialects,
    net::{Dialer, Pool},
    session::{Demand, Trigger},
    telemetry::RouteMetrics,
};

/// Sessions of one route that exchange at once: a service is not asked by all of them together.
const TURNS: usize = 32;

/// One route at work.
#[derive(Debug)]
pub struct RouteContext {
    pub route: Arc<Route>,
    pub(super) dialer: Dialer,
    pub(super) dialects: Dialects,
    /// Where plain requests go.
    pub(super) http: Option<Service>,
    credential: Option<Arc<Credential>>,
    pub(super) metrics: Arc<RouteMetrics>,
    pub sessions: Arc<Sessions>,
    pub(super) census: Census,
    pub(super) turns: Arc<Semaphore>,
    /// Bytes of the largest message.
    pub(super) limit: usize,
}

impl RouteContext {
    /// A route, the credential that its sessions use, and what counts them; `limit`: bytes of a message;
    /// `remembered`: connections that clients may come back to.
    pub fn new(
        route: Arc<Route>,
        dialer: Dialer,
        credential: Option<Arc<Credential>>,
        metrics: Arc<RouteMetrics>,
        (limit, remembered): (usize, usize),
    ) -> Self {
        Self {
            dialects: Dialects::new(Arc::clone(&route), remembered),
            http: None,
            route,
            dialer,
            credential,
            census: Census::new(Arc::clone(&metrics)),
            metrics,
            sessions: Arc::default(),
            turns: Arc::new(Semaphore::new(TURNS)),
            limit,
        }
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

    /// The credential of the route, where it has one.
    pub fn credential(&self) -> Option<&Arc<Credential>> {
        self.credential.as_ref()
    }

    pub(super) fn has_credential(&self) -> bool {
        self.credential.is_some()
    }

    /// The token that is current at this moment.
    pub(super) fn token(&self) -> Option<Arc<Token>> {
        self.credential.as_ref()?.current()
    }

    /// Passes a session's wish on.
    pub(super) fn demand(&self, demand: Demand) {
        if let Some(credential) = &self.credential {
            let trigger = match demand.trigger {
                Trigger::Hint => credential::Trigger::Hint,
                Trigger::Expiry => credential::Trigger::Expiry,
            };
            credential.demand(demand.rejected, trigger);
        }
    }

    /// Brings what is only counted now and then up to date, for a scrape.
    pub fn look(&self) {
        self.census.look(clock::now());
        let oldest = self.sessions.oldest_expiry().map(std::time::Duration::from_millis);
        self.metrics.set_oldest_live_expiration(oldest);
    }

    /// Is there a token that may be used, or none needed?
    pub fn is_ready(&self) -> bool {
        let now = Now::read();
        self.credential.as_ref().is_none_or(|c| c.current().is_some_and(|token| !token.is_expired(now)))
    }
}
