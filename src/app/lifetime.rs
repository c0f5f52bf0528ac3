//! A sidecar's life as a service: it starts, reads its configuration again when it is told to, and stops.
//!
//! | signal | what follows |
//! |---|---|
//! | SIGHUP, or with `--watch` a changed file | the configuration is read again: all of it takes effect, or nothing of it |
//! | SIGTERM, SIGINT | not ready; after `limits.shutdown_delay` no new clients; sessions end, spread over `limits.drain` |
//! | a second one | the end, at once |

use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{App, notify, watch::Watch};
use crate::{config::Config, telemetry::Log};

/// How a life ended.
#[derive(Debug)]
pub enum Ended {
    /// As it should.
    Gracefully,
    /// A second signal came.
    AtOnce,
    /// It did not begin.
    Failed(anyhow::Error),
}

/// The signals that a process is told things by. From the moment it exists they do not end the process by themselves.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub fn listen() -> std::io::Result<Self> {
        let [terminate, interrupt, hang_up] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self { terminate: terminate?, interrupt: interrupt?, hang_up: hang_up? })
    }

    /// Waits for the next that says: stop.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits for the next of all; is it a stop?
    async fn next(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => true,
            _ = self.hang_up.recv() => false,
        }
    }
}

/// Runs the sidecar that the file at `path` describes, from `config` that was read of it, until a signal ends it.
/// `watched`: a change of the file is as good as SIGHUP.
pub async fn live(path: &Path, config: Config, log: Log, signals: &mut Signals, watched: bool) -> Ended {
    let mut watch = if watched { Some(Watch::begin(path).await) } else { None };
    // What changed before it was watched.
    let config = if watched { Config::load(path).unwrap_or(config) } else { config };
    let mut app = match App::start_with(&config, log).await {
        Ok(app) => app,
        Err(error) => return Ended::Failed(error),
    };
    drop(config);
    notify::ready();
    app.tasks.spawn(notify::keep_telling(app.state.clone(), app.stop.clone()));
    loop {
        tokio::select! {
            biased;
            stop = signals.next() => if stop { break },
            () = changed(&mut watch) => tracing::info!("the configuration file has changed"),
        }
        notify::reloading();
        let config = Config::load(path);
        // Why it was not done has been logged, and is shown.
        let _ = app.reload(config.as_ref()).await;
        notify::ready();
    }
    notify::stopping();
    tokio::select! {
        () = app.stop() => Ended::Gracefully,
        () = signals.stop() => Ended::AtOnce,
    }
}

async fn changed(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}
