//! The stage: the job service, a sidecar before it, and clients of jobs of their own.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::oneshot;

use crate::{
    jobs::{Client, Job, JobService, Kind, Ledger, Options, Ready, Report, Scenario, Seen, Work},
    sidecar::Sidecar,
};

/// How long a test waits where the point is that nothing happens.
pub const MOMENT: Duration = Duration::from_millis(300);

/// What a token lives for, where a test does not say otherwise. It is renewed after 2.2 to 2.4 s of it.
pub const LIFETIME: Duration = Duration::from_secs(3);

/// A sidecar and the service behind it.
pub struct Stage {
    pub service: JobService,
    pub sidecar: Sidecar,
}

/// What a stage is made with.
#[derive(Clone)]
pub struct Plan {
    pub options: Options,
    /// What is left of a token that is renewed; `None`: a part of the service's window.
    pub margin: Option<Duration>,
    /// Where tokens are renewed, where that is not the service's own port.
    pub renewed_at: Option<u16>,
    /// How long the sidecar takes a superseded token; the service has a grace of its own.
    pub grace: Duration,
    /// Keys of `[route.session]`.
    pub session: &'static str,
    /// Tables that stand before the route.
    pub before: String,
    /// Tables that follow.
    pub more: &'static str,
}

impl Default for Plan {
    fn default() -> Self {
        let options = Options { lifetime: LIFETIME, ..Options::default() };
        let (margin, renewed_at) = (None, None);
        Self {
            options,
            margin,
            renewed_at,
            grace: options.grace,
            session: "",
            before: String::new(),
            more: "",
        }
    }
}

impl Plan {
    pub fn configuration(&self, port: u16) -> String {
        let Self { options, margin, renewed_at, grace, session, before, more } = self;
        // The service renews nothing that has more left than its window. It began to count a moment later than the
        // sidecar, which reckons from its request: a part of the window is for that.
        let margin = margin.unwrap_or(options.window * 4 / 5).as_millis();
        let renewed_at = renewed_at.unwrap_or(port);
        let (lifetime, grace) = (options.lifetime.as_millis(), grace.as_millis());
        format!(
            r#"{before}
            [[route]]
            name = "jobs"
            upstream = "ws://127.0.0.1:{port}"
            dialect = "handshake"
            [route.token]
            source = "http"
            url = "http://127.0.0.1:{renewed_at}/token/refresh"
            json = {{ jobId = "{{query.jobId}}", oldToken = "{{token}}" }}
            share = "client"
            lifetime = "{lifetime}ms"
            refresh_before = "{margin}ms"
            check_every = "500ms"
            [route.client]
            token = {{ query = "token", subprotocol = "bookstrack-auth." }}
            grace = "{grace}ms"
            revoke_for = "1m"
            [route.http]
            upstream = "http://127.0.0.1:{port}"
            [route.session]
            {session}
            {more}"#
        )
    }
}

impl Stage {
    pub async fn set(plan: Plan) -> Self {
        let service = JobService::start(plan.options).await;
        let sidecar = Sidecar::start(&plan.configuration(service.port)).await;
        Self { service, sidecar }
    }

    /// Clients of these kinds, each with a job of its own.
    pub async fn run(&self, kinds: &[Kind], shape: impl Fn(Scenario) -> Scenario) -> Vec<Run> {
        let shape = &shape;
        let ready = join_all(kinds.iter().map(|_| Ready::start())).await;
        let runs = kinds.iter().zip(ready).map(|(kind, ready)| async move {
            let job = self.service.job().await;
            let scenario = shape(Scenario::new(*kind, vec![job.client(self.sidecar.port, ALICE)]));
            self.seen(job, ready.run(scenario).await).await
        });
        join_all(runs).await
    }

    /// A client with a job of its own, until something has happened to the job.
    pub async fn run_until<T>(
        &self,
        shape: impl Fn(Scenario) -> Scenario,
        happens: impl AsyncFnOnce(&Job) -> T,
    ) -> Run {
        let ready = Ready::start().await;
        let job = self.service.job().await;
        let scenario = Scenario::new(Kind::Ws, vec![job.client(self.sidecar.port, ALICE)]);
        let (stop, stopped) = oneshot::channel();
        let scenario = shape(Scenario { seconds: 60.0, settle: 1.0, ..scenario });
        let (report, ()) = tokio::join!(ready.run_until(scenario, stopped), async {
            happens(&job).await;
            stop.send(()).expect("the client still runs");
        });
        self.seen(job, report).await
    }

    /// What both sides saw, once the service has seen the end.
    pub async fn seen(&self, job: Job, mut report: Report) -> Run {
        let over = |ledger: &Ledger| ledger.clients.get(ALICE).is_none_or(|seen| seen.open() == 0);
        let ledger = self.service.until(&job, over).await;
        Run { job, client: report.clients.remove(0), ledger }
    }

    /// One series of the sidecar's, without its route.
    pub async fn metric(&self, name: &str, labels: &str) -> f64 {
        let (before, after) = labels.split_once('|').unwrap_or((labels, ""));
        let labels: Vec<_> =
            [before, "route=\"jobs\"", after].into_iter().filter(|label| !label.is_empty()).collect();
        self.sidecar.metric(&format!("perennial_{name}{{{}}}", labels.join(","))).await
    }

    /// Messages that were, or may have been, lost.
    pub async fn lost(&self, direction: &str, reason: &str) -> f64 {
        self.metric("messages_lost_total", &format!("direction=\"{direction}\",reason=\"{reason}\"")).await
    }

    /// No message of any client was lost, for any reason that there is.
    pub async fn assert_none_lost(&self) {
        let (_, page) = self.sidecar.ask("/metrics").await;
        let series: Vec<_> =
            page.lines().filter(|line| line.starts_with("perennial_messages_lost_total{")).collect();
        assert!(!series.is_empty() && series.iter().all(|line| line.ends_with(" 0")), "{series:#?}");
    }

    /// No client was ever told that a token had ended. The sidecar's log.
    pub async fn stop(self) -> String {
        let expired = self.metric("sessions_closed_total", "reason=\"token_expired\"").await;
        self.service.stop().await;
        let log = self.sidecar.stop().await;
        assert_eq!(expired, 0.0, "{log}");
        log
    }
}

pub const ALICE: &str = "alice";

/// A client that has run, and what both sides saw of it.
pub struct Run {
    pub job: Job,
    pub client: Client,
    pub ledger: Ledger,
}

impl Run {
    pub fn seen(&self) -> &Seen {
        self.ledger.client(ALICE)
    }

    /// The service had nothing to object to, took every message once and in order, and renewed the token so many
    /// times at least, each time once. Each connection was made with the next token.
    pub fn assert_served(&self, rotations: usize) {
        let (seen, done) = (self.seen(), self.ledger.rotations());
        assert_eq!(seen.work, Work::all(self.client.sent), "{:#?}", self.ledger);
        assert!(seen.refused.is_empty() && self.ledger.expired() == 0, "{:#?}", self.ledger);
        let made: Vec<usize> = (0..seen.connections.len()).collect();
        // The last swap may not have come before the end.
        let moved = seen.connections.len();
        assert!(done >= rotations && (moved == done || moved == done + 1), "{:#?}", self.ledger);
        assert_eq!(seen.tokens(), made, "{:#?}", self.ledger);
    }

    /// Nobody noticed anything.
    pub fn assert_unnoticed(&self, rotations: usize) {
        self.client.assert_untouched();
        self.assert_served(rotations);
    }
}
