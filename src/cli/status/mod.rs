//! `perennial status`: the status page, for the terminal.
//!
//! ```text
//!   GET /status.json ──► Status ──► page ──► painted or bare, once
//!          ▲                         └─────► a screen, each second (--watch)
//!          └── a second later ◄──────────────────┘
//! ```
//!
//! 1. What is shown was read into [`Status`] first; what others wrote in it is made harmless.
//! 2. A sidecar that gives no word is said to give none, and what was known of it stays, with its age.

mod page;
mod routes;
mod watch;

use std::{io, process::ExitCode};

use clap::Args;

use super::{USAGE, configuration::Sidecar, fail, running::in_one_thread};
use crate::{
    admin::{
        client::{AdminClient, ClientError},
        status::Status,
    },
    terminal::{Line, has_colour, is_harmful},
};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    sidecar: Sidecar,
    /// Look again each second, until Ctrl-C; with --json, one line of JSON each second.
    #[arg(long)]
    watch: bool,
    /// Print the whole snapshot as JSON, for machines.
    #[arg(long)]
    json: bool,
}

/// Shows it.
pub(super) fn run(arguments: Arguments) -> ExitCode {
    let Arguments { sidecar, watch, json } = arguments;
    let client = match sidecar.client() {
        Ok(client) => client,
        Err(message) => return fail(&message, USAGE),
    };
    in_one_thread(async move {
        let shown = if watch { watch::run(&client, json).await } else { once(&client, json).await };
        match shown {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(Failure::Client(error)) => fail(&error.to_string(), 1),
            // The reader has seen enough.
            Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
            Err(Failure::Io(error)) => fail(&error.to_string(), 1),
        }
    })
}

/// Why nothing is shown.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Shows it once; is the sidecar ready?
async fn once(client: &AdminClient, json: bool) -> Result<bool, Failure> {
    let (status, text) = look(client).await?;
    if json {
        put(&text)?;
    } else {
        put(&text_of(&page::page(&status, client.address()), has_colour()))?;
    }
    Ok(status.ready)
}

/// A snapshot, as it is read and as it was written: one line of JSON that can drive no terminal.
pub(super) async fn look(client: &AdminClient) -> Result<(Status, String), ClientError> {
    const PATH: &str = "/status.json";
    let answer = client.get(PATH).await?;
    if answer.status != 200 {
        return Err(client.not_ours(format!("{} for {PATH}", answer.status)));
    }
    // Where it went wrong is said, and not what stands there.
    let wrong = |error: &serde_json::Error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        client.not_ours(format!("{PATH} is not understood at {place}: another version of it?"))
    };
    let status = serde_json::from_slice(&answer.body).map_err(|error| wrong(&error))?;
    Ok((status, harmless(&String::from_utf8_lossy(&answer.body))))
}

/// JSON stays the same JSON: outside its strings there is only ASCII, and inside them each sign may be escaped.
pub(super) fn harmless(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.trim().chars() {
        match c {
            // In JSON that was understood, these stand between values only.
            '\r' | '\n' | '\t' => text.push(' '),
            c if is_harmful(c) => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text
}

/// The lines as one text.
fn text_of(lines: &[Line], colour: bool) -> String {
    let all = lines.iter().map(|line| if colour { line.painted(usize::MAX) } else { line.bare() });
    all.map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Prints a text, and the end of its last line.
fn put(text: &str) -> io::Result<()> {
    use io::Write;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

#[cfg(test)]
mod tests;
