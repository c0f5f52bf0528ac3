//! `perennial sessions` and `perennial close`: who is on a running sidecar, and who has to leave it.

use std::process::ExitCode;

use clap::Args;

use super::{
    USAGE, fail,
    operator::{Operator, done, target},
    running::in_one_thread,
    say,
    status::harmless,
    words::{bytes, count, span},
};
use crate::{
    admin::{
        client::AdminClient,
        done::{Closed, Listed, SessionStatus},
    },
    terminal::visible,
};

/// No more of a word of the sidecar's is shown.
const LONGEST: usize = 60;

#[derive(Args)]
pub(super) struct ListArguments {
    /// Those of this route alone.
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Print them as JSON, for machines.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: Operator,
}

#[derive(Args)]
#[command(
    after_help = "The client gets Close 1001, or what its service's protocol has for that; most clients come back at once, \
                  with a new session. Status: 0 if a session was closed, 1 if there is none."
)]
pub(super) struct CloseArguments {
    /// The session to close, as `perennial sessions` and the log name it.
    #[arg(value_name = "SESSION", required_unless_present = "credential", conflicts_with_all = ["credential", "route"])]
    session: Option<String>,
    /// Close all sessions of this credential, as `perennial sessions` and the log name it.
    #[arg(long, value_name = "NAME")]
    credential: Option<String>,
    /// Those of this route alone.
    #[arg(long, value_name = "NAME", requires = "credential")]
    route: Option<String>,
    #[command(flatten)]
    operator: Operator,
}

/// Lists them.
pub(super) fn list(arguments: ListArguments) -> ExitCode {
    let ListArguments { route, json, operator } = arguments;
    ask(operator, async |client| {
        let target = target("/sessions.json", &[("route", route.as_deref())]);
        let answer = client.list(&target).await.map_err(|error| error.to_string())?;
        let listed: Listed = done(client, &answer)?;
        Ok(if json { harmless(&String::from_utf8_lossy(&answer.body)) } else { table(listed) })
    })
}

/// Closes one, or all of a credential.
pub(super) fn close(arguments: CloseArguments) -> ExitCode {
    let CloseArguments { session, credential, route, operator } = arguments;
    ask(operator, async |client| {
        let (session, credential, route) = (session.as_deref(), credential.as_deref(), route.as_deref());
        let parameters = [("session", session), ("credential", credential), ("route", route)];
        let answer = client.post(&target("/close", &parameters)).await.map_err(|error| error.to_string())?;
        let Closed { sessions } = done(client, &answer)?;
        Ok(format!("{} closed.", count(u64::try_from(sessions).unwrap_or(u64::MAX), "session")))
    })
}

fn ask(operator: Operator, what: impl AsyncFnOnce(&AdminClient) -> Result<String, String>) -> ExitCode {
    let client = match operator.client() {
        Ok(client) => client,
        Err(message) => return fail(&message, USAGE),
    };
    in_one_thread(async {
        match what(&client).await {
            Ok(text) => say(&text),
            Err(message) => fail(&message, 1),
        }
    })
}

/// The oldest first.
fn table(Listed { total, mut sessions }: Listed) -> String {
    const HEAD: [&str; 8] =
        ["SESSION", "CLIENT", "ROUTE", "STATE", "AGE", "CREDENTIAL", "GENERATION", "WAITING"];
    if total == 0 {
        return "There is no session.".to_owned();
    }
    sessions.sort_by(|one, other| {
        (&one.route, other.age).partial_cmp(&(&other.route, one.age)).unwrap_or(std::cmp::Ordering::Equal)
    });
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(sessions.iter().map(row));
    let widths: [usize; 8] =
        std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default());
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    let left = total.saturating_sub(sessions.len());
    if left > 0 {
        lines.push(format!("{left} more are not shown; --route NAME lists those of one route."));
    }
    lines.join("\n")
}

fn row(one: &SessionStatus) -> [String; 8] {
    let word = |text: &str| visible(text, LONGEST);
    let waiting = match (one.held_bytes, one.held_for) {
        (0, None) => "-".to_owned(),
        (held, None) => bytes(held),
        (held, Some(time)) => format!("{} for {}", bytes(held), span(time)),
    };
    [
        word(&one.session),
        word(&one.client),
        word(&one.route),
        word(&one.state),
        span(one.age),
        one.credential.as_deref().map_or_else(|| "-".to_owned(), word),
        if one.generation == 0 { "-".to_owned() } else { one.generation.to_string() },
        waiting,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(session: &str, age: f64) -> SessionStatus {
        SessionStatus {
            session: session.into(),
            client: "10.0.0.7:47110".into(),
            route: "ably".into(),
            credential: Some("1a2b3c4d".into()),
            age,
            generation: 3,
            state: "live".into(),
            ..SessionStatus::default()
        }
    }

    #[test]
    fn a_table_has_the_oldest_first_and_says_what_waits() {
        let waits = SessionStatus {
            state: "resuming".into(),
            credential: None,
            generation: 0,
            held_bytes: 1536,
            held_for: Some(3.12),
            ..one("00000002", 7380.0)
        };
        let table = table(Listed { total: 5, sessions: vec![one("00000001", 12.4), waits] });
        let expected = "\
SESSION   CLIENT          ROUTE  STATE     AGE        CREDENTIAL  GENERATION  WAITING
00000002  10.0.0.7:47110  ably   resuming  2 h 3 min  -           -           1.5 KiB for 3.1 s
00000001  10.0.0.7:47110  ably   live      12 s       1a2b3c4d    3           -
3 more are not shown; --route NAME lists those of one route.";
        assert_eq!(table, expected);
    }

    #[test]
    fn what_another_wrote_drives_no_terminal() {
        let evil = SessionStatus { client: "\u{1b}[2J".into(), ..one("00000001", f64::NAN) };
        let listed = Listed { total: 1, sessions: vec![evil] };
        assert!(!table(listed).contains('\u{1b}'));
        assert_eq!(table(Listed::default()), "There is no session.");
    }
}
