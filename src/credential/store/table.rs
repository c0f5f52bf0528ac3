//! The database: one file, opened and checked, its rows read once and written in transactions.

use std::{
    fs::File,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use redb::{
    Builder, Database, DatabaseError, Error, ReadableDatabase, ReadableTable, TableDefinition, TableHandle,
    backends::FileBackend,
};

use super::{
    StoreError, file,
    index::{StoreKey, new_key},
    row::{self, ROWS},
};
use crate::{
    clock::Now,
    credential::history::{History, Record, TokenKey, millis},
};

/// Counted up with every change of [`ROWS`], of [`GRANTS`] or of [`FACTS`].
const SCHEMA: u32 = 2;
/// Had no grants; it is made one of this version when it is opened.
const WITHOUT_GRANTS: u32 = 1;
const FACTS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("perennial");
const SCHEMA_FACT: &str = "schema";
const KEY_FACT: &str = "key";

/// A grant: its number, when it was kept (milliseconds of the wall clock), and it itself, sealed.
type GrantRow = (u64, u64, &'static [u8]);
const GRANTS: TableDefinition<'static, [u8; 32], GrantRow> = TableDefinition::new("grants");
/// A grant that was not replaced for so long belongs to nobody any more.
const FORGOTTEN: Duration = Duration::from_secs(400 * 24 * 3600);

/// Of pages, in bytes. All that is asked for is in memory anyway; this serves the changes.
const CACHE: usize = 8 << 20;

/// What makes a database of a file that was opened: a test puts a disk in between that fails.
pub(super) type Mount = Arc<dyn Fn(File) -> Result<Database, DatabaseError> + Send + Sync>;

/// An open database.
pub(super) struct Table {
    file: PathBuf,
    database: Database,
    pub(super) key: StoreKey,
}

pub(super) fn mount() -> Mount {
    Arc::new(|file| builder().create_with_backend(FileBackend::new(file)?))
}

pub(super) fn builder() -> Builder {
    let mut builder = Database::builder();
    // Every page is looked at, so that what is damaged is found now, and not in the middle of something.
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    builder
}

impl Table {
    /// Opens the database in `file`; a missing one is made where `make` says so.
    pub(super) fn open(file: &Path, make: bool, mount: &Mount) -> Result<Self, StoreError> {
        let opened = file::open(file, make)?;
        let database = mount(opened).map_err(|error| unread(file, error.into()))?;
        if is_empty(&database).map_err(|error| unread(file, error))? {
            begin(&database, &new_key()?).map_err(|error| unwritten(file, &error))?;
        }
        let (schema, key) = facts(&database).map_err(|error| unread(file, error))?;
        if schema == WITHOUT_GRANTS {
            begin(&database, &key).map_err(|error| unwritten(file, &error))?;
        } else if schema != SCHEMA {
            return Err(StoreError::Schema { file: file.to_owned(), found: schema, known: SCHEMA });
        }
        Ok(Self { file: file.to_owned(), database, key })
    }

    /// All that it remembers and that there is room for. What is beyond that leaves the file as well.
    pub(super) fn load(&self, history_bytes: usize, now: Now) -> Result<History, StoreError> {
        let mut history = History::new(history_bytes, now);
        let rows = self.read(&mut history, now).map_err(|error| unread(&self.file, error))?;
        if rows > history.len() {
            let kept = |key: [u8; 32]| history.record(&TokenKey(key)).is_some();
            self.keep(kept).map_err(|error| unwritten(&self.file, &error))?;
        }
        Ok(history)
    }

    /// Writes all of it, or nothing; durable when it returns.
    pub(super) fn write<'r>(
        &self,
        rows: impl Iterator<Item = (&'r TokenKey, Option<&'r Record>)>,
    ) -> Result<(), StoreError> {
        self.commit(rows).map_err(|error| unwritten(&self.file, &error))
    }

    /// The sealed grant of a lineage.
    pub(super) fn grant(&self, key: &TokenKey) -> Result<Option<Vec<u8>>, StoreError> {
        let read = || -> Result<_, Error> {
            let table = self.database.begin_read()?.open_table(GRANTS)?;
            Ok(table.get(&key.0)?.map(|row| row.value().2.to_vec()))
        };
        read().map_err(|error| unread(&self.file, error))
    }

    /// Keeps a grant, unless there is a later one.
    pub(super) fn keep_grant(
        &self,
        key: &TokenKey,
        number: u64,
        sealed: &[u8],
        now: Now,
    ) -> Result<(), StoreError> {
        let write = || -> Result<(), Error> {
            let transaction = self.database.begin_write()?;
            {
                let mut table = transaction.open_table(GRANTS)?;
                let known = table.get(&key.0)?.map(|row| row.value().0);
                if known.is_none_or(|known| known <= number) {
                    table.insert(&key.0, (number, millis(now.wall), sealed))?;
                }
            }
            Ok(transaction.commit()?)
        };
        write().map_err(|error| unwritten(&self.file, &error))
    }

    /// Forgets grants that nobody went on with for [`FORGOTTEN`]: those of secrets that were replaced.
    pub(super) fn forget_grants(&self, now: Now) -> Result<(), StoreError> {
        let since = millis(now.wall.saturating_sub(FORGOTTEN));
        let old = || -> Result<bool, Error> {
            let table = self.database.begin_read()?.open_table(GRANTS)?;
            let mut rows = table.iter()?;
            Ok(rows.any(|row| row.is_ok_and(|(_, row)| row.value().1 < since)))
        };
        let forget = || -> Result<(), Error> {
            let transaction = self.database.begin_write()?;
            transaction.open_table(GRANTS)?.retain(|_, (_, used, _)| used >= since)?;
            Ok(transaction.commit()?)
        };
        if old().map_err(|error| unread(&self.file, error))? {
            forget().map_err(|error| unwritten(&self.file, &error))?;
        }
        Ok(())
    }

    fn commit<'r>(
        &self,
        rows: impl Iterator<Item = (&'r TokenKey, Option<&'r Record>)>,
    ) -> Result<(), Error> {
        // As redb begins it: the commit returns when the disk has it.
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(ROWS)?;
            for (key, record) in rows {
                match record {
                    Some(record) => row::written(record, |row| table.insert(&key.0, row).map(drop))?,
                    None => table.remove(&key.0).map(drop)?,
                }
            }
        }
        Ok(transaction.commit()?)
    }

    fn read(&self, history: &mut History, now: Now) -> Result<usize, Error> {
        let transaction = self.database.begin_read()?;
        let mut rows = 0;
        for entry in transaction.open_table(ROWS)?.iter()? {
            let (key, value) = entry?;
            let record = row::read(value.value(), history, now);
            let record =
                record.ok_or_else(|| Error::Corrupted("a row that nobody can have written".to_owned()))?;
            history.load(TokenKey(key.value()), record, now);
            rows += 1;
        }
        Ok(rows)
    }

    fn keep(&self, kept: impl Fn([u8; 32]) -> bool) -> Result<(), Error> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(ROWS)?.retain(|key, _| kept(key))?;
        Ok(transaction.commit()?)
    }
}

/// Was it made just now, or by a process that came no further?
fn is_empty(database: &Database) -> Result<bool, Error> {
    Ok(database.begin_read()?.list_tables()?.next().is_none())
}

fn begin(database: &Database, key: &StoreKey) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    {
        let mut facts = transaction.open_table(FACTS)?;
        facts.insert(SCHEMA_FACT, SCHEMA.to_be_bytes().as_slice())?;
        facts.insert(KEY_FACT, key.as_slice())?;
        transaction.open_table(ROWS)?;
        transaction.open_table(GRANTS)?;
    }
    Ok(transaction.commit()?)
}

/// The schema and the key.
fn facts(database: &Database) -> Result<(u32, StoreKey), Error> {
    let transaction = database.begin_read()?;
    let known = |name: &str| [FACTS.name(), ROWS.name(), GRANTS.name()].contains(&name);
    if transaction.list_tables()?.any(|table| !known(table.name())) {
        return Err(Error::Corrupted("it has tables of somebody else".to_owned()));
    }
    let facts = transaction.open_table(FACTS)?;
    let missing = || Error::Corrupted("its schema or its key is missing".to_owned());
    let schema = facts.get(SCHEMA_FACT)?.and_then(|value| value.value().try_into().ok());
    let key = facts.get(KEY_FACT)?.and_then(|value| value.value().try_into().ok());
    Ok((schema.map(u32::from_be_bytes).ok_or_else(missing)?, key.ok_or_else(missing)?))
}

/// What redb says of a file that is opened or read.
fn unread(file: &Path, error: Error) -> StoreError {
    let (file, what) = (file.to_owned(), error.to_string());
    if let Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch = error {
        return StoreError::Owned { file };
    }
    if let Error::Io(error) = error
        && !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
    {
        // The disk is at fault, and not what is on it: where it is full, for one.
        return StoreError::Unopened { file, kind: error.kind() };
    }
    StoreError::Damaged { file, what }
}

fn unwritten(file: &Path, error: &Error) -> StoreError {
    StoreError::Unwritten { file: file.to_owned(), what: error.to_string() }
}
