//! A file that takes another's place as a whole.
//!
//! ```text
//!   new ──► .NAME.XXXXXXXX beside it, mode 0600 ──► keep: written, on the disk, renamed
//!                                               └─► dropped: it is gone
//! ```
//!
//! It is made before there is anything to write, since that is when it is no loss that it cannot be made.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The file beside it.
#[derive(Debug)]
pub(super) struct Draft {
    /// As it was named.
    named: PathBuf,
    /// What is replaced: what a link leads to, and not the link.
    target: PathBuf,
    file: File,
    beside: Beside,
}

/// Is removed with this, unless it was renamed.
#[derive(Debug)]
struct Beside {
    path: PathBuf,
    stays: bool,
}

impl Draft {
    /// Makes the file beside `path`; the error says what is wrong there.
    pub(super) fn new(path: &Path) -> Result<Self, String> {
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = target.file_name().ok_or_else(|| format!("{} is no file", path.display()))?;
        let mut own = OsString::from(".");
        own.push(name);
        own.push(format!(".{:08x}", fastrand::u32(..)));
        let beside = target.with_file_name(own);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
        let file = made.map_err(|error| {
            let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
            let directory = directory.unwrap_or_else(|| Path::new(".")).display();
            format!("no file can be made in {directory}, where the refresh token is to be: {}", error.kind())
        })?;
        Ok(Self { named: path.to_owned(), target, file, beside: Beside { path: beside, stays: false } })
    }

    /// Writes `text`, and puts it in its place. Says where that is, as it was named.
    pub(super) fn keep(mut self, text: &str) -> Result<PathBuf, String> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_all());
        let named = self.named.display();
        written.map_err(|error| {
            format!("the refresh token cannot be written beside {named}: {}; log in again", error.kind())
        })?;
        self.beside.stays = true;
        fs::rename(&self.beside.path, &self.target).map_err(|error| {
            let beside = self.beside.path.display();
            format!(
                "{named} cannot be replaced: {}; the refresh token is in {beside}: move it there",
                error.kind()
            )
        })?;
        // The token is there; that it also survives a power cut now is not worth a failure.
        let _ = synced(&self.target);
        Ok(self.named)
    }
}

/// Writes down that a name of its directory has changed.
fn synced(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.stays {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn names(directory: &Path) -> Vec<OsString> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_is_there_as_a_whole_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("refresh");
        fs::write(&path, "a longer one before it").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let draft = Draft::new(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a longer one before it");
        assert_eq!(draft.keep("new").unwrap(), path);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(dir.path()), ["refresh"]);
    }

    #[test]
    fn one_that_is_not_kept_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let draft = Draft::new(&dir.path().join("refresh")).unwrap();
        assert_eq!(names(dir.path()).len(), 1);
        drop(draft);
        assert_eq!(names(dir.path()), [""; 0]);
    }

    #[test]
    fn a_link_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let [link, real] = ["link", "real"].map(|name| dir.path().join(name));
        fs::write(&real, "old").unwrap();
        symlink(&real, &link).unwrap();
        Draft::new(&link).unwrap().keep("new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
    }

    #[test]
    fn what_cannot_be_replaced_costs_no_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("refresh");
        let draft = Draft::new(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let said = draft.keep("CANARY").unwrap_err();
        let beside = said.split_once("the refresh token is in ").unwrap().1.split_once(": ").unwrap().0;
        assert_eq!(fs::read_to_string(beside).unwrap(), "CANARY");
        assert!(!said.contains("CANARY"), "{said}");
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let said = Draft::new(&dir.path().join("none/refresh")).unwrap_err();
        let directory = dir.path().join("none");
        assert_eq!(
            said,
            format!(
                "no file can be made in {}, where the refresh token is to be: entity not found",
                directory.display()
            )
        );
    }
}
