//! TLS, on both legs.
//!
//! 1. Peers are verified, always: against the system's roots, or against one authority that was named.
//! 2. A file that cannot be used is named in the error, with what is wrong with it.
//! 3. Files are read again when they change (`watched`), the listener's and those of every leg that is
//!    dialled: a certificate of an hour is taken without a restart, by new connections; those that live
//!    go on. A new pair that cannot be used (half-written, key of another certificate) leaves the old one
//!    in place, is logged once, and is tried again.
//! 4. Idle connections are many. Each costs about 7 KiB of heap, measured on either side, and on the
//!    dialling one the service's certificates besides: rustls keeps its read buffer (4 KiB) and the peer's
//!    certificates for as long as the connection lives, and offers no way to give them up. What can be kept
//!    small is: sessions remembered for resumption are few, and a server hands out one ticket.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ServerSessionMemoryCache, WebPkiClientVerifier},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::Stream;
use crate::{
    clock::Instant,
    config::{ListenTls, UpstreamTls},
};

mod files;
mod leg;
mod watched;

pub(super) use leg::Leg;

use files::{authority, certificates, end_of, private_key, system_roots, unusable};
use watched::Watched;

/// Endpoints whose TLS sessions one client configuration remembers: it dials one.
const CLIENT_SESSIONS: usize = 2;
/// Clients whose TLS sessions the listener remembers.
const SERVER_SESSIONS: usize = 256;
/// What is spoken where HTTP is (ALPN, RFC 7301). A service that also speaks HTTP/2 must not choose it: a
/// WebSocket handshake is HTTP/1.1.
const HTTP: &[u8] = b"http/1.1";

/// Why TLS could not be set up, or a client not be accepted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: {what}", path.display())]
    File { path: PathBuf, what: String },
    #[error("the system has no usable root certificates{0}")]
    NoRoots(String),
    #[error("TLS: {0}")]
    Refused(#[from] rustls::Error),
    #[error("TLS handshake: {0}")]
    Handshake(std::io::Error),
    #[error("TLS handshake not finished in time")]
    Late,
}

/// TLS of connections to one service, renewed when its files change. It proposes no protocol (ALPN): who
/// dials does.
#[derive(Debug)]
pub struct ClientTls(Watched<Made<ClientConfig>>);

/// What was made of files.
#[derive(Debug)]
struct Made<T> {
    config: Arc<T>,
    /// When the certificate that is shown ends, since the Unix epoch.
    ends: Option<Duration>,
}

/// Whom a client trusts.
enum Roots {
    /// The system's are many files, and are read once.
    System(Arc<RootCertStore>),
    Named(PathBuf),
}

impl ClientTls {
    /// Reads the files; at start a bad one is an error. `of`: whom they are shown to, for the log.
    pub fn load(of: String, tls: &UpstreamTls, now: Instant) -> Result<Self, TlsError> {
        let identity = tls.identity.clone();
        let pair = identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        let files = tls.ca.iter().chain(pair).cloned().collect();
        let roots = match &tls.ca {
            Some(path) => Roots::Named(path.clone()),
            None => Roots::System(Arc::new(system_roots()?)),
        };
        Ok(Self(Watched::new(of, files, now, move || client_config(&roots, identity.as_ref()))?))
    }

    /// The configuration to dial with now; looks at the files now and then.
    pub fn current(&self, now: Instant) -> Arc<ClientConfig> {
        Arc::clone(&self.0.current(now).config)
    }

    /// When the certificate that is shown ends, since the Unix epoch; `None`: none is shown.
    pub fn ends(&self, now: Instant) -> Option<Duration> {
        self.0.current(now).ends
    }
}

fn client_config(
    roots: &Roots,
    identity: Option<&(PathBuf, PathBuf)>,
) -> Result<Arc<Made<ClientConfig>>, TlsError> {
    let roots = match roots {
        Roots::System(roots) => Arc::clone(roots),
        Roots::Named(path) => Arc::new(authority(path)?),
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut ends = None;
    let mut config = match identity {
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            ends = end_of(&chain);
            builder
                .with_client_auth_cert(chain, private_key(key)?)
                .map_err(|cause| unusable(certificate, &cause))?
        }
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::in_memory_sessions(CLIENT_SESSIONS);
    Ok(Arc::new(Made { config: Arc::new(config), ends }))
}

/// TLS of the listener, renewed when its files change.
#[derive(Debug)]
pub struct ServerTls(Watched<Made<ServerConfig>>);

impl ServerTls {
    /// Reads the files; at start a bad one is an error.
    pub fn load(files: &ListenTls, now: Instant) -> Result<Self, TlsError> {
        let files = files.clone();
        let watched = [&files.certificate, &files.key].into_iter().chain(&files.client_ca).cloned().collect();
        Ok(Self(Watched::new("the listener".to_owned(), watched, now, move || server_config(&files))?))
    }

    /// The configuration to accept the next client with; looks at the files now and then.
    pub fn current(&self, now: Instant) -> Arc<ServerConfig> {
        Arc::clone(&self.0.current(now).config)
    }

    /// When its certificate ends, since the Unix epoch; `None`: it does not say.
    pub fn ends(&self, now: Instant) -> Option<Duration> {
        self.0.current(now).ends
    }

    /// Does the handshake with a client that connected.
    pub async fn accept(&self, tcp: TcpStream, now: Instant, deadline: Instant) -> Result<Stream, TlsError> {
        let acceptor = TlsAcceptor::from(self.current(now));
        match tokio::time::timeout_at(deadline, acceptor.accept(tcp)).await {
            Ok(Ok(stream)) => Ok(Stream::TlsServer(Box::new(stream))),
            Ok(Err(cause)) => Err(TlsError::Handshake(cause)),
            Err(_) => Err(TlsError::Late),
        }
    }
}

fn server_config(files: &ListenTls) -> Result<Arc<Made<ServerConfig>>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match &files.client_ca {
        Some(path) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(authority(path)?), provider())
                    .build()
                    .map_err(|cause| unusable(path, &cause))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let chain = certificates(&files.certificate)?;
    let ends = end_of(&chain);
    let mut config = builder
        .with_single_cert(chain, private_key(&files.key)?)
        .map_err(|cause| unusable(&files.certificate, &cause))?;
    config.session_storage = ServerSessionMemoryCache::new(SERVER_SESSIONS);
    config.send_tls13_tickets = 1;
    config.alpn_protocols = vec![HTTP.to_vec()];
    Ok(Arc::new(Made { config: Arc::new(config), ends }))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests;
