//! Children of this process: those that a command was started as, and those that it left behind.
//!
//! As process 1 (in a container without an init) this process inherits the orphans of all others, and each that ends
//! stays in the table of processes until somebody reaps it.
//!
//! 1. Who started a command reaps it, and needs its status: it is never reaped here.
//! 2. A command is entered under the same lock that is held while orphans are looked for: none can end between its
//!    start and its entry.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::{
    sys::wait::{Id, WaitPidFlag, waitid},
    unistd::Pid,
};
use tokio::process::{Child, Command};

static OURS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A command that was started, until this is dropped.
#[derive(Debug)]
pub(super) struct Entry(Option<Pid>);

/// Starts a command.
pub(super) fn start(command: &mut Command) -> io::Result<(Child, Entry)> {
    let mut ours = ours();
    let child = command.spawn()?;
    let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    ours.extend(id);
    Ok((child, Entry(id)))
}

/// Reaps every child that has ended and is nobody's. Is there one before others that its owner still has to reap?
pub fn reap_orphans() -> bool {
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    let ours = ours();
    loop {
        // An error: there is no child at all.
        let Some(first) = waitid(Id::All, ended | WaitPidFlag::WNOWAIT).ok().and_then(|status| status.pid())
        else {
            return false;
        };
        if ours.contains(&first) {
            return true;
        }
        if waitid(Id::Pid(first), ended).is_err() {
            return false;
        }
        tracing::debug!(process = first.as_raw(), "reaped what another process left behind");
    }
}

fn ours() -> MutexGuard<'static, Vec<Pid>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Entry {
    fn drop(&mut self) {
        ours().retain(|id| Some(*id) != self.0);
    }
}
