//! The stores from the outside: what both do, and what only the disk can.
//!
//! Each of these bugs was planted, one at a time, and was seen to be caught:
//! a sealed text is not bound to its record · or to the token · or stands there in the clear · what does not unseal
//! counts as unknown · the identity is not in the key · the index changes before the disk · or is told before it ·
//! commits are not flushed · each change has a commit of its own · one that was given up is made · removals are not
//! written · nor what replaces a refused write · a file that was exchanged is taken · another schema is · tables of
//! somebody else are · pages are not checked · modes of file or directory are wider · or not looked at · a file whose
//! making was cut short is refused · or any without a mark is begun again · what is dropped while loading stays on
//! disk · what is over at the start is not swept · grace is read from the wrong column · a revoked row is written as
//! a current one · warnings are not counted, or not spaced.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use super::*;
use crate::credential::history::Standing;

mod broken;
mod files;
mod grants;
mod killed;
mod nonsense;
mod redis;
mod secret;
mod seen;
mod sentinels;

/// The same as other test binaries have.
#[path = "../../../tests/support/redis.rs"]
mod server;

const MINUTE: Duration = Duration::from_secs(60);
const HISTORY: usize = 16 << 20;

/// A store, and the tokens of one client in it: their texts are "NAME-GENERATION".
struct Rig {
    store: Store,
    now: Now,
    grace: Duration,
}

impl Rig {
    fn of(store: Store) -> Self {
        Self { store, now: Now::read(), grace: 5 * MINUTE }
    }

    fn memory() -> Self {
        Self::of(opened(&StateConfig::Memory, HISTORY).unwrap())
    }

    fn disk(directory: &Path) -> Self {
        Self::of(disk(directory).unwrap())
    }

    fn key(&self, text: &str) -> TokenKey {
        self.store.key("route", "client", text)
    }

    async fn supersede(&self, name: &str, generation: u64) -> Result<(), StoreError> {
        self.supersede_text(&token(name, generation - 1), &token(name, generation), generation).await
    }

    async fn supersede_text(
        &self,
        old_text: &str,
        new_text: &str,
        generation: u64,
    ) -> Result<(), StoreError> {
        let change = Supersede {
            old: self.key(old_text),
            old_text,
            new: self.key(new_text),
            new_text,
            generation: Generation(generation),
            expires_wall: Some(self.now.wall + 60 * MINUTE),
            grace: self.grace,
            revoke_for: 120 * MINUTE,
            now: self.now,
        };
        self.store.supersede(change).await
    }

    /// In one word, with the successor's text.
    async fn standing(&self, name: &str, generation: u64) -> String {
        let text = token(name, generation);
        match self.store.standing(&self.key(&text), &text, self.now).await.unwrap() {
            Standing::Unknown => "unknown".into(),
            Standing::Current { generation, .. } => format!("current {generation}"),
            Standing::Revoked => "revoked".into(),
            Standing::Grace { text, successor, generation: next, .. } => {
                assert_eq!(next.0, generation + 1);
                assert_eq!(successor, self.key(text.as_str()));
                format!("grace {}", text.as_str())
            }
        }
    }

    async fn standings(&self, name: &str, generations: std::ops::RangeInclusive<u64>) -> String {
        let mut all = Vec::new();
        for generation in generations {
            all.push(self.standing(name, generation).await);
        }
        all.join(", ")
    }

    fn commits(&self) -> u64 {
        match self.store.disk() {
            None => 0,
            Some(disk) => disk.commits(),
        }
    }
}

/// Long enough that a canary in it is not there by chance.
fn token(name: &str, generation: u64) -> String {
    format!("{name}-CANARY-{generation}")
}

fn disk(directory: &Path) -> Result<Store, StoreError> {
    opened(&StateConfig::Disk { path: directory.to_owned(), secret: Vec::new() }, HISTORY)
}

/// Its tasks end with the test's runtime.
fn opened(config: &StateConfig, history_bytes: usize) -> Result<Store, StoreError> {
    Store::open(config, history_bytes, &TaskTracker::new(), &CancellationToken::new())
}

fn file_in(directory: &TempDir) -> PathBuf {
    directory.path().join("perennial.redb")
}

#[tokio::test]
async fn a_client_that_returns_in_grace_gets_the_successor() {
    let directory = tempfile::tempdir().unwrap();
    for mut rig in [Rig::memory(), Rig::disk(directory.path())] {
        rig.supersede("a", 1).await.unwrap();
        assert_eq!(rig.standings("a", 0..=1).await, "grace a-CANARY-1, current 1");
        rig.supersede("a", 2).await.unwrap();
        assert_eq!(rig.standings("a", 0..=2).await, "revoked, grace a-CANARY-2, current 2");
        assert_eq!(rig.standing("b", 0).await, "unknown");
        rig.now.mono += rig.grace;
        assert_eq!(rig.standings("a", 0..=2).await, "revoked, revoked, current 2");
    }
}

#[tokio::test]
async fn who_does_not_show_the_token_gets_nothing() {
    let rig = Rig::memory();
    rig.supersede("a", 1).await.unwrap();
    let key = rig.key(&token("a", 0));
    let standing = rig.store.standing(&key, "another", rig.now).await.unwrap();
    assert_eq!(standing, Standing::Revoked);
}

#[test]
fn keys_tell_routes_clients_and_stores_apart() {
    let (one, other) = (Rig::memory().store, Rig::memory().store);
    let key = one.key("route", "client", "token");
    assert_eq!(key, one.key("route", "client", "token"));
    for (scope, identity, token) in [
        ("another", "client", "token"),
        ("route", "another", "token"),
        ("route", "client", "another"),
        ("route", "clien", "ttoken"),
        ("routec", "lient", "token"),
    ] {
        assert_ne!(key, one.key(scope, identity, token));
    }
    assert_ne!(key, other.key("route", "client", "token"), "each store has a key of its own");
}

#[tokio::test]
async fn the_disk_remembers_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let rig = Rig::disk(directory.path());
    let now = rig.now;
    rig.supersede("a", 1).await.unwrap();
    rig.supersede("a", 2).await.unwrap();
    drop(rig);
    let mut rig = Rig { now, ..Rig::disk(directory.path()) };
    assert_eq!(rig.standings("a", 0..=2).await, "revoked, grace a-CANARY-2, current 2");
    let one = token("a", 1);
    let standing = rig.store.standing(&rig.key(&one), &one, now).await.unwrap();
    let Standing::Grace { expires_wall: Some(at), .. } = standing else { panic!("{standing:?}") };
    assert_eq!(at.as_millis(), (now.wall + 60 * MINUTE).as_millis());
    rig.supersede("a", 3).await.unwrap();
    assert_eq!(rig.standings("a", 0..=3).await, "revoked, revoked, grace a-CANARY-3, current 3");
    rig.now.wall += rig.grace;
    assert_eq!(rig.standing("a", 2).await, "revoked", "by the wall clock alone");
    drop(rig);
    let mut rig = Rig { now, ..Rig::disk(directory.path()) };
    assert_eq!(rig.standings("a", 0..=3).await, "revoked, revoked, grace a-CANARY-3, current 3");
    rig.now.wall += rig.grace;
    assert_eq!(rig.standing("a", 2).await, "revoked", "its grace ends when it would have ended");
}

#[tokio::test]
async fn what_is_over_at_the_start_is_dropped_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut rig = Rig::disk(directory.path());
    rig.now.wall -= rig.grace;
    rig.supersede("a", 1).await.unwrap();
    let key = rig.key(&token("a", 0));
    drop(rig);
    for _ in 0..2 {
        let rig = Rig::disk(directory.path());
        let disk = rig.store.disk().expect("on disk");
        let record = format!("{:?}", disk.index().history().record(&key).unwrap().state);
        assert_eq!(record, "Revoked");
        assert_eq!(rig.standings("a", 0..=1).await, "revoked, current 1");
    }
    use redb::ReadableDatabase;
    let database = redb::Database::open(file_in(&directory)).unwrap();
    let rows = database.begin_read().unwrap().open_table(row::ROWS).unwrap();
    let row = rows.get(key.0).unwrap().unwrap();
    assert!(row.value().6.is_empty(), "and what was sealed is gone from the file");
}

#[tokio::test]
async fn a_new_process_that_goes_on_from_the_successor_revokes_the_first_token() {
    let directory = tempfile::tempdir().unwrap();
    let rig = Rig::disk(directory.path());
    rig.supersede("a", 1).await.unwrap();
    drop(rig);
    let rig = Rig::disk(directory.path());
    rig.supersede("a", 2).await.unwrap();
    drop(rig);
    let rig = Rig::disk(directory.path());
    assert_eq!(rig.standing("a", 0).await, "revoked");
}

#[tokio::test]
async fn what_is_over_leaves_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let mut rig = Rig::disk(directory.path());
    for generation in 1..=200 {
        rig.supersede("a", generation).await.unwrap();
    }
    rig.now.mono += 119 * MINUTE;
    rig.now.wall += 119 * MINUTE;
    rig.store.sweep(rig.now).await.unwrap();
    assert_eq!(rig.standings("a", 198..=200).await, "revoked, revoked, unknown");
    rig.now.mono += MINUTE;
    rig.now.wall += MINUTE;
    rig.store.sweep(rig.now).await.unwrap();
    drop(rig);
    assert_eq!(rows(&directory), 0);
}

#[tokio::test]
async fn what_there_is_no_room_for_leaves_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let rig = Rig::disk(directory.path());
    for name in ["a", "b", "c", "d"] {
        for generation in 1..=100 {
            rig.supersede(name, generation).await.unwrap();
        }
    }
    drop(rig);
    assert_eq!(rows(&directory), 404);
    drop(opened(&StateConfig::Disk { path, secret: Vec::new() }, 64 << 10).unwrap());
    let left = rows(&directory);
    assert!((100..400).contains(&left), "{left}");
}

/// How many there are, for somebody who reads the file.
fn rows(directory: &TempDir) -> u64 {
    use redb::{ReadableDatabase, ReadableTableMetadata};
    let database = redb::Database::open(file_in(directory)).unwrap();
    database.begin_read().unwrap().open_table(row::ROWS).unwrap().len().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_wait_together_share_a_commit() {
    const MANY: u64 = 600;
    let directory = tempfile::tempdir().unwrap();
    let rig = Arc::new(Rig::disk(directory.path()));
    let tasks = TaskTracker::new();
    let all: Vec<_> = (0..MANY)
        .map(|client| {
            let rig = rig.clone();
            tasks.spawn(async move { rig.supersede(&format!("c{client}"), 1).await })
        })
        .collect();
    for one in all {
        one.await.unwrap().unwrap();
    }
    assert!(rig.commits() <= MANY / 10, "{} commits", rig.commits());
    let rig = Arc::into_inner(rig).unwrap();
    let now = rig.now;
    drop(rig);
    let rig = Rig { now, ..Rig::disk(directory.path()) };
    for client in 0..MANY {
        let name = format!("c{client}");
        assert_eq!(rig.standings(&name, 0..=1).await, format!("grace {name}-CANARY-1, current 1"));
    }
}

#[tokio::test]
async fn a_change_that_nobody_waits_for_holds_up_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let rig = Rig::disk(directory.path());
    for generation in 1..=20 {
        // Polled once, so that it has queued, has the turn, or was made at once; then given up.
        let mut given_up = Box::pin(rig.supersede("gone", generation));
        let _ = futures_util::poll!(&mut given_up);
        drop(given_up);
        rig.supersede("a", generation).await.unwrap();
    }
    assert_eq!(rig.standing("a", 20).await, "current 20");
}

#[tokio::test]
async fn a_change_that_was_given_up_in_the_queue_is_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let rig = Rig::disk(directory.path());
    let disk = rig.store.disk().expect("on disk");
    let turn = disk.turn().await.unwrap();
    let mut given_up = Box::pin(rig.supersede("gone", 1));
    assert!(futures_util::poll!(&mut given_up).is_pending());
    drop(given_up);
    drop(turn);
    rig.supersede("a", 1).await.unwrap();
    assert_eq!(rig.standings("gone", 0..=1).await, "unknown, unknown");
}

#[tokio::test]
async fn no_token_is_in_the_file_or_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let rig = Rig::disk(directory.path());
    for generation in 1..=50 {
        rig.supersede("a", generation).await.unwrap();
    }
    let history = match rig.store.disk() {
        Some(disk) => format!("{:?}", disk.index().history().record(&rig.key(&token("a", 49)))),
        None => String::new(),
    };
    assert!(history.contains("Superseded") && !history.contains("CANARY"), "{history}");
    drop(rig);
    let bytes = std::fs::read(file_in(&directory)).unwrap();
    assert!(bytes.windows(4).any(|window| window == b"redb"), "the search finds what is there");
    assert!(!bytes.windows(6).any(|window| window == b"CANARY"));
}
