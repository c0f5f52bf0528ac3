//! The store that several sidecars share: a Redis, or a Valkey.
//!
//! ```text
//!   lease, renew, keep ──► leases ───┐
//!                                    ├──► connection ──► stream (watched) ──► Redis
//!   standing, supersede ─► records ──┘
//!                            │  ▲
//!                            ▼  └── backlog: what could not be written yet
//!                          memory: what this sidecar wrote or read
//! ```
//!
//! 1. All sidecars make the same key of the same token: the hash is keyed with the prefix alone. Nobody gets from
//!    it back to a token, which has far too many bits to be guessed; a secret with few bits would be.
//! 2. What is written down is sealed, as on disk. Redis sees no token and no secret.
//! 3. While it is away, what this sidecar knows itself counts.
//! 4. No call takes longer than about twice the timeout of the configuration.

use aws_lc_rs::hmac;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    StoreError,
    index::{Index, StoreKey},
    memory::Memory,
};
use crate::{
    clock::Now,
    config::RedisConfig,
    credential::{
        hash::hashed,
        history::{Change, TokenKey},
    },
};

mod answer;
mod connection;
mod leases;
mod shape;
mod stream;

use connection::Connection;
use leases::Leases;
pub(super) use leases::{Answer, Fence};

/// What the keys of this store are made with, beside the prefix. Not a secret.
const PURPOSE: &[u8] = b"perennial: keys that sidecars share";

/// A store in Redis.
pub(super) struct Redis {
    connection: Connection,
    prefix: String,
    /// What this sidecar wrote or read.
    local: Memory,
}

impl Redis {
    /// Reads URL and certificates; whether it can be reached is not asked. Its tasks end with `stop`.
    pub(super) fn open(
        config: &RedisConfig,
        history_bytes: usize,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, StoreError> {
        let connection = Connection::open(config, tasks, stop)?;
        let local = Memory::with_key(&key(&config.prefix), history_bytes);
        Ok(Self { connection, prefix: config.prefix.clone(), local })
    }

    pub(super) fn index(&self) -> &Index {
        self.local.index()
    }

    /// Can it be asked?
    pub(super) fn is_up(&self) -> bool {
        self.connection.is_up()
    }
}

/// The history.
impl Redis {
    pub(super) fn take(&self, change: &Change) {
        self.local.take(change);
    }

    pub(super) fn sweep(&self, now: Now) {
        self.local.sweep(now);
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

/// The same for all that have the same prefix.
fn key(prefix: &str) -> StoreKey {
    hashed(&hmac::Key::new(hmac::HMAC_SHA256, PURPOSE), &[prefix.as_bytes()])
}
