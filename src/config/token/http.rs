//! `source = "http"`: a request to a token endpoint.

use http::{HeaderName, Method, header::CONTENT_TYPE};

use super::answer::Answer;
use crate::config::{
    HttpBody, HttpSource, Template, UpstreamTls,
    declare::{Declared, Kind, table, value},
    endpoint::{HttpUrl, NamedUrl},
    json::Body,
    route::Tls,
    section::Section,
    template::Place,
    text::{Fields, Filled, Headers},
    value::one_of,
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
        /// The body, as JSON.
        json: maybe Body;
        /// The body, as a form.
        form: maybe Fields;
        /// The body, as it is written. A `Content-Type` in `headers` says how values are escaped.
        body: maybe Filled;
        /// Where in the answer the token is. `auto`: every common shape is understood. `text`: all of it is the token.
        /// A table: JSON Pointers (RFC 6901) or `header:NAME`; `expires_in` is in seconds.
        answer: or Answer = "\"auto\"";
        /// Where an Ably TokenRequest is exchanged for a token.
        exchange: or HttpUrl = "\"https://main.realtime.ably.net/\"";
        /// TLS to the token endpoint.
        tls: perhaps Tls;
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
pub(super) fn source(table: &Section<'_>) -> Option<HttpSource> {
    let HttpTable { url, method, headers, json, form, body, answer, exchange, tls } = HttpTable::read(table)?;
    let bodies = ["json", "form", "body"];
    let second = bodies.into_iter().filter(|key| table.has(key)).nth(1);
    if let Some(second) = second {
        table.refuse(second, "a request has one body: keep one of json, form and body");
    }
    let text = body.and_then(|body| match text(body, &headers) {
        Ok(body) => Some(body),
        Err(message) => {
            table.refuse("body", message);
            None
        }
    });
    let body = json.map(HttpBody::Json).or_else(|| form.map(HttpBody::Form)).or(text);
    let body = body.unwrap_or(HttpBody::None);
    let has_body = bodies.into_iter().any(|key| table.has(key));
    if method == Some(Method::GET) && has_body {
        table.refuse("method", "a GET has no body; write \"POST\", or remove the body");
    }
    let method = method.unwrap_or(if has_body { Method::POST } else { Method::GET });
    table.means("method", format!("\"{method}\""));
    let (endpoint, target) = url;
    let tls = UpstreamTls::of_leg(table, tls, &endpoint);
    Some(HttpSource { endpoint, target, tls, method, headers, body, answer, exchange })
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
