//! `[[route]]` and its tables, except for the token's.

use std::{sync::Arc, time::Duration};

use http::HeaderName;
use toml::de::DeValue;

use super::{
    ClientGate, CloseRule, DialectKind, Endpoint, HttpRoute, Overlap, Placement, Route, SessionPolicy, Share,
    Swap, Template, Upstream, UpstreamTls, client, close,
    endpoint::Schemes,
    keys::{self, Table},
    raw::{Found, Section},
    template::{Name, Place},
    token,
    value::{duration, http_token, label, one_of, parameter, path, readable, size, span_of_time, string},
};

/// All routes, the longest path first.
pub(super) fn routes(root: &Section<'_>) -> Vec<Arc<Route>> {
    let sections = root.tables("route", &keys::ROUTE);
    if !root.has("route") {
        root.problems.add(&(0..0), "route", "missing; add a [[route]] with an upstream and a dialect");
    }
    let mut parsed: Vec<Parsed> =
        sections.iter().enumerate().filter_map(|(nth, section)| route(section, nth + 1)).collect();
    name_the_nameless(&mut parsed);
    let twice = |what: &str, of: fn(&Parsed) -> &str| {
        for (nth, one) in parsed.iter().enumerate() {
            if parsed[..nth].iter().any(|other| of(other) == of(one)) {
                let section = &sections[one.number - 1];
                let message =
                    format!("another route has the {what} \"{}\" already; give each its own", of(one));
                section.problem_at(&section.span_of(what), what, message);
            }
        }
    };
    twice("name", |parsed| &parsed.route.name);
    twice("path", |parsed| &parsed.route.path);
    let mut routes: Vec<_> = parsed.into_iter().map(|parsed| Arc::new(parsed.route)).collect();
    // A stable sort: routes of the same length stay in the order of the file.
    routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
    routes
}

struct Parsed {
    route: Route,
    /// Its place in the file, from 1.
    number: usize,
}

/// A route without a name is called as its dialect, or else by its number.
fn name_the_nameless(routes: &mut [Parsed]) {
    let mut taken: Vec<String> = routes.iter().map(|parsed| parsed.route.name.clone()).collect();
    for Parsed { route, number } in routes.iter_mut().filter(|parsed| parsed.route.name.is_empty()) {
        route.name = match route.dialect {
            DialectKind::Ably if !taken.iter().any(|name| name == "ably") => "ably".to_owned(),
            DialectKind::Ably | DialectKind::Handshake | DialectKind::None => format!("route{number}"),
        };
        taken.push(route.name.clone());
    }
}

/// Every table is read before anything is given up, so that each has its problems named.
fn route(section: &Section<'_>, number: usize) -> Option<Parsed> {
    let name = section.value("name", label);
    let path = section.value("path", path);
    let endpoint = section.required("upstream", "upstream = \"wss://…\"", |v| url(v, Schemes::WebSocket));
    let hint = "dialect = \"ably\" or \"handshake\", or \"none\" for a plain proxy";
    let dialect = section.required("dialect", hint, dialect);
    let (client, client_table) = client::client(section);
    let token = token::token(section, client.token.is_some());
    let tls = endpoint.as_ref().map(|endpoint| leg(section, &keys::ROUTE_TLS, &endpoint.value));
    let handshake = section.table("handshake", &keys::HANDSHAKE);
    let placement = handshake.as_ref().map(|table| placement(table, client.token.is_some()));
    let swaps = dialect.as_ref().is_none_or(|dialect| dialect.value == DialectKind::Handshake);
    let each = matches!(&token, Some(Some(token)) if matches!(token.share, Share::Client { .. }));
    let keepalive = keepalive(dialect.as_ref().map(|dialect| dialect.value));
    let session = session(section, swaps, each, keepalive);
    let closes = closes(section, swaps);
    let http = http(section, client.token.is_some());
    if let Some(dialect) = &dialect {
        fits(section, dialect, handshake.as_ref(), &client);
        let token = token.as_ref().and_then(Option::as_ref);
        client::fits(section, client_table.as_ref(), &client, token, dialect.value);
        only_what_swaps(dialect.value, handshake.as_ref());
    }
    Some(Parsed {
        number,
        route: Route {
            name: name.unwrap_or_default(),
            path: path.unwrap_or_else(|| "/".to_owned()),
            upstream: Upstream { endpoint: endpoint?.value, tls: tls? },
            dialect: dialect?.value,
            token: token?,
            client,
            handshake: placement.unwrap_or_default(),
            session,
            closes,
            http: http?,
        },
    })
}

fn dialect(value: &DeValue<'_>) -> Result<DialectKind, String> {
    Ok(match one_of(value, &["ably", "handshake", "none"], &[])? {
        "ably" => DialectKind::Ably,
        "handshake" => DialectKind::Handshake,
        _ => DialectKind::None,
    })
}

/// Does what the route has go together with its dialect?
fn fits(
    section: &Section<'_>,
    dialect: &Found<DialectKind>,
    handshake: Option<&Section<'_>>,
    client: &ClientGate,
) {
    let problem = |message: &str| section.problem_at(&dialect.span, "dialect", message);
    // An empty table says nothing, which is a problem of its own.
    let only_greeting =
        |table: &Section<'_>| table.has("greeting") && !PLACES.iter().any(|key| table.has(key));
    let placed = handshake.is_some_and(|table| !only_greeting(table));
    if section.has("token") && dialect.value != DialectKind::Ably && !placed && client.token.is_none() {
        problem(
            "it is not said where the token goes; add [route.handshake] with query = \"token\" or \
             header = \"Authorization: Bearer {token}\", or token in [route.client] where clients show their own",
        );
    }
    match (dialect.value, section.has("token"), handshake) {
        (DialectKind::Handshake, false, _) => problem(
            "\"handshake\" needs a token; add [route.token] with source = \"http\" and url = \"https://…\", \
             or write \"none\" for a plain proxy",
        ),
        (DialectKind::Ably, false, _) => problem(
            "\"ably\" needs a token; add [route.token] with source = \"ably-key\" and \
             key = { env = \"ABLY_KEY\" }, or with source = \"http\" and url = \"https://…\"",
        ),
        (_, true, Some(handshake)) if dialect.value == DialectKind::Ably => {
            handshake.problem("\"ably\" puts the token where the service takes it; remove this table")
        }
        (DialectKind::None, false, Some(handshake)) => {
            handshake.problem("there is no token to place; add [route.token], or remove this table");
        }
        (DialectKind::Ably | DialectKind::Handshake | DialectKind::None, true, _)
        | (DialectKind::None, false, None) => {}
    }
}

/// The places of `[route.handshake]`.
const PLACES: [&str; 4] = ["query", "header", "subprotocol", "cookie"];

/// A connection that replaces another is made by "handshake" alone.
fn only_what_swaps(dialect: DialectKind, handshake: Option<&Section<'_>>) {
    if dialect == DialectKind::Handshake {
        return;
    }
    if let Some(table) = handshake.filter(|table| table.has("greeting")) {
        table.problem_at(&table.span_of("greeting"), "greeting", ONLY_HANDSHAKE);
    }
}

const ONLY_HANDSHAKE: &str = "has no effect: only dialect = \"handshake\" replaces connections; remove it";

/// A URL without names in it.
pub(super) fn url(value: &DeValue<'_>, schemes: Schemes) -> Result<Endpoint, String> {
    let text = string(value)?;
    if Template::parse(&text).names().next().is_some() {
        return Err("a name has no value in this URL; write it out".to_owned());
    }
    Endpoint::parse(&text, schemes)
}

/// The table `tls` of an outgoing leg.
pub(super) fn leg(section: &Section<'_>, keys: &'static Table, endpoint: &Endpoint) -> UpstreamTls {
    let Some(table) = section.table("tls", keys) else { return UpstreamTls::default() };
    if !endpoint.tls {
        table.problem("has no effect: the URL is not wss:// or https://; change it, or remove this table");
    }
    leg_files(&table)
}

/// What such a table says.
pub(super) fn leg_files(table: &Section<'_>) -> UpstreamTls {
    let certificate = table.value("certificate", readable);
    let key = table.value("key", readable);
    for (one, other) in [("certificate", "key"), ("key", "certificate")] {
        if table.has(one) && !table.has(other) {
            let message = format!("needs {other} beside it; add {other} = \"PATH\"");
            table.problem_at(&table.span_of(one), one, message);
        }
    }
    UpstreamTls {
        ca: table.value("ca", readable),
        identity: certificate.zip(key),
        server_name: table.value("server_name", |value| {
            let text = string(value)?;
            match url::Host::parse(&text) {
                Ok(_) if !text.starts_with('[') => Ok(text),
                Ok(_) | Err(_) => Err("expected the name of a host, such as \"example.com\"".to_owned()),
            }
        }),
    }
}

fn placement(table: &Section<'_>, client_token: bool) -> Placement {
    if table.written().next().is_none() {
        table.problem("says nothing; add query, header, subprotocol or cookie");
    }
    Placement {
        query: table.value("query", parameter),
        header: table.value("header", |value| header_line(value, client_token)),
        subprotocol: table.value("subprotocol", |value| {
            let template = Template::parse(&string(value)?);
            names_the_token(&template, client_token)?;
            let names_ok = template
                .expand(Place::Text, &|_| Some(""))
                .is_ok_and(|text| text.bytes().all(super::template::is_token_byte));
            if names_ok { Ok(template) } else { Err("a subprotocol has no spaces or separators".to_owned()) }
        }),
        cookie: table.value("cookie", http_token),
        greeting: table.value("greeting", greeting),
    }
}

/// Members of a JSON object.
fn greeting(value: &DeValue<'_>) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    let what = "expected members of a JSON object, such as { type = \"reconnected\" }";
    match value.as_table().map(token::json_object).transpose()? {
        Some(serde_json::Value::Object(members)) if !members.is_empty() => Ok(members),
        _ => Err(what.to_owned()),
    }
}

/// `"Name: value with {token}"`.
fn header_line(value: &DeValue<'_>, client_token: bool) -> Result<(HeaderName, Template), String> {
    let text = string(value)?;
    let (name, value) =
        text.split_once(':').ok_or("expected a header such as \"Authorization: Bearer {token}\"")?;
    let template = Template::parse(value.trim());
    names_the_token(&template, client_token)?;
    header_value(&template)?;
    Ok((header_name(name.trim_end())?, template))
}

/// `[route.http]`: outer `None` where it is there and wrong, inner where it is not there.
fn http(section: &Section<'_>, client_token: bool) -> Option<Option<HttpRoute>> {
    let Some(table) = section.table("http", &keys::HTTP) else { return Some(None) };
    let endpoint = table.required("upstream", "upstream = \"https://…\"", |v| url(v, Schemes::HttpService));
    let tls = endpoint.as_ref().map(|endpoint| leg(&table, &keys::HTTP_TLS, &endpoint.value));
    let timeout = table.value("timeout", span_of_time).unwrap_or(Duration::from_secs(30));
    let header = table.value("header", |value| header_line(value, client_token));
    if table.has("header") && !section.has("token") {
        let message = "there is no token to place; add [route.token], or remove this key";
        table.problem_at(&table.span_of("header"), "header", message);
    }
    let bearer = || (http::header::AUTHORIZATION, Template::parse("Bearer {token}"));
    let header = section.has("token").then(|| header.unwrap_or_else(bearer));
    Some(Some(HttpRoute {
        upstream: Upstream { endpoint: endpoint?.value, tls: tls? },
        timeout,
        placement: Placement { header, ..Placement::default() },
    }))
}

fn names_the_token(template: &Template, client_token: bool) -> Result<(), String> {
    client::Names { request: true, client_token }.allow(template)?;
    if template.names().any(|name| *name == Name::Token) {
        return Ok(());
    }
    Err("must say where the token goes: write {token}".to_owned())
}

/// The name of a header that is not of the connection itself.
pub(super) fn header_name(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| "expected the name of a header")?;
    let own = ["host", "connection", "upgrade", "content-length", "transfer-encoding", "te", "trailer"];
    if own.contains(&name.as_str()) || name.as_str().starts_with("sec-websocket-") {
        return Err(format!("the header {name} belongs to the connection and is set by Perennial"));
    }
    Ok(name)
}

/// What stands in a header beside its names must be fit for one.
pub(super) fn header_value(template: &Template) -> Result<(), String> {
    let text = template.expand(Place::Text, &|_| Some("")).map_err(|error| error.to_string())?;
    if http::HeaderValue::from_str(&text).is_ok() {
        return Ok(());
    }
    Err("a header cannot hold line breaks or control characters".to_owned())
}

/// Silence after which a leg is pinged. Ably's service keeps a lost client's presence for 15 s: the loss has to
/// be found, and the connection resumed, within that.
fn keepalive(dialect: Option<DialectKind>) -> Duration {
    match dialect {
        Some(DialectKind::Ably) => Duration::from_secs(5),
        Some(DialectKind::Handshake | DialectKind::None) | None => Duration::from_secs(10),
    }
}

/// `[[route.close]]`, in the order of the file.
fn closes(section: &Section<'_>, swaps: bool) -> Vec<CloseRule> {
    let tables = section.tables("close", &keys::CLOSE);
    for table in tables.iter().filter(|_| !swaps) {
        table.problem(ONLY_HANDSHAKE);
    }
    tables.iter().filter_map(close::rule).collect()
}

fn session(section: &Section<'_>, swaps: bool, each: bool, keepalive: Duration) -> SessionPolicy {
    let table = section.table("session", &keys::SESSION);
    let table = table.as_ref();
    let ten = Duration::from_secs(10);
    let time = |key| table.and_then(|t| t.value(key, span_of_time));
    if let (Some(table), false) = (table, swaps) {
        for key in ["park", "overlap", "swap"].into_iter().filter(|key| table.has(key)) {
            table.problem_at(&table.span_of(key), key, ONLY_HANDSHAKE);
        }
    }
    if let Some(table) = table.filter(|table| swaps && !each && table.has("park")) {
        let message = "needs share = \"client\" in [route.token]: nothing else tells whose the upstream is";
        table.problem_at(&table.span_of("park"), "park", message);
    }
    let word =
        |key, words: &'static [&'static str]| table.and_then(|t| t.value(key, |v| one_of(v, words, &[])));
    SessionPolicy {
        queue: table.and_then(|t| t.value("queue", size)).unwrap_or(1 << 20),
        hold: time("hold").unwrap_or(ten),
        reconnect: table.and_then(|t| t.value("reconnect", duration)).unwrap_or(ten * 6),
        keepalive: table.and_then(|t| t.value("keepalive", duration)).unwrap_or(keepalive),
        park: table.and_then(|t| t.value("park", duration)).unwrap_or_default(),
        overlap: match word("overlap", &["keep", "discard"]) {
            Some("discard") => Overlap::Discard,
            _ => Overlap::Keep,
        },
        swap: match word("swap", &["make", "break", "never"]) {
            Some("break") => Swap::Break,
            Some("never") => Swap::Never,
            _ => Swap::Make,
        },
    }
}
