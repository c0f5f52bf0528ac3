//! `[route.client]`: who may connect, what clients show, and what is remembered of it.

use http::{HeaderName, header};

use super::{
    DialectKind, Filters, Template,
    declare::{Kind, table, value},
    section::Section,
    template::is_token_byte,
    text::header_name,
    token::{Source, Use},
    value::{Cookie, Kept, Origins, Parameter, Span, Token, string},
};

table! {
    /// Who may connect, and where clients show tokens of their own.
    pub struct ClientGate {
        /// Origins of the web pages that may connect.
        origins: or Origins = "[]", otherwise("the same origin, by number or `localhost`");
        /// What a client must show: `Authorization: Bearer`, `X-Perennial-Secret` or `?secret=`.
        secret: maybe Kept;
        /// Where a client's own token is found.
        token: perhaps TokenPlaces;
        /// How long a superseded token of a client's is still taken.
        grace: or Span = "\"5m\"";
        /// How long a superseded token is remembered, so that it stays refused.
        revoke_for: or Span = "\"2h30m\"", otherwise("`grace`, if that is longer");
    }
}

table! {
    /// Where a client's own token is found. Several places may be named; a client that shows two different tokens is
    /// refused.
    pub struct TokenPlaces {
        /// The parameter of the query.
        query: maybe Parameter;
        /// What stands before the token in an offered subprotocol: `auth.`, or with a filter `auth.{token|base64url}`.
        subprotocol: maybe Before;
        /// The subprotocol behind which the token is offered as one of its own: `access_token`.
        after: maybe Token;
        /// The header, with `{token}` at its end, or its name.
        header: maybe TokenHeader;
        /// The cookie.
        cookie: maybe Cookie;
    }
}

value! {
    /// What stands before a token in an offer, and how the token is written: `"app-auth."`, or
    /// `"app-auth.{token|base64url}"`.
    pub(super) Before: Carried, Kind::Named, |value, _| {
        let text = string(value)?;
        let what = "expected what stands before the token, such as \"app-auth.\", or \"app-auth.{token|base64url}\"";
        let carried = Carried::parse(&text).filter(|carried| carried.before.bytes().all(is_token_byte));
        carried.ok_or_else(|| what.to_owned())
    }
}

value! {
    /// `"Name: before {token}"`, or a bare name; the name, and what stands before the token.
    pub(super) TokenHeader: (HeaderName, Carried), Kind::Named, |value, _| {
        let text = string(value)?;
        let what = "expected a header such as \"Authorization: Bearer {token}\", with the token at its end";
        let Some((name, value)) = text.split_once(':') else {
            let name = header_name(text.trim())?;
            let before = if name == header::AUTHORIZATION { "Bearer " } else { "" };
            return Ok((name, Carried { before: before.to_owned(), filters: Filters::default() }));
        };
        let plain = |carried: &Carried| carried.before.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        let named = value.contains('{').then(|| Carried::parse(value.trim())).flatten();
        let carried = named.filter(plain).ok_or(what)?;
        Ok((header_name(name.trim_end())?, carried))
    }
}

/// How a token is written behind something else.
#[derive(Debug, Clone, PartialEq)]
pub struct Carried {
    /// What stands before it.
    pub before: String,
    /// What it went through.
    pub filters: Filters,
}

impl Carried {
    /// `before`, or `before{token|filters}`. `None`: it names something else, or something follows the token.
    fn parse(text: &str) -> Option<Self> {
        let (before, filters) = match text.split_once("{token") {
            None => (text, Filters::default()),
            Some((before, "}")) => (before, Filters::default()),
            Some((before, rest)) => (before, Filters::parse(rest.strip_prefix('|')?.strip_suffix('}')?)?),
        };
        let plain = Template::parse(before).names().next().is_none() && !before.contains(['{', '}']);
        plain.then(|| Self { before: before.to_owned(), filters })
    }
}

/// The gate of the route: what is no longer served has to be remembered.
pub(super) fn remembered(route: &Section<'_>, gate: ClientGate) -> ClientGate {
    let table = route.at("client");
    if table.has("revoke_for") && gate.revoke_for < gate.grace {
        let message = "must be at least as long as grace: what is no longer served has to be remembered";
        table.refuse("revoke_for", message);
    }
    let revoke_for = gate.revoke_for.max(gate.grace);
    table.means("revoke_for", format!("\"{}\"", super::duration(revoke_for)));
    ClientGate { revoke_for, ..gate }
}

/// Does what is said of clients go together with the source and the dialect?
pub(super) fn fits(route: &Section<'_>, dialect: &DialectKind) {
    let (each, own) = (route.names.each, route.names.own);
    let table = route.at("client");
    if let Some(places) = table.table("token").filter(|places| places.written().next().is_none()) {
        places.problem("says nothing; add query, subprotocol, header or cookie");
    }
    let token = route.at("token");
    let once = token.maybe::<Use>("use") == Some(Use::Once);
    if !(each && own) || once {
        let message = "has no effect: only with share = \"client\" in [route.token] and a token here are \
                       tokens of clients remembered; add them, or remove this";
        ["grace", "revoke_for"].into_iter().for_each(|key| table.useless(key, message));
    }
    if own && *dialect == DialectKind::Ably {
        table.refuse("token", "\"ably\" knows where its clients show their tokens; remove this");
    }
    if own && !route.has("token") {
        let message = "has no effect: this route has no token of its own to put there; add [route.token]";
        table.refuse("token", message);
    }
    if !each || once {
        return;
    }
    let problem = |message: &str| route.problem_at(&token.span, "token.share", message);
    if !token.has("identity") && !own {
        problem(
            "\"client\" needs to know whose a token is; add identity here, such as \"{query.clientId}\", or \
             token = { query = \"token\" } in [route.client]",
        );
    }
    if let Some(Source::Static | Source::File | Source::Exec) = token.maybe::<Source>("source") {
        problem(
            "\"client\" needs a source that can tell clients apart: \"http\", \"oauth2\" or \"ably-key\"",
        );
    }
}
