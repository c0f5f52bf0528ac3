//! Who dials the Redis, keeps the connection, and dials again when it has ended.

use std::{sync::Arc, time::Duration};

use tokio::time;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    StoreError, answer,
    connection::{Live, Shared, State},
    door::{self, Door},
    stream::Seen,
};
use crate::{
    clock::{self, Instant},
    config::RedisPlace,
    credential::store::LEASE,
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
    door: Door,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Since when there is none; `None` at the very start.
    away: Option<Instant>,
    /// Has that been said?
    said: bool,
    /// Which process answered last.
    run: Option<String>,
    /// Did sentinels name it?
    named: bool,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, door: Door, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { shared, door, tasks, stop, away: None, said: false, run: None, named: false }
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
        let address = self.door.address()?;
        let stream = self.door.stream(&address.place, &shared, began).await?;
        let seen = Arc::new(Seen::default());
        let greeted = door::greeted(stream, Arc::clone(&seen), &address.login);
        let (redis, driver) = match time::timeout_at(deadline, Box::pin(greeted)).await {
            Ok(Ok(made)) => made,
            Ok(Err(error)) => return Err(shared.failed(&error, &seen)),
            Err(_) => return Err(shared.late(&seen)),
        };
        let end = self.stop.child_token();
        let ended = end.clone();
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
        // Sentinels need a moment to notice, and one that was cut off does not know.
        self.named = matches!(address.place, RedisPlace::Sentinels(_));
        if self.named && !answer::is_primary(&info) {
            return Err(shared.away("the one that the sentinels name is not the primary"));
        }
        if self.run.as_ref() != Some(&run) {
            answer::risks(&info).for_each(|risk| tracing::warn!(store = &*shared.host, "{risk}"));
        }
        // A Redis that is still loading says so here.
        let pong = shared.ask(&live, &redis::cmd("PING"), deadline).await?;
        if !answer::is_pong(&pong) {
            return Err(shared.nonsense("another kind of answer"));
        }
        shared.probe(&live, self.door.prefix(), deadline).await?;
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
            let _ = self.shared.probe(live, self.door.prefix(), deadline).await;
            // It may have lost its replicas, and one of them be the primary by now.
            if self.named && self.shared.is_refused() {
                break;
            }
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
