//! `perennial run`, and what every command runs in.

use std::{path::Path, process::ExitCode};

use clap::Args;
use tokio::runtime::Builder;

use super::{configuration::ConfigFile, fail};
use crate::{
    app::lifetime::{self, Ended, Signals},
    config::Config,
    telemetry::Log,
};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) config: ConfigFile,
    /// Read the configuration again when its file changes, as by SIGHUP.
    #[arg(long)]
    pub(super) watch: bool,
}

/// Runs the proxy until a signal ends it.
pub(super) fn run(path: &Path, config: Config, log: Log, watch: bool) -> ExitCode {
    raise_file_limit();
    #[cfg(target_os = "linux")]
    write_no_core();
    in_runtime(async move {
        // Listened for before anybody is let in: until then a signal ends the process as it stands.
        let signals = match Signals::listen() {
            Ok(signals) => signals,
            Err(error) => return fail(&format!("signals cannot be listened for: {error}"), 1),
        };
        match lifetime::live(path, config, log, &signals, watch).await {
            Ended::Gracefully => ExitCode::SUCCESS,
            Ended::AtOnce => {
                // To the log, which stops nobody: stderr itself may be a pipe that nobody reads.
                tracing::warn!("ended at once");
                ExitCode::FAILURE
            }
            Ended::Failed(error) => fail(&format!("{error:#}"), 1),
        }
    })
}

/// A core dump would hold tokens and secrets.
#[cfg(target_os = "linux")]
fn write_no_core() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "a crash may write a core dump, with tokens in it");
    }
}

/// As many threads as there are cores to run on; with one core, one thread that does everything.
pub(super) fn in_runtime(future: impl Future<Output = ExitCode>) -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    block_on(if cores == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() }, future)
}

/// One thread: for a command that asks a question or two.
pub(super) fn in_one_thread(future: impl Future<Output = ExitCode>) -> ExitCode {
    block_on(Builder::new_current_thread(), future)
}

fn block_on(mut builder: Builder, future: impl Future<Output = ExitCode>) -> ExitCode {
    match builder.enable_all().build() {
        Ok(runtime) => {
            let status = runtime.block_on(future);
            // A file or a disk may hold a thread for as long as it likes: the process does not wait for it.
            runtime.shutdown_background();
            status
        }
        Err(error) => fail(&format!("the runtime cannot be started: {error}"), 1),
    }
}

/// A session has two sockets; the soft limit on open files is often 1024.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if setrlimit(Resource::Nofile, limit).is_err() {
        tracing::warn!("the limit on open files could not be raised");
    }
}
