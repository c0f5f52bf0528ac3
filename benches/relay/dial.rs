//! Byte streams from the generator to a proxy, plain or over TLS.

use anyhow::Result;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

/// A byte stream that messages go over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// How a proxy is reached.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) port: u16,
    /// TLS on the client's leg.
    pub(crate) tls: Option<TlsConnector>,
}

impl Dialer {
    pub(crate) async fn dial(&self) -> Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(tls.connect(ServerName::try_from("localhost")?, stream).await?),
        })
    }
}
