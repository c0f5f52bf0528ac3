//! The hosts of one service: which is dialled first, and which next.
//!
//! ```text
//!   dial ──► the first in their order that did not fail lately ──► 101, or an answer that is the service's ──► that
//!                     ▲                                        └── not reached, or 500 to 504: the next ──┐
//!                     └───────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! It is what an SDK does with its fallback hosts: each gets its share of the time that is left, and one that failed is
//! asked last for a while.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderValue, header};

use super::{
    route::Bounds,
    upstream::{self, Opened, Refused},
};
use crate::{
    clock::{self, Instant},
    config::Endpoint,
    dialect::Outgoing,
    net::Dialer,
};

/// For so long a host that failed is asked last.
const SHUNNED: Duration = Duration::from_secs(60);

/// The hosts of one service, in the order of the configuration: at least one.
#[derive(Debug)]
pub(super) struct Hosts {
    hosts: Vec<Host>,
    /// Each attempt may use something up: only one that did not arrive is followed by another.
    once: bool,
}

#[derive(Debug)]
struct Host {
    dialer: Dialer,
    /// As a browser would write it.
    origin: String,
    /// Until when it is asked last.
    shunned: Mutex<Option<Instant>>,
}

impl Hosts {
    /// With a dialer for each of the addresses; `once`: a token is for one handshake.
    pub(super) fn new(dialers: Vec<Dialer>, endpoints: &[&Endpoint], once: bool) -> Self {
        let host = |(dialer, endpoint): (Dialer, &&Endpoint)| Host {
            dialer,
            origin: endpoint.origin(),
            shunned: Mutex::default(),
        };
        Self { hosts: dialers.into_iter().zip(endpoints).map(host).collect(), once }
    }

    /// The dialer of the first.
    pub(super) fn first(&self) -> Option<&Dialer> {
        self.hosts.first().map(|host| &host.dialer)
    }

    /// Dials one after the other; `tell` is told of each attempt.
    pub(super) async fn open(
        &self,
        outgoing: Outgoing,
        bounds: Bounds,
        deadline: Instant,
        tell: impl Fn(&Result<Opened, Refused>),
    ) -> Result<Opened, Refused> {
        let order = self.order(clock::now());
        let mut last = Err(Refused::TimedOut);
        for (nth, host) in order.iter().enumerate() {
            let now = clock::now();
            let share =
                deadline.saturating_duration_since(now) / u32::try_from(order.len() - nth).unwrap_or(1);
            let outgoing = self.addressed(host, outgoing.clone());
            // A dial's future is a large one.
            last = Box::pin(upstream::open(&host.dialer, outgoing, bounds, now + share)).await;
            tell(&last);
            let failed = last.as_ref().err().filter(|refused| refused.is_of_the_host());
            host.shun(failed.map(|_| clock::now() + SHUNNED));
            match failed {
                Some(refused) if !self.once || !refused.may_have_arrived() => {
                    if nth + 1 < order.len() {
                        let upstream = host.dialer.authority();
                        tracing::info!(upstream, error = %refused, "not reached at one address; trying the next");
                    }
                }
                Some(_) | None => break,
            }
        }
        last
    }

    /// Those that failed lately stand behind the others.
    fn order(&self, now: Instant) -> Vec<&Host> {
        let is_shunned = |host: &&Host| host.until().is_some_and(|until| now < until);
        let (shunned, mut order): (Vec<&Host>, Vec<&Host>) = self.hosts.iter().partition(is_shunned);
        order.extend(shunned);
        order
    }

    /// An origin that is the service's is the one of the host that is dialled.
    fn addressed(&self, host: &Host, mut outgoing: Outgoing) -> Outgoing {
        let first = self.hosts.first().map(|first| first.origin.as_bytes());
        let is_own = outgoing.headers.get(header::ORIGIN).map(HeaderValue::as_bytes) == first;
        if is_own && let Ok(origin) = HeaderValue::from_str(&host.origin) {
            outgoing.headers.insert(header::ORIGIN, origin);
        }
        outgoing
    }
}

impl Host {
    fn until(&self) -> Option<Instant> {
        *self.shunned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shun(&self, until: Option<Instant>) {
        *self.shunned.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn hosts() -> Hosts {
        let text = "[[route]]\nupstream = [\"ws://a.example\", \"ws://b.example\", \"ws://c.example\"]\n\
                    dialect = \"none\"";
        let config = Config::parse(text, "t").unwrap_or_else(|error| panic!("{error}"));
        let upstream = &config.routes[0].upstream;
        let endpoints: Vec<&Endpoint> = upstream.endpoints().collect();
        let dialers = endpoints.iter().map(|endpoint| Dialer::new(endpoint, &upstream.tls).unwrap());
        Hosts::new(dialers.collect(), &endpoints, false)
    }

    fn names(order: &[&Host]) -> Vec<String> {
        order.iter().map(|host| host.dialer.authority()).collect()
    }

    #[test]
    fn a_host_that_failed_is_asked_last_for_a_while() {
        let (hosts, now) = (hosts(), clock::now());
        assert_eq!(names(&hosts.order(now)), ["a.example", "b.example", "c.example"]);
        hosts.hosts[0].shun(Some(now + SHUNNED));
        assert_eq!(names(&hosts.order(now)), ["b.example", "c.example", "a.example"]);
        assert_eq!(names(&hosts.order(now + SHUNNED)), ["a.example", "b.example", "c.example"]);
    }

    #[test]
    fn the_services_origin_is_that_of_the_host_that_is_dialled() {
        let hosts = hosts();
        for (origin, expected) in
            [("http://a.example", "http://b.example"), ("https://app.example", "https://app.example")]
        {
            let mut headers = http::HeaderMap::new();
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            let outgoing = Outgoing { target: "/".into(), headers, elsewhere: None };
            let sent = hosts.addressed(&hosts.hosts[1], outgoing);
            assert_eq!(sent.headers[header::ORIGIN], expected);
        }
    }
}
