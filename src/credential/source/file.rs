//! A token that another program keeps in a file.
//!
//! ```text
//!   looked at 5 times a second ──► it has changed ──► nobody has written to it for half a second ──► answer
//! ```
//!
//! 1. The file is opened again each time, so that an atomic rename and a swapped symbolic link are seen, as the
//!    kubelet swaps `..data` of a projected token.
//! 2. Half a bare token looks like a whole one. What was written to less than half a second ago, by its own
//!    date or as far as can be seen, may be half of it, and is waited for.
//! 3. Only a regular file is opened: nothing waits for somebody to write to a FIFO.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use http::HeaderMap;
use tokio::{sync::Semaphore, task, time};

use super::{
    Issued, SourceError,
    answer::{Answer, Reader},
};
use crate::{
    clock::{self, Instant, Now},
    config::{
        AnswerForm,
        file::{self, Unreadable},
    },
    credential::keeper::Life,
};

/// A file with a token and what surrounds it in JSON is not larger.
const MAX_FILE: u64 = 192 * 1024;

/// A file that nobody wrote to for so long is whole.
const SETTLED: Duration = Duration::from_millis(500);

/// How often to look. Together with what a file is left to settle it is less than a second.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long a look may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// `source = "file"`.
#[derive(Debug)]
pub struct FileToken {
    path: PathBuf,
    answer: AnswerForm,
    /// One looks at a time: a file system that hangs has one thread, however many ask.
    reader: Arc<Semaphore>,
}

/// The file at one moment. It holds a secret.
#[derive(PartialEq, Eq)]
struct Seen {
    body: Vec<u8>,
    /// When it was written, since the Unix epoch, by the clock of its file system.
    written: Option<Duration>,
    /// Which file it is, and when anything about it changed: device, inode, seconds, nanoseconds.
    which: [i64; 4],
}

impl FileToken {
    pub(super) fn new(path: &Path, answer: &AnswerForm) -> Self {
        Self { path: path.to_owned(), answer: answer.clone(), reader: Arc::new(Semaphore::new(1)) }
    }

    pub(super) async fn fetch(&self, deadline: Instant) -> Result<Issued, SourceError> {
        let Seen { body, written, .. } = self.settled(deadline).await?;
        let read = Reader::of(&self.answer).read(&HeaderMap::new(), None, &body);
        let issued = match read.map_err(|useless| self.wrong(&useless.bad))? {
            Answer::Token(issued) => issued,
            Answer::TokenRequest { .. } => return Err(self.wrong(&"a TokenRequest cannot be kept in a file")),
        };
        Ok(Issued { life: since(written, issued.life), ..issued })
    }

    /// What the file holds now, half-written or not.
    pub(super) async fn contents(&self) -> Option<Vec<u8>> {
        self.read().await.ok().map(|seen| seen.body)
    }

    /// The file when nobody writes to it.
    async fn settled(&self, deadline: Instant) -> Result<Seen, SourceError> {
        let mut seen = self.read().await?;
        loop {
            // A date in the future tells nothing: the file system has another clock.
            let age = seen.written.and_then(|written| Now::read().wall.checked_sub(written));
            let settled = clock::now() + SETTLED.saturating_sub(age.unwrap_or_default());
            if settled >= deadline {
                return Err(self.wrong(
                    &"is being written to all the time; have its writer rename a whole file over it",
                ));
            }
            time::sleep_until(settled).await;
            let again = self.read().await?;
            if again == seen {
                return Ok(seen);
            }
            seen = again;
        }
    }

    async fn read(&self) -> Result<Seen, SourceError> {
        let path = self.path.clone();
        self.read_by(move || read(&path)).await
    }

    async fn read_by(
        &self,
        read: impl FnOnce() -> Result<Seen, Unreadable> + Send + 'static,
    ) -> Result<Seen, SourceError> {
        let reader = Arc::clone(&self.reader);
        let read = time::timeout(PATIENCE, async {
            // It is never closed.
            let place = reader.acquire_owned().await.ok();
            task::spawn_blocking(move || (read(), drop(place)).0).await
        });
        match read.await {
            Ok(Ok(read)) => read.map_err(|error| self.wrong(&error)),
            Ok(Err(_)) => Err(self.wrong(&"it was not read")),
            Err(_) => Err(self.wrong(&"its file system does not answer")),
        }
    }

    fn wrong(&self, what: &dyn std::fmt::Display) -> SourceError {
        SourceError::passing(format!("{}: {what}", self.path.display()))
    }
}

/// Reads what is there at this moment.
fn read(path: &Path) -> Result<Seen, Unreadable> {
    let (body, meta) = file::read(path, MAX_FILE)?;
    let written = meta.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let number = |number: u64| i64::from_ne_bytes(number.to_ne_bytes());
    let which = [number(meta.dev()), number(meta.ino()), meta.ctime(), meta.ctime_nsec()];
    Ok(Seen { body, written, which })
}

/// A lifetime in a file began when it was written, not when it is read.
fn since(written: Option<Duration>, life: Life) -> Life {
    match (life, written) {
        (Life::For(lifetime), Some(written)) => {
            let wall = written.saturating_add(lifetime.min(Duration::from_secs(u64::from(u32::MAX))));
            Life::Until { wall, at_most: Some(lifetime) }
        }
        (Life::For(_) | Life::Unknown | Life::Until { .. }, _) => life,
    }
}

#[cfg(test)]
mod tests;
