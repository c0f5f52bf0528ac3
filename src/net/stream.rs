//! A byte stream to a peer, whatever it is made of.
//!
//! The TLS variants are boxed: a `Stream` lies in every session, and most of what a TLS connection holds
//! is only there where there is TLS.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{client, server};

use super::delivery::Delivery;

/// Anything that can stand in for a socket.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {
    /// What is known of the way to the peer; `None` if nothing is.
    fn delivery(&self) -> Option<Delivery> {
        Delivery::of(self.tcp()?)
    }

    /// The socket below, where there is one.
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

impl Io for tokio::io::DuplexStream {}

impl Io for UnixStream {}

impl Io for TcpStream {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl Io for client::TlsStream<TcpStream> {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self.get_ref().0)
    }
}

impl Io for server::TlsStream<TcpStream> {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self.get_ref().0)
    }
}

/// TLS within TLS.
impl Io for client::TlsStream<Stream> {
    fn tcp(&self) -> Option<&TcpStream> {
        self.get_ref().0.tcp()
    }
}

/// A connection to a peer.
pub enum Stream {
    /// TCP as it is.
    Plain(TcpStream),
    /// TLS to a service that was dialled.
    TlsClient(Box<client::TlsStream<TcpStream>>),
    /// TLS to a client that was accepted.
    TlsServer(Box<server::TlsStream<TcpStream>>),
    /// TLS within TLS, by a proxy; a Unix socket; for tests a network in memory.
    Other(Box<dyn Io>),
}

/// Calls one method on whichever stream is inside.
macro_rules! each {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            Stream::Plain($inner) => $call,
            Stream::TlsClient($inner) => $call,
            Stream::TlsServer($inner) => $call,
            Stream::Other($inner) => $call,
        }
    };
}

impl Stream {
    /// The socket below, where there is one.
    pub fn tcp(&self) -> Option<&TcpStream> {
        each!(self, inner => inner.tcp())
    }

    /// The address at its other end, where there is one.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.tcp()?.peer_addr().ok()
    }

    /// What is known of the way to the peer; `None` if nothing is.
    pub fn delivery(&self) -> Option<Delivery> {
        each!(self, inner => inner.delivery())
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, inner => inner.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_shutdown(cx))
    }
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Self::Plain(tcp)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Stream(plain)",
            Self::TlsClient(_) | Self::TlsServer(_) => "Stream(tls)",
            Self::Other(_) => "Stream(other)",
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn a_stream_is_small() {
        assert!(size_of::<Stream>() <= size_of::<TcpStream>() + size_of::<usize>(), "TLS must stay boxed");
    }

    #[tokio::test]
    async fn bytes_pass_through() {
        let (near, mut far) = tokio::io::duplex(8);
        let mut near = Stream::Other(Box::new(near));
        near.write_all(b"ping").await.unwrap();
        let mut read = [0; 4];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ping");
        near.shutdown().await.unwrap();
        assert_eq!(far.read(&mut read).await.unwrap(), 0);
    }
}
