//! A sidecar, the line behind it, and a service at the far end, in each dialect.

use std::time::Duration;

use futures_util::future::join_all;
use perennial::{
    clock::Instant,
    demo::service::{Key, Options, Service, ServiceHandle},
};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    ably_client::{Client, Dial, Format},
    far::peers,
    sidecar::Sidecar,
    support::{
        self, beside,
        http::{ask, handshake},
        ws::Wire,
    },
    wire_proxy::{Conditions, Seen, WireProxy},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    None,
    Handshake,
    Ably,
}

pub const DIALECTS: [Dialect; 3] = [Dialect::None, Dialect::Handshake, Dialect::Ably];

impl Dialect {
    /// Its default.
    pub fn keepalive(self) -> Duration {
        match self {
            Self::None | Self::Handshake => Duration::from_secs(10),
            Self::Ably => Duration::from_secs(5),
        }
    }

    /// A route with everything at its default.
    pub fn route(self, upstream: &str) -> String {
        let rest = match self {
            Self::None => "dialect = \"none\"\n".to_owned(),
            Self::Handshake => {
                "dialect = \"handshake\"\n[route.token]\nsource = \"static\"\ntoken = \"T-1\"\n\
                 lifetime = \"1h\"\n[route.handshake]\nheader = \"Authorization: Bearer {token}\"\n"
                    .to_owned()
            }
            Self::Ably => format!(
                "dialect = \"ably\"\n[route.token]\nsource = \"ably-key\"\nkey = \"{}\"\nttl = \"1h\"\n",
                Key::demo().expose()
            ),
        };
        format!("[[route]]\nname = \"far\"\nupstream = \"ws://{upstream}\"\n{rest}")
    }

    /// A service of this dialect that behaves.
    pub async fn service(self) -> u16 {
        match self {
            Self::None | Self::Handshake => peers::answering(support::service::Service::start().await),
            Self::Ably => ably(TcpListener::bind("127.0.0.1:0").await.unwrap()).address().port(),
        }
    }
}

/// The embedded service, until the test ends.
pub fn ably(listener: TcpListener) -> ServiceHandle {
    Service::start(listener, Options::default(), &CancellationToken::new()).unwrap()
}

/// A sidecar and the line to its service.
pub struct Stage {
    pub dialect: Dialect,
    pub proxy: WireProxy,
    pub sidecar: Sidecar,
}

impl Stage {
    /// With a service that behaves.
    pub async fn set(dialect: Dialect, conditions: Conditions) -> Self {
        Self::before(dialect, dialect.service().await, conditions).await
    }

    /// With the service on this port.
    pub async fn before(dialect: Dialect, service: u16, conditions: Conditions) -> Self {
        let proxy = WireProxy::start(service, conditions);
        let sidecar = Sidecar::start(&dialect.route(&format!("127.0.0.1:{}", proxy.port))).await;
        Self { dialect, proxy, sidecar }
    }

    /// A client that has connected and says nothing; it ends when its connection does.
    pub async fn idle(&self) -> JoinHandle<()> {
        self.client(None).await
    }

    /// The same; it sends a message each time that so much has passed.
    pub async fn client(&self, every: Option<Duration>) -> JoinHandle<()> {
        match self.dialect {
            Dialect::None | Dialect::Handshake => beside(peers::client(open(self.sidecar.port).await, every)),
            Dialect::Ably => {
                beside(peers::ably_client(ably_client(self.sidecar.port, "client").await, every))
            }
        }
    }

    /// Waits until the sidecar has found that its service is gone: it dials again, or closes the client if the
    /// dialect can restore nothing. How long that took; it fails after `within`.
    pub async fn found(&self, client: JoinHandle<()>, began: Instant, within: Duration) -> Duration {
        let dialect = self.dialect;
        let finding = async {
            match dialect {
                Dialect::None => client.await.unwrap(),
                Dialect::Handshake | Dialect::Ably => {
                    self.proxy.whenever(|seen| seen.connections() == 2).await
                }
            }
        };
        let found = timeout(within, finding).await.is_ok();
        assert!(found, "{dialect:?}: not found within {within:?}\n{}", self.proxy.seen(Seen::tail));
        began.elapsed()
    }
}

/// A WebSocket through a sidecar on this port.
pub async fn open(port: u16) -> Wire {
    let (answer, wire) = ask(port, handshake("/", "")).await;
    assert_eq!(answer.status(), 101, "{answer:?}");
    wire
}

/// An Ably client that is attached to a channel of its name.
pub async fn ably_client(port: u16, name: &str) -> Client {
    let client = Client::connect(Dial::new(([127, 0, 0, 1], port).into(), Format::Json, name)).await;
    client.attach(name).await;
    client
}

/// Runs cases side by side, each to its end; then fails if one has failed.
pub fn all<F: Future<Output = ()> + Send + 'static>(
    cases: impl Iterator<Item = F>,
) -> impl Future<Output = ()> {
    let running: Vec<_> = cases.map(beside).collect();
    async {
        let failed = join_all(running).await.iter().filter(|case| case.is_err()).count();
        assert_eq!(failed, 0, "so many cases have failed; each of them says why");
    }
}
