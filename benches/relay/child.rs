//! Child processes: on a CPU of their own, their words in a file, and gone when their owner is.
//!
//! `setpriv` sees to it that they also go when this process is killed; a drop takes the whole family, since
//! nginx's worker outlives a master that is killed.

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::TcpStream,
    process::{ChildStdin, ChildStdout, Command},
    time::{sleep, timeout},
};

use super::figures;

/// A program listens by then.
const START: Duration = Duration::from_secs(15);
/// No job takes longer.
const LONGEST_JOB: Duration = Duration::from_secs(120);

/// A program that runs.
pub(crate) struct Child {
    process: tokio::process::Child,
    pid: u32,
    log: PathBuf,
}

impl Child {
    /// Starts `program` on one CPU.
    pub(crate) fn start<S: AsRef<OsStr>>(
        cpu: u32,
        log: PathBuf,
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
        piped: bool,
    ) -> Result<Self> {
        let words = File::create(&log)?;
        let pipe = || if piped { Stdio::piped() } else { Stdio::null() };
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "taskset", "-c"]).arg(cpu.to_string()).arg(program);
        command.args(arguments).stdin(pipe()).stderr(words.try_clone()?).kill_on_drop(true);
        command.stdout(if piped { Stdio::piped() } else { Stdio::from(words) });
        let process = command.spawn().context("setpriv and taskset (util-linux) are needed")?;
        let pid = process.id().context("it ended at once")?;
        Ok(Self { process, pid, log })
    }

    /// The process and all that it started.
    pub(crate) fn family(&self) -> Vec<u32> {
        figures::family(self.pid)
    }

    /// Waits until it listens.
    pub(crate) async fn listens(&mut self, port: u16) -> Result<()> {
        let listening = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                if let Some(status) = self.process.try_wait()? {
                    bail!("it ended ({status})");
                }
                sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        let listening = timeout(START, listening).await.unwrap_or_else(|_| bail!("it does not listen"));
        listening.with_context(|| format!("it said: {}", self.last_words()))
    }

    /// What it said last.
    pub(crate) fn last_words(&self) -> String {
        let words = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<&str> = words.lines().rev().take(5).collect();
        last.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        for pid in self.family() {
            if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// This program in another role; lines go in and come out.
pub(crate) struct Helper {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Helper {
    pub(crate) fn start(cpu: u32, log: PathBuf, arguments: &[&OsStr]) -> Result<Self> {
        let mut child = Child::start(cpu, log, &std::env::current_exe()?, arguments, true)?;
        let input = child.process.stdin.take().context("no input")?;
        let output = BufReader::new(child.process.stdout.take().context("no output")?).lines();
        Ok(Self { child, input, output })
    }

    pub(crate) async fn say(&mut self, what: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        Ok(self.input.write_all(&line).await?)
    }

    pub(crate) async fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = timeout(LONGEST_JOB, self.output.next_line()).await.context("a job took too long")??;
        let line = line.with_context(|| self.child.last_words()).context("a helper ended")?;
        Ok(serde_json::from_str(&line)?)
    }
}
