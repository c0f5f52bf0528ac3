//! The signals that a process is told things by, heard on a thread of its own.
//!
//! ```text
//!   SIGTERM, SIGINT ──► stop ──┬── a second one ───────► at once ─┬─► half a second later: exit(1), whatever waits for what
//!                              └── the patience is over ─► at once ─┘
//!   SIGHUP ───────────► hang up
//!   SIGCHLD ──────────► as process 1: what others left behind is reaped
//! ```
//!
//! The thread has nothing else to do. So the process ends, in time and at the second signal, also if a file, a disk or
//! a resolver holds every other thread.

use std::{
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::credential::reap_orphans;

/// After the second signal the process has so long to end by itself, with its last lines in the log.
const LAST_LINES: Duration = Duration::from_millis(500);
/// A child of ours that has ended hides others until its owner has reaped it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What was heard. From the moment it exists signals do not end the process by themselves.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    stop: CancellationToken,
    at_once: CancellationToken,
    hang_up: Arc<Notify>,
    /// Milliseconds from the first stop; 0: as long as it takes.
    patience: Arc<AtomicU64>,
}

impl Signals {
    /// Starts to listen.
    ///
    /// # Errors
    /// The thread, or what it needs, cannot be had.
    pub fn listen() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let ear = {
            let _inside = runtime.enter();
            Ear::new()?
        };
        let signals = Self::default();
        let told = signals.clone();
        thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(ear.pass_on(&told)))?;
        Ok(signals)
    }

    /// Waits for the first that says: stop. Once it was said it stays said.
    pub async fn stop(&self) {
        self.stop.cancelled().await;
    }

    /// Waits for the second.
    pub async fn at_once(&self) {
        self.at_once.cancelled().await;
    }

    /// How long the process may take to end after the first stop.
    pub fn allow(&self, patience: Duration) {
        self.patience.store(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The patience is over, of a stop that was said.
    async fn is_late(&self) {
        self.stop.cancelled().await;
        match self.patience.load(Ordering::Relaxed) {
            0 => std::future::pending().await,
            patience => sleep(Duration::from_millis(patience)).await,
        }
    }

    async fn end(&self) -> ! {
        self.at_once.cancel();
        sleep(LAST_LINES).await;
        std::process::exit(1);
    }

    /// Waits for the next SIGHUP. Several that nobody waited for are one.
    pub async fn hang_up(&self) {
        self.hang_up.notified().await;
    }
}

/// Where they come in.
struct Ear {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// Of process 1 only: it inherits what others leave behind.
    child: Option<Signal>,
}

impl Ear {
    fn new() -> io::Result<Self> {
        let is_first = std::process::id() == 1;
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            child: is_first.then(|| signal(SignalKind::child())).transpose()?,
        })
    }

    async fn pass_on(mut self, told: &Signals) {
        let mut hidden = false;
        let mut late = pin!(told.is_late());
        loop {
            tokio::select! {
                _ = self.terminate.recv() => stop(told).await,
                _ = self.interrupt.recv() => stop(told).await,
                () = late.as_mut() => told.end().await,
                _ = self.hang_up.recv() => told.hang_up.notify_one(),
                () = ended(&mut self.child) => hidden = reap_orphans(),
                () = sleep(LOOK_AGAIN), if hidden => hidden = reap_orphans(),
            }
        }
    }
}

async fn stop(told: &Signals) {
    if told.stop.is_cancelled() {
        told.end().await;
    }
    told.stop.cancel();
}

async fn ended(child: &mut Option<Signal>) {
    match child {
        Some(child) => drop(child.recv().await),
        None => std::future::pending().await,
    }
}
