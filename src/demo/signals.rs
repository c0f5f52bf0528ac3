//! What ends the demo, and what changes its screen.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the terminal, or the one who started the demo, says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    End,
    Resized,
}

/// Where it is heard. From then on a signal does not end the process by itself.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    resized: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            resized: signal(SignalKind::window_change())?,
        })
    }

    /// Waits until there is something.
    pub(super) async fn next(&mut self) -> Said {
        tokio::select! {
            _ = self.interrupt.recv() => Said::End,
            _ = self.terminate.recv() => Said::End,
            _ = self.resized.recv() => Said::Resized,
        }
    }

    /// Waits until it is told to end.
    pub(super) async fn end(&mut self) {
        while self.next().await == Said::Resized {}
    }
}
