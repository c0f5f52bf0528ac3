//! What is dialled directly, whatever proxy there is: loopback, and what `NO_PROXY` names.
//!
//! | an entry of `NO_PROXY` | what it names |
//! |---|---|
//! | `*` | everything |
//! | `example.com`, `.example.com`, `*.example.com` | this name, and all names below it |
//! | `10.0.0.7`, `fd00::7` | this address |
//! | `10.0.0.0/8`, `fd00::/8` | all addresses of this network |
//! | one of these with `:PORT` (an IPv6 address then in brackets) | the same, at this port only |
//!
//! Entries are separated by commas or spaces. Names are compared as they are written, in any case: none is resolved. An
//! entry that is none of these names nothing.

use std::net::IpAddr;

use url::Host;

/// What `NO_PROXY` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Exempt(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    All,
    /// Without a dot at either end, in lower case.
    Named(String),
    /// Addresses whose first bits are those of this one.
    Network(IpAddr, u32),
}

impl Exempt {
    pub(super) fn read(list: &str) -> Self {
        let entries = list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
        Self(entries.filter_map(Entry::read).collect())
    }

    /// Does an entry name this host and port?
    pub(super) fn names(&self, host: &str, port: u16) -> bool {
        let host = Target::of(host);
        self.0.iter().any(|entry| entry.port.is_none_or(|own| own == port) && entry.hosts.have(&host))
    }
}

/// Does it stay on this machine? `localhost`, names below it (RFC 6761 §6.3), and the addresses of loopback.
pub(super) fn is_loopback(host: &str) -> bool {
    match Target::of(host) {
        Target::Address(ip) => ip.is_loopback(),
        Target::Name(name) => is_or_is_below(&name, "localhost"),
    }
}

/// The host of a dial.
enum Target {
    Address(IpAddr),
    Name(String),
}

impl Target {
    fn of(host: &str) -> Self {
        match host.parse::<IpAddr>() {
            Ok(ip) => Self::Address(ip.to_canonical()),
            Err(_) => Self::Name(host.trim_end_matches('.').to_ascii_lowercase()),
        }
    }
}

impl Entry {
    fn read(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self { hosts: Hosts::All, port: None });
        }
        if let Some(hosts) = Hosts::network(text) {
            return Some(Self { hosts, port: None });
        }
        let bracketed = text.strip_prefix('[').and_then(|text| text.split_once(']'));
        let (host, port) = match bracketed.or_else(|| text.split_once(':')) {
            None => (text, ""),
            Some((host, port)) => (host, port.trim_start_matches(':')),
        };
        let port = if port.is_empty() { None } else { Some(port.parse().ok()?) };
        let hosts = match host {
            "*" => Some(Hosts::All),
            _ => Hosts::network(host).or_else(|| Hosts::named(host)),
        };
        Some(Self { hosts: hosts?, port })
    }
}

impl Hosts {
    /// An address, or the first of a network and how many of its bits count.
    fn network(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        (bits <= all).then_some(Self::Network(address, bits))
    }

    fn named(text: &str) -> Option<Self> {
        let name = text.strip_prefix("*.").unwrap_or(text).trim_matches('.');
        // As the URL that is dialled writes it: a name of other letters is another one there.
        match Host::parse(name) {
            Ok(Host::Domain(name)) => Some(Self::Named(name)),
            Ok(Host::Ipv4(_) | Host::Ipv6(_)) | Err(_) => None,
        }
    }

    fn have(&self, host: &Target) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Named(own), Target::Name(name)) => is_or_is_below(name, own),
            (Self::Network(own, bits), Target::Address(ip)) => is_within(*ip, *own, *bits),
            (Self::Named(_), Target::Address(_)) | (Self::Network(..), Target::Name(_)) => false,
        }
    }
}

fn is_or_is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn is_within(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            let apart = ip.to_bits() ^ network.to_bits();
            apart.checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => {
            let apart = ip.to_bits() ^ network.to_bits();
            apart.checked_shr(128 - bits).unwrap_or(0) == 0
        }
        // An IPv4 address in an IPv6 one is dialled as IPv4.
        (IpAddr::V4(_), IpAddr::V6(network)) => match network.to_ipv4_mapped() {
            Some(network) if bits >= 96 => is_within(ip, network.into(), bits - 96),
            Some(_) | None => false,
        },
        (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_names_hosts_by_the_usual_rules() {
        for (list, named, not_named) in [
            ("", &[][..], &["example.com:443", "10.0.0.1:80"][..]),
            (" , ,", &[], &["example.com:443"]),
            ("*", &["example.com:443", "10.0.0.1:80", "fd00::1:1"], &[]),
            (
                "example.com",
                &[
                    "example.com:443",
                    "EXAMPLE.com:1",
                    "a.example.com:443",
                    "a.b.example.com:1",
                    "example.com.:1",
                ],
                &["notexample.com:443", "example.com.evil.org:443", "example.org:443", "com:1"],
            ),
            (".example.com", &["example.com:443", "a.example.com:443"], &["notexample.com:443"]),
            ("*.example.com", &["a.example.com:443"], &["notexample.com:443"]),
            ("Example.COM.", &["a.example.com:443"], &["example.org:1"]),
            ("a.org,example.com b.org", &["a.org:1", "x.example.com:2", "b.org:3"], &["c.org:1"]),
            ("example.com:8443", &["example.com:8443", "a.example.com:8443"], &["example.com:443"]),
            ("*:8443", &["example.com:8443"], &["example.com:443"]),
            ("10.0.0.7", &["10.0.0.7:1"], &["10.0.0.8:1", "10.0.0.7.example.com:1"]),
            ("10.0.0.7:80", &["10.0.0.7:80"], &["10.0.0.7:443"]),
            ("10.1.0.0/16", &["10.1.255.255:1", "10.1.0.0:1"], &["10.2.0.0:1", "fd00::1:1", "name.org:1"]),
            ("10.1.2.3/8", &["10.255.0.1:1"], &["11.0.0.1:1"]),
            ("0.0.0.0/0", &["10.255.0.1:1", "192.0.2.1:1"], &["fd00::1:1", "name.org:1"]),
            ("10.0.0.7/32", &["10.0.0.7:1"], &["10.0.0.6:1"]),
            ("fd00::/8", &["fd12::1:1"], &["fe80::1:1", "10.0.0.1:1"]),
            ("fd00::7", &["fd00::7:1"], &["fd00::8:1"]),
            ("[fd00::7]", &["fd00::7:1"], &["fd00::8:1"]),
            ("[fd00::7]:443", &["fd00::7:443"], &["fd00::7:80"]),
            ("::/0", &["fd00::7:1"], &["10.0.0.1:1"]),
            ("::ffff:10.0.0.0/104", &["10.1.2.3:1"], &["11.0.0.1:1"]),
            ("10.0.0.0/8", &["::ffff:10.1.2.3:1"], &["::ffff:11.1.2.3:1"]),
            ("bücher.example", &["xn--bcher-kva.example:1"], &["bucher.example:1"]),
            // None of these is an entry.
            (
                "10.0.0.0/33,fd00::/129,10.0.0.0/x,a:b,example.com:99999",
                &[],
                &["10.0.0.0:1", "example.com:1"],
            ),
            ("1", &[], &["10.0.0.1:1"]),
        ] {
            let exempt = Exempt::read(list);
            let names = |target: &&str| {
                let (host, port) = target.rsplit_once(':').unwrap();
                exempt.names(host, port.parse().unwrap())
            };
            for target in named {
                assert!(names(target), "{list:?} names {target}");
            }
            for target in not_named {
                assert!(!names(target), "{list:?} does not name {target}");
            }
        }
    }

    #[test]
    fn loopback_is_this_machine() {
        for host in
            ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "notlocalhost", "128.0.0.1", "::2", "0.0.0.0", "10.0.0.1"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
