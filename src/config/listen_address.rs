//! Where something listens: an address and a port, or a Unix socket.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use super::{
    declare::{Kind, value},
    value::string,
};

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// At a TCP port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// At a Unix socket, which only its owner may connect to.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Does only this machine reach it?
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Its address and port, if it has them.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// As the configuration writes it.
impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The error says what was expected.
impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
            return match path.is_absolute() && path.file_name().is_some() {
                true => Ok(Self::Unix(path)),
                false => Err("a Unix socket is named by its whole path: unix:/run/perennial.sock".to_owned()),
            };
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            let way_out = match text.rsplit_once(':') {
                Some(("localhost", _)) => "; write 127.0.0.1 for localhost",
                Some(("" | "*", _)) => "; write 0.0.0.0 for all interfaces",
                _ => "",
            };
            format!("expected {WHAT}{way_out}")
        })
    }
}

const WHAT: &str = "an IP address and a port, such as \"127.0.0.1:7370\", or \"unix:/run/perennial.sock\"";

value! {
    /// An IP address and a port, or a Unix socket.
    pub(super) Address: ListenAddress, Kind::Address, |value, _| match value.as_str() {
        Some(_) => string(value)?.parse(),
        None => super::value::expected(WHAT, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        for text in ["127.0.0.1:7370", "[::1]:7370", "0.0.0.0:0", "unix:/run/perennial/clients.sock"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        assert_eq!("unix:///run/s".parse::<ListenAddress>().unwrap().to_string(), "unix:/run/s");
        assert!("unix:/run/s".parse::<ListenAddress>().unwrap().is_loopback());
        for bad in ["localhost:7370", ":7370", "unix:run/s", "unix:/", "/run/s", ""] {
            assert!(bad.parse::<ListenAddress>().is_err(), "{bad}");
        }
    }
}
