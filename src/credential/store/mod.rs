//! The store: the history of the clients' tokens, in memory alone or on disk as well.
//!
//! ```text
//!   key ───────────────► a keyed hash, with the store's own key
//!   standing ──────────► index ──► history (pure), in memory for both
//!   supersede, sweep ──► memory: index
//!                        disk:   turn ──► draft ──► database, durable ──► index
//! ```
//!
//! 1. No usable token is at rest, in memory or on disk: a token is a keyed hash, its successor's text is sealed
//!    with the token itself (`seal`).
//! 2. [`Store::supersede`] returns when the change is durable; nobody sees it before. After an error nothing
//!    has changed.
//! 3. Every method is async: a store that several processes share will have to ask over the network.

use std::{fmt, time::Duration};

use super::{
    history::{Change, Seen, Standing, Supersession, TokenKey},
    token::Generation,
};
use crate::{clock::Now, config::StateConfig};

mod disk;
mod error;
mod file;
mod index;
mod memory;
mod row;
mod seal;
mod table;
#[cfg(test)]
mod tests;

use disk::Disk;
pub use error::StoreError;
use memory::Memory;
pub use seal::Successor;

/// Where the history of the clients' tokens is kept.
pub enum Store {
    /// For as long as the process lives.
    Memory(Box<Memory>),
    /// Over its end as well.
    Disk(Disk),
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
    pub fn open(config: &StateConfig, history_bytes: usize) -> Result<Self, StoreError> {
        Ok(match config {
            StateConfig::Memory => Self::Memory(Box::new(Memory::new(history_bytes)?)),
            StateConfig::Disk { path } => Self::Disk(Disk::open(path, history_bytes)?),
        })
    }

    /// What stands for a token: of a route (`scope`) and the `identity` of its client.
    pub fn key(&self, scope: &str, identity: &str, token: &str) -> TokenKey {
        match self {
            Self::Memory(memory) => memory.index().key(scope, identity, token),
            Self::Disk(disk) => disk.index().key(scope, identity, token),
        }
    }

    /// How the token stands that a client presents; `presented` is its text, which `key` was made of.
    #[expect(clippy::unused_async, reason = "a store that processes share will ask over the network")]
    pub async fn standing(
        &self,
        key: &TokenKey,
        presented: &str,
        now: Now,
    ) -> Result<Standing<Successor>, StoreError> {
        Ok(match self {
            Self::Memory(memory) => memory.index().standing(key, presented, now),
            Self::Disk(disk) => disk.index().standing(key, presented, now),
        })
    }

    /// Remembers that a token has taken another one's place. Durable when it returns.
    pub async fn supersede(&self, change: Supersede<'_>) -> Result<(), StoreError> {
        let change = Change::Superseded(change.sealed()?);
        self.take(change).await
    }

    /// Remembers when a client's own token ends, which nobody told: `expires_wall` was reckoned from its first
    /// sight, and would be reckoned anew by a process that has not seen it. Durable when it returns.
    pub async fn seen(
        &self,
        key: TokenKey,
        generation: Generation,
        expires_wall: Duration,
        now: Now,
    ) -> Result<(), StoreError> {
        self.take(Change::Seen(Seen { key, generation, expires_wall, now })).await
    }

    async fn take(&self, change: Change) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => {
                memory.take(&change);
                Ok(())
            }
            Self::Disk(disk) => disk.take(change).await,
        }
    }

    /// Forgets what is to be forgotten, and drops what was sealed for tokens whose grace is over. Each change does
    /// a little of it; this does the rest, once a minute or so.
    pub async fn sweep(&self, now: Now) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => {
                memory.sweep(now);
                Ok(())
            }
            Self::Disk(disk) => disk.sweep(now).await,
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory(_) => "Store(memory)",
            Self::Disk(_) => "Store(disk)",
        })
    }
}

impl Supersede<'_> {
    /// The same without a text in it.
    fn sealed(self) -> Result<Supersession, StoreError> {
        let Self { old, old_text, new, new_text, generation, expires_wall, grace, revoke_for, now } = self;
        let sealed = seal::seal(&old, old_text, &new, new_text)?;
        Ok(Supersession { old, new, sealed, generation, expires_wall, grace, revoke_for, now })
    }
}
