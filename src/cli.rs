//! The command line: what was asked for, and what it exits with.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | it ended as it should, graceful SIGTERM and SIGINT included |
//! | 1 | something failed at run time |
//! | 64 | the command line or the configuration is wrong; nothing has listened |

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    app::{
        App,
        token::{self, TokenError, Wanted},
    },
    config::Config,
    demo,
    telemetry::{Events, LogFormat, logs},
};

const USAGE: u8 = 64;

/// WebSocket connections that outlive their tokens.
#[derive(Parser)]
#[command(name = "perennial", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines are written to stderr.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
    /// What is logged: a level, or targets such as "perennial::proxy=debug".
    #[arg(long, global = true, env = "PERENNIAL_LOG", default_value = "info")]
    log_level: String,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy.
    Run(ConfigFile),
    /// Validate the configuration and print what it means, secrets masked.
    Check(ConfigFile),
    /// Fetch one token as the sidecar would, and say what it is without showing it.
    Token(TokenArguments),
    /// See it work: an embedded service whose tokens live for seconds, and a legacy client, with and without the sidecar.
    Demo(demo::Arguments),
}

#[derive(Args)]
struct ConfigFile {
    /// The configuration [default: ./perennial.toml, then /etc/perennial/perennial.toml].
    #[arg(long, env = "PERENNIAL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args)]
struct TokenArguments {
    /// The route whose source is asked; it may be left out where only one route has a token.
    route: Option<String>,
    #[command(flatten)]
    config: ConfigFile,
    /// A parameter of the query that a client would have, where the source is asked with it.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    query: Vec<(String, String)>,
    /// A header that a client would send, where the source is asked with it.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    header: Vec<(String, String)>,
    /// A file with a client's own token, where the source is asked with it: process lists show arguments.
    #[arg(long, value_name = "FILE")]
    client_token_file: Option<PathBuf>,
    /// How it is said.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// A table, for people.
    Text,
    /// One object, for machines.
    Json,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let wrong = error.use_stderr();
            let _ = error.print();
            return ExitCode::from(if wrong { USAGE } else { 0 });
        }
    };
    let quiet = matches!(cli.command, Command::Demo(_));
    // The demo draws on the terminal: its log would stand in the picture.
    let level = if quiet && cli.log_level == "info" { "error" } else { &cli.log_level };
    let events = match logs::init(cli.log_format, level) {
        Ok(events) => events,
        Err(error) => return fail(&format!("--log-level: {error}"), USAGE),
    };
    match cli.command {
        Command::Run(file) => with_config(&file, |config| run(config, events)),
        Command::Check(file) => with_config(&file, |config| say(&config.masked())),
        Command::Token(arguments) => with_config(&arguments.config, |config| show_token(&config, &arguments)),
        Command::Demo(arguments) => in_runtime(demo::run(arguments)),
    }
}

fn with_config(file: &ConfigFile, then: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    let path = match find(file) {
        Ok(path) => path,
        Err(message) => return fail(&message, USAGE),
    };
    match Config::load(&path) {
        Ok(config) => then(config),
        Err(errors) => fail(&errors.to_string(), USAGE),
    }
}

fn find(file: &ConfigFile) -> Result<PathBuf, String> {
    if let Some(path) = &file.config {
        return Ok(path.clone());
    }
    let usual = ["./perennial.toml", "/etc/perennial/perennial.toml"];
    let found = usual.into_iter().map(Path::new).find(|path| path.exists());
    found.map(Path::to_owned).ok_or_else(|| {
        format!("no configuration: neither {} nor {} exists; name one with --config FILE", usual[0], usual[1])
    })
}

fn run(config: Config, events: Events) -> ExitCode {
    raise_file_limit();
    in_runtime(async move {
        // Listened for before anybody is let in: until then a signal ends the process as it stands.
        let mut stop = match StopSignal::listen() {
            Ok(stop) => stop,
            Err(error) => return fail(&format!("signals cannot be listened for: {error}"), 1),
        };
        let app = match App::start_with(&config, events).await {
            Ok(app) => app,
            Err(error) => return fail(&format!("{error:#}"), 1),
        };
        stop.came().await;
        tokio::select! {
            () = app.stop() => ExitCode::SUCCESS,
            // A second signal ends at once.
            () = stop.came() => fail("ended at once", 1),
        }
    })
}

fn show_token(config: &Config, arguments: &TokenArguments) -> ExitCode {
    let wanted = Wanted {
        route: arguments.route.as_deref(),
        query: &arguments.query,
        headers: &arguments.header,
        client_token: arguments.client_token_file.as_deref(),
    };
    in_runtime(async {
        let mut stop = match StopSignal::listen() {
            Ok(stop) => stop,
            Err(error) => return fail(&format!("signals cannot be listened for: {error}"), 1),
        };
        let page = tokio::select! {
            page = token::fetch(config, wanted) => page,
            // A command that is being asked is killed with its children, and not left behind.
            () = stop.came() => return fail("ended at once", 1),
        };
        let page = match page {
            Ok(page) => page,
            Err(TokenError::Usage(message)) => return fail(&message, USAGE),
            Err(TokenError::Failed(message)) => return fail(&message, 1),
        };
        let said = say(&match arguments.format {
            Format::Text => page.table(),
            Format::Json => page.json(),
        });
        if page.is_expired() {
            let message =
                "the source gave a token that has already expired: `perennial run` would not take it";
            return fail(message, 1);
        }
        said
    })
}

/// `NAME=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected NAME=VALUE".to_owned()),
    }
}

/// SIGTERM and SIGINT.
struct StopSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignal {
    fn listen() -> std::io::Result<Self> {
        let [terminate, interrupt] = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
        Ok(Self { terminate: terminate?, interrupt: interrupt? })
    }

    /// Waits for the next of them.
    async fn came(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// As many threads as there are cores to run on; with one core, one thread that does everything.
fn in_runtime(future: impl Future<Output = ExitCode>) -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = if cores == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    match builder.enable_all().build() {
        Ok(runtime) => runtime.block_on(future),
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

fn say(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(message: &str, status: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "perennial: {message}");
    ExitCode::from(status)
}
