//! Files with secrets that other users of the machine can read or change: said at the start, and by `check`.
//!
//! What is mounted for reading only is left out: the modes there are the platform's (a Secret of Kubernetes, a secret of
//! Docker), and users who can look into the container can read it anyway.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{StatVfsMountFlags, statvfs};

/// The configuration's own file, and those that it names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SecretFiles {
    /// The file that was read; `None`: it was no file.
    pub(super) own: Option<PathBuf>,
    /// A secret stands in the configuration itself.
    pub(super) in_own: bool,
    /// Files with one secret each.
    pub(super) named: Vec<PathBuf>,
    /// Where Perennial keeps its own.
    pub(super) state: Option<PathBuf>,
}

impl SecretFiles {
    /// One line for each that is open to other users.
    pub(super) fn open(&self) -> Vec<String> {
        let own = self.own.iter().filter(|_| self.in_own).map(|path| (path.as_path(), "has a secret in it"));
        let named = self.named.iter().map(|path| (path.as_path(), "is a secret"));
        let mut found: Vec<String> = own.chain(named).filter_map(|(path, what)| opened(path, what)).collect();
        if let Some(path) = &self.state
            && others(path).is_some_and(|others| others.may_write)
        {
            let path = path.display();
            found.push(format!(
                "[state] path: every user can write to {path}; to change that: chmod 700 {path}"
            ));
        }
        found
    }
}

/// What users can do who are neither the owner nor of the group.
struct Others {
    may_read: bool,
    may_write: bool,
}

fn others(path: &Path) -> Option<Others> {
    let mode = path.metadata().ok()?.mode();
    let changes = !statvfs(path).ok()?.f_flag.contains(StatVfsMountFlags::RDONLY);
    changes.then_some(Others { may_read: mode & 0o004 != 0, may_write: mode & 0o002 != 0 })
}

fn opened(path: &Path, what: &str) -> Option<String> {
    let can = match others(path)? {
        Others { may_write: true, .. } => "change",
        Others { may_read: true, .. } => "read",
        Others { .. } => return None,
    };
    let path = path.display();
    Some(format!("{path} {what}, and every user can {can} it; to change that: chmod 600 {path}"))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
    };

    use crate::config::Config;

    #[test]
    fn what_others_can_read_or_change_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let state = at("state");
        fs::create_dir(&state).unwrap();
        fs::write(at("gate"), "a secret of 16 b").unwrap();
        let text = |secret: &str| {
            format!(
                "[state]\nstore = \"disk\"\npath = '{}'\nsecret = {{ file = '{}' }}\n\
                 [[route]]\nupstream = \"ws://127.0.0.1\"\ndialect = \"none\"\nclient.secret = {secret}\n",
                state.display(),
                at("gate").display()
            )
        };
        let warnings = |secret: &str, modes: [u32; 3]| {
            fs::write(at("file.toml"), text(secret)).unwrap();
            for (name, mode) in ["file.toml", "gate", "state"].into_iter().zip(modes) {
                fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
            }
            Config::load(&at("file.toml")).unwrap().exposed()
        };
        let (literal, elsewhere) = ("\"open-sesame\"", "{ env = \"CARGO_PKG_NAME\" }");
        assert_eq!(warnings(literal, [0o600, 0o640, 0o700]), [""; 0]);
        assert_eq!(warnings(elsewhere, [0o644, 0o600, 0o755]), [""; 0], "no secret in it");
        let all = warnings(literal, [0o644, 0o666, 0o777]);
        let all: Vec<String> =
            all.iter().map(|line| line.replace(&*dir.path().to_string_lossy(), "")).collect();
        assert_eq!(
            all,
            [
                "/file.toml has a secret in it, and every user can read it; to change that: chmod 600 /file.toml",
                "/gate is a secret, and every user can change it; to change that: chmod 600 /gate",
                "[state] path: every user can write to /state; to change that: chmod 700 /state",
            ]
        );
    }
}
