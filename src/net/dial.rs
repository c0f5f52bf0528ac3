//! The one dialer, for upstreams and token endpoints alike.
//!
//! ```text
//!   resolve ──► connect (every address, a quarter of a second apart) ──► TLS ──► Stream
//!   └───────────────────────────── one deadline ──────────────────────────────┘
//! ```

use std::{fmt, io, net::SocketAddr, path::Path, pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time,
};
use tokio_rustls::{TlsConnector, client};

use super::{
    Stream, TlsError,
    resolve::resolve,
    stream::Io,
    tls::{self, ClientTls},
};
use crate::{
    clock::{self, Instant},
    config::{Endpoint, UpstreamTls},
};

/// How long an address may keep silent before the next one is tried beside it (RFC 8305 §5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// Addresses of one host that are tried; a resolver may answer with hundreds.
const MAX_ADDRESSES: usize = 16;
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
    tls: Option<Tls>,
    network: Option<Arc<dyn Network>>,
    /// A Unix socket to connect to, whatever host is named.
    socket: Option<Arc<Path>>,
}

/// What a handshake needs. Clones of a dialer share the files, and what was made of them.
#[derive(Clone)]
struct Tls {
    name: ServerName<'static>,
    files: Arc<ClientTls>,
    /// Is HTTP what will be spoken?
    http: bool,
}

impl Dialer {
    /// Reads the certificates that the endpoint needs; they are read again when they change.
    pub fn new(endpoint: &Endpoint, tls: &UpstreamTls) -> Result<Self, TlsError> {
        let tls = if endpoint.tls {
            let files = Arc::new(ClientTls::load(endpoint.authority(), tls, clock::now())?);
            Some(Tls { name: certified(&endpoint.host, tls)?, files, http: true })
        } else {
            None
        };
        Ok(Self {
            host: endpoint.host.as_str().into(),
            port: endpoint.port,
            tls,
            network: None,
            socket: None,
        })
    }

    /// The same for another host, with the certificates that were read, by the same `tls`.
    pub fn at(&self, host: &str, port: u16, tls: &UpstreamTls) -> Result<Self, TlsError> {
        let renamed = |own: &Tls| Ok::<_, TlsError>(Tls { name: certified(host, tls)?, ..own.clone() });
        let tls = self.tls.as_ref().map(renamed).transpose()?;
        Ok(Self { host: host.into(), port, tls, network: self.network.clone(), socket: self.socket.clone() })
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
        self.tls.as_ref().map(|tls| tls.name.to_str())
    }

    /// When the certificate that is shown to the peer ends, since the Unix epoch; `None`: none is shown.
    pub fn certificate_ends(&self) -> Option<Duration> {
        self.tls.as_ref()?.files.ends(clock::now())
    }

    /// A new connection, TLS included, or why there is none by `deadline`.
    pub async fn connect(&self, deadline: Instant) -> Result<Stream, DialError> {
        if let Some(network) = &self.network {
            let made = within(deadline, network.dial(Arc::clone(&self.host), self.port)).await;
            return made.map(Stream::Other).map_err(|cause| self.failed(Stage::Connect, cause));
        }
        if let Some(path) = &self.socket {
            let unix = within(deadline, UnixStream::connect(path)).await;
            let unix = unix.map_err(|cause| self.failed(Stage::Connect, cause))?;
            return match &self.tls {
                None => Ok(Stream::Other(Box::new(unix))),
                Some(tls) => Ok(Stream::Other(Box::new(self.secured(tls, unix, deadline).await?))),
            };
        }
        let addresses = within(deadline, resolve(&self.host))
            .await
            .map_err(|cause| self.failed(Stage::Resolve, cause))?;
        let mut addresses: Vec<_> = addresses.iter().copied().take(MAX_ADDRESSES).collect();
        addresses.iter_mut().for_each(|address| address.set_port(self.port));
        let tcp =
            within(deadline, first(addresses)).await.map_err(|cause| self.failed(Stage::Connect, cause))?;
        tune(&tcp).map_err(|cause| self.failed(Stage::Connect, cause))?;
        match &self.tls {
            None => Ok(Stream::Plain(tcp)),
            Some(tls) => Ok(Stream::TlsClient(Box::new(self.secured(tls, tcp, deadline).await?))),
        }
    }

    async fn secured<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        Tls { name, files, http }: &Tls,
        stream: S,
        deadline: Instant,
    ) -> Result<client::TlsStream<S>, DialError> {
        let connector = TlsConnector::from(files.current(clock::now()));
        let protocols = if *http { vec![tls::HTTP.to_vec()] } else { Vec::new() };
        let handshake = connector.with_alpn(protocols).connect(name.clone(), stream);
        within(deadline, handshake).await.map_err(|cause| self.failed(Stage::Tls, cause))
    }

    fn failed(&self, stage: Stage, cause: io::Error) -> DialError {
        DialError { stage, host: self.host.clone(), port: self.port, cause }
    }
}

/// A new connection to a Unix socket of this machine.
pub async fn connect_unix(path: &Path, deadline: Instant) -> io::Result<Stream> {
    within(deadline, UnixStream::connect(path)).await.map(|stream| Stream::Other(Box::new(stream)))
}

/// The name that the certificate of this host has to have.
fn certified(host: &str, tls: &UpstreamTls) -> Result<ServerName<'static>, TlsError> {
    let name = tls.server_name.as_deref().unwrap_or(host);
    ServerName::try_from(name.to_owned())
        .map_err(|_| rustls::Error::General(format!("`{name}` is no name a certificate can have")).into())
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
    Tls,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect to",
            Self::Tls => "TLS with",
        })
    }
}

/// Sets what every socket of ours has: no delay, and an end for a peer that vanished while nothing is said.
fn tune(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL))
}

/// The first address that answers. A black hole in front of the list costs a quarter of a second.
async fn first(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut left = addresses.into_iter();
    let mut trying = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        match left.next() {
            Some(address) => trying.push(TcpStream::connect(address)),
            None if trying.is_empty() => return Err(last),
            None => {}
        }
        let answered = if left.len() == 0 {
            trying.next().await
        } else {
            // Nobody has answered yet: another address gets its turn beside this one.
            let Ok(answered) = time::timeout(NEXT_ADDRESS, trying.next()).await else { continue };
            answered
        };
        match answered {
            Some(Ok(tcp)) => return Ok(tcp),
            Some(Err(cause)) => last = cause,
            None => {}
        }
    }
}

async fn within<T>(deadline: Instant, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match time::timeout_at(deadline, work).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "not done in time")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn endpoint(host: &str, port: u16, tls: bool) -> Endpoint {
        Endpoint { tls, host: host.to_owned(), port, path_and_query: "/".to_owned() }
    }

    fn dialer(host: &str, port: u16) -> Dialer {
        Dialer::new(&endpoint(host, port, false), &UpstreamTls::default()).unwrap()
    }

    fn soon() -> Instant {
        clock::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn a_connection_is_tuned() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = dialer("127.0.0.1", port).connect(soon()).await.unwrap();
        let tcp = stream.tcp().unwrap();
        assert!(tcp.nodelay().unwrap());
        assert!(SockRef::from(tcp).keepalive().unwrap());
    }

    #[tokio::test]
    async fn a_dead_address_does_not_hide_a_living_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dead = {
            let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
            gone.local_addr().unwrap()
        };
        first(vec![dead, listener.local_addr().unwrap()]).await.unwrap();
    }

    #[tokio::test]
    async fn a_refusal_names_stage_and_host() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let error = dialer("127.0.0.1", port).connect(soon()).await.unwrap_err();
        assert_eq!(error.stage, Stage::Connect);
        assert!(error.to_string().starts_with(&format!("connect to 127.0.0.1:{port}: ")), "{error}");
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_said() {
        let error = dialer("nowhere.invalid", 80).connect(soon()).await.unwrap_err();
        assert_eq!(error.stage, Stage::Resolve);
    }

    #[tokio::test]
    async fn a_silent_tls_peer_meets_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let tls = UpstreamTls { ca: Some(ca), ..UpstreamTls::default() };
        let dialer = Dialer::new(&endpoint("127.0.0.1", port, true), &tls).unwrap();
        let error = dialer.connect(clock::now() + Duration::from_millis(50)).await.unwrap_err();
        assert_eq!((error.stage, error.cause.kind()), (Stage::Tls, io::ErrorKind::TimedOut));
        drop(listener);
    }

    #[test]
    fn another_host_has_to_have_its_own_name_or_the_one_that_is_set() {
        let named = |server_name: Option<&str>| {
            let dir = tempfile::tempdir().unwrap();
            let ca = dir.path().join("ca.pem");
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            std::fs::write(&ca, made.cert.pem()).unwrap();
            let tls =
                UpstreamTls { ca: Some(ca), server_name: server_name.map(str::to_owned), identity: None };
            let one = Dialer::new(&endpoint("one", 1, true), &tls).unwrap();
            assert!(server_name.is_some() || one.at("no name", 2, &tls).is_err());
            let other = one.at("10.0.0.2", 2, &tls).unwrap();
            (other.authority(), other.server_name().unwrap().into_owned())
        };
        assert_eq!(named(None), ("10.0.0.2:2".to_owned(), "10.0.0.2".to_owned()));
        assert_eq!(named(Some("set")), ("10.0.0.2:2".to_owned(), "set".to_owned()));
        let plain = dialer("one", 1).at("no name", 2, &UpstreamTls::default()).unwrap();
        assert_eq!((plain.authority().as_str(), plain.server_name()), ("no name:2", None));
    }

    #[test]
    fn the_authority_is_what_host_says() {
        assert_eq!(dialer("::1", 7370).authority(), "[::1]:7370");
        assert_eq!(dialer("example.com", 80).authority(), "example.com");
    }
}
