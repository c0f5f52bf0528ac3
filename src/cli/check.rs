//! `perennial check`: what the configuration means, and with `--connect` what sources and services say to it.
//!
//! The page is TOML: what is said beside the configuration is a comment.
//!
//! 1. Every route is tried, also if one before it fails.
//! 2. A route that takes its time is said to.

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;

use super::{USAGE, configuration::ConfigFile, fail, running::in_runtime, say, token};
use crate::{
    app::{
        connect::{self, Connected},
        lifetime::Signals,
        outward,
    },
    config::{
        Config, Route, Secret,
        dialect::{self, Side},
    },
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
    #[arg(long, group = "looks")]
    connect: bool,
    /// Say which rule of the route's dialect each message of a captured conversation hits. The file has one message a
    /// line: behind `> ` the client's, behind `< ` the service's.
    #[arg(long, value_name = "FILE", group = "looks")]
    explain: Option<PathBuf>,
    /// Only with this route.
    #[arg(long, value_name = "NAME", requires = "looks")]
    route: Option<String>,
    /// The path, and query, that a client would ask for [default: the path of the route].
    #[arg(long, value_name = "PATH", requires = "connect", value_parser = path)]
    path: Option<String>,
    #[command(flatten)]
    client: token::Client,
}

/// Prints what the configuration means.
pub(super) fn run(path: &Path, config: &Config, arguments: &Arguments) -> ExitCode {
    if let Some(file) = &arguments.explain {
        return explained(config, file, arguments.route.as_deref());
    }
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
    let presets: String = presets(config).into_iter().map(|text| format!("\n{text}")).collect();
    let said = say(&format!("{page}\n# How each is reached:\n{ways}{presets}"));
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

/// The presets that routes name, as they are written: comments.
fn presets(config: &Config) -> Vec<String> {
    let named: BTreeSet<&str> = config.routes.iter().map(|route| route.dialect.word()).collect();
    let shown = dialect::presets().filter(|(name, _)| named.contains(name)).map(|(name, proven)| {
        let lines = dialect::text(name).unwrap_or_default().lines();
        let lines: String = lines.map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect();
        format!("# The dialect \"{name}\", {}:\n{lines}", proven.words())
    });
    shown.collect()
}

/// `--explain`: each message of the file, and below it what the rules do with it.
fn explained(config: &Config, file: &Path, route: Option<&str>) -> ExitCode {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return fail(&format!("--explain: {} cannot be read: {error}", file.display()), USAGE),
    };
    let mut said = Vec::new();
    for (nth, line) in
        text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
    {
        match line.split_at_checked(2) {
            Some(("> ", message)) => said.push((Side::Client, message)),
            Some(("< ", message)) => said.push((Side::Server, message)),
            _ => return fail(&format!("--explain: line {}: begin it with \"> \" or \"< \"", nth + 1), USAGE),
        }
    }
    let named: Vec<_> =
        config.routes.iter().filter(|one| route.is_none_or(|name| name == one.name)).collect();
    if named.is_empty() {
        let name = route.unwrap_or_default().escape_debug();
        let known: Vec<&str> = config.routes.iter().map(|route| &*route.name).collect();
        let message = format!("--explain: there is no route \"{name}\"; known are {}", known.join(", "));
        return fail(&message, USAGE);
    }
    let Some(lines) = named.into_iter().find_map(|route| crate::app::explain(route, &said)) else {
        let message =
            "--explain: the route has no declared dialect; write dialect = with a preset or a [dialect.NAME]";
        return fail(message, USAGE);
    };
    let mut page = String::new();
    for ((side, message), lines) in said.iter().zip(lines) {
        let arrow = if *side == Side::Client { ">" } else { "<" };
        page.push_str(&format!("{arrow} {message}\n"));
        lines.iter().for_each(|line| page.push_str(&format!("    {line}\n")));
    }
    say(page.trim_end())
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
