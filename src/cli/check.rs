//! `perennial check`: what the configuration means, and with `--connect` what sources and services say to it.
//!
//! The page is TOML: what is said beside the configuration is a comment.
//!
//! 1. Every route is tried, also if one before it fails.
//! 2. A route that takes its time is said to.

use std::{io::Write, path::Path, process::ExitCode, sync::Arc, time::Duration};

use clap::Args;

use super::{USAGE, configuration::ConfigFile, fail, running::in_runtime, say, token};
use crate::{
    app::{
        connect::{self, Connected},
        lifetime::Signals,
        outward,
    },
    config::{Config, Route, Secret},
    terminal::visible,
};

/// A route that takes longer is named.
const SLOW: Duration = Duration::from_secs(2);
/// No more of a line is shown.
const LONGEST: usize = 1000;

#[derive(Args)]
#[command(
    after_help = "Status: 0 if all is good, 64 if the configuration is wrong; with --connect, 1 if a source or a service \
                  refused, or was not reached. A route that needs what only a client has is skipped, unless it is given."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) config: ConfigFile,
    /// Also fetch a token for each route, complete one handshake with its service, and say what that answered.
    #[arg(long)]
    connect: bool,
    /// Only with this route.
    #[arg(long, value_name = "NAME", requires = "connect")]
    route: Option<String>,
    /// The path, and query, that a client would ask for [default: the path of the route].
    #[arg(long, value_name = "PATH", requires = "connect", value_parser = path)]
    path: Option<String>,
    #[command(flatten)]
    client: token::Client,
}

/// Prints what the configuration means.
pub(super) fn run(path: &Path, config: &Config, arguments: &Arguments) -> ExitCode {
    let page = match Config::effective(path) {
        Ok(page) => page,
        Err(errors) => return fail(&errors.to_string(), USAGE),
    };
    for line in config.warnings() {
        let _ = writeln!(std::io::stderr(), "perennial: warning: {line}");
    }
    let ways = match outward::ways(config) {
        Ok(ways) => ways,
        Err(error) => return fail(&error.to_string(), USAGE),
    };
    let ways = ways.iter().map(|line| format!("# {line}\n")).collect::<String>();
    let said = say(&format!("{page}\n# How each is reached:\n{ways}"));
    if !arguments.connect || said != ExitCode::SUCCESS {
        return said;
    }
    let named = |route: &&Arc<Route>| arguments.route.as_ref().is_none_or(|name| *name == route.name);
    let routes: Vec<_> = config.routes.iter().filter(named).collect();
    if routes.is_empty() {
        let names: Vec<&str> = config.routes.iter().map(|route| route.name.as_str()).collect();
        return fail(&format!("--route: there is no such route; there are: {}", names.join(", ")), USAGE);
    }
    let [query, headers] = match arguments.client.read() {
        Ok(read) => read,
        Err(message) => return fail(&message, USAGE),
    };
    if let Some(path) = &arguments.client.client_token_file
        && let Err(error) = Secret::file(path).reveal()
    {
        return fail(&format!("--client-token-file: {error}"), USAGE);
    }
    let client = connect::Client {
        path: arguments.path.as_deref(),
        query: &query,
        headers: &headers,
        token: arguments.client.client_token_file.as_deref(),
    };
    in_runtime(async {
        let stop = match Signals::listen() {
            Ok(stop) => stop,
            Err(error) => return fail(&format!("signals cannot be listened for: {error}"), 1),
        };
        tokio::select! {
            status = all(config, &routes, client) => status,
            () = stop.stop() => fail("ended at once", 1),
        }
    })
}

async fn all(config: &Config, routes: &[&Arc<Route>], client: connect::Client<'_>) -> ExitCode {
    let mut status = ExitCode::SUCCESS;
    say("");
    for route in routes {
        let (word, told) = match one(config, route, client).await {
            Connected::Good(told) => ("good", told),
            Connected::Skipped(why) => ("skipped", why),
            Connected::Bad(told) => {
                status = ExitCode::FAILURE;
                ("bad", told)
            }
        };
        let lines: Vec<String> = told.lines().map(|line| visible(line, LONGEST)).collect();
        let said = say(&format!("route \"{}\": {word}: {}", route.name, lines.join("\n")));
        if said != ExitCode::SUCCESS {
            return said;
        }
    }
    status
}

/// Tries one route, and says if that takes its time.
async fn one(config: &Config, route: &Arc<Route>, client: connect::Client<'_>) -> Connected {
    let mut tried = std::pin::pin!(connect::connect(config, route, client));
    if let Ok(done) = tokio::time::timeout(SLOW, &mut tried).await {
        return done;
    }
    let _ = writeln!(std::io::stderr(), "perennial: route \"{}\": still waiting", route.name);
    tried.await
}

/// A path, with or without a query.
fn path(text: &str) -> Result<String, String> {
    let good = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if good { Ok(text.to_owned()) } else { Err("expected a path, such as /ws?jobId=7".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_a_request_may_ask_for() {
        for good in ["/", "/ws?jobId=7&a=%20b", "/a/b"] {
            assert_eq!(path(good).as_deref(), Ok(good));
        }
        for bad in ["", "ws", "http://h/", "/a b", "/a\nb", "/a#b", "/ä"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }
}
