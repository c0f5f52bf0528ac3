//! Asks a running sidecar: what `perennial probe`, `status`, `sessions`, `close`, `reload` and `rehearse` know comes from here.
//!
//! 1. One request, one deadline over all of it, a limit for the answer.
//! 2. Who answers may be anybody: an answer is bytes until it was read, and an error quotes nothing of it.
//! 3. An error names the address and the way out.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, header};

use crate::{
    clock,
    config::{Endpoint, ListenAddress, Secret, SecretError, UpstreamTls},
    net::{DialError, Dialer, http as net},
};

/// The largest answer: a snapshot of a hundred routes is a twentieth of it, a list of 10,000 sessions a quarter.
const LARGEST: usize = 8 << 20;
/// From the name lookup to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The same if something is to be done first: a reload reads files, and binds addresses.
const PATIENCE: Duration = Duration::from_secs(18);
/// Where a sidecar is that says nothing else.
const PORT: u16 = 7371;
/// Says that an operator asks, and no web page: a page cannot send it without being allowed to.
const OPERATOR: HeaderName = HeaderName::from_static(super::operator::OPERATOR);

/// Where the admin server of a sidecar is. Port 0 is none that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    Host(String, u16),
    Socket(PathBuf),
}

impl AdminAddress {
    /// The one that a server which listens here answers on: one that listens everywhere answers on loopback.
    pub fn of_listener(address: &ListenAddress) -> Self {
        match address {
            ListenAddress::Tcp(address) => Self::of_tcp(*address),
            ListenAddress::Unix(path) => Self::Socket(path.clone()),
        }
    }

    fn of_tcp(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            other @ (IpAddr::V4(_) | IpAddr::V6(_)) => other.to_canonical(),
        };
        Self::Host(ip.to_string(), address.port())
    }

    /// Is it on this machine?
    fn is_here(&self) -> bool {
        match self {
            Self::Host(..) => super::operator::is_loopback(&self.to_string()),
            Self::Socket(_) => true,
        }
    }
}

impl Default for AdminAddress {
    fn default() -> Self {
        Self::Host(Ipv4Addr::LOCALHOST.to_string(), PORT)
    }
}

/// `HOST:PORT`, an IPv6 address in brackets, or `unix:PATH`; the URL of the status page means the same.
impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("unix:") {
            return text.parse().map(|address| Self::of_listener(&address));
        }
        let expected = || "expected HOST:PORT, such as 127.0.0.1:7371, or unix:PATH".to_owned();
        let bare = text.strip_prefix("http://").map_or(text, |rest| rest.strip_suffix('/').unwrap_or(rest));
        let (host, port) = bare.rsplit_once(':').ok_or_else(expected)?;
        let port: u16 = port.parse().map_err(|_| expected())?;
        if port == 0 {
            return Err(
                "port 0 is none that can be asked; the log line `listening` names the port".to_owned()
            );
        }
        match url::Host::parse(host).map_err(|_| expected())? {
            url::Host::Domain(name) => Ok(Self::Host(name, port)),
            url::Host::Ipv4(ip) => Ok(Self::of_tcp((ip, port).into())),
            url::Host::Ipv6(ip) => Ok(Self::of_tcp((ip, port).into())),
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// At most 8 MiB, from anyone who listens there.
    pub body: Bytes,
}

impl Answer {
    /// The first line of a text; it may hold anything.
    pub fn first_line(&self) -> String {
        String::from_utf8_lossy(&self.body).lines().next().unwrap_or_default().to_owned()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "port 0 is none that can be asked: name the one of the log line `listening` with --admin HOST:PORT"
    )]
    NoPort,
    #[error("nothing listens on {0}; is perennial running? --admin HOST:PORT names another address")]
    Nobody(AdminAddress),
    #[error("{address} cannot be reached: {cause}; --admin HOST:PORT names another address")]
    Unreachable { address: AdminAddress, cause: io::Error },
    #[error(
        "{address} gives no whole answer within {} s; is it perennial that listens there? --admin HOST:PORT names \
         another address",
        within.as_secs()
    )]
    Late { address: AdminAddress, within: Duration },
    #[error(
        "{address} answers, but not as perennial does ({cause}); --admin HOST:PORT names another address"
    )]
    NotOurs { address: AdminAddress, cause: String },
    #[error("the operator's secret: {0}; --secret-file FILE names another")]
    NoSecret(#[from] SecretError),
}

/// Asks one sidecar.
#[derive(Debug, Clone)]
pub struct AdminClient {
    address: AdminAddress,
    secret: Option<Secret>,
    timeout: Duration,
}

impl AdminClient {
    /// Asks the sidecar that is there; nothing is dialled yet.
    pub fn new(address: AdminAddress) -> Self {
        Self { address, secret: None, timeout: TIMEOUT }
    }

    /// Shows this if it asks as an operator; `None`: what it showed before.
    pub fn with_secret(self, secret: Option<Secret>) -> Self {
        Self { secret: secret.or(self.secret), ..self }
    }

    /// Waits for longer.
    pub fn patient(self) -> Self {
        Self { timeout: PATIENCE, ..self }
    }

    /// Whom it asks.
    pub fn address(&self) -> &AdminAddress {
        &self.address
    }

    /// GETs a path.
    pub async fn get(&self, target: &str) -> Result<Answer, ClientError> {
        self.ask(Method::GET, target, false).await
    }

    /// GETs a path, as an operator.
    pub async fn list(&self, target: &str) -> Result<Answer, ClientError> {
        self.ask(Method::GET, target, true).await
    }

    /// POSTs to a path, as an operator.
    pub async fn post(&self, target: &str) -> Result<Answer, ClientError> {
        self.ask(Method::POST, target, true).await
    }

    /// That it answers, but not as perennial does.
    pub fn not_ours(&self, cause: impl Into<String>) -> ClientError {
        ClientError::NotOurs { address: self.address.clone(), cause: cause.into() }
    }

    async fn ask(&self, method: Method, target: &str, operator: bool) -> Result<Answer, ClientError> {
        let (host, port, socket) = match self.address.clone() {
            AdminAddress::Host(_, 0) => return Err(ClientError::NoPort),
            AdminAddress::Host(host, port) => (host, port, None),
            AdminAddress::Socket(path) => ("localhost".to_owned(), 80, Some(path)),
        };
        let endpoint = Endpoint { tls: false, host, port, path_and_query: target.to_owned() };
        let dialer =
            Dialer::new(&endpoint, &UpstreamTls::default()).map_err(|e| self.not_ours(e.to_string()))?;
        let dialer = match &socket {
            Some(path) => dialer.by_socket(path),
            None => dialer,
        };
        let request = Request::builder()
            .method(&method)
            .uri(target)
            .header(header::ACCEPT, "application/json, text/plain;q=0.5");
        let request = match method {
            // RFC 9110 §8.6: a POST says that it has no body.
            Method::POST => request.header(header::CONTENT_LENGTH, HeaderValue::from_static("0")),
            _ => request,
        };
        let request =
            if operator { request.header(OPERATOR, HeaderValue::from_static("yes")) } else { request };
        let secret = if operator { self.shown()? } else { None };
        let request = match secret {
            Some(secret) => request.header(header::AUTHORIZATION, secret),
            None => request,
        };
        let request = request.body(Bytes::new()).map_err(|e| self.not_ours(e.to_string()))?;
        let deadline = clock::now() + self.timeout;
        let answer = net::request(&dialer, request, LARGEST, deadline).await.map_err(|e| self.failed(e))?;
        Ok(Answer { status: answer.status().as_u16(), body: answer.into_body() })
    }

    /// What proves the operator. It does not leave the machine: no other takes an action from here.
    fn shown(&self) -> Result<Option<Vec<u8>>, SecretError> {
        let secret = self.secret.as_ref().filter(|_| self.address.is_here());
        secret.map(|secret| Ok(format!("Bearer {}", &*secret.reveal()?).into_bytes())).transpose()
    }

    fn failed(&self, error: net::HttpError) -> ClientError {
        let address = self.address.clone();
        match error {
            net::HttpError::Dial(DialError { cause, .. }) => {
                if matches!(cause.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
                    && self.address.is_here()
                {
                    ClientError::Nobody(address)
                } else if cause.kind() == io::ErrorKind::TimedOut {
                    ClientError::Late { address, within: self.timeout }
                } else {
                    ClientError::Unreachable { address, cause }
                }
            }
            net::HttpError::Late => ClientError::Late { address, within: self.timeout },
            net::HttpError::Exchange { cause, .. } => self.not_ours(cause),
            net::HttpError::TooLarge { limit } => {
                self.not_ours(format!("what it says is larger than {} MiB", limit >> 20))
            }
        }
    }
}

#[cfg(test)]
mod tests;
