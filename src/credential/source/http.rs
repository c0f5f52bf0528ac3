//! Tokens from an HTTP endpoint.
//!
//! ```text
//!   basic, headers, body ◄── {token} {refresh_token} {jwt} {client.token} {query.NAME} {header.NAME}
//!          │
//!          └──► one request ──► answer ──► a token, a refresh token
//!                     │              └───► an Ably TokenRequest, exchanged at once
//!                     └──► refusal ──► passing · lost · terminal
//! ```
//!
//! 1. One request, one answer of at most 64 KiB; a redirect is not followed.
//! 2. An Ably TokenRequest is exchanged once: its nonce is good for one use.
//! 3. If the configuration has a refresh token, each answer may bring the next one, as with `oauth2`.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use zeroize::Zeroizing;

use super::{
    Asking, Issued, Rotating, SourceError,
    answer::{Answer, Reader},
    mask::Mask,
    parts::Parts,
    refusal::{Refused, Sent},
    request::{MAX_ANSWER, Values, basic, content_type, expand, put_headers, request, reveal, usual_headers},
    signed::signed,
};
use crate::{
    clock::{Instant, Now},
    config::{AnswerForm, Endpoint, HttpSource, Name, Place, SecretText, UpstreamTls},
    net::{Dialer, Egress, TlsError, http as net_http},
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

/// What is filled in beside the values of a client.
#[derive(Default)]
struct Own {
    refresh_token: Option<SecretText>,
    jwt: Option<Zeroizing<String>>,
}

impl HttpTokens {
    /// Reads the certificates of both endpoints.
    pub fn new(source: &HttpSource, egress: &Egress) -> Result<Self, TlsError> {
        let dialer = Dialer::new(&source.endpoint, &source.tls)?.by(egress);
        // What was configured for the token endpoint says nothing about another host.
        let same = source.exchange.host == source.endpoint.host;
        let tls = if same { source.tls.clone() } else { UpstreamTls::default() };
        let exchange = Dialer::new(&source.exchange, &tls)?.by(egress);
        Ok(Self { source: source.clone(), dialer, exchange })
    }

    pub(super) async fn fetch(
        &self,
        asking: &Asking,
        now: Now,
        deadline: Instant,
    ) -> Result<Issued, SourceError> {
        let own = self.own(asking, now)?;
        let values = |name: &Name| match name {
            Name::RefreshToken => own.refresh_token.as_deref(),
            Name::Jwt => own.jwt.as_deref().map(String::as_str),
            Name::Token
            | Name::ClientToken
            | Name::Query(_)
            | Name::Arg
            | Name::Header(_)
            | Name::Json
            | Name::Client(_) => asking.value(name),
        };
        let Asked { headers, body } = self.asked(&values)?;
        let target = expand(&self.source.target, Place::Url, &values)?;
        let request = request(self.source.method.clone(), &target, headers, body)?;
        let before = asking.current.as_ref().map(|token| token.expose());
        let reader =
            Reader { form: &self.source.answer, before, rotates: self.source.refresh_token.is_some() };
        let mask = self.mask(&values);
        let (answer, body) = self.send(&self.dialer, request, reader, &mask, now, deadline).await?;
        match answer {
            Answer::Token(issued) => Ok(issued),
            Answer::TokenRequest { key_name } => self.exchange(&key_name, body, &mask, now, deadline).await,
        }
    }

    /// Posts an Ably TokenRequest as it came, signature and all.
    async fn exchange(
        &self,
        key_name: &str,
        body: Bytes,
        mask: &Mask,
        now: Now,
        deadline: Instant,
    ) -> Result<Issued, SourceError> {
        let path = exchange_path(&self.source.exchange, key_name);
        let mut headers = usual_headers(UNDERSTOOD);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let request = request(Method::POST, &path, headers, body)?;
        let reader = Reader::of(&AnswerForm::Auto);
        let answer = self.send(&self.exchange, request, reader, mask, now, deadline).await;
        match answer {
            Ok((Answer::Token(issued), _)) => Ok(issued),
            Ok((Answer::TokenRequest { .. }, _)) => {
                Err(SourceError::passing("the exchange answered with another TokenRequest"))
            }
            Err(error) => Err(SourceError {
                reason: format!("the exchange of the TokenRequest: {}", error.reason),
                ..error
            }),
        }
    }

    /// What the answer means, and its body.
    async fn send(
        &self,
        dialer: &Dialer,
        request: Request<Bytes>,
        reader: Reader<'_>,
        mask: &Mask,
        now: Now,
        deadline: Instant,
    ) -> Result<(Answer, Bytes), SourceError> {
        let sent = Sent { whom: "the source", speaks_json: reader.rotates, is_used_up: reader.rotates };
        let response = net_http::request(dialer, request, MAX_ANSWER, deadline).await;
        let response = response.map_err(|error| sent.unanswered(&error))?;
        let signed = self.source.jwt.is_some();
        let refused =
            |response: &Response<Bytes>| sent.refused(&Refused::of(response, mask, signed, now), None);
        if !response.status().is_success() {
            return Err(refused(&response));
        }
        let kind = content_type(&response).map_err(|what| sent.useless(&what))?;
        match reader.read(response.headers(), kind, response.body()) {
            Ok(answer) => Ok((answer, response.into_body())),
            // Some servers have no other status.
            Err(useless) if useless.is_refusal(response.body()) => Err(refused(&response)),
            Err(useless) => Err(sent.bad(useless)),
        }
    }

    fn own(&self, asking: &Asking, now: Now) -> Result<Own, SourceError> {
        let refresh_token = match (&asking.refresh_token, &self.source.refresh_token) {
            (Some(newer), Some(_)) => Some((**newer).clone()),
            (None, Some(first)) => Some(reveal(first)?),
            (_, None) => None,
        };
        let jwt = match &self.source.jwt {
            Some(signer) => Some(signed(signer, &[], &|name| asking.value(name), now)?),
            None => None,
        };
        Ok(Own { refresh_token, jwt })
    }

    fn asked(&self, values: Values<'_, '_>) -> Result<Asked, SourceError> {
        let mut headers = usual_headers(UNDERSTOOD);
        let body = self.source.body.render(values);
        let body = body.map_err(|error| SourceError::passing(error.to_string()))?;
        if let Some((Some(kind), _)) = body {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if let Some((user, password)) = &self.source.basic {
            headers.insert(header::AUTHORIZATION, basic(user, &reveal(password)?)?);
        }
        put_headers(&self.source.headers, values, &mut headers)?;
        Ok(Asked { headers, body: body.map_or_else(Bytes::new, |(_, text)| text.into()) })
    }

    /// Hides what is sent in what the server says of it.
    fn mask(&self, values: Values<'_, '_>) -> Mask {
        let mut mask = Mask::default();
        let source = &self.source;
        let kept = source.templates().flat_map(|template| template.secrets());
        let kept = kept.chain(source.basic.iter().map(|(_, password)| password));
        kept.chain(&source.refresh_token)
            .filter_map(|secret| secret.reveal_lines().ok())
            .for_each(|secret| mask.add(&secret));
        let filled_in = source.templates().flat_map(|template| template.names());
        filled_in.filter_map(values).for_each(|value| mask.add(value));
        // What is written out in a header or a field may be a secret too.
        let written = source.headers.iter().map(|(_, value)| value).chain(source.body.templates());
        written.filter_map(|template| template.as_literal()).for_each(|text| mask.add(text));
        mask
    }

    /// The configured refresh token, and where and as whom it is shown.
    pub(super) fn rotating(&self) -> Option<Rotating<'_>> {
        let mut at = Parts::default();
        at.put("http");
        at.endpoint(&self.source.endpoint);
        at.put(self.source.basic.as_ref().map_or("", |(user, _)| user));
        self.source.refresh_token.as_ref().map(|first| Rotating { first, at: at.whole() })
    }

    /// The whole request, to be compared with what it was: the operator's part of it, which is no client's.
    pub(super) fn asked_with(&self) -> Option<Vec<u8>> {
        let Asked { headers, body } = self.asked(&|_| Some("")).ok()?;
        let HttpSource { endpoint, exchange, method, tls, jwt, refresh_token, answer, .. } = &self.source;
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
        jwt.iter().try_for_each(|signer| parts.signer(signer))?;
        refresh_token.iter().try_for_each(|first| parts.secret(first))?;
        parts.answer(answer);
        Some(parts.whole())
    }
}

impl fmt::Debug for HttpTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers and body are as good as the token.
        f.debug_struct("HttpTokens").field("dialer", &self.dialer).finish_non_exhaustive()
    }
}

/// `{exchange}/keys/{keyName}/requestToken`.
fn exchange_path(exchange: &Endpoint, key_name: &str) -> String {
    let base = exchange.path_and_query.split('?').next().unwrap_or_default().trim_end_matches('/');
    format!("{base}/keys/{key_name}/requestToken")
}

#[cfg(test)]
mod tests;
