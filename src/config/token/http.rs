//! `source = "http"`: a request to a token endpoint.

use http::{
    HeaderName, Method,
    header::{AUTHORIZATION, CONTENT_TYPE},
};

use super::answer::Answer;
use crate::config::{
    HttpBody, HttpSource, Name, Signer, Template, UpstreamTls,
    declare::{Declared, Kind, table, value},
    endpoint::{HttpUrl, NamedUrl},
    json::Body,
    route::Tls,
    section::Section,
    signer::{ONE_REQUEST, SignedTable},
    template::Place,
    text::{Fields, Filled, Headers, Plain},
    value::{Kept, one_of},
};

table! {
    /// A token endpoint that is asked over HTTP.
    pub(in crate::config) struct HttpTable {
        /// The address that is asked.
        url: required NamedUrl = "url = \"https://…\"";
        /// How it is asked.
        method: maybe HttpMethod, otherwise("`POST` with a body, else `GET`");
        /// Headers of the request.
        headers: or Headers = "{}";
        /// User and password of the request (RFC 7617).
        basic: perhaps BasicTable;
        /// The first refresh token. The request names it, as `{refresh_token}`, and its successors are kept in `[state]`.
        refresh_token: maybe Kept;
        /// A JWT that is signed for each request, which names it as `{jwt}`.
        jwt: perhaps SignedTable;
        /// The body, as JSON.
        json: maybe Body;
        /// The body, as a form.
        form: maybe Fields;
        /// The body, as it is written. A `Content-Type` in `headers` says how values are escaped.
        body: maybe Filled;
        /// Where in the answer the token is. `auto`: every common shape is understood. `text`: all of it is the token.
        /// A table: JSON Pointers (RFC 6901) or `header:NAME`, of `token`, `expires_in` (seconds) or `expires_at`, and
        /// `refresh_token`.
        answer: or Answer = "\"auto\"";
        /// Where an Ably TokenRequest is exchanged for a token.
        exchange: or HttpUrl = "\"https://main.realtime.ably.net/\"";
        /// TLS to the token endpoint.
        tls: perhaps Tls;
    }
}

table! {
    /// User and password of a request (RFC 7617).
    pub(in crate::config) struct BasicTable {
        /// The name of the user.
        user: required Plain = "user = \"NAME\"";
        /// The password.
        password: required Kept = "password = { file = \"PATH\" } or { env = \"NAME\" }";
    }
}

value! {
    pub(in crate::config) HttpMethod: Method, Kind::Word(&["GET", "POST", "PUT", "PATCH"]), |value, _| {
        let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH];
        let words: Vec<(&str, &Method)> = known.iter().map(|method| (method.as_str(), method)).collect();
        one_of(value, &words).cloned()
    }
}

/// `None`: there is a problem, which is noted.
pub(super) fn source(section: &Section<'_>) -> Option<HttpSource> {
    let table = HttpTable::read(section)?;
    let HttpTable {
        url: (endpoint, target),
        method,
        headers,
        basic,
        refresh_token,
        jwt,
        answer,
        exchange,
        ..
    } = table.clone();
    let body = body(section, &table, &headers);
    let method = method.unwrap_or(if body == HttpBody::None { Method::GET } else { Method::POST });
    if method == Method::GET && body != HttpBody::None {
        section.refuse("method", "a GET has no body; write \"POST\", or remove the body");
    }
    section.means("method", format!("\"{method}\""));
    if basic.is_some() && headers.iter().any(|(name, _)| name == AUTHORIZATION) {
        section.refuse("basic", "is the header Authorization, and so is one of headers: keep one of the two");
    }
    let tls = UpstreamTls::of_leg(section, table.tls, &endpoint);
    let jwt = match jwt {
        Some(table) => Some(Signer::of(&section.at("jwt"), table, ONE_REQUEST)?),
        None => None,
    };
    let basic = basic.map(|basic| (basic.user, basic.password));
    let source = HttpSource {
        endpoint,
        target,
        tls,
        method,
        headers,
        basic,
        refresh_token,
        jwt,
        body,
        answer,
        exchange,
    };
    rotation(section, &source);
    Some(source)
}

/// A refresh token is sent, and there is one for all.
fn rotation(section: &Section<'_>, source: &HttpSource) {
    if source.refresh_token.is_none() {
        if source.answer.has_refresh_token() {
            section.refuse(
                "answer",
                "refresh_token has no effect without the first one; add refresh_token = { file = \"PATH\" }",
            );
        }
        return;
    }
    if !source.templates().flat_map(Template::names).any(|name| *name == Name::RefreshToken) {
        section.refuse("refresh_token", "is sent nowhere; name it in the request as {refresh_token}");
    }
    if section.names.each {
        section.refuse(
            "refresh_token",
            "is one for all, and each client is to have a token of its own; write share = \"route\"",
        );
    }
}

fn body(section: &Section<'_>, table: &HttpTable, headers: &[(HeaderName, Template)]) -> HttpBody {
    let second = ["json", "form", "body"].into_iter().filter(|key| section.has(key)).nth(1);
    if let Some(second) = second {
        section.refuse(second, "a request has one body: keep one of json, form and body");
    }
    let text = table.body.clone().and_then(|body| match text(body, headers) {
        Ok(body) => Some(body),
        Err(message) => {
            section.refuse("body", message);
            None
        }
    });
    let json = table.json.clone().map(HttpBody::Json);
    json.or_else(|| table.form.clone().map(HttpBody::Form)).or(text).unwrap_or(HttpBody::None)
}

/// A body as written; its `Content-Type` says how what is put into it is escaped.
fn text(template: Template, headers: &[(HeaderName, Template)]) -> Result<HttpBody, String> {
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
