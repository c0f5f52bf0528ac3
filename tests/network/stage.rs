//! The real proxy between simulated clients and services.
//!
//! ```text
//!   client ─ tcp ─► converse ─► driver ─► Dialer ─► Fabric ─ tcp ─► service
//!            └── its cable                          └── its cable
//! ```

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use perennial::{
    clock::{self, Instant},
    config::{Config, UpstreamTls},
    credential::{Begin, Credential, Fetch, Observer, Source, Spec, Supply},
    net::{Dialer, Stream},
    proxy::{Proxy, RouteContext, Tokens, converse},
    telemetry::{Direction, Metrics, RouteMetrics},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    fabric::Fabric,
    peer::Peer,
    support::{beside, http::handshake, ws::Wire},
    tcp::{Cable, Terms, connection},
};

/// `TCP_USER_TIMEOUT` of the proxy's sockets to clients.
const PATIENCE: Duration = Duration::from_secs(30);

/// Every dialect that the proxy has.
pub const DIALECTS: [&str; 3] = ["none", "handshake", "ably"];

/// A proxy with one route.
pub struct Stage {
    pub fabric: Arc<Fabric>,
    pub context: Arc<RouteContext>,
    pub dialect: &'static str,
    pub began: Instant,
    pub metrics: Arc<RouteMetrics>,
    current: Arc<ArcSwap<Proxy>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    clients: AtomicUsize,
}

/// Refreshes are not counted here.
struct Unseen;

impl Observer for Unseen {
    fn refreshed(&self, _: &Fetch<'_>) {}
    fn current(&self, _: Duration, _: Option<Duration>) {}
}

impl Stage {
    /// A route of this dialect, with lines for `[route.session]`, to services at the end of such ways.
    pub fn set(dialect: &'static str, session: &str, terms: Terms) -> Self {
        let token = match dialect {
            "none" => "",
            "handshake" => {
                "[route.handshake]\nquery = \"token\"\n[route.token]\nsource = \"static\"\ntoken = \"T0\"\n"
            }
            _ => "[route.token]\nsource = \"static\"\ntoken = \"T0\"\n",
        };
        let text = format!(
            "[[route]]\nname = \"sim\"\nupstream = \"ws://service.test\"\ndialect = \"{dialect}\"\n\
             {token}[route.session]\n{session}\n"
        );
        let config = Config::parse(&text, "test.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        let route = Arc::clone(&config.routes[0]);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let fabric = Fabric::new(terms);
        let metrics = Metrics::new(&["sim".to_owned()]).route("sim");
        let tokens = match &route.token {
            None => Tokens::None,
            Some(token) => Tokens::Route(Credential::spawn(
                Spec {
                    route: "sim".to_owned(),
                    identity: String::new(),
                    begin: Begin::Fetch,
                    supply: Supply::Source(Arc::new(Source::new(&token.source).unwrap())),
                    policy: token.refresh.clone(),
                    seed: 1,
                    observer: Arc::new(Unseen),
                    journal: None,
                },
                &tasks,
                stop.clone(),
            )),
        };
        let dialer = Dialer::new(&route.upstream.endpoint, &UpstreamTls::default()).unwrap();
        let dialer = dialer.over(Arc::clone(&fabric) as _);
        let bounds = (config.limits.message, 1000);
        let context = Arc::new(RouteContext::new(route, dialer, tokens, Arc::clone(&metrics), bounds));
        let proxy = Proxy {
            limits: config.limits,
            routes: vec![Arc::clone(&context)],
            open: true,
            sessions: Arc::default(),
            requests: Arc::default(),
            tasks: tasks.clone(),
            tls: None,
        };
        let current = Arc::new(ArcSwap::from_pointee(proxy));
        let (began, clients) = (clock::now(), AtomicUsize::new(0));
        Self { fabric, context, dialect, began, metrics, current, tasks, stop, clients }
    }

    /// A client's handshake; its end of the connection once the proxy has answered 101.
    pub async fn client(&self, terms: Terms) -> (Peer, Cable) {
        self.client_at(terms, "/?format=json&v=3&heartbeats=false").await.unwrap()
    }

    /// The same at a target; or the status that it was refused with, 0 if none came.
    pub async fn client_at(&self, terms: Terms, target: &str) -> Result<(Peer, Cable), u16> {
        let (near, far, cable) = connection(terms);
        let stream = Stream::Other(Box::new(near.with_patience(PATIENCE)));
        let number = self.clients.fetch_add(1, Ordering::Relaxed) as u16;
        let peer = SocketAddr::from(([127, 0, 0, 1], number + 1));
        let (current, stop) = (Arc::clone(&self.current), self.stop.clone());
        let serving = self.tasks.clone();
        beside(serving.track_future(async move {
            let _ = converse(stream, peer, current, stop).await;
        }));
        let mut wire = Wire::new(far);
        wire.send(handshake(target, "")).await;
        match wire.head().await.status() {
            101 => Ok((Peer::client(wire), cable)),
            other => Err(other),
        }
    }

    /// The service's end of the next connection, after the proxy was let in.
    pub async fn service(&self) -> (Peer, Cable) {
        let (end, cable) = self.fabric.accept().await;
        let (_, mut service) = Peer::service(Wire::new(end)).await;
        if self.dialect == "ably" {
            service.text(CONNECTED);
        }
        (service, cable)
    }

    /// A session that stands: its client and its service, each with the way to it.
    pub async fn session(&self, terms: Terms) -> (Peer, Cable, Peer, Cable) {
        let ((mut client, near), (mut service, far)) = tokio::join!(self.client(terms), self.service());
        if self.dialect == "ably" {
            let (_, connected) = tokio::join!(service.flush(), client.next());
            assert!(connected.is_some_and(|frame| frame.text().contains("\"action\":4")));
        }
        (client, near, service, far)
    }

    /// How long the session has been going on.
    pub fn elapsed(&self) -> Duration {
        clock::now() - self.began
    }

    /// Messages that were counted as possibly lost, both ways.
    pub fn lost(&self) -> u64 {
        self.metrics.counts().lost(Direction::Up) + self.metrics.counts().lost(Direction::Down)
    }

    /// Fails if the driver was asked without end at one moment: time would stand still.
    pub fn is_calm(&self, seed: &str) {
        for cable in self.fabric.cables() {
            assert!(!cable.spun(), "{seed}: the driver turns in circles, and the clock stands still");
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What an Ably service greets with.
const CONNECTED: &str = r#"{"action":4,"connectionId":"c1","connectionDetails":{"connectionKey":"c1!k-1","maxIdleInterval":15000,"maxMessageSize":65536,"maxInboundRate":1000}}"#;
