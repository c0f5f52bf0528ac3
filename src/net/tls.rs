//! TLS, on both legs.
//!
//! 1. Peers are verified, always: against the system's roots, or against one authority that was named.
//! 2. A file that cannot be used is named in the error, with what is wrong with it.
//! 3. The listener's files are read again when they change. A new pair that cannot be used (half-written,
//!    key of another certificate) leaves the old one in place, is logged once, and is tried again.
//! 4. Idle connections are many. Each costs about 7 KiB of heap, measured on either side, and on the
//!    dialling one the service's certificates besides: rustls keeps its read buffer (4 KiB) and the peer's
//!    certificates for as long as the connection lives, and offers no way to give them up. What can be kept
//!    small is: sessions remembered for resumption are few, and a server hands out one ticket.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{ServerSessionMemoryCache, WebPkiClientVerifier},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::Stream;
use crate::{
    clock::Instant,
    config::{ListenTls, UpstreamTls},
};

/// Endpoints whose TLS sessions one client configuration remembers: it dials one.
const CLIENT_SESSIONS: usize = 2;
/// Clients whose TLS sessions the listener remembers.
const SERVER_SESSIONS: usize = 256;
/// How often the listener's files are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(2);

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

/// The configuration of connections to a service.
///
/// Reads the files it names; who dials often keeps the result.
pub fn client_config(tls: &UpstreamTls) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match &tls.ca {
        Some(path) => authority(path)?,
        None => system_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match &tls.identity {
        Some((certificate, key)) => builder
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(|cause| unusable(certificate, &cause))?,
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::in_memory_sessions(CLIENT_SESSIONS);
    // A service that also speaks HTTP/2 must not choose it: a WebSocket handshake is HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// TLS of the listener, renewed when its files change.
#[derive(Debug)]
pub struct ServerTls {
    files: ListenTls,
    current: ArcSwap<ServerConfig>,
    looked: Mutex<Looked>,
}

/// What was seen of the files, and when.
#[derive(Debug)]
struct Looked {
    next: Instant,
    /// Of the files that `current` was read from.
    good: Vec<Option<Stamp>>,
    /// Of the last files that could not be used: complained about once.
    bad: Option<Vec<Option<Stamp>>>,
}

/// What tells one version of a file from the next. A swapped symbolic link changes the inode, an atomic
/// rename too.
type Stamp = (SystemTime, u64, u64);

impl ServerTls {
    /// Reads the files; at start a bad one is an error.
    pub fn load(files: &ListenTls, now: Instant) -> Result<Self, TlsError> {
        // The stamps come first: a file that changes in between is then read once too often, not too seldom.
        let good = stamps(files);
        let current = ArcSwap::new(server_config(files)?);
        let looked = Mutex::new(Looked { next: now + LOOK_EVERY, good, bad: None });
        Ok(Self { files: files.clone(), current, looked })
    }

    /// The configuration to accept the next client with; looks at the files now and then.
    pub fn current(&self, now: Instant) -> Arc<ServerConfig> {
        self.look(now);
        self.current.load_full()
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

    fn look(&self, now: Instant) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if now < looked.next {
            return;
        }
        looked.next = now + LOOK_EVERY;
        let seen = stamps(&self.files);
        if seen == looked.good {
            return;
        }
        match server_config(&self.files) {
            Ok(config) => {
                self.current.store(config);
                looked.good = seen;
                looked.bad = None;
                tracing::info!(certificate = %self.files.certificate.display(), "certificate reloaded");
            }
            Err(error) => {
                if looked.bad.as_ref() != Some(&seen) {
                    tracing::warn!(%error, "certificate not reloaded, the old one stays");
                }
                looked.bad = Some(seen);
            }
        }
    }
}

fn server_config(files: &ListenTls) -> Result<Arc<ServerConfig>, TlsError> {
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
    let mut config = builder
        .with_single_cert(certificates(&files.certificate)?, private_key(&files.key)?)
        .map_err(|cause| unusable(&files.certificate, &cause))?;
    config.session_storage = ServerSessionMemoryCache::new(SERVER_SESSIONS);
    config.send_tls13_tickets = 1;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(String::new, |cause| format!(": {cause}"));
        return Err(TlsError::NoRoots(why));
    }
    Ok(roots)
}

fn authority(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|cause| unusable(path, &cause))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(path, "holds no PEM certificate")),
        Ok(found) => Ok(found),
        Err(cause) => Err(wrong(path, &format!("not PEM: {cause}"))),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|cause| {
        let empty = matches!(cause, pem::Error::NoItemsFound);
        // The cause of any other error may quote a line of the key.
        wrong(path, if empty { "holds no PEM private key" } else { "not a PEM private key" })
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|cause| wrong(path, &cause.to_string()))
}

fn stamps(files: &ListenTls) -> Vec<Option<Stamp>> {
    [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()]
        .into_iter()
        .flatten()
        .map(|path| fs::metadata(path).ok().map(|meta| stamp(&meta)))
        .collect()
}

#[cfg(unix)]
fn stamp(meta: &fs::Metadata) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    (meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len(), meta.ino())
}

#[cfg(not(unix))]
fn stamp(meta: &fs::Metadata) -> Stamp {
    (meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len(), 0)
}

fn unusable(path: &Path, cause: &dyn std::error::Error) -> TlsError {
    wrong(path, &cause.to_string())
}

fn wrong(path: &Path, what: &str) -> TlsError {
    TlsError::File { path: path.to_owned(), what: what.to_owned() }
}

#[cfg(test)]
mod tests;
