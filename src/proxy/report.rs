//! What one session has to say to the log and the metrics.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{route::RouteContext, sessions::Handle};
use crate::{
    clock::Instant,
    credential::Generation,
    session::{Cause, Method, Note, Phase},
    telemetry::{self, CloseReason, Direction, LossReason, Outcome, Told, words},
    wire,
};

/// One session's counts and lines.
pub(super) struct Report {
    route: Arc<RouteContext>,
    handle: Arc<Handle>,
    opened: Instant,
    phase: Option<Phase>,
    /// Since when it is in that state.
    since: Instant,
    messages: [u64; 2],
    /// Messages of the client's that stood before the last ping, and before the last that was answered.
    asked: u64,
    taken: u64,
    /// Messages of the client's that are held.
    waiting: u32,
}

impl Report {
    pub(super) fn new(route: Arc<RouteContext>, handle: Arc<Handle>, now: Instant) -> Self {
        route.census.moved(None, Some(Phase::Opening), now);
        tracing::info!(route = route.route.name, "session opened");
        let phase = Some(Phase::Opening);
        Self {
            route,
            handle,
            opened: now,
            phase,
            since: now,
            messages: [0; 2],
            asked: 0,
            taken: 0,
            waiting: 0,
        }
    }

    /// The session is in this state now.
    pub(super) fn phase(&mut self, phase: Phase, now: Instant) {
        if self.phase != Some(phase) {
            self.route.census.moved(self.phase, Some(phase), now);
            self.phase = Some(phase);
            self.since = now;
        }
    }

    /// Messages that came, and which way they go.
    pub(super) fn messages(&mut self, direction: wire::Direction, messages: u64) {
        if messages > 0 {
            self.messages[direction as usize] += messages;
            self.route.metrics.relayed(towards(direction), messages, 0);
        }
    }

    /// Bytes that came.
    pub(super) fn bytes(&self, direction: wire::Direction, bytes: usize) {
        self.route.metrics.relayed(towards(direction), 0, bytes as u64);
    }

    /// `credential`: the name of the one whose token the session uses.
    pub(super) fn note(&mut self, note: &Note, credential: Option<&str>, now: Instant) {
        self.weigh(note, now);
        let (route, metrics) = (&*self.route.route.name, &self.route.metrics);
        match note {
            Note::Reauthenticated { method, generation, took } => {
                metrics.reauthenticated(method_of(*method), Outcome::Ok);
                if *method == Method::Exchange {
                    metrics.refresh_took(telemetry::Phase::Exchange, *took);
                    metrics.recent().exchanged(*took);
                }
                self.span((*method, Outcome::Ok), credential, *generation, *took, None);
                tracing::info!(route, method = method_of(*method).as_str(), %generation, ?took, "re-authenticated");
            }
            Note::ReauthenticationFailed { method, generation, refused, why } => {
                let outcome = if *refused { Outcome::Rejected } else { Outcome::Failed };
                metrics.reauthenticated(method_of(*method), outcome);
                self.span((*method, outcome), credential, *generation, now - self.since, Some(why));
                let why = words(why);
                if *refused {
                    tracing::warn!(route, method = method_of(*method).as_str(), %generation, why, "re-authentication rejected");
                } else {
                    tracing::warn!(route, method = method_of(*method).as_str(), %generation, why, "re-authentication failed");
                }
            }
            Note::UpstreamLost { why, attempt: 0 } => {
                tracing::info!(route, why = words(why), "upstream lost")
            }
            Note::UpstreamLost { why, attempt } => {
                tracing::info!(route, why = words(why), attempt, "upstream not reached")
            }
            Note::UpstreamResumed { gap, replayed } => {
                metrics.gap(*gap);
                metrics.replayed(*replayed);
                tracing::info!(route, ?gap, replayed, "upstream resumed");
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
            Note::InDoubt => self.in_doubt(),
            Note::Parked => tracing::info!(route, "client away: its upstream is kept"),
            Note::Returned { after } => tracing::info!(route, after = ?seconds(*after), "client back"),
        }
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
            | Note::InDoubt
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

    /// The re-authentication that ended just now, for who traces.
    fn span(
        &self,
        (method, outcome): (Method, Outcome),
        credential: Option<&str>,
        generation: Generation,
        took: Duration,
        error: Option<&str>,
    ) {
        let (route, generation) = (&*self.route.route.name, Some(generation.0));
        let told = Told { route, credential, generation, outcome, took, error };
        self.route.spans.reauthenticated(method_of(method), told);
    }

    /// A service that acknowledges nothing was left without a word: what it had not been heard to take, and
    /// what it may have said meanwhile, is counted.
    fn in_doubt(&mut self) {
        let said = self.messages[wire::Direction::Up as usize];
        let up = said.saturating_sub(self.taken);
        // What was counted is not counted again when the next connection is lost as well.
        (self.taken, self.asked) = (said, said);
        self.route.metrics.lost(Direction::Up, LossReason::Unacknowledged, up);
        self.route.metrics.lost(Direction::Down, LossReason::Discontinued, 1);
        tracing::warn!(
            route = self.route.route.name,
            up,
            "messages may be lost: the service acknowledges none"
        );
    }

    /// The service is asked for a sign that it has taken what was sent so far.
    pub(super) fn pinged(&mut self) {
        self.asked = self.messages[wire::Direction::Up as usize];
    }

    /// The sign came.
    pub(super) fn ponged(&mut self) {
        self.taken = self.asked;
    }

    /// The session is over.
    pub(super) fn closed(&mut self, cause: Option<Cause>, code: Option<u16>, now: Instant) {
        let Some(phase) = self.phase.take() else { return };
        self.route.census.moved(Some(phase), None, now);
        let cause = cause.map_or(CloseReason::Internal, close_reason);
        self.route.metrics.session_closed(cause);
        let [up, down] = self.messages;
        let (route, duration) = (&*self.route.route.name, seconds(now - self.opened));
        if cause == CloseReason::TokenExpired {
            tracing::warn!(route, "token expired");
        }
        tracing::info!(route, reason = cause.as_str(), code, ?duration, up, down, "session closed");
    }
}

/// A session whose task was ended from outside is counted out all the same.
impl Drop for Report {
    fn drop(&mut self) {
        self.closed(None, None, crate::clock::now());
    }
}

/// To the millisecond, for a log line.
fn seconds(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn towards(direction: wire::Direction) -> Direction {
    match direction {
        wire::Direction::Up => Direction::Up,
        wire::Direction::Down => Direction::Down,
    }
}

fn method_of(method: Method) -> telemetry::Method {
    match method {
        Method::Exchange => telemetry::Method::Exchange,
        Method::Swap => telemetry::Method::Swap,
        Method::Resume => telemetry::Method::Resume,
    }
}

fn loss_reason(cause: Cause) -> LossReason {
    match cause {
        Cause::Outage | Cause::TokenExpired => LossReason::Outage,
        Cause::Discontinued => LossReason::Discontinued,
        Cause::Drain => LossReason::Drain,
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
        Cause::Drain => CloseReason::Drain,
    }
}
