//! `[route.token]`: where tokens come from, and when they are fetched anew.

use std::time::Duration;

use http::{HeaderName, Method, header::CONTENT_TYPE};
use toml::de::{DeTable, DeValue};

use super::{
    AblyKeySource, Endpoint, HttpBody, HttpSource, RefreshPolicy, Share, SourceConfig, Template, TokenConfig,
    UpstreamTls,
    client::{self, Names},
    endpoint::Schemes,
    exec, keys, oauth2,
    raw::{Section, kind},
    route::{header_name, header_value, leg, url},
    template::{Place, is_token_byte},
    value::{file, one_of, secret, span_of_time, string, template},
};

/// Where Ably exchanges a TokenRequest.
const ABLY: &str = "main.realtime.ably.net";
/// The longest that Ably lets a token live.
const ABLY_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The route's token: `Some(None)` where it has no such table, `None` where there is a problem.
/// `client_token`: do clients show one of their own?
pub(super) fn token(route: &Section<'_>, client_token: bool) -> Option<Option<TokenConfig>> {
    if !route.has("token") {
        return Some(None);
    }
    let table = route.table("token", &keys::TOKEN)?;
    let each = table.value("share", |value| one_of(value, &["route", "client"], &[])) == Some("client");
    let names = Names { request: each, client_token: each && client_token };
    let identity = table.value("identity", |value| client::identity(value, names)).flatten();
    let share = if each { Share::Client { identity } } else { Share::Route };
    let refresh = refresh(&table);
    let hint = "source = \"http\", \"oauth2\", \"ably-key\", \"static\", \"file\" or \"exec\"";
    let source = table.required("source", hint, |value| one_of(value, &keys::SOURCES, &[]))?.value;
    only_its_own(&table, source);
    let source = match source {
        "http" => SourceConfig::Http(Box::new(http(&table, names)?)),
        "oauth2" => SourceConfig::OAuth2(Box::new(oauth2::read::oauth2(&table, names, each)?)),
        "ably-key" => SourceConfig::AblyKey(Box::new(ably_key(&table, &refresh)?)),
        "exec" => SourceConfig::Exec(Box::new(exec::exec(&table)?)),
        "static" => {
            let hint = "token = { env = \"NAME\" } or { file = \"PATH\" }";
            SourceConfig::Static { token: table.required("token", hint, secret)?.value }
        }
        _ => SourceConfig::File { path: table.required("path", "path = \"PATH\"", file)?.value },
    };
    Some(Some(TokenConfig { source, share, refresh }))
}

fn refresh(table: &Section<'_>) -> RefreshPolicy {
    let refresh_before = table.value("refresh_before", span_of_time);
    let lifetime = table.value("lifetime", span_of_time);
    shorter(table, refresh_before, "lifetime", lifetime);
    RefreshPolicy {
        refresh_before,
        check_every: table.value("check_every", span_of_time).unwrap_or(Duration::from_secs(15 * 60)),
        lifetime,
        timeout: table.value("timeout", span_of_time).unwrap_or(Duration::from_secs(10)),
    }
}

/// A token that is refreshed before it was issued would be fetched without end.
fn shorter(table: &Section<'_>, refresh_before: Option<Duration>, key: &str, life: Option<Duration>) {
    if refresh_before.zip(life).is_some_and(|(before, life)| before >= life) {
        let message = format!("must be shorter than {key}, or the token is due as soon as it is there");
        table.problem_at(&table.span_of("refresh_before"), "refresh_before", message);
    }
}

/// A key of another source would do nothing, and is refused.
fn only_its_own(table: &Section<'_>, source: &str) {
    for (key, span, owners) in table.foreign(source) {
        let owners = owners.join("\" or \"");
        let message =
            format!("belongs to source = \"{owners}\", and this one is \"{source}\"; remove one of the two");
        table.problem_at(&span, key, message);
    }
    if source == "ably-key" && table.has("lifetime") {
        let message = "the token is minted here and lives for its ttl; write ttl in place of lifetime";
        table.problem_at(&table.span_of("lifetime"), "lifetime", message);
    }
}

fn ably_key(table: &Section<'_>, refresh: &RefreshPolicy) -> Option<AblyKeySource> {
    let key = table.required("key", "key = { env = \"ABLY_KEY\" }", |value| {
        let key = secret(value)?;
        if value.as_str().is_some_and(|text| !is_ably_key(text)) {
            return Err("expected a key of the form appId.keyId:secret".to_owned());
        }
        Ok(key)
    });
    let ttl = table.value("ttl", |value| match span_of_time(value)? {
        long if long > ABLY_TTL => Err("must be at most \"24h\", the longest that Ably takes".to_owned()),
        ttl => Ok(ttl),
    });
    let ttl = ttl.unwrap_or(Duration::from_secs(60 * 60));
    shorter(table, refresh.refresh_before, "ttl", Some(ttl));
    let capability = table.value("capability", capability);
    let client_id = table.value("client_id", |value| {
        let text = string(value)?;
        match Template::parse(&text).names().next() {
            Some(_) => Err("a name in client_id is not available in this version; write it out".to_owned()),
            None => Ok(text),
        }
    });
    Some(AblyKeySource {
        key: key?.value,
        ttl,
        capability: capability.unwrap_or_else(|| r#"{"*":["*"]}"#.to_owned()),
        // A client with the key could be anyone: so it stays for one whose key is taken away.
        client_id: Some(client_id.unwrap_or_else(|| "*".to_owned())).filter(|id| !id.is_empty()),
    })
}

/// `appId.keyId:secret`.
fn is_ably_key(text: &str) -> bool {
    text.split_once(':').is_some_and(|(name, secret)| {
        let named = name.split_once('.').is_some_and(|(app, key)| !app.is_empty() && !key.is_empty());
        named && !secret.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
    })
}

/// JSON in a string, or the same as a table: operations by channel.
fn capability(value: &DeValue<'_>) -> Result<String, String> {
    let what = r#"expected JSON such as '{"*":["*"]}', operations by channel"#;
    let json: serde_json::Value = match (value.as_str(), value.as_table()) {
        (Some(text), _) => serde_json::from_str(text).map_err(|_| what.to_owned())?,
        (None, Some(table)) => json_object(table)?,
        (None, None) => return Err(format!("{what}, found {}", kind(value))),
    };
    let strings = |list: &serde_json::Value| {
        list.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(serde_json::Value::is_string))
    };
    match json.as_object() {
        Some(channels) if !channels.is_empty() && channels.values().all(strings) => Ok(json.to_string()),
        _ => Err(what.to_owned()),
    }
}

fn http(table: &Section<'_>, names: Names) -> Option<HttpSource> {
    let endpoint = table.required("url", "url = \"https://…\"", |value| named_url(value, names));
    let headers =
        table.value("headers", |value| pairs(value, "headers", |name, value| header(name, value, names)));
    let headers = headers.unwrap_or_default();
    let body = body(table, &headers, names);
    let method = table.value("method", |value| {
        let word = one_of(value, &["GET", "POST", "PUT", "PATCH"], &[])?;
        Method::from_bytes(word.as_bytes()).map_err(|error| error.to_string())
    });
    if method == Some(Method::GET) && !matches!(body, HttpBody::None) {
        let message = "a GET has no body; write \"POST\", or remove the body";
        table.problem_at(&table.span_of("method"), "method", message);
    }
    let by_body = if matches!(body, HttpBody::None) { Method::GET } else { Method::POST };
    let exchange = table.value("exchange", |v| url(v, Schemes::Http)).unwrap_or_else(|| Endpoint {
        tls: true,
        host: ABLY.to_owned(),
        port: 443,
        path_and_query: "/".to_owned(),
    });
    let tls = endpoint
        .as_ref()
        .map_or_else(UpstreamTls::default, |found| leg(table, &keys::TOKEN_TLS, &found.value.0));
    let (endpoint, target) = endpoint?.value;
    Some(HttpSource { endpoint, target, tls, method: method.unwrap_or(by_body), headers, body, exchange })
}

/// A URL whose path and query may name what each client has.
fn named_url(value: &DeValue<'_>, names: Names) -> Result<(Endpoint, Template), String> {
    let text = string(value)?;
    let template = Template::parse(&text);
    names.allow(&template)?;
    // A stand-in for each name, since the parser of URLs would escape its braces.
    let stand_in = |nth: usize| format!("~name{nth}~");
    let mut parsed = text;
    for (nth, name) in template.names().enumerate() {
        parsed = parsed.replacen(&name.to_string(), &stand_in(nth), 1);
    }
    let mut endpoint = Endpoint::parse(&parsed, Schemes::Http)?;
    if endpoint.host.contains('~') {
        return Err("a name cannot stand in the host: a client would choose where secrets go".to_owned());
    }
    for (nth, name) in template.names().enumerate() {
        endpoint.path_and_query = endpoint.path_and_query.replacen(&stand_in(nth), &name.to_string(), 1);
    }
    let target = Template::parse(&endpoint.path_and_query);
    Ok((endpoint, target))
}

fn header(name: &str, value: &DeValue<'_>, names: Names) -> Result<(HeaderName, Template), String> {
    let template = source_template(value, names)?;
    header_value(&template)?;
    Ok((header_name(name)?, template))
}

/// A template of a source.
pub(super) fn source_template(value: &DeValue<'_>, names: Names) -> Result<Template, String> {
    let template = template(value)?;
    names.allow(&template)?;
    Ok(template)
}

/// The entries of a table.
pub(super) fn pairs<T>(
    value: &DeValue<'_>,
    what: &str,
    read: impl Fn(&str, &DeValue<'_>) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let Some(table) = value.as_table() else {
        return Err(format!(
            "expected a table, such as {what} = {{ name = \"value\" }}, found {}",
            kind(value)
        ));
    };
    let entry = |(name, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
        let name: &str = name.get_ref();
        read(name, value.get_ref()).map_err(|message| {
            // What is no name may be a whole header, secret included.
            if name.bytes().all(is_token_byte) { format!("\"{name}\": {message}") } else { message }
        })
    };
    table.iter().map(entry).collect()
}

fn body(table: &Section<'_>, headers: &[(HeaderName, Template)], names: Names) -> HttpBody {
    let written: Vec<&str> = ["json", "form", "body"].into_iter().filter(|key| table.has(key)).collect();
    if let [_, second, ..] = written.as_slice() {
        let message = "a request has one body: keep one of json, form and body";
        table.problem_at(&table.span_of(second), second, message);
    }
    let json = table.value("json", |value| json_template(value, names)).map(HttpBody::Json);
    let form = table.value("form", |value| {
        pairs(value, "form", |name, value| Ok((name.to_owned(), source_template(value, names)?)))
    });
    let text = table.value("body", |value| text_body(value, headers, names));
    let form = form.map(HttpBody::Form);
    json.or(form).or(text).unwrap_or(HttpBody::None)
}

/// The text of the JSON, whose strings are templates and may be secrets.
fn json_template(value: &DeValue<'_>, names: Names) -> Result<Template, String> {
    if value.as_table().is_none() {
        return Err(format!(
            "expected a table, such as json = {{ name = \"value\" }}, found {}",
            kind(value)
        ));
    }
    let mut template = Template::default();
    put_json(value, names, &mut template)?;
    Ok(template)
}

fn put_json(value: &DeValue<'_>, names: Names, out: &mut Template) -> Result<(), String> {
    match value {
        DeValue::Table(table) if is_secret(table) => {
            out.append(Template::verbatim("\""));
            out.append(Template::secret(secret(value)?));
            out.append(Template::verbatim("\""));
        }
        DeValue::Table(table) => {
            for (nth, (key, value)) in table.iter().enumerate() {
                let key = serde_json::Value::from(key.get_ref().as_ref());
                let begin = if nth == 0 { "{" } else { "," };
                out.append(Template::verbatim(&format!("{begin}{key}:")));
                put_json(value.get_ref(), names, out)?;
            }
            out.append(Template::verbatim(if table.is_empty() { "{}" } else { "}" }));
        }
        DeValue::Array(entries) => {
            out.append(Template::verbatim("["));
            for (nth, entry) in entries.iter().enumerate() {
                if nth > 0 {
                    out.append(Template::verbatim(","));
                }
                put_json(entry.get_ref(), names, out)?;
            }
            out.append(Template::verbatim("]"));
        }
        // Quoted first, then parsed: what is put in for a name is escaped, and never quoted twice.
        DeValue::String(_) => {
            let quoted = json(value)?.to_string();
            out.append(source_template(&DeValue::String(quoted.into()), names)?);
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            out.append(Template::verbatim(&json(value)?.to_string()));
        }
    }
    Ok(())
}

fn is_secret(table: &DeTable<'_>) -> bool {
    table.len() == 1 && table.keys().all(|key| matches!(key.get_ref().as_ref(), "env" | "file"))
}

/// A body as written; its `Content-Type` says how what is put into it is escaped.
fn text_body(
    value: &DeValue<'_>,
    headers: &[(HeaderName, Template)],
    names: Names,
) -> Result<HttpBody, String> {
    let template = source_template(value, names)?;
    let content_type = headers.iter().find(|(name, _)| name == CONTENT_TYPE);
    let content_type = content_type.and_then(|(_, value)| value.as_literal()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let place = match essence.as_str() {
        json if json.ends_with("/json") || json.ends_with("+json") => Some(Place::JsonString),
        "application/x-www-form-urlencoded" => Some(Place::Form),
        "text/plain" => Some(Place::Text),
        _ => None,
    };
    if template.names().next().is_none() {
        return Ok(HttpBody::Text(template, place.unwrap_or(Place::Text)));
    }
    let place = place.ok_or(
        "names a value, and only the Content-Type says how to escape it: set it in headers to \
         application/json, application/x-www-form-urlencoded or text/plain",
    )?;
    if place == Place::JsonString {
        // Outside of a string the stand-in is not JSON, and a value could break out.
        let text = template.expand(Place::Text, &|_| Some("x")).map_err(|error| error.to_string())?;
        serde_json::from_str::<serde::de::IgnoredAny>(&text)
            .map_err(|_| "expected JSON in which each name stands inside a string")?;
    }
    Ok(HttpBody::Text(template, place))
}

pub(super) fn json_object(table: &DeTable<'_>) -> Result<serde_json::Value, String> {
    let entry = |(key, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
        Ok((key.get_ref().to_string(), json(value.get_ref())?))
    };
    table.iter().map(entry).collect::<Result<_, String>>().map(serde_json::Value::Object)
}

fn json(value: &DeValue<'_>) -> Result<serde_json::Value, String> {
    Ok(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Boolean(truth) => (*truth).into(),
        DeValue::Datetime(date) => date.to_string().into(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| "an integer is too large")?
            .into(),
        DeValue::Float(number) => {
            let number: f64 = number.as_str().parse().map_err(|_| "a float is malformed")?;
            serde_json::Number::from_f64(number).ok_or("JSON knows no infinity and no nan")?.into()
        }
        DeValue::Array(entries) => {
            entries.iter().map(|entry| json(entry.get_ref())).collect::<Result<Vec<_>, _>>()?.into()
        }
        DeValue::Table(table) => json_object(table)?,
    })
}
