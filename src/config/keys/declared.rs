//! The declarations: one table of the file after the other.

use super::{
    Kind::{
        self, Address, Code, Codes, Count, Duration, File, Flag, Json, Pairs, Path, Secret, Secrets, Size,
        Tables, Template, Templates, Text, Texts, Time, Url, Word,
    },
    Table, key,
};

pub(in crate::config) const ROOT: Table = Table {
    later: &["dialect"],
    ..Table::new(
        "",
        "The tables of the file.",
        &[
            key("listen", Kind::Table(&LISTEN), "Where clients connect."),
            key("admin", Kind::Table(&ADMIN), "Where operators look."),
            key("limits", Kind::Table(&LIMITS), "What bounds the process."),
            key("state", Kind::Table(&STATE), "What is kept when the process ends."),
            key("route", Tables(&ROUTE), "One service, and how its clients come to it.").required(),
        ],
    )
};

pub(in crate::config) const LISTEN: Table = Table::new(
    "listen",
    "Where clients connect.",
    &[
        key(
            "address",
            Address,
            "Where it listens. Port 0 takes a free one; the log line `listening` names it.",
        )
        .or("\"127.0.0.1:7370\""),
        key(
            "certificate",
            File,
            "PEM file: the certificate chain that is shown to clients. With it, clients speak \
             TLS. It is read again when it changes.",
        ),
        key("key", File, "PEM file: the private key of the certificate."),
        key(
            "client_ca",
            File,
            "PEM file: clients must show a certificate that one of these authorities signed.",
        ),
        key("open", Flag, "Allows a listener beyond loopback to which anybody may connect.").or("false"),
    ],
);

pub(in crate::config) const ADMIN: Table = Table::new(
    "admin",
    "Where operators look: the status page, `/metrics`, `/startupz`, `/readyz`, `/livez`.",
    &[
        key("address", Address, "Where it listens.").or("\"127.0.0.1:7371\""),
        key("rehearsal", Flag, "Allows `perennial rehearse`, from this machine only.").or("true"),
    ],
);

pub(in crate::config) const LIMITS: Table = Table::new(
    "limits",
    "What bounds the process.",
    &[
        key("sessions", Count, "Sessions at once. A client beyond it gets status 503.").or("10000"),
        key("message", Size, "Bytes of a message. A larger one ends the session with Close 1009.")
            .or("\"1MiB\""),
        key("handshake", Time, "How long a client's handshake may take, the service's included.")
            .or("\"10s\""),
        key("drain", Duration, "After SIGTERM the sessions end one after the other within this time.")
            .or("\"10s\""),
        key(
            "history",
            Size,
            "Bytes of superseded tokens that are remembered; beyond it the oldest are forgotten. \
             At least \"64KiB\".",
        )
        .or("\"64MiB\"")
        .restart(),
    ],
);

pub(in crate::config) const STATE: Table = Table::new(
    "state",
    "What is kept when the process ends: superseded tokens, refresh tokens.",
    &[
        key(
            "store",
            Word(&["memory", "disk", "redis"]),
            "`memory`: nowhere. `disk`: a database file that one process owns. `redis`: shared by \
             several sidecars.",
        )
        .or("\"memory\"")
        .restart(),
        key("path", Path, "The directory of the database.")
            .or("\"/var/lib/perennial\"")
            .of(&["disk"])
            .restart(),
        key("url", Secret, "`redis://` or `rediss://`, with user, password and database.")
            .of(&["redis"])
            .required()
            .restart(),
        key("prefix", Text, "What every name in Redis begins with.")
            .or("\"perennial\"")
            .of(&["redis"])
            .restart(),
        key("timeout", Time, "How long an answer of Redis is waited for.")
            .or("\"1s\"")
            .of(&["redis"])
            .restart(),
        key("tls", Kind::Table(&STATE_TLS), "TLS to Redis.").of(&["redis"]).restart(),
    ],
);

pub(in crate::config) const STATE_TLS: Table = ROUTE_TLS.under("state.tls");

pub(in crate::config) const ROUTE: Table = Table::new(
    "route",
    "One service, and how its clients come to it. There may be several.",
    &[
        key("name", Text, "Label of metrics and logs: letters, digits, `_` and `-`.")
            .otherwise("`ably` for the first Ably route, else `route1`, `route2`, …"),
        key(
            "path",
            Text,
            "Prefix of the paths that this route serves. It is kept on the way to the service. \
             The longest wins.",
        )
        .or("\"/\""),
        key("upstream", Url(&["wss", "ws"]), "The service.").required(),
        key(
            "dialect",
            Word(&["ably", "handshake", "none"]),
            "How the service speaks of tokens. `none`: a plain proxy.",
        )
        .required(),
        key("tls", Kind::Table(&ROUTE_TLS), "TLS to the service."),
        key("token", Kind::Table(&TOKEN), "Where tokens come from."),
        key("client", Kind::Table(&CLIENT), "Who may connect."),
        key("handshake", Kind::Table(&HANDSHAKE), "Where the token goes."),
        key("session", Kind::Table(&SESSION), "How a session lives."),
        key("close", Tables(&CLOSE), "What a Close of the service's means."),
        key("http", Kind::Table(&HTTP), "Requests that are no WebSocket."),
    ],
);

pub(in crate::config) const ROUTE_TLS: Table = Table::new(
    "route.tls",
    "TLS to the other side. Files are read again when they change.",
    &[
        key("ca", File, "PEM file: the authorities that are trusted.").otherwise("the system's"),
        key("certificate", File, "PEM file: the certificate that Perennial shows."),
        key("key", File, "PEM file: the private key of the certificate."),
        key("server_name", Text, "The name that the other side's certificate must have.")
            .otherwise("the host of the URL"),
    ],
);

pub(in crate::config) const TOKEN_TLS: Table = ROUTE_TLS.under("route.token.tls");

/// The words of `source`, `grant`, `client_auth`.
pub(in crate::config) const SOURCES: [&str; 6] = ["http", "oauth2", "ably-key", "static", "file", "exec"];
pub(in crate::config) const GRANTS: [&str; 4] =
    ["client_credentials", "refresh_token", "token_exchange", "jwt_bearer"];
pub(in crate::config) const AUTHS: [&str; 4] = ["basic", "post", "private_key_jwt", "none"];

const ASKED: &[&str] = &["http", "oauth2"];
const HTTP_SOURCE: &[&str] = &["http"];
const OAUTH2: &[&str] = &["oauth2"];
const ABLY_KEY: &[&str] = &["ably-key"];
const EXEC: &[&str] = &["exec"];

pub(in crate::config) const TOKEN: Table = Table::new(
    "route.token",
    "Where tokens come from, and when they are fetched.",
    &[
        key("source", Word(&SOURCES), "Who gives tokens.").required(),
        key("refresh_before", Time, "A token is replaced so long before its end.")
            .otherwise("a quarter of its life; of a life of 2 minutes or more at least 30 s"),
        key("check_every", Time, "How often the wall clock is looked at, which may have been set.")
            .or("\"15m\""),
        key("lifetime", Time, "How long a token lives if neither the answer nor the token says it."),
        key(
            "share",
            Word(&["route", "client"]),
            "`route`: one token for all clients. `client`: one for each.",
        )
        .or("\"route\""),
        key(
            "identity",
            Template,
            "What makes two clients the same, beside the token that they show: `{query.NAME}`, \
             `{header.NAME}`.",
        ),
        key("timeout", Time, "How long one attempt to fetch a token may take.").or("\"10s\""),
        key("url", Template, "The address that is asked.").of(HTTP_SOURCE).required(),
        key("method", Word(&["GET", "POST", "PUT", "PATCH"]), "How it is asked.")
            .of(HTTP_SOURCE)
            .otherwise("`POST` with a body, else `GET`"),
        key("headers", Pairs, "Headers of the request.").of(HTTP_SOURCE),
        key("json", Json, "The body, as JSON.").of(HTTP_SOURCE),
        key("form", Pairs, "The body, as a form.").of(HTTP_SOURCE),
        key(
            "body",
            Template,
            "The body, as it is written. A `Content-Type` in `headers` says how values are \
             escaped.",
        )
        .of(HTTP_SOURCE),
        key("exchange", Url(&["https", "http"]), "Where an Ably TokenRequest is exchanged for a token.")
            .of(HTTP_SOURCE)
            .otherwise("`https://main.realtime.ably.net/`"),
        key("tls", Kind::Table(&TOKEN_TLS), "TLS to the token endpoint.").of(ASKED),
        key("key", Secret, "An Ably API key, `appId.keyId:secret`.").of(ABLY_KEY).required(),
        key("ttl", Time, "How long a token lives, at most \"24h\".").or("\"1h\"").of(ABLY_KEY),
        key("capability", Json, "What a token allows: operations by channel; JSON in a text, or a table.")
            .or("'{\"*\":[\"*\"]}'")
            .of(ABLY_KEY),
        key(
            "client_id",
            Text,
            "The client's name: as the authorization server knows it, or the one in Ably's token.",
        )
        .of(&["oauth2", "ably-key"])
        .otherwise("`*` with `ably-key`"),
        key("token", Secret, "The token itself.").of(&["static"]).required(),
        key("path", Path, "The file that holds the token; it is read again when it changes.")
            .of(&["file"])
            .required(),
        key("command", Texts, "Program and arguments. It writes the answer to its standard output.")
            .of(EXEC)
            .required(),
        key("env", Secrets, "More variables of its environment.").of(EXEC),
        key("directory", Path, "Where it runs.").of(EXEC),
        key("token_url", Url(&["https", "http"]), "The token endpoint.").of(OAUTH2),
        key(
            "issuer",
            Url(&["https", "http"]),
            "The issuer, whose metadata names the token endpoint (RFC 8414, OpenID Connect).",
        )
        .of(OAUTH2),
        key("grant", Word(&GRANTS), "With what a token is asked for.")
            .or("\"client_credentials\"")
            .of(OAUTH2),
        key("client_auth", Word(&AUTHS), "How the client proves who it is.")
            .of(OAUTH2)
            .otherwise("`basic` with `client_secret`, `private_key_jwt` with `private_key`, else `none`"),
        key("client_secret", Secret, "The client's secret.").of(OAUTH2),
        key("private_key", Secret, "A private key in PEM, which signs assertions.").of(OAUTH2),
        key("key_id", Text, "The `kid` of the assertion.").of(OAUTH2),
        key(
            "algorithm",
            Word(&["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]),
            "How the assertion is signed.",
        )
        .of(OAUTH2)
        .otherwise("what is usual for the key"),
        key("assertion_audience", Text, "The `aud` of the assertion.")
            .of(OAUTH2)
            .otherwise("the token endpoint, or the issuer"),
        key("refresh_token", Secret, "The first refresh token. Its successors are kept in `[state]`.")
            .of(OAUTH2),
        key("subject_token", Template, "For whom a token is exchanged.").of(OAUTH2),
        key("subject_token_type", Text, "Its type: a short word or a URI.").or("\"access_token\"").of(OAUTH2),
        key("actor_token", Template, "Who acts.").of(OAUTH2),
        key("actor_token_type", Text, "Its type: a short word or a URI.").or("\"access_token\"").of(OAUTH2),
        key("requested_token_type", Text, "The type that is asked for: a short word or a URI.").of(OAUTH2),
        key("assertion", Secret, "An assertion that somebody else signs.").of(OAUTH2),
        key("assertion_issuer", Text, "The `iss` of an assertion that is signed here.")
            .of(OAUTH2)
            .otherwise("`client_id`"),
        key("subject", Text, "The `sub` of an assertion that is signed here.").of(OAUTH2),
        key("scope", Templates, "What a token is to allow.").of(OAUTH2),
        key("audience", Templates, "Whom a token is for, by name.").of(OAUTH2),
        key("resource", Templates, "Whom a token is for, by URI (RFC 8707).").of(OAUTH2),
        key("parameters", Pairs, "More fields of the form.").of(OAUTH2),
    ],
);

pub(in crate::config) const CLIENT: Table = Table::new(
    "route.client",
    "Who may connect, and where clients show tokens of their own.",
    &[
        key("origins", Texts, "Origins of the web pages that may connect.")
            .otherwise("the same origin, by number or `localhost`"),
        key(
            "secret",
            Secret,
            "What a client must show: `Authorization: Bearer`, `X-Perennial-Secret` or \
             `?secret=`.",
        ),
        key("token", Kind::Table(&CLIENT_TOKEN), "Where a client's own token is found."),
        key("grace", Duration, "How long a superseded token of a client's is still taken.").or("\"5m\""),
        key("revoke_for", Duration, "How long a superseded token is remembered, so that it stays refused.")
            .or("\"2h30m\"")
            .otherwise("`grace`, if that is longer"),
    ],
);

pub(in crate::config) const CLIENT_TOKEN: Table = Table::new(
    "route.client.token",
    "Where a client's own token is found. Several places may be named; a client that \
     shows two different tokens is refused.",
    &[
        key("query", Text, "The parameter of the query."),
        key("subprotocol", Text, "What stands before the token in an offered subprotocol."),
        key("header", Text, "The header, with `{token}` at its end, or its name."),
        key("cookie", Text, "The cookie."),
    ],
);

pub(in crate::config) const HANDSHAKE: Table = Table::new(
    "route.handshake",
    "Where the token goes. Without it, it goes where the client's own was.",
    &[
        key("query", Text, "The parameter of the query."),
        key("header", Template, "The header: `Authorization: Bearer {token}`."),
        key("subprotocol", Template, "The subprotocol that is offered: `auth.{token}`."),
        key("cookie", Text, "The cookie."),
        key(
            "greeting",
            Json,
            "Members of the message with which the service begins a connection that replaces \
             another: it does not reach the client.",
        ),
    ],
);

pub(in crate::config) const SESSION: Table = Table::new(
    "route.session",
    "How a session lives.",
    &[
        key("queue", Size, "Bytes that are held for one session in each direction.").or("\"1MiB\""),
        key("hold", Time, "How long an exchange may take.").or("\"10s\""),
        key(
            "reconnect",
            Duration,
            "How long an outage is hidden. It is over once a connection has served for 2 s.",
        )
        .or("\"60s\""),
        key(
            "keepalive",
            Duration,
            "Silence of a connection after which it is pinged. A service that does not answer \
             within half of it counts as lost; after an upload it gets the time to read. \"0s\": \
             never.",
        )
        .or("\"10s\"")
        .otherwise("`\"5s\"` with `ably`"),
        key(
            "park",
            Duration,
            "With `handshake` and `share = \"client\"`: how long an upstream is kept for a client \
             that went away.",
        )
        .or("\"0s\""),
        key(
            "overlap",
            Word(&["keep", "discard"]),
            "With `handshake`: what becomes of messages that a new connection sends before the \
             old one has ended.",
        )
        .or("\"keep\""),
        key(
            "swap",
            Word(&["make", "break", "never"]),
            "With `handshake`: which comes first if a connection is replaced for a new token.",
        )
        .or("\"make\""),
    ],
);

pub(in crate::config) const CLOSE: Table = Table::new(
    "route.close",
    "With `handshake`: what a Close of the service's means. The rules are asked in their \
     order, before the built-in ones.",
    &[
        key("code", Codes, "The codes. 1005: a Close without a code; 1006: no Close at all.").required(),
        key("reason", Text, "A regular expression that the reason must match."),
        key(
            "means",
            Word(&["expired", "lost", "final"]),
            "`expired`: it goes on with a new token. `lost`: with the same one. `final`: it goes \
             to the client.",
        )
        .required(),
        key("as", Code, "The code that the client gets if the Close goes to it."),
    ],
);

pub(in crate::config) const HTTP: Table = Table::new(
    "route.http",
    "Requests that are no WebSocket. Without this table they get status 404.",
    &[
        key("upstream", Url(&["https", "http"]), "The service.").required(),
        key("tls", Kind::Table(&HTTP_TLS), "TLS to the service."),
        key(
            "timeout",
            Time,
            "From the last of the request to the head of the answer. Bodies take as long as they \
             move.",
        )
        .or("\"30s\""),
        key("header", Template, "Where the token goes.").otherwise("`Authorization: Bearer {token}`"),
    ],
);

pub(in crate::config) const HTTP_TLS: Table = ROUTE_TLS.under("route.http.tls");
