//! Tokens from a command.
//!
//! ```text
//!   command ──► process: a group of its own ──┬─ stdout ─► answer ─► a token
//!     env, no shell, no stdin                 └─ stderr ─► lines ─► mask ─► the log
//! ```
//!
//! 1. The command is run as it stands: there is no shell, and nothing to type into.
//! 2. It is killed with all of its children at the deadline, when the fetch is dropped, and when it has ended and
//!    left some behind. What leaves its process group (`setsid`, a daemon) escapes that.
//! 3. It succeeds with status 0 and a token on stdout, of at most 192 KiB with all that is around it.
//! 4. What it says on stderr is logged when it has ended, since only then is it known what must not be in it.
//! 5. An error names the program, and quotes nothing that it printed.
//! 6. Every failure may pass by itself: a program may be installed a moment later.

use std::{io::ErrorKind, os::unix::process::ExitStatusExt, path::Path, process::ExitStatus};

use http::HeaderMap;
use tokio::{process::Command, time};

mod children;
mod lines;
mod process;

pub use children::reap_orphans;

use process::{Heard, Running, Unheard};

use super::{
    Asking, Issued, SourceError,
    answer::{Answer, Reader},
    mask::Mask,
    parts::Parts,
};
use crate::{
    clock::Instant,
    config::{ExecSource, Name, Secret, SecretText},
};

/// Plugins of kubectl look for this, and are told that nobody is there to be asked.
const KUBERNETES: (&str, &str) = (
    "KUBERNETES_EXEC_INFO",
    r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":false}}"#,
);

/// What a value of a declared dialect is asked for.
const ARG: &str = "PERENNIAL_ARG";

/// How systemd talks with the service itself.
const NOT_ITS_OWN: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// `source = "exec"`.
#[derive(Debug)]
pub struct ExecTokens {
    source: ExecSource,
}

impl ExecTokens {
    pub(super) fn new(source: &ExecSource) -> Self {
        Self { source: source.clone() }
    }

    pub(super) async fn fetch(&self, asking: &Asking, deadline: Instant) -> Result<Issued, SourceError> {
        let env = self.revealed()?;
        let mut heard = Heard::default();
        let arg = asking.client.get(&Name::Arg);
        let ended = self.run((&env, arg), &mut heard, deadline).await;
        let result = ended.and_then(|status| self.understood(status, &heard.output));
        let mut mask = Mask::default();
        env.iter().for_each(|(_, secret)| mask.add(secret));
        self.source
            .others
            .iter()
            .filter_map(|secret| secret.reveal_lines().ok())
            .for_each(|secret| mask.add(&secret));
        if let Some(current) = &asking.current {
            mask.add(current.expose());
        }
        mask.add_output(&heard.output);
        self.log(heard.said, &mask, result.is_err());
        result
    }

    /// The command and its secrets, to be compared with what they were.
    pub(super) fn asked_with(&self) -> Option<Vec<u8>> {
        let env = self.revealed().ok()?;
        let directory = self.source.directory.as_ref().map(|path| path.to_string_lossy().into_owned());
        let directory = directory.unwrap_or_default();
        let words = [&directory, &self.source.program].into_iter().chain(&self.source.arguments);
        let pairs = env.iter().flat_map(|(name, secret)| [*name, secret]);
        let mut parts = Parts::default();
        parts.put_all(words.map(String::as_str).chain(pairs));
        Some(parts.whole())
    }

    fn revealed(&self) -> Result<Vec<(&str, SecretText)>, SourceError> {
        let env = self.source.env.iter();
        env.map(|(name, secret)| match secret.reveal() {
            Ok(revealed) => Ok((name.as_str(), revealed)),
            Err(error) => Err(self.wrong(format_args!("was not started: its variable {name}: {error}"))),
        })
        .collect()
    }

    /// How it ended, by `deadline`.
    async fn run(
        &self,
        (env, arg): (&[(&str, SecretText)], Option<&str>),
        heard: &mut Heard,
        deadline: Instant,
    ) -> Result<ExitStatus, SourceError> {
        let ExecSource { program, arguments, directory, .. } = &self.source;
        let mut command = Command::new(program);
        command.args(arguments).env(KUBERNETES.0, KUBERNETES.1);
        // What is Perennial's own, or another source's, is no business of the command's.
        let others = self.source.others.iter().filter_map(Secret::variable);
        for name in others.chain(NOT_ITS_OWN) {
            command.env_remove(name);
        }
        command.envs(arg.map(|arg| (ARG, arg)));
        command.envs(env.iter().map(|(name, secret)| (name, &**secret)));
        if let Some(directory) = directory {
            command.current_dir(directory);
        }
        let mut running = Running::start(command).map_err(|error| self.not_started(&error))?;
        match time::timeout_at(deadline, running.hear(heard)).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(Unheard::TooMuch)) => Err(self
                .wrong(format_args!("printed more than {} KiB, and was killed", process::MAX_OUTPUT / 1024))),
            Ok(Err(Unheard::Broken(error))) => Err(self.wrong(format_args!("could not be heard: {error}"))),
            Err(_) => Err(self.wrong(format_args!("did not end in time, and was killed with its children"))),
        }
    }

    fn understood(&self, status: ExitStatus, output: &[u8]) -> Result<Issued, SourceError> {
        if !status.success() {
            return Err(match (status.code(), status.signal()) {
                (Some(code), _) => {
                    self.wrong(format_args!("ended with status {code}; its stderr is in the log"))
                }
                (None, Some(signal)) => self.wrong(format_args!("was killed by signal {signal}")),
                (None, None) => self.wrong(format_args!("ended in an unknown way")),
            });
        }
        match Reader::of(&self.source.answer).read(&HeaderMap::new(), None, output) {
            Ok(Answer::Token(issued)) => Ok(issued),
            Ok(Answer::TokenRequest { .. }) => Err(self.wrong(format_args!(
                "printed a TokenRequest, which is exchanged only with source = \"http\""
            ))),
            Err(bad) => {
                let error = SourceError::from(bad);
                Err(SourceError { reason: format!("{}: {}", self.source.program, error.reason), ..error })
            }
        }
    }

    fn not_started(&self, error: &std::io::Error) -> SourceError {
        let ExecSource { program, directory, .. } = &self.source;
        if let Some(directory) = directory.as_ref().filter(|directory| !directory.is_dir()) {
            let directory = directory.display();
            return self
                .wrong(format_args!("was not started: there is no directory {directory} to run it in"));
        }
        let (kind, path) = (error.kind(), Path::new(program));
        if kind == ErrorKind::NotFound && program.contains('/') && path.exists() {
            return self
                .wrong(format_args!("cannot be run: what its first line names to run it was not found"));
        }
        if kind == ErrorKind::NotFound {
            return self
                .wrong(format_args!("was not found; name its whole path, or put it where PATH looks"));
        }
        if kind == ErrorKind::PermissionDenied {
            return self.wrong(format_args!("may not be executed by this user; look at its mode"));
        }
        self.wrong(format_args!("cannot be run: {error}"))
    }

    fn wrong(&self, what: std::fmt::Arguments<'_>) -> SourceError {
        SourceError::passing(format!("{} {what}", self.source.program))
    }

    fn log(&self, said: lines::Lines, mask: &Mask, failed: bool) {
        let command = self.source.program.as_str();
        let lines::Said { lines, left_out, cut_off } = said.end();
        for line in &lines {
            let line = mask.line(&line.text, line.cut);
            if failed {
                tracing::warn!(command, line, "stderr of a failed command");
            } else {
                tracing::info!(command, line, "stderr of a command");
            }
        }
        if left_out > 0 || cut_off > 0 {
            tracing::info!(command, lines = left_out, bytes = cut_off, "not all of its stderr was logged");
        }
    }
}

#[cfg(test)]
mod tests;
