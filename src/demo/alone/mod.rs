//! The demo's parts by themselves, each a process: for Compose, and for practice on staging.
//!
//! ```text
//!   perennial demo client ──► perennial run ──► perennial demo service ◄── GET /token
//! ```
//!
//! Rules: what is told is told on stdout, a line at a time, with the time of day; SIGTERM and SIGINT are
//! a good end, a second one ends at once.

mod client;
mod service;

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use crate::clock::Now;

/// Which part.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Part {
    /// The service alone: WebSockets whose tokens live for seconds, and GET /token for anyone who asks.
    Service(service::Arguments),
    /// The legacy client alone: it has one token for life, publishes five messages a second, and counts them.
    Client(client::Arguments),
}

/// Runs one part until it is told to end.
pub(super) async fn run(part: Part) -> ExitCode {
    let ended = match part {
        Part::Service(arguments) => service::run(arguments).await,
        Part::Client(arguments) => client::run(arguments).await,
    };
    match ended {
        Ok(status) => status,
        Err(error) => super::fail(&format!("{error:#}"), 1),
    }
}

/// Tells something that has happened just now.
fn tell(what: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{} {what}", stamp(Now::read().wall))
}

/// A time of day, in RFC 3339 to the second.
fn stamp(wall: Duration) -> String {
    let seconds = i64::try_from(wall.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "later".to_owned(), |at| at.to_string())
}
