//! The URL of a Redis, read. An error quotes none of it.
//!
//! ```text
//!   redis://  rediss://                     one host
//!   unix://   redis+unix://                 one socket
//!   redis+sentinel://  rediss+sentinel://   sentinels (`sentinels`), which know the host
//! ```

use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::config::{Endpoint, RedisAddress, RedisLogin, RedisPlace, Sentinels, secret_text::SecretText};

/// Redis' own, with TLS and without.
const PORT: u16 = 6379;

pub(super) const EXPECTED: &str = "expected a URL such as redis://user:password@host:6379/0, rediss:// for TLS, \
    unix:///PATH for a Unix socket, or redis+sentinel://host1:26379,host2:26379/MASTER/0";

impl RedisAddress {
    /// Reads a URL. An error never quotes it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, _) = text.split_once(':').ok_or(EXPECTED)?;
        let address = match &*scheme.trim_start().to_ascii_lowercase() {
            "redis" => Self::at_host(text, false),
            "rediss" => Self::at_host(text, true),
            "unix" | "redis+unix" => Self::at_socket(text),
            // Lettuce writes a hyphen.
            "redis+sentinel" | "redis-sentinel" => Self::by_sentinels(text, false),
            "rediss+sentinel" | "rediss-sentinel" => Self::by_sentinels(text, true),
            _ => Err(EXPECTED.to_owned()),
        }?;
        if address.logins().any(|login| login.user.is_some() && login.password.is_none()) {
            return Err("has a user without a password: add the password, or remove the user".to_owned());
        }
        Ok(address)
    }

    /// Who we are at the primary, and at the sentinels.
    pub(in crate::config) fn logins(&self) -> impl Iterator<Item = &RedisLogin> {
        let sentinels = match &self.place {
            RedisPlace::Sentinels(sentinels) => Some(&sentinels.login),
            RedisPlace::Host(_) | RedisPlace::Socket(_) => None,
        };
        [&self.login].into_iter().chain(sentinels)
    }

    fn at_host(text: &str, tls: bool) -> Result<Self, String> {
        let url = parsed(text)?;
        if url.query().is_some() {
            return Err("the URL has no options: remove \"?…\"".to_owned());
        }
        without_fragment(&url)?;
        Ok(Self {
            place: RedisPlace::Host(host(&url, tls, PORT)?),
            login: RedisLogin::of(&url)?,
            database: database(url.path().trim_start_matches('/'))?,
        })
    }

    /// `unix:///PATH?db=0&user=USER&pass=PASSWORD`.
    fn at_socket(text: &str) -> Result<Self, String> {
        let url = parsed(text)?;
        let path = decoded(url.path())?.to_string();
        if url.has_host() || !path.starts_with('/') || path.ends_with('/') {
            return Err(EXPECTED.to_owned());
        }
        without_fragment(&url)?;
        let (mut login, mut number) = (RedisLogin::default(), 0);
        for (name, value) in url.query_pairs() {
            match &*name {
                "db" => number = database(&value)?,
                "user" => login.user = user(value),
                "pass" => login.password = password(value),
                _ => return Err("the options of a Unix socket are db, user and pass".to_owned()),
            }
        }
        Ok(Self { place: RedisPlace::Socket(path.into()), login, database: number })
    }
}

impl RedisLogin {
    /// What stands before the `@`.
    pub(super) fn of(url: &Url) -> Result<Self, String> {
        let name = decoded(url.username())?.to_string();
        let secret = url.password().map(decoded).transpose()?;
        Ok(Self { user: user(name.into()), password: secret.filter(|secret| !secret.is_empty()) })
    }
}

impl RedisPlace {
    /// What the URL names to be dialled; nothing but a Unix socket has none.
    pub fn endpoints(&self) -> &[Endpoint] {
        match self {
            Self::Host(endpoint) => std::slice::from_ref(endpoint),
            Self::Sentinels(Sentinels { hosts, .. }) => hosts,
            Self::Socket(_) => &[],
        }
    }

    /// Is there TLS, to all that are dialled?
    pub fn is_tls(&self) -> bool {
        self.endpoints().iter().any(|endpoint| endpoint.tls)
    }
}

pub(super) fn parsed(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|_| EXPECTED.to_owned())
}

pub(super) fn host(url: &Url, tls: bool, usual: u16) -> Result<Endpoint, String> {
    // The parser leaves the host of a scheme that it does not know as it is.
    let host = match url.host_str().map(Host::parse) {
        Some(Ok(Host::Domain(name))) if !name.is_empty() => name,
        Some(Ok(Host::Ipv4(ip))) => ip.to_string(),
        Some(Ok(Host::Ipv6(ip))) => ip.to_string(),
        Some(Ok(Host::Domain(_)) | Err(_)) | None => return Err(EXPECTED.to_owned()),
    };
    let port = url.port().unwrap_or(usual);
    if port == 0 {
        return Err("port 0 cannot be dialled".to_owned());
    }
    Ok(Endpoint { tls, host, port, path_and_query: "/".to_owned() })
}

pub(super) fn user(text: Cow<'_, str>) -> Option<String> {
    Some(text.into_owned()).filter(|user| !user.is_empty())
}

pub(super) fn password(text: Cow<'_, str>) -> Option<SecretText> {
    Some(SecretText::from(text.into_owned())).filter(|password| !password.is_empty())
}

pub(super) fn database(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let number = text.parse().ok().filter(|number| (0..=i64::from(u16::MAX)).contains(number));
    number.ok_or_else(|| {
        "expected the number of a database, as in redis://host/0 or unix:///PATH?db=0".to_owned()
    })
}

fn without_fragment(url: &Url) -> Result<(), String> {
    if url.fragment().is_some() {
        return Err("the URL has no fragment: remove \"#…\"".to_owned());
    }
    Ok(())
}

fn decoded(text: &str) -> Result<SecretText, String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(|text| text.into_owned().into())
        .map_err(|_| "the user or the password is not UTF-8 text".to_owned())
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisAddress({}, tls: {})", self.place, self.place.is_tls())
    }
}

/// For people: `HOST:PORT`, `/PATH`, or `HOST:PORT,HOST:PORT/MASTER`.
impl fmt::Display for RedisPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(endpoint) => f.write_str(&endpoint.socket()),
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Sentinels(sentinels) => {
                let hosts: Vec<_> = sentinels.hosts.iter().map(Endpoint::socket).collect();
                write!(f, "{}/{}", hosts.join(","), sentinels.master)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_becomes_an_address() {
        let of = |text| RedisAddress::parse(text).unwrap();
        let plain = of("redis://h");
        assert_eq!((plain.place.to_string().as_str(), plain.place.is_tls()), ("h:6379", false));
        assert!(plain.login == RedisLogin::default() && plain.database == 0);
        let full = of("rediss://a%40b:p%3Aw@[::1]:443/15");
        assert_eq!((full.place.to_string().as_str(), full.place.is_tls()), ("[::1]:443", true));
        assert_eq!(full.place.endpoints()[0].host, "::1");
        assert_eq!((full.login.user.as_deref(), full.database), (Some("a@b"), 15));
        assert_eq!(full.login.password.as_ref().unwrap().as_str(), "p:w");
        assert!(of("REDISS://h").place.is_tls());
        let old = of("redis://:CANARY@127.0.0.1:7000/");
        assert_eq!(
            (old.login.user.as_deref(), old.login.password.as_ref().unwrap().as_str()),
            (None, "CANARY")
        );
        assert!(!format!("{old:?}").contains("CANARY"));
    }

    #[test]
    fn a_url_may_be_of_a_unix_socket() {
        let of = |text| RedisAddress::parse(text).unwrap();
        let path = |address: &RedisAddress| match &address.place {
            RedisPlace::Socket(path) => path.clone(),
            RedisPlace::Host(_) | RedisPlace::Sentinels(_) => panic!("{address:?}"),
        };
        let plain = of("unix:///run/redis.sock");
        assert_eq!(path(&plain), std::path::Path::new("/run/redis.sock"));
        assert!(plain.login == RedisLogin::default() && plain.database == 0);
        let full = of("redis+unix:///run/my%20redis.sock?db=15&user=a%40b&pass=CANARY%3Aw");
        assert_eq!(path(&full), std::path::Path::new("/run/my redis.sock"));
        assert_eq!((full.login.user.as_deref(), full.database), (Some("a@b"), 15));
        assert_eq!(full.login.password.as_ref().unwrap().as_str(), "CANARY:w");
        assert!(!format!("{full:?}").contains("CANARY"));
    }

    #[test]
    fn what_is_no_address_is_refused_without_quoting_it() {
        for wrong in [
            "CANARY",
            "http://CANARY",
            "redis://",
            "redis:///0",
            "redis://h1:6379,h2:6379/CANARY",
            "redis:CANARY",
            "redis://CANARY@h",
            "redis://:CANARY@h:0",
            "redis://:CANARY@h:99999",
            "redis://:CANARY@h/CANARY",
            "redis://:CANARY@h/-1",
            "redis://h/0?CANARY=1",
            "redis://h#CANARY",
            "redis://:%ffCANARY@h",
            "unix://CANARY.sock",
            "unix://CANARY/run/redis.sock",
            "unix:CANARY.sock",
            "unix:///",
            "unix:///run/redis.sock/",
            "unix:///run/redis.sock?CANARY=1",
            "unix:///run/redis.sock?db=CANARY",
            "unix:///run/redis.sock?user=CANARY",
            "unix:///run/redis.sock#CANARY",
            "unix://:CANARY@/run/redis.sock",
            "redis://a b/",
        ] {
            let said = RedisAddress::parse(wrong).expect_err(wrong);
            assert!(!said.contains("CANARY"), "{said}");
        }
    }
}
