//! Tokens from an HTTP endpoint.
//!
//! 1. One request, one answer of at most 64 KiB; a redirect is not followed.
//! 2. 401, 403 and OAuth's refusals are terminal; everything else may pass. `Retry-After` is handed on.
//! 3. An Ably TokenRequest is exchanged at once, and never a second time: its nonce is good for one use.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use url::form_urlencoded;

use super::{
    Asking, Issued, SourceError,
    answer::{self, Answer},
    parts::Parts,
    request::{MAX_ANSWER, Values, content_type, expand, request, retry_after, usual_headers},
};
use crate::{
    clock::{Instant, Now},
    config::{AnswerForm, Endpoint, HttpBody, HttpSource, Name, Place, UpstreamTls},
    credential::keeper::FailureKind,
    net::{
        Dialer, TlsError,
        http::{self as net_http, HttpError},
    },
};

/// What an answer may be.
const UNDERSTOOD: &str = "application/json, text/plain";

/// `source = "http"`.
pub struct HttpTokens {
    source: HttpSource,
    dialer: Dialer,
    exchange: Dialer,
}

/// A request as it goes out, before it is one of hyper's.
struct Asked {
    headers: HeaderMap,
    body: Bytes,
}

impl HttpTokens {
    /// Reads the certificates of both endpoints.
    pub fn new(source: &HttpSource) -> Result<Self, TlsError> {
        let dialer = Dialer::new(&source.endpoint, &source.tls)?;
        // What was configured for the token endpoint says nothing about another host.
        let same = source.exchange.host == source.endpoint.host;
        let tls = if same { source.tls.clone() } else { UpstreamTls::default() };
        let exchange = Dialer::new(&source.exchange, &tls)?;
        Ok(Self { source: source.clone(), dialer, exchange })
    }

    pub(super) async fn fetch(
        &self,
        asking: &Asking,
        now: Now,
        deadline: Instant,
    ) -> Result<Issued, SourceError> {
        let values = |name: &Name| asking.value(name);
        let Asked { headers, body } = self.asked(&values)?;
        let target = expand(&self.source.target, Place::Url, &values)?;
        let request = request(self.source.method.clone(), &target, headers, body)?;
        let response = send(&self.dialer, request, now, deadline).await?;
        let before = asking.current.as_ref().map(|token| token.expose());
        match understood(&self.source.answer, &response, before)? {
            Answer::Token(issued) => Ok(issued),
            Answer::TokenRequest { key_name } => {
                self.exchange(&key_name, response.into_body(), now, deadline).await
            }
        }
    }

    /// Posts an Ably TokenRequest as it came, signature and all.
    async fn exchange(
        &self,
        key_name: &str,
        body: Bytes,
        now: Now,
        deadline: Instant,
    ) -> Result<Issued, SourceError> {
        let path = exchange_path(&self.source.exchange, key_name);
        let mut headers = usual_headers(UNDERSTOOD);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let request = request(Method::POST, &path, headers, body)?;
        let response = send(&self.exchange, request, now, deadline).await.map_err(|error| SourceError {
            reason: format!("the exchange of the TokenRequest: {}", error.reason),
            ..error
        })?;
        match understood(&AnswerForm::Auto, &response, None)? {
            Answer::Token(issued) => Ok(issued),
            Answer::TokenRequest { .. } => {
                Err(SourceError::passing("the exchange answered with another TokenRequest"))
            }
        }
    }

    fn asked<'v>(&self, values: Values<'_, 'v>) -> Result<Asked, SourceError> {
        let mut headers = usual_headers(UNDERSTOOD);
        let (kind, body) = self.body(values)?;
        if let Some(kind) = kind {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        for (name, template) in &self.source.headers {
            let text = expand(template, Place::Header, values)?;
            let mut value = HeaderValue::from_str(&text).map_err(|_| {
                SourceError::terminal(format!(
                    "the header {name} of the token request has a line break or worse"
                ))
            })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Asked { headers, body })
    }

    fn body<'v>(&self, values: Values<'_, 'v>) -> Result<(Option<&'static str>, Bytes), SourceError> {
        Ok(match &self.source.body {
            HttpBody::None => (None, Bytes::new()),
            HttpBody::Json(template) => {
                (Some("application/json"), expand(template, Place::JsonString, values)?.into())
            }
            HttpBody::Form(fields) => {
                let mut body = String::new();
                for (name, template) in fields {
                    let separator = if body.is_empty() { "" } else { "&" };
                    body.push_str(separator);
                    body.extend(form_urlencoded::byte_serialize(name.as_bytes()));
                    body.push('=');
                    let value = expand(template, Place::Text, values)?;
                    body.extend(form_urlencoded::byte_serialize(value.as_bytes()));
                }
                (Some("application/x-www-form-urlencoded"), body.into())
            }
            HttpBody::Text(template, place) => (None, expand(template, *place, values)?.into()),
        })
    }

    /// The whole request, to be compared with what it was: the operator's part of it, which is no client's.
    pub(super) fn asked_with(&self) -> Option<Vec<u8>> {
        let Asked { headers, body } = self.asked(&|_| Some("")).ok()?;
        let HttpSource { endpoint, exchange, method, tls, .. } = &self.source;
        let mut parts = Parts::default();
        parts.put(method.as_str());
        parts.endpoint(endpoint);
        parts.endpoint(exchange);
        parts.identity(tls);
        for (name, value) in &headers {
            parts.put(name);
            parts.put(value);
        }
        parts.put(body);
        Some(parts.whole())
    }
}

impl fmt::Debug for HttpTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers and body are as good as the token.
        f.debug_struct("HttpTokens").field("dialer", &self.dialer).finish_non_exhaustive()
    }
}

async fn send(
    dialer: &Dialer,
    request: Request<Bytes>,
    now: Now,
    deadline: Instant,
) -> Result<Response<Bytes>, SourceError> {
    let response =
        net_http::request(dialer, request, MAX_ANSWER, deadline).await.map_err(|error| unanswered(&error))?;
    if response.status().is_success() { Ok(response) } else { Err(refusal(&response, now)) }
}

fn unanswered(error: &HttpError) -> SourceError {
    let reason = error.to_string();
    if error.may_have_arrived() { SourceError::passing(reason) } else { SourceError::unreached(reason) }
}

fn understood(
    form: &AnswerForm,
    response: &Response<Bytes>,
    before: Option<&str>,
) -> Result<Answer, SourceError> {
    let kind = content_type(response).map_err(SourceError::passing)?;
    Ok(answer::read(form, response.headers(), kind, response.body(), before)?)
}

/// What a status other than success means.
fn refusal(response: &Response<Bytes>, now: Now) -> SourceError {
    let status = response.status();
    let code = answer::error_code(response.body());
    let kind = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => FailureKind::Terminal,
        StatusCode::BAD_REQUEST if code.as_deref().is_some_and(answer::is_refusal) => FailureKind::Terminal,
        _ => FailureKind::Passing,
    };
    let mut reason = format!("the source answered {status}");
    if status.is_redirection() {
        reason.push_str(", and a redirect is not followed");
    }
    if let Some(code) = code {
        reason = format!("{reason} ({code})");
    }
    SourceError { retry_after: retry_after(response.headers(), now), ..SourceError::of(kind, reason) }
}

/// `{exchange}/keys/{keyName}/requestToken`.
fn exchange_path(exchange: &Endpoint, key_name: &str) -> String {
    let base = exchange.path_and_query.split('?').next().unwrap_or_default().trim_end_matches('/');
    format!("{base}/keys/{key_name}/requestToken")
}

#[cfg(test)]
mod tests;
