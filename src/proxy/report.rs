//! What one session has to say to the log and the metrics.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    caller::{Caller, SessionId},
    census::state,
    route::RouteContext,
    sessions::Handle,
    traces::Traces,
};
use crate::{
    clock::{Instant, milliseconds},
    credential::{Credential, Generation},
    dialect::Remark,
    net::trace,
    session::{self, Cause, Note, Phase},
    telemetry::{self, CloseReason, Direction, LossReason, Method, Open, Outcome, words},
    wire,
};

/// One session's counts and lines.
pub(super) struct Report {
    route: Arc<RouteContext>,
    handle: Arc<Handle>,
    phase: Option<Phase>,
    /// Since when it is in that state.
    since: Instant,
    messages: [u64; 2],
    /// Messages of the client's that are held.
    waiting: u32,
    /// A message of the client's could not be read, and that has been said.
    unreadable: bool,
    /// Its spans, if somebody traces.
    pub(super) traces: Traces,
}

impl Report {
    pub(super) fn new(route: Arc<RouteContext>, handle: Arc<Handle>, now: Instant) -> Self {
        let Caller { session, client } = handle.caller;
        route.census.moved(None, Some(Phase::Opening), now);
        tracing::info!(%session, route = route.route.name, %client, "session opened");
        let phase = Some(Phase::Opening);
        let (messages, waiting, unreadable, traces) = ([0; 2], 0, false, Traces::new(session));
        Self { route, handle, phase, since: now, messages, waiting, unreadable, traces }
    }

    fn session(&self) -> SessionId {
        self.handle.caller.session
    }

    /// The session is in this state now.
    pub(super) fn phase(&mut self, phase: Phase, now: Instant) {
        if self.phase != Some(phase) {
            self.route.census.moved(self.phase, Some(phase), now);
            self.handle.set_state(state(phase));
            self.phase = Some(phase);
            self.since = now;
        }
    }

    /// Messages that came, and which way they go.
    pub(super) fn messages(&mut self, direction: wire::Direction, messages: u64) {
        if messages > 0 {
            self.messages[direction as usize] += messages;
            self.route.metrics.relayed(towards(direction), messages);
        }
    }

    /// Bytes that came.
    pub(super) fn bytes(&self, direction: wire::Direction, bytes: usize) {
        self.route.metrics.took(towards(direction), bytes as u64);
    }

    /// `credential`: the one whose token the session uses.
    pub(super) fn note(&mut self, note: &Note, credential: Option<&Credential>, now: Instant) {
        self.weigh(note, now);
        // What the service says may quote the token.
        let words = |said: &str| {
            let token = credential.and_then(Credential::current);
            words(said, token.as_ref().map(|token| token.expose()))
        };
        let (session, route, metrics) = (self.session(), &*self.route.route.name, &self.route.metrics);
        match note {
            Note::Reauthenticated { method, generation, took } => {
                let method = method_of(*method);
                let span = self.tried(method, credential, *generation, (*took, now));
                self.reauthenticated(method, *generation, *took, &span);
            }
            Note::ReauthenticationFailed { method, generation, refused, why } => {
                let outcome = if *refused { Outcome::Rejected } else { Outcome::Failed };
                let took = now - self.since;
                let method = method_of(*method);
                let span = self.tried(method, credential, *generation, (took, now));
                self.not_reauthenticated(method, outcome, *generation, (&words(why), &span));
            }
            Note::UpstreamLost { why, attempt: 0 } => {
                let reason = words(why);
                let trace_id = self.traces.lost(&self.route, &reason);
                tracing::info!(%session, route, trace_id, reason, "upstream lost");
            }
            Note::UpstreamLost { why, attempt } => {
                let error = words(why);
                self.traces.not_reached(&self.route, &error);
                let _in_it = self.traces.context().attach();
                not_reached(session, route, &error, *attempt);
            }
            Note::UpstreamResumed { gap, replayed } => {
                metrics.gap(*gap);
                metrics.replayed(*replayed);
                let duration_ms = milliseconds(*gap);
                let trace_id = self.traces.resumed();
                tracing::info!(%session, route, trace_id, duration_ms, replayed, "upstream resumed");
            }
            Note::Held { direction, bytes } => metrics.hold(towards(*direction), *bytes),
            Note::Released { direction, bytes, waited } => {
                metrics.release(towards(*direction), *bytes, *waited);
                metrics.recent().released(*waited, now);
            }
            Note::Lost { direction, bytes, waited, known, cause } => {
                metrics.release(towards(*direction), *bytes, *waited);
                if !known {
                    metrics.lost(towards(*direction), loss_reason(*cause), 1);
                }
            }
            Note::Overlapped { kept: true } => metrics.overlapped(1),
            Note::Overlapped { kept: false } => metrics.lost(Direction::Down, LossReason::Overlap, 1),
            Note::InDoubt { direction, messages } => self.in_doubt(towards(*direction), *messages),
            Note::Gap => metrics.lost(Direction::Down, LossReason::Discontinued, 1),
            Note::Unreadable(direction) => {
                let direction = towards(*direction);
                metrics.frame_unread(direction);
                if !std::mem::replace(&mut self.unreadable, true) {
                    let direction = direction.as_str();
                    tracing::warn!(%session, route, direction, "a message cannot be read; more of them are only counted");
                }
            }
            Note::Unasked => {
                metrics.acknowledgement_unasked();
                tracing::debug!(%session, route, "the service acknowledged what nobody waits for");
            }
            Note::Remark(Remark::ClientIdHidden) => {
                let remark =
                    "the client shows a key and no clientId: it is not told the clientId of the token";
                tracing::info!(%session, route, "{remark}");
            }
            Note::Hopes => self.hopes(),
            Note::Refused(why) => {
                let reason = words(why);
                tracing::warn!(%session, route, reason, "the service ended the session");
                self.route.reach.refused(reason);
            }
            Note::Parked => tracing::info!(%session, route, "client away: its upstream is kept"),
            Note::Returned { after } => {
                tracing::info!(%session, route, duration_ms = milliseconds(*after), "client back");
            }
        }
    }

    /// Once for each route: a service may have to hear again what was said on the connection before.
    fn hopes(&self) {
        if self.route.warned.swap(true, Ordering::Relaxed) {
            return;
        }
        let (session, route) = (self.session(), &*self.route.route.name);
        let way_out = "if the service keeps nothing of what is said: session.stateless = true; if it never checks the token of \
                       an open connection: session.swap = \"never\"; else a dialect that says it again, see docs/dialects";
        tracing::warn!(
            %session,
            route,
            way_out,
            "a connection on which the client has said something is replaced, and nothing of it is said again"
        );
    }

    /// Keeps what others see of what is held.
    fn weigh(&mut self, note: &Note, now: Instant) {
        let (direction, held) = match note {
            Note::Held { direction, bytes } => (*direction, Ok(*bytes as u64)),
            Note::Released { direction, bytes, .. } | Note::Lost { direction, bytes, .. } => {
                (*direction, Err(*bytes as u64))
            }
            Note::Reauthenticated { .. }
            | Note::ReauthenticationFailed { .. }
            | Note::UpstreamLost { .. }
            | Note::UpstreamResumed { .. }
            | Note::Overlapped { .. }
            | Note::InDoubt { .. }
            | Note::Gap
            | Note::Unreadable(_)
            | Note::Unasked
            | Note::Remark(_)
            | Note::Hopes
            | Note::Refused(_)
            | Note::Parked
            | Note::Returned { .. } => return,
        };
        let bytes = self.handle.held.load(Ordering::Relaxed);
        let bytes = held.map_or_else(|less| bytes.saturating_sub(less), |more| bytes.saturating_add(more));
        self.handle.held.store(bytes, Ordering::Relaxed);
        if direction == wire::Direction::Up {
            let before = self.waiting;
            self.waiting = if held.is_ok() { before.saturating_add(1) } else { before.saturating_sub(1) };
            if before == 0 || self.waiting == 0 {
                let since = if self.waiting == 0 { 0 } else { self.route.sessions.stamp(now) };
                self.handle.holds_since.store(since, Ordering::Relaxed);
            }
        }
    }

    /// The span of a re-authentication that took so long, until now.
    fn tried(
        &mut self,
        method: Method,
        credential: Option<&Credential>,
        generation: Generation,
        (took, now): (Duration, Instant),
    ) -> Open {
        let refresh = credential.and_then(|credential| credential.traced(generation));
        let span = self.traces.tried(&self.route, (method, refresh.as_deref()), took, now);
        span.set_token(credential.map_or("", Credential::name), Some(generation.0));
        span
    }

    fn reauthenticated(&self, method: Method, generation: Generation, took: Duration, span: &Open) {
        let (session, metrics) = (self.session(), &self.route.metrics);
        metrics.reauthenticated(method, Outcome::Ok);
        if method == Method::Exchange {
            metrics.refresh_took(telemetry::Phase::Exchange, took);
            metrics.recent().exchanged(took);
        }
        span.end(Outcome::Ok.as_str());
        let (route, generation, duration_ms) = (&*self.route.route.name, generation.0, milliseconds(took));
        let (method, trace_id) = (method.as_str(), span.trace_id());
        tracing::info!(%session, route, trace_id, method, generation, duration_ms, "re-authenticated");
    }

    fn not_reauthenticated(
        &self,
        method: Method,
        outcome: Outcome,
        generation: Generation,
        (reason, span): (&str, &Open),
    ) {
        self.route.metrics.reauthenticated(method, outcome);
        span.fail(outcome.as_str(), reason);
        let (session, route, method) = (self.session(), &*self.route.route.name, method.as_str());
        let (generation, trace_id) = (generation.0, span.trace_id());
        if outcome == Outcome::Rejected {
            tracing::warn!(%session, route, trace_id, method, generation, reason, "re-authentication rejected");
        } else {
            tracing::warn!(%session, route, trace_id, method, generation, reason, "re-authentication failed");
        }
    }

    /// Messages were sent, and nothing shows that they were read.
    fn in_doubt(&self, direction: Direction, messages: u64) {
        self.route.metrics.lost(direction, LossReason::Unacknowledged, messages);
        if messages > 0 {
            tracing::warn!(
                session = %self.session(),
                route = self.route.route.name,
                direction = direction.as_str(),
                messages,
                "messages may be lost: nothing shows that they were read"
            );
        }
    }

    /// So many messages of the service's came on a connection that serves no more.
    pub(super) fn too_late(&self, messages: u64) {
        self.route.metrics.lost(Direction::Down, LossReason::Discontinued, messages);
    }

    /// The client's Close carried a code that is none.
    pub(super) fn wrong_close_code(&self, code: u16) {
        self.route.metrics.wrong_close_code();
        tracing::debug!(session = %self.session(), route = self.route.route.name, code, "the client's Close has no valid code");
    }

    /// The session is over.
    pub(super) fn closed(&mut self, cause: Option<Cause>, close_code: Option<u16>, now: Instant) {
        let Some(phase) = self.phase.take() else { return };
        self.route.census.moved(Some(phase), None, now);
        let reason = cause.map_or(CloseReason::Internal, close_reason);
        self.route.metrics.session_closed(reason);
        let [up, down] = self.messages;
        self.traces.closed(reason.as_str());
        let (session, route) = (self.session(), &*self.route.route.name);
        let duration_ms = milliseconds(now - self.handle.opened);
        // A macro: the level of an event is a constant.
        macro_rules! say {
            ($level:ident) => {
                tracing::$level!(
                    %session, route, reason = reason.as_str(), close_code, duration_ms, up, down, "session closed"
                )
            };
        }
        // The one that must not be.
        if reason == CloseReason::TokenExpired { say!(warn) } else { say!(info) }
    }
}

/// A session whose task was ended from outside is counted out all the same.
impl Drop for Report {
    fn drop(&mut self) {
        self.closed(None, None, crate::clock::now());
    }
}

/// A dial of the service has failed; `attempt` counts from 1 since the upstream was last there.
pub(super) fn not_reached(session: SessionId, route: &str, error: &str, attempt: u32) {
    let trace_id = trace::current_id();
    tracing::warn!(%session, route, trace_id, error, attempt, "upstream not reached");
}

fn towards(direction: wire::Direction) -> Direction {
    match direction {
        wire::Direction::Up => Direction::Up,
        wire::Direction::Down => Direction::Down,
    }
}

fn method_of(method: session::Method) -> Method {
    match method {
        session::Method::Exchange => Method::Exchange,
        session::Method::Swap => Method::Swap,
        session::Method::Resume => Method::Resume,
    }
}

fn loss_reason(cause: Cause) -> LossReason {
    match cause {
        Cause::Outage | Cause::TokenExpired => LossReason::Outage,
        Cause::Discontinued => LossReason::Discontinued,
        Cause::Shutdown | Cause::Operator => LossReason::Drain,
        Cause::TooBig => LossReason::Overflow,
        Cause::Client | Cause::Upstream | Cause::Refused | Cause::Violation | Cause::Slow => {
            LossReason::PeerGone
        }
    }
}

fn close_reason(cause: Cause) -> CloseReason {
    match cause {
        Cause::Client => CloseReason::Client,
        Cause::Upstream => CloseReason::Upstream,
        Cause::TokenExpired => CloseReason::TokenExpired,
        Cause::Outage => CloseReason::Outage,
        Cause::Refused => CloseReason::Refused,
        Cause::Discontinued => CloseReason::Discontinued,
        Cause::Violation => CloseReason::Violation,
        Cause::TooBig => CloseReason::TooBig,
        Cause::Slow => CloseReason::Slow,
        Cause::Shutdown => CloseReason::Drain,
        Cause::Operator => CloseReason::Operator,
    }
}
