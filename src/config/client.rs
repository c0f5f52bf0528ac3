//! `[route.client]`, and whose tokens a route's are: what clients show, and what is remembered of it.

use http::{HeaderName, header};
use toml::de::DeValue;

use super::{
    ClientGate, DialectKind, Share, SourceConfig, Template, TokenConfig, TokenPlaces, keys,
    raw::Section,
    route::header_name,
    template::{Name, is_token_byte},
    value::{duration, http_token, origins, parameter, secret, string},
};

/// `[route.client]`, and the table itself for what depends on it.
pub(super) fn client<'t>(section: &Section<'t>) -> (ClientGate, Option<Section<'t>>) {
    let usual = ClientGate::default();
    let Some(table) = section.table("client", &keys::CLIENT) else { return (usual, None) };
    let grace = table.value("grace", duration).unwrap_or(usual.grace);
    let revoke_for = table.value("revoke_for", duration);
    if revoke_for.is_some_and(|revoked| revoked < grace) {
        let message = "must be at least as long as grace: what is no longer served has to be remembered";
        table.problem_at(&table.span_of("revoke_for"), "revoke_for", message);
    }
    let gate = ClientGate {
        origins: table.value("origins", origins).unwrap_or_default(),
        secret: table.value("secret", secret),
        token: places(&table),
        grace,
        revoke_for: revoke_for.unwrap_or_else(|| usual.revoke_for.max(grace)),
    };
    (gate, Some(table))
}

fn places(client: &Section<'_>) -> Option<TokenPlaces> {
    let table = client.table("token", &keys::CLIENT_TOKEN)?;
    if table.written().next().is_none() {
        table.problem("says nothing; add query, subprotocol, header or cookie");
    }
    Some(TokenPlaces {
        query: table.value("query", parameter),
        subprotocol: table.value("subprotocol", |value| {
            let text = string(value)?;
            let fits = text.bytes().all(is_token_byte) && Template::parse(&text).names().next().is_none();
            let what = "expected what stands before the token, such as \"app-auth.\", without {token}";
            if fits { Ok(text) } else { Err(what.to_owned()) }
        }),
        header: table.value("header", token_header),
        cookie: table.value("cookie", http_token),
    })
}

/// `"Name: before {token}"`, or a bare name.
fn token_header(value: &DeValue<'_>) -> Result<(HeaderName, String), String> {
    let text = string(value)?;
    let what = "expected a header such as \"Authorization: Bearer {token}\", with the token at its end";
    let Some((name, value)) = text.split_once(':') else {
        let name = header_name(text.trim())?;
        let before = if name == header::AUTHORIZATION { "Bearer " } else { "" };
        return Ok((name, before.to_owned()));
    };
    let before = value.trim().strip_suffix("{token}").ok_or(what)?;
    let plain = Template::parse(before).names().next().is_none()
        && before.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if plain { Ok((header_name(name.trim_end())?, before.to_owned())) } else { Err(what.to_owned()) }
}

/// Does what is said of clients go together with the source and the dialect?
pub(super) fn fits(
    section: &Section<'_>,
    table: Option<&Section<'_>>,
    gate: &ClientGate,
    token: Option<&TokenConfig>,
    dialect: DialectKind,
) {
    let own = gate.token.is_some();
    let shared = !token.is_some_and(|token| matches!(token.share, Share::Client { .. }));
    for key in ["grace", "revoke_for"] {
        if let Some(table) = table.filter(|table| table.has(key) && (shared || !own)) {
            let message = "has no effect: only with share = \"client\" in [route.token] and a token here are \
                           tokens of clients remembered; add them, or remove this";
            table.problem_at(&table.span_of(key), key, message);
        }
    }
    if let (Some(table), true) = (table, own && dialect == DialectKind::Ably) {
        table.problem_at(
            &table.span_of("token"),
            "token",
            "\"ably\" knows where its clients show their tokens; remove this",
        );
    }
    if let (Some(table), true) = (table, own && token.is_none()) {
        let message = "has no effect: this route has no token of its own to put there; add [route.token]";
        table.problem_at(&table.span_of("token"), "token", message);
    }
    let Some(TokenConfig { share: Share::Client { identity }, source, .. }) = token else { return };
    let problem = |message: &str| section.problem_at(&section.span_of("token"), "token.share", message);
    if identity.is_none() && !own {
        problem(
            "\"client\" needs to know whose a token is; add identity here, such as \"{query.clientId}\", or \
             token = { query = \"token\" } in [route.client]",
        );
    }
    if !matches!(source, SourceConfig::Http(_) | SourceConfig::OAuth2(_) | SourceConfig::AblyKey(_)) {
        problem(
            "\"client\" needs a source that can tell clients apart: \"http\", \"oauth2\" or \"ably-key\"",
        );
    }
}

/// What a template of a source may name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    /// Tokens are each client's: parameters and headers of its request have a value.
    pub(super) request: bool,
    /// And it shows a token of its own.
    pub(super) client_token: bool,
}

impl Names {
    /// Has everything that a template names a value?
    pub(super) fn allow(self, template: &Template) -> Result<(), String> {
        if let Some((word, meant)) = template.slip() {
            return Err(format!("{{{word}}} is no name; did you mean {{{meant}}}?"));
        }
        for name in template.names() {
            match name {
                Name::Token => {}
                Name::ClientToken if self.client_token => {}
                Name::ClientToken => {
                    return Err(format!(
                        "{name} has no value: say in [route.client] where a client's token is"
                    ));
                }
                Name::Query(_) | Name::Header(_) if self.request => {}
                Name::Query(_) | Name::Header(_) => {
                    return Err(format!(
                        "{name} has no value: the token is the route's; add share = \"client\""
                    ));
                }
            }
        }
        Ok(())
    }
}

/// `identity`: what makes two clients the same.
pub(super) fn identity(value: &DeValue<'_>, names: Names) -> Result<Option<Template>, String> {
    let template = Template::parse(&string(value)?);
    names.allow(&template)?;
    if template.names().next().is_none() {
        return Err(
            "names nothing of the request; write {query.NAME}, {header.NAME} or {client.token}".to_owned()
        );
    }
    if template.names().any(|name| *name == Name::Token) {
        return Err(
            "{token} is what the identity gets; write {client.token} for what the client shows".to_owned()
        );
    }
    // The token is told apart anyway.
    let only_token = template.names().all(|name| *name == Name::ClientToken);
    Ok((!only_token).then_some(template))
}
