//! `perennial probe`: is the sidecar well? One line, and a status. It needs no shell and no other program, so
//! that it is the health check of an image that has neither.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{USAGE, configuration::Sidecar, fail, running::in_one_thread, say};
use crate::{
    admin::client::{AdminClient, Answer, ClientError},
    terminal::visible,
};

/// No more of an answer is shown.
const LONGEST: usize = 500;

#[derive(Args)]
pub(super) struct Arguments {
    /// What is asked.
    #[arg(value_enum, default_value = "ready")]
    what: What,
    #[command(flatten)]
    sidecar: Sidecar,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Does it answer at all? Where not, restart it.
    Live,
    /// Does it let clients in, and has each route's credential a valid token? Where not, send it no clients.
    Ready,
    /// Was it ready once? Until then it is still starting.
    Started,
}

/// Asks, and says what was answered.
pub(super) fn run(arguments: Arguments) -> ExitCode {
    let client = match arguments.sidecar.client() {
        Ok(client) => client,
        Err(message) => return fail(&message, USAGE),
    };
    in_one_thread(async move {
        match ask(&client, arguments.what).await {
            Ok((line, well)) => {
                let said = say(&line);
                if well { said } else { ExitCode::FAILURE }
            }
            Err(error) => fail(&error.to_string(), 1),
        }
    })
}

async fn ask(client: &AdminClient, what: What) -> Result<(String, bool), ClientError> {
    let path = match what {
        What::Live => "/livez",
        What::Ready => "/readyz",
        What::Started => "/startupz",
    };
    let answer = client.get(path).await?;
    match answer.status {
        200 => Ok((visible(&answer.first_line(), LONGEST), true)),
        503 => Ok((missing(&answer), false)),
        status => Err(client.not_ours(format!("{status} for {path}"))),
    }
}

/// What it is not, and what is missing, on one line: health checks keep no more.
fn missing(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let mut lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("checked:"));
    let first = lines.next().unwrap_or("no");
    let rest: Vec<&str> = lines.collect();
    let all = if rest.is_empty() { first.to_owned() } else { format!("{first}: {}", rest.join("; ")) };
    visible(&all, LONGEST)
}
