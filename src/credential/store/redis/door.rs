//! The way to the Redis: what is dialled now, with which certificates, and who we are there.

use std::{pin::Pin, sync::Arc};

use redis::{
    AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, RedisResult, aio::MultiplexedConnection,
};

use super::{
    StoreError,
    connection::Shared,
    sentinel::Asked,
    stream::{Seen, Watched},
};
use crate::{
    clock::Instant,
    config::{Endpoint, RedisAddress, RedisConfig, RedisLogin, RedisPlace},
    net::{Dialer, Stream, connect_unix},
};

/// It remembers what was read, and who answered.
pub(super) struct Door {
    config: RedisConfig,
    /// The last one: its certificates are those of the next.
    dialer: Option<Dialer>,
    sentinels: Asked,
}

impl Door {
    /// Reads URL and certificates. And where it is, for people.
    pub(super) fn of(config: &RedisConfig) -> Result<(Self, String), StoreError> {
        let mut door = Self { config: config.clone(), dialer: None, sentinels: Asked::default() };
        let address = door.address()?;
        address.place.endpoints().iter().try_for_each(|endpoint| door.dialer(endpoint).map(drop))?;
        Ok((door, address.place.to_string()))
    }

    /// As the URL says now.
    pub(super) fn address(&self) -> Result<RedisAddress, StoreError> {
        self.config.address().map_err(|what| StoreError::Undialled { what })
    }

    /// What all keys begin with.
    pub(super) fn prefix(&self) -> &str {
        &self.config.prefix
    }

    /// A new stream, in twice the timeout: one half of it is the sentinels'.
    pub(super) async fn stream(
        &mut self,
        place: &RedisPlace,
        shared: &Shared,
        began: Instant,
    ) -> Result<Stream, StoreError> {
        let deadline = began + 2 * shared.timeout;
        let endpoint = match place {
            RedisPlace::Socket(path) => {
                let stream = connect_unix(path, deadline).await;
                return stream.map_err(|error| shared.away(&error.to_string()));
            }
            RedisPlace::Host(endpoint) => endpoint.clone(),
            RedisPlace::Sentinels(sentinels) => {
                let mut asked = std::mem::take(&mut self.sentinels);
                let named = asked.primary(sentinels, |host| self.dialer(host), began + shared.timeout).await;
                self.sentinels = asked;
                named.map_err(|why| shared.away(&why))?
            }
        };
        let stream = self.dialer(&endpoint)?.connect(deadline).await;
        stream.map_err(|error| shared.away(&error.to_string()))
    }

    fn dialer(&mut self, endpoint: &Endpoint) -> Result<Dialer, StoreError> {
        let tls = &self.config.tls;
        let dialer = match &self.dialer {
            Some(last) if last.server_name().is_some() == endpoint.tls => {
                last.at(&endpoint.host, endpoint.port, tls)
            }
            Some(_) | None => Dialer::new(endpoint, tls).map(Dialer::without_http),
        };
        let dialer = dialer.map_err(|error| StoreError::Undialled { what: error.to_string() })?;
        self.dialer = Some(dialer.clone());
        Ok(dialer)
    }
}

/// What moves the bytes of a connection.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Begins to speak, and says who we are.
pub(super) async fn greeted(
    stream: Stream,
    seen: Arc<Seen>,
    login: &RedisLogin,
) -> RedisResult<(MultiplexedConnection, Driver)> {
    let mut info =
        RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    if let Some(user) = &login.user {
        info = info.set_username(user);
    }
    if let Some(password) = &login.password {
        info = info.set_password(password.as_str());
    }
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let made = MultiplexedConnection::new_with_config(&info, Watched::new(stream, seen), config).await;
    made.map(|(redis, driver)| (redis, Box::pin(driver) as Driver))
}
