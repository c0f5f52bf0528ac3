//! Who dials the Redis, keeps the connection, and dials again when it has ended.

use std::{sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, aio::MultiplexedConnection};
use tokio::time;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    StoreError, answer,
    connection::{Live, Shared, State},
    stream::{Seen, Watched},
};
use crate::{
    clock::{self, Instant},
    config::{Endpoint, RedisAddress, RedisConfig},
    credential::store::LEASE,
    net::{Dialer, connect_unix},
};

/// How often it is asked to write something.
const PROBE: Duration = Duration::from_secs(2);

/// How long it is waited before it is dialled again: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Being away for longer than this, others may have noticed too.
const OUTAGE: Duration = Duration::from_secs(1);

/// Dials, and keeps what it has dialled.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    config: RedisConfig,
    /// For the endpoint that it was made for.
    dialer: (Endpoint, Dialer),
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Since when there is none; `None` at the very start.
    away: Option<Instant>,
    /// Has that been said?
    said: bool,
    /// Which process answered last.
    run: Option<String>,
}

impl Keeper {
    pub(super) fn new(
        shared: Arc<Shared>,
        config: RedisConfig,
        dialer: (Endpoint, Dialer),
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self { shared, config, dialer, tasks, stop, away: None, said: false, run: None }
    }

    pub(super) async fn keep(mut self) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.run()).await;
        self.shared.state.send_replace(State::Down(StoreError::Stopped));
    }

    async fn run(&mut self) {
        let mut wait = BACKOFF.0;
        loop {
            let began = clock::now();
            match self.dial(began).await {
                Ok((live, run)) => {
                    wait = BACKOFF.0;
                    self.back(live.clone(), run);
                    self.away = Some(self.stay(&live).await);
                }
                Err(error) => {
                    self.away.get_or_insert(began);
                    self.fallen(error);
                    time::sleep(wait.mul_f64(fastrand::f64().mul_add(0.5, 0.5))).await;
                    wait = (wait * 2).min(BACKOFF.1);
                }
            }
        }
    }

    /// A new connection that answers, and which process it is that does.
    async fn dial(&mut self, began: Instant) -> Result<(Live, String), StoreError> {
        let shared = Arc::clone(&self.shared);
        let deadline = began + 2 * shared.timeout;
        let address = self.config.address().map_err(|what| StoreError::Undialled { what })?;
        if address.endpoint != self.dialer.0 {
            self.dialer = (address.endpoint.clone(), dialer(&self.config, &address.endpoint)?);
        }
        let stream = match &address.socket {
            Some(path) => connect_unix(path, deadline).await.map_err(|error| error.to_string()),
            None => self.dialer.1.connect(deadline).await.map_err(|error| error.to_string()),
        };
        let stream = stream.map_err(|why| shared.away(&why))?;
        let seen = Arc::new(Seen::default());
        let stream = Watched::new(stream, Arc::clone(&seen));
        let (info, config) = (info(&address), AsyncConnectionConfig::new().set_response_timeout(None));
        let made = MultiplexedConnection::new_with_config(&info, stream, config);
        let (redis, driver) = match time::timeout_at(deadline, Box::pin(made)).await {
            Ok(Ok(made)) => made,
            Ok(Err(error)) => return Err(shared.failed(&error, &seen)),
            Err(_) => return Err(shared.late(&seen)),
        };
        let end = self.stop.child_token();
        let ended = end.clone();
        let driver = Box::pin(driver);
        self.tasks.spawn(async move {
            ended.run_until_cancelled(driver).await;
            ended.cancel();
        });
        let live = Live { redis, seen, end: end.clone() };
        // Whatever goes wrong from here on, the driver ends.
        let guard = end.drop_guard();
        if address.database != 0 {
            // The crate would do it too, and not say why it was refused.
            shared.ask(&live, redis::cmd("SELECT").arg(address.database), deadline).await?;
        }
        let info = shared.ask(&live, &redis::cmd("INFO"), deadline).await?;
        let run = answer::run_id(&info).ok_or_else(|| shared.nonsense("no INFO"))?;
        if self.run.as_ref() != Some(&run) {
            answer::risks(&info).for_each(|risk| tracing::warn!(store = &*shared.host, "{risk}"));
        }
        // A Redis that is still loading says so here.
        let pong = shared.ask(&live, &redis::cmd("PING"), deadline).await?;
        if !answer::is_pong(&pong) {
            return Err(shared.nonsense("another kind of answer"));
        }
        shared.probe(&live, &self.config.prefix, deadline).await?;
        guard.disarm();
        Ok((live, run))
    }

    /// Until the connection has ended; since when it was no use.
    async fn stay(&self, live: &Live) -> Instant {
        loop {
            let ended = live.end.cancelled();
            if time::timeout(PROBE, ended).await.is_ok() {
                break;
            }
            let deadline = clock::now() + self.shared.timeout;
            // What comes of it is noted where it is asked.
            let _ = self.shared.probe(live, &self.config.prefix, deadline).await;
        }
        self.shared.lost(live, None);
        let silent = matches!(*self.shared.state.borrow(), State::Down(_));
        let since = if silent { self.shared.timeout } else { Duration::ZERO };
        clock::now().checked_sub(since).unwrap_or_else(clock::now)
    }

    /// It answers, again or for the first time.
    fn back(&mut self, live: Live, run: String) {
        let now = clock::now();
        let gone = self.away.take().map(|since| now.saturating_duration_since(since));
        let another = self.run.as_ref().is_some_and(|known| *known != run);
        if another || gone.is_some_and(|gone| gone >= OUTAGE) {
            *self.shared.rests() = Some(now + LEASE);
        }
        self.run = Some(run);
        self.shared.state.send_replace(State::Up(live));
        let store = &*self.shared.host;
        if std::mem::take(&mut self.said) {
            let duration_ms = clock::milliseconds(gone.unwrap_or_default());
            tracing::info!(store, duration_ms, restarted = another, "store back");
        } else {
            tracing::debug!(store, restarted = another, "store connected");
        }
    }

    /// It cannot be reached, or does not answer.
    fn fallen(&mut self, error: StoreError) {
        if !std::mem::replace(&mut self.said, true) {
            tracing::error!(
                store = &*self.shared.host,
                %error,
                "store away: sessions and their tokens go on, and what this sidecar knows of superseded tokens \
                 still counts; refresh tokens are not exchanged, and what others revoke is not known until it is back"
            );
        }
        self.shared.state.send_replace(State::Down(error));
    }
}

pub(super) fn dialer(config: &RedisConfig, endpoint: &Endpoint) -> Result<Dialer, StoreError> {
    let dialer = Dialer::new(endpoint, &config.tls);
    dialer.map(Dialer::without_http).map_err(|error| StoreError::Undialled { what: error.to_string() })
}

/// Who we are there.
fn info(address: &RedisAddress) -> RedisConnectionInfo {
    let mut info =
        RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    if let Some(user) = &address.user {
        info = info.set_username(user);
    }
    if let Some(password) = &address.password {
        info = info.set_password(password.as_str());
    }
    info
}
