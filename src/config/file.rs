//! Files that the configuration names: what is opened is a file, and nothing that could keep its reader waiting.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::OFlags;

/// Why it was not opened.
#[derive(Debug, thiserror::Error)]
pub enum Unopened {
    /// It is a directory.
    #[error("is a directory")]
    Directory,
    /// To read it may mean to wait for somebody, or to do something.
    #[error("is a device, a pipe or a socket, and no file")]
    NoFile,
    /// What the system says.
    #[error("{}", .0.kind())]
    Io(#[from] io::Error),
}

/// Opens a regular file for reading, and says what is known of it.
pub fn open(path: &Path) -> Result<(File, Metadata), Unopened> {
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

fn regular(meta: &Metadata) -> Result<(), Unopened> {
    match meta {
        meta if meta.is_file() => Ok(()),
        meta if meta.is_dir() => Err(Unopened::Directory),
        _ => Err(Unopened::NoFile),
    }
}
