//! TLS of a leg that is dialled: whose certificate is taken, and what is spoken behind it.

use std::{io, sync::Arc};

use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::{ClientTls, HTTP, TlsError};
use crate::{
    clock::{self, Instant},
    config::UpstreamTls,
    net::{Stream, dial::within},
};

/// What a handshake needs. Clones share the files, and what was made of them.
#[derive(Clone)]
pub(in crate::net) struct Leg {
    name: ServerName<'static>,
    files: Arc<ClientTls>,
    /// Is HTTP what will be spoken? Otherwise no protocol is proposed (ALPN, RFC 7301).
    pub(in crate::net) http: bool,
}

impl Leg {
    /// A leg to this host, on which HTTP is spoken.
    pub(in crate::net) fn new(
        host: &str,
        files: Arc<ClientTls>,
        tls: &UpstreamTls,
    ) -> Result<Self, TlsError> {
        Ok(Self { name: certified(host, tls)?, files, http: true })
    }

    /// The same to another host, by the same `tls`.
    pub(in crate::net) fn at(&self, host: &str, tls: &UpstreamTls) -> Result<Self, TlsError> {
        Ok(Self { name: certified(host, tls)?, ..self.clone() })
    }

    /// The name that the peer's certificate has to have.
    pub(in crate::net) fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// What is shown and trusted.
    pub(in crate::net) fn files(&self) -> &ClientTls {
        &self.files
    }

    /// TLS on a stream whose peer waits for it.
    pub(in crate::net) async fn handshake(&self, stream: Stream, deadline: Instant) -> io::Result<Stream> {
        let protocols = if self.http { vec![HTTP.to_vec()] } else { Vec::new() };
        let connector = TlsConnector::from(self.files.current(clock::now()));
        let connector = connector.with_alpn(protocols);
        let name = self.name.clone();
        match stream {
            Stream::Plain(tcp) => {
                let tls = within(deadline, connector.connect(name, tcp)).await?;
                Ok(Stream::TlsClient(Box::new(tls)))
            }
            // TLS in TLS: to a service behind a proxy that is itself reached by TLS.
            below @ (Stream::TlsClient(_) | Stream::TlsServer(_) | Stream::Other(_)) => {
                let tls = within(deadline, connector.connect(name, below)).await?;
                Ok(Stream::Other(Box::new(tls)))
            }
        }
    }
}

/// The name that the certificate of this host has to have.
fn certified(host: &str, tls: &UpstreamTls) -> Result<ServerName<'static>, TlsError> {
    let name = tls.server_name.as_deref().unwrap_or(host);
    ServerName::try_from(name.to_owned())
        .map_err(|_| rustls::Error::General(format!("`{name}` is no name a certificate can have")).into())
}
