//! `[state]` with `store = "redis"`: where the Redis is, and who we are there.
//!
//! The URL is a secret, since it may hold a password; it is read again at each connect, so that a password that
//! was changed in its file counts. No error quotes any of it.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::{
    Endpoint, RedisAddress, RedisConfig, Secret, UpstreamTls,
    declare::{Declared, Kind, table, value},
    general::StateSecret,
    route::Tls,
    secret_text::SecretText,
    section::Section,
    value::{Kept, Time, string},
};

/// Redis' own, with TLS and without.
const PORT: u16 = 6379;

/// A lease is renewed every few seconds, and a renewal must not take longer than that.
const LONGEST: Duration = Duration::from_secs(2);

const EXPECTED: &str = "expected a URL such as redis://user:password@host:6379/0, rediss:// for TLS, or unix:///PATH for a Unix socket";

table! {
    /// A Redis that several sidecars share.
    pub(super) struct RedisTable {
        /// `redis://` or `rediss://`, with user, password and database; of a Unix socket `unix:///PATH`, with these as
        /// `?db=0&user=USER&pass=PASSWORD`.
        url: required RedisUrl = "url = { file = \"PATH\" } or \"redis://…\"", restart();
        /// Key of all names and seals: who lacks it can open and guess nothing of what is in Redis. All sidecars that
        /// share it have the same. To replace it, write the new one and the old one, `[NEW, OLD]`.
        secret: required StateSecret = "secret = { file = \"PATH\" }, the same for all sidecars; `openssl rand -base64 32` makes one",
            restart();
        /// What every name in Redis begins with.
        prefix: or Beginning = "\"perennial\"", restart();
        /// How long an answer of Redis is waited for.
        timeout: or Timeout = "\"1s\"", restart();
        /// TLS to Redis.
        tls: perhaps Tls, restart();
    }
}

value! {
    /// Where a URL is kept, which is one now; and whether it asks for TLS.
    pub(super) RedisUrl: (Secret, bool), Kind::Secret, |value, at| {
        let url = Kept::read(value, at)?;
        let text = url.reveal().map_err(|error| error.to_string())?;
        RedisAddress::parse(&text).map(|address| (url, address.endpoint.tls))
    }
}

value! {
    pub(super) Timeout: Duration, Kind::Time, |value, at| match Time::read(value, at)? {
        long if long > LONGEST => Err("must be at most \"2s\": a lease is renewed that often".to_owned()),
        timeout => Ok(timeout),
    }
}

value! {
    /// What all keys begin with: nothing that has a meaning in a key, a pattern or a cluster.
    pub(super) Beginning: String, Kind::Text, |value, _| {
        let text = string(value)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
        if text.len() <= 64 && text.bytes().all(plain) {
            return Ok(text);
        }
        Err("expected 1 to 64 of A-Z, a-z, 0-9, _, -, . and :, with which all keys begin".to_owned())
    }
}

impl RedisConfig {
    /// `None`: there is a problem, which is noted.
    pub(super) fn of(table: &Section<'_>) -> Option<Self> {
        let RedisTable { url: (url, secure), secret, prefix, timeout, tls } = RedisTable::read(table)?;
        if !secure && table.has("tls") {
            let message = "has no effect: the URL is not rediss://; change it, or remove this table";
            table.at("tls").problem(message);
        }
        Some(Self { url, secret, prefix, timeout, tls: UpstreamTls::of(tls) })
    }

    /// Where the Redis is and who we are there, as the URL says now.
    pub fn address(&self) -> Result<RedisAddress, String> {
        let text = self.url.reveal().map_err(|error| error.to_string())?;
        RedisAddress::parse(&text)
    }
}

impl RedisAddress {
    /// Reads a URL. An error never quotes it.
    fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|_| EXPECTED.to_owned())?;
        let address = match url.scheme() {
            "redis" => Self::at_host(&url, false),
            "rediss" => Self::at_host(&url, true),
            "unix" | "redis+unix" => Self::at_socket(&url),
            _ => Err(EXPECTED.to_owned()),
        }?;
        if url.fragment().is_some() {
            return Err("the URL has no fragment: remove \"#…\"".to_owned());
        }
        if address.user.is_some() && address.password.is_none() {
            return Err("has a user without a password: add the password, or remove the user".to_owned());
        }
        Ok(address)
    }

    fn at_host(url: &Url, tls: bool) -> Result<Self, String> {
        if url.query().is_some() {
            return Err("the URL has no options: remove \"?…\"".to_owned());
        }
        // The parser leaves the host of a scheme that it does not know as it is.
        let host = match url.host_str().map(Host::parse) {
            Some(Ok(Host::Domain(name))) if !name.is_empty() => name,
            Some(Ok(Host::Ipv4(ip))) => ip.to_string(),
            Some(Ok(Host::Ipv6(ip))) => ip.to_string(),
            Some(Ok(Host::Domain(_)) | Err(_)) | None => return Err(EXPECTED.to_owned()),
        };
        let port = url.port().unwrap_or(PORT);
        if port == 0 {
            return Err("port 0 cannot be dialled".to_owned());
        }
        Ok(Self {
            endpoint: Endpoint { tls, host, port, path_and_query: "/".to_owned() },
            socket: None,
            user: Some(decoded(url.username())?.to_string()).filter(|user| !user.is_empty()),
            password: url.password().map(decoded).transpose()?.filter(|password| !password.is_empty()),
            database: database(url.path().trim_start_matches('/'))?,
        })
    }

    /// `unix:///PATH?db=0&user=USER&pass=PASSWORD`.
    fn at_socket(url: &Url) -> Result<Self, String> {
        let path = decoded(url.path())?.to_string();
        if url.has_host() || !path.starts_with('/') || path.ends_with('/') {
            return Err(EXPECTED.to_owned());
        }
        // For people, and to be told apart from another.
        let endpoint = Endpoint { tls: false, host: path.clone(), port: 0, path_and_query: "/".to_owned() };
        let (mut user, mut password, mut number) = (None, None, 0);
        for (name, value) in url.query_pairs() {
            match &*name {
                "db" => number = database(&value)?,
                "user" => user = Some(value.into_owned()).filter(|user| !user.is_empty()),
                "pass" => password = Some(SecretText::from(value.into_owned())).filter(|it| !it.is_empty()),
                _ => return Err("the options of a Unix socket are db, user and pass".to_owned()),
            }
        }
        Ok(Self { endpoint, socket: Some(path.into()), user, password, database: number })
    }
}

fn database(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let number = text.parse().ok().filter(|number| (0..=i64::from(u16::MAX)).contains(number));
    number.ok_or_else(|| {
        "expected the number of a database, as in redis://host/0 or unix:///PATH?db=0".to_owned()
    })
}

fn decoded(text: &str) -> Result<SecretText, String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(|text| text.into_owned().into())
        .map_err(|_| "the user or the password is not UTF-8 text".to_owned())
}

impl std::fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedisAddress({}:{}, tls: {})", self.endpoint.host, self.endpoint.port, self.endpoint.tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_becomes_an_address() {
        let of = |text| RedisAddress::parse(text).unwrap();
        let plain = of("redis://h");
        assert_eq!(
            (plain.endpoint.host.as_str(), plain.endpoint.port, plain.endpoint.tls),
            ("h", 6379, false)
        );
        assert_eq!((plain.user, plain.password, plain.database), (None, None, 0));
        let full = of("rediss://a%40b:p%3Aw@[::1]:443/15");
        assert_eq!((full.endpoint.host.as_str(), full.endpoint.port, full.endpoint.tls), ("::1", 443, true));
        assert_eq!((full.user.as_deref(), full.database), (Some("a@b"), 15));
        assert_eq!(full.password.unwrap().as_str(), "p:w");
        let old = of("redis://:CANARY@127.0.0.1:7000/");
        assert_eq!((old.user.as_deref(), old.password.as_ref().unwrap().as_str()), (None, "CANARY"));
        assert!(!format!("{old:?}").contains("CANARY"));
    }

    #[test]
    fn a_url_may_be_of_a_unix_socket() {
        let of = |text| RedisAddress::parse(text).unwrap();
        let path = |address: &RedisAddress| address.socket.clone().unwrap();
        let plain = of("unix:///run/redis.sock");
        assert_eq!(path(&plain), std::path::Path::new("/run/redis.sock"));
        assert_eq!((plain.user, plain.password, plain.database), (None, None, 0));
        let full = of("redis+unix:///run/my%20redis.sock?db=15&user=a%40b&pass=CANARY%3Aw");
        assert_eq!(path(&full), std::path::Path::new("/run/my redis.sock"));
        assert_eq!((full.user.as_deref(), full.database), (Some("a@b"), 15));
        assert_eq!(full.password.as_ref().unwrap().as_str(), "CANARY:w");
        assert!(!format!("{full:?}").contains("CANARY"));
    }

    #[test]
    fn what_is_no_address_is_refused_without_quoting_it() {
        for wrong in [
            "CANARY",
            "http://CANARY",
            "redis://",
            "redis:///0",
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
            let said = RedisAddress::parse(wrong).unwrap_err();
            assert!(!said.contains("CANARY"), "{said}");
        }
    }
}
