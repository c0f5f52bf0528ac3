//! `trusted_proxies`: networks whose word about their clients is taken.

use std::net::IpAddr;

use ipnet::IpNet;

use super::declare::{Kind, value};

/// Networks of IP addresses, and perhaps who connects by a Unix socket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    networks: Vec<IpNet>,
    unix: bool,
}

impl Networks {
    /// Nobody is in them.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Is this address in one of them? An IPv4 address is one in whatever form it came.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Are those in them who connect by a Unix socket?
    pub fn has_unix(&self) -> bool {
        self.unix
    }
}

const WHAT: &str = "an array of networks, such as [\"10.0.0.0/8\", \"fd00::/8\", \"unix\"]";

value! {
    /// Networks: `10.0.0.0/8`, an address alone, or `unix`.
    pub(super) TrustedNetworks: Networks, Kind::Texts, |value, _| {
        let Some(entries) = value.as_array() else { return super::value::expected(WHAT, value) };
        let mut found = Networks::default();
        for entry in entries {
            let text = entry.get_ref().as_str().ok_or_else(|| format!("expected {WHAT}"))?;
            match (text, text.parse::<IpAddr>(), text.parse::<IpNet>()) {
                ("unix", ..) => found.unix = true,
                (_, Ok(address), _) => found.networks.push(address.to_canonical().into()),
                (_, Err(_), Ok(network)) => found.networks.push(network.trunc()),
                (_, Err(_), Err(_)) => {
                    return Err(format!("\"{}\" is no network; expected {WHAT}", text.escape_debug()));
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(networks: &str) -> Result<Networks, String> {
        let route = "[[route]]\nupstream = \"ws://h\"\ndialect = \"none\"\n";
        let text = format!("[listen]\ntrusted_proxies = {networks}\n{route}");
        Config::parse(&text, "t")
            .map(|config| config.listen.trusted_proxies)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_network_is_one_or_an_address_alone() {
        let trusted = read("[\"10.1.2.3/8\", \"192.0.2.7\", \"fd00::/8\"]").unwrap();
        for (address, expected) in [
            ("10.9.9.9", true),
            ("::ffff:10.9.9.9", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("fd12::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(trusted.contains(address.parse().unwrap()), expected, "{address}");
        }
        assert!(!trusted.has_unix() && read("[\"unix\"]").unwrap().has_unix());
        assert!(read("[]").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_network_is_named() {
        let error = read("[\"10.0.0.0/33\"]").unwrap_err();
        assert!(error.contains("\"10.0.0.0/33\" is no network"), "{error}");
        assert!(read("\"10.0.0.0/8\"").is_err() && read("[8]").is_err());
    }
}
