//! The one connection to the Redis: made, kept, and made again.
//!
//! ```text
//!            dialled                    closed                 failed
//!   Dialing ─────────► Up ─────────────────────► Dialing ────────────────► Down(why)
//!      ▲               └── no answer, nonsense ──────────────────────────►  │
//!      └──────────────────────── 100 ms … 1 s later, dialled ◄──────────────┘
//! ```
//!
//! 1. Who asks while it is first dialled waits for it; who asks while it is down is told so at once.
//! 2. A command that is not answered in time ends the connection: what comes later is not waited for. So does an
//!    answer that is none.
//! 3. It is asked now and then to write something and forget it, so that an outage is known before something depends on
//!    it. One that answers and does not write (a replica, a full one, an ACL) is not up, whatever it can still read.
//! 4. After an outage, or where another process answers than before, this sidecar begins nothing new for a
//!    while ([`Connection::resting`]): another may have an answer that it could not write down, and comes first.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, ProtocolVersion, RedisConnectionInfo, RedisError, Value,
    aio::MultiplexedConnection,
};
use tokio::{sync::watch, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    StoreError, answer,
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

/// What a lease does, and nothing is left of it.
const PROBE_SCRIPT: &str = r"
redis.call('SET', KEYS[1], '1', 'PX', 1000)
redis.call('DEL', KEYS[1])
return 1
";

/// How long it is waited before it is dialled again: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Being away for longer than this, others may have noticed too.
const OUTAGE: Duration = Duration::from_secs(1);

/// A connection, as those see it who ask.
pub(super) struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    /// For people.
    host: String,
    timeout: Duration,
    state: watch::Sender<State>,
    /// When something new may be begun.
    rests_until: Mutex<Option<Instant>>,
    /// Why it does not write, although it answers.
    refuses: Mutex<Option<StoreError>>,
}

#[derive(Clone)]
enum State {
    Dialing,
    Up(Live),
    Down(StoreError),
}

#[derive(Clone)]
struct Live {
    redis: MultiplexedConnection,
    seen: Arc<Seen>,
    /// Cancelled when it has ended, or to end it.
    end: CancellationToken,
}

impl Connection {
    /// Reads URL and certificates, and begins to dial: on `tasks`, until `stop`.
    pub(super) fn open(
        config: &RedisConfig,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, StoreError> {
        let undialled = |what| StoreError::Undialled { what };
        let address = config.address().map_err(undialled)?;
        let dialer = dialer(config, &address.endpoint)?;
        let (host, port) = (&address.endpoint.host, address.endpoint.port);
        let shared = Arc::new(Shared {
            host: match &address.socket {
                Some(_) => host.clone(),
                None if host.contains(':') => format!("[{host}]:{port}"),
                None => format!("{host}:{port}"),
            },
            timeout: config.timeout,
            state: watch::Sender::new(State::Dialing),
            rests_until: Mutex::new(None),
            refuses: Mutex::new(None),
        });
        let keeper = Keeper {
            shared: Arc::clone(&shared),
            config: config.clone(),
            dialer: (address.endpoint, dialer),
            tasks: tasks.clone(),
            stop: stop.clone(),
            away: None,
            said: false,
            run: None,
        };
        tasks.spawn(keeper.keep());
        Ok(Self { shared })
    }

    /// Where it is, for people.
    pub(super) fn host(&self) -> &str {
        &self.shared.host
    }

    /// It answers what none of ours would.
    pub(super) fn nonsense(&self) -> StoreError {
        self.shared.nonsense("another kind of answer")
    }

    /// What is kept there is not of this version.
    pub(super) fn unreadable(&self) -> StoreError {
        self.shared.nonsense("a record that this version cannot read")
    }

    /// By when a call that begins now must have its answers.
    pub(super) fn deadline(&self) -> Instant {
        clock::now() + self.shared.timeout
    }

    /// Can it be asked, and does it write?
    pub(super) fn is_up(&self) -> bool {
        matches!(*self.shared.state.borrow(), State::Up(_)) && lock(&self.shared.refuses).is_none()
    }

    /// Why it is not up, if that is known.
    pub(super) fn error(&self) -> Option<StoreError> {
        match &*self.shared.state.borrow() {
            State::Down(error) => Some(error.clone()),
            State::Up(_) | State::Dialing => lock(&self.shared.refuses).clone(),
        }
    }

    /// Waits until it can be asked.
    pub(super) async fn up(&self) {
        // It ends with the connection only, and then nobody waits.
        let _ = self.shared.state.subscribe().wait_for(|state| matches!(state, State::Up(_))).await;
    }

    /// For how long nothing new is to be begun.
    pub(super) fn resting(&self, now: Instant) -> Option<Duration> {
        let until = (*self.shared.rests())?;
        Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// What it answers to a command.
    pub(super) async fn ask(&self, command: &Cmd, deadline: Instant) -> Result<Value, StoreError> {
        let mut state = self.shared.state.subscribe();
        let settled = state.wait_for(|state| !matches!(state, State::Dialing));
        let settled = match time::timeout_at(deadline, settled).await {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_)) => return Err(StoreError::Stopped),
            Err(_) => return Err(self.shared.away("it is being dialled")),
        };
        match settled {
            State::Up(live) => self.shared.ask(&live, command, deadline).await,
            State::Down(error) => Err(error),
            State::Dialing => Err(self.shared.away("it is being dialled")),
        }
    }
}

impl Shared {
    async fn ask(&self, live: &Live, command: &Cmd, deadline: Instant) -> Result<Value, StoreError> {
        let mut redis = live.redis.clone();
        live.seen.asks();
        let error = match time::timeout_at(deadline, redis.send_packed_command(command)).await {
            Ok(Ok(value)) => match answer::refusal(&value) {
                None => return Ok(value),
                Some((code, last)) => {
                    // What is a replica now, or is loading, may be another one at the next dial.
                    if last {
                        self.lost(live, None);
                    }
                    return Err(answer::refused(&self.host, code));
                }
            },
            Ok(Err(error)) => self.failed(&error, &live.seen),
            Err(_) => self.late(&live.seen),
        };
        self.lost(live, Some(&error));
        Err(error)
    }

    /// Has it write something. The error: the connection is no use.
    async fn probe(&self, live: &Live, prefix: &str, deadline: Instant) -> Result<(), StoreError> {
        let mut command = redis::cmd("EVAL");
        // In braces is what a cluster places keys by.
        command.arg(PROBE_SCRIPT.trim()).arg(1).arg(format!("{{{prefix}}}:probe"));
        let refused = match self.ask(live, &command, deadline).await {
            Ok(value) if answer::integer(&value) == Some(1) => None,
            Ok(_) => return Err(self.nonsense("another kind of answer")),
            Err(error @ StoreError::Refused { .. }) if !live.end.is_cancelled() => Some(error),
            Err(error) => return Err(error),
        };
        let before = std::mem::replace(&mut *lock(&self.refuses), refused.clone());
        let store = &*self.host;
        match (before, refused) {
            (None, Some(error)) => {
                tracing::error!(store, %error, "the store answers, and does not write: refresh tokens are not exchanged");
            }
            (Some(_), None) => tracing::info!(store, "the store writes again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        Ok(())
    }

    /// Ends a connection. Who asks from now on is told why, where it was at fault.
    fn lost(&self, live: &Live, why: Option<&StoreError>) {
        self.state.send_if_modified(|state| match state {
            State::Up(current) if Arc::ptr_eq(&current.seen, &live.seen) => {
                *state = why.map_or(State::Dialing, |why| State::Down(why.clone()));
                true
            }
            State::Up(_) | State::Dialing | State::Down(_) => false,
        });
        live.end.cancel();
    }

    fn away(&self, why: &str) -> StoreError {
        StoreError::Away { host: self.host.clone(), why: why.to_owned() }
    }

    fn nonsense(&self, what: &'static str) -> StoreError {
        StoreError::Nonsense { host: self.host.clone(), what }
    }

    fn late(&self, seen: &Seen) -> StoreError {
        match seen.wrong() {
            Some(wrong) => self.nonsense(wrong),
            None if seen.is_within() => self.nonsense("half an answer"),
            None => self.away("it does not answer in time"),
        }
    }

    /// What an error of the crate comes to; none of its text, which may be the peer's.
    fn failed(&self, error: &RedisError, seen: &Seen) -> StoreError {
        if let Some(wrong) = seen.wrong() {
            return self.nonsense(wrong);
        }
        if error.kind() == ErrorKind::AuthenticationFailed {
            return answer::refused(&self.host, "WRONGPASS");
        }
        if error.is_io_error() {
            let lost = || self.away("the connection was lost");
            return if seen.is_within() { self.nonsense("half an answer") } else { lost() };
        }
        match error.code() {
            Some(code) => answer::refused(&self.host, code),
            None => self.nonsense("another kind of answer"),
        }
    }

    fn rests(&self) -> MutexGuard<'_, Option<Instant>> {
        lock(&self.rests_until)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Dials, and keeps what it has dialled.
struct Keeper {
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
    async fn keep(mut self) {
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

fn dialer(config: &RedisConfig, endpoint: &Endpoint) -> Result<Dialer, StoreError> {
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
