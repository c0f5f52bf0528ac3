//! The file: whose it is, who may read it, and what is refused.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// What is said of a store that is refused, with the directory taken out.
fn refused(directory: &TempDir) -> String {
    let error = disk(directory.path()).expect_err("it opened").to_string();
    error.replace(directory.path().to_str().unwrap(), "DIR")
}

#[test]
fn directory_and_file_are_the_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b");
    let _store = disk(&path).unwrap();
    assert_eq!((mode(&path), mode(&path.join("perennial.redb"))), (0o700, 0o600));
    assert_eq!(mode(&directory.path().join("a")), 0o700);
}

#[test]
fn a_file_that_others_may_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(disk(directory.path()).unwrap());
    for mode in [0o640, 0o604, 0o620, 0o666] {
        fs::set_permissions(file_in(&directory), Permissions::from_mode(mode)).unwrap();
        let want = format!(
            "the file DIR/perennial.redb is open to others (mode {mode:o}); close it: chmod 600 DIR/perennial.redb"
        );
        assert_eq!(refused(&directory), want);
    }
    fs::set_permissions(file_in(&directory), Permissions::from_mode(0o600)).unwrap();
    assert!(disk(directory.path()).is_ok());
}

#[test]
fn a_second_owner_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let first = disk(directory.path()).unwrap();
    assert_eq!(
        refused(&directory),
        "the file DIR/perennial.redb has an owner already: look for another perennial with the same path in [state] \
         (`fuser DIR/perennial.redb` names it); stop it, or give each a path of its own"
    );
    drop(first);
    assert!(disk(directory.path()).is_ok());
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = disk(&file.join("sub")).unwrap_err().to_string();
    let want = format!(
        "the directory {}/sub cannot be used: not a directory; make it, or change path in [state]",
        file.display()
    );
    assert_eq!(error, want);
}

#[test]
fn a_foreign_file_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    for text in ["not a database at all", "\0\0\0\0\0\0\0\0 and more", &"x".repeat(100_000)] {
        fs::write(file_in(&directory), text).unwrap();
        fs::set_permissions(file_in(&directory), Permissions::from_mode(0o600)).unwrap();
        let said = refused(&directory);
        assert!(
            said.starts_with("the file DIR/perennial.redb is damaged, or not one of Perennial's ("),
            "{said}"
        );
        assert!(said.contains("move it away to start again"), "{said}");
        assert_eq!(fs::read(file_in(&directory)).unwrap(), text.as_bytes());
    }
}

#[test]
fn a_database_of_somebody_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    make(&directory, "theirs", &[]);
    assert!(
        refused(&directory).contains("(DB corrupted: it has tables of somebody else)"),
        "{}",
        refused(&directory)
    );
}

#[test]
fn a_file_from_before_there_were_grants_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    make(&directory, "perennial", &[("schema", &1_u32.to_be_bytes()), ("key", &[7; 32])]);
    for _ in 0..2 {
        disk(directory.path()).unwrap();
    }
}

#[test]
fn another_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    make(&directory, "perennial", &[("schema", &3_u32.to_be_bytes()), ("key", &[7; 32])]);
    assert_eq!(
        refused(&directory),
        "the file DIR/perennial.redb has schema 3, and this version knows 2; run the version that wrote it, or move \
         it away to start again: what was revoked is then forgotten"
    );
}

#[test]
fn a_store_without_its_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    make(&directory, "perennial", &[("schema", &2_u32.to_be_bytes()), ("key", &[7; 31])]);
    assert!(refused(&directory).contains("its schema or its key is missing"), "{}", refused(&directory));
}

fn make(directory: &TempDir, table: &str, facts: &[(&str, &[u8])]) {
    let database = redb::Database::create(file_in(directory)).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(redb::TableDefinition::<&str, &[u8]>::new(table)).unwrap();
        for (name, value) in facts {
            table.insert(name, value).unwrap();
        }
    }
    transaction.commit().unwrap();
    fs::set_permissions(file_in(directory), Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_row_that_nobody_wrote_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(disk(directory.path()).unwrap());
    let change = |row: Option<(u8, &[u8])>| {
        let database = redb::Database::open(file_in(&directory)).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut table = transaction.open_table(row::ROWS).unwrap();
            match row {
                Some((kind, keys)) => {
                    table.insert([9; 32], (kind, u64::MAX, 1, 1, None, keys, &[][..])).map(drop)
                }
                None => table.remove([9; 32]).map(drop),
            }
            .unwrap();
        }
        transaction.commit().unwrap();
    };
    for row in [(3, &[][..]), (0, &[1; 33][..]), (1, &[1; 31][..])] {
        change(Some(row));
        assert!(refused(&directory).contains("a row that nobody can have written"), "{row:?}");
    }
    change(None);
    assert!(disk(directory.path()).is_ok());
}

/// Wherever the damage is, it is either noticed, or in a place that holds nothing.
#[tokio::test]
async fn a_damaged_file_is_refused_or_does_not_matter() {
    let directory = tempfile::tempdir().unwrap();
    let rig = Rig::disk(directory.path());
    for generation in 1..=300 {
        rig.supersede("a", generation).await.unwrap();
    }
    let now = rig.now;
    drop(rig);
    let whole = fs::read(file_in(&directory)).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let (mut noticed, mut harmless) = (0, 0);
    for nth in 0..150 {
        fs::write(file_in(&directory), &whole).unwrap();
        let mut file = OpenOptions::new().write(true).open(file_in(&directory)).unwrap();
        // In the header at first, then anywhere.
        let place = if nth < 50 { random.u64(0..4096) } else { random.u64(0..whole.len() as u64) };
        file.seek(SeekFrom::Start(place)).unwrap();
        let noise: Vec<u8> = (0..random.usize(1..64)).map(|_| random.u8(..)).collect();
        file.write_all(&noise).unwrap();
        drop(file);
        match disk(directory.path()) {
            Err(error) => {
                let said = error.to_string();
                assert!(said.contains("perennial.redb") && said.contains("move it away"), "{said}");
                noticed += 1;
            }
            Ok(store) => {
                let rig = Rig { now, ..Rig::of(store) };
                let standings = rig.standings("a", 298..=300).await;
                assert_eq!(standings, "revoked, grace a-CANARY-300, current 300", "damaged at {place}");
                harmless += 1;
            }
        }
    }
    assert!(noticed > 5 && harmless > 5, "{noticed} noticed, {harmless} harmless");
}

#[test]
fn a_file_that_was_cut_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(disk(directory.path()).unwrap());
    let length = fs::metadata(file_in(&directory)).unwrap().len();
    let file = OpenOptions::new().write(true).open(file_in(&directory)).unwrap();
    for cut in [length / 2, 4096, 100, 5] {
        file.set_len(cut).unwrap();
        assert!(refused(&directory).contains("is damaged"), "cut to {cut}");
    }
}

/// redb writes its mark last: a file without it, and with nothing behind the header, was never a database.
#[test]
fn a_file_whose_making_was_cut_short_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    drop(disk(directory.path()).unwrap());
    let mut whole = fs::read(file_in(&directory)).unwrap();
    whole[..9].fill(0);
    fs::write(file_in(&directory), &whole).unwrap();
    assert!(refused(&directory).contains("is damaged"), "something is left of a database");
    whole[4096..].fill(0);
    fs::write(file_in(&directory), &whole).unwrap();
    drop(disk(directory.path()).unwrap());
    drop(disk(directory.path()).unwrap());
}
