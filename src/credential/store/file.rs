//! The file of the disk store: whose it is, who may read it, and that only one has it.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::StoreError;

const NAME: &str = "perennial.redb";

/// redb writes this at the very beginning, and last of all when it makes a file.
const MAGIC: &[u8] = b"redb";

/// Its header is in here; all that a file has whose making was cut short.
const HEADER: usize = 4096;

/// Makes the directory where it is missing; the file in it.
pub(super) fn in_directory(path: &Path) -> Result<PathBuf, StoreError> {
    let unusable = |error: io::Error| StoreError::Directory { path: path.to_owned(), kind: error.kind() };
    if !path.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_directory(parent).map_err(unusable)?;
        }
    }
    Ok(path.join(NAME))
}

/// Opens the file for its one owner; a missing one is made where `make` says so. (The lock ends with the file.)
pub(super) fn open(file: &Path, make: bool) -> Result<File, StoreError> {
    let unopened = |error: io::Error| StoreError::Unopened { file: file.to_owned(), kind: error.kind() };
    let new = make && !file.exists();
    let mut options = OpenOptions::new();
    let mut opened = options.read(true).write(true).create(make).mode(0o600).open(file).map_err(unopened)?;
    let metadata = opened.metadata().map_err(unopened)?;
    if !metadata.is_file() {
        let what = "not a regular file".to_owned();
        return Err(StoreError::Damaged { file: file.to_owned(), what });
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(StoreError::OpenToOthers { file: file.to_owned(), mode });
    }
    opened.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => StoreError::Owned { file: file.to_owned() },
        TryLockError::Error(error) => unopened(error),
    })?;
    if new && let Some(directory) = file.parent() {
        sync_directory(directory).map_err(unopened)?;
    }
    if was_cut_short(&mut opened).map_err(unopened)? {
        opened.set_len(0).map_err(unopened)?;
    }
    Ok(opened)
}

/// A file that is made is durable with its directory only.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Did the process end while it made the file? Then there is nothing in it: it has its length, but no mark at its
/// beginning, and zeros behind its header. Of a file that was ever whole, more is left than that.
fn was_cut_short(file: &mut File) -> io::Result<bool> {
    let mut block = [0; HEADER];
    file.seek(SeekFrom::Start(0))?;
    let length = fill(file, &mut block)?;
    if length < HEADER || block[..MAGIC.len()].iter().any(|byte| *byte != 0) {
        return Ok(false);
    }
    let mut behind = 0;
    loop {
        match fill(file, &mut block)? {
            0 => return Ok(behind > 0),
            length if block[..length].iter().any(|byte| *byte != 0) => return Ok(false),
            length => behind += length,
        }
    }
}

/// Reads until the block is full, or the file at its end; how much it was.
fn fill(file: &mut File, block: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < block.len() {
        match file.read(&mut block[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}
