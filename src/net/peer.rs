//! Where a client connects from.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// Where a client connects from, as logs and limits have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// From this address and port. An IPv4 client of a listener on `[::]` is shown as the IPv4 client that it is.
    Tcp(SocketAddr),
    /// Behind a proxy, which says so.
    Behind(IpAddr),
    /// By a Unix socket of this machine; the kernel says who it is.
    Unix {
        /// Its user.
        uid: u32,
        /// Its process, if it is known.
        pid: Option<i32>,
    },
}

impl Peer {
    /// Its address; a Unix socket counts as loopback.
    pub fn ip(&self) -> IpAddr {
        self.address().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Its address, if it has one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Behind(address) => Some(*address),
            Self::Unix { .. } => None,
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Behind(address) => address.fmt(f),
            Self::Unix { uid, pid: Some(pid) } => write!(f, "unix:uid={uid},pid={pid}"),
            Self::Unix { uid, pid: None } => write!(f, "unix:uid={uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_shown_as_what_it_is() {
        let mapped = Peer::from("[::ffff:10.0.0.7]:4711".parse::<SocketAddr>().unwrap());
        assert_eq!(mapped.to_string(), "10.0.0.7:4711");
        assert_eq!(Peer::Behind("2001:db8::1".parse().unwrap()).to_string(), "2001:db8::1");
        let unix = Peer::Unix { uid: 1000, pid: Some(7) };
        assert_eq!(unix.to_string(), "unix:uid=1000,pid=7");
        assert!(unix.ip().is_loopback() && unix.address().is_none());
    }
}
