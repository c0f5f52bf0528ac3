//! The headers by which proxies tell each other of a client: `X-Forwarded-*`, and `Forwarded` (RFC 7239).

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const X_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// All that speaks of who the client is, or of how it came. (What says who its user is, such as `X-Forwarded-User`, is
/// for the service to believe or not.)
const OF_CLIENTS: [&str; 10] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded-by",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-real-ip",
];

/// Removes what a client may have forged, also as CGI would read it: with `_` for `-`.
pub(super) fn remove(headers: &mut HeaderMap) {
    let forged = |name: &&HeaderName| OF_CLIENTS.contains(&&*name.as_str().replace('_', "-"));
    for name in headers.keys().filter(forged).cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// Who the request came by, the client first; `None`: an entry that is no address.
pub(super) fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let x = list(headers, &X_FOR);
    if !x.is_empty() {
        return x.iter().map(|text| node(text)).collect();
    }
    let elements = list(headers, &FORWARDED);
    elements.iter().map(|element| parameter(element, "for").and_then(|text| node(&text))).collect()
}

/// What a proxy says of the client's own request: its `proto`, or its `host`.
pub(super) fn told(headers: &HeaderMap, what: &'static str) -> Option<String> {
    let x = if what == "proto" { X_PROTO } else { X_HOST };
    let first = list(headers, &x).into_iter().next();
    first.or_else(|| parameter(list(headers, &FORWARDED).first()?, what))
}

/// Tells the service by `X-Forwarded-*`. What is there is a trusted proxy's.
pub(super) fn by_x(headers: &mut HeaderMap, peer: Option<IpAddr>, host: Option<&str>, scheme: &str) {
    let mut hops = list(headers, &X_FOR);
    hops.extend(peer.map(|address| address.to_string()));
    if !hops.is_empty() {
        set(headers, X_FOR, &hops.join(", "));
    }
    set(headers, X_PROTO, scheme);
    if let Some(host) = host {
        set(headers, X_HOST, host);
    }
}

/// Tells the service by `Forwarded`. What is there is a trusted proxy's.
pub(super) fn by_rfc(headers: &mut HeaderMap, peer: Option<IpAddr>, host: Option<&str>, scheme: &str) {
    let node = match peer {
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("\"[{address}]\""),
        None => "unknown".to_owned(),
    };
    let host = host.map_or_else(String::new, |host| format!(";host={}", quoted(host)));
    let mut elements = list(headers, &FORWARDED);
    elements.push(format!("for={node}{host};proto={scheme}"));
    set(headers, FORWARDED, &elements.join(", "));
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A token as it is, anything else in quotes (RFC 9110 §5.6).
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    match text.bytes().all(plain) {
        true => text.to_owned(),
        false => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

/// The entries of a header that is a list, in their order; a comma inside quotes is none.
fn list(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| split(line, ',')).collect()
}

fn split(text: &str, at: char) -> Vec<String> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = text.split(|c: char| {
        let separates = c == at && !quoted;
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        separates
    });
    parts.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// A parameter of an element of `Forwarded`, without its quotes.
fn parameter(element: &str, name: &str) -> Option<String> {
    let pairs = split(element, ';');
    let value = pairs.iter().find_map(|pair| {
        let (own, value) = pair.split_once('=')?;
        own.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })?;
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    Some(inner.map_or_else(|| value.to_owned(), |inner| inner.replace("\\\"", "\"").replace("\\\\", "\\")))
}

/// The address of a node: `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::7`, `[2001:db8::7]:4711`.
fn node(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']')?.0.parse().ok();
    }
    let alone = text.parse().ok();
    alone.or_else(|| text.rsplit_once(':')?.0.parse().ok().filter(IpAddr::is_ipv4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_come_with_and_without_a_port() {
        for (text, expected) in [
            ("192.0.2.7", Some("192.0.2.7")),
            ("192.0.2.7:4711", Some("192.0.2.7")),
            ("2001:db8::7", Some("2001:db8::7")),
            ("[2001:db8::7]", Some("2001:db8::7")),
            ("[2001:db8::7]:4711", Some("2001:db8::7")),
            ("unknown", None),
            ("_hidden", None),
            ("", None),
            ("[::1", None),
        ] {
            assert_eq!(node(text), expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_comma_inside_quotes_separates_nothing() {
        assert_eq!(split("a=\"b,c\\\",d\", e", ','), ["a=\"b,c\\\",d\"", "e"]);
        assert_eq!(parameter("For=\"a\\\"b\";proto=https", "for").as_deref(), Some("a\"b"));
        assert_eq!(parameter("by=x", "for"), None);
    }
}
