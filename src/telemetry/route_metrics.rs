//! The series of one route: handles resolved once, so that the hot path adds to an atomic.

use std::{sync::Arc, time::Duration};

use prometheus::{Counter, Gauge, Histogram, IntCounter, IntGauge};

use super::{
    HandshakeMetrics,
    labels::{
        CloseReason, CodeClass, CredentialState, DialPurpose, Dialled, Direction, Fetched, LossReason,
        Method, Outcome, Phase, SessionState, Trigger,
    },
    metrics::Families,
    recent::Recent,
};

const DIRECTIONS: usize = Direction::ALL.len();
const OUTCOMES: usize = Outcome::ALL.len();

/// Handles of every series of one route. Cheap to share; every method is lock-free.
pub struct RouteMetrics {
    refreshes: [[IntCounter; Trigger::ALL.len()]; Fetched::ALL.len()],
    refresh_seconds: [Histogram; Phase::ALL.len()],
    expires: Gauge,
    issued: Gauge,
    refresh_ends: Gauge,
    oldest_live_expires: Gauge,
    credentials: [IntGauge; CredentialState::ALL.len()],
    sessions: [IntGauge; SessionState::ALL.len()],
    session_seconds: [Counter; SessionState::ALL.len()],
    closed: [IntCounter; CloseReason::ALL.len()],
    reauthentications: [[IntCounter; OUTCOMES]; Method::ALL.len()],
    gap_seconds: Histogram,
    messages: [IntCounter; DIRECTIONS],
    bytes: [IntCounter; DIRECTIONS],
    held: [IntCounter; DIRECTIONS],
    hold_seconds: [Histogram; DIRECTIONS],
    held_bytes: [IntGauge; DIRECTIONS],
    lost: [[IntCounter; LossReason::ALL.len()]; DIRECTIONS],
    replayed: IntCounter,
    overlapped: IntCounter,
    wrong_close_codes: IntCounter,
    frames_unread: [IntCounter; DIRECTIONS],
    acknowledgements_unasked: IntCounter,
    returns_ambiguous: IntCounter,
    http_requests: [IntCounter; CodeClass::ALL.len()],
    handshakes: Arc<HandshakeMetrics>,
    upstream_connections: [[IntCounter; Dialled::ALL.len()]; DialPurpose::ALL.len()],
    longest_hold: Gauge,
    reconnect_limit: Gauge,
    fullest_queue: Gauge,
    queue_limit: Gauge,
    recent: Recent,
}

impl RouteMetrics {
    /// Resolves the handles, by which every series of the route stands at zero.
    pub(super) fn of(route: &str, of: &Families) -> Self {
        let direction = |family: &prometheus::IntCounterVec| {
            Direction::ALL.map(|d| family.with_label_values(&[route, d.as_str()]))
        };
        let by_state = |state: SessionState| [route, state.as_str()];
        Self {
            refreshes: Fetched::ALL.map(|outcome| {
                Trigger::ALL.map(|trigger| {
                    of.refreshes.with_label_values(&[route, outcome.as_str(), trigger.as_str()])
                })
            }),
            refresh_seconds: Phase::ALL
                .map(|phase| of.refresh_seconds.with_label_values(&[route, phase.as_str()])),
            expires: of.expires.with_label_values(&[route]),
            issued: of.issued.with_label_values(&[route]),
            refresh_ends: of.refresh_ends.with_label_values(&[route]),
            oldest_live_expires: of.oldest_live_expires.with_label_values(&[route]),
            credentials: CredentialState::ALL
                .map(|state| of.credentials.with_label_values(&[route, state.as_str()])),
            sessions: SessionState::ALL.map(|state| of.sessions.with_label_values(&by_state(state))),
            session_seconds: SessionState::ALL
                .map(|state| of.session_seconds.with_label_values(&by_state(state))),
            closed: CloseReason::ALL.map(|cause| of.closed.with_label_values(&[route, cause.as_str()])),
            reauthentications: Method::ALL.map(|method| {
                Outcome::ALL.map(|outcome| {
                    of.reauthentications.with_label_values(&[route, method.as_str(), outcome.as_str()])
                })
            }),
            gap_seconds: of.gap_seconds.with_label_values(&[route]),
            messages: direction(&of.messages),
            bytes: direction(&of.bytes),
            held: direction(&of.held),
            hold_seconds: Direction::ALL.map(|d| of.hold_seconds.with_label_values(&[route, d.as_str()])),
            held_bytes: Direction::ALL.map(|d| of.held_bytes.with_label_values(&[route, d.as_str()])),
            lost: Direction::ALL.map(|d| {
                LossReason::ALL.map(|reason| of.lost.with_label_values(&[route, d.as_str(), reason.as_str()]))
            }),
            replayed: of.replayed.with_label_values(&[route]),
            overlapped: of.overlapped.with_label_values(&[route]),
            wrong_close_codes: of.oddities.wrong_close_codes.with_label_values(&[route]),
            frames_unread: direction(&of.oddities.frames_unread),
            acknowledgements_unasked: of.oddities.acknowledgements_unasked.with_label_values(&[route]),
            returns_ambiguous: of.oddities.returns_ambiguous.with_label_values(&[route]),
            http_requests: CodeClass::ALL
                .map(|class| of.door.http_requests.with_label_values(&[route, class.as_str()])),
            handshakes: Arc::new(HandshakeMetrics::of(route, &of.door.handshakes)),
            upstream_connections: DialPurpose::ALL.map(|purpose| {
                Dialled::ALL.map(|outcome| {
                    let labels = [route, purpose.as_str(), outcome.as_str()];
                    of.door.upstream_connections.with_label_values(&labels)
                })
            }),
            longest_hold: of.waiting.longest_hold.with_label_values(&[route]),
            reconnect_limit: of.waiting.reconnect_limit.with_label_values(&[route]),
            fullest_queue: of.waiting.fullest_queue.with_label_values(&[route]),
            queue_limit: of.waiting.queue_limit.with_label_values(&[route]),
            recent: Recent::default(),
        }
    }

    /// A token was fetched, or was not.
    pub fn refreshed(&self, outcome: Fetched, trigger: Trigger) {
        self.refreshes[outcome as usize][trigger as usize].inc();
    }

    /// A part of a refresh took so long.
    pub fn refresh_took(&self, phase: Phase, took: Duration) {
        self.refresh_seconds[phase as usize].observe(took.as_secs_f64());
    }

    /// When the token of the credential closest to expiry was issued and expires, since the Unix
    /// epoch. `None` (there is none, or nobody told) stands as 0.
    pub fn set_token(&self, issued: Option<Duration>, expires: Option<Duration>) {
        self.issued.set(issued.unwrap_or_default().as_secs_f64());
        self.expires.set(expires.unwrap_or_default().as_secs_f64());
    }

    /// The earliest end of a refresh token, since the Unix epoch. `None` stands as 0.
    pub fn set_refresh_token(&self, ends: Option<Duration>) {
        self.refresh_ends.set(ends.unwrap_or_default().as_secs_f64());
    }

    /// The earliest expiry of all tokens that live upstreams were last authenticated with, since the
    /// Unix epoch. `None` stands as 0.
    pub fn set_oldest_live_expiration(&self, expires: Option<Duration>) {
        self.oldest_live_expires.set(expires.unwrap_or_default().as_secs_f64());
    }

    /// How long the session that waits longest has held its client's messages, where one does; and bytes
    /// held by the session that holds most.
    pub fn set_waiting(&self, longest: Option<Duration>, fullest: u64) {
        self.longest_hold.set(longest.unwrap_or_default().as_secs_f64());
        self.fullest_queue.set(fullest as f64);
    }

    /// What the configuration allows: how long an outage is hidden, and bytes held in one direction.
    pub fn set_limits(&self, reconnect: Duration, queue: usize) {
        self.reconnect_limit.set(reconnect.as_secs_f64());
        self.queue_limit.set(queue as f64);
    }

    /// How many credentials are in a state.
    pub fn set_credentials(&self, state: CredentialState, count: usize) {
        self.credentials[state as usize].set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A session came into a state, from nowhere.
    pub fn session_entered(&self, state: SessionState) {
        self.sessions[state as usize].inc();
    }

    /// A session went from one state to another, after so long in the first.
    pub fn session_moved(&self, from: SessionState, to: SessionState, spent: Duration) {
        self.session_left(from, spent);
        self.session_entered(to);
    }

    /// A session is over, after so long in its last state.
    pub fn session_left(&self, state: SessionState, spent: Duration) {
        self.sessions[state as usize].dec();
        self.add_session_seconds(state, spent);
    }

    /// A session has spent so long in a state, and may spend longer.
    pub fn add_session_seconds(&self, state: SessionState, spent: Duration) {
        self.session_seconds[state as usize].inc_by(spent.as_secs_f64());
    }

    /// How many sessions are in a state now.
    pub fn sessions(&self, state: SessionState) -> i64 {
        self.sessions[state as usize].get()
    }

    /// A session ended.
    pub fn session_closed(&self, cause: CloseReason) {
        self.closed[cause as usize].inc();
    }

    /// A session was brought to its new token, or was not.
    pub fn reauthenticated(&self, method: Method, outcome: Outcome) {
        self.reauthentications[method as usize][outcome as usize].inc();
    }

    /// So long lay between the loss of an upstream and relaying again.
    pub fn gap(&self, gap: Duration) {
        self.gap_seconds.observe(gap.as_secs_f64());
    }

    /// So many messages were passed on.
    pub fn relayed(&self, direction: Direction, messages: u64) {
        self.messages[direction as usize].inc_by(messages);
    }

    /// So many bytes of frames have come.
    pub fn took(&self, direction: Direction, bytes: u64) {
        self.bytes[direction as usize].inc_by(bytes);
    }

    /// A message of so many bytes is now held.
    pub fn hold(&self, direction: Direction, bytes: usize) {
        self.held[direction as usize].inc();
        self.held_bytes[direction as usize].add(signed(bytes));
    }

    /// A message of so many bytes is held no longer, after so long.
    pub fn release(&self, direction: Direction, bytes: usize, held: Duration) {
        self.held_bytes[direction as usize].sub(signed(bytes));
        self.hold_seconds[direction as usize].observe(held.as_secs_f64());
    }

    /// So many messages were lost, or may have been.
    pub fn lost(&self, direction: Direction, reason: LossReason, messages: u64) {
        self.lost[direction as usize][reason as usize].inc_by(messages);
    }

    /// So many messages were sent again after a loss.
    pub fn replayed(&self, messages: u64) {
        self.replayed.inc_by(messages);
    }

    /// So many messages of a new connection were kept until the old one had ended.
    pub fn overlapped(&self, messages: u64) {
        self.overlapped.inc_by(messages);
    }

    /// A client's Close had a code that is none.
    pub fn wrong_close_code(&self) {
        self.wrong_close_codes.inc();
    }

    /// A message could not be read.
    pub fn frame_unread(&self, direction: Direction) {
        self.frames_unread[direction as usize].inc();
    }

    /// The service acknowledged what nobody waits for.
    pub fn acknowledgement_unasked(&self) {
        self.acknowledgements_unasked.inc();
    }

    /// A client came that may be one of several whose upstreams are kept.
    pub fn return_ambiguous(&self) {
        self.returns_ambiguous.inc();
    }

    /// The last of what was measured.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// What was counted so far, for the status page.
    pub fn counts(&self) -> Counts<'_> {
        Counts(self)
    }

    /// What became of the route's handshakes.
    pub fn handshakes(&self) -> &Arc<HandshakeMetrics> {
        &self.handshakes
    }

    /// The service was dialled.
    pub fn dialled(&self, purpose: DialPurpose, outcome: Dialled) {
        self.upstream_connections[purpose as usize][outcome as usize].inc();
    }

    /// A request that was no WebSocket was answered with this status.
    pub fn http_answered(&self, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1).min(CodeClass::ALL.len() - 1);
        self.http_requests[class].inc();
    }
}

/// The counters of one route, read.
#[derive(Debug, Clone, Copy)]
pub struct Counts<'a>(&'a RouteMetrics);

impl Counts<'_> {
    /// Tokens fetched, whatever the trigger.
    pub fn refreshes(&self, outcome: Fetched) -> u64 {
        self.0.refreshes[outcome as usize].iter().map(IntCounter::get).sum()
    }

    pub fn reauthentications(&self, method: Method, outcome: Outcome) -> u64 {
        self.0.reauthentications[method as usize][outcome as usize].get()
    }

    pub fn closed(&self, cause: CloseReason) -> u64 {
        self.0.closed[cause as usize].get()
    }

    pub fn messages(&self, direction: Direction) -> u64 {
        self.0.messages[direction as usize].get()
    }

    /// Messages lost, whatever the reason.
    pub fn lost(&self, direction: Direction) -> u64 {
        self.0.lost[direction as usize].iter().map(IntCounter::get).sum()
    }

    pub fn held_bytes(&self, direction: Direction) -> u64 {
        u64::try_from(self.0.held_bytes[direction as usize].get()).unwrap_or_default()
    }

    pub fn sessions(&self, state: SessionState) -> u64 {
        u64::try_from(self.0.sessions(state)).unwrap_or_default()
    }

    /// Of the time of all sessions that have a client, the part in which they relayed; `None` before the first.
    pub fn uptime(&self) -> Option<f64> {
        let spent = |state: SessionState| self.0.session_seconds[state as usize].get();
        let with_a_client = SessionState::ALL.into_iter().filter(|state| *state != SessionState::Parked);
        let all: f64 = with_a_client.map(spent).sum();
        (all > 0.0).then(|| (spent(SessionState::Live) + spent(SessionState::Exchanging)) / all)
    }
}

impl std::fmt::Debug for RouteMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteMetrics").finish_non_exhaustive()
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
