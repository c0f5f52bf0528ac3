//! The store that outlives the process.
//!
//! ```text
//!   supersede ──► queue ──► the one who has the turn takes all that wait:
//!   supersede ──►             draft ──► one transaction ──► index ──► each is told
//! ```
//!
//! 1. One has the turn. Those that come meanwhile wait, and the next of them takes all: a flush of the disk is slow,
//!    and one serves many.
//! 2. The index changes after the disk, and only if the disk did.
//! 3. After a write that failed the disk may hold it or not. The file is opened again then, and first of all given
//!    back what the index has; until that is done there is no other change.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{
    StoreError, file,
    index::{Index, StoreKey},
    keys::Keys,
    table::{self, Mount, Table},
};
use crate::{
    clock::{self, Instant, Now},
    config::Secret,
    credential::history::{Change, Changes, TokenKey},
};

/// So many changes wait at once; more wait for a place to wait in.
const WAITING: usize = 4096;

/// So many changes share one transaction at most.
const TOGETHER: usize = 1024;

/// Work on the file that takes longer: the disk hangs.
const HANGS: Duration = Duration::from_secs(5);

/// So much is swept in one transaction.
const SWEPT: usize = 4096;

/// A history on disk.
pub(super) struct Disk(Arc<Shared>);

struct Shared {
    index: Index,
    queue: Mutex<VecDeque<Waiting>>,
    /// In the queue.
    places: Semaphore,
    /// At the table.
    turn: Arc<Semaphore>,
    table: Mutex<Held>,
    /// Transactions that changed something.
    commits: AtomicU64,
    /// How the last work on the file went.
    went: Mutex<Went>,
}

/// How it goes with the file.
#[derive(Default)]
struct Went {
    /// Since when somebody is at it.
    since: Option<Instant>,
    /// Why the last write came to nothing.
    error: Option<StoreError>,
}

/// A change, and who waits for it.
struct Waiting {
    change: Change,
    tell: oneshot::Sender<Result<(), StoreError>>,
}

/// The database, as long as it can be trusted.
struct Held {
    file: PathBuf,
    mount: Mount,
    key: StoreKey,
    table: Option<Table>,
    /// What the last write was about, where it failed.
    doubtful: Vec<TokenKey>,
}

impl Disk {
    /// Opens the file in the directory `path`, and loads it.
    pub(super) fn open(path: &Path, secrets: &[Secret], history_bytes: usize) -> Result<Self, StoreError> {
        Self::mounted(path, secrets, history_bytes, table::mount())
    }

    pub(super) fn mounted(
        path: &Path,
        secrets: &[Secret],
        history_bytes: usize,
        mount: Mount,
    ) -> Result<Self, StoreError> {
        let file = file::in_directory(path)?;
        let table = Table::open(&file, true, &mount)?;
        let now = Now::read();
        let history = table.load(history_bytes, now)?;
        tracing::info!(tokens = history.len(), bytes = history.bytes(), "history of tokens loaded");
        let key = table.key;
        let shared = Arc::new(Shared {
            index: Index::new(Keys::of(&key, secrets)?, history),
            queue: Mutex::default(),
            places: Semaphore::new(WAITING),
            turn: Arc::new(Semaphore::new(1)),
            table: Mutex::new(Held { file, mount, key, table: Some(table), doubtful: Vec::new() }),
            commits: AtomicU64::new(0),
            went: Mutex::default(),
        });
        shared.sweep(now)?;
        Ok(Self(shared))
    }

    /// Why it takes nothing, if that is so: the last write failed, or somebody waits for the disk.
    pub(super) fn error(&self) -> Option<StoreError> {
        let went = self.0.went();
        let hangs = went.since.is_some_and(|since| clock::now() >= since + HANGS);
        if hangs { Some(StoreError::Slow) } else { went.error.clone() }
    }

    pub(super) fn index(&self) -> &Index {
        &self.0.index
    }

    pub(super) async fn take(&self, change: Change) -> Result<(), StoreError> {
        let _place = self.0.places.acquire().await.map_err(|_| StoreError::Stopped)?;
        let (tell, mut told) = oneshot::channel();
        self.0.queue().push_back(Waiting { change, tell });
        // More than once only where those before this one are too many for one transaction.
        loop {
            tokio::select! {
                biased;
                answer = &mut told => return answer.unwrap_or(Err(StoreError::Stopped)),
                turn = self.turn() => self.in_turn(turn?, Shared::write_waiting).await?,
            }
        }
    }

    /// The sealed grant of a lineage.
    pub(super) async fn grant(&self, key: TokenKey) -> Result<Option<Vec<u8>>, StoreError> {
        let turn = self.turn().await?;
        self.in_turn(turn, move |shared| shared.with_table(|table| table.grant(&key))).await?
    }

    /// Keeps it in the place of an earlier one; durable when it returns.
    pub(super) async fn keep(
        &self,
        key: TokenKey,
        number: u64,
        sealed: Vec<u8>,
        now: Now,
    ) -> Result<(), StoreError> {
        let turn = self.turn().await?;
        self.in_turn(turn, move |shared| {
            let kept = shared.with_table(|table| table.keep_grant(&key, number, &sealed, now));
            shared.wrote(kept.as_ref().err());
            kept
        })
        .await?
    }

    pub(super) async fn sweep(&self, now: Now) -> Result<(), StoreError> {
        let turn = self.turn().await?;
        self.in_turn(turn, move |shared| shared.sweep(now)).await?
    }

    /// The next one's turn at the file.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        self.0.turn.clone().acquire_owned().await.map_err(|_| StoreError::Stopped)
    }

    /// Runs `work` where it may block. The turn ends with it, not with the one who waits for it.
    async fn in_turn<T: Send + 'static>(
        &self,
        turn: OwnedSemaphorePermit,
        work: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.0.clone();
        let work = move || {
            shared.went().since = Some(clock::now());
            let answer = work(&shared);
            shared.went().since = None;
            drop(turn);
            answer
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Stopped)
    }

    /// How many transactions there were.
    #[cfg(test)]
    pub(super) fn commits(&self) -> u64 {
        self.0.commits.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Makes the changes that wait, as many as go together, and tells those who wait for them.
    fn write_waiting(&self) {
        let mut together: Vec<_> = {
            let mut queue = self.queue();
            let some = queue.len().min(TOGETHER);
            queue.drain(..some).collect()
        };
        // One that nobody waits for any more is not made.
        together.retain(|waiting| !waiting.tell.is_closed());
        let (changes, tell): (Vec<_>, Vec<_>) =
            together.into_iter().map(|waiting| (waiting.change, waiting.tell)).unzip();
        let Some(now) = changes.last().map(Change::now) else { return };
        let written = self.write(|| self.index.draw_up(&changes), now);
        for tell in tell {
            // Who has gone meanwhile does not want to know.
            let _ = tell.send(written.clone());
        }
    }

    fn sweep(&self, now: Now) -> Result<(), StoreError> {
        self.with_table(|table| table.forget_grants(now))?;
        loop {
            let mut all = true;
            let swept = || {
                let (changes, last) = self.index.draw_up_sweep(now, SWEPT);
                all = last;
                changes
            };
            self.write(swept, now)?;
            if all {
                return Ok(());
            }
        }
    }

    /// Draws up changes, writes them down, and makes them.
    fn write(&self, draw_up: impl FnOnce() -> Changes, now: Now) -> Result<(), StoreError> {
        let changed = self.written(draw_up, now);
        // If there was nothing to write, nobody knows whether it could have been.
        if !matches!(changed, Ok(false)) {
            self.wrote(changed.as_ref().err());
        }
        changed.map(drop)
    }

    /// The same; was there something to write?
    fn written(&self, draw_up: impl FnOnce() -> Changes, now: Now) -> Result<bool, StoreError> {
        let mut held = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let table = held.ready(&self.index)?;
        let changes = draw_up();
        if changes.writes.is_empty() {
            return Ok(false);
        }
        let rows = changes.writes.iter().map(|(key, record)| (key, record.as_ref()));
        if let Err(error) = table.write(rows) {
            held.table = None;
            held.doubtful = changes.writes.into_iter().map(|(key, _)| key).collect();
            return Err(error);
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.index.apply(changes, now);
        Ok(true)
    }

    /// Something was to be written down.
    fn wrote(&self, error: Option<&StoreError>) {
        self.went().error = error.cloned();
    }

    fn went(&self) -> MutexGuard<'_, Went> {
        self.went.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the database that the index knows nothing of.
    fn with_table<T>(&self, work: impl FnOnce(&Table) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut held = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = work(held.ready(&self.index)?);
        if answer.is_err() {
            held.table = None;
        }
        answer
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The database, which says what the index says.
    fn ready(&mut self, index: &Index) -> Result<&Table, StoreError> {
        let table = match self.table.take() {
            Some(table) => table,
            None => self.again(index)?,
        };
        Ok(self.table.insert(table))
    }

    /// Opens the file again, and gives it back what it may have lost, or gained.
    fn again(&mut self, index: &Index) -> Result<Table, StoreError> {
        let table = Table::open(&self.file, false, &self.mount)?;
        if table.key != self.key {
            let what = "it was put in the place of the one that was open".to_owned();
            return Err(StoreError::Damaged { file: self.file.clone(), what });
        }
        let history = index.history();
        table.write(self.doubtful.iter().map(|key| (key, history.record(key))))?;
        drop(history);
        self.doubtful.clear();
        Ok(table)
    }
}
