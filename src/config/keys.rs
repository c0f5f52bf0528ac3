//! Every key of the configuration: those that are read, and those that are known but not built yet.
//!
//! One list for each table of the file. A key of `later` is refused by name, so that nobody believes
//! it to be at work; a key in no list is refused with the nearest that is.

/// The keys of one table.
pub(super) struct Keys {
    /// The table, as its header names it; empty at the root.
    pub(super) table: &'static str,
    /// Keys that are read.
    pub(super) now: &'static [&'static str],
    /// Keys of the design that this version does not have.
    pub(super) later: &'static [&'static str],
}

pub(super) const ROOT: Keys =
    Keys { table: "", now: &["listen", "admin", "limits", "state", "route"], later: &["dialect"] };

pub(super) const LISTEN: Keys =
    Keys { table: "listen", now: &["address", "certificate", "key", "client_ca", "open"], later: &[] };

pub(super) const ADMIN: Keys = Keys { table: "admin", now: &["address", "rehearsal"], later: &[] };

pub(super) const LIMITS: Keys =
    Keys { table: "limits", now: &["sessions", "message", "handshake", "drain", "history"], later: &[] };

/// Of every store together; which key is whose is told where they are read.
pub(super) const STATE: Keys =
    Keys { table: "state", now: &["store", "path", "url", "prefix", "timeout", "tls"], later: &[] };

pub(super) const STATE_TLS: Keys = Keys { table: "state.tls", ..ROUTE_TLS };

pub(super) const ROUTE: Keys = Keys {
    table: "route",
    now: &[
        "name",
        "path",
        "upstream",
        "dialect",
        "tls",
        "token",
        "client",
        "handshake",
        "session",
        "close",
        "http",
    ],
    later: &[],
};

pub(super) const ROUTE_TLS: Keys =
    Keys { table: "route.tls", now: &["ca", "certificate", "key", "server_name"], later: &[] };

pub(super) const TOKEN_TLS: Keys = Keys { table: "route.token.tls", ..ROUTE_TLS };

/// Of every source together; [`SOURCES`] says which key is whose.
pub(super) const TOKEN: Keys = Keys {
    table: "route.token",
    now: &[
        "source",
        "refresh_before",
        "check_every",
        "lifetime",
        "share",
        "identity",
        "timeout",
        "url",
        "method",
        "headers",
        "json",
        "form",
        "body",
        "exchange",
        "tls",
        "key",
        "ttl",
        "capability",
        "client_id",
        "token",
        "path",
        "command",
        "env",
        "directory",
        "token_url",
        "issuer",
        "grant",
        "client_auth",
        "client_secret",
        "private_key",
        "key_id",
        "algorithm",
        "assertion_audience",
        "refresh_token",
        "subject_token",
        "subject_token_type",
        "actor_token",
        "actor_token_type",
        "requested_token_type",
        "assertion",
        "assertion_issuer",
        "subject",
        "scope",
        "audience",
        "resource",
        "parameters",
    ],
    later: &[],
};

/// What each source has of its own, beside the keys that all sources share. Some keys have several owners.
pub(super) const SOURCES: &[(&str, &[&str])] = &[
    ("http", &["url", "method", "headers", "json", "form", "body", "exchange", "tls"]),
    (
        "oauth2",
        &[
            "token_url",
            "issuer",
            "grant",
            "client_id",
            "client_auth",
            "client_secret",
            "private_key",
            "key_id",
            "algorithm",
            "assertion_audience",
            "refresh_token",
            "subject_token",
            "subject_token_type",
            "actor_token",
            "actor_token_type",
            "requested_token_type",
            "assertion",
            "assertion_issuer",
            "subject",
            "scope",
            "audience",
            "resource",
            "parameters",
            "tls",
        ],
    ),
    ("ably-key", &["key", "ttl", "capability", "client_id"]),
    ("static", &["token"]),
    ("file", &["path"]),
    ("exec", &["command", "env", "directory"]),
];

pub(super) const CLIENT: Keys =
    Keys { table: "route.client", now: &["origins", "secret", "token", "grace", "revoke_for"], later: &[] };

pub(super) const CLIENT_TOKEN: Keys =
    Keys { table: "route.client.token", now: &["query", "subprotocol", "header", "cookie"], later: &[] };

pub(super) const HANDSHAKE: Keys = Keys {
    table: "route.handshake",
    now: &["query", "header", "subprotocol", "cookie", "greeting"],
    later: &[],
};

pub(super) const SESSION: Keys = Keys {
    table: "route.session",
    now: &["queue", "hold", "reconnect", "keepalive", "park", "overlap", "swap"],
    later: &[],
};

pub(super) const CLOSE: Keys =
    Keys { table: "route.close", now: &["code", "reason", "means", "as"], later: &[] };

/// If several have a key, the first is the likeliest home of one that went astray.
const ALL: &[&Keys] = &[
    &LISTEN,
    &ADMIN,
    &LIMITS,
    &ROUTE,
    &ROUTE_TLS,
    &TOKEN,
    &CLIENT,
    &CLIENT_TOKEN,
    &HANDSHAKE,
    &SESSION,
    &CLOSE,
    &HTTP,
    &STATE,
];
pub(super) const HTTP: Keys =
    Keys { table: "route.http", now: &["upstream", "tls", "timeout", "header"], later: &[] };

pub(super) const HTTP_TLS: Keys = Keys { table: "route.http.tls", ..ROUTE_TLS };

/// What to say of a key that `keys` does not have: the nearest that it has, else where it belongs,
/// else all that it has.
pub(super) fn unknown(keys: &Keys, key: &str) -> String {
    if let Some(near) = super::error::nearest(key, keys.now.iter().chain(keys.later).copied()) {
        return format!("unknown key; did you mean \"{near}\"?");
    }
    // A key after the header of a subtable lands in that subtable: TOML's commonest trap.
    if let Some(home) = ALL.iter().find(|table| table.now.contains(&key)) {
        let array = matches!(home.table, "route" | "route.close");
        let header = if array { format!("[[{}]]", home.table) } else { format!("[{}]", home.table) };
        return format!("unknown key here; it belongs to {header}");
    }
    format!("unknown key; known here are: {}", keys.now.join(", "))
}
