//! The store: what the next process has to know. In memory alone, on disk as well, or shared in Redis.
//!
//! ```text
//!   the history of the clients' tokens                  the grants of sources that give each answer once
//!
//!   key ───────────────► a keyed hash                   lineage ──► a keyed hash, and a seal
//!   standing ──────────► index ──► history (pure)       lease ────► who asks now
//!   supersede, sweep ──► memory: index                  grant ────► the newest
//!                        disk:   turn ──► draft         keep ─────► memory, disk or Redis, durable
//!                        ──► database ──► index
//!                        redis:  draft ──► compare
//!                        and set ──► memory: index
//! ```
//!
//! 1. No usable token is at rest, in memory or on disk: a token is a keyed hash, its successor's text is sealed
//!    with the token itself (`seal`), and a grant with the operator's secret (`grant`). If `[state]` has a secret, it
//!    is part of every hash and every seal (`keys`).
//! 2. [`Store::supersede`] and [`Store::keep`] return when the change is durable; nobody sees it before. After an
//!    error nothing has changed.
//! 3. Every method is async: a store that several processes share has to ask over the network.
//! 4. In Redis the same holds, with one exception: while it is away, a supersession counts in this process at once,
//!    and [`Store::supersede`] is an error although it will be written down (`redis`).

use std::{fmt, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    history::{Change, Seen, Standing, Supersession, TokenKey},
    token::Generation,
};
use crate::{
    clock::{self, Instant, Now},
    config::{SecretText, StateConfig},
};

mod disk;
mod error;
mod file;
mod grant;
mod index;
mod keys;
mod local;
mod memory;
mod redis;
mod row;
mod seal;
mod table;
#[cfg(test)]
mod tests;

use self::redis::{Answer, Fence, Redis};
use disk::Disk;
pub use error::StoreError;
pub use grant::{Grant, Granted, LEASE, Leased, Lineage, RefreshLease};
use local::Local;
use memory::Memory;

/// Where the history of the clients' tokens is kept, and what sources gave.
pub struct Store {
    kept: Kept,
    local: Arc<Local>,
}

enum Kept {
    /// For as long as the process lives.
    Memory(Box<Memory>),
    /// Over its end as well.
    Disk(Disk),
    /// For several processes.
    Redis(Arc<Redis>),
}

/// `new` takes the place of `old`.
pub struct Supersede<'t> {
    pub old: TokenKey,
    pub old_text: &'t str,
    pub new: TokenKey,
    pub new_text: &'t str,
    /// Of `new`.
    pub generation: Generation,
    /// When `new` ends, on the wall clock; `None` where nobody told.
    pub expires_wall: Option<Duration>,
    /// How long `old` is still taken.
    pub grace: Duration,
    /// How long `old` is remembered.
    pub revoke_for: Duration,
    pub now: Now,
}

impl Store {
    /// Opens the store, and loads what it remembers; at most `history_bytes` of it. Blocks: it is for the start.
    /// A store that needs a task has it on `tasks`, until `stop`.
    pub fn open(
        config: &StateConfig,
        history_bytes: usize,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, StoreError> {
        let kept = match config {
            StateConfig::Memory => Kept::Memory(Box::new(Memory::new(history_bytes)?)),
            StateConfig::Disk { path, secret } if secret.is_empty() => {
                tracing::warn!(
                    "the store on disk has no secret: who reads the file and guesses a token can tell that it is one; \
                     set secret in [state]"
                );
                Kept::Disk(Disk::open(path, secret, history_bytes)?)
            }
            StateConfig::Disk { path, secret } => Kept::Disk(Disk::open(path, secret, history_bytes)?),
            StateConfig::Redis(redis) => Kept::Redis(Redis::open(redis, history_bytes, tasks, stop)?),
        };
        Ok(Self { kept, local: Arc::default() })
    }

    /// What stands for a token: of a route (`scope`) and the `identity` of its client.
    pub fn key(&self, scope: &str, identity: &str, token: &str) -> TokenKey {
        self.index().key(scope, identity, token)
    }

    fn index(&self) -> &index::Index {
        match &self.kept {
            Kept::Memory(memory) => memory.index(),
            Kept::Disk(disk) => disk.index(),
            Kept::Redis(redis) => redis.index(),
        }
    }

    /// Does it answer, and take changes?
    pub fn is_up(&self) -> bool {
        match &self.kept {
            Kept::Memory(_) => true,
            Kept::Disk(disk) => disk.error().is_none(),
            Kept::Redis(redis) => redis.is_up(),
        }
    }

    /// Why it is not up, if that is known.
    pub fn error(&self) -> Option<StoreError> {
        match &self.kept {
            Kept::Memory(_) => None,
            Kept::Disk(disk) => disk.error(),
            Kept::Redis(redis) => redis.error(),
        }
    }

    /// How the token stands that a client presents.
    pub async fn standing_of(
        &self,
        (scope, identity, token): (&str, &str, &str),
        now: Now,
    ) -> Result<Standing<SecretText>, StoreError> {
        let standing = self.standing(&self.key(scope, identity, token), token, now).await?;
        let before = self.index().key_before(scope, identity, token);
        let (Standing::Unknown, Some(before)) = (&standing, before) else { return Ok(standing) };
        // Written under the secret before this one; what took its place is known by the new one from now on.
        Ok(match self.standing(&before, token, now).await? {
            Standing::Grace { text, generation, expires_wall, .. } => {
                let successor = self.key(scope, identity, &text);
                Standing::Grace { text, successor, generation, expires_wall }
            }
            known @ (Standing::Unknown | Standing::Current { .. } | Standing::Revoked) => known,
        })
    }

    /// How a token stands; `presented` is its text, which `key` was made of.
    pub(crate) async fn standing(
        &self,
        key: &TokenKey,
        presented: &str,
        now: Now,
    ) -> Result<Standing<SecretText>, StoreError> {
        Ok(match &self.kept {
            Kept::Memory(memory) => memory.index().standing(key, presented, now),
            Kept::Disk(disk) => disk.index().standing(key, presented, now),
            Kept::Redis(redis) => redis.standing(key, presented, now).await,
        })
    }

    /// Remembers that a token has taken another one's place. Durable when it returns.
    pub async fn supersede(&self, change: Supersede<'_>) -> Result<(), StoreError> {
        let change = Change::Superseded(change.sealed(self.index().sealing())?);
        self.take(change).await
    }

    /// Remembers when a client's own token ends, which nobody told: `expires_wall` was reckoned from its first
    /// sight, and would be reckoned again by a process that has not seen it. It is known as ended for `revoke_for` after
    /// that. Durable when it returns.
    pub async fn seen(
        &self,
        key: TokenKey,
        generation: Generation,
        (expires_wall, revoke_for): (Duration, Duration),
        now: Now,
    ) -> Result<(), StoreError> {
        self.take(Change::Seen(Seen { key, generation, expires_wall, revoke_for, now })).await
    }

    async fn take(&self, change: Change) -> Result<(), StoreError> {
        match &self.kept {
            Kept::Memory(memory) => {
                #[cfg(test)]
                if memory.stalls.load(std::sync::atomic::Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
                memory.take(&change);
                Ok(())
            }
            Kept::Disk(disk) => disk.take(change).await,
            Kept::Redis(redis) => redis.take(change).await,
        }
    }

    /// Forgets what is to be forgotten, and drops what was sealed for tokens whose grace is over. Each change does
    /// a little of it; this does the rest, once a minute or so.
    pub async fn sweep(&self, now: Now) -> Result<(), StoreError> {
        match &self.kept {
            Kept::Memory(memory) => {
                memory.sweep(now);
                Ok(())
            }
            Kept::Disk(disk) => disk.sweep(now).await,
            // What is over there ends by itself.
            Kept::Redis(redis) => {
                redis.sweep(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
impl Store {
    fn on_disk(disk: Disk) -> Self {
        Self { kept: Kept::Disk(disk), local: Arc::default() }
    }

    /// Has a store in memory take no grant, or take them again.
    pub(super) fn refuse(&self, refuse: bool) {
        if let Kept::Memory(memory) = &self.kept {
            memory.refuses.store(refuse, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Has a store in memory answer no change, as a disk that hangs.
    pub(super) fn stall(&self, stall: bool) {
        if let Kept::Memory(memory) = &self.kept {
            memory.stalls.store(stall, std::sync::atomic::Ordering::Relaxed);
        }
    }

    fn disk(&self) -> Option<&Disk> {
        match &self.kept {
            Kept::Disk(disk) => Some(disk),
            Kept::Memory(_) | Kept::Redis(_) => None,
        }
    }
}

/// What sources gave.
impl Store {
    /// What stands for a chain of grants that `secret` names, within `scope`.
    pub fn lineage(&self, scope: &str, secret: &[u8]) -> Lineage {
        self.index().lineage(scope, secret)
    }

    /// Does it outlive the process?
    pub fn is_durable(&self) -> bool {
        match self.kept {
            Kept::Memory(_) => false,
            Kept::Disk(_) | Kept::Redis(_) => true,
        }
    }

    /// Do several processes have it in common?
    pub fn is_shared(&self) -> bool {
        match self.kept {
            Kept::Memory(_) | Kept::Disk(_) => false,
            Kept::Redis(_) => true,
        }
    }

    /// Asks for the right to ask.
    pub async fn lease(&self, lineage: &Lineage) -> Result<Leased, StoreError> {
        let ours = match self.local.lease(lineage) {
            theirs @ Leased::Theirs { .. } => return Ok(theirs),
            Leased::Ours(lease) => lease,
        };
        Ok(match &self.kept {
            Kept::Memory(_) | Kept::Disk(_) => Leased::Ours(ours),
            Kept::Redis(redis) => match redis.lease(&lineage.key).await? {
                Answer::Ours(fence) => Leased::Ours(ours.shared(fence)),
                Answer::Theirs { left } => Leased::Theirs { left },
            },
        })
    }

    /// Says that the one who has the lease is alive: to be done every third of [`LEASE`]. One that ran out, and that
    /// nobody else had since, is taken again; else it is [`StoreError::Overtaken`].
    pub async fn renew(&self, lineage: &Lineage, lease: &RefreshLease) -> Result<(), StoreError> {
        match self.shared(lease) {
            None => Ok(()),
            Some((redis, fence)) => redis.renew(&lineage.key, fence).await,
        }
    }

    /// Waits for `answer`, and renews the lease for as long as it takes.
    pub async fn renewing<T>(
        &self,
        lineage: &Lineage,
        lease: &RefreshLease,
        answer: impl Future<Output = T>,
    ) -> T {
        let mut answer = std::pin::pin!(answer);
        loop {
            let renewed = async {
                tokio::time::sleep_until(clock::now() + LEASE / 3).await;
                self.renew(lineage, lease).await
            };
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                // The source has been asked: what became of the lease is seen when the answer is to be kept.
                renewed = renewed => if let Err(error) = renewed {
                    tracing::debug!(%error, "the lease could not be renewed");
                },
            }
        }
    }

    /// Gives the lease back, so that nobody waits for its end.
    pub async fn release(&self, lineage: &Lineage, lease: RefreshLease) {
        if let Some((redis, fence)) = self.shared(&lease) {
            redis.release(&lineage.key, fence).await;
        }
        drop(lease);
    }

    /// What a lease is among processes, where they share the store.
    fn shared<'l>(&'l self, lease: &'l RefreshLease) -> Option<(&'l Redis, &'l Fence)> {
        match &self.kept {
            Kept::Memory(_) | Kept::Disk(_) => None,
            Kept::Redis(redis) => lease.fence().map(|fence| (&**redis, fence)),
        }
    }

    /// The newest grant; `None` if there is none yet.
    pub async fn grant(&self, lineage: &Lineage) -> Result<Option<Grant>, StoreError> {
        let now = self.grant_of(lineage).await?;
        let Some(before) = lineage.before() else { return Ok(now) };
        let before = self.grant_of(&before).await?;
        Ok(now.into_iter().chain(before).max_by_key(|grant| grant.number))
    }

    async fn grant_of(&self, lineage: &Lineage) -> Result<Option<Grant>, StoreError> {
        let sealed = match &self.kept {
            Kept::Memory(memory) => memory.grants().get(&lineage.key),
            Kept::Disk(disk) => disk.grant(lineage.key).await?,
            Kept::Redis(redis) => redis.grant(&lineage.key).await?,
        };
        // What does not unseal is nobody's: a bit of it was changed.
        Ok(sealed.and_then(|sealed| Grant::unsealed(lineage, &sealed)))
    }

    /// Keeps a grant; durable when it returns. One with an earlier number is not taken, and that is no error.
    /// One whose lease another had since is [`StoreError::Overtaken`].
    pub async fn keep(
        &self,
        lineage: &Lineage,
        lease: &RefreshLease,
        grant: &Grant,
        now: Now,
    ) -> Result<(), StoreError> {
        let sealed = grant.sealed(lineage)?;
        match &self.kept {
            Kept::Memory(memory) => {
                #[cfg(test)]
                if memory.refuses.load(std::sync::atomic::Ordering::Relaxed) {
                    return Err(StoreError::Stopped);
                }
                memory.grants().put(lineage.key, grant.number, sealed);
                Ok(())
            }
            Kept::Disk(disk) => disk.keep(lineage.key, grant.number, sealed, now).await,
            Kept::Redis(_) => match self.shared(lease) {
                Some((redis, fence)) => redis.keep(&lineage.key, fence, grant.number, &sealed).await,
                // A lease of another store.
                None => Err(StoreError::Overtaken),
            },
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kept {
            Kept::Memory(_) => "Store(memory)",
            Kept::Disk(_) => "Store(disk)",
            Kept::Redis(_) => "Store(redis)",
        })
    }
}

/// The answer of a store, or that there is none by `deadline`: what hangs keeps nobody waiting.
pub(super) async fn by<T>(
    deadline: Instant,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout_at(deadline, answer).await.unwrap_or(Err(StoreError::Slow))
}

impl Supersede<'_> {
    /// The same without a text in it.
    fn sealed(self, sealing: &keys::Sealing) -> Result<Supersession, StoreError> {
        let Self { old, old_text, new, new_text, generation, expires_wall, grace, revoke_for, now } = self;
        let sealed = seal::seal(sealing, &old, old_text, &new, new_text)?;
        Ok(Supersession { old, new, sealed, generation, expires_wall, grace, revoke_for, now })
    }
}

/// Bytes as people and keys have them.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
