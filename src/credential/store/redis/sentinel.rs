//! Redis Sentinel: which Redis is the primary now.
//!
//! ```text
//!   a dial ──► sentinel 1 ──► sentinel 2 ─────────────► sentinel 3
//!              silent         "10.0.0.2", "6379"        is not asked
//!                                  │
//!                                  ├──► is asked first the next time
//!                                  └──► dialled, and asked whether it is the primary (`keep`)
//! ```
//!
//! 1. They are asked at each dial: after a failover it is another Redis. One that answers and does not write is dialled
//!    again, too: it may be cut off from them.
//! 2. They are asked one after the other, all within one timeout: each has an equal part of what is left of it. The
//!    first that names a Redis counts.
//! 3. One that does not know the primary by its name counts no more than one that is silent; but if none helps, that
//!    is what is said, since waiting does not change it.
//! 4. A sentinel is not believed: what it names must have the shape of an address, and say itself that it is the
//!    primary. It gets the password of the primary: with TLS it must have a certificate, too.

use std::{fmt, sync::Arc};

use redis::{ErrorKind, RedisError, RedisResult, Value};
use tokio::time;

use super::{StoreError, answer, door, stream::Seen};
use crate::{
    clock::{self, Instant},
    config::{Endpoint, Sentinels},
    net::Dialer,
};

/// What is remembered from one dial to the next.
#[derive(Default)]
pub(super) struct Asked {
    /// Who answered last.
    first: Option<Endpoint>,
    /// What it named.
    named: Option<Endpoint>,
}

/// Why one is of no help. The later in this list, the more it is worth to be said.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Failure {
    Away(String),
    Nonsense(&'static str),
    Refuses(String),
    Unknown { master: String },
}

impl Asked {
    /// The Redis that the sentinels name, or why there is none by `until`.
    pub(super) async fn primary(
        &mut self,
        sentinels: &Sentinels,
        mut dialer: impl FnMut(&Endpoint) -> Result<Dialer, StoreError>,
        until: Instant,
    ) -> Result<Endpoint, String> {
        let mut hosts: Vec<_> = sentinels.hosts.iter().collect();
        hosts.sort_by_key(|host| Some(*host) != self.first.as_ref());
        let (asked, mut worst) = (hosts.len(), None);
        for (left, host) in (1..=asked as u32).rev().zip(hosts) {
            let now = clock::now();
            let deadline = now + until.saturating_duration_since(now) / left;
            let answer = match dialer(host) {
                Ok(dialer) => ask(sentinels, &dialer, deadline).await,
                Err(error) => Err(Failure::Away(error.to_string())),
            };
            match answer {
                Ok((name, port)) => {
                    let named = Endpoint { host: name, port, ..host.clone() };
                    if self.named.as_ref() != Some(&named) {
                        tracing::info!(
                            master = sentinels.master,
                            primary = named.socket(),
                            "the sentinels name the primary"
                        );
                    }
                    (self.first, self.named) = (Some(host.clone()), Some(named.clone()));
                    return Ok(named);
                }
                Err(failure) => worst = worst.max(Some((failure, host.socket()))),
            }
        }
        let why = worst.map(|(failure, host)| format!(": {host} {failure}")).unwrap_or_default();
        Err(format!("no sentinel names the primary ({asked} asked){why}"))
    }
}

/// What one sentinel names.
async fn ask(sentinels: &Sentinels, dialer: &Dialer, deadline: Instant) -> Result<(String, u16), Failure> {
    let stream = dialer.connect(deadline).await.map_err(|error| Failure::Away(error.to_string()))?;
    let seen = Arc::new(Seen::default());
    let asked = async {
        let (mut redis, driver) = door::greeted(stream, Arc::clone(&seen), &sentinels.login).await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("get-master-addr-by-name").arg(&sentinels.master);
        // The answer fails by itself if the connection has ended.
        let driven = async {
            driver.await;
            std::future::pending().await
        };
        tokio::select! {
            answer = redis.send_packed_command(&command) => answer,
            never = driven => never,
        }
    };
    match time::timeout_at(deadline, Box::pin(asked)).await {
        Ok(answer) => read(answer, &seen, &sentinels.master),
        Err(_) => {
            let late = || Failure::Away("it does not answer in time".to_owned());
            Err(seen.wrong().map_or_else(late, Failure::Nonsense))
        }
    }
}

fn read(answer: RedisResult<Value>, seen: &Seen, master: &str) -> Result<(String, u16), Failure> {
    let value = answer.map_err(|error| failed(&error, seen))?;
    if let Some((code, _)) = answer::refusal(&value) {
        return Err(Failure::Refuses(answer::code(code).to_owned()));
    }
    if value == Value::Nil {
        return Err(Failure::Unknown { master: master.to_owned() });
    }
    address(value).ok_or(Failure::Nonsense("no address"))
}

/// What an error of the crate comes to; none of its text, which may be the peer's.
fn failed(error: &RedisError, seen: &Seen) -> Failure {
    if let Some(wrong) = seen.wrong() {
        return Failure::Nonsense(wrong);
    }
    if error.kind() == ErrorKind::AuthenticationFailed {
        return Failure::Refuses("WRONGPASS".to_owned());
    }
    if error.is_io_error() {
        return Failure::Away("the connection was lost".to_owned());
    }
    error.code().map_or(Failure::Nonsense("another kind of answer"), |code| {
        Failure::Refuses(answer::code(code).to_owned())
    })
}

/// An IP address or the name of a host, and a port.
fn address(value: Value) -> Option<(String, u16)> {
    let values = answer::list(value)?;
    let [host, port] = &values[..] else { return None };
    let text = |value| std::str::from_utf8(answer::string(value)?).ok();
    let (host, port) = (text(host)?, text(port)?.parse().ok().filter(|port| *port != 0)?);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:%".contains(&byte);
    (!host.is_empty() && host.len() <= 253 && host.bytes().all(plain)).then(|| (host.to_owned(), port))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(why) => write!(f, "cannot be asked: {why}"),
            Self::Nonsense(what) => {
                write!(f, "answers nonsense ({what}); look whether url in [state] names a sentinel there")
            }
            Self::Refuses(code) => write!(
                f,
                "refuses ({code}): look at sentinel_user and sentinel_pass of url in [state], and whether it is a sentinel"
            ),
            Self::Unknown { master } => write!(
                f,
                "does not know `{master}`: compare the name in url of [state] with `sentinel monitor` in its configuration"
            ),
        }
    }
}
