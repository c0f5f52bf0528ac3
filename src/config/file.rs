//! Files that the configuration names: what is opened is a file, and nothing that could keep its reader waiting.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::OFlags;

/// Why it was not read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is a directory.
    #[error("is a directory")]
    Directory,
    /// To read it may mean to wait for somebody, or to do something.
    #[error("is a device, a pipe or a socket, and no file")]
    NoFile,
    /// More bytes than its reader takes.
    #[error("is larger than {} KiB", .0 / 1024)]
    TooLarge(u64),
    /// What the system says.
    #[error("{}", .0.kind())]
    Io(#[from] io::Error),
}

/// Reads a regular file of `most` bytes at the most, and says what is known of it.
pub fn read(path: &Path, most: u64) -> Result<(Vec<u8>, Metadata), Unreadable> {
    let (file, meta) = open(path)?;
    let mut bytes = Vec::new();
    // It may grow meanwhile.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(Unreadable::TooLarge(most)) } else { Ok((bytes, meta)) }
}

/// Opens a regular file for reading.
pub(super) fn open(path: &Path) -> Result<(File, Metadata), Unreadable> {
    // Looked at first: with some devices, to open them is to do something.
    regular(&path.metadata()?)?;
    // It may be something else a moment later.
    let patient = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(patient.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    regular(&meta)?;
    Ok((file, meta))
}

fn regular(meta: &Metadata) -> Result<(), Unreadable> {
    match meta {
        meta if meta.is_file() => Ok(()),
        meta if meta.is_dir() => Err(Unreadable::Directory),
        _ => Err(Unreadable::NoFile),
    }
}
