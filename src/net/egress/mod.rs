//! The way out: directly, or through a proxy.
//!
//! ```text
//!   dial host:port ──► loopback? NO_PROXY? no proxy? ── yes ──► resolve, TCP
//!                            │ no
//!                            └──► resolve and TCP to the proxy ──► (TLS) ──► CONNECT or SOCKS 5 ──► to host:port
//! ```
//!
//! 1. The name of the target is resolved by the proxy, and by nobody here.
//! 2. The proxy is dialled like any other host, within the deadline of the whole dial.
//! 3. Its URL is read again at each dial: a password that changed in its file counts.
//! 4. Nothing shows its user and password. Errors name its host and port, and what it answered.
//! 5. What the kernel knows of the way ([`Stream::delivery`]) ends at the proxy.

use std::{
    fmt, io,
    sync::{Arc, OnceLock},
};

use super::{
    DialError, Dialer, Stage, Stream,
    dial::within,
    tls::{ClientTls, Leg, TlsError},
};
use crate::{
    clock::{self, Instant},
    config::{EgressProxy, Endpoint, ProxyAddress, ProxyScheme, Secret, UpstreamTls},
};

mod connect;
mod environment;
mod exempt;
mod socks;

use environment::Variables;
use exempt::Exempt;

/// How connections leave this machine. By default directly. Cheap to clone.
#[derive(Clone, Default, Debug)]
pub struct Egress(Option<Arc<Rules>>);

#[derive(Debug, Default)]
struct Rules {
    /// For TLS.
    secure: Option<Arc<Proxy>>,
    /// For what goes in the clear.
    plain: Option<Arc<Proxy>>,
    exempt: Exempt,
    /// Variables that name a proxy and do not count.
    unused: Vec<&'static str>,
}

/// One proxy.
pub(super) struct Proxy {
    url: Secret,
    /// The variable that it is from; `[egress]` otherwise.
    from: &'static str,
    /// As it was understood at first.
    first: ProxyAddress,
    /// The system's roots, read when they are needed.
    tls: OnceLock<Arc<ClientTls>>,
}

/// A variable of the environment that cannot be used, or what a proxy needs and is not there. Quotes no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{from}: {what}")]
pub struct EgressError {
    from: String,
    what: String,
}

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Without a proxy, and why.
    Direct(&'static str),
    /// Through this proxy: its URL without user and password, and where that stands.
    Through(String),
}

impl Egress {
    /// As `[egress]` says, with what the environment says to that.
    pub fn new(proxy: &EgressProxy) -> Result<Self, EgressError> {
        Self::of(proxy, &|name| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
            Some(value.into_string().map_err(drop))
        })
    }

    fn of(proxy: &EgressProxy, variables: environment::Get<'_>) -> Result<Self, EgressError> {
        let rules = match proxy {
            EgressProxy::None => Rules { unused: environment::set(variables), ..Rules::default() },
            EgressProxy::Environment => {
                let Variables { secure, plain } = environment::read(variables)?;
                let exempt = environment::exempt(variables);
                Rules { secure: secure.map(Arc::new), plain: plain.map(Arc::new), exempt, ..Rules::default() }
            }
            EgressProxy::Url(url) => {
                let address = ProxyAddress::of_secret(url)
                    .map_err(|what| EgressError { from: TABLE.to_owned(), what })?;
                let proxy = Some(Arc::new(Proxy::new(url.clone(), TABLE, address)));
                let exempt = environment::exempt(variables);
                Rules { secure: proxy.clone(), plain: proxy, exempt, ..Rules::default() }
            }
        };
        for proxy in rules.secure.iter().chain(&rules.plain) {
            proxy
                .prepare()
                .map_err(|error| EgressError { from: proxy.from.to_owned(), what: error.to_string() })?;
        }
        Ok(Self(Some(Arc::new(rules))))
    }

    /// Is it the very same, and not only alike?
    pub fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// The proxies that connections may go through, each once, as `check` names them.
    pub fn proxies(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .0
            .iter()
            .flat_map(|rules| rules.secure.iter().chain(&rules.plain))
            .map(ToString::to_string)
            .collect();
        all.dedup();
        all
    }

    /// Variables of the environment that name a proxy, and that `[egress]` has not used.
    pub fn unused(&self) -> &[&'static str] {
        self.0.as_ref().map_or(&[], |rules| &rules.unused)
    }

    /// How this endpoint is reached.
    pub fn way(&self, endpoint: &Endpoint) -> Way {
        match self.through(endpoint.tls, &endpoint.host, endpoint.port) {
            Ok(proxy) => Way::Through(proxy.to_string()),
            Err(why) => Way::Direct(why),
        }
    }

    /// The proxy for this target, or why there is none.
    pub(super) fn through(&self, tls: bool, host: &str, port: u16) -> Result<&Arc<Proxy>, &'static str> {
        let none = "no proxy";
        let rules = self.0.as_ref().ok_or(none)?;
        let proxy = if tls { &rules.secure } else { &rules.plain }.as_ref().ok_or(none)?;
        if exempt::is_loopback(host) {
            return Err("loopback");
        }
        if rules.exempt.names(host, port) {
            return Err("NO_PROXY");
        }
        Ok(proxy)
    }
}

/// Where a URL stands that is no variable's.
const TABLE: &str = "[egress] proxy";

impl Proxy {
    /// A proxy, by a URL that was understood once.
    fn new(url: Secret, from: &'static str, first: ProxyAddress) -> Self {
        Self { url, from, first, tls: OnceLock::new() }
    }

    /// What its URL says now.
    fn address(&self) -> Result<ProxyAddress, String> {
        // A variable of the environment stays as it is.
        if self.from == TABLE { ProxyAddress::of_secret(&self.url) } else { Ok(self.first.clone()) }
    }

    /// Reads what a dial would fail without.
    fn prepare(&self) -> Result<(), TlsError> {
        if self.first.scheme == ProxyScheme::Https {
            self.roots(&self.first)?;
        }
        Ok(())
    }

    fn roots(&self, address: &ProxyAddress) -> Result<Arc<ClientTls>, TlsError> {
        if let Some(tls) = self.tls.get() {
            return Ok(Arc::clone(tls));
        }
        let tls = Arc::new(ClientTls::load(address.socket(), &UpstreamTls::default(), clock::now())?);
        Ok(Arc::clone(self.tls.get_or_init(|| tls)))
    }

    /// A stream to `host:port`, by way of this proxy, or why there is none by `deadline`.
    pub(super) async fn tunnel(
        &self,
        dialer: &Dialer,
        (host, port): (&str, u16),
        deadline: Instant,
    ) -> Result<Stream, DialError> {
        let address = self.address().map_err(|what| failed(&self.first, &io::Error::other(what), ""))?;
        let tcp = dialer.tcp(&address.host, address.port, deadline).await;
        let tcp = tcp.map_err(|(stage, cause)| failed(&address, &cause, &format!("{}: ", stage.word())))?;
        let peer = tcp.peer_addr().ok();
        let opened = self.open(Stream::Plain(tcp), &address, (host, port), deadline).await;
        opened.map_err(|(cause, stage)| {
            // Another address of it may do better.
            dialer.blame(peer);
            failed(&address, &cause, stage)
        })
    }

    async fn open(
        &self,
        stream: Stream,
        address: &ProxyAddress,
        target: (&str, u16),
        deadline: Instant,
    ) -> Result<Stream, (io::Error, &'static str)> {
        let mut stream = stream;
        if address.scheme == ProxyScheme::Https {
            let tls = self.tls(address).map_err(|error| (io::Error::other(error), ""))?;
            stream = tls.handshake(stream, deadline).await.map_err(|cause| (cause, "TLS: "))?;
        }
        let login = address.login.as_ref();
        let opened = match address.scheme {
            ProxyScheme::Http | ProxyScheme::Https => {
                within(deadline, connect::open(&mut stream, target, login)).await
            }
            ProxyScheme::Socks5 => within(deadline, socks::open(&mut stream, target, login)).await,
        };
        opened.map_err(|cause| (cause, "")).map(|()| stream)
    }

    fn tls(&self, address: &ProxyAddress) -> Result<Leg, TlsError> {
        Leg::new(&address.host, self.roots(address)?, &UpstreamTls::default())
    }
}

/// A dial that came no further than the proxy.
fn failed(address: &ProxyAddress, cause: &io::Error, stage: &str) -> DialError {
    let cause = io::Error::new(cause.kind(), format!("{stage}{cause}"));
    DialError { stage: Stage::Proxy, host: address.host.as_str().into(), port: address.port, cause }
}

/// For people: its URL without user and password, and where that stands.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address().unwrap_or_else(|_| self.first.clone());
        write!(f, "{address} ({})", self.from)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.first)
    }
}

#[cfg(test)]
mod tests;
