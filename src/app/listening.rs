//! Sockets that are listened on, where they come from, and how one takes the place of another.
//!
//! ```text
//!   address ──► systemd holds a socket of it? ── yes ──► that one
//!                           │ no
//!                           └──► the old listener has a part of it? ── yes ──► bound beside it
//!                                           └── no ──► bound
//! ```
//!
//! A listener that moves to an address which overlaps its own (from 127.0.0.1 to 0.0.0.0, on the same port) is bound while
//! the old one still listens. For this moment, and only for this, the two share the port: at any other time another
//! process that wants it is refused.

use std::sync::{Arc, Weak};

use anyhow::Context;
use listenfd::ListenFd;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio_util::sync::DropGuard;

use crate::{config::ListenAddress, net::Listener};

/// As many may wait to be accepted as tokio lets wait.
const BACKLOG: u32 = 1024;

/// A socket that is listened on until this is dropped.
pub(super) struct Bound {
    /// As the configuration has it.
    pub(super) configured: ListenAddress,
    /// Where it is.
    pub(super) address: ListenAddress,
    socket: Weak<Listener>,
    #[expect(dead_code, reason = "held for its Drop: nobody is accepted any more")]
    stop: DropGuard,
}

impl Bound {
    pub(super) fn new(configured: ListenAddress, socket: &Arc<Listener>, stop: DropGuard) -> Self {
        let address = socket.address().clone();
        Self { configured, address, socket: Arc::downgrade(socket), stop }
    }

    /// A listener at an address of which this one has a part; `None`: it has none, or they cannot share it.
    fn beside(&self, address: &ListenAddress) -> Option<Listener> {
        let (old, address) = (self.socket.upgrade()?, address.tcp()?);
        let shares = self.address.tcp().is_some_and(|own| own.port() == address.port());
        if shares { beside(old.as_tcp()?, address).and_then(Listener::tcp).ok() } else { None }
    }
}

/// Binds an address of which `old` has a part.
fn beside(old: &TcpListener, address: std::net::SocketAddr) -> std::io::Result<TcpListener> {
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

/// Listens at an address, which `olds` may have a part of; `key` is where the configuration has it.
pub(super) async fn bind(
    address: &ListenAddress,
    key: &str,
    olds: &[&Bound],
    inherited: &mut Inherited,
) -> anyhow::Result<Listener> {
    if let Some(socket) = inherited.take(address) {
        return Ok(socket);
    }
    // If it cannot be shared, what the plain way says is what an operator knows.
    if let Some(socket) = olds.iter().find_map(|old| old.beside(address)) {
        return Ok(socket);
    }
    let way_out = match address {
        ListenAddress::Tcp(_) => "is it in use? Port 0 takes a free one",
        ListenAddress::Unix(_) => "may its directory be written to?",
    };
    let bound = Listener::bind(address).await;
    bound.with_context(|| format!("{key} = \"{address}\" cannot be listened on; {way_out}"))
}

/// Sockets that systemd, or who speaks as it does, listens on for us (`sd_listen_fds(3)`), until each is asked for by its
/// address.
#[derive(Default)]
pub(super) struct Inherited(Vec<Listener>);

impl Inherited {
    /// Those of the environment. What is no socket that clients connect to is left alone.
    pub(super) fn of_environment() -> Self {
        let mut fds = ListenFd::from_env();
        let all = (0..fds.len()).filter_map(|nth| inherited(&mut fds, nth));
        Self(all.collect())
    }

    fn take(&mut self, address: &ListenAddress) -> Option<Listener> {
        let at = self.0.iter().position(|socket| socket.address() == address)?;
        Some(self.0.swap_remove(at))
    }

    /// What nobody asked for is closed: who connected there would wait for ever.
    pub(super) fn close(self) {
        for socket in self.0 {
            tracing::warn!(address = %socket.address(), "a socket that was passed on is not in the configuration");
        }
    }
}

fn inherited(fds: &mut ListenFd, nth: usize) -> Option<Listener> {
    if let Ok(Some(tcp)) = fds.take_tcp_listener(nth) {
        tcp.set_nonblocking(true).ok()?;
        return TcpListener::from_std(tcp).and_then(Listener::tcp).ok();
    }
    let unix = fds.take_unix_listener(nth).ok()??;
    unix.set_nonblocking(true).ok()?;
    UnixListener::from_std(unix).and_then(Listener::unix).ok()
}
