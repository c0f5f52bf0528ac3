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
    config::{Config, Listen, Share, StateConfig, TokenConfig, UpstreamTls},
    credential::{self, Begin, Clients, Common, Credential, Fetch, Observer, Source, Spec, Store, Supply},
    net::{Dialer, Egress, Stream},
    proxy::{Bounds, Hall, Proxy, RouteContext, Tokens, converse},
    telemetry::{Direction, Metrics, RouteMetrics},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    fabric::Fabric,
    peer::Peer,
    support::{beside, http::handshake, ws::Wire},
    tcp::{Cable, Terms, connection},
};

/// Every dialect that the proxy has.
pub const DIALECTS: [&str; 3] = ["none", "handshake", "ably"];

/// A dialect that is declared: the service keeps what a client says first, and answers it; then the old connection
/// serves on for a while.
pub const RESTORING: &str = "restoring";
const RULES: &str = "[[dialect.restoring.frame]]\nmatch = { \"/restore\" = { exists = true } }\nreplay = true\n\
                     answer = { \"/restored\" = { exists = true } }\n[dialect.restoring.swap]\nsettle = \"200ms\"\n\
                     timeout = \"10s\"\n";
/// What its clients say first, and the service's answer.
pub const RESTORE: &str = "{\"restore\":1}";
pub const RESTORED: &str = "{\"restored\":1}";

/// A proxy with one route.
pub struct Stage {
    pub fabric: Arc<Fabric>,
    pub context: Arc<RouteContext>,
    pub dialect: &'static str,
    target: &'static str,
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
    fn current(&self, _: &credential::Token) {}
}

impl Stage {
    /// A route of this dialect, with lines for `[route.session]`, to services at the end of such ways.
    pub fn set(dialect: &'static str, session: &str, terms: Terms) -> Self {
        let token = "[route.token]\nsource = \"static\"\ntoken = \"T0\"\n";
        let tables = match dialect {
            "none" => String::new(),
            "handshake" | RESTORING => format!("{token}[route.handshake]\nquery = \"token\"\n"),
            _ => token.to_owned(),
        };
        Self::of(dialect, &format!("{tables}[route.session]\n{session}\n"), "/?format=json&v=3", terms)
    }

    /// The client speaks Ably's binary format.
    pub fn in_msgpack(mut self) -> Self {
        self.target = "/?format=msgpack&v=3";
        self
    }

    /// A route of handshakes whose clients have tokens of their own, and a minute to come back.
    pub fn parking(terms: Terms) -> Self {
        // Nobody asks for another token within an hour.
        let tables = "[route.token]\nsource = \"http\"\nurl = \"http://127.0.0.1:1/\"\nshare = \"client\"\n\
                      lifetime = \"1h\"\n[route.client]\ntoken = { query = \"token\" }\n\
                      [route.session]\npark = \"60s\"\n";
        Self::of("handshake", tables, "/?token=T0", terms)
    }

    fn of(dialect: &'static str, tables: &str, target: &'static str, terms: Terms) -> Self {
        let rules = if dialect == RESTORING { RULES } else { "" };
        let text = format!(
            "[[route]]\nname = \"sim\"\nupstream = \"ws://service.test\"\ndialect = \"{dialect}\"\n{tables}{rules}"
        );
        let config = Config::parse(&text, "test.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        let route = Arc::clone(&config.routes[0]);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let fabric = Fabric::new(terms);
        let all = Metrics::new(&["sim".to_owned()]);
        let (metrics, nowhere) = (all.route("sim"), all.handshakes_nowhere());
        let tokens = route.token.as_ref().map_or(Tokens::None, |token| tokens(token, &tasks, &stop));
        let dialer = Dialer::new(&route.upstream.endpoint, &UpstreamTls::default()).unwrap();
        let dialer = dialer.over(Arc::clone(&fabric) as _);
        let bounds = Bounds { message: config.limits.message, head: config.limits.head, remembered: 1000 };
        let context = RouteContext::new(route, vec![dialer], tokens, Arc::clone(&metrics), bounds);
        let context = Arc::new(context);
        let proxy = Proxy {
            connections: config.limits.sessions,
            hall: Hall::default(),
            limits: config.limits,
            routes: vec![Arc::clone(&context)],
            listen: Listen { open: true, ..config.listen },
            sessions: Arc::default(),
            requests: Arc::default(),
            crowd: Arc::default(),
            nowhere,
            tasks: tasks.clone(),
            tls: None,
        };
        let current = Arc::new(ArcSwap::from_pointee(proxy));
        let (began, clients) = (clock::now(), AtomicUsize::new(0));
        Self { fabric, context, dialect, target, began, metrics, current, tasks, stop, clients }
    }

    /// A client that is let in, and the way to it.
    pub async fn client(&self, terms: Terms) -> (Peer, Cable) {
        let (mut wire, cable) = self.knock(terms).await;
        let head = wire.head().await;
        assert_eq!(head.status(), 101, "setting up: the client is let in");
        (Peer::client(wire), cable)
    }

    /// A client that has asked to be let in.
    pub async fn knock(&self, terms: Terms) -> (Wire, Cable) {
        let (mut wire, cable) = self.connect(terms);
        wire.send(handshake(self.target, "")).await;
        (wire, cable)
    }

    /// A client that has said nothing yet.
    pub fn connect(&self, terms: Terms) -> (Wire, Cable) {
        let (near, far, cable) = connection(terms);
        let stream = Stream::Other(Box::new(near));
        let number = self.clients.fetch_add(1, Ordering::Relaxed) as u16;
        let peer = SocketAddr::from(([127, 0, 0, 1], number + 1));
        let (current, stop) = (Arc::clone(&self.current), self.stop.clone());
        beside(self.tasks.track_future(async move {
            converse(stream, peer.into(), current, stop).await;
        }));
        (Wire::new(far), cable)
    }

    /// From now on nobody is let in.
    pub fn leave(&self) {
        self.stop.cancel();
    }

    /// The service's end of the next connection, after the proxy was let in.
    pub async fn service(&self) -> (Peer, Cable) {
        let (end, cable) = self.fabric.accept().await;
        let (_, mut service) = Peer::service(Wire::new(end)).await.unwrap();
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
pub const CONNECTED: &str = r#"{"action":4,"connectionId":"c1","connectionDetails":{"connectionKey":"c1!k-1","maxIdleInterval":15000,"maxMessageSize":65536,"maxInboundRate":1000}}"#;

/// One token for all clients, or their own.
fn tokens(token: &TokenConfig, tasks: &TaskTracker, stop: &CancellationToken) -> Tokens {
    let source = Arc::new(Source::new(&token.source, &Egress::default()).unwrap());
    if let Share::Client { .. } = token.share {
        let minute = Duration::from_secs(60);
        let terms =
            credential::Terms { source, policy: token.refresh.clone(), grace: minute, revoke_for: minute };
        return Tokens::Clients(Clients::new(Common {
            route: "sim".to_owned(),
            terms: ArcSwap::from_pointee(terms),
            observer: Arc::new(Unseen),
            store: Arc::new(Store::open(&StateConfig::Memory, 64 * 1024, tasks, stop).unwrap()),
            tasks: tasks.clone(),
            stop: stop.clone(),
        }));
    }
    let spec = Spec {
        route: "sim".to_owned(),
        identity: "".into(),
        begin: Begin::Fetch,
        supply: Supply::Source(source),
        policy: token.refresh.clone(),
        seed: 1,
        observer: Arc::new(Unseen),
        journal: None,
    };
    Tokens::Route(Credential::spawn(spec, tasks, stop.clone()))
}
