//! The one dialer, for upstreams and token endpoints alike.
//!
//! ```text
//!   directly? ──► resolve ──► race of the addresses ──► TLS ──► Stream        which address first, which last: `addresses`
//!       └──► or through a proxy (`egress`) ─────────────┘
//!   └───────────────── one deadline ──────────────────────────┘
//! ```
//!
//! If a stream turns out to lead nowhere, its user says so ([`Dialer::blame`]), and the next dial begins elsewhere.

use std::{fmt, io, net::SocketAddr, path::Path, pin::Pin, sync::Arc, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpStream, UnixStream},
    time,
};

use super::{
    Egress, Stream, TlsError,
    addresses::{Blamed, race},
    resolve::resolve,
    stream::Io,
    tls::{ClientTls, Leg},
};
use crate::{
    clock::{self, Instant},
    config::{Endpoint, UpstreamTls},
};

/// Silence after which the kernel asks whether the peer is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Where connections come from if not from the system: a network made up for a test.
pub trait Network: Send + Sync {
    /// Looks the name up and connects, as the system's resolver and sockets do together.
    fn dial(&self, host: Arc<str>, port: u16) -> Dialled;
}

/// A connection that is being made.
pub type Dialled = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// Connects to one endpoint.
#[derive(Clone)]
pub struct Dialer {
    host: Arc<str>,
    port: u16,
    tls: Option<Leg>,
    egress: Egress,
    network: Option<Arc<dyn Network>>,
    /// A Unix socket to connect to, whatever host is named.
    socket: Option<Arc<Path>>,
    blamed: Blamed,
    #[cfg(test)]
    known: Option<Known>,
}

/// What a test has the name resolve to.
#[cfg(test)]
type Known = Arc<dyn Fn() -> Vec<std::net::IpAddr> + Send + Sync>;

impl Dialer {
    /// Reads the certificates that the endpoint needs; they are read again when they change.
    pub fn new(endpoint: &Endpoint, tls: &UpstreamTls) -> Result<Self, TlsError> {
        let tls = if endpoint.tls {
            let files = Arc::new(ClientTls::load(endpoint.authority(), tls, clock::now())?);
            Some(Leg::new(&endpoint.host, files, tls)?)
        } else {
            None
        };
        let (host, port) = (endpoint.host.as_str().into(), endpoint.port);
        Ok(Self {
            host,
            port,
            tls,
            egress: Egress::default(),
            network: None,
            socket: None,
            blamed: Blamed::default(),
            #[cfg(test)]
            known: None,
        })
    }

    /// The same for another host, with the certificates that were read, by the same `tls`.
    pub fn at(&self, host: &str, port: u16, tls: &UpstreamTls) -> Result<Self, TlsError> {
        let tls = self.tls.as_ref().map(|own| own.at(host, tls)).transpose()?;
        Ok(Self { host: host.into(), port, tls, ..self.clone() })
    }

    /// The same by this way out. Without it a dialer dials directly.
    #[must_use]
    pub fn by(self, egress: &Egress) -> Self {
        Self { egress: egress.clone(), ..self }
    }

    /// The same by a Unix socket of this machine. The host is the one that is asked for, and the one that TLS verifies.
    #[must_use]
    pub fn by_socket(self, path: &Path) -> Self {
        Self { socket: Some(path.into()), ..self }
    }

    /// The same over another network, without TLS.
    #[must_use]
    pub fn over(self, network: Arc<dyn Network>) -> Self {
        Self { network: Some(network), tls: None, ..self }
    }

    /// The same, whose host has these addresses.
    #[cfg(test)]
    #[must_use]
    pub(super) fn known_at(self, known: impl Fn() -> Vec<std::net::IpAddr> + Send + Sync + 'static) -> Self {
        Self { known: Some(Arc::new(known)), ..self }
    }

    /// The same for a peer that does not speak HTTP: the TLS handshake proposes no protocol (ALPN, RFC 7301).
    #[must_use]
    pub fn without_http(mut self) -> Self {
        if let Some(tls) = &mut self.tls {
            tls.http = false;
        }
        self
    }

    /// What `Host` says: with brackets around an IPv6 address, without the scheme's own port.
    pub fn authority(&self) -> String {
        let usual = if self.tls.is_some() { 443 } else { 80 };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_string() };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    /// The name that the peer's certificate has to have; `None` without TLS.
    pub fn server_name(&self) -> Option<std::borrow::Cow<'_, str>> {
        self.tls.as_ref().map(|tls| tls.name().to_str())
    }

    /// When the certificate that is shown to the peer ends, since the Unix epoch; `None`: none is shown.
    pub fn certificate_ends(&self) -> Option<Duration> {
        self.tls.as_ref()?.files().ends(clock::now())
    }

    /// A new connection, TLS included, or why there is none by `deadline`.
    pub async fn connect(&self, deadline: Instant) -> Result<Stream, DialError> {
        if let Some(network) = &self.network {
            let made = within(deadline, network.dial(Arc::clone(&self.host), self.port)).await;
            return made.map(Stream::Other).map_err(|cause| self.failed(Stage::Connect, cause));
        }
        let way = self.egress.through(self.tls.is_some(), &self.host, self.port);
        let stream = match (&self.socket, way) {
            (Some(path), _) => {
                connect_unix(path, deadline).await.map_err(|cause| self.failed(Stage::Connect, cause))?
            }
            (None, Ok(proxy)) => proxy.tunnel(self, (&self.host, self.port), deadline).await?,
            (None, Err(_)) => {
                let tcp = self.tcp(&self.host, self.port, deadline).await;
                Stream::Plain(tcp.map_err(|(stage, cause)| self.failed(stage, cause))?)
            }
        };
        let Some(tls) = &self.tls else { return Ok(stream) };
        let peer = stream.peer();
        tls.handshake(stream, deadline).await.map_err(|cause| {
            self.blame(peer);
            self.failed(Stage::Tls, cause)
        })
    }

    /// A TCP connection to a host, or how far it came.
    pub(super) async fn tcp(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<TcpStream, (Stage, io::Error)> {
        let addresses = within(deadline, self.addresses(host)).await;
        let mut addresses = addresses.map_err(|cause| (Stage::Resolve, cause))?.to_vec();
        addresses.iter_mut().for_each(|address| address.set_port(port));
        let turns = self.blamed.turns(&addresses, clock::now());
        let tcp = within(deadline, race(turns, TcpStream::connect)).await;
        tcp.and_then(tuned).map_err(|cause| (Stage::Connect, cause))
    }

    /// The addresses of a host, with port 0.
    async fn addresses(&self, host: &str) -> io::Result<Arc<[SocketAddr]>> {
        #[cfg(test)]
        if let Some(known) = &self.known
            && *host == *self.host
        {
            return Ok(known().into_iter().map(|ip| SocketAddr::new(ip, 0)).collect());
        }
        resolve(host).await
    }

    /// The peer at this address took a connection and then did not serve, as [`Stream::peer`] names it: for a minute
    /// it is dialled last.
    pub fn blame(&self, peer: Option<SocketAddr>) {
        if let Some(address) = peer {
            self.blamed.add(address, clock::now());
        }
    }

    fn failed(&self, stage: Stage, cause: io::Error) -> DialError {
        DialError { stage, host: self.host.clone(), port: self.port, cause }
    }
}

/// A new connection to a Unix socket of this machine.
pub async fn connect_unix(path: &Path, deadline: Instant) -> io::Result<Stream> {
    within(deadline, UnixStream::connect(path)).await.map(|stream| Stream::Other(Box::new(stream)))
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialer({}:{}, tls: {})", self.host, self.port, self.tls.is_some())
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("{stage} {host}:{port}: {cause}")]
pub struct DialError {
    pub stage: Stage,
    pub host: Arc<str>,
    pub port: u16,
    pub cause: io::Error,
}

impl DialError {
    /// Was there no answer in time?
    pub fn is_late(&self) -> bool {
        self.cause.kind() == io::ErrorKind::TimedOut
    }
}

/// How far a dial came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Resolve,
    Connect,
    /// The proxy between us and the host: how far it came there is in the cause.
    Proxy,
    Tls,
}

impl Stage {
    /// One word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect to",
            Self::Proxy => "proxy",
            Self::Tls => "TLS with",
        })
    }
}

/// With what every socket of ours has: no delay, and an end for a peer that vanished while nothing is said.
fn tuned(tcp: TcpStream) -> io::Result<TcpStream> {
    tcp.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(&tcp).set_tcp_keepalive(&keepalive)?;
    Ok(tcp)
}

/// What is done by `deadline`.
pub(super) async fn within<T>(deadline: Instant, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match time::timeout_at(deadline, work).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "not done in time")),
    }
}

#[cfg(test)]
mod tests;
