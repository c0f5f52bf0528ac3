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

use redis::{Cmd, ErrorKind, RedisError, Value, aio::MultiplexedConnection};
use tokio::{sync::watch, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{StoreError, answer, door::Door, keep::Keeper, stream::Seen};
use crate::{
    clock::{self, Instant},
    config::RedisConfig,
};

/// What a lease does, and nothing is left of it.
const PROBE_SCRIPT: &str = r"
redis.call('SET', KEYS[1], '1', 'PX', 1000)
redis.call('DEL', KEYS[1])
return 1
";

/// A connection, as those see it who ask.
pub(super) struct Connection {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    /// For people.
    pub(super) host: String,
    pub(super) timeout: Duration,
    pub(super) state: watch::Sender<State>,
    /// When something new may be begun.
    rests_until: Mutex<Option<Instant>>,
    /// Why it does not write, although it answers.
    refuses: Mutex<Option<StoreError>>,
}

#[derive(Clone)]
pub(super) enum State {
    Dialing,
    Up(Live),
    Down(StoreError),
}

#[derive(Clone)]
pub(super) struct Live {
    pub(super) redis: MultiplexedConnection,
    pub(super) seen: Arc<Seen>,
    /// Cancelled when it has ended, or to end it.
    pub(super) end: CancellationToken,
}

impl Connection {
    /// Reads URL and certificates, and begins to dial: on `tasks`, until `stop`.
    pub(super) fn open(
        config: &RedisConfig,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, StoreError> {
        let (door, host) = Door::of(config)?;
        let shared = Arc::new(Shared {
            host,
            timeout: config.timeout,
            state: watch::Sender::new(State::Dialing),
            rests_until: Mutex::new(None),
            refuses: Mutex::new(None),
        });
        let keeper = Keeper::new(Arc::clone(&shared), door, tasks.clone(), stop.clone());
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
        matches!(*self.shared.state.borrow(), State::Up(_)) && !self.shared.is_refused()
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
    pub(super) async fn ask(
        &self,
        live: &Live,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, StoreError> {
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
    pub(super) async fn probe(&self, live: &Live, prefix: &str, deadline: Instant) -> Result<(), StoreError> {
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

    /// Does it answer, and not write?
    pub(super) fn is_refused(&self) -> bool {
        lock(&self.refuses).is_some()
    }

    /// Ends a connection. Who asks from now on is told why, where it was at fault.
    pub(super) fn lost(&self, live: &Live, why: Option<&StoreError>) {
        self.state.send_if_modified(|state| match state {
            State::Up(current) if Arc::ptr_eq(&current.seen, &live.seen) => {
                *state = why.map_or(State::Dialing, |why| State::Down(why.clone()));
                true
            }
            State::Up(_) | State::Dialing | State::Down(_) => false,
        });
        live.end.cancel();
    }

    pub(super) fn away(&self, why: &str) -> StoreError {
        StoreError::Away { host: self.host.clone(), why: why.to_owned() }
    }

    pub(super) fn nonsense(&self, what: &'static str) -> StoreError {
        StoreError::Nonsense { host: self.host.clone(), what }
    }

    pub(super) fn late(&self, seen: &Seen) -> StoreError {
        match seen.wrong() {
            Some(wrong) => self.nonsense(wrong),
            None if seen.is_within() => self.nonsense("half an answer"),
            None => self.away("it does not answer in time"),
        }
    }

    /// What an error of the crate comes to; none of its text, which may be the peer's.
    pub(super) fn failed(&self, error: &RedisError, seen: &Seen) -> StoreError {
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

    pub(super) fn rests(&self) -> MutexGuard<'_, Option<Instant>> {
        lock(&self.rests_until)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
