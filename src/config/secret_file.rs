//! A file with a secret, read when the secret is used.
//!
//! ```text
//!   reveal() ──► looked a moment ago? ──► what it held
//!                  │ no: a thread looks
//!                  ├── in time ──► what it holds
//!                  └── not ──────► what it held before, and a warning: a secret that hangs costs nobody else
//! ```

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use zeroize::Zeroizing;

use super::{
    file::{self, Unreadable},
    look::{Looker, PATIENCE},
    secret::{MAX_SECRET, SecretError, checked},
    secret_text::SecretText,
};
use crate::clock::{self, Instant};

/// How long what was read counts as what is there: many clients use one secret.
const FRESH: Duration = Duration::from_millis(200);

/// How long the first look may take: there is nothing that could be used meanwhile.
const AT_FIRST: Duration = Duration::from_secs(2);

/// Some editors begin a file with it.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The file, and what it held.
pub(super) struct SecretFile {
    pub path: PathBuf,
    looker: Arc<Looker>,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    /// What the last look found, and when.
    last: Option<(Instant, Result<SecretText, SecretError>)>,
    /// That it hangs has been said.
    said: bool,
}

impl SecretFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, looker: Arc::default(), held: Arc::default() }
    }

    /// What it holds, or held before if it cannot be looked at now.
    pub(super) fn reveal(&self) -> Result<SecretText, SecretError> {
        let path = self.path.clone();
        self.reveal_by(move || read(&path))
    }

    fn reveal_by(
        &self,
        read: impl FnOnce() -> Result<SecretText, SecretError> + Send + 'static,
    ) -> Result<SecretText, SecretError> {
        let now = clock::now();
        let fresh = |at: Instant| now.saturating_duration_since(at) < FRESH;
        let patience = match &lock(&self.held).last {
            Some((at, found)) if fresh(*at) => return found.clone(),
            Some(_) => PATIENCE,
            None => AT_FIRST,
        };
        let held = Arc::clone(&self.held);
        self.looker.look(patience, move || {
            let found = read();
            *lock(&held) = Held { last: Some((now, found)), said: false };
        });
        let mut held = lock(&self.held);
        let Some((at, found)) = held.last.clone() else { return Err(self.hangs()) };
        if !fresh(at) && !std::mem::replace(&mut held.said, true) {
            tracing::warn!(error = %self.hangs(), "what it held before is used");
        }
        found
    }

    fn hangs(&self) -> SecretError {
        SecretError::Unreadable { path: self.path.clone(), why: "its file system does not answer".to_owned() }
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(path: &Path) -> Result<SecretText, SecretError> {
    let place = || place(path);
    // The mark at its beginning and the line end that closes it are no part of the secret.
    let most = MAX_SECRET + BYTE_ORDER_MARK.len_utf8() + "\r\n".len();
    let (mut bytes, _) = file::read(path, most as u64).map_err(|error| match error {
        Unreadable::TooLarge(_) => SecretError::TooLong(place()),
        Unreadable::Io(error) if error.kind() == ErrorKind::NotFound => {
            SecretError::NotThere(path.to_owned())
        }
        Unreadable::Directory | Unreadable::NoFile | Unreadable::Io(_) => {
            SecretError::Unreadable { path: path.to_owned(), why: error.to_string() }
        }
    })?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    let text = Zeroizing::new(String::from_utf8(bytes).map_err(|_| SecretError::NotText(place()))?);
    checked(text.trim_start_matches(BYTE_ORDER_MARK).into(), place)
}

/// In words.
pub(super) fn place(path: &Path) -> String {
    format!("the file {}", path.display())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn text(found: Result<SecretText, SecretError>) -> String {
        found.map_or_else(|error| error.to_string(), |revealed| revealed.to_string())
    }

    fn literal(text: &str) -> Result<SecretText, SecretError> {
        Ok(text.into())
    }

    #[tokio::test(start_paused = true)]
    async fn many_uses_are_one_look() {
        let file = SecretFile::new("s".into());
        assert_eq!(text(file.reveal_by(|| literal("one"))), "one");
        for _ in 0..400 {
            assert_eq!(text(file.reveal_by(|| unreachable!("looked a moment ago"))), "one");
        }
        tokio::time::advance(FRESH).await;
        assert_eq!(text(file.reveal_by(|| literal("two"))), "two");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_hangs_holds_nobody_and_what_it_held_is_used() {
        let file = SecretFile::new("s".into());
        assert_eq!(text(file.reveal_by(|| literal("one"))), "one");
        let (answer, hangs) = mpsc::channel();
        tokio::time::advance(FRESH).await;
        assert_eq!(text(file.reveal_by(move || hangs.recv().unwrap())), "one");
        for _ in 0..400 {
            tokio::time::advance(FRESH).await;
            assert_eq!(text(file.reveal_by(|| unreachable!("one look at a time"))), "one");
        }
        answer.send(literal("two")).unwrap();
        let mut now = "one".to_owned();
        for n in 0.. {
            assert!(n < 10_000 && now == "one", "{now}");
            std::thread::sleep(Duration::from_millis(1));
            tokio::time::advance(FRESH).await;
            now = text(file.reveal_by(|| literal("three")));
            if now == "three" {
                break;
            }
        }
    }

    #[test]
    fn what_was_never_read_is_an_error_that_names_the_file() {
        let file = SecretFile::new("/s".into());
        let (_answer, hangs) = mpsc::channel::<()>();
        // It is under way for another.
        file.looker.look(PATIENCE, move || assert!(hangs.recv().is_err()));
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            assert_eq!(
                text(file.reveal_by(|| literal("one"))),
                "the file /s cannot be read: its file system does not answer"
            );
        });
    }
}
