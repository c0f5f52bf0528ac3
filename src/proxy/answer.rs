//! What a client is answered: a refusal of Perennial's own, or what the service said, as far as it goes on.
//!
//! 1. After a refusal the connection is not used again: what the client sent behind its request is never read.
//! 2. Headers of one hop stay on it (RFC 9110 §7.6.1), and those that its `Connection` names.
//! 3. No header goes on that quotes the token.

use std::fmt::Display;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use super::{body::AnswerBody, upstream::has_token};
use crate::credential::Token;

/// The answer to a request.
pub(super) type Answer = Response<AnswerBody>;

/// Headers of the hop between the service and Perennial.
const OF_THE_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::PROXY_AUTHENTICATE,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_EXTENSIONS,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The service's headers, without those of its hop and those that its `Connection` names.
pub(super) fn end_to_end(from: &HeaderMap, to: &mut HeaderMap) {
    // Of a length and chunks the chunks count (RFC 9112 §6.3).
    let chunked = from.contains_key(header::TRANSFER_ENCODING);
    for (name, value) in from {
        let nominated = has_token(from, &header::CONNECTION, name.as_str());
        let length = chunked && *name == header::CONTENT_LENGTH;
        if !OF_THE_HOP.contains(name) && !nominated && !length {
            to.append(name.clone(), value.clone());
        }
    }
}

/// Is the token in there, as it is or percent-encoded?
pub(super) fn quotes(text: &[u8], token: Option<&Token>) -> bool {
    let Some(token) = token.map(Token::expose) else { return false };
    let decoded = percent_encoding::percent_decode(text).decode_utf8_lossy();
    decoded.contains(token) || String::from_utf8_lossy(text).contains(token)
}

/// Headers, but for those that quote the token, in whatever spelling.
pub(super) fn without(mut headers: HeaderMap, token: Option<&Token>) -> HeaderMap {
    let quoting: Vec<HeaderName> = headers
        .iter()
        .filter(|(_, value)| quotes(value.as_bytes(), token))
        .map(|(name, _)| name.clone())
        .collect();
    for name in quoting {
        headers.remove(name);
    }
    headers
}

/// The client's path and query, behind the path that the upstream's URL has.
pub(super) fn target_at(upstream: &str, asked: &str) -> String {
    let (base, fixed) = upstream.split_once('?').unwrap_or((upstream, ""));
    let mut target = format!("{}{asked}", base.trim_end_matches('/'));
    if !fixed.is_empty() {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(fixed);
    }
    target
}

/// A refusal. The connection is not used again.
pub(super) fn refuse(status: StatusCode, why: impl Display) -> Answer {
    let mut body = why.to_string();
    let says = !body.is_empty();
    if says {
        body.push('\n');
    }
    let mut response = Response::new(AnswerBody::Own(Full::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if says {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    if says && status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"perennial\""));
    }
    if status == StatusCode::UPGRADE_REQUIRED {
        // What `Upgrade` says is for the next hop, and `Connection` names it (RFC 9110 §7.8).
        headers.insert(header::CONNECTION, HeaderValue::from_static("close, Upgrade"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    response
}
