//! `[[route]]` and its tables: one service, and how its clients come to it.
//!
//! `client`, `close` and `token` have tables of their own; what goes together, and what does not, is said here.

use std::{sync::Arc, time::Duration};

use http::header::AUTHORIZATION;

use super::{
    Endpoint, HttpRoute, Route, Template, TokenConfig, Upstream, UpstreamTls,
    client::{self, ClientGate},
    close::CloseRule,
    declare::{Declared, Kind, table, value, words},
    dialect::{self, Dialects, Rules},
    endpoint::{RestUrl, ServiceUrl},
    json::{Body, Members},
    root::NO_ROUTE,
    section::Section,
    template::{Name, Names},
    text::{ClientHeaders, HeaderLine, Offer, PathTemplate, UrlPlace},
    token::{self, Source, TokenTable, Use, Whose},
    value::{
        Cookie, File, Flag, Host, Label, Parameter, Path, Prefix, Several, Size, Span, Time, Token, string,
    },
};

table! {
    /// One service, and how its clients come to it. There may be several.
    pub(super) struct RouteTable {
        /// Label of metrics and logs: letters, digits, `_` and `-`.
        name: maybe Label, otherwise("`ably` for the first Ably route, else `route1`, `route2`, …");
        /// Prefix of the paths that this route serves. It is kept on the way to the service. The longest wins.
        path: or Prefix = "\"/\"";
        /// The service: its URL, or several, which are tried in their order, as an SDK tries its fallback hosts.
        upstream: required Several<ServiceUrl> = "upstream = \"wss://…\"";
        /// A Unix socket to dial instead of the host of `upstream`, which is still what the service is asked for.
        socket: maybe Path;
        /// How the service speaks of tokens: `ably`, `handshake`, a preset (docs/dialects), or a `[dialect.NAME]` of this
        /// file. `none`: a plain proxy.
        dialect: required DialectName = "dialect = \"ably\" or \"handshake\", or \"none\" for a plain proxy";
        /// TLS to the service.
        tls: perhaps Tls;
        /// Where tokens come from.
        token: perhaps TokenTable;
        /// Who may connect.
        client: within ClientGate;
        /// Where the token goes.
        handshake: perhaps Placement;
        /// How a session lives.
        session: within SessionPolicy;
        /// What a Close of the service's means.
        close: each CloseRule;
        /// Requests that are no WebSocket.
        http: perhaps HttpTable;
        /// Headers that the service gets besides, each rendered once: `{ X-Client = "{client.address}" }`. They may name
        /// `{client.address}`, `{client.host}`, `{client.scheme}`, `{query.NAME}` and `{header.NAME}`; one whose name has no
        /// value is left out.
        headers: maybe ClientHeaders;
        /// The `Host` that the service sees. With `upstream`, an `Origin` that was the same origin here is rewritten to
        /// the service's.
        host: or HostSeen = "\"upstream\"";
        /// How the service is told who the client is.
        forwarded: or ForwardedBy = "\"off\"";
    }
}

words! {
    /// Which `Host` a service sees.
    pub enum HostSeen {
        /// Its own.
        Upstream = "upstream",
        /// The one that the client asked for.
        Client = "client",
    }
}

words! {
    /// How a service is told who the client is. What a client itself writes is removed, unless it is one of
    /// `trusted_proxies`.
    pub enum ForwardedBy {
        /// Not at all; what a trusted proxy wrote goes on as it is.
        Off = "off",
        /// By `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
        XForwarded = "x-forwarded",
        /// By `Forwarded` (RFC 7239).
        Forwarded = "forwarded",
    }
}

table! {
    /// TLS to the other side. Files are read again when they change.
    pub(super) struct Tls {
        /// PEM file: the authorities that are trusted.
        ca: maybe File, otherwise("the system's");
        /// PEM file: the certificate that Perennial shows.
        certificate: maybe File, beside("key");
        /// PEM file: the private key of the certificate.
        key: maybe File, beside("certificate");
        /// The name that the other side's certificate must have.
        server_name: maybe Host, otherwise("the host of the URL");
    }
}

table! {
    /// Where the token goes. Without it, it goes where the client's own was.
    #[derive(Default)]
    pub struct Placement {
        /// The parameter of the query.
        query: maybe Parameter;
        /// The header: `Authorization: Bearer {token}`.
        header: maybe HeaderLine;
        /// The subprotocol that is offered: `auth.{token}`, `base64url.bearer.example.{token|base64url}`.
        subprotocol: maybe Offer;
        /// The subprotocol behind which the token is offered as one of its own: `access_token`.
        after: maybe Token;
        /// The path that the service is asked for: `/v1/{token}/stream`.
        path: maybe PathTemplate;
        /// The token is the URL, which the source gives with each token: `{token}`. Its scheme is that of `upstream`, and
        /// the query of the client's request is added to it.
        url: maybe UrlPlace;
        /// The cookie.
        cookie: maybe Cookie;
        /// A JSON object with the token in it, for `{json}` in the places above:
        /// `{ host = "api.example", Authorization = "{token}" }` and `subprotocol = "header-{json|base64url}"`.
        json: maybe Body;
        /// Members of the message with which the service begins a connection that replaces another: it does not reach
        /// the client.
        greeting: maybe Members;
    }
}

table! {
    /// How a session lives.
    #[derive(Copy)]
    pub struct SessionPolicy {
        /// Bytes that are held for one session in each direction.
        queue: or Size = "\"1MiB\"";
        /// How long an exchange may take.
        hold: or Time = "\"10s\"";
        /// How long an outage is hidden. It is over once a connection has served for 2 s.
        reconnect: or Span = "\"60s\"";
        /// Silence of a connection after which it is pinged. A service that does not answer within half of it counts
        /// as lost; after an upload it gets the time to read. "0s": never.
        keepalive: or Span = "\"10s\"", otherwise("`\"5s\"` with `ably`");
        /// With `share = "client"`: how long an upstream is kept for a client that went away.
        park: or Span = "\"0s\"";
        /// What becomes of messages that a new connection sends before the old one has ended.
        overlap: or Overlap = "\"keep\"", otherwise("`\"once\"` with a declared dialect");
        /// Which comes first if a connection is replaced for a new token.
        swap: or Swap = "\"make\"", otherwise("what a declared dialect says");
        /// With `handshake`: the service remembers nothing that is said on a connection, so that a new one is as good.
        stateless: or Flag = "false";
    }
}

/// How a service speaks of tokens.
#[derive(Debug, Clone, PartialEq)]
pub enum DialectKind {
    /// Ably's realtime protocol, version 2 and later.
    Ably,
    /// A service that is told of a token at the handshake and nowhere else: a new token is a new connection.
    Handshake,
    /// No dialect: a plain WebSocket reverse proxy.
    None,
    /// What a `[dialect.NAME]` or a preset says.
    Declared(Arc<Rules>),
}

impl DialectKind {
    /// As the configuration writes it.
    pub fn word(&self) -> &str {
        match self {
            Self::Ably => "ably",
            Self::Handshake => "handshake",
            Self::None => "none",
            Self::Declared(rules) => &rules.name,
        }
    }

    /// What its messages take from outside, by their names.
    pub fn sources(&self) -> &[(String, TokenConfig)] {
        match self {
            Self::Declared(rules) => &rules.sources,
            Self::Ably | Self::Handshake | Self::None => &[],
        }
    }

    fn of(section: &Section<'_>, name: &str, dialects: &Dialects) -> Option<Self> {
        match name {
            "ably" => Some(Self::Ably),
            "handshake" => Some(Self::Handshake),
            "none" => Some(Self::None),
            name => dialects.find(section, name).map(Self::Declared),
        }
    }
}

value! {
    /// The name of a dialect.
    pub(super) DialectName: String, Kind::OpenWord(&dialect::IN_CODE), |value, _| string(value)
}

words! {
    /// What becomes of messages that a new connection sends before the old one has ended.
    pub enum Overlap {
        /// They follow those of the old one: nothing is lost, and what is sent to both is heard twice.
        Keep = "keep",
        /// They are not passed on, and counted as lost: what is sent to both is heard once.
        Discard = "discard",
        /// They follow those of the old one, but for those that the old one has said too, byte for byte.
        Once = "once",
    }
}

words! {
    /// How a new connection replaces a live one if its token is replaced.
    pub enum Swap {
        /// It is made before the old one is broken.
        Make = "make",
        /// The old one is broken before it is made: the service allows one only.
        Break = "break",
        /// Not at all: a new token is for new connections only, and the service's Close, whatever it means, goes to the
        /// client.
        Never = "never",
    }
}

table! {
    /// Requests that are no WebSocket. Without this table they get status 404.
    pub(super) struct HttpTable {
        /// The service.
        upstream: required RestUrl = "upstream = \"https://…\"";
        /// A Unix socket to dial instead of the host of `upstream`.
        socket: maybe Path;
        /// TLS to the service.
        tls: perhaps Tls;
        /// From the last of the request to the head of the answer. Bodies take as long as they move.
        timeout: or Time = "\"30s\"";
        /// Where the token goes.
        header: maybe HeaderLine, otherwise("`Authorization: Bearer {token}`");
    }
}

/// All routes, the longest path first.
pub(super) fn routes(root: &Section<'_>, dialects: &Dialects) -> Vec<Arc<Route>> {
    let sections: Vec<_> = root.tables("route").into_iter().map(named).collect();
    if !root.has("route") {
        root.missing("route", NO_ROUTE);
    }
    let mut parsed: Vec<Parsed> =
        sections.iter().enumerate().filter_map(|(nth, section)| route(section, nth + 1, dialects)).collect();
    name_the_nameless(&mut parsed);
    let twice = |what: &str, of: fn(&Parsed) -> &str| {
        for (nth, one) in parsed.iter().enumerate() {
            if parsed[..nth].iter().any(|other| of(other) == of(one)) {
                let message =
                    format!("another route has the {what} \"{}\" already; give each its own", of(one));
                sections[one.number - 1].refuse(what, message);
            }
        }
    };
    twice("name", |parsed| &parsed.route.name);
    twice("path", |parsed| &parsed.route.path);
    for one in &parsed {
        sections[one.number - 1].means("name", format!("\"{}\"", one.route.name));
    }
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
            DialectKind::Ably | DialectKind::Handshake | DialectKind::None | DialectKind::Declared(_) => {
                format!("route{number}")
            }
        };
        taken.push(route.name.clone());
    }
}

/// The route's table, with what its templates may name: that depends on whose its tokens are.
fn named(section: Section<'_>) -> Section<'_> {
    let token = section.at("token");
    let each =
        token.maybe::<Whose>("share") == Some(Whose::Client) || token.maybe::<Use>("use") == Some(Use::Once);
    let own = section.at("client").table("token").is_some();
    let is_http = token.maybe::<Source>("source") == Some(Source::Http);
    let (refreshes, signs) = (is_http && token.has("refresh_token"), is_http && token.has("jwt"));
    section.naming(Names { each, own, refreshes, signs, ..Names::default() })
}

fn route(section: &Section<'_>, number: usize, dialects: &Dialects) -> Option<Parsed> {
    section.look();
    let table = RouteTable::read(section)?;
    let kind = DialectKind::of(section, &table.dialect, dialects);
    let token = token::token(section, table.token);
    let http = http(section, table.http);
    let kind = kind?;
    let session = session(section, table.session, &kind);
    fits(section, &kind);
    client::fits(section, &kind);
    only_what_swaps(section, &kind);
    let mut upstreams = table.upstream.into_iter();
    let endpoint = upstreams.next()?;
    let fallbacks: Vec<Endpoint> = upstreams.collect();
    alike(section, &endpoint, &fallbacks, table.socket.is_some());
    let tls = UpstreamTls::of_leg(section, table.tls, &endpoint);
    Some(Parsed {
        number,
        route: Route {
            name: table.name.unwrap_or_default(),
            path: table.path,
            upstream: Upstream { endpoint, fallbacks, socket: table.socket, tls },
            handshake: placement(section, table.handshake, &kind),
            dialect: kind,
            token: token?,
            client: client::remembered(section, table.client),
            session,
            closes: table.close,
            http,
            headers: table.headers.unwrap_or_default(),
            host: table.host,
            forwarded: table.forwarded,
        },
    })
}

/// How a session lives: what is not written is as the dialect has it.
fn session(route: &Section<'_>, mut policy: SessionPolicy, dialect: &DialectKind) -> SessionPolicy {
    let section = route.at("session");
    match dialect {
        DialectKind::Ably if !section.has("keepalive") => {
            policy.keepalive = ABLY_KEEPALIVE;
            section.means("keepalive", "\"5s\"");
        }
        DialectKind::Declared(rules) => {
            if !section.has("swap") {
                policy.swap = rules.swap.order;
                section.means("swap", format!("\"{}\"", policy.swap.word()));
            }
            if !section.has("overlap") {
                policy.overlap = Overlap::Once;
                section.means("overlap", "\"once\"");
            }
        }
        DialectKind::Ably | DialectKind::Handshake | DialectKind::None => {}
    }
    policy
}

/// Where the token goes: what the route says, or else the dialect.
fn placement(route: &Section<'_>, own: Option<Placement>, dialect: &DialectKind) -> Placement {
    match (own, dialect) {
        (None, DialectKind::Declared(rules)) => rules.token.clone().unwrap_or_default(),
        (own, _) => own.unwrap_or_default().with_json(&route.at("handshake")),
    }
}

/// Are they addresses of one service?
fn alike(section: &Section<'_>, first: &Endpoint, others: &[Endpoint], socket: bool) {
    let kind = |endpoint: &Endpoint| (endpoint.tls, endpoint.path_and_query.clone());
    if others.iter().any(|other| kind(other) != kind(first)) {
        section.refuse("upstream", "are not addresses of one service: give all the same scheme and path");
    }
    if socket && !others.is_empty() {
        section.refuse("socket", "is one address of the service: write one upstream beside it");
    }
}

/// Silence after which a leg is pinged. Ably's service keeps a lost client's presence for 15 s: the loss has to
/// be found, and the connection resumed, within that.
const ABLY_KEEPALIVE: Duration = Duration::from_secs(5);

/// Does what the route has go together with its dialect?
fn fits(section: &Section<'_>, dialect: &DialectKind) {
    let problem = |message: &str| section.refuse("dialect", message);
    let handshake = section.at("handshake");
    if section.has("handshake") && handshake.written().next().is_none() {
        handshake.problem("says nothing; add query, header, subprotocol or cookie");
    }
    // An empty table says nothing, which is a problem of its own.
    let only_greeting = handshake.has("greeting") && handshake.written().count() == 1;
    let placed = section.has("handshake") && !only_greeting;
    let told = match dialect {
        DialectKind::Ably => true,
        DialectKind::Declared(rules) => rules.places_the_token(),
        DialectKind::Handshake | DialectKind::None => false,
    };
    if section.has("token") && !told && !placed && !section.names.own {
        problem(
            "it is not said where the token goes; add [route.handshake] with query = \"token\" or \
             header = \"Authorization: Bearer {token}\", or token in [route.client] where clients show their own",
        );
    }
    match (dialect, section.has("token"), section.has("handshake")) {
        (DialectKind::Handshake, false, _) => problem(
            "\"handshake\" needs a token; add [route.token] with source = \"http\" and url = \"https://…\", \
             or write \"none\" for a plain proxy",
        ),
        (DialectKind::Ably, false, _) => problem(
            "\"ably\" needs a token; add [route.token] with source = \"ably-key\" and \
             key = { env = \"ABLY_KEY\" }, or with source = \"http\" and url = \"https://…\"",
        ),
        (DialectKind::Ably, true, _) if section.at("token").maybe::<Use>("use") == Some(Use::Once) => {
            let many = Use::Many.word();
            let message = format!("an Ably connection is re-authenticated with new tokens; write \"{many}\"");
            section.at("token").refuse("use", message);
        }
        (DialectKind::Ably, true, true) => {
            handshake.problem("\"ably\" puts the token where the service takes it; remove this table");
        }
        (DialectKind::None, false, true) => {
            handshake.problem("there is no token to place; add [route.token], or remove this table");
        }
        (DialectKind::Declared(rules), false, _) if rules.takes_the_token() => problem(&format!(
            "\"{}\" needs a token; add [route.token] with source = \"http\" and url = \"https://…\"",
            rules.name
        )),
        (_, true, _) | (DialectKind::None | DialectKind::Declared(_), false, false) => {}
        (DialectKind::Declared(_), false, true) => {
            handshake.problem("there is no token to place; add [route.token], or remove this table");
        }
    }
}

/// Neither Ably's dialect nor a plain proxy replaces a connection for a new token.
fn only_what_swaps(section: &Section<'_>, dialect: &DialectKind) {
    let session = section.at("session");
    if *dialect != DialectKind::Handshake {
        let message = "has no effect: only with dialect = \"handshake\"; remove it";
        section.at("handshake").useless("greeting", message);
        session.useless("stateless", message);
    }
    if matches!(dialect, DialectKind::Handshake | DialectKind::Declared(_)) {
        if !section.names.each {
            let message =
                "needs share = \"client\" in [route.token]: nothing else tells whose the upstream is";
            session.useless("park", message);
        }
        return;
    }
    let message = "has no effect: this dialect replaces no connection for a new token; remove it";
    ["park", "overlap", "swap"].into_iter().for_each(|key| session.useless(key, message));
    section.tables("close").iter().for_each(|table| table.problem(message));
}

fn http(section: &Section<'_>, table: Option<HttpTable>) -> Option<HttpRoute> {
    let at = section.at("http");
    let token = section.has("token");
    if at.has("header") && !token {
        at.refuse("header", "there is no token to place; add [route.token], or remove this key");
    }
    let HttpTable { upstream: endpoint, socket, tls, timeout, header } = table?;
    let bearer = || {
        at.means("header", "\"Authorization: Bearer {token}\"");
        (AUTHORIZATION, Template::parse("Bearer {token}"))
    };
    let header = token.then(|| header.unwrap_or_else(bearer));
    let tls = UpstreamTls::of_leg(&at, tls, &endpoint);
    let placement = Placement { header, ..Placement::default() };
    let upstream = Upstream { endpoint, fallbacks: Vec::new(), socket, tls };
    Some(HttpRoute { upstream, timeout, placement })
}

impl UpstreamTls {
    /// Of a leg whose table `tls` is in `section`.
    pub(super) fn of_leg(section: &Section<'_>, files: Option<Tls>, endpoint: &Endpoint) -> Self {
        if !endpoint.tls && section.has("tls") {
            let message = "has no effect: the URL is not wss:// or https://; change it, or remove this table";
            section.at("tls").problem(message);
        }
        Self::of(files)
    }

    pub(super) fn of(files: Option<Tls>) -> Self {
        let identity = |files: &Tls| files.certificate.clone().zip(files.key.clone());
        files.map_or_else(Self::default, |files| Self {
            identity: identity(&files),
            ca: files.ca,
            server_name: files.server_name,
        })
    }
}

impl Placement {
    /// Puts the JSON where it is named.
    pub(super) fn with_json(mut self, at: &Section<'_>) -> Self {
        if self.url.is_some() && self.path.is_some() {
            at.refuse("path", "is part of the URL that the token is: keep one of path and url");
        }
        let header = self.header.as_mut().map(|(_, template)| template);
        let places = [header, self.subprotocol.as_mut(), self.path.as_mut()];
        let places = places.into_iter().flatten();
        if let Some(json) = &self.json {
            // All of them, not only the first.
            let named = places.filter_map(|template| template.with_json(json).then_some(())).count();
            if named == 0 {
                let message =
                    "has no effect: nothing names it; write {json|base64url} in subprotocol or header";
                at.refuse("json", message);
            }
            if !json.names().any(|name| *name == Name::Token) {
                at.refuse("json", "must say where the token goes: write {token}");
            }
        } else if places.flat_map(|template| template.names()).any(|name| *name == Name::Json) {
            at.missing("json", "json = { Authorization = \"{token}\" }, which {json} stands for");
        }
        self
    }

    /// Does it say where the token goes?
    pub fn places(&self) -> bool {
        let texts = [self.query.is_some(), self.after.is_some(), self.cookie.is_some(), self.url.is_some()];
        let templates = [self.header.is_some(), self.subprotocol.is_some(), self.path.is_some()];
        texts.contains(&true) || templates.contains(&true)
    }
}
