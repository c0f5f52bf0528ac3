//! The snapshot that the status page and `perennial status` show.

use std::{sync::PoisonError, time::Duration};

use super::{
    counted,
    state::{Lives, State},
};
use crate::{
    admin::{
        health::Health,
        status::{
            CertificateStatus, CredentialStatus, Directions, EventLine, LatelyStatus, Outcomes, RouteLimits,
            RouteStatus, Status, StoreStatus, UnreachedStatus,
        },
    },
    clock::{self, Instant, Now},
    config::{Endpoint, Route},
    credential::{Credential, Token},
    proxy::{Extremes, RouteContext, Unreached},
    telemetry::{CloseReason, Direction, Fetched, Method, Outcome, RouteMetrics, SessionState, events::Line},
};

/// Credentials of one route that are shown.
const SHOWN: usize = 50;

impl State {
    pub(super) fn snapshot(&self) -> Status {
        self.look();
        let problems = self.problems();
        let lives = self.lives();
        let routes = lives.current.iter().map(|life| self.route(&life.context, &lives)).collect();
        drop(lives);
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now: Now::read().wall.as_secs_f64(),
            started: self.began.as_secs_f64(),
            address: self.address(),
            ready: problems.is_empty(),
            draining: self.leaving.is_cancelled(),
            problems,
            reload: self.reload.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            store: StoreStatus {
                kind: self.store_kind.to_owned(),
                up: self.store.is_up(),
                error: self.store.error().map(|error| error.to_string()),
            },
            rehearsal: self.admin.load().rehearsal,
            routes,
            events: self.log.events.newest_first().into_iter().map(event).collect(),
            health: Health::default(),
            sessions_limit: u64::try_from(self.proxy.load().limits.sessions).unwrap_or(u64::MAX),
            certificates: self.certificates().into_iter().map(certificate).collect(),
        };
        status.health = Health::of(&status);
        status
    }

    fn lately(&self, context: &RouteContext, metrics: &RouteMetrics) -> LatelyStatus {
        let lately = self.lately.of(&context.route.name, metrics, clock::now());
        let now = Now::read().wall;
        let said =
            context.reach.said().filter(|said| (now.saturating_sub(said.at)).as_secs_f64() <= lately.within);
        LatelyStatus { said: said.map(|said| said.text), ..lately }
    }

    fn route(&self, context: &RouteContext, lives: &Lives) -> RouteStatus {
        let route = &context.route;
        let metrics = self.metrics.route(&route.name);
        let (counts, recent, now) = (metrics.counts(), metrics.recent(), clock::now());
        let of_it = lives.of(&route.name);
        let extremes =
            of_it.iter().map(|life| life.context.extremes()).fold(Extremes::default(), Extremes::and);
        let both =
            |of: &dyn Fn(Direction) -> u64| Directions { up: of(Direction::Up), down: of(Direction::Down) };
        let (credentials_total, credentials) = shown(lives, &route.name);
        RouteStatus {
            name: route.name.clone(),
            path: route.path.clone(),
            dialect: route.dialect.word().to_owned(),
            upstream: place(&route.upstream.endpoint),
            share: share(route).to_owned(),
            credentials_total,
            credentials,
            unreached: context.reach.unreached().map(unreached),
            lately: self.lately(context, &metrics),
            sessions: SessionState::ALL.map(|state| (state.to_string(), counts.sessions(state))).into(),
            oldest_live_expires: extremes.oldest_expiry.map(|at| at.as_secs_f64()),
            uptime: counts.uptime(),
            refreshes: Outcomes {
                ok: counts.refreshes(Fetched::Ok),
                failed: counts.refreshes(Fetched::Failed),
                rejected: counts.refreshes(Fetched::Rejected),
            },
            reauthentications: Method::ALL
                .map(|method| {
                    (method.to_string(), outcomes(|outcome| counts.reauthentications(method, outcome)))
                })
                .into(),
            closed: CloseReason::ALL.map(|cause| (cause.to_string(), counts.closed(cause))).into(),
            messages: both(&|direction| counts.messages(direction)),
            lost: both(&|direction| counts.lost(direction)),
            held_bytes: both(&|direction| counts.held_bytes(direction)),
            longest_hold: extremes.longest_hold.map(|held| held.as_secs_f64()),
            fullest_queue: extremes.fullest_queue,
            limits: RouteLimits {
                hold: route.session.hold.as_secs_f64(),
                reconnect: route.session.reconnect.as_secs_f64(),
                queue: route.session.queue as u64,
            },
            refresh_latencies: seconds(&recent.fetches()),
            exchange_latencies: seconds(&recent.exchanges()),
            holds: seconds(&recent.holds(now)),
        }
    }
}

/// What a certificate is called, and when it ends.
fn certificate((route, ends): (Option<String>, Duration)) -> CertificateStatus {
    let whose = route.map_or_else(|| "the listener".to_owned(), |route| format!("route {route}"));
    CertificateStatus { whose, expires: ends.as_secs_f64() }
}

/// Those closest to their end, and how many there are.
fn shown(lives: &Lives, name: &str) -> (usize, Vec<CredentialStatus>) {
    let (mut total, now) = (0, Now::read());
    // Those without a token come first, and those without an end last. No more are kept than are shown, twice.
    let mut closest: Vec<(Option<Duration>, CredentialStatus)> = Vec::new();
    let mut farthest = None;
    lives.each_credential(name, |credential| {
        total += 1;
        let seen = credential.glance();
        let end = seen.issued.map(|_| seen.ends.unwrap_or(Duration::MAX));
        if closest.len() >= SHOWN && Some(end) >= farthest {
            return;
        }
        closest.push((end, shown_as(credential, now)));
        if closest.len() >= 2 * SHOWN {
            closest.sort_by_key(|(end, _)| *end);
            closest.truncate(SHOWN);
        }
        if closest.len() == SHOWN {
            farthest = closest.iter().map(|(end, _)| *end).max();
        }
    });
    closest.sort_by(|one, other| (one.0, &one.1.name).cmp(&(other.0, &other.1.name)));
    closest.truncate(SHOWN);
    (total, closest.into_iter().map(|(_, shown)| shown).collect())
}

fn shown_as(credential: &Credential, now: Now) -> CredentialStatus {
    let (status, token) = (credential.status(), credential.current());
    let on_the_wall = |at: Instant| now.wall + at.saturating_duration_since(now.mono);
    let of_token = |what: &dyn Fn(&Token) -> Option<Duration>| token.as_deref().and_then(what);
    CredentialStatus {
        name: credential.name().to_owned(),
        state: counted::state(credential).to_string(),
        generation: token.as_ref().map_or(0, |token| token.generation.0),
        issued: of_token(&|token| Some(token.issued.wall)).map(|at| at.as_secs_f64()),
        expires: of_token(&|token| token.expires_wall).map(|at| at.as_secs_f64()),
        refresh_token_expires: of_token(&|token| token.refresh_ends).map(|at| at.as_secs_f64()),
        last_refresh: status.last_refresh.map(|(at, _)| at.as_secs_f64()),
        took: status.last_refresh.map(|(_, took)| took.as_secs_f64()),
        next_refresh: status.next_fetch.map(|at| on_the_wall(at).as_secs_f64()),
        fetching: status.fetching,
        refreshes: status.refreshes,
        failures: status.failures,
        error: status.last_error.clone(),
    }
}

fn outcomes(count: impl Fn(Outcome) -> u64) -> Outcomes {
    Outcomes { ok: count(Outcome::Ok), failed: count(Outcome::Failed), rejected: count(Outcome::Rejected) }
}

fn unreached(known: Unreached) -> UnreachedStatus {
    let Unreached { since, last, failures, error } = known;
    UnreachedStatus { since: since.as_secs_f64(), last: last.as_secs_f64(), failures, error }
}

fn seconds(durations: &[Duration]) -> Vec<f64> {
    durations.iter().map(Duration::as_secs_f64).collect()
}

fn share(route: &Route) -> &'static str {
    route.token.as_ref().map_or("none", |token| token.share.word())
}

/// Scheme, host and port: what stands behind may be nobody's business.
fn place(endpoint: &Endpoint) -> String {
    let (scheme, usual) = if endpoint.tls { ("wss", 443) } else { ("ws", 80) };
    let host =
        if endpoint.host.contains(':') { format!("[{}]", endpoint.host) } else { endpoint.host.clone() };
    if endpoint.port == usual {
        format!("{scheme}://{host}")
    } else {
        format!("{scheme}://{host}:{}", endpoint.port)
    }
}

fn event(line: Line) -> EventLine {
    let Line { id, at, level, message, route, fields, count } = line;
    let level = level.as_str().to_lowercase();
    EventLine { id, at: at.as_secs_f64(), level, message, route, fields, count }
}
