//! Secrets: named in the configuration, read when they are used, never shown.
//!
//! - [`Secret`] is where a secret is kept: in the file itself, in an environment variable, or in a
//!   file. Its `Debug` and [`Secret::masked`] never hold the text.
//! - [`Secret::reveal`] reads it again at each use, so that a rotated file counts at the next ([`SecretFile`]).
//! - [`SecretError`] names the variable or the path, never a byte of the value.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    secret_file::{self, SecretFile},
    secret_text::SecretText,
};

/// The longest secret taken from a file, in bytes.
pub const MAX_SECRET: usize = 64 * 1024;

/// A secret of the configuration, read when it is used. Equal are two that are written alike: that compares two
/// configurations, and is no check of what somebody presents.
#[derive(Clone, PartialEq)]
pub struct Secret(Kept);

#[derive(Clone)]
enum Kept {
    Literal(Arc<str>),
    Env(String),
    File(Arc<SecretFile>),
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(own), Self::Literal(other)) => own == other,
            (Self::Env(own), Self::Env(other)) => own == other,
            (Self::File(own), Self::File(other)) => own.path == other.path,
            (Self::Literal(_) | Self::Env(_) | Self::File(_), _) => false,
        }
    }
}

impl Secret {
    /// A secret that stands in the configuration itself.
    pub fn literal(text: &str) -> Self {
        Self(Kept::Literal(text.into()))
    }

    /// A secret in the environment variable `name`.
    pub fn env(name: impl Into<String>) -> Self {
        Self(Kept::Env(name.into()))
    }

    /// A secret in the file at `path`.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kept::File(Arc::new(SecretFile::new(path.into()))))
    }

    /// The file to watch for changes, where the secret is in one.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Kept::File(file) => Some(&file.path),
            Kept::Literal(_) | Kept::Env(_) => None,
        }
    }

    /// The file that it is to be kept in, if there is no such file yet.
    pub fn awaited(&self) -> Option<&Path> {
        self.path().filter(|_| matches!(self.reveal_lines(), Err(SecretError::NotThere(_))))
    }

    /// The variable of the environment that it is kept in.
    pub fn variable(&self) -> Option<&str> {
        if let Kept::Env(name) = &self.0 { Some(name) } else { None }
    }

    /// Does the text stand in the configuration itself?
    pub fn is_literal(&self) -> bool {
        matches!(self.0, Kept::Literal(_))
    }

    /// Reads the secret now. A file is read without the line end that closes it.
    pub fn reveal(&self) -> Result<SecretText, SecretError> {
        let revealed = self.reveal_lines()?;
        if revealed.contains(['\r', '\n', '\0']) {
            return Err(SecretError::LineBreak(self.place()));
        }
        Ok(revealed)
    }

    /// As [`Secret::reveal`], of a secret that has several lines: a key in PEM.
    pub fn reveal_lines(&self) -> Result<SecretText, SecretError> {
        match &self.0 {
            Kept::Literal(text) => checked(SecretText::from(&**text), || self.place()),
            Kept::Env(name) => {
                let text = std::env::var(name).map_err(|error| match error {
                    std::env::VarError::NotPresent => SecretError::NoVariable(name.clone()),
                    std::env::VarError::NotUnicode(_) => SecretError::NotText(self.place()),
                })?;
                checked(text.into(), || self.place())
            }
            Kept::File(file) => file.reveal(),
        }
    }

    /// Where it is kept, in words: what an error names.
    pub fn place(&self) -> String {
        match &self.0 {
            Kept::Literal(_) => "the secret".to_owned(),
            Kept::Env(name) => format!("the environment variable {name}"),
            Kept::File(file) => secret_file::place(&file.path),
        }
    }

    /// How it is written in the configuration, with a literal masked: a TOML value.
    pub fn masked(&self) -> String {
        match &self.0 {
            Kept::Literal(_) => "\"***\"".to_owned(),
            Kept::Env(name) => format!("{{ env = {} }}", super::effective::quoted(name)),
            Kept::File(file) => {
                format!("{{ file = {} }}", super::effective::quoted(&file.path.to_string_lossy()))
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.masked())
    }
}

/// A text that can be a secret; `from` says where it was found.
pub(super) fn checked(text: SecretText, from: impl Fn() -> String) -> Result<SecretText, SecretError> {
    if text.is_empty() {
        return Err(SecretError::Empty(from()));
    }
    if text.len() > MAX_SECRET {
        return Err(SecretError::TooLong(from()));
    }
    Ok(text)
}

/// Why a secret could not be read. Says where it was looked for, never what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The environment variable is not set.
    #[error("the environment variable {0} is not set")]
    NoVariable(String),
    /// The file cannot be read.
    #[error("the file {} cannot be read: {why}", path.display())]
    Unreadable {
        /// The file that was asked for.
        path: PathBuf,
        /// What the system said, or what it is.
        why: String,
    },
    /// There is no such file.
    #[error("the file {} cannot be read: entity not found", .0.display())]
    NotThere(PathBuf),
    /// Not UTF-8.
    #[error("{0} is not UTF-8 text")]
    NotText(String),
    /// Nothing there.
    #[error("{0} is empty")]
    Empty(String),
    /// More than [`MAX_SECRET`] bytes.
    #[error("{0} is longer than 64 KiB")]
    TooLong(String),
    /// A line break or a NUL inside, which no header can carry.
    #[error("{0} holds a line break or a NUL")]
    LineBreak(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "CANARY-7f3a";

    fn file_with(bytes: &[u8]) -> (tempfile::TempDir, Secret) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, bytes).unwrap();
        (dir, Secret::file(path))
    }

    #[test]
    fn a_secret_is_read_from_each_place() {
        assert_eq!(&*Secret::literal("abc").reveal().unwrap(), "abc");
        // Tests cannot set a variable (that is unsafe); cargo sets this one for them.
        assert_eq!(&*Secret::env("CARGO_PKG_NAME").reveal().unwrap(), "perennial");
        for written in [&b"abc"[..], b"abc\n", b"abc\r\n"] {
            assert_eq!(&*file_with(written).1.reveal().unwrap(), "abc");
        }
    }

    #[test]
    fn what_some_editors_put_before_it_is_no_part_of_it() {
        let (_dir, secret) = file_with("\u{feff}abc\r\n".as_bytes());
        assert_eq!(&*secret.reveal().unwrap(), "abc");
    }

    #[test]
    fn what_could_keep_its_reader_waiting_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        for (path, why) in
            [(pipe.as_path(), "is a device, a pipe or a socket, and no file"), (dir.path(), "is a directory")]
        {
            let said = Secret::file(path).reveal().unwrap_err().to_string();
            assert_eq!(said, format!("the file {} cannot be read: {why}", path.display()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_again_at_each_use() {
        let (_dir, secret) = file_with(b"old");
        assert_eq!(&*secret.reveal().unwrap(), "old");
        std::fs::write(secret.path().unwrap(), "new\n").unwrap();
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(&*secret.reveal().unwrap(), "new");
    }

    #[test]
    fn what_is_no_secret_is_refused_without_showing_it() {
        let long = [CANARY.as_bytes(), &vec![b'x'; MAX_SECRET]].concat();
        let cases: [(&[u8], &str); 6] = [
            (b"", "is empty"),
            (b"\n", "is empty"),
            (b"CANARY-7f3a\nmore", "holds a line break or a NUL"),
            (b"CANARY-7f3a\n\n", "holds a line break or a NUL"),
            (b"CANARY-7f3a\xff", "is not UTF-8 text"),
            (&long, "is longer than 64 KiB"),
        ];
        for (bytes, why) in cases {
            let (_dir, secret) = file_with(bytes);
            let error = secret.reveal().unwrap_err();
            assert!(error.to_string().ends_with(why), "{error}");
            assert!(!format!("{error} {error:?}").contains(CANARY));
        }
        let exact = file_with(&[&vec![b'x'; MAX_SECRET][..], b"\r\n"].concat());
        assert_eq!(exact.1.reveal().unwrap().len(), MAX_SECRET);
    }

    #[test]
    fn a_secret_of_several_lines_is_asked_for_as_such() {
        let (_dir, secret) = file_with(b"one\ntwo\n");
        assert_eq!(&*secret.reveal_lines().unwrap(), "one\ntwo");
        assert!(matches!(secret.reveal(), Err(SecretError::LineBreak(_))));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = Secret::env("PERENNIAL_NOT_SET").reveal().unwrap_err();
        assert_eq!(error.to_string(), "the environment variable PERENNIAL_NOT_SET is not set");
        let error = Secret::file("/nonexistent/gate").reveal().unwrap_err();
        assert_eq!(error.to_string(), "the file /nonexistent/gate cannot be read: entity not found");
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_file_that_is_not_there_is_awaited() {
        let (dir, secret) = file_with(b"");
        assert_eq!(secret.awaited(), None, "empty is something else");
        assert_eq!(Secret::file(dir.path()).awaited(), None);
        assert_eq!(Secret::file(dir.path().join("secret/below")).awaited(), None, "no directory");
        assert_eq!(Secret::env("PERENNIAL_NOT_SET").awaited(), None);
        let path = dir.path().join("later");
        let secret = Secret::file(&path);
        assert_eq!(secret.awaited(), Some(&*path));
        std::fs::write(&path, "x").unwrap();
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(secret.awaited(), None);
    }

    #[test]
    fn debug_masks() {
        let secret = Secret::literal(CANARY);
        let shown = format!("{secret:?} {:?} {}", secret.reveal().unwrap(), secret.masked());
        assert!(!shown.contains(CANARY), "{shown}");
    }
}
