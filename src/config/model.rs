//! The configuration as meant: types that cannot be wrong.
//!
//! Nothing here is optional that "must be there at run time"; anyone who holds a value of these types
//! never checks it again. How they come from the file is the business of their tables. A table that needs
//! no more than to be read is its own type, and stands where it is declared.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    AblyKeySource, Admin, AnswerForm, ClientGate, CloseRule, DialectKind, Egress, ExecSource, ExpandError,
    ForwardedBy, HostSeen, Limits, ListenAddress, Name, Networks, OAuth2Source, Place, Placement, Secret,
    SecretFiles, SecretText, SessionPolicy, Signer, Template,
};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[listen]`.
    pub listen: Listen,
    /// `[admin]`.
    pub admin: Admin,
    /// `[limits]`.
    pub limits: Limits,
    /// `[egress]`.
    pub egress: Egress,
    /// `[state]`.
    pub state: StateConfig,
    /// Longest path first, so that the first match is the one that counts.
    pub routes: Vec<Arc<Route>>,
    /// Where its secrets are kept.
    pub files: SecretFiles,
}

/// Where clients connect.
#[derive(Debug, Clone, PartialEq)]
pub struct Listen {
    /// One or several, each once. Port 0 takes a free one.
    pub addresses: Vec<ListenAddress>,
    /// `None`: plain TCP.
    pub tls: Option<ListenTls>,
    /// Said aloud: anyone who reaches the port may use the credentials behind it.
    pub open: bool,
    /// Whose word about their clients is taken.
    pub trusted_proxies: Networks,
    /// Their connections begin with a header of PROXY protocol.
    pub proxy_protocol: bool,
}

impl Listen {
    /// May anyone who reaches the listener come in: is that said, or does TLS see to it?
    pub fn lets_in(&self) -> bool {
        self.open || self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
    }

    /// Does only this machine reach it?
    pub fn is_loopback(&self) -> bool {
        self.addresses.iter().all(ListenAddress::is_loopback)
    }
}

/// TLS on the listener; the files are read again when they change.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenTls {
    /// The chain in PEM, the listener's own certificate first.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
    /// Present: a client must show a certificate signed by this authority.
    pub client_ca: Option<PathBuf>,
}

/// Where the history of the clients' tokens is kept.
#[derive(Debug, Clone, PartialEq)]
pub enum StateConfig {
    /// For as long as the process lives.
    Memory,
    /// Over its end as well.
    Disk {
        /// The directory.
        path: PathBuf,
        /// Key of names and seals, and the one before it; none: the file has a key of its own.
        secret: Vec<Secret>,
    },
    /// For all sidecars that share it.
    Redis(Box<RedisConfig>),
}

/// `store = "redis"`.
#[derive(Debug, Clone, PartialEq)]
pub struct RedisConfig {
    /// A URL that [`RedisAddress`] is read from; it was understood once already.
    pub url: Secret,
    /// Key of names and seals, and the one before it.
    pub secret: Vec<Secret>,
    /// What all keys begin with: 1 to 64 of `[A-Za-z0-9_.:-]`.
    pub prefix: String,
    /// Of one command; at most 2 s.
    pub timeout: Duration,
    /// Of the leg to it: `[state.tls]`.
    pub tls: UpstreamTls,
}

/// What the URL of a Redis says. `Debug` shows neither user nor password.
#[derive(Clone, PartialEq)]
pub struct RedisAddress {
    /// Where it is.
    pub place: RedisPlace,
    /// Who we are there.
    pub login: RedisLogin,
    /// The number of the database.
    pub database: i64,
}

/// Where a Redis is.
#[derive(Clone, PartialEq)]
pub enum RedisPlace {
    /// There.
    Host(Endpoint),
    /// At a Unix socket of this machine.
    Socket(PathBuf),
    /// Where its sentinels say, which are asked at each dial.
    Sentinels(Sentinels),
}

/// Redis Sentinel: those who know which Redis is the primary now.
#[derive(Clone, PartialEq)]
pub struct Sentinels {
    /// One or more. With TLS to one there is TLS to all, and to the primary.
    pub hosts: Vec<Endpoint>,
    /// Their name of the primary: of `[A-Za-z0-9_.-]`.
    pub master: String,
    /// Who we are at the sentinels; at the primary we may be another.
    pub login: RedisLogin,
}

/// A user of a Redis. It has no `Debug`.
#[derive(Clone, Default, PartialEq)]
pub struct RedisLogin {
    /// `None`: the default user.
    pub user: Option<String>,
    /// `None`: it asks for none.
    pub password: Option<SecretText>,
}

/// A path prefix on the listener, with its upstream, its dialect and its token.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Label of metrics and logs: 1 to 64 of `[A-Za-z0-9_-]`; no other route has it.
    pub name: String,
    /// The prefix, which begins with "/"; no other route has it.
    pub path: String,
    /// The service.
    pub upstream: Upstream,
    /// How the service speaks of tokens.
    pub dialect: DialectKind,
    /// `None`: a plain proxy.
    pub token: Option<TokenConfig>,
    /// Who is let in.
    pub client: ClientGate,
    /// Where the upstream takes the token; all empty for a dialect that knows it.
    pub handshake: Placement,
    /// What one session may hold, and for how long.
    pub session: SessionPolicy,
    /// What a Close of the service's means; the first rule that matches counts.
    pub closes: Vec<CloseRule>,
    /// Where requests go that are no WebSocket; `None`: nowhere.
    pub http: Option<HttpRoute>,
    /// Headers that the service gets besides, each rendered once for [`Place::Header`].
    pub headers: Vec<(http::HeaderName, Template)>,
    /// Which `Host` the service sees.
    pub host: HostSeen,
    /// How the service is told who the client is.
    pub forwarded: ForwardedBy,
}

/// `[route.http]`: requests that are no WebSocket.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRoute {
    /// The service; its path is put before the client's own.
    pub upstream: Upstream,
    /// From the last that the client sent of its request to the head of the answer.
    pub timeout: Duration,
    /// Where the token goes: a header; none where the route has no token.
    pub placement: Placement,
}

/// An address that is dialled: scheme, host, port, and the path (of an upstream: put before the client's own).
/// `Debug` leaves the query out, which may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// TLS first: the scheme was `wss` or `https`.
    pub tls: bool,
    /// Without brackets, also where it is an IPv6 address.
    pub host: String,
    /// Never 0.
    pub port: u16,
    /// Path and query as written, "/" where the URL had none. An upstream's has no query.
    pub path_and_query: String,
}

/// The service behind a route, and how its leg is secured.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Where else it is, if it cannot be reached there: of the same scheme and path, in the order in which they are tried.
    pub fallbacks: Vec<Endpoint>,
    /// A Unix socket to dial instead of the host.
    pub socket: Option<PathBuf>,
    /// Of the leg to it.
    pub tls: UpstreamTls,
}

impl Upstream {
    /// All of where it is, in the order in which it is dialled.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        std::iter::once(&self.endpoint).chain(&self.fallbacks)
    }
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

/// Where tokens come from, and when they are fetched.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenConfig {
    /// Where tokens come from.
    pub source: SourceConfig,
    /// Whose they are.
    pub share: Share,
    /// When they are fetched.
    pub refresh: RefreshPolicy,
}

/// Whose the tokens of a route are.
#[derive(Debug, Clone, PartialEq)]
pub enum Share {
    /// One credential for all clients.
    Route,
    /// One for each client; `identity` is what makes two clients the same, beside the token that they show.
    /// Without it, it is that token alone, which [`ClientGate::token`] then finds.
    Client {
        /// Expanded for [`Place::Text`]; names parameters and headers of the client's request.
        identity: Option<Template>,
    },
}

/// When a credential is refreshed.
#[derive(Debug, Clone, PartialEq)]
pub struct RefreshPolicy {
    /// Margin before expiry; `None`: a quarter of the lifetime, and 30 s at least where it lives 2 min or more.
    pub refresh_before: Option<Duration>,
    /// How often the wall clock is looked at.
    pub check_every: Duration,
    /// Assumed where neither the answer nor the token tells.
    pub lifetime: Option<Duration>,
    /// Of one fetch.
    pub timeout: Duration,
    /// Each is for one handshake: nothing is fetched before it is needed, and its end does not matter.
    pub once: bool,
}

/// A source and what it needs.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceConfig {
    /// A token endpoint.
    Http(Box<HttpSource>),
    /// An authorization server.
    OAuth2(Box<OAuth2Source>),
    /// A key of Ably's, with which tokens are minted here.
    AblyKey(Box<AblyKeySource>),
    /// One token that never changes (but is read again at each fetch, if it is in a file).
    Static {
        /// The token.
        token: Secret,
    },
    /// A file that somebody else keeps fresh; it may come after the start.
    File {
        /// The file.
        path: PathBuf,
        /// Where in it the token is.
        answer: AnswerForm,
    },
    /// A command that prints a token.
    Exec(Box<ExecSource>),
    /// A key that signs tokens here.
    Jwt(Box<Signer>),
}

/// `source = "http"`.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSource {
    /// The token endpoint; of its path, names stand for one letter each.
    pub endpoint: Endpoint,
    /// Path and query, expanded for [`Place::Url`].
    pub target: Template,
    /// Of the leg to it: `[route.token.tls]`.
    pub tls: UpstreamTls,
    /// GET, POST, PUT or PATCH; GET exactly where there is no body, unless the file says otherwise.
    pub method: http::Method,
    /// Beside those of the connection; expanded for [`Place::Header`].
    pub headers: Vec<(http::HeaderName, Template)>,
    /// User and password (RFC 7617).
    pub basic: Option<(String, Secret)>,
    /// The first refresh token, which the templates name.
    pub refresh_token: Option<Secret>,
    /// What the templates name as `{jwt}`.
    pub jwt: Option<Signer>,
    /// What is sent.
    pub body: HttpBody,
    /// Where in the answer the token is.
    pub answer: AnswerForm,
    /// Where an Ably TokenRequest is exchanged for a token.
    pub exchange: Endpoint,
}

/// The body of a token request.
#[derive(Debug, Clone, PartialEq)]
pub enum HttpBody {
    /// No body.
    None,
    /// `application/json`: the JSON text, names standing inside its strings only.
    Json(Template),
    /// `application/x-www-form-urlencoded`: names as written, values before they are encoded.
    Form(Vec<(String, Template)>),
    /// As written, its values escaped as the `Content-Type` among the headers asks for.
    Text(Template, Place),
}

impl HttpSource {
    /// All that has names in it.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let headers = self.headers.iter().map(|(_, template)| template);
        let claims = self.jwt.iter().flat_map(Signer::templates);
        std::iter::once(&self.target).chain(headers).chain(self.body.templates()).chain(claims)
    }
}

impl HttpBody {
    /// All that has names in it.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let (one, fields) = match self {
            Self::None => (None, [].as_slice()),
            Self::Json(template) | Self::Text(template, _) => (Some(template), [].as_slice()),
            Self::Form(fields) => (None, fields.as_slice()),
        };
        one.into_iter().chain(fields.iter().map(|(_, template)| template))
    }

    /// The body, its names replaced, and the `Content-Type` it has where the headers name none.
    pub fn render<'v>(
        &self,
        values: &dyn Fn(&Name) -> Option<&'v str>,
    ) -> Result<Option<(Option<&'static str>, String)>, ExpandError> {
        Ok(match self {
            Self::None => None,
            Self::Json(text) => Some((Some("application/json"), text.expand(Place::JsonString, values)?)),
            Self::Form(entries) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                for (name, value) in entries {
                    form.append_pair(name, &value.expand(Place::Text, values)?);
                }
                Some((Some("application/x-www-form-urlencoded"), form.finish()))
            }
            Self::Text(text, place) => Some((None, text.expand(*place, values)?)),
        })
    }
}
