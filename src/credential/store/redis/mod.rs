//! The store that several sidecars share: a Redis, or a Valkey.
//!
//! ```text
//!   lease, renew, keep ──► leases ───┐
//!                                    ├──► connection ──► stream (watched) ──► Redis
//!   standing, supersede ─► records ──┘       └── keep: dials it ── door ── sentinel: where it is now
//!                            │  ▲
//!                            ▼  └── backlog: what could not be written yet
//!                          memory: what this sidecar wrote or read
//! ```
//!
//! 1. All sidecars that have the same prefix and the same secret of `[state]` make the same key of the same token.
//!    Without that secret nobody gets from the key back to a token, or can test whether it is one.
//! 2. What is written down is sealed with that secret, too. Redis sees no token and no secret.
//! 3. While it is away, what this sidecar knows itself counts.
//! 4. No call takes longer than about twice the timeout of the configuration.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::hmac;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    StoreError,
    index::{Index, Spaced, StoreKey},
    keys::Keys,
    memory::Memory,
};
use crate::{
    clock::Now,
    config::{RedisConfig, SecretText},
    credential::{
        hash::hashed,
        history::{Change, Standing, TokenKey},
    },
};

mod answer;
mod backlog;
mod connection;
mod door;
mod keep;
mod leases;
mod records;
mod sentinel;
mod shape;
mod stream;

use backlog::Backlog;
use connection::Connection;
use leases::Leases;
pub(super) use leases::{Answer, Fence};
use records::{Raw, Records};

/// How long it is waited before what could not be written is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// What the keys of this store are made with, beside the prefix and the secret.
const PURPOSE: &[u8] = b"perennial: keys that sidecars share";

/// A store in Redis.
pub(super) struct Redis {
    connection: Connection,
    prefix: String,
    /// What this sidecar wrote or read.
    local: Memory,
    backlog: Backlog,
    /// When it was last said that others' revocations are not known.
    blind: Mutex<Spaced>,
}

impl Redis {
    /// Reads URL and certificates; whether it can be reached is not asked. Its tasks end with `stop`.
    pub(super) fn open(
        config: &RedisConfig,
        history_bytes: usize,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Arc<Self>, StoreError> {
        let connection = Connection::open(config, tasks, stop)?;
        let local = Memory::with_keys(Keys::of(&key(&config.prefix), &config.secret)?, history_bytes);
        let (prefix, backlog, blind) = (config.prefix.clone(), Backlog::default(), Mutex::default());
        let redis = Arc::new(Self { connection, prefix, local, backlog, blind });
        let (late, stop) = (Arc::clone(&redis), stop.clone());
        tasks.spawn(async move {
            stop.run_until_cancelled(late.catch_up()).await;
            let lost = late.backlog.len();
            if lost > 0 {
                tracing::error!(
                    lost,
                    "tokens were superseded while the store was away, and that is not written down"
                );
            }
        });
        Ok(redis)
    }

    pub(super) fn index(&self) -> &Index {
        self.local.index()
    }

    /// Can it be asked, and does it write?
    pub(super) fn is_up(&self) -> bool {
        self.connection.is_up()
    }

    /// Why it is not up.
    pub(super) fn error(&self) -> Option<StoreError> {
        self.connection.error()
    }
}

/// The history.
impl Redis {
    /// How a token stands: as Redis says, or while it is away, as far as this sidecar knows.
    pub(super) async fn standing(&self, key: &TokenKey, presented: &str, now: Now) -> Standing<SecretText> {
        let known = self.index().standing(key, presented, now);
        // Nothing comes after that.
        if known == Standing::Revoked {
            return known;
        }
        match self.records().standing(key, now, self.connection.deadline()).await {
            Ok(records) => self.learn(&records, now),
            Err(error) => self.blind(&known, &error, now),
        }
        self.index().standing(key, presented, now)
    }

    /// Writes a change down. Where that fails it counts here from now on, and is written down later; it is an error
    /// all the same.
    pub(super) async fn take(&self, change: Change) -> Result<(), StoreError> {
        let change = Arc::new(change);
        let written = self.write(&change).await;
        if written.is_err() {
            self.local.take(&change);
            self.backlog.push(change);
        }
        written
    }

    /// Of what this sidecar knows. In Redis each record ends by itself.
    pub(super) fn sweep(&self, now: Now) {
        self.local.sweep(now);
    }

    async fn write(&self, change: &Change) -> Result<(), StoreError> {
        let records = self.records().write(change, self.connection.deadline()).await?;
        self.learn(&records, change.now());
        Ok(())
    }

    fn learn(&self, records: &HashMap<TokenKey, Raw>, now: Now) {
        let records = records.iter().filter(|(_, raw)| !raw.is_empty());
        self.local.learn(records.map(|(key, raw)| (key, raw.as_slice())), records::decoded, now);
    }

    /// A token that nobody here knows is the service's to judge.
    fn blind(&self, known: &Standing<SecretText>, error: &StoreError, now: Now) {
        let unknown = usize::from(*known == Standing::Unknown);
        let mut blind = self.blind.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tokens) = blind.due(unknown, now.mono) {
            tracing::warn!(%error, tokens, "what other sidecars revoked is not known meanwhile: unknown tokens are let through");
        }
    }

    /// Writes down what could not be, whenever it can.
    async fn catch_up(&self) {
        loop {
            self.backlog.filled().await;
            self.connection.up().await;
            let late = self.backlog.len();
            while let Some(change) = self.backlog.first() {
                if let Err(error) = self.write(&change).await {
                    tracing::debug!(%error, "changes wait to be written down");
                    tokio::time::sleep(AGAIN).await;
                    self.connection.up().await;
                    continue;
                }
                self.backlog.done(&change);
            }
            tracing::info!(changes = late, "what was superseded while the store was away is written down");
        }
    }

    fn records(&self) -> Records<'_> {
        Records { connection: &self.connection, prefix: &self.prefix }
    }
}

/// Grants.
impl Redis {
    pub(super) async fn lease(&self, lineage: &TokenKey) -> Result<Answer, StoreError> {
        self.leases().lease(lineage).await
    }

    pub(super) async fn renew(&self, lineage: &TokenKey, fence: &Fence) -> Result<(), StoreError> {
        self.leases().renew(lineage, fence).await
    }

    /// At the worst the lease ends by itself.
    pub(super) async fn release(&self, lineage: &TokenKey, fence: &Fence) {
        if let Err(error) = self.leases().release(lineage, fence).await {
            tracing::debug!(%error, "a lease was not given back, and ends by itself");
        }
    }

    pub(super) async fn grant(&self, lineage: &TokenKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.leases().grant(lineage).await
    }

    pub(super) async fn keep(
        &self,
        lineage: &TokenKey,
        fence: &Fence,
        number: u64,
        sealed: &[u8],
    ) -> Result<(), StoreError> {
        self.leases().keep(lineage, fence, number, sealed).await
    }

    fn leases(&self) -> Leases<'_> {
        Leases { connection: &self.connection, prefix: &self.prefix }
    }
}

/// The base of the keys, the same for all that have the same prefix.
fn key(prefix: &str) -> StoreKey {
    hashed(&hmac::Key::new(hmac::HMAC_SHA256, PURPOSE), &[prefix.as_bytes()])
}
