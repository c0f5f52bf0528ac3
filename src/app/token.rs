//! `perennial token ROUTE`: one token, fetched as the sidecar would, and what can be said of it without showing it.
//!
//! ```text
//!   configuration ─► the route ─► what its templates name ─► its source, asked once ─► page
//! ```
//!
//! 1. Nothing of a running sidecar is touched. What can be asked for once is asked for by way of its store, so that it
//!    goes on from there.
//! 2. What a client would have comes from the command line or from files, its token from a file: process lists show
//!    arguments.
//! 3. The token is not shown, nor any part of it but claims that are no secret.

use std::{path::Path, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::{self, Instant, Now},
    config::{Config, Name, Route, Secret, Share, SourceConfig, Template, TokenConfig},
    credential::{
        Chain, ClientValues, Links, Source, Store, Supply,
        keeper::FailureKind,
        source::{Asking, Issued, SourceError},
    },
    net::Egress,
};

mod page;

pub use page::Page;

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The name of the route; it may be left out where only one has a token.
    pub route: Option<&'a str>,
    /// Parameters that a client would have in its query.
    pub query: &'a [(String, String)],
    /// Headers that it would send.
    pub headers: &'a [(String, String)],
    /// Where its own token is kept.
    pub client_token: Option<&'a Path>,
}

/// Why there is nothing to show. It says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The command line does not fit the configuration; nothing was asked.
    #[error("{0}")]
    Usage(String),
    /// There is no token.
    #[error("{0}")]
    Failed(String),
}

/// Fetches one token, and describes it.
pub async fn fetch(config: &Config, wanted: Wanted<'_>) -> Result<Page, TokenError> {
    let (route, token) = route(config, wanted.route)?;
    let slips = slips(token, wanted);
    let Fetched { issued, sent, took } = issue(config, route, token, (wanted, slips)).await?;
    Ok(Page::new(route, token, &issued, sent, took))
}

/// A token that came.
pub(super) struct Fetched {
    pub(super) issued: Issued,
    /// When it was asked for.
    pub(super) sent: Now,
    pub(super) took: Duration,
}

/// Fetches one token. `slips`: what is wrong already with what is wanted.
pub(super) async fn issue(
    config: &Config,
    route: &Route,
    token: &TokenConfig,
    (wanted, slips): (Wanted<'_>, Vec<String>),
) -> Result<Fetched, TokenError> {
    let values = values(route, token, wanted, slips)?;
    let egress = Egress::new(&config.egress.proxy).map_err(|error| TokenError::Usage(error.to_string()))?;
    let source = Source::new(&token.source, &egress)
        .map_err(|error| TokenError::Failed(format!("route \"{}\": [route.token]: {error}", route.name)))?;
    let asking = Asking { client: values.into(), ..Asking::default() };
    let sent = Now::read();
    let deadline = sent.mono + token.refresh.timeout;
    let answer = if source.rotates() {
        rotated(config, route, token, source, (asking, sent, deadline)).await?
    } else {
        Supply::Source(Arc::new(source)).fetch(asking, sent, deadline).await
    };
    let took = clock::now() - sent.mono;
    match answer {
        Ok(issued) => Ok(Fetched { issued, sent, took }),
        Err(error) => {
            let way_out = way_out(&token.source, &error);
            Err(TokenError::Failed(format!("route \"{}\": {error}{way_out}", route.name)))
        }
    }
}

/// The route that is meant, and what it says of its token.
pub(super) fn route<'c>(
    config: &'c Config,
    name: Option<&str>,
) -> Result<(&'c Route, &'c TokenConfig), TokenError> {
    let with_token = || config.routes.iter().filter_map(|route| Some((&**route, route.token.as_ref()?)));
    let mut names: Vec<&str> = with_token().map(|(route, _)| route.name.as_str()).collect();
    names.sort_unstable();
    let names = if names.is_empty() { "none has one".to_owned() } else { names.join(", ") };
    let usage = |message: String| Err(TokenError::Usage(message));
    let Some(name) = name else {
        let mut all = with_token();
        return match (all.next(), all.next()) {
            (Some(only), None) => Ok(only),
            (Some(_), Some(_)) => usage(format!("which route? Those with a token are: {names}")),
            (None, _) => usage("no route has a token; add [route.token] to one".to_owned()),
        };
    };
    match config.routes.iter().find(|route| route.name == name) {
        Some(route) => match &route.token {
            Some(token) => Ok((route, token)),
            None => usage(format!(
                "route \"{name}\" has no token: it has no [route.token]; those with one: {names}"
            )),
        },
        None => usage(format!("there is no route \"{}\"; those with a token: {names}", name.escape_debug())),
    }
}

/// What is given, and nothing asks for.
fn slips(token: &TokenConfig, wanted: Wanted<'_>) -> Vec<String> {
    let Wanted { query, headers, client_token, .. } = wanted;
    let identity = match &token.share {
        Share::Client { identity: Some(template) } => Some(template),
        Share::Client { identity: None } | Share::Route => None,
    };
    let needed: Vec<&Name> = token.source.names().collect();
    let known = |name: &Name| {
        needed.contains(&name)
            || identity.is_some_and(|template| Template::names(template).any(|one| one == name))
    };
    let mut wrong = Vec::new();
    let given = query.iter().map(|(name, _)| ("--query", Name::Query(name.clone())));
    let given =
        given.chain(headers.iter().map(|(name, _)| ("--header", Name::Header(name.to_ascii_lowercase()))));
    let given = given.chain(client_token.map(|_| ("--client-token-file", Name::ClientToken)));
    for (option, name) in given.filter(|(_, name)| !known(name)) {
        wrong.push(format!("{option}: nothing in [route.token] names {name}; leave it out"));
    }
    wrong
}

/// What a client would have, from the command line.
fn values(
    route: &Route,
    token: &TokenConfig,
    wanted: Wanted<'_>,
    mut wrong: Vec<String>,
) -> Result<ClientValues, TokenError> {
    let Wanted { query, headers, client_token, .. } = wanted;
    let needed: Vec<&Name> = token.source.names().collect();
    let client_token = match client_token.map(|path| Secret::file(path).reveal()).transpose() {
        Ok(text) => text,
        Err(error) => return Err(TokenError::Usage(format!("--client-token-file: {error}"))),
    };
    let find = |pairs: &[(String, String)], wanted: &str, same: fn(&str, &str) -> bool| {
        pairs.iter().find(|(name, _)| same(name, wanted)).map(|(_, value)| value.clone())
    };
    let read = |name: &Name| match name {
        Name::Token | Name::Arg | Name::Json | Name::RefreshToken | Name::Jwt | Name::Client(_) => None,
        Name::ClientToken => client_token.as_ref().map(|text| text.to_string()),
        Name::Query(name) => find(query, name, |one, other| one == other),
        Name::Header(name) => find(headers, name, str::eq_ignore_ascii_case),
    };
    let values = ClientValues::of(needed.iter().copied(), read);
    for (nth, name) in needed.iter().enumerate().filter(|(nth, name)| !needed[..*nth].contains(name)) {
        let option = match name {
            // The first token is asked for without one, here as in the sidecar.
            Name::Token | Name::Arg | Name::Json | Name::RefreshToken | Name::Jwt | Name::Client(_) => {
                continue;
            }
            Name::ClientToken => "--client-token-file FILE".to_owned(),
            Name::Query(name) => format!("--query {name}=VALUE, or --query-file {name}=FILE"),
            Name::Header(name) => format!("--header {name}=VALUE, or --header-file {name}=FILE"),
        };
        if values.get(name).is_none() {
            let also = if nth == 0 { "" } else { "also " };
            wrong.push(format!(
                "its source is {also}asked with {name}, which a client would have; add {option}"
            ));
        }
    }
    if wrong.is_empty() {
        Ok(values)
    } else {
        Err(TokenError::Usage(format!("route \"{}\": {}", route.name, wrong.join("\n           "))))
    }
}

/// A refresh token is asked with only where what comes of it is kept for the sidecar: in its own store. So a sidecar
/// that runs is not disturbed: it owns its store on disk, and takes turns in Redis.
async fn rotated(
    config: &Config,
    route: &Route,
    token: &TokenConfig,
    source: Source,
    (asking, sent, deadline): (Asking, Now, Instant),
) -> Result<Result<Issued, SourceError>, TokenError> {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let store = Store::open(&config.state, config.limits.history, &tasks, &stop)
        .map_err(|error| TokenError::Failed(format!("[state]: {error}")))?;
    if !store.is_durable() {
        return Err(TokenError::Usage(format!(
            "route \"{}\": asking would use up its refresh token, and nothing would keep what comes for it: set \
             store = \"disk\" in [state]",
            route.name
        )));
    }
    let source = Arc::new(source);
    let links = Links {
        scope: route.name.clone(),
        source,
        store: Arc::new(store),
        lifetime: token.refresh.lifetime,
        tasks: TaskTracker::new(),
    };
    let answer = Supply::Chain(Chain::new(links)).fetch(asking, sent, deadline).await;
    stop.cancel();
    Ok(answer)
}

/// What to do about a failure.
fn way_out(source: &SourceConfig, error: &SourceError) -> String {
    let advice = match error.kind {
        FailureKind::Terminal => {
            "asking again does not fix it: look at [route.token] and at the secrets it names".to_owned()
        }
        FailureKind::Passing | FailureKind::Unreached | FailureKind::Lost | FailureKind::Elsewhere
            if error.misplaced =>
        {
            format!("asking again does not fix it: {}", look_at(source))
        }
        FailureKind::Passing | FailureKind::Unreached | FailureKind::Lost | FailureKind::Elsewhere => {
            "it may pass by itself: `perennial run` asks again, and keeps a token that is still valid"
                .to_owned()
        }
    };
    match error.retry_after {
        Some(wait) => {
            format!("\n           {advice}; the source wants to be left alone for {} s", wait.as_secs())
        }
        None => format!("\n           {advice}"),
    }
}

/// Where the fault is if what answers gives no tokens.
fn look_at(source: &SourceConfig) -> &'static str {
    match source {
        SourceConfig::Http(_) => {
            "is `url` in [route.token] right? If the token has another name in the answer, say it in `answer`"
        }
        SourceConfig::OAuth2(_) => "is `token_url`, or `issuer`, in [route.token] right?",
        SourceConfig::Exec(_) => "look at what the command prints",
        SourceConfig::File { .. } => "look at what is in the file",
        SourceConfig::AblyKey(_) | SourceConfig::Static { .. } | SourceConfig::Jwt(_) => {
            "look at [route.token] and at the secrets it names"
        }
    }
}

#[cfg(test)]
mod tests;
