//! `run --watch`: the file of the configuration is read again when it changes, as by SIGHUP.
//!
//! ```text
//!   look ─► as before? ─► nothing
//!      └──► changed ─► the next look finds the same ─► reload
//! ```
//!
//! It is looked at, twice a second: not every file system tells of changes, and a ConfigMap changes by a symbolic link
//! beside the file. What is read counts, not its time: a file that was only touched is no change.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// A file that is watched; `None` stands for one that cannot be read.
pub(super) struct Watch {
    path: PathBuf,
    /// What was acted on last.
    known: Option<Vec<u8>>,
    /// What the last look found: a file that is being written is left alone.
    found: Option<Vec<u8>>,
}

impl Watch {
    pub(super) async fn begin(path: &Path) -> Self {
        let known = tokio::fs::read(path).await.ok();
        Self { path: path.to_owned(), found: known.clone(), known }
    }

    /// Waits until the file has changed and is as it was at the look before. Dropping it loses nothing.
    pub(super) async fn changed(&mut self) {
        loop {
            sleep(LOOK).await;
            let now = tokio::fs::read(&self.path).await.ok();
            let settled = now == self.found;
            self.found = now;
            if settled && self.found != self.known {
                self.known.clone_from(&self.found);
                return;
            }
        }
    }
}
