//! What became of each handshake: counted once, whichever way it went.
//!
//! ```text
//!   turned away ──► its answer says why (`Turned`) ──► counted, and logged at the door
//!   let in ───────► its client takes the socket over ─► counted as accepted
//!   anything else: the client is gone, or the sidecar is about to end
//! ```

use std::{borrow::Cow, sync::Arc};

use http::StatusCode;
use opentelemetry::Context;
use tokio_util::sync::CancellationToken;

use super::{
    answer::{Answer, refuse},
    route::RouteContext,
};
use crate::{
    clock::Now,
    credential::Traced,
    net::Peer,
    telemetry::{Handshake, HandshakeMetrics, Open},
};

/// Goes with the answer to a client that was turned away.
#[derive(Debug, Clone)]
pub(super) struct Turned {
    pub(super) outcome: Handshake,
    /// Its route's name, if one is known.
    pub(super) route: String,
    /// What the client is told.
    pub(super) why: Cow<'static, str>,
    /// Most likely a proxy in front is set up wrongly.
    pub(super) in_front: bool,
}

impl Turned {
    /// A client that is turned away on this route, or on none.
    pub(super) fn new(outcome: Handshake, route: &str, why: impl Into<Cow<'static, str>>) -> Self {
        Self { outcome, route: route.to_owned(), why: why.into(), in_front: false }
    }

    /// The same, if it is most likely the fault of a proxy in front.
    pub(super) fn in_front(self) -> Self {
        Self { in_front: true, ..self }
    }

    /// The answer of this status that says why.
    pub(super) fn answer(self, status: StatusCode) -> Answer {
        self.with(refuse(status, &self.why))
    }

    /// Goes with an answer that says it in its own words.
    pub(super) fn with(&self, mut answer: Answer) -> Answer {
        answer.extensions_mut().insert(self.clone());
        answer
    }

    /// A line about what was decided at the door. What the service decided has its line already.
    pub(super) fn log(&self, client: &Peer) {
        let Self { outcome, route, why, in_front } = self;
        if *in_front {
            tracing::warn!(%client, route, %outcome, reason = %why, "what stands in front is set up wrongly");
            return;
        }
        match outcome {
            Handshake::Unauthorized | Handshake::Origin | Handshake::Limit => {
                tracing::warn!(%client, route, %outcome, reason = %why, "a client was turned away");
            }
            Handshake::NotFound | Handshake::BadRequest => {
                tracing::info!(%client, route, %outcome, reason = %why, "a client was turned away");
            }
            Handshake::Accepted
            | Handshake::Token
            | Handshake::UpstreamUnreachable
            | Handshake::UpstreamRejected
            | Handshake::Timeout
            | Handshake::Draining
            | Handshake::ClientGone => {}
        }
    }
}

/// For a path that means nothing.
pub(super) fn no_path() -> Answer {
    let why = "a path with . or .. is not served";
    Turned::new(Handshake::BadRequest, "", why).answer(StatusCode::BAD_REQUEST)
}

/// For a path that no route has.
pub(super) fn no_route() -> Answer {
    Turned::new(Handshake::NotFound, "", "no route has this path").answer(StatusCode::NOT_FOUND)
}

/// For who asks while the sidecar stops.
pub(super) fn draining() -> Answer {
    let turned = Turned::new(Handshake::Draining, "", "the sidecar is stopping; connect again");
    turned.answer(StatusCode::SERVICE_UNAVAILABLE)
}

/// One handshake that is to be counted, and traced.
pub(super) struct Tally {
    counts: Arc<HandshakeMetrics>,
    counted: bool,
    began: Now,
    span: Open,
    stop: CancellationToken,
}

impl Tally {
    /// Of no route yet; `stop`: no new clients.
    pub(super) fn new(nowhere: &Arc<HandshakeMetrics>, stop: CancellationToken) -> Self {
        let began = Now::read();
        Self { counts: Arc::clone(nowhere), counted: false, began, span: Open::default(), stop }
    }

    /// Its route is known.
    pub(super) fn is_of(&mut self, route: &RouteContext) {
        self.counts = Arc::clone(route.metrics.handshakes());
        self.span = route.spans.handshake(&route.route.name, self.began.wall);
    }

    /// What is done in this context belongs to the handshake.
    pub(super) fn context(&self) -> Context {
        self.span.context()
    }

    /// The handshake goes on with the token that came of this refresh. Did it wait for it?
    pub(super) fn goes_with(&self, refresh: &Traced) {
        if refresh.ended >= self.began.mono {
            self.span.link(refresh.span.clone());
        }
    }

    /// `status`: what the client was answered.
    pub(super) fn count(mut self, outcome: Handshake, status: StatusCode) {
        self.counted = true;
        self.tell(outcome, Some(status));
    }

    fn tell(&self, outcome: Handshake, status: Option<StatusCode>) {
        self.counts.count(outcome);
        self.span.answer(outcome, status);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if !self.counted {
            let draining = self.stop.is_cancelled();
            self.tell(if draining { Handshake::Draining } else { Handshake::ClientGone }, None);
        }
    }
}
