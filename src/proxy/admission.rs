//! Whose token a request is served with: the route's, or the client's own.
//!
//! Rules: what a client shows is looked for in every place that the route names, and has to be one. A token
//! that was superseded and is not served any more goes no further than this.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use http::StatusCode;

use super::{
    gate,
    route::{RouteContext, Tokens},
};
use crate::{
    clock::{Instant, Now},
    config::{Name, Share, Template, TokenConfig},
    credential::{ClientValues, Lease, NotServed, Token, Visitor},
    dialect::{Doing, Presented, Request as Asked, Unclear},
    net::Peer,
};

/// Who asks, and with which credential.
pub(super) struct Admitted {
    /// `None` on a route without tokens.
    pub(super) lease: Option<Lease>,
    /// What the client showed, where it showed a token of its own.
    pub(super) presented: Option<Presented>,
}

/// Why a client is turned away.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal {
    /// The client shows no token.
    Missing,
    /// It is about the client's token: by the dialect's last words, with this reason.
    Policy(Doing, &'static str),
    /// By a status, before the handshake.
    Status(StatusCode, &'static str),
}

impl Refusal {
    pub(super) const MISSING: &str = "Token missing";
    const EXPIRED: Self = Self::Policy(Doing::TokenEnded, "Token expired");

    fn unclear(reason: &'static str) -> Self {
        Self::Policy(Doing::TokenUnclear, reason)
    }
}

/// Finds the credential of a request.
pub(super) async fn admit(
    route: &RouteContext,
    asked: &mut Asked,
    client: &Peer,
    now: Now,
) -> Result<Admitted, Refusal> {
    let gate = &route.route.client;
    let presented = match &gate.token {
        Some(places) => {
            if let Some((name, _)) = &places.header {
                gate::remove_twins(&mut asked.headers, name);
            }
            match Presented::find(asked, places) {
                Ok(presented) => Some(presented),
                Err(Unclear::Missing) if route.clients().is_none() => None,
                Err(Unclear::Missing) => return Err(Refusal::Missing),
                Err(Unclear::Disagree) => return Err(Refusal::unclear("Tokens disagree")),
            }
        }
        None => None,
    };
    let lease = match &route.tokens {
        Tokens::None => None,
        Tokens::Route(credential) => Some(Lease::shared(Arc::clone(credential))),
        Tokens::Clients(clients) => {
            let Some(token) = &route.route.token else { return Err(unnamed()) };
            let values = values(token, asked, presented.as_ref());
            let once = token.refresh.once;
            let identity =
                if once { one_of_a_kind().into() } else { values.told_apart(&identity(token, &values)?) };
            // What a client shows for a ticket is not the ticket.
            let shown = presented.as_ref().map(|presented| &*presented.token).filter(|_| !once);
            let visitor = Visitor { token: shown, identity: &identity, values };
            Some(clients.enter(visitor, now).await.map_err(|why| refusal(route, client, &why))?)
        }
    };
    Ok(Admitted { lease, presented })
}

fn unnamed() -> Refusal {
    Refusal::Status(StatusCode::FORBIDDEN, "the request does not say who the client is")
}

fn refusal(route: &RouteContext, client: &Peer, why: &NotServed) -> Refusal {
    let name = &*route.route.name;
    match why {
        NotServed::Expired => {
            tracing::info!(route = name, %client, "token expired: a client was turned away");
            Refusal::EXPIRED
        }
        NotServed::Malformed => Refusal::unclear("Token malformed"),
        NotServed::Store(error) => {
            tracing::error!(route = name, %client, %error, "a client's token cannot be looked up");
            Refusal::Status(StatusCode::SERVICE_UNAVAILABLE, "tokens cannot be looked up now; see the log")
        }
    }
}

/// A name that no other handshake of this process has.
pub(super) fn one_of_a_kind() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}

/// What the configuration says makes two clients the same, beside their token.
fn identity(token: &TokenConfig, values: &ClientValues) -> Result<String, Refusal> {
    match &token.share {
        Share::Client { identity: Some(template) } => {
            values.text(template).filter(|text| !text.is_empty()).ok_or_else(unnamed)
        }
        Share::Client { identity: None } | Share::Route => Ok(String::new()),
    }
}

/// What the templates of the source and the identity name, as this request has it.
fn values(token: &TokenConfig, asked: &Asked, presented: Option<&Presented>) -> ClientValues {
    let identity = match &token.share {
        Share::Client { identity } => identity.as_ref(),
        Share::Route => None,
    };
    let names = token.source.names().chain(identity.into_iter().flat_map(Template::names));
    ClientValues::of(names, |name| match (name, presented) {
        (Name::ClientToken, Some(presented)) => Some(presented.token.to_string()),
        _ => asked_with(asked, name),
    })
}

/// What a name stands for in this request.
pub(super) fn asked_with(asked: &Asked, name: &Name) -> Option<String> {
    match name {
        Name::Query(query) => asked.parameter(query),
        Name::Header(header) => Some(asked.headers.get(header.as_str())?.to_str().ok()?.to_owned()),
        Name::Token
        | Name::ClientToken
        | Name::Arg
        | Name::Json
        | Name::RefreshToken
        | Name::Jwt
        | Name::Client(_) => None,
    }
}

/// The token to go out with, by `deadline`.
pub(super) async fn token(lease: Option<&Lease>, deadline: Instant) -> Result<Option<Arc<Token>>, Refusal> {
    let Some(lease) = lease else { return Ok(None) };
    match lease.credential().usable(deadline).await {
        Some(token) => Ok(Some(token)),
        None if lease.is_own() && !lease.is_once() => Err(Refusal::EXPIRED),
        None => Err(Refusal::Status(
            StatusCode::SERVICE_UNAVAILABLE,
            "no token could be fetched in time; see the log",
        )),
    }
}
