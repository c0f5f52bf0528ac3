//! A sidecar, the line behind it, and a service at the far end, in each dialect.

use perennial::demo::service::{Key, Options, Service, ServiceHandle};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    ably_client::{Client, Dial, Format},
    peers,
    sidecar::Sidecar,
    support::{
        self, beside,
        http::{ask, handshake},
        ws::Wire,
    },
    wire_proxy::{Conditions, WireProxy},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    None,
    Handshake,
    Ably,
}

pub const DIALECTS: [Dialect; 3] = [Dialect::None, Dialect::Handshake, Dialect::Ably];

impl Dialect {
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
        match self.dialect {
            Dialect::None | Dialect::Handshake => beside(peers::idle(open(self.sidecar.port).await)),
            Dialect::Ably => {
                let client = self.ably_client("idle").await;
                beside(async move {
                    let gone = |seen: &crate::ably_client::Seen| seen.ended.is_some();
                    client.whenever(gone).await;
                })
            }
        }
    }

    /// An Ably client that is attached to a channel of its name.
    pub async fn ably_client(&self, name: &str) -> Client {
        ably_client(self.sidecar.port, name).await
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
