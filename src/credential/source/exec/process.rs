//! A command while it runs: started in a process group of its own, heard, killed as a whole, and reaped.
//!
//! ```text
//!   start ──► both pipes are read ──► it has ended ──► what is still in the pipes ──► the group is killed ──► reaped
//!                    └──── dropped on the way: the group is killed, and the runtime reaps ────┘
//! ```
//!
//! 1. The group is killed before its leader is reaped: until then nobody else can have its number.
//! 2. A child that was left behind and holds stdout open is waited for no longer than half a second.

use std::{
    io,
    pin::pin,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time,
};
use zeroize::Zeroizing;

use super::{
    children::{self, Entry},
    lines::Lines,
};

/// A token and what surrounds it in JSON is not larger.
pub(super) const MAX_OUTPUT: usize = 192 * 1024;
/// How long what a command left in its pipes is read after its end.
const LINGER: Duration = Duration::from_millis(500);
/// What is read of stderr at once.
const CHUNK: usize = 4 * 1024;

/// What a command has said so far.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) output: Zeroizing<Vec<u8>>,
    pub(super) said: Lines,
}

/// Why a command was not heard to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unheard {
    #[error("it printed too much")]
    TooMuch,
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// A command and all of its children. Dropped, they are killed.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// `None` once the leader was reaped, or is about to be.
    group: Option<Pid>,
    #[expect(dead_code, reason = "held for its Drop")]
    entry: Entry,
}

impl Running {
    /// Starts it with both pipes, without stdin.
    pub(super) fn start(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (child, entry) = children::start(command.process_group(0).kill_on_drop(true))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, group, entry })
    }

    /// Reads both pipes, and waits for the end. What was read until this is dropped is in `heard`.
    pub(super) async fn hear(&mut self, heard: &mut Heard) -> Result<ExitStatus, Unheard> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let (output, said) = (&mut heard.output, &mut heard.said);
        // Where the output has grown too large, its end is not waited for.
        let reading = async { tokio::try_join!(read_output(stdout, output), read_lines(stderr, said)) };
        let mut reading = pin!(reading);
        let read = tokio::select! {
            read = &mut reading => Some(read),
            ended = self.ended() => {
                ended?;
                time::timeout(LINGER, reading).await.ok()
            }
        };
        read.transpose()?;
        self.ended().await?;
        self.kill();
        Ok(self.child.wait().await?)
    }

    /// Waits until the leader has ended, and leaves it to be reaped.
    async fn ended(&self) -> io::Result<()> {
        let Some(leader) = self.group else { return Ok(()) };
        // Listened for before the first look, so that no end falls between.
        let mut children = signal(SignalKind::child())?;
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while waitid(WaitId::Pid(leader), look)?.is_none() {
            if children.recv().await.is_none() {
                return Err(io::Error::other("signals are no longer heard"));
            }
        }
        Ok(())
    }

    /// Kills the whole group, once.
    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // Nobody may be left, which is no error here.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads into `output` up to one byte more than is allowed, if not a few.
async fn read_output(pipe: Option<impl AsyncRead + Unpin>, output: &mut Vec<u8>) -> Result<(), Unheard> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    // At once: where a buffer grows it leaves copies behind.
    output.reserve_exact(MAX_OUTPUT + 1);
    while output.len() <= MAX_OUTPUT {
        if pipe.read_buf(output).await? == 0 {
            return Ok(());
        }
    }
    Err(Unheard::TooMuch)
}

async fn read_lines(pipe: Option<impl AsyncRead + Unpin>, said: &mut Lines) -> Result<(), Unheard> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut chunk = Zeroizing::new(vec![0; CHUNK]);
    loop {
        match pipe.read(&mut chunk).await? {
            0 => return Ok(()),
            read => said.push(&chunk[..read]),
        }
    }
}
