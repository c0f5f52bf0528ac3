//! The stage: a service, the sidecar and two clients, all in this process and on free ports of
//! loopback, and the facts about them.
//!
//! ```text
//!   client ───────────────────────────► service ◄── GET /token
//!   client ──► sidecar (App::start) ──►    │            │
//!                 └──────────────── its tokens ─────────┘
//! ```
//!
//! Rules: both clients are the same code with the same token; each fact is asked of the one who knows
//! it: the service of its connections and re-authentications, the client of its messages, the sidecar
//! of its exchanges.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use zeroize::Zeroizing;

use super::{
    client::Client,
    place::Place,
    service::{Options, Service, ServiceHandle},
    tally::Tally,
};
use crate::{
    app::App,
    clock::{self, Instant},
    config::Config,
    telemetry::Log,
};

const ROUTE: &str = "ably";
/// The service asks for another token when this part of its life is left: later than Perennial
/// renews it of its own accord.
const HINT: u32 = 8;

/// Everything that runs.
pub(super) struct Stage {
    service: ServiceHandle,
    app: App,
    direct: Client,
    behind: Client,
    lifetime: Duration,
    began: Instant,
    /// The clients leave.
    finish: CancellationToken,
    clients: TaskTracker,
}

/// What is the case at one moment.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) began: Instant,
    pub(super) now: Instant,
    /// How long the service's tokens live.
    pub(super) lifetime: Duration,
    /// Where the sidecar's status page is.
    pub(super) admin: SocketAddr,
    /// The client without the sidecar.
    pub(super) direct: Leg,
    /// The client behind the sidecar.
    pub(super) behind: Leg,
    /// Re-authentications that the service has accepted. Nobody but the sidecar asks for any.
    pub(super) refreshes: u64,
    /// Exchanges that the sidecar has made on live connections, and how long they took together.
    pub(super) exchanges: u64,
    pub(super) exchanging: Duration,
    /// Upstream connections that the sidecar had to make again.
    pub(super) resumes: u64,
    /// Why the sidecar has no newer token, where it should have one.
    pub(super) fetch_error: Option<String>,
    /// Tokens that had ended, and were presented all the same.
    pub(super) dead_tokens: u64,
    /// What no client may send, in the service's eyes.
    pub(super) violations: usize,
}

/// One client, with and without the sidecar.
#[derive(Debug, Clone, Default)]
pub(super) struct Leg {
    pub(super) tally: Tally,
    /// What the service knows of the life of this connection's token; `None` where there is no connection.
    pub(super) token_left: Option<Duration>,
}

impl Stage {
    /// Starts everything, the sidecar's admin server at `admin`; its page shows what there is of this log.
    pub(super) async fn set(lifetime: Duration, admin: SocketAddr, log: Log) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("the service")?;
        let service =
            Service::start(listener, options(lifetime), &CancellationToken::new()).context("the service")?;
        let config = Config::parse(&configuration(service.address(), admin), "the demo's configuration")?;
        let app = App::start_with(&config, log).await.context("the sidecar")?;
        // One literal token for both: only the way differs.
        let literal = service.issue_token(lifetime, Some("*"));
        let stage = Self {
            direct: Client::new("without"),
            behind: Client::new("with"),
            lifetime,
            began: clock::now(),
            finish: CancellationToken::new(),
            clients: TaskTracker::new(),
            service,
            app,
        };
        for (client, address) in
            [(&stage.direct, stage.service.address()), (&stage.behind, stage.app.address())]
        {
            let token = Zeroizing::new(literal.token.clone());
            stage.clients.spawn(client.clone().run(Place::of(address), token, stage.finish.clone()));
        }
        stage.clients.close();
        Ok(stage)
    }

    /// What is the case now.
    pub(super) fn facts(&self) -> Facts {
        let counts = self.service.ledger().counts();
        let metrics = self.app.metrics();
        let seconds = |name| sample(&metrics, name, &["phase=\"exchange\""]);
        let resumes = sample(&metrics, "perennial_reauthentications_total", &["method=\"resume\"", "\"ok\""]);
        let status = self.app.credential(ROUTE).map(|credential| credential.status());
        Facts {
            began: self.began,
            now: clock::now(),
            lifetime: self.lifetime,
            admin: self.app.admin(),
            direct: self.leg(&self.direct),
            behind: self.leg(&self.behind),
            refreshes: counts.auths_accepted,
            exchanges: whole(seconds("perennial_token_refresh_duration_seconds_count")),
            exchanging: Duration::try_from_secs_f64(seconds("perennial_token_refresh_duration_seconds_sum"))
                .unwrap_or_default(),
            resumes: whole(resumes),
            fetch_error: status.and_then(|status| status.last_error.clone()),
            dead_tokens: counts.dead_tokens,
            violations: self.service.ledger().read(|record| record.violations.len()),
        }
    }

    fn leg(&self, client: &Client) -> Leg {
        let tally = client.tally();
        let id = tally.connected.as_ref().map(|(id, _)| id);
        let connection = self.service.connections().into_iter().find(|c| c.live && Some(&c.id) == id);
        Leg { token_left: connection.and_then(|c| c.token_left), tally }
    }

    /// Has the clients leave, and waits until they have left.
    pub(super) async fn finish(&self) {
        self.finish.cancel();
        self.clients.wait().await;
    }

    /// Stops the rest.
    pub(super) async fn strike(self) {
        self.app.stop().await;
        self.service.stop().await;
    }
}

/// What the demo's service is like.
pub(super) fn options(lifetime: Duration) -> Options {
    Options {
        token_lifetime: lifetime,
        hint_before: lifetime / HINT,
        // Or the exchange's latency that is shown would be mostly the service's patience.
        auth_delay: Duration::ZERO,
        ..Options::default()
    }
}

/// A whole configuration: what a user would write, but for the ports.
fn configuration(service: SocketAddr, admin: SocketAddr) -> String {
    format!(
        r#"
[listen]
address = "127.0.0.1:0"
[admin]
address = "{admin}"
[limits]
drain = "0s"

[[route]]
name = "{ROUTE}"
upstream = "ws://{service}"
dialect = "ably"
[route.token]
source = "http"
url = "http://{service}/token"
"#
    )
}

/// The sum of all series of this name that have these labels.
fn sample(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let of_series = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let labelled = series.strip_prefix(name)?.strip_prefix('{')?;
        labels.iter().all(|label| labelled.contains(label)).then(|| value.parse::<f64>().ok())?
    };
    metrics.lines().filter_map(of_series).sum()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count, as Prometheus writes it"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// Facts for the tests: after thirty seconds in which all went as promised.
#[cfg(test)]
pub(super) mod fixture {
    use super::*;
    use crate::demo::tally::{Ended, Reason};

    pub(in super::super) fn facts() -> Facts {
        let began = clock::now();
        let mut tally = Tally::default();
        tally.connected = Some(("id".to_owned(), began));
        let number = tally.send(began);
        tally.acknowledge(number, 1, began);
        tally.echo(number);
        let mut direct = tally.clone();
        let expired = Reason { code: Some(40142), message: "key/token status changed".to_owned() };
        direct.ended = Some(Ended::Dropped(began + Duration::from_secs(10), expired));
        (direct.unsent, direct.asked) = (100, 1);
        Facts {
            began,
            now: began + Duration::from_secs(30),
            lifetime: Duration::from_secs(10),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 7371)),
            direct: Leg { tally: direct, token_left: None },
            behind: Leg { tally, token_left: Some(Duration::from_secs(6)) },
            refreshes: 4,
            exchanges: 4,
            exchanging: Duration::from_millis(44),
            resumes: 0,
            fetch_error: None,
            dead_tokens: 0,
            violations: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_name_and_labels() {
        let metrics = "# TYPE a_count counter\na_count{phase=\"exchange\",route=\"x\"} 3\n\
                       a_count{phase=\"fetch\",route=\"x\"} 5\na_counts{phase=\"exchange\"} 7\n";
        assert_eq!(whole(sample(metrics, "a_count", &["phase=\"exchange\""])), 3);
        assert_eq!(whole(sample(metrics, "a_count", &[])), 8);
        assert_eq!(whole(sample(metrics, "a_coun", &[])), 0);
    }

    #[test]
    fn the_configuration_is_one() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let config = Config::parse(&configuration(address, address), "p").unwrap();
        assert_eq!((config.routes[0].name.as_str(), config.admin.address), (ROUTE, address.into()));
    }
}
