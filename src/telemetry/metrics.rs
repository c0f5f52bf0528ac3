//! Metrics for Prometheus: the families, the registry, and the text that a scrape gets.
//!
//! The registry is a value, not the global one: two sidecars in one test do not add up. Names and help
//! stand in one place, here; what is done with a route's series stands in [`RouteMetrics`]. Labels
//! come from the configuration and from enums only, so the number of series is fixed by the
//! configuration.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus::{
    CounterVec, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

use super::{HandshakeMetrics, RouteMetrics};

const NAMESPACE: &str = "perennial";

/// Seconds. A refresh that nobody notices takes less than 100 ms, so the line is a bound of its own and
/// has neighbours at half and at one and a half of it: a shift across it shows before it is far.
/// Below, the cost of an exchange in one region (1 to 50 ms); above, what the deadlines allow:
/// `timeout` and `hold` (10 s), the largest backoff (30 s), `reconnect` (60 s).
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0,
];

/// All metrics of one process.
pub struct Metrics {
    registry: Registry,
    families: Families,
    reload: IntGauge,
    reloaded: Gauge,
    store: IntGauge,
    clock: Gauge,
    log_lines_dropped: IntCounter,
    limits: [IntGauge; 2],
    certificates: GaugeVec,
    nowhere: Arc<HandshakeMetrics>,
    routes: Mutex<BTreeMap<String, Arc<RouteMetrics>>>,
}

impl Metrics {
    /// Registers every family, and every series of these routes at zero.
    pub fn new(route_names: &[String]) -> Self {
        let registry = Registry::new();
        let families = Families::registered(&registry);
        let reload = add(
            &registry,
            IntGauge::with_opts(opts("config_last_reload_successful", "1: the last reload took effect.")),
        );
        reload.set(1);
        let reloaded = "config_last_reload_success_timestamp_seconds";
        let reloaded = Gauge::with_opts(opts(
            reloaded,
            "When the configuration last took effect, in seconds since the Unix epoch.",
        ));
        let reloaded = add(&registry, reloaded);
        let clock = Gauge::with_opts(opts(
            "clock_time_seconds",
            "The sidecar's clock at the scrape, in seconds since the Unix epoch.",
        ));
        let clock = add(&registry, clock);
        let log_lines_dropped = IntCounter::with_opts(opts(
            "log_lines_dropped_total",
            "Lines of the log that were not written: nobody reads it, or the disk is full.",
        ));
        let log_lines_dropped = add(&registry, log_lines_dropped);
        let certificates = GaugeVec::new(
            opts(
                "tls_certificate_expiration_timestamp_seconds",
                "When a certificate ends that is shown to clients (listener) or to a service (route), in seconds since the Unix epoch.",
            ),
            &["listener", "route"],
        );
        let certificates = add(&registry, certificates);
        let limits = [
            (
                "sessions_limit",
                "How many sessions there may be: limits.sessions, or fewer if open files are too few.",
            ),
            ("open_files_limit", "How many files the process may have open: a session has two."),
        ];
        let limits = limits.map(|(name, help)| add(&registry, IntGauge::with_opts(opts(name, help))));
        let store = add(
            &registry,
            IntGauge::with_opts(opts(
                "store_up",
                "1: the store of [state] answers and writes; memory always does.",
            )),
        );
        store.set(1);
        let build =
            IntGaugeVec::new(opts("build_info", "Always 1; the label says the version."), &["version"]);
        add(&registry, build).with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        #[cfg(target_os = "linux")]
        process(&registry);
        let nowhere = Arc::new(HandshakeMetrics::of("", &families.door.handshakes));
        let routes = Mutex::default();
        let metrics = Self {
            registry,
            families,
            reload,
            reloaded,
            store,
            clock,
            log_lines_dropped,
            limits,
            certificates,
            nowhere,
            routes,
        };
        for name in route_names {
            metrics.route(name);
        }
        metrics
    }

    /// The series of a route. A route that is new (after a reload) has them all at zero from now on.
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = routes.get(name) {
            return Arc::clone(route);
        }
        let route = Arc::new(RouteMetrics::of(name, &self.families));
        routes.insert(name.to_owned(), Arc::clone(&route));
        route
    }

    /// Handshakes of no route: none has their path.
    pub fn handshakes_nowhere(&self) -> Arc<HandshakeMetrics> {
        Arc::clone(&self.nowhere)
    }

    /// The configuration took effect, since the Unix epoch.
    pub fn configured(&self, at: Duration) {
        self.reload.set(1);
        self.reloaded.set(at.as_secs_f64());
    }

    /// A configuration did not take effect: the one before stays.
    pub fn not_configured(&self) {
        self.reload.set(0);
    }

    /// When certificates end, since the Unix epoch: the listener's (`None`) and those of routes.
    pub fn set_certificates(&self, ends: &[(Option<String>, Duration)]) {
        let _one_at_a_time = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        self.certificates.reset();
        for (route, ends) in ends {
            let labels = route.as_deref().map_or(["clients", ""], |route| ["", route]);
            self.certificates.with_label_values(&labels).set(ends.as_secs_f64());
        }
    }

    /// How many sessions there may be, and how many open files.
    pub fn set_limits(&self, sessions: usize, files: usize) {
        for (gauge, limit) in self.limits.iter().zip([sessions, files]) {
            gauge.set(i64::try_from(limit).unwrap_or(i64::MAX));
        }
    }

    /// What the sidecar takes for the time, since the Unix epoch.
    pub fn set_clock(&self, now: Duration) {
        self.clock.set(now.as_secs_f64());
    }

    /// Lines of the log that were not written since the start. The log counts them; this copies the count.
    pub fn set_log_lines_dropped(&self, total: u64) {
        // Under a lock: two scrapes at the same time must not add the same lines twice.
        let _one_at_a_time = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        self.log_lines_dropped.inc_by(total.saturating_sub(self.log_lines_dropped.get()));
    }

    /// Can the store be asked? True from the start.
    pub fn set_store_up(&self, up: bool) {
        self.store.set(up.into());
    }

    /// Every series in the text format 0.0.4.
    pub fn render(&self) -> String {
        let rendered = TextEncoder::new().encode_to_string(&self.registry.gather());
        rendered.unwrap_or_else(|error| {
            tracing::error!(%error, "metrics not rendered");
            String::new()
        })
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// What routes take their series from.
pub(super) struct Families {
    pub(super) refreshes: IntCounterVec,
    pub(super) refresh_seconds: HistogramVec,
    pub(super) expires: GaugeVec,
    pub(super) issued: GaugeVec,
    pub(super) refresh_ends: GaugeVec,
    pub(super) oldest_live_expires: GaugeVec,
    pub(super) credentials: IntGaugeVec,
    pub(super) sessions: IntGaugeVec,
    pub(super) session_seconds: CounterVec,
    pub(super) closed: IntCounterVec,
    pub(super) reauthentications: IntCounterVec,
    pub(super) gap_seconds: HistogramVec,
    pub(super) messages: IntCounterVec,
    pub(super) bytes: IntCounterVec,
    pub(super) held: IntCounterVec,
    pub(super) hold_seconds: HistogramVec,
    pub(super) held_bytes: IntGaugeVec,
    pub(super) lost: IntCounterVec,
    pub(super) replayed: IntCounterVec,
    pub(super) overlapped: IntCounterVec,
    pub(super) door: Door,
    pub(super) waiting: Waiting,
    pub(super) oddities: Oddities,
}

/// What is held at this moment, and what may be.
pub(super) struct Waiting {
    pub(super) longest_hold: GaugeVec,
    pub(super) reconnect_limit: GaugeVec,
    pub(super) fullest_queue: GaugeVec,
    pub(super) queue_limit: GaugeVec,
}

impl Waiting {
    fn registered(registry: &Registry) -> Self {
        let gauge = |name, help| add(registry, GaugeVec::new(opts(name, help), &["route"]));
        Self {
            longest_hold: gauge(
                "longest_hold_seconds",
                "How long the session that waits longest has held its client's messages, now.",
            ),
            reconnect_limit: gauge(
                "reconnect_limit_seconds",
                "How long an outage is hidden: a session that holds for longer is closed.",
            ),
            fullest_queue: gauge("fullest_queue_bytes", "Bytes held by the session that holds most, now."),
            queue_limit: gauge(
                "queue_limit_bytes",
                "Bytes that one session may hold in one direction; then its peer is made to wait.",
            ),
        }
    }
}

/// Who came, and what became of it.
pub(super) struct Door {
    pub(super) http_requests: IntCounterVec,
    pub(super) handshakes: IntCounterVec,
    pub(super) upstream_connections: IntCounterVec,
}

impl Door {
    fn registered(registry: &Registry) -> Self {
        let counter =
            |name, help, labels: &[&str]| add(registry, IntCounterVec::new(opts(name, help), labels));
        Self {
            http_requests: counter(
                "http_requests_total",
                "Requests that were no WebSocket and were answered, by the class of the status.",
                &["route", "code"],
            ),
            handshakes: counter(
                "handshakes_total",
                "Handshakes of clients, by what became of them; the route is empty if none has their path.",
                &["route", "outcome"],
            ),
            upstream_connections: counter(
                "upstream_connections_total",
                "Dials of the service, by why it was dialled and what it came to.",
                &["route", "purpose", "outcome"],
            ),
        }
    }
}

/// What peers said that nobody should.
pub(super) struct Oddities {
    pub(super) wrong_close_codes: IntCounterVec,
    pub(super) frames_unread: IntCounterVec,
    pub(super) acknowledgements_unasked: IntCounterVec,
    pub(super) returns_ambiguous: IntCounterVec,
}

impl Oddities {
    fn registered(registry: &Registry) -> Self {
        let counter =
            |name, help, labels: &[&str]| add(registry, IntCounterVec::new(opts(name, help), labels));
        Self {
            wrong_close_codes: counter(
                "wrong_close_codes_total",
                "Closes of clients with a code that no Close may carry (RFC 6455 7.4).",
                &["route"],
            ),
            frames_unread: counter(
                "frames_unread_total",
                "Messages that the route's dialect could not read.",
                &["route", "direction"],
            ),
            returns_ambiguous: counter(
                "returns_ambiguous_total",
                "Clients that may have come back to one of several sessions on one token: none is handed over.",
                &["route"],
            ),
            acknowledgements_unasked: counter(
                "acknowledgements_unasked_total",
                "Acknowledgements of the service that nobody waited for; the client does not get them.",
                &["route"],
            ),
        }
    }
}

impl Families {
    fn registered(registry: &Registry) -> Self {
        let counter =
            |name, help, labels: &[&str]| add(registry, IntCounterVec::new(opts(name, help), labels));
        let gauge = |name, help, labels: &[&str]| add(registry, IntGaugeVec::new(opts(name, help), labels));
        let of_route = |name, help| add(registry, GaugeVec::new(opts(name, help), &["route"]));
        let histogram = |name, help: &str, labels: &[&str]| {
            let opts = HistogramOpts::new(name, help).namespace(NAMESPACE).buckets(SECONDS.to_vec());
            add(registry, HistogramVec::new(opts, labels))
        };
        let session_seconds =
            opts("session_seconds_total", "Time that sessions spent in each state, in seconds.");
        Self {
            refreshes: counter(
                "token_refreshes_total",
                "Tokens fetched, by how it came out and why it was done.",
                &["route", "outcome", "trigger"],
            ),
            refresh_seconds: histogram(
                "token_refresh_duration_seconds",
                "How long a refresh took, by its part.",
                &["route", "phase"],
            ),
            expires: of_route(
                "token_expiration_timestamp_seconds",
                "When the token closest to expiry ends, in seconds since the Unix epoch; 0: there is none.",
            ),
            issued: of_route(
                "token_issued_timestamp_seconds",
                "When the token closest to expiry was issued, in seconds since the Unix epoch; 0: there is none.",
            ),
            refresh_ends: of_route(
                "refresh_token_expiration_timestamp_seconds",
                "When the refresh token closest to its end ends, if the server said it; 0: nothing is known.",
            ),
            oldest_live_expires: of_route(
                "oldest_live_token_expiration_timestamp_seconds",
                "The earliest expiry of all tokens that live upstreams were last authenticated with; 0: there is none.",
            ),
            credentials: gauge("credentials", "Credentials, by state.", &["route", "state"]),
            sessions: gauge("sessions", "Sessions, by state.", &["route", "state"]),
            session_seconds: add(registry, CounterVec::new(session_seconds, &["route", "state"])),
            closed: counter(
                "sessions_closed_total",
                "Sessions that ended, by reason; token_expired is the one that must stay 0.",
                &["route", "reason"],
            ),
            reauthentications: counter(
                "reauthentications_total",
                "Sessions brought to a new token, by method and by how it came out.",
                &["route", "method", "outcome"],
            ),
            gap_seconds: histogram(
                "upstream_gap_seconds",
                "From losing an upstream to relaying again.",
                &["route"],
            ),
            messages: counter("messages_total", "Messages passed on.", &["route", "direction"]),
            bytes: counter(
                "bytes_total",
                "Bytes of the frames that came in, with their headers and with control frames.",
                &["route", "direction"],
            ),
            held: counter("messages_held_total", "Messages that had to wait.", &["route", "direction"]),
            hold_seconds: histogram("hold_seconds", "How long messages waited.", &["route", "direction"]),
            held_bytes: gauge("held_bytes", "Bytes of messages that wait now.", &["route", "direction"]),
            lost: counter(
                "messages_lost_total",
                "Messages that were lost, or may have been.",
                &["route", "direction", "reason"],
            ),
            replayed: counter("messages_replayed_total", "Messages sent again after a loss.", &["route"]),
            overlapped: counter(
                "messages_overlapped_total",
                "Messages of a new connection kept until the old one had ended.",
                &["route"],
            ),
            door: Door::registered(registry),
            waiting: Waiting::registered(registry),
            oddities: Oddities::registered(registry),
        }
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

/// `process_*`, as every client library names them.
#[cfg(target_os = "linux")]
fn process(registry: &Registry) {
    let collector = prometheus::process_collector::ProcessCollector::for_self();
    if let Err(error) = registry.register(Box::new(collector)) {
        tracing::warn!(%error, "process metrics are not available");
    }
}

#[expect(
    clippy::expect_used,
    reason = "names and labels are constants of this file, and a test makes them all"
)]
fn add<C: Collector + Clone + 'static>(registry: &Registry, family: prometheus::Result<C>) -> C {
    let family = family.expect("a well-formed name");
    registry.register(Box::new(family.clone())).expect("a name of its own");
    family
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{
        CloseReason, CodeClass, CredentialState, DialPurpose, Dialled, Direction, Fetched, Handshake,
        LossReason, Method, Outcome, Phase, SessionState, Trigger,
    };

    fn metrics() -> Metrics {
        Metrics::new(&["a".to_owned(), "b".to_owned()])
    }

    fn has(text: &str, line: &str) -> bool {
        text.lines().any(|l| l == line)
    }

    #[test]
    fn every_series_stands_at_zero_from_the_start() {
        let text = metrics().render();
        let of_a: Vec<_> = text.lines().filter(|line| line.contains("route=\"a\"")).collect();
        for line in &of_a {
            assert!(line.starts_with("perennial_") && line.ends_with(" 0"), "{line}");
        }
        let ways = Method::ALL.len() * Outcome::ALL.len();
        let refreshes = Fetched::ALL.len() * Trigger::ALL.len();
        let states = SessionState::ALL.len() * 2 + CredentialState::ALL.len();
        let directions = Direction::ALL.len() * (5 + LossReason::ALL.len());
        // A histogram has a line for each bucket, one for +Inf, a sum and a count.
        let histograms = (Phase::ALL.len() + 1 + Direction::ALL.len()) * (SECONDS.len() + 3);
        let dials = DialPurpose::ALL.len() * Dialled::ALL.len();
        let single = 4 + 3 + 6 + CodeClass::ALL.len() + Handshake::ALL.len();
        let want =
            ways + dials + refreshes + states + directions + histograms + single + CloseReason::ALL.len();
        assert_eq!(of_a.len(), want, "{text}");
        for line in [
            "perennial_sessions_closed_total{reason=\"token_expired\",route=\"a\"} 0",
            "perennial_token_refreshes_total{outcome=\"rejected\",route=\"b\",trigger=\"hint\"} 0",
            "perennial_session_seconds_total{route=\"a\",state=\"live\"} 0",
            "perennial_oldest_live_token_expiration_timestamp_seconds{route=\"a\"} 0",
            "perennial_config_last_reload_successful 1",
            "perennial_store_up 1",
            "perennial_log_lines_dropped_total 0",
            concat!("perennial_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "# TYPE perennial_upstream_gap_seconds histogram",
        ] {
            assert!(has(&text, line), "{line} is not in\n{text}");
        }
        #[cfg(target_os = "linux")]
        assert!(text.contains("\nprocess_open_fds "), "{text}");
    }

    #[test]
    fn what_is_counted_shows_where_it_belongs() {
        let metrics = metrics();
        let route = metrics.route("a");
        route.refreshed(Fetched::Ok, Trigger::Start);
        route.refresh_took(Phase::Exchange, Duration::from_millis(100));
        route.set_token(Some(Duration::from_millis(1_500)), Some(Duration::from_secs(3_600)));
        route.session_entered(SessionState::Opening);
        route.session_moved(SessionState::Opening, SessionState::Live, Duration::from_millis(250));
        route.session_closed(CloseReason::Drain);
        route.reauthenticated(Method::Resume, Outcome::Failed);
        route.relayed(Direction::Up, 3);
        route.took(Direction::Up, 300);
        route.hold(Direction::Up, 10);
        route.hold(Direction::Up, 5);
        route.release(Direction::Up, 10, Duration::from_secs(1));
        route.lost(Direction::Down, LossReason::Unacknowledged, 2);
        route.set_credentials(CredentialState::Valid, 1);
        [200, 204, 299, 301, 404, 502].into_iter().for_each(|status| route.http_answered(status));
        metrics.not_configured();
        [3, 3, 5].into_iter().for_each(|total| metrics.set_log_lines_dropped(total));
        metrics.set_clock(Duration::from_millis(2_500));
        route.set_waiting(Some(Duration::from_millis(1_500)), 7);
        route.set_limits(Duration::from_secs(60), 1 << 20);
        metrics.set_store_up(false);
        let text = metrics.render();
        for line in [
            "perennial_token_refreshes_total{outcome=\"ok\",route=\"a\",trigger=\"start\"} 1",
            "perennial_token_refresh_duration_seconds_bucket{phase=\"exchange\",route=\"a\",le=\"0.1\"} 1",
            "perennial_token_refresh_duration_seconds_bucket{phase=\"exchange\",route=\"a\",le=\"0.075\"} 0",
            "perennial_token_issued_timestamp_seconds{route=\"a\"} 1.5",
            "perennial_token_expiration_timestamp_seconds{route=\"a\"} 3600",
            "perennial_sessions{route=\"a\",state=\"opening\"} 0",
            "perennial_sessions{route=\"a\",state=\"live\"} 1",
            "perennial_session_seconds_total{route=\"a\",state=\"opening\"} 0.25",
            "perennial_sessions_closed_total{reason=\"drain\",route=\"a\"} 1",
            "perennial_reauthentications_total{method=\"resume\",outcome=\"failed\",route=\"a\"} 1",
            "perennial_messages_total{direction=\"up\",route=\"a\"} 3",
            "perennial_bytes_total{direction=\"up\",route=\"a\"} 300",
            "perennial_messages_held_total{direction=\"up\",route=\"a\"} 2",
            "perennial_held_bytes{direction=\"up\",route=\"a\"} 5",
            "perennial_hold_seconds_count{direction=\"up\",route=\"a\"} 1",
            "perennial_messages_lost_total{direction=\"down\",reason=\"unacknowledged\",route=\"a\"} 2",
            "perennial_credentials{route=\"a\",state=\"valid\"} 1",
            "perennial_http_requests_total{code=\"1xx\",route=\"a\"} 0",
            "perennial_http_requests_total{code=\"2xx\",route=\"a\"} 3",
            "perennial_http_requests_total{code=\"3xx\",route=\"a\"} 1",
            "perennial_http_requests_total{code=\"4xx\",route=\"a\"} 1",
            "perennial_http_requests_total{code=\"5xx\",route=\"a\"} 1",
            "perennial_config_last_reload_successful 0",
            "perennial_store_up 0",
            "perennial_clock_time_seconds 2.5",
            "perennial_log_lines_dropped_total 5",
            "perennial_longest_hold_seconds{route=\"a\"} 1.5",
            "perennial_fullest_queue_bytes{route=\"a\"} 7",
            "perennial_reconnect_limit_seconds{route=\"a\"} 60",
            "perennial_queue_limit_bytes{route=\"a\"} 1048576",
        ] {
            assert!(has(&text, line), "{line} is not in\n{text}");
        }
        assert_eq!(route.sessions(SessionState::Live), 1);
    }

    #[test]
    fn a_route_is_made_once_and_a_new_one_when_asked_for() {
        let metrics = metrics();
        assert!(Arc::ptr_eq(&metrics.route("a"), &metrics.route("a")));
        assert!(!metrics.render().contains("route=\"new\""));
        metrics.route("new");
        assert!(metrics.render().contains("perennial_messages_replayed_total{route=\"new\"} 0"));
    }

    #[test]
    fn a_variant_is_its_index() {
        assert!(SessionState::ALL.iter().enumerate().all(|(nth, state)| *state as usize == nth));
        assert!(CloseReason::ALL.iter().enumerate().all(|(nth, cause)| *cause as usize == nth));
        assert_eq!(CloseReason::TokenExpired.to_string(), "token_expired");
    }
}
