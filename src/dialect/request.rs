//! A handshake: what the client asked for, and what the upstream is asked.
//!
//! The client's headers go on, without those of one hop, those of the WebSocket handshake, and its
//! credential. Parameters of the query keep their order and their spelling. Cookies that the service sets are shown
//! again on later connections of the session.

pub(super) mod cookies;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use cookies::Jar;

use crate::config::Endpoint;

/// The client's handshake, as far as it goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Path and query as the client wrote them.
    pub target: String,
    /// The headers for the service: those of the connection to Perennial, and those of the handshake, are not among
    /// them.
    pub headers: HeaderMap,
    /// What the service set.
    cookies: Jar,
}

/// The upstream's handshake, but for the headers of the WebSocket itself.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub target: String,
    pub headers: HeaderMap,
    /// Where the service is, if the token says it.
    pub elsewhere: Option<Endpoint>,
}

/// Headers that belong to one hop or to the handshake (RFC 9110 §7.6.1, RFC 6455 §4.1).
const NOT_FORWARDED: [HeaderName; 15] = [
    header::HOST,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_ACCEPT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Headers for the other end: `Connection` cannot take them out (RFC 9110 §7.6.1), and what judges a request finds
/// them.
const END_TO_END: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::ORIGIN,
    header::SEC_WEBSOCKET_PROTOCOL,
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("x-perennial-secret"),
];

impl Request {
    /// Keeps what goes on; what `Connection` nominates does not.
    pub fn new(target: &str, headers: &HeaderMap) -> Self {
        let nominated: Vec<String> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        let mut kept = HeaderMap::new();
        for (name, value) in headers {
            let nominated = nominated.iter().any(|n| n == name.as_str()) && !END_TO_END.contains(name);
            if !NOT_FORWARDED.contains(name) && !nominated {
                kept.append(name.clone(), value.clone());
            }
        }
        Self { target: target.into(), headers: of_their_own(kept), cookies: Jar::default() }
    }

    /// Passes on the extensions of the WebSocket that the client offers, for a session in which nothing is read: they are
    /// between the client and the service.
    pub fn pass_extensions(&mut self, headers: &HeaderMap) {
        for value in headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS) {
            self.headers.append(header::SEC_WEBSOCKET_EXTENSIONS, value.clone());
        }
    }

    /// Keeps the cookies of the service's answer, to be shown on later connections of this session. What is kept is
    /// bounded.
    pub fn remember_cookies(&mut self, answer: &HeaderMap) {
        self.cookies.remember(answer);
    }

    /// The request as it is made now: with the cookies that the service has set since.
    pub(super) fn with_cookies(&self) -> Self {
        let mut request = self.clone();
        request.cookies.show(&mut request.headers);
        request
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// Parameters of the query as they are written: name decoded, the rest raw.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        query.split('&').filter(|raw| !raw.is_empty()).map(Parameter::new)
    }

    /// Takes parameters out; was there one?
    pub fn remove_parameters(&mut self, which: impl Fn(&Parameter<'_>) -> bool) -> bool {
        let (mut kept, mut found) = (Vec::new(), false);
        for parameter in self.parameters() {
            if which(&parameter) {
                found = true;
            } else {
                kept.push(parameter.raw.to_owned());
            }
        }
        if found {
            self.target = join_target(self.path(), &kept);
        }
        found
    }

    /// The decoded value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters().find(|p| p.name == name).map(|p| p.value())
    }
}

/// The same headers in no more memory than they need: a value that was read is a part of the buffer that was read into,
/// and would keep all of it for the session's life.
fn of_their_own(mut headers: HeaderMap) -> HeaderMap {
    let mut own = HeaderMap::with_capacity(headers.keys_len());
    let mut last = None;
    for (name, value) in headers.drain() {
        last = name.or(last);
        if let (Some(name), Ok(mut copy)) = (last.clone(), HeaderValue::from_bytes(value.as_bytes())) {
            copy.set_sensitive(value.is_sensitive());
            own.append(name, copy);
        }
    }
    own
}

/// One `name=value` of a query.
#[derive(Debug)]
pub struct Parameter<'a> {
    /// Decoded.
    pub name: String,
    /// The pair as written.
    pub raw: &'a str,
}

impl<'a> Parameter<'a> {
    fn new(raw: &'a str) -> Self {
        let name = raw.split_once('=').map_or(raw, |(name, _)| name);
        Self { name: decode(name), raw }
    }

    /// Decoded.
    pub fn value(&self) -> String {
        self.raw.split_once('=').map_or_else(String::new, |(_, value)| decode(value))
    }
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// Everything but RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Writes `name=value` with everything escaped that could end a parameter.
pub(super) fn encode_parameter(name: &str, value: &str) -> String {
    format!("{}={}", utf8_percent_encode(name, ESCAPED), utf8_percent_encode(value, ESCAPED))
}

/// Path and query from their parts.
pub(super) fn join_target(path: &str, parameters: &[String]) -> String {
    if parameters.is_empty() { path.to_owned() } else { format!("{path}?{}", parameters.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_and_nominated_headers_stay_behind() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "evil"),
            ("connection", "Upgrade, X-Secret-Hop, Origin, Authorization"),
            ("origin", "https://evil.example"),
            ("x-secret-hop", "1"),
            ("upgrade", "websocket"),
            ("sec-websocket-extensions", "permessage-deflate"),
            ("user-agent", "old client"),
            ("cookie", "a=1"),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers.append("cookie", "b=2".parse().unwrap());
        let request = Request::new("/x?a=1", &headers);
        let kept: Vec<_> =
            request.headers.iter().map(|(n, v)| format!("{n}={}", v.to_str().unwrap())).collect();
        assert_eq!(
            kept,
            ["origin=https://evil.example", "user-agent=old client", "cookie=a=1", "cookie=b=2"]
        );
    }

    #[test]
    fn parameters_are_found_whatever_their_spelling() {
        let request = Request::new("/?acc%65ssToken=a%3Db&x&v=2", &HeaderMap::new());
        assert_eq!(request.parameter("accessToken").as_deref(), Some("a=b"));
        assert_eq!(request.parameter("x").as_deref(), Some(""));
        assert_eq!((request.path(), request.parameter("none")), ("/", None));
    }
}
