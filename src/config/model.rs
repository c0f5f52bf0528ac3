//! The configuration as meant: types that cannot be wrong.
//!
//! Nothing here is optional that "must be there at run time"; whoever holds a value of these types
//! never checks it again. How they come from the file is `raw`'s business.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use super::{Secret, Template};

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: Listen,
    pub admin: Admin,
    pub limits: Limits,
    /// Longest path first, so that the first match is the one that counts.
    pub routes: Vec<Arc<Route>>,
}

/// Where clients connect.
#[derive(Debug, Clone)]
pub struct Listen {
    pub address: SocketAddr,
    pub tls: Option<ListenTls>,
    /// Said aloud: anyone who reaches the port may use the credentials behind it.
    pub open: bool,
}

/// TLS on the listener; the files are read again when they change.
#[derive(Debug, Clone)]
pub struct ListenTls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Present: a client must show a certificate signed by this authority.
    pub client_ca: Option<PathBuf>,
}

/// Where an operator looks.
#[derive(Debug, Clone)]
pub struct Admin {
    pub address: SocketAddr,
}

/// What bounds the whole process.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sessions at once; beyond it a handshake gets 503.
    pub sessions: usize,
    /// The largest message relayed, in bytes.
    pub message: usize,
    /// From the accepted socket to the answered handshake.
    pub handshake: Duration,
    /// How long sessions may take to end after SIGTERM.
    pub drain: Duration,
}

/// A path prefix on the listener, with its upstream, its dialect and its token.
#[derive(Debug, Clone)]
pub struct Route {
    pub name: String,
    pub path: String,
    pub upstream: Upstream,
    pub dialect: DialectKind,
    pub token: Option<TokenConfig>,
    pub client: ClientGate,
    pub handshake: Placement,
    pub session: SessionPolicy,
}

/// An address that is dialled: scheme, host, port, and a path put before the client's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub tls: bool,
    /// Without brackets, also where it is an IPv6 address.
    pub host: String,
    pub port: u16,
    /// Path and query as written; "/" where the URL had none.
    pub path_and_query: String,
}

/// The service behind a route, and how its leg is secured.
#[derive(Debug, Clone)]
pub struct Upstream {
    pub endpoint: Endpoint,
    pub tls: UpstreamTls,
}

/// TLS of an outgoing connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// Roots in place of the system's.
    pub ca: Option<PathBuf>,
    /// A client certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that is asked for and verified, where it is not the URL's host.
    pub server_name: Option<String>,
}

/// How a service speaks of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialectKind {
    /// No dialect: a plain WebSocket reverse proxy.
    None,
    /// Ably's realtime protocol, version 2 and later.
    Ably,
}

/// Where tokens come from, and when they are fetched anew.
#[derive(Debug, Clone)]
pub struct TokenConfig {
    pub source: SourceConfig,
    pub refresh: RefreshPolicy,
}

/// When a credential is refreshed.
#[derive(Debug, Clone)]
pub struct RefreshPolicy {
    /// Margin before expiry; `None`: a quarter of the lifetime, and 30 s at least where it lives 2 min or more.
    pub refresh_before: Option<Duration>,
    /// How often the wall clock is looked at.
    pub check_every: Duration,
    /// Assumed where neither the answer nor the token tells.
    pub lifetime: Option<Duration>,
    /// Of one fetch.
    pub timeout: Duration,
}

/// A source and what it needs.
#[derive(Debug, Clone)]
pub enum SourceConfig {
    Http(Box<HttpSource>),
    AblyKey(Box<AblyKeySource>),
    Static { token: Secret },
    File { path: PathBuf },
}

/// `source = "http"`.
#[derive(Debug, Clone)]
pub struct HttpSource {
    pub endpoint: Endpoint,
    pub tls: UpstreamTls,
    pub method: http::Method,
    pub headers: Vec<(http::HeaderName, Template)>,
    pub body: HttpBody,
    /// Where an Ably TokenRequest is exchanged for a token.
    pub exchange: Endpoint,
}

/// The body of a token request.
#[derive(Debug, Clone)]
pub enum HttpBody {
    None,
    /// `application/json`.
    Json(serde_json::Value),
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(String, Template)>),
    Text(Template),
}

/// `source = "ably-key"`: the JWT is minted here, without a network call.
#[derive(Debug, Clone)]
pub struct AblyKeySource {
    /// `appId.keyId:secret`.
    pub key: Secret,
    pub ttl: Duration,
    /// JSON text; `{"*":["*"]}` where the file says nothing.
    pub capability: String,
    pub client_id: Option<String>,
}

/// Who is let in.
#[derive(Debug, Clone, Default)]
pub struct ClientGate {
    /// Origins of browsers, as `scheme://host[:port]`; empty: same origin only.
    pub origins: Vec<String>,
    /// What a client must present, in `Authorization: Bearer`, `X-Perennial-Secret` or the query `secret`.
    pub secret: Option<Secret>,
}

/// Where the upstream takes the token. All empty: where the dialect, or the client, puts it.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    pub query: Option<String>,
    pub header: Option<(http::HeaderName, Template)>,
    pub subprotocol: Option<Template>,
    pub cookie: Option<String>,
}

/// What one session may hold, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct SessionPolicy {
    /// Bytes held for one session in each direction.
    pub queue: usize,
    /// How long an exchange may take before it is given up and the connection resumed.
    pub hold: Duration,
    /// How long an upstream outage is hidden.
    pub reconnect: Duration,
    /// Silence of a leg after which it is pinged; after one and a half times as long the upstream counts as lost.
    pub keepalive: Duration,
}
