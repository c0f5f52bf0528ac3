//! A disk that fails: what is said then, what is believed, and how it goes on.

use std::{
    io,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use redb::{BackendError, DatabaseError, StorageBackend, backends::FileBackend};

use super::*;
use crate::credential::store::table;

/// What somebody does to the disk.
#[derive(Debug)]
struct Hand {
    /// So many go through, and none after them.
    writes_left: AtomicU64,
    /// Writes go through, and nobody can tell whether they will last.
    unsure: AtomicBool,
    flushes: AtomicU64,
}

#[derive(Debug)]
struct Faulty {
    inner: FileBackend,
    hand: Arc<Hand>,
}

impl Faulty {
    fn check(&self) -> Result<(), io::Error> {
        let one_less = |left| if left == u64::MAX { Some(left) } else { u64::checked_sub(left, 1) };
        match self.hand.writes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> Result<u64, io::Error> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.check()?;
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.hand.flushes.fetch_add(1, Ordering::Relaxed);
        if self.hand.unsure.load(Ordering::Relaxed) {
            return Err(io::Error::other("flush failed"));
        }
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.check()?;
        self.inner.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }
}

fn faulty(directory: &TempDir) -> (Rig, Arc<Hand>) {
    let (disk, hand) = with_writes(directory, u64::MAX);
    (Rig::of(Store::on_disk(disk.unwrap())), hand)
}

fn with_writes(directory: &TempDir, left: u64) -> (Result<Disk, StoreError>, Arc<Hand>) {
    let writes_left = AtomicU64::new(left);
    let hand = Arc::new(Hand { writes_left, unsure: AtomicBool::new(false), flushes: AtomicU64::new(0) });
    let given = hand.clone();
    let mount: table::Mount = Arc::new(move |file| -> Result<_, DatabaseError> {
        let inner = FileBackend::new(file)?;
        table::builder().create_with_backend(Faulty { inner, hand: given.clone() })
    });
    (Disk::mounted(directory.path(), &[], HISTORY, mount), hand)
}

#[tokio::test]
async fn a_change_that_was_not_written_was_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let (rig, hand) = faulty(&directory);
    rig.supersede("a", 1).await.unwrap();
    hand.writes_left.store(0, Ordering::Relaxed);
    for _ in 0..3 {
        let error = rig.supersede("a", 2).await.unwrap_err().to_string();
        assert!(error.contains("perennial.redb") && error.contains("storage"), "{error}");
        assert_eq!(rig.standings("a", 0..=2).await, "grace a-CANARY-1, current 1, unknown");
        assert!(!rig.store.is_up());
    }
    hand.writes_left.store(u64::MAX, Ordering::Relaxed);
    rig.supersede("a", 2).await.unwrap();
    assert!(rig.store.is_up() && rig.store.error().is_none());
    assert_eq!(rig.standings("a", 0..=2).await, "revoked, grace a-CANARY-2, current 2");
    let now = rig.now;
    drop(rig);
    let rig = Rig { now, ..Rig::disk(directory.path()) };
    assert_eq!(rig.standings("a", 0..=2).await, "revoked, grace a-CANARY-2, current 2");
}

/// A flush that fails may have written everything. The change was refused: it must not come back.
#[tokio::test]
async fn what_was_refused_does_not_come_back_from_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (rig, hand) = faulty(&directory);
    rig.supersede("a", 1).await.unwrap();
    rig.supersede("b", 1).await.unwrap();
    hand.unsure.store(true, Ordering::Relaxed);
    rig.supersede("a", 2).await.unwrap_err();
    hand.unsure.store(false, Ordering::Relaxed);
    rig.supersede("b", 2).await.unwrap();
    let now = rig.now;
    drop(rig);
    let rig = Rig { now, ..Rig::disk(directory.path()) };
    assert_eq!(rig.standings("a", 0..=2).await, "grace a-CANARY-1, current 1, unknown");
    assert_eq!(rig.standings("b", 0..=2).await, "revoked, grace b-CANARY-2, current 2");
}

#[tokio::test]
async fn a_file_that_was_exchanged_is_not_taken_for_the_old_one() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (rig, hand) = faulty(&directory);
    rig.supersede("a", 1).await.unwrap();
    hand.writes_left.store(0, Ordering::Relaxed);
    rig.supersede("a", 2).await.unwrap_err();
    hand.writes_left.store(u64::MAX, Ordering::Relaxed);
    drop(disk(other.path()).unwrap());
    std::fs::rename(file_in(&other), file_in(&directory)).unwrap();
    let error = rig.supersede("a", 2).await.unwrap_err().to_string();
    assert!(error.contains("it was put in the place of the one that was open"), "{error}");
    std::fs::remove_file(file_in(&directory)).unwrap();
    let error = rig.supersede("a", 2).await.unwrap_err().to_string();
    assert!(error.contains("cannot be opened: entity not found"), "{error}");
    assert_eq!(rig.standings("a", 0..=2).await, "grace a-CANARY-1, current 1, unknown");
}

#[tokio::test]
async fn each_change_is_flushed_before_it_is_said_to_be_made() {
    let directory = tempfile::tempdir().unwrap();
    let (rig, hand) = faulty(&directory);
    for generation in 1..=5 {
        let before = hand.flushes.load(Ordering::Relaxed);
        rig.supersede("a", generation).await.unwrap();
        assert!(hand.flushes.load(Ordering::Relaxed) > before);
    }
}

/// The disk is full, or the process ends, after each of the writes that make a new file.
#[tokio::test]
async fn a_start_that_was_cut_short_anywhere_can_be_made_again() {
    for writes in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let (cut_short, _) = with_writes(&directory, writes);
        let whole = cut_short.is_ok();
        let said = cut_short.map_or_else(|error| error.to_string(), |_| String::new());
        assert!(!said.contains("is damaged"), "after {writes} writes: {said}");
        let rig = Rig::disk(directory.path());
        rig.supersede("a", 1).await.unwrap();
        assert_eq!(rig.standings("a", 0..=1).await, "grace a-CANARY-1, current 1");
        if whole {
            assert!(writes > 5, "{writes} writes made a file");
            return;
        }
    }
}
