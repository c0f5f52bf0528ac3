//! The spans of one session, for those who trace.
//!
//! ```text
//!   upstream lost ──► outage ──► dial, dial … ──► resumed, or the session ends
//!   a new token ────► swap ────► dial ──► re-authenticated, or not
//!                └──► exchange: made when it has ended
//! ```
//!
//! What began soon after a refresh, with its token, is a child of it. What began later had other reasons, and is linked to it.

use std::time::Duration;

use opentelemetry::Context;

use super::{caller::SessionId, route::RouteContext};
use crate::{
    clock::{Instant, Now},
    credential::Traced,
    telemetry::{Method, Open, Place},
};

/// Sessions take their turns, and their exchanges are spread over ten seconds.
const SOON: Duration = Duration::from_secs(60);

/// What is traced of one session.
pub(super) struct Traces {
    session: SessionId,
    /// The last outage or swap; it may have ended.
    change: Option<Box<Change>>,
}

/// Why there is another upstream connection.
struct Change {
    is_outage: bool,
    span: Open,
}

impl Traces {
    pub(super) fn new(session: SessionId) -> Self {
        Self { session, change: None }
    }

    /// A dial begins: in an outage, or else for a swap. `refresh`: of the token that it shows.
    pub(super) fn dials(&mut self, route: &RouteContext, refresh: Option<&Traced>, now: Instant) -> Context {
        if !self.is_open() {
            let place = place(Method::Swap, refresh, now);
            self.change = self.begin(route, "swap", place, false);
        }
        self.context()
    }

    /// What its dials are done in.
    pub(super) fn context(&self) -> Context {
        self.change.as_ref().map_or_else(Context::new, |change| change.span.context())
    }

    /// The upstream is lost; names the trace of that.
    pub(super) fn lost(&mut self, route: &RouteContext, why: &str) -> Option<String> {
        let is_known = self.change.as_ref().is_some_and(|it| it.is_outage && it.span.is_open());
        if !is_known {
            if let Some(swap) = self.change.take() {
                swap.span.fail("failed", why);
            }
            self.change = self.begin(route, "outage", Place::Alone, true);
        }
        self.trace_id()
    }

    /// A dial has failed; or an upstream was lost again, so soon that it counts as one.
    pub(super) fn not_reached(&mut self, route: &RouteContext, why: &str) {
        if !self.is_open() {
            self.lost(route, why);
        }
    }

    /// There is an upstream again.
    pub(super) fn resumed(&self) -> Option<String> {
        if let Some(outage) = self.change.as_ref().filter(|change| change.is_outage) {
            outage.span.end("ok");
        }
        self.trace_id()
    }

    /// The span of a re-authentication that ends just now.
    pub(super) fn tried(
        &mut self,
        route: &RouteContext,
        (method, refresh): (Method, Option<&Traced>),
        took: Duration,
        now: Instant,
    ) -> Open {
        if method == Method::Swap
            && let Some(swap) = self.change.take_if(|change| !change.is_outage && change.span.is_open())
        {
            return swap.span;
        }
        let outage = self.change.as_ref().filter(|change| change.is_outage);
        let outage = outage.filter(|_| method == Method::Resume).and_then(|outage| outage.span.names());
        let place = outage.as_ref().map_or_else(|| place(method, refresh, now - took), Place::Below);
        let span = self.span(route, method.as_str(), Now::read().wall.saturating_sub(took), place);
        if let (Some(_), Some(refresh)) = (&outage, refresh) {
            span.link(refresh.span.clone());
        }
        span
    }

    /// The session is over.
    pub(super) fn closed(&mut self, reason: &'static str) {
        if let Some(change) = self.change.take().filter(|change| change.span.is_open()) {
            change.span.fail(reason, "the session ended before");
        }
    }

    fn begin(
        &self,
        route: &RouteContext,
        name: &'static str,
        place: Place<'_>,
        is_outage: bool,
    ) -> Option<Box<Change>> {
        let span = self.span(route, name, Now::read().wall, place);
        span.is_open().then(|| Box::new(Change { is_outage, span }))
    }

    fn span(&self, route: &RouteContext, name: &'static str, began: Duration, place: Place<'_>) -> Open {
        let span = route.spans.begin(name, &route.route.name, began, place);
        if span.is_open() {
            span.set("perennial.session", self.session.to_string());
        }
        span
    }

    fn is_open(&self) -> bool {
        self.change.as_ref().is_some_and(|change| change.span.is_open())
    }

    fn trace_id(&self) -> Option<String> {
        self.change.as_ref().and_then(|change| change.span.trace_id())
    }
}

/// How something that began then stands to the refresh of the token that it shows.
fn place(method: Method, refresh: Option<&Traced>, began: Instant) -> Place<'_> {
    match (refresh, method) {
        (None, _) => Place::Alone,
        (Some(refresh), Method::Exchange | Method::Swap) if began <= refresh.ended + SOON => {
            Place::Below(&refresh.span)
        }
        (Some(refresh), Method::Exchange | Method::Swap | Method::Resume) => Place::Linked(&refresh.span),
    }
}
