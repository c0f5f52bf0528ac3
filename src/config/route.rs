//! `[[route]]` and its tables, except for the token's.

use std::{sync::Arc, time::Duration};

use http::HeaderName;
use toml::de::DeValue;

use super::{
    ClientGate, DialectKind, Endpoint, HttpRoute, Placement, Route, SessionPolicy, Template, Upstream,
    UpstreamTls,
    endpoint::Schemes,
    keys::{self, Keys},
    raw::{Found, Section},
    template::{Name, Place},
    token,
    value::{
        duration, http_token, label, one_of, origins, parameter, path, readable, secret, size, span_of_time,
        string,
    },
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
            DialectKind::Ably | DialectKind::None => format!("route{number}"),
        };
        taken.push(route.name.clone());
    }
}

/// Every table is read before anything is given up, so that each has its problems named.
fn route(section: &Section<'_>, number: usize) -> Option<Parsed> {
    let name = section.value("name", label);
    let path = section.value("path", path);
    let endpoint = section.required("upstream", "upstream = \"wss://…\"", |v| url(v, Schemes::WebSocket));
    let dialect = section.required("dialect", "dialect = \"ably\", or \"none\" for a plain proxy", dialect);
    let token = token::token(section);
    let tls = endpoint.as_ref().map(|endpoint| leg(section, &keys::ROUTE_TLS, &endpoint.value));
    let client = client(section);
    let handshake = section.table("handshake", &keys::HANDSHAKE);
    let placement = handshake.as_ref().map(placement);
    let session = session(section);
    let http = http(section);
    if let Some(dialect) = &dialect {
        fits(section, dialect, handshake.as_ref());
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
            http: http?,
        },
    })
}

fn dialect(value: &DeValue<'_>) -> Result<DialectKind, String> {
    Ok(match one_of(value, &["ably", "none"], &["handshake"])? {
        "ably" => DialectKind::Ably,
        _ => DialectKind::None,
    })
}

/// Does what the route has go together with its dialect?
fn fits(section: &Section<'_>, dialect: &Found<DialectKind>, handshake: Option<&Section<'_>>) {
    let problem = |message: &str| section.problem_at(&dialect.span, "dialect", message);
    match (dialect.value, section.has("token"), handshake) {
        (DialectKind::Ably, false, _) => problem(
            "\"ably\" needs a token; add [route.token] with source = \"ably-key\" and \
             key = { env = \"ABLY_KEY\" }, or with source = \"http\" and url = \"https://…\"",
        ),
        (DialectKind::None, true, None) => problem(
            "\"none\" does not know where the token goes; add [route.handshake] with query = \"token\" or \
             header = \"Authorization: Bearer {token}\"",
        ),
        (_, true, Some(handshake)) if dialect.value == DialectKind::Ably => {
            handshake.problem("\"ably\" puts the token where the service takes it; remove this table")
        }
        (DialectKind::None, false, Some(handshake)) => {
            handshake.problem("there is no token to place; add [route.token], or remove this table");
        }
        (DialectKind::Ably, true, _)
        | (DialectKind::None, true, Some(_))
        | (DialectKind::None, false, None) => {}
    }
}

/// A URL without names in it.
pub(super) fn url(value: &DeValue<'_>, schemes: Schemes) -> Result<Endpoint, String> {
    let text = string(value)?;
    if Template::parse(&text).names().next().is_some() {
        return Err("a name in a URL is not available in this version; write the URL out".to_owned());
    }
    Endpoint::parse(&text, schemes)
}

/// The table `tls` of an outgoing leg.
pub(super) fn leg(section: &Section<'_>, keys: &'static Keys, endpoint: &Endpoint) -> UpstreamTls {
    let Some(table) = section.table("tls", keys) else { return UpstreamTls::default() };
    if !endpoint.tls {
        table.problem("has no effect: the URL is not wss:// or https://; change it, or remove this table");
    }
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

fn client(section: &Section<'_>) -> ClientGate {
    let Some(table) = section.table("client", &keys::CLIENT) else { return ClientGate::default() };
    ClientGate {
        origins: table.value("origins", origins).unwrap_or_default(),
        secret: table.value("secret", secret),
    }
}

fn placement(table: &Section<'_>) -> Placement {
    if table.written().next().is_none() {
        table.problem("says nothing; add query, header, subprotocol or cookie");
    }
    Placement {
        query: table.value("query", parameter),
        header: table.value("header", header_line),
        subprotocol: table.value("subprotocol", |value| {
            let template = Template::parse(&string(value)?);
            names_the_token(&template)?;
            let names_ok = template
                .expand(Place::Text, &|_| Some(""))
                .is_ok_and(|text| text.bytes().all(super::template::is_token_byte));
            if names_ok { Ok(template) } else { Err("a subprotocol has no spaces or separators".to_owned()) }
        }),
        cookie: table.value("cookie", http_token),
    }
}

/// `"Name: value with {token}"`.
fn header_line(value: &DeValue<'_>) -> Result<(HeaderName, Template), String> {
    let text = string(value)?;
    let (name, value) =
        text.split_once(':').ok_or("expected a header such as \"Authorization: Bearer {token}\"")?;
    let template = Template::parse(value.trim());
    names_the_token(&template)?;
    header_value(&template)?;
    Ok((header_name(name.trim_end())?, template))
}

/// `[route.http]`: outer `None` where it is there and wrong, inner where it is not there.
fn http(section: &Section<'_>) -> Option<Option<HttpRoute>> {
    let Some(table) = section.table("http", &keys::HTTP) else { return Some(None) };
    let endpoint = table.required("upstream", "upstream = \"https://…\"", |v| url(v, Schemes::HttpService));
    let tls = endpoint.as_ref().map(|endpoint| leg(&table, &keys::HTTP_TLS, &endpoint.value));
    let timeout = table.value("timeout", span_of_time).unwrap_or(Duration::from_secs(30));
    let header = table.value("header", header_line);
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

fn names_the_token(template: &Template) -> Result<(), String> {
    if template.names().any(|name| *name == Name::ClientToken) {
        return Err("{client.token} is not available in this version".to_owned());
    }
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

fn session(section: &Section<'_>) -> SessionPolicy {
    let table = section.table("session", &keys::SESSION);
    let table = table.as_ref();
    let ten = Duration::from_secs(10);
    let time = |key| table.and_then(|t| t.value(key, span_of_time));
    SessionPolicy {
        queue: table.and_then(|t| t.value("queue", size)).unwrap_or(1 << 20),
        hold: time("hold").unwrap_or(ten),
        reconnect: table.and_then(|t| t.value("reconnect", duration)).unwrap_or(ten * 6),
        keepalive: time("keepalive").unwrap_or(ten),
    }
}
