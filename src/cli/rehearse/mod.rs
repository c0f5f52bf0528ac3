//! `perennial rehearse`: practises on a running sidecar what would otherwise happen at night.
//!
//! ```text
//!   look ──► POST /rehearse/ACTION ──► look, look, look … until all is live again ──► before and after, compared
//! ```
//!
//! 1. What is asked for happens to real clients' sessions, by the code that runs in earnest.
//! 2. The verdict is the difference of what the sidecar has counted: whatever else happens meanwhile counts too.
//! 3. It does not look for longer than a session may be held.

mod verdict;

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};
use tokio::time::{MissedTickBehavior, interval};

use self::verdict::{Followed, Sight, Sought, Verdict};
use super::{
    USAGE, fail,
    operator::{Operator, done, target},
    running::in_one_thread,
    say,
    status::look,
    words::count,
};
use crate::{
    admin::{
        client::{AdminClient, Answer, ClientError},
        done::Rehearsed,
    },
    clock,
    terminal::visible,
};

/// How often it is looked whether all is live again.
const LOOK: Duration = Duration::from_millis(250);
/// A little longer than `session.reconnect` is by default: after that, a session that is not live is closed.
const LIMIT: Duration = Duration::from_secs(70);
/// No more of an answer is shown.
const LONGEST: usize = 300;

#[derive(Args)]
#[command(
    after_help = "It happens to the sessions of real clients: practise on staging first. It is taken from the sidecar's \
                        own machine only. Status: 0 where nothing was lost and nobody closed, else 1."
)]
pub(super) struct Arguments {
    /// What is practised.
    #[arg(value_enum)]
    action: Action,
    /// On this route alone.
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// How many sessions of each route, as a number or as a part, such as "10%"; they are chosen at random.
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = sessions)]
    sessions: String,
    /// Only ask; do not look what becomes of it.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    operator: Operator,
}

/// What is practised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    /// The credential fetches a new token now, and live connections are re-authenticated with it. Clients notice
    /// nothing. Where each client has a credential, --sessions says how many.
    Refresh,
    /// Sessions show the service their current token once more, on the live connection or on a new one, as the
    /// dialect has it. Messages may be held for a moment; clients notice nothing.
    Reauthenticate,
    /// Sessions lose their connection to the service, as by a reset. Messages are held while a new one is made;
    /// where the service cannot resume (dialect "none"), the client is closed.
    Drop,
    /// The token of the sessions counts as ended: a new one is fetched, and their connections to the service are
    /// made again with it. Messages are held meanwhile.
    Expire,
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Reauthenticate => "reauthenticate",
            Self::Drop => "drop",
            Self::Expire => "expire",
        }
    }

    fn sought(self) -> Sought {
        match self {
            Self::Refresh => Sought::Fetches,
            Self::Reauthenticate => Sought::Reauthentications,
            Self::Drop | Self::Expire => Sought::Gaps,
        }
    }

    /// Of what it asks so many.
    fn of(self) -> &'static str {
        match self {
            Self::Refresh => "credential",
            Self::Reauthenticate | Self::Drop | Self::Expire => "session",
        }
    }

    /// What they do now.
    fn now(self, one: bool) -> &'static str {
        match (self, one) {
            (Self::Refresh, true) => "fetches a new token now",
            (Self::Refresh, false) => "fetch a new token now",
            (Self::Reauthenticate, true) => "re-authenticates now",
            (Self::Reauthenticate, false) => "re-authenticate now",
            (Self::Drop, true) => "loses its upstream now",
            (Self::Drop, false) => "lose their upstream now",
            (Self::Expire, true) => "takes its token for ended now",
            (Self::Expire, false) => "take their token for ended now",
        }
    }
}

/// Looks once.
async fn sight(client: &AdminClient, action: Action) -> Result<Sight, ClientError> {
    let (status, _) = look(client).await?;
    Ok(match action.sought() {
        Sought::Gaps => Sight { gaps: gaps(&client.get("/metrics").await?), status },
        Sought::Fetches | Sought::Reauthentications => status.into(),
    })
}

/// By route: upstreams that were lost and made again. The names of routes need no escape.
fn gaps(metrics: &Answer) -> BTreeMap<String, u64> {
    let text = String::from_utf8_lossy(&metrics.body);
    let of = |line: &str| {
        let rest = line.strip_prefix("perennial_upstream_gap_seconds_count{route=\"")?;
        let (route, count) = rest.split_once("\"} ")?;
        Some((route.to_owned(), count.trim().parse().ok()?))
    };
    text.lines().filter_map(of).collect()
}

/// A number, or a part in percent.
fn sessions(text: &str) -> Result<String, String> {
    let good = match text.strip_suffix('%') {
        Some(part) => part.parse::<f64>().is_ok_and(|part| part > 0.0 && part <= 100.0),
        None => text.parse::<u32>().is_ok_and(|count| count > 0),
    };
    if good {
        Ok(text.to_owned())
    } else {
        Err("expected a number, such as 3, or a part, such as 10%".to_owned())
    }
}

/// Asks for it, and says what it came to.
pub(super) fn run(arguments: Arguments) -> ExitCode {
    let Arguments { action, route, sessions, no_wait, operator } = arguments;
    let client = match operator.client() {
        Ok(client) => client,
        Err(message) => return fail(&message, USAGE),
    };
    in_one_thread(async move {
        match rehearse(&client, action, route.as_deref(), &sessions, no_wait).await {
            Ok(status) => status,
            Err(message) => fail(&message, 1),
        }
    })
}

async fn rehearse(
    client: &AdminClient,
    action: Action,
    route: Option<&str>,
    sessions: &str,
    no_wait: bool,
) -> Result<ExitCode, String> {
    let before = sight(client, action).await.map_err(|error| error.to_string())?;
    let asked = ask(client, action, route, sessions).await?;
    let mut all = 0_usize;
    for one in &asked.routes {
        let words = format!(
            "{} of {} of route \"{}\" {}.",
            one.asked,
            count(u64::try_from(one.of).unwrap_or(u64::MAX), action.of()),
            visible(&one.route, LONGEST),
            action.now(one.asked == 1)
        );
        say(&words);
        all = all.saturating_add(one.asked);
    }
    if all == 0 {
        return Err(format!("nothing was practised: there is no {} to practise on", action.of()));
    }
    if no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    let followed = follow(client, action, before, &asked).await?;
    let verdict = Verdict::of(&followed);
    say(&verdict.to_string());
    Ok(if verdict.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks for it: whom it reached.
async fn ask(
    client: &AdminClient,
    action: Action,
    route: Option<&str>,
    sessions: &str,
) -> Result<Rehearsed, String> {
    let parameters = [("route", route), ("sessions", Some(sessions))];
    let target = target(&format!("/rehearse/{}", action.word()), &parameters);
    let answer = client.post(&target).await.map_err(|error| error.to_string())?;
    done(client, &answer)
}

/// Looks until all is live again, or for as long as makes sense.
async fn follow(
    client: &AdminClient,
    action: Action,
    before: Sight,
    asked: &Rehearsed,
) -> Result<Followed, String> {
    let mut followed = Followed::new(before, asked, action.sought());
    let began = clock::now();
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let after = clock::now().saturating_duration_since(began);
        let silence = match sight(client, action).await {
            Ok(sight) => {
                if followed.look(sight, after) {
                    return Ok(followed);
                }
                None
            }
            // It may come back.
            Err(error) => Some(error),
        };
        match silence {
            Some(error) if after >= LIMIT => return Err(error.to_string()),
            None if after >= LIMIT => return Ok(followed),
            Some(_) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_is_a_number_or_a_part() {
        for good in ["1", "3", "10%", "0.1%", "100%"] {
            assert_eq!(sessions(good).as_deref(), Ok(good));
        }
        for bad in ["", "0", "0%", "101%", "-1", "x", "%", "1.5", "10 %"] {
            assert!(sessions(bad).is_err(), "{bad}");
        }
    }
}
