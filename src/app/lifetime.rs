//! A sidecar's life as a service: it starts, reads its configuration again when it is told to, and stops.
//!
//! | signal | what follows |
//! |---|---|
//! | SIGHUP, `perennial reload`, or with `--watch` a changed file | the configuration is read again: all of it takes effect, or nothing of it |
//! | SIGTERM, SIGINT | not ready; after `limits.shutdown_delay` no new clients; sessions end, spread over `limits.drain` |
//! | a second one | the end, at once |

use std::path::Path;

pub use super::signals::Signals;
use super::{App, notify, patience, watch::Watch};
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

/// Runs the sidecar that the file at `path` describes, from `config` that was read of it, until a signal ends it.
/// `watched`: a change of the file is as good as SIGHUP.
pub async fn live(path: &Path, config: Config, log: Log, signals: &Signals, watched: bool) -> Ended {
    let mut watch = if watched { Some(Watch::begin(path).await) } else { None };
    // What changed before it was watched.
    let config = if watched { Config::load(path).unwrap_or(config) } else { config };
    signals.allow(patience(&config.limits));
    let mut app = match App::start_with(&config, log).await {
        Ok(app) => app,
        Err(error) => return Ended::Failed(error),
    };
    drop(config);
    notify::ready();
    app.tasks.spawn(notify::keep_telling(app.state.clone(), app.stop.clone()));
    app.state.reloads.open();
    loop {
        tokio::select! {
            biased;
            () = signals.stop() => break,
            () = signals.hang_up() => {}
            () = changed(&mut watch) => tracing::info!("the configuration file has changed"),
            () = app.state.reloads.asked() => tracing::info!("an operator asks for a reload"),
        }
        notify::reloading();
        let waiting = app.state.reloads.begin();
        let read = tokio::task::spawn_blocking({
            let path = path.to_owned();
            move || Config::load(&path)
        });
        // A file that hangs does not hold up the end.
        let config = tokio::select! {
            biased;
            () = signals.stop() => break,
            config = read => config,
        };
        if let Ok(config) = config {
            waiting.tell(&app.reload(config.as_ref()).await);
        }
        notify::ready();
        signals.allow(patience(&app.config.limits));
    }
    app.state.reloads.close();
    notify::stopping();
    tokio::select! {
        () = app.stop() => Ended::Gracefully,
        () = signals.at_once() => Ended::AtOnce,
    }
}

async fn changed(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}
