//! `perennial check --connect`: does a route get its token, and does its service take it?
//!
//! ```text
//!   route ─► its token: fetched once, or the client's own ─► one handshake with the service ─► what it answered
//! ```
//!
//! Rules:
//! 1. A token is fetched as `perennial token` does: one that can be asked for once goes on from the store.
//! 2. Of a route whose clients bring what the source, or the service, wants: what was not given is said, and nothing is
//!    asked.

use std::{path::Path, sync::Arc, time::Duration};

use super::{
    routes::Prepared,
    token::{self, Fetched, TokenError, Wanted},
};
use crate::{
    clock,
    config::{Config, Route, Secret, Share, TokenConfig},
    credential::{Generation, Token},
    net::Egress,
    proxy::{Bounds, RouteContext, Tokens, Tried, Visit},
    telemetry::Metrics,
};

/// What a client would have, and would ask for.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The path that it asks for; the route's own if there is none.
    pub path: Option<&'a str>,
    /// Names and values of its query.
    pub query: &'a [(String, String)],
    /// Names and values of its headers.
    pub headers: &'a [(String, String)],
    /// Where its own token is kept.
    pub token: Option<&'a Path>,
}

/// How one route fares. Each says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connected {
    Good(String),
    Bad(String),
    /// It needs what only a client has.
    Skipped(String),
}

/// Tries one route.
pub async fn connect(config: &Config, route: &Arc<Route>, client: Client<'_>) -> Connected {
    let shown = match client.token.map(|path| Secret::file(path).reveal()).transpose() {
        Ok(shown) => shown,
        Err(error) => return Connected::Skipped(format!("--client-token-file: {error}")),
    };
    let shown = shown.as_ref().map(|text| text.as_str());
    let (token, from) = match token_of(config, route, client, shown).await {
        Ok(token) => token,
        Err(instead) => return instead,
    };
    let egress = Egress::new(&config.egress.proxy).map_err(anyhow::Error::from);
    let context = match egress.and_then(|egress| Prepared::new(route, &egress)) {
        Ok(prepared) => prepared.alone(&config.limits, &Metrics::new(std::slice::from_ref(&route.name))),
        Err(error) => return Connected::Bad(format!("{error:#}")),
    };
    let Client { path, query, headers, .. } = client;
    let visit = Visit { path, query, headers, client_token: shown };
    let began = clock::now();
    let Tried { accepted, answer } =
        context.visit(visit, token.as_ref(), began + config.limits.handshake).await;
    let told = format!("{from}; {answer}");
    if accepted { Connected::Good(told) } else { Connected::Bad(told) }
}

/// The token that the service is shown, and where it is from.
async fn token_of(
    config: &Config,
    route: &Route,
    client: Client<'_>,
    shown: Option<&str>,
) -> Result<(Option<Token>, String), Connected> {
    let Some(token) = &route.token else { return Ok((None, "no token".to_owned())) };
    if begins_with_the_clients(route, token) {
        let needed = "its clients show a token of their own; add --client-token-file FILE";
        let text = shown.ok_or_else(|| Connected::Skipped(needed.to_owned()))?;
        let token = Token::new(text, Generation(1), clock::Now::read(), None);
        return Ok((Some(token), "the client's token".to_owned()));
    }
    let Client { query, headers, token: client_token, .. } = client;
    let wanted = Wanted { route: Some(&route.name), query, headers, client_token };
    let Fetched { issued, sent, took } =
        token::issue(config, route, token, (wanted, Vec::new())).await.map_err(|error| {
            // The line names the route already.
            let name = format!("route \"{}\": ", route.name);
            let why = |message: String| message.strip_prefix(&name).unwrap_or(&message).to_owned();
            match error {
                TokenError::Usage(message) => Connected::Skipped(why(message)),
                TokenError::Failed(message) => Connected::Bad(format!("no token: {}", why(message))),
            }
        })?;
    let life = issued.life.from(sent).or(token.refresh.lifetime);
    let made = Token::new(&issued.text, Generation(1), sent, life);
    if made.is_expired(clock::Now::read()) {
        return Err(Connected::Bad("no token: the source gave one that has already expired".to_owned()));
    }
    Ok((Some(made), format!("a token from {} in {}", token.source.word(), milliseconds(took))))
}

/// Is the first token of a session the one that its client shows?
fn begins_with_the_clients(route: &Route, token: &TokenConfig) -> bool {
    matches!(token.share, Share::Client { .. }) && !token.refresh.once && route.client.token.is_some()
}

fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

impl Prepared {
    /// A route that no listener leads to.
    fn alone(self, limits: &crate::config::Limits, metrics: &Metrics) -> RouteContext {
        let counted = metrics.route(&self.route.name);
        let bounds = Bounds { message: limits.message, head: limits.head, remembered: 1 };
        RouteContext::new(self.route, self.dialers, Tokens::None, counted, bounds)
    }
}
