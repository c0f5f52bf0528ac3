//! The command line: what was asked for, and what it exits with.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | it ended as it should, graceful SIGTERM and SIGINT included |
//! | 1 | something failed at run time; `probe`, `status`: not ready, or not reached; `rehearse`: something was lost; |
//! |   | `close`: there is no such session; `reload`: it was refused |
//! | 64 | the command line or the configuration is wrong; nothing has listened |

mod check;
mod configuration;
mod login;
mod operator;
mod probe;
mod rehearse;
mod reload;
mod running;
mod sessions;
mod status;
mod token;
mod words;

use std::{io::Write, process::ExitCode};

use clap::{Parser, Subcommand};

use self::{configuration::with_config, running::in_runtime};
use crate::{
    config::reference,
    demo,
    telemetry::{LogFormat, LogsError, logs},
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
    Run(running::Arguments),
    /// Validate the configuration and print what it means, secrets masked; with --connect, try each route.
    Check(check::Arguments),
    /// Print a JSON Schema of the configuration, for editors.
    Schema {
        /// The page docs/configuration.md instead.
        #[arg(long, conflicts_with = "file")]
        page: bool,
        /// A file with every key instead.
        #[arg(long)]
        file: bool,
    },
    /// Fetch one token as the sidecar would, and say what it is without showing it.
    Token(token::Arguments),
    /// Get the first refresh token of a route with grant = "refresh_token": a person logs in, and it is put into its file.
    Login(login::Arguments),
    /// Ask a running sidecar whether it is well: one line, and status 0 or 1. For health checks.
    Probe(probe::Arguments),
    /// Show how a running sidecar fares: its credentials, its sessions, what happened last.
    Status(status::Arguments),
    /// List the sessions of a running sidecar: whose they are, how they are, and what waits.
    Sessions(sessions::ListArguments),
    /// Close one session of a running sidecar, or all of a credential.
    Close(sessions::CloseArguments),
    /// Have a running sidecar read its configuration again, and say how that came out.
    Reload(reload::Arguments),
    /// Practise on a running sidecar what would otherwise happen at night, and say what it came to.
    Rehearse(rehearse::Arguments),
    /// See it work: an embedded service whose tokens live for seconds, and a legacy client, with and without the sidecar.
    Demo(demo::Arguments),
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
    // `_writing` is dropped at the end of this function: the last lines are written then.
    let (log, _writing) = match logs::init(cli.log_format, level) {
        Ok(log) => log,
        Err(error @ (LogsError::Filter(_) | LogsError::Word { .. })) => {
            return fail(&format!("--log-level: {error}"), USAGE);
        }
        Err(error @ (LogsError::Twice | LogsError::Stderr(_))) => return fail(&error.to_string(), 1),
    };
    match cli.command {
        Command::Run(arguments) => {
            with_config(&arguments.config, |path, config| running::run(path, config, log, arguments.watch))
        }
        Command::Check(arguments) => {
            with_config(&arguments.config, |path, config| check::run(path, &config, &arguments))
        }
        Command::Schema { page: true, .. } => say(&reference::page()),
        Command::Schema { file: true, .. } => say(&reference::file()),
        Command::Schema { .. } => say(&format!("{:#}", reference::schema())),
        Command::Token(arguments) => {
            with_config(&arguments.config, |_, config| token::show(&config, &arguments))
        }
        Command::Login(arguments) => {
            with_config(&arguments.config.clone(), |_, config| login::run(&config, arguments))
        }
        Command::Probe(arguments) => probe::run(arguments),
        Command::Status(arguments) => status::run(arguments),
        Command::Sessions(arguments) => sessions::list(arguments),
        Command::Close(arguments) => sessions::close(arguments),
        Command::Reload(arguments) => reload::run(arguments),
        Command::Rehearse(arguments) => rehearse::run(arguments),
        Command::Demo(arguments) => in_runtime(demo::run(arguments, log)),
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
