//! The configuration in effect, as TOML to be read by an operator: defaults filled in, secrets masked.

mod oauth2;

use std::{
    fmt::{Display, Write},
    path::Path,
    time::Duration,
};

use super::{
    AblyKeySource, CloseRule, Config, DialectKind, ExecSource, HttpBody, HttpRoute, HttpSource, Listen,
    Overlap, Route, SessionPolicy, Share, SourceConfig, StateConfig, TokenConfig, UpstreamTls,
    endpoint::Schemes, value::UNITS,
};

impl Config {
    /// The effective configuration as TOML, every secret masked.
    pub fn masked(&self) -> String {
        let mut out = Page(String::new());
        out.listen(&self.listen);
        out.table("[admin]");
        out.text("address", self.admin.address);
        out.raw("rehearsal", self.admin.rehearsal);
        out.table("[limits]");
        out.raw("sessions", self.limits.sessions);
        out.text("message", size(self.limits.message));
        out.text("handshake", duration(self.limits.handshake));
        out.text("drain", duration(self.limits.drain));
        out.text("history", size(self.limits.history));
        out.table("[state]");
        match &self.state {
            StateConfig::Memory => out.text("store", "memory"),
            StateConfig::Disk { path } => {
                out.text("store", "disk");
                out.path("path", path);
            }
            StateConfig::Redis(redis) => {
                out.text("store", "redis");
                out.raw("url", redis.url.masked());
                out.text("prefix", &redis.prefix);
                out.text("timeout", duration(redis.timeout));
                out.tls("[state.tls]", &redis.tls);
            }
        }
        for route in &self.routes {
            out.route(route);
        }
        out.0
    }
}

struct Page(String);

impl Page {
    fn table(&mut self, header: &str) {
        let blank = if self.0.is_empty() { "" } else { "\n" };
        self.0.push_str(&format!("{blank}{header}\n"));
    }

    /// A value that is TOML already.
    fn raw(&mut self, key: &str, value: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{key} = {value}");
    }

    /// A value that is quoted here.
    fn text(&mut self, key: &str, value: impl Display) {
        self.raw(key, quoted(&value.to_string()));
    }

    fn path(&mut self, key: &str, value: &Path) {
        self.text(key, value.display());
    }

    fn listen(&mut self, listen: &Listen) {
        self.table("[listen]");
        self.text("address", listen.address);
        if let Some(tls) = &listen.tls {
            self.path("certificate", &tls.certificate);
            self.path("key", &tls.key);
            if let Some(ca) = &tls.client_ca {
                self.path("client_ca", ca);
            }
        }
        self.raw("open", listen.open);
    }

    fn route(&mut self, route: &Route) {
        self.table("[[route]]");
        self.text("name", &route.name);
        self.text("path", &route.path);
        self.text("upstream", route.upstream.endpoint.shown(Schemes::WebSocket));
        self.text(
            "dialect",
            match route.dialect {
                DialectKind::None => "none",
                DialectKind::Handshake => "handshake",
                DialectKind::Ably => "ably",
            },
        );
        self.tls("[route.tls]", &route.upstream.tls);
        if let Some(token) = &route.token {
            self.token(token);
        }
        self.table("[route.client]");
        let origins: Vec<_> = route.client.origins.iter().map(|origin| quoted(origin)).collect();
        self.raw("origins", format_args!("[{}]", origins.join(", ")));
        if let Some(secret) = &route.client.secret {
            self.raw("secret", secret.masked());
        }
        self.client_token(route);
        self.handshake(route);
        self.session(&route.session, route);
        for rule in &route.closes {
            self.close(rule);
        }
        if let Some(http) = &route.http {
            self.plain_http(http);
        }
    }

    fn plain_http(&mut self, http: &HttpRoute) {
        self.table("[route.http]");
        self.text("upstream", http.upstream.endpoint.shown(Schemes::HttpService));
        self.text("timeout", duration(http.timeout));
        if let Some((name, value)) = &http.placement.header {
            self.text("header", format!("{name}: {}", value.shown(true)));
        }
        self.tls("[route.http.tls]", &http.upstream.tls);
    }

    fn session(&mut self, session: &SessionPolicy, route: &Route) {
        self.table("[route.session]");
        self.text("queue", size(session.queue));
        self.text("hold", duration(session.hold));
        self.text("reconnect", duration(session.reconnect));
        self.text("keepalive", duration(session.keepalive));
        if route.dialect == DialectKind::Handshake {
            // Elsewhere nothing tells whose the upstream is, and the key is refused.
            if matches!(&route.token, Some(TokenConfig { share: Share::Client { .. }, .. })) {
                self.text("park", duration(session.park));
            }
            self.text("overlap", if session.overlap == Overlap::Keep { "keep" } else { "discard" });
            self.text("swap", session.swap.word());
        }
    }

    fn close(&mut self, rule: &CloseRule) {
        self.table("[[route.close]]");
        self.raw("code", format_args!("{:?}", rule.codes));
        if let Some(reason) = &rule.reason {
            self.text("reason", reason);
        }
        self.text("means", rule.means.word());
        if let Some(code) = rule.as_code {
            self.raw("as", code);
        }
    }

    /// What is remembered of a client's own token, and where it is found.
    fn client_token(&mut self, route: &Route) {
        let Some(places) = &route.client.token else { return };
        if matches!(&route.token, Some(TokenConfig { share: Share::Client { .. }, .. })) {
            self.text("grace", duration(route.client.grace));
            self.text("revoke_for", duration(route.client.revoke_for));
        }
        self.table("[route.client.token]");
        let header = places.header.as_ref().map(|(name, before)| format!("{name}: {before}{{token}}"));
        let lines = [
            ("query", places.query.clone()),
            ("subprotocol", places.subprotocol.clone()),
            ("header", header),
            ("cookie", places.cookie.clone()),
        ];
        for (key, value) in lines.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            self.text(key, value);
        }
    }

    fn tls(&mut self, header: &str, tls: &UpstreamTls) {
        if *tls == UpstreamTls::default() {
            return;
        }
        self.table(header);
        if let Some(ca) = &tls.ca {
            self.path("ca", ca);
        }
        if let Some((certificate, key)) = &tls.identity {
            self.path("certificate", certificate);
            self.path("key", key);
        }
        if let Some(name) = &tls.server_name {
            self.text("server_name", name);
        }
    }

    fn token(&mut self, token: &TokenConfig) {
        self.table("[route.token]");
        let (source, write): (_, &dyn Fn(&mut Self)) = match &token.source {
            SourceConfig::Http(http) => ("http", &|page| page.http(http)),
            SourceConfig::OAuth2(source) => ("oauth2", &|page| page.oauth2(source)),
            SourceConfig::AblyKey(key) => ("ably-key", &|page| page.ably_key(key)),
            SourceConfig::Static { token } => ("static", &|page| page.raw("token", token.masked())),
            SourceConfig::File { path } => ("file", &|page| page.path("path", path)),
            SourceConfig::Exec(exec) => ("exec", &|page| page.exec(exec)),
        };
        self.text("source", source);
        if let Some(before) = token.refresh.refresh_before {
            self.text("refresh_before", duration(before));
        }
        self.text("check_every", duration(token.refresh.check_every));
        if let Some(lifetime) = token.refresh.lifetime {
            self.text("lifetime", duration(lifetime));
        }
        self.text("timeout", duration(token.refresh.timeout));
        match &token.share {
            Share::Route => self.text("share", "route"),
            Share::Client { identity } => {
                self.text("share", "client");
                let identity =
                    identity.as_ref().map_or_else(|| "{client.token}".to_owned(), |text| text.shown(false));
                self.text("identity", identity);
            }
        }
        // Last, since a source may end with a table of its own.
        write(self);
    }

    fn ably_key(&mut self, source: &AblyKeySource) {
        self.raw("key", source.key.masked());
        self.text("ttl", duration(source.ttl));
        self.text("capability", &source.capability);
        self.text("client_id", source.client_id.as_deref().unwrap_or_default());
    }

    fn exec(&mut self, source: &ExecSource) {
        let words = std::iter::once(&source.program).chain(&source.arguments);
        let words: Vec<_> = words.map(|word| quoted(word)).collect();
        self.raw("command", format_args!("[{}]", words.join(", ")));
        if !source.env.is_empty() {
            let entry = |(name, value): &(String, super::Secret)| format!("{name} = {}", value.masked());
            let entries: Vec<_> = source.env.iter().map(entry).collect();
            self.raw("env", format_args!("{{ {} }}", entries.join(", ")));
        }
        if let Some(directory) = &source.directory {
            self.path("directory", directory);
        }
    }

    fn http(&mut self, source: &HttpSource) {
        self.text("url", source.endpoint.shown(Schemes::Http));
        self.text("method", &source.method);
        if !source.headers.is_empty() {
            let headers = source.headers.iter().map(|(name, value)| (name.as_str(), value));
            self.raw("headers", templates(headers));
        }
        match &source.body {
            HttpBody::None => {}
            // Its shape would tell nothing that its members do not; they may be secrets.
            HttpBody::Json(_) => self.raw("json", "{ \"***\" = \"***\" }"),
            HttpBody::Form(entries) => {
                self.raw("form", templates(entries.iter().map(|(name, value)| (name.as_str(), value))));
            }
            HttpBody::Text(body, _) => self.text("body", body.shown(true)),
        }
        self.text("exchange", source.exchange.shown(Schemes::Http));
        self.tls("[route.token.tls]", &source.tls);
    }

    fn handshake(&mut self, route: &Route) {
        let place = &route.handshake;
        let lines = [
            place.query.as_ref().map(|query| ("query", query.clone())),
            place.header.as_ref().map(|(name, value)| ("header", format!("{name}: {}", value.shown(true)))),
            place.subprotocol.as_ref().map(|value| ("subprotocol", value.shown(false))),
            place.cookie.as_ref().map(|cookie| ("cookie", cookie.clone())),
        ];
        if lines.iter().flatten().next().is_some() || place.greeting.is_some() {
            self.table("[route.handshake]");
        }
        for (key, value) in lines.into_iter().flatten() {
            self.text(key, value);
        }
        if let Some(members) = &place.greeting {
            let member = |(key, value): (&String, &serde_json::Value)| {
                let value =
                    toml::Value::try_from(value).map_or_else(|_| quoted("null"), |value| value.to_string());
                format!("{} = {value}", quoted(key))
            };
            let members = members.iter().map(member);
            self.raw("greeting", format_args!("{{ {} }}", members.collect::<Vec<_>>().join(", ")));
        }
    }
}

fn templates<'a>(entries: impl Iterator<Item = (&'a str, &'a super::Template)>) -> String {
    let entries: Vec<_> = entries
        .map(|(name, value)| {
            let value = value.as_secret().map_or_else(|| quoted(&value.shown(true)), super::Secret::masked);
            format!("{} = {value}", quoted(name))
        })
        .collect();
    format!("{{ {} }}", entries.join(", "))
}

/// A string as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A duration as the configuration writes it: `1h30m`.
pub fn duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (unit, length) in UNITS {
        if rest >= length {
            let _ = write!(out, "{}{unit}", rest / length);
            rest %= length;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

fn size(bytes: usize) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let whole = units.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}
