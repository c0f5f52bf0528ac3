//! Why a store cannot be opened, or does not take a change.

use std::{io, path::PathBuf};

/// Each names the file, and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It has not answered for as long as it is waited for: a disk or a mount that hangs.
    #[error("the store did not answer in time")]
    Slow,
    /// The secret of the store cannot be read.
    #[error("the secret of [state]: {0}")]
    Secret(String),
    /// The directory is not there and cannot be made, or cannot be used.
    #[error("the directory {} cannot be used: {kind}; make it, or change path in [state]", path.display())]
    Directory { path: PathBuf, kind: io::ErrorKind },
    /// The file cannot be opened or read.
    #[error("the file {} cannot be opened: {kind}", file.display())]
    Unopened { file: PathBuf, kind: io::ErrorKind },
    /// Others than the owner may use the file.
    #[error("the file {0} is open to others (mode {mode:03o}); close it: chmod 600 {0}", file.display())]
    OpenToOthers { file: PathBuf, mode: u32 },
    /// Another process has it.
    #[error(
        "the file {0} has an owner already: look for another perennial with the same path in [state] \
         (`fuser {0}` names it); stop it, or give each a path of its own",
        file.display()
    )]
    Owned { file: PathBuf },
    /// Not a file of this store, or not whole.
    #[error(
        "the file {} is damaged, or not one of Perennial's ({what}); put a copy of it back, or move it away \
         to start again: what was revoked is then forgotten",
        file.display()
    )]
    Damaged { file: PathBuf, what: String },
    /// Of another version.
    #[error(
        "the file {} has schema {found}, and this version knows {known}; run the version that wrote it, or move \
         it away to start again: what was revoked is then forgotten",
        file.display()
    )]
    Schema { file: PathBuf, found: u32, known: u32 },
    /// A change could not be made durable.
    #[error("the file {} takes no change: {what}", file.display())]
    Unwritten { file: PathBuf, what: String },
    /// A Redis that cannot be reached, or does not answer in time; it is tried again.
    #[error("the Redis at {host} is away: {why}")]
    Away { host: String, why: String },
    /// What listens there is no Redis, or what is kept there is not ours.
    #[error("the Redis at {host} answers nonsense ({what}); look whether url in [state] names a Redis")]
    Nonsense { host: String, what: &'static str },
    /// A Redis that does not do what it was asked.
    #[error("the Redis at {host} refuses ({code}): {hint}")]
    Refused { host: String, code: String, hint: &'static str },
    /// The URL of the Redis, or a file of its TLS, cannot be used.
    #[error("the Redis cannot be dialled: {what}")]
    Undialled { what: String },
    /// Another sidecar has the lease now, or had one since.
    #[error("another sidecar has taken over: what came late is not written down")]
    Overtaken,
    /// Others changed the same records again and again in between.
    #[error("the Redis at {host} has too many changes of the same tokens at once; they are tried again")]
    Contended { host: String },
    /// The change was given up before it was made.
    #[error("the store stopped before the change was made")]
    Stopped,
    /// The system has none.
    #[error("the system gives no random bytes")]
    NoRandomBytes,
}
