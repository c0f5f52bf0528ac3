//! Sockets that are listened on, and how one takes the place of another.
//!
//! A listener that moves to an address which overlaps its own (from 127.0.0.1 to 0.0.0.0, on the same port) is bound while
//! the old one still listens. For this moment, and only for this, the two share the port: at any other time another
//! process that wants it is refused.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
};

use anyhow::Context;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::DropGuard;

/// As many may wait to be accepted as tokio lets wait.
const BACKLOG: u32 = 1024;

/// A socket that is listened on until this is dropped.
pub(super) struct Bound {
    pub(super) address: SocketAddr,
    socket: Weak<TcpListener>,
    #[expect(dead_code, reason = "held for its Drop: nobody is accepted any more")]
    stop: DropGuard,
}

impl Bound {
    pub(super) fn new(address: SocketAddr, socket: &Arc<TcpListener>, stop: DropGuard) -> Self {
        Self { address, socket: Arc::downgrade(socket), stop }
    }

    /// A listener that is to take this one's place.
    pub(super) async fn next(&self, address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
        match (self.socket.upgrade(), self.address.port() == address.port()) {
            (Some(old), true) => {
                let shared = beside(&old, address);
                // If it cannot be shared, what the plain way says is what an operator knows.
                if let Ok(listener) = shared { Ok(listener) } else { bind(address, key).await }
            }
            (Some(_) | None, _) => bind(address, key).await,
        }
    }
}

/// Binds an address of which `old` has a part.
fn beside(old: &TcpListener, address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    // Nothing returns between here and where it is taken back.
    SockRef::from(old).set_reuse_port(true)?;
    let listener = socket.bind(address).and_then(|()| socket.listen(BACKLOG));
    SockRef::from(old).set_reuse_port(false)?;
    let listener = listener?;
    SockRef::from(&listener).set_reuse_port(false)?;
    Ok(listener)
}

/// Listens at an address; `key` is where the configuration has it.
pub(super) async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{key} = \"{address}\" cannot be listened on; is it in use? Port 0 takes a free one")
    })
}
