//! `[route.token]`: where tokens come from, and when they are fetched.
//!
//! Each source has keys of its own: those of `http` are in `http`, of `oauth2` in `oauth2`, the others here.

mod answer;
mod http;

use std::{path::PathBuf, time::Duration};

use toml::de::DeValue;

use super::{
    RefreshPolicy, Secret, Share, SourceConfig, Template, TokenConfig,
    declare::{Declared, Kind, table, value, words},
    json,
    oauth2::{OAuth2Source, read::OAuth2Table},
    section::{Section, kind},
    signer::{SignedTable, Signer},
    template::Name,
    text::{Plain, pairs},
    value::{Kept, Path, Time, is_variable, string},
};
pub(super) use answer::Answer;
pub(super) use answer::PARTS;
pub use answer::{AnswerFields, AnswerForm, Composed, Part};
pub(super) use http::HttpTable;

table! {
    /// Where tokens come from, and when they are fetched.
    pub(super) struct TokenTable {
        /// Who gives tokens.
        source: required Source =
            "source = \"http\", \"oauth2\", \"jwt\", \"ably-key\", \"static\", \"file\" or \"exec\"";
        /// A token is replaced so long before its end.
        refresh_before: maybe Time,
            otherwise("a quarter of its life; of a life of 2 minutes or more at least 30 s");
        /// How often the wall clock is looked at, which may have been set.
        check_every: or Time = "\"15m\"";
        /// How long a token lives if neither the answer nor the token says it.
        lifetime: maybe Time;
        /// `many`: a token is used until it is replaced. `once`: it is a ticket; each handshake has one of its own, which
        /// is fetched for it.
        r#use: or Use = "\"many\"";
        /// `route`: one token for all clients. `client`: one for each.
        share: or Whose = "\"route\"";
        /// What makes two clients the same, beside the token that they show: `{query.NAME}`, `{header.NAME}`.
        identity: maybe Identity;
        /// How long one attempt to fetch a token may take.
        timeout: or Time = "\"10s\"";
    }
    parts "source" {
        "http" => HttpTable,
        "oauth2" => OAuth2Table,
        "ably-key" => AblyKeySource,
        "static" => StaticTable,
        "file" => FileTable,
        "exec" => ExecTable,
        "jwt" => SignedTable,
    }
}

words! {
    /// Who gives tokens.
    pub(super) enum Source {
        /// A token endpoint.
        Http = "http",
        /// An authorization server.
        OAuth2 = "oauth2",
        /// A key of Ably's.
        AblyKey = "ably-key",
        /// The configuration.
        Static = "static",
        /// A file.
        File = "file",
        /// A command.
        Exec = "exec",
        /// A key that signs JWTs.
        Jwt = "jwt",
    }
}

words! {
    /// How often a token can be shown.
    pub(super) enum Use {
        /// In many handshakes.
        Many = "many",
        /// In one.
        Once = "once",
    }
}

words! {
    /// Whose a token is.
    pub(super) enum Whose {
        /// The route's.
        Route = "route",
        /// Each client's.
        Client = "client",
    }
}

value! {
    /// What makes two clients the same; `None`: the token alone, which is told apart anyway.
    pub(super) Identity: Option<Template>, Kind::Named, |value, at| {
        let template = Template::parse(&string(value)?);
        at.names.allow_in_source(&template)?;
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
        let only_token = template.names().all(|name| *name == Name::ClientToken);
        Ok((!only_token).then_some(template))
    }
}

table! {
    /// `source = "ably-key"`: the token is a JWT that is signed here, without a network call.
    pub struct AblyKeySource {
        /// An Ably API key, `appId.keyId:secret`.
        key: required AblyKey = "key = { env = \"ABLY_KEY\" }";
        /// How long a token lives, at most "24h".
        ttl: or AblyTtl = "\"1h\"";
        /// What a token allows: operations by channel; JSON in a text, or a table.
        capability: or Capability = "'{\"*\":[\"*\"]}'";
        /// The name of the client in the token. `*`: a client may take any.
        client_id: or ClientId = "\"*\"";
    }
}

value! {
    pub(super) AblyKey: Secret, Kind::Secret, |value, at| {
        let key = Kept::read(value, at)?;
        if value.as_str().is_some_and(|text| !is_ably_key(text)) {
            return Err("expected a key of the form appId.keyId:secret".to_owned());
        }
        Ok(key)
    }
}

/// `appId.keyId:secret`.
fn is_ably_key(text: &str) -> bool {
    text.split_once(':').is_some_and(|(name, secret)| {
        let named = name.split_once('.').is_some_and(|(app, key)| !app.is_empty() && !key.is_empty());
        named && !secret.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
    })
}

value! {
    pub(super) AblyTtl: Duration, Kind::Time, |value, at| match Time::read(value, at)? {
        long if long > Duration::from_secs(24 * 60 * 60) => {
            Err("must be at most \"24h\", the longest that Ably takes".to_owned())
        }
        ttl => Ok(ttl),
    }
}

value! {
    /// The client's name; `None` is an anonymous client, which no file asks for.
    pub(super) ClientId: Option<String>, Kind::Text, |value, at| Plain::read(value, at).map(Some)
}

value! {
    /// JSON in a string, or the same as a table: operations by channel.
    pub(super) Capability: String, Kind::Json, |value, _| {
        let what = r#"expected JSON such as '{"*":["*"]}', operations by channel"#;
        let json: serde_json::Value = match (value.as_str(), value.as_table()) {
            (Some(text), _) => serde_json::from_str(text).map_err(|_| what.to_owned())?,
            (None, Some(table)) => json::object(table)?,
            (None, None) => return Err(format!("{what}, found {}", kind(value))),
        };
        let strings = |list: &serde_json::Value| {
            let list = list.as_array().filter(|list| !list.is_empty());
            list.is_some_and(|list| list.iter().all(serde_json::Value::is_string))
        };
        match json.as_object() {
            Some(channels) if !channels.is_empty() && channels.values().all(strings) => Ok(json.to_string()),
            _ => Err(what.to_owned()),
        }
    }
}

table! {
    /// One token that never changes (but is read again at each fetch, if it is in a file).
    pub(super) struct StaticTable {
        /// The token itself.
        token: required Kept = "token = { env = \"NAME\" } or { file = \"PATH\" }";
    }
}

table! {
    /// A file that another program keeps fresh; it may come after the start.
    pub(super) struct FileTable {
        /// The file that holds the token; it is read again when it changes.
        path: required Path = "path = \"PATH\"";
        /// Where in the answer the token is. `auto`: every common shape is understood. `text`: all of it is the token.
        /// A table: JSON Pointers (RFC 6901) of `token` and of `expires_in` (seconds) or `expires_at`.
        answer: or Answer = "\"auto\"";
    }
}

table! {
    /// A command that prints a token. It is run as it stands, without a shell.
    pub(super) struct ExecTable {
        /// Program and arguments. It writes the answer to its standard output.
        command: required Command = "command = [\"program\", \"argument\"]";
        /// Where in the answer the token is. `auto`: every common shape is understood. `text`: all of it is the token.
        /// A table: JSON Pointers (RFC 6901) of `token` and of `expires_in` (seconds) or `expires_at`.
        answer: or Answer = "\"auto\"";
        /// More variables of its environment.
        env: or Environment = "{}";
        /// Where it runs.
        directory: maybe Path, otherwise("where Perennial runs");
    }
}

value! {
    /// The program and its arguments.
    pub(super) Command: (String, Vec<String>), Kind::Texts, |value, _| {
        let Some(entries) = value.as_array() else {
            let found = kind(value);
            let shell = if value.is_str() { "; there is no shell that would take it apart" } else { "" };
            return Err(format!("expected an array, such as [\"program\", \"argument\"], found {found}{shell}"));
        };
        let mut words = entries.iter().map(|entry| word(entry.get_ref()));
        match words.next().transpose()? {
            Some(program) if !program.is_empty() => Ok((program, words.collect::<Result<_, _>>()?)),
            Some(_) | None => Err("names no program; write [\"program\", \"argument\"]".to_owned()),
        }
    }
}

fn word(value: &DeValue<'_>) -> Result<String, String> {
    match value.as_str() {
        Some(text) if text.contains('\0') => Err("an argument cannot hold a NUL".to_owned()),
        Some(text) => Ok(text.to_owned()),
        None if value.is_table() => Err(
            "a secret cannot stand in an argument: process lists show it to everybody; put it in env, where \
             the command finds it in its environment"
                .to_owned(),
        ),
        None => Err(format!("expected strings only, found {}", kind(value))),
    }
}

value! {
    pub(super) Environment: Vec<(String, Secret)>, Kind::Pairs, |value, at| {
        pairs(value, at, |name, value| {
            if !is_variable(name) {
                return Err("expected the name of a variable: A-Z, a-z, 0-9 and _".to_owned());
            }
            Ok((name.to_owned(), Kept::read(value, at)?))
        })
    }
}

/// `source = "exec"` as it is run.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecSource {
    /// A path, or a name that is looked for on the `PATH`.
    pub program: String,
    /// No secrets: process lists show them.
    pub arguments: Vec<String>,
    /// Where in its output the token is.
    pub answer: AnswerForm,
    /// Added to the environment that Perennial itself has.
    pub env: Vec<(String, Secret)>,
    /// The other secrets of the configuration: their variables are not in the command's environment, and none of them
    /// is shown of what it writes.
    pub others: Vec<Secret>,
    /// Where it runs; `None`: where Perennial does.
    pub directory: Option<PathBuf>,
}

/// The route's token: `Some(None)` if it has no such table, `None` if there is a problem.
pub(super) fn token(route: &Section<'_>, table: Option<TokenTable>) -> Option<Option<TokenConfig>> {
    if !route.has("token") {
        return Some(None);
    }
    Some(Some(read(&route.at("token"), table?)?))
}

/// A source and its times; `None` if there is a problem.
pub(super) fn read(section: &Section<'_>, table: TokenTable) -> Option<TokenConfig> {
    let TokenTable { source, refresh_before, check_every, lifetime, r#use, share, identity, timeout } = table;
    let once = matches!(r#use, Use::Once);
    if once {
        without_schedule(section);
    }
    shorter(section, refresh_before, "lifetime", lifetime);
    let source = match source {
        Source::Http => SourceConfig::Http(Box::new(http::source(section)?)),
        Source::OAuth2 => SourceConfig::OAuth2(Box::new(OAuth2Source::read(section)?)),
        Source::AblyKey => SourceConfig::AblyKey(Box::new(ably_key(section, refresh_before)?)),
        Source::Static => SourceConfig::Static { token: StaticTable::read(section)?.token },
        Source::File => {
            let FileTable { path, answer } = FileTable::read(section)?;
            without_headers(section, &answer);
            without_refresh_token(section, &answer);
            SourceConfig::File { path, answer }
        }
        Source::Exec => {
            let ExecTable { command: (program, arguments), answer, env, directory } =
                ExecTable::read(section)?;
            without_headers(section, &answer);
            without_refresh_token(section, &answer);
            let others = section.problems.secrets();
            SourceConfig::Exec(Box::new(ExecSource { program, arguments, answer, env, others, directory }))
        }
        Source::Jwt => {
            without_lifetime(section);
            let signer = Signer::of(section, SignedTable::read(section)?, Duration::from_secs(3600))?;
            shorter(section, refresh_before, "ttl", Some(signer.lifetime));
            SourceConfig::Jwt(Box::new(signer))
        }
    };
    let share = match share {
        Whose::Route => Share::Route,
        Whose::Client => {
            section.means("identity", "\"{client.token}\"");
            Share::Client { identity: identity.flatten() }
        }
    };
    let refresh = RefreshPolicy { refresh_before, check_every, lifetime, timeout, once };
    Some(TokenConfig { source, share, refresh })
}

/// A ticket is fetched when it is needed, whatever its life.
fn without_schedule(section: &Section<'_>) {
    let why = "has no effect with use = \"once\": each handshake has a token of its own; remove this";
    for key in ["refresh_before", "check_every", "lifetime", "share", "identity"] {
        section.useless(key, why);
    }
}

fn without_headers(table: &Section<'_>, answer: &AnswerForm) {
    if answer.has_headers() {
        table.refuse(
            "answer",
            "only an answer over HTTP has headers; write a JSON Pointer such as \"/token\"",
        );
    }
}

/// What comes back in an answer, and nothing goes on from.
fn without_refresh_token(table: &Section<'_>, answer: &AnswerForm) {
    if answer.has_refresh_token() {
        table.refuse(
            "answer",
            "refresh_token has no effect: there is no refresh token here that it takes the place of; remove it",
        );
    }
}

/// A token that is refreshed before it was issued would be fetched without end.
fn shorter(table: &Section<'_>, refresh_before: Option<Duration>, key: &str, life: Option<Duration>) {
    if refresh_before.zip(life).is_some_and(|(before, life)| before >= life) {
        let message = format!("must be shorter than {key}, or the token is due as soon as it is there");
        table.refuse("refresh_before", message);
    }
}

/// A token that is made here says its end.
fn without_lifetime(table: &Section<'_>) {
    if table.has("lifetime") {
        let message = "the token is signed here and lives for its ttl; write ttl in place of lifetime";
        table.refuse("lifetime", message);
    }
}

fn ably_key(table: &Section<'_>, refresh_before: Option<Duration>) -> Option<AblyKeySource> {
    without_lifetime(table);
    let source = AblyKeySource::read(table)?;
    shorter(table, refresh_before, "ttl", Some(source.ttl));
    Some(source)
}
