//! A token that another program keeps in a file.
//!
//! The file is opened anew each time, so that an atomic rename and a swapped symbolic link are seen. One
//! that is half-written is no token, and is looked at again a second later.

use std::{
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use tokio::io::AsyncReadExt;

use super::{
    Issued, SourceError,
    answer::{self, Answer},
};
use crate::credential::keeper::Life;

/// A file with a token and what surrounds it in JSON is not larger.
const MAX_FILE: u64 = 192 * 1024;

/// A file that did not change for so long is not being written.
const SETTLED: Duration = Duration::from_millis(50);

/// `source = "file"`.
#[derive(Debug)]
pub struct FileToken {
    path: PathBuf,
}

impl FileToken {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    pub(super) async fn fetch(&self) -> Result<Issued, SourceError> {
        let body = self.read().await?;
        // Half a bare token looks like a whole one. What is still being written will have changed.
        tokio::time::sleep(SETTLED).await;
        if self.read().await? != body {
            return Err(self.wrong(&"is being written"));
        }
        let issued = match answer::parse(None, &body).map_err(|bad| self.wrong(&bad))? {
            Answer::Token(issued) => issued,
            Answer::TokenRequest { .. } => return Err(self.wrong(&"a TokenRequest cannot be kept in a file")),
        };
        Ok(Issued { life: self.since_written(issued.life).await, ..issued })
    }

    /// What the file holds now.
    pub(super) async fn read(&self) -> Result<Vec<u8>, SourceError> {
        let read = async {
            let file = tokio::fs::File::open(&self.path).await?;
            let mut body = Vec::new();
            file.take(MAX_FILE + 1).read_to_end(&mut body).await?;
            Ok::<_, std::io::Error>(body)
        };
        let body = read.await.map_err(|error| self.wrong(&error))?;
        if body.len() as u64 > MAX_FILE { Err(self.wrong(&"too large")) } else { Ok(body) }
    }

    /// A lifetime in a file began when it was written, not when it is read.
    async fn since_written(&self, life: Life) -> Life {
        let Life::For(lifetime) = life else { return life };
        let written = tokio::fs::metadata(&self.path).await.and_then(|meta| meta.modified()).ok();
        match written.and_then(|at| at.duration_since(UNIX_EPOCH).ok()) {
            Some(at) => {
                let wall = at.saturating_add(lifetime.min(Duration::from_secs(u64::from(u32::MAX))));
                Life::Until { wall, at_most: Some(lifetime) }
            }
            None => life,
        }
    }

    fn wrong(&self, what: &dyn std::fmt::Display) -> SourceError {
        SourceError::passing(format!("{}: {what}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn it_is_read_as_it_is_now() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let file = FileToken::new(&path);
        assert!(file.fetch().await.unwrap_err().to_string().contains("token: No such file"));
        fs::write(&path, "").unwrap();
        assert!(file.fetch().await.unwrap_err().to_string().ends_with("the answer is empty"));
        fs::write(&path, "{\"token\":\"on").unwrap();
        assert!(file.fetch().await.is_err(), "half-written");
        fs::write(&path, "one\n").unwrap();
        assert_eq!(file.fetch().await.unwrap().text, "one");
        let new = dir.path().join("new");
        fs::write(&new, "two\n").unwrap();
        fs::rename(&new, &path).unwrap();
        assert_eq!(file.fetch().await.unwrap().text, "two");
        fs::write(&path, "x".repeat(300_000)).unwrap();
        assert!(file.fetch().await.unwrap_err().to_string().ends_with("too large"));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_swapped_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("v1"), "one").unwrap();
        fs::write(at("v2"), "two").unwrap();
        std::os::unix::fs::symlink(at("v1"), at("token")).unwrap();
        let file = FileToken::new(&at("token"));
        assert_eq!(file.fetch().await.unwrap().text, "one");
        std::os::unix::fs::symlink(at("v2"), at("swap")).unwrap();
        fs::rename(at("swap"), at("token")).unwrap();
        assert_eq!(file.fetch().await.unwrap().text, "two");
    }

    #[tokio::test]
    async fn a_lifetime_counts_from_the_writing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, r#"{"token":"abc","expires_in":60}"#).unwrap();
        let written = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
        let life = FileToken::new(&path).fetch().await.unwrap().life;
        let wall = Duration::from_secs(1_000_000_060);
        assert_eq!(life, Life::Until { wall, at_most: Some(Duration::from_secs(60)) });
    }
}
