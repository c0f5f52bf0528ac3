//! What the sources that ask over HTTP share: a request as it is built, and what a head tells of the answer.
//!
//! 1. An answer is at most 64 KiB long, and not compressed.
//! 2. A name without a value passes: a value may come.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use zeroize::Zeroizing;

use super::SourceError;
use crate::config::{Name, Place, Secret, SecretText, Template};
pub(super) use crate::net::http::retry_after;

/// The largest answer that is read.
pub(super) const MAX_ANSWER: usize = 64 * 1024;

/// What names stand for.
pub(super) type Values<'f, 'v> = &'f dyn Fn(&Name) -> Option<&'v str>;

pub(super) fn expand(
    template: &Template,
    place: Place,
    values: Values<'_, '_>,
) -> Result<String, SourceError> {
    template.expand(place, values).map_err(|error| SourceError::passing(error.to_string()))
}

/// A secret, as it is now.
pub(super) fn reveal(secret: &Secret) -> Result<SecretText, SourceError> {
    secret.reveal().map_err(|error| SourceError::passing(error.to_string()))
}

/// User and password as a header has them (RFC 7617).
pub(super) fn basic(user: &str, password: &str) -> Result<HeaderValue, SourceError> {
    let pair = Zeroizing::new(format!("{user}:{password}"));
    let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(&*pair)));
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| SourceError::terminal("user and password cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Puts the headers of the configuration beside those that are there.
pub(super) fn put_headers(
    configured: &[(HeaderName, Template)],
    values: Values<'_, '_>,
    headers: &mut HeaderMap,
) -> Result<(), SourceError> {
    for (name, template) in configured {
        let text = Zeroizing::new(expand(template, Place::Header, values)?);
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            SourceError::terminal(format!("the header {name} of the token request has a line break or worse"))
        })?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(())
}

/// The headers of every request; `accept` is what can be understood.
pub(super) fn usual_headers(accept: &'static str) -> HeaderMap {
    let usual: [(HeaderName, HeaderValue); 3] = [
        (header::ACCEPT, HeaderValue::from_static(accept)),
        // Nothing here would unpack it.
        (header::ACCEPT_ENCODING, HeaderValue::from_static("identity")),
        (header::USER_AGENT, HeaderValue::from_static(concat!("perennial/", env!("CARGO_PKG_VERSION")))),
    ];
    usual.into_iter().collect()
}

pub(super) fn request(
    method: Method,
    path: &str,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Request<Bytes>, SourceError> {
    let built = Request::builder().method(method).uri(path).body(body);
    let mut request =
        built.map_err(|_| SourceError::terminal("the path of the token request is not valid"))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The `Content-Type` of an answer that can be read; the error is a reason.
pub(super) fn content_type(response: &Response<Bytes>) -> Result<Option<&str>, &'static str> {
    if let Some(coding) = response.headers().get(header::CONTENT_ENCODING)
        && coding.as_bytes() != b"identity"
    {
        return Err("the answer is compressed, which was not asked for");
    }
    Ok(response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()))
}
