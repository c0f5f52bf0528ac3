//! A service and a sidecar in this process, on real sockets.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use perennial::{
    app::App,
    config::Config,
    demo::service::{Counts, Faults, Options, Service, ServiceHandle, Target},
};
use serde_json::Value as Json;
use tokio::{net::TcpListener, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Client, Dial, Format, PATIENCE};

/// The service, and the sidecar before it.
pub struct World {
    pub service: ServiceHandle,
    pub app: App,
    /// How many numbers the service published, by channel.
    said: Mutex<BTreeMap<String, u64>>,
}

/// Tokens that outlive any test, and a strict service.
pub fn long_lived() -> Options {
    Options { basic: true, token_lifetime: Duration::from_secs(3600), ..Options::default() }
}

/// Tokens of this life, that the service asks for only when it is almost too late.
pub fn short_lived(lifetime: Duration) -> Options {
    Options { token_lifetime: lifetime, hint_before: Duration::from_millis(50), ..long_lived() }
}

impl World {
    /// With tokens from the service's own endpoint, and these lines under `[route.session]`.
    pub async fn start(options: Options, session: &str) -> Self {
        Self::start_with(options, "", session).await
    }

    /// The same, with more lines under `[route.token]`.
    pub async fn start_with(options: Options, token: &str, session: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = Service::start(listener, options, &CancellationToken::new()).unwrap();
        let at = service.address();
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
             [limits]\ndrain = \"200ms\"\n[[route]]\nupstream = \"ws://{at}\"\ndialect = \"ably\"\n\
             [route.token]\nsource = \"http\"\nurl = \"http://{at}/token\"\n{token}\n\
             [route.session]\n{session}\n"
        );
        let config = Config::parse(&text, "test.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        let app = App::start(&config).await.unwrap();
        Self { service, app, said: Mutex::default() }
    }

    /// How a client of this name reaches the sidecar.
    pub fn dial(&self, format: Format, name: &str) -> Dial {
        Dial::new(self.app.address(), format, name)
    }

    /// A client that is connected through the sidecar.
    pub async fn client(&self, format: Format, name: &str) -> Client {
        Client::connect(self.dial(format, name)).await
    }

    /// A client straight at the service, to see what others see.
    pub async fn witness(&self) -> Client {
        let dial = Dial::new(self.service.address(), Format::Json, "witness");
        Client::connect(dial.without("accessToken").with("key", &self.service.key().expose())).await
    }

    pub fn counts(&self) -> Counts {
        self.service.ledger().counts()
    }

    pub fn faults(&self) -> Faults {
        self.service.faults()
    }

    /// Waits until the service has counted so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Counts) -> bool) {
        let come = self.service.ledger().until(PATIENCE, |record| is_so(&record.counts)).await;
        assert!(come, "waited for: {what}\n{:?}", self.counts());
    }

    /// The service publishes the next so many numbers on a channel.
    pub fn speak(&self, channel: &str, count: u64) {
        let mut said = self.said.lock().unwrap();
        let next = said.entry(channel.to_owned()).or_default();
        for _ in 0..count {
            self.service.publish(channel, "service", Json::from(*next));
            *next += 1;
        }
    }

    /// Both talk on a channel until the service has counted so.
    pub async fn talk_until(&self, client: &Client, channel: &str, is_so: impl Fn(&Counts) -> bool) {
        let talking = async {
            let mut pause = tokio::time::interval(Duration::from_millis(5));
            pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !is_so(&self.counts()) {
                pause.tick().await;
                client.publish(channel).await;
                self.speak(channel, 1);
            }
        };
        let done = tokio::time::timeout(PATIENCE, talking).await;
        assert!(done.is_ok(), "{:?}\n{}", self.counts(), client.seen(super::Seen::story));
    }

    /// Waits for what is on its way on a channel, and fails if anything was lost, doubled or reordered
    /// in either direction, or if the client noticed anything.
    pub async fn whole(&self, client: &Client, channel: &str) {
        client.settled().await;
        let said = self.said.lock().unwrap().get(channel).copied().unwrap_or(0);
        client.heard(channel, said).await;
        let published = client.seen(|seen| seen.published(channel));
        let taken = self.service.ledger().read(|record| {
            let own = record.published.iter().filter(|p| p.channel == channel && p.name == client.dial.name);
            own.map(|p| p.data["n"].as_u64().unwrap_or_else(|| p.data.as_u64().unwrap())).collect::<Vec<_>>()
        });
        assert_eq!(
            taken,
            (0..published).collect::<Vec<_>>(),
            "{}: lost, doubled or reordered",
            client.dial.name
        );
        client.calm();
    }

    /// Has the sidecar's session exchange its token, by asking for it as the service may, and waits until
    /// the answer has come: a key that is lost on its way is a key that nobody can resume with.
    pub async fn exchange(&self) {
        let exchanged =
            "perennial_reauthentications_total{method=\"exchange\",outcome=\"ok\",route=\"ably\"}";
        let before = self.metric(exchanged);
        self.faults().hint(&Target::All);
        self.until_metric(exchanged, before + 1.0).await;
    }

    /// Ends the upstream of everybody by a reset, and waits until all of them are served again.
    pub async fn reset(&self) {
        let back = "perennial_upstream_gap_seconds_count{route=\"ably\"}";
        let want = self.metric(back) + self.live() as f64;
        self.faults().reset();
        self.until_metric(back, want).await;
    }

    /// Waits until a series has come so far.
    pub async fn until_metric(&self, series: &str, least: f64) {
        let looking = async {
            let mut look = tokio::time::interval(Duration::from_millis(2));
            while self.metric(series) < least {
                look.tick().await;
            }
        };
        let come = tokio::time::timeout(PATIENCE, looking).await;
        assert!(come.is_ok(), "{series} is not {least}: {}\n{:?}", self.metric(series), self.counts());
    }

    /// How many sessions the sidecar has.
    fn live(&self) -> u64 {
        self.metric("perennial_sessions{route=\"ably\",state=\"live\"}") as u64
    }

    /// Takes the service away: connections are reset, handshakes refused until `faults().clear()`.
    pub async fn away(&self) {
        let before = self.counts().refused;
        self.faults().refuse_handshakes(100_000, 503);
        self.faults().reset();
        self.until("the sidecar was refused", |counts| counts.refused > before).await;
    }

    /// One series of `/metrics`, by its name and labels as they stand there.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.app.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not in\n{text}")).parse().unwrap()
    }

    /// Sessions that were closed, whatever for.
    pub fn sessions_closed(&self) -> f64 {
        let text = self.app.metrics();
        let closed = text.lines().filter(|line| line.starts_with("perennial_sessions_closed_total{"));
        closed.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The generation of the token that is current.
    pub fn generation(&self) -> u64 {
        let current = self.app.credential("ably").unwrap().current();
        current.map_or(0, |token| token.generation.0)
    }

    /// The end of a test: the service saw nothing that no client may send, and everything stops.
    pub async fn end(self) {
        assert_eq!(self.service.ledger().violations(), Vec::<String>::new());
        self.app.stop().await;
        self.service.stop().await;
    }
}
