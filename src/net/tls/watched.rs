//! What was made of files, and is made again when they change.
//!
//! ```text
//!   current(now) ──► looked within two seconds? ──► what there is
//!                        │ no: a thread looks
//!                        ▼
//!                    stamps of the files ── as they were ──► what there is
//!                        │ changed
//!                        ▼
//!                    read again ── good ──► it takes the place of the old: for who asks from now on
//!                               └─ bad ───► the old stays; said once, tried again at the next look
//! ```
//!
//! 1. Nobody watches in a task of its own: who needs a connection looks, so that what is never dialled costs
//!    nothing, and what is made of no file is never looked at.
//! 2. A look is a `stat` for each file, and a change is read at once. It is a [`Looker`] that looks: files that hang
//!    hold nobody, and what there is goes on being used.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;

use super::TlsError;
use crate::{
    clock::Instant,
    config::look::{Looker, PATIENCE},
};

/// How often files are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Something made of files.
pub(super) struct Watched<T> {
    made: Arc<Made<T>>,
    next: Mutex<Instant>,
    looker: Arc<Looker>,
}

struct Made<T> {
    /// Whose it is, for the log.
    of: String,
    files: Vec<PathBuf>,
    read: Read<T>,
    current: ArcSwap<T>,
    seen: Mutex<Seen>,
}

type Read<T> = Box<dyn Fn() -> Result<Arc<T>, TlsError> + Send + Sync>;

/// What was seen of the files.
struct Seen {
    /// Of the files that `current` was read from.
    good: Vec<Option<Stamp>>,
    /// Of the last files that could not be used: complained about once.
    bad: Option<Vec<Option<Stamp>>>,
}

/// What tells one version of a file from the next. A swapped symbolic link changes the inode, an atomic
/// rename too.
type Stamp = (SystemTime, u64, u64);

impl<T: Send + Sync + 'static> Watched<T> {
    /// Makes it of its files for the first time, by `read`; here a bad one is an error.
    pub(super) fn new(
        of: String,
        files: Vec<PathBuf>,
        now: Instant,
        read: impl Fn() -> Result<Arc<T>, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        // The stamps come first: a file that changes in between is then read once too often, not too seldom.
        let good = stamps(&files);
        let current = ArcSwap::new(read()?);
        let seen = Mutex::new(Seen { good, bad: None });
        let made = Arc::new(Made { of, files, read: Box::new(read), current, seen });
        Ok(Self { made, next: Mutex::new(now + LOOK_EVERY), looker: Arc::default() })
    }

    /// What is to be used now; looks at the files now and then.
    pub(super) fn current(&self, now: Instant) -> Arc<T> {
        if !self.made.files.is_empty() && self.is_due(now) {
            let made = Arc::clone(&self.made);
            self.looker.look(PATIENCE, move || made.look());
        }
        self.made.current.load_full()
    }

    /// Is it time for a look? One who asks has it then.
    fn is_due(&self, now: Instant) -> bool {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = now >= *next;
        if is_due {
            *next = now + LOOK_EVERY;
        }
        is_due
    }
}

impl<T> Made<T> {
    fn look(&self) {
        let mut looked = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = stamps(&self.files);
        if seen == looked.good {
            return;
        }
        match (self.read)() {
            Ok(made) => {
                self.current.store(made);
                looked.good = seen;
                looked.bad = None;
                tracing::info!(of = self.of, files = %Names(&self.files), "TLS files reloaded");
            }
            Err(error) => {
                if looked.bad.as_ref() != Some(&seen) {
                    tracing::warn!(of = self.of, %error, "TLS files not reloaded, the old ones stay in use");
                }
                looked.bad = Some(seen);
            }
        }
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({}: {})", self.made.of, Names(&self.made.files))
    }
}

/// Files, one beside the other.
struct Names<'a>(&'a [PathBuf]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, path) in self.0.iter().enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { ", " }, path.display())?;
        }
        Ok(())
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len(), inode(&meta)))
}

#[cfg(unix)]
fn inode(meta: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests;
