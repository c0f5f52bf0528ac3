//! `[state]` with `store = "redis"`: where the Redis is, and who we are there.
//!
//! The URL is a secret, since it may hold a password; it is read again at each connect, so that a password that
//! was changed in its file counts. No error quotes any of it.

use std::time::Duration;

use super::{
    RedisAddress, RedisConfig, Secret, UpstreamTls,
    declare::{Declared, Kind, table, value},
    general::StateSecret,
    route::Tls,
    section::Section,
    value::{Kept, Time, string},
};

mod address;
mod sentinels;

/// A lease is renewed every few seconds, and a renewal must not take longer than that.
const LONGEST: Duration = Duration::from_secs(2);

table! {
    /// A Redis that several sidecars share.
    pub(super) struct RedisTable {
        /// `redis://` or `rediss://`, with user, password and database; of a Unix socket `unix:///PATH`, with these as
        /// `?db=0&user=USER&pass=PASSWORD`. With Redis Sentinel `redis+sentinel://` or `rediss+sentinel://`, with the
        /// hosts of the sentinels and their name of the primary.
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
        RedisAddress::parse(&text).map(|address| (url, address.place.is_tls()))
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
            let message = "has no effect: the URL is not rediss:// or rediss+sentinel://; change it, or remove this table";
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
