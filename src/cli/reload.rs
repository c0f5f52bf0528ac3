//! `perennial reload`: has a running sidecar read its configuration again, and says how that came out.

use std::{io::Write, process::ExitCode};

use clap::Args;

use super::{
    USAGE, fail,
    operator::{Operator, done},
    running::in_one_thread,
    say,
};
use crate::{
    admin::{client::AdminClient, done::Reloaded},
    terminal::visible,
};

/// No more of a line of the sidecar's is shown.
const LONGEST: usize = 500;

#[derive(Args)]
#[command(
    after_help = "All of the configuration takes effect, or nothing of it. Status: 0 if it did, 1 if it was refused."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    operator: Operator,
}

/// Asks for it, and waits.
pub(super) fn run(Arguments { operator }: Arguments) -> ExitCode {
    let client = match operator.client() {
        Ok(client) => client.patient(),
        Err(message) => return fail(&message, USAGE),
    };
    in_one_thread(async {
        match ask(&client).await {
            Ok(Reloaded { error: Some(error), .. }) => {
                let lines: Vec<String> = error.lines().map(|line| visible(line, LONGEST)).collect();
                fail(&format!("not reloaded, the configuration before it stays:\n{}", lines.join("\n")), 1)
            }
            Ok(done) => {
                for line in &done.warnings {
                    let _ = writeln!(std::io::stderr(), "perennial: warning: {}", visible(line, LONGEST));
                }
                say(&words(&done))
            }
            Err(message) => fail(&message, 1),
        }
    })
}

async fn ask(client: &AdminClient) -> Result<Reloaded, String> {
    let answer = client.post("/reload").await.map_err(|error| error.to_string())?;
    done(client, &answer)
}

/// What has changed.
fn words(done: &Reloaded) -> String {
    let routes = [(&done.added, "added"), (&done.changed, "changed"), (&done.removed, "removed")];
    let routes = routes.into_iter().flat_map(|(names, what)| {
        names.iter().map(move |name| format!("route \"{}\" {what}", visible(name, LONGEST)))
    });
    let tables = done.tables.iter().map(|name| format!("[{}] changed", visible(name, LONGEST)));
    let changes: Vec<String> = routes.chain(tables).collect();
    if changes.is_empty() {
        "Reloaded; nothing has changed.".to_owned()
    } else {
        format!("Reloaded: {}.", changes.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_one_sentence() {
        assert_eq!(words(&Reloaded::default()), "Reloaded; nothing has changed.");
        let done = Reloaded {
            added: vec!["a".into(), "b\u{1b}".into()],
            removed: vec!["c".into()],
            tables: vec!["limits".into()],
            ..Reloaded::default()
        };
        let expected =
            "Reloaded: route \"a\" added, route \"b\\u{1b}\" added, route \"c\" removed, [limits] changed.";
        assert_eq!(words(&done), expected);
    }
}
