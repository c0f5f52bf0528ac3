//! Who may come in: what a request must be, and must show, before a credential is used for it.
//!
//! Rules:
//! 1. A browser's page is let in by its origin, for it cannot help telling it; anyone else by the secret, if the route
//!    has one. Nothing here says which part of a secret was wrong.
//! 2. An `Upgrade` to something else than WebSocket is no error: it is ignored (RFC 9110 §7.8).
//! 3. What a proxy in front does to every handshake, the operator has to hear of: such a refusal says so
//!    (`docs/ingress.md`).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header};
use subtle::ConstantTimeEq;

use super::{answer::Answer, tally::Turned, upstream::has_token};
use crate::{
    config::{ClientGate, Route},
    dialect::Request as Asked,
    net::http::bearer,
    telemetry::Handshake,
};

/// Why a request is turned away.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) why: Cow<'static, str>,
    /// Most likely a proxy in front is set up wrongly.
    pub(super) in_front: bool,
}

impl Denied {
    /// The answer that says so, on this route.
    pub(super) fn answer(self, route: &Route) -> Box<Answer> {
        let outcome = match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::SERVICE_UNAVAILABLE => Handshake::Unauthorized,
            StatusCode::FORBIDDEN => Handshake::Origin,
            _ => Handshake::BadRequest,
        };
        let turned = Turned { in_front: self.in_front, ..Turned::new(outcome, &route.name, self.why) };
        Box::new(turned.answer(self.status))
    }
}

fn denied<T>(status: StatusCode, why: impl Into<Cow<'static, str>>) -> Result<T, Denied> {
    Err(Denied { status, why: why.into(), in_front: false })
}

/// Denied for what a proxy in front most likely did.
fn in_front<T>(status: StatusCode, why: &'static str) -> Result<T, Denied> {
    Err(Denied { status, why: why.into(), in_front: true })
}

/// Does this request want to become a WebSocket?
pub(super) fn is_handshake<B>(request: &Request<B>) -> bool {
    has_token(request.headers(), &header::UPGRADE, "websocket")
}

/// Is this what a proxy leaves of a handshake that does not know of WebSocket: all but the headers of the hop?
pub(super) fn check_remains<B>(request: &Request<B>) -> Result<(), Denied> {
    if !request.headers().contains_key(header::SEC_WEBSOCKET_KEY) {
        return Ok(());
    }
    in_front(
        StatusCode::UPGRADE_REQUIRED,
        "this is a WebSocket handshake without its Upgrade header: a proxy in front takes it away; it has to pass \
         Upgrade and Connection on, over HTTP/1.1",
    )
}

/// Is this a probe of somebody who means the admin port?
pub(super) fn is_probe<B>(request: &Request<B>) -> bool {
    const PROBES: [&str; 6] =
        ["kube-probe/", "ELB-HealthChecker/", "GoogleHC/", "Envoy/HC", "Consul Health Check", "HAProxy"];
    let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("");
    let bare = agent.is_empty() && request.version() == Version::HTTP_10;
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    reads && (bare || PROBES.iter().any(|probe| agent.starts_with(probe)))
}

/// Is this a WebSocket handshake (RFC 6455 §4.2.1), and nothing besides?
pub(super) fn check_handshake<B>(request: &Request<B>) -> Result<(), Denied> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return denied(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket begins with GET");
    }
    if request.version() != Version::HTTP_11 {
        let why =
            "a WebSocket needs HTTP/1.1: a proxy in front speaks HTTP/1.0 (in nginx: proxy_http_version 1.1)";
        return in_front(StatusCode::UPGRADE_REQUIRED, why);
    }
    let empty = headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0");
    if !empty || headers.contains_key(header::TRANSFER_ENCODING) {
        return denied(StatusCode::BAD_REQUEST, "a WebSocket handshake has no body");
    }
    check_target(request)?;
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        let why = "the Connection header must say Upgrade: a proxy in front passes Upgrade on, and writes a Connection \
                   of its own";
        return in_front(StatusCode::BAD_REQUEST, why);
    }
    if !headers.contains_key(header::SEC_WEBSOCKET_KEY) {
        let why = "the handshake has no Sec-WebSocket-Key: a proxy in front that takes WebSocket over HTTP/2 has to add \
                   it (RFC 8441 §5), or has to offer its clients HTTP/1.1 only";
        return in_front(StatusCode::BAD_REQUEST, why);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return denied(StatusCode::UPGRADE_REQUIRED, "Sec-WebSocket-Version must be 13");
    }
    check_key(headers)
}

/// Names the request a path here, and one host? An absolute target is one of these (RFC 9112 §3.2.2): what it names
/// replaces `Host`, and leads nowhere else.
fn check_target<B>(request: &Request<B>) -> Result<(), Denied> {
    let uri = request.uri();
    let plain = uri.authority().is_none_or(|authority| !authority.as_str().contains('@'));
    let hosts = request.headers().get_all(header::HOST).iter().count();
    // HTTP/1.0 knows no `Host`.
    let one = hosts == 1 || hosts == 0 && request.version() == Version::HTTP_10;
    if plain && one && uri.path().starts_with('/') {
        return Ok(());
    }
    denied(StatusCode::BAD_REQUEST, "the request must name its path, and one Host")
}

/// Is the body framed in a way that is passed on? What was coded otherwise would be taken for the body itself.
pub(super) fn is_framed(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(one), None) => one.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// May this be passed on as a plain request? Its target is a path here, and it names one `Host` at the most.
pub(super) fn check_request<B>(request: &Request<B>) -> Result<(), Denied> {
    if request.method() == Method::CONNECT {
        return denied(StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served");
    }
    // The service would send the request back as it got it, with the token in it (RFC 9110 §9.3.8).
    if request.method() == Method::TRACE {
        return denied(StatusCode::METHOD_NOT_ALLOWED, "TRACE is not served");
    }
    if !matches!(request.version(), Version::HTTP_11 | Version::HTTP_10) {
        return denied(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.1 and HTTP/1.0 are served");
    }
    if !is_framed(request.headers()) {
        return denied(StatusCode::NOT_IMPLEMENTED, "of transfer codings only chunked is served");
    }
    check_target(request)
}

/// A browser names no origin with some plain requests: an image, a script, or a page's own GET, where a name
/// may have been made to point here. Anyone who shows the route's secret is none of these.
pub(super) fn check_page(
    gate: &ClientGate,
    asked: &Asked,
    host: Option<&str>,
    open: bool,
) -> Result<(), Denied> {
    if gate.secret.is_some() || asked.headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    let elsewhere = |site: &HeaderValue| site == "cross-site" || site == "same-site";
    if asked.headers.get_all("sec-fetch-site").iter().any(elsewhere) {
        return denied(StatusCode::FORBIDDEN, "a page from elsewhere is not allowed");
    }
    // Every browser names its host.
    if open || host.is_none_or(is_own_address) {
        return Ok(());
    }
    denied(
        StatusCode::FORBIDDEN,
        "Host must be this address by number, or localhost; else set a secret in [route.client], \
         or open = true in [listen]",
    )
}

/// Takes out what a service that reads `_` as `-`, as CGI does, would take for the header `of`.
pub(super) fn remove_twins(headers: &mut HeaderMap, of: &HeaderName) {
    let alike =
        |name: &&HeaderName| name.as_str().contains('_') && name.as_str().replace('_', "-") == of.as_str();
    for twin in headers.keys().filter(alike).cloned().collect::<Vec<_>>() {
        headers.remove(twin);
    }
}

/// Sixteen bytes in base64, once.
fn check_key(headers: &HeaderMap) -> Result<(), Denied> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let key = keys.next().and_then(|key| BASE64_STANDARD.decode(key.as_bytes()).ok());
    match (key, keys.next()) {
        (Some(key), None) if key.len() == 16 => Ok(()),
        _ => denied(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key must be 16 bytes in base64"),
    }
}

/// May this client use the route's credential? What let it in does not go on to the service.
pub(super) fn admit(route: &Route, asked: &mut Asked, host: Option<&str>) -> Result<(), Denied> {
    check_origin(&route.client, asked, host)?;
    let Some(secret) = &route.client.secret else { return Ok(()) };
    let Ok(secret) = secret.reveal() else {
        return denied(StatusCode::SERVICE_UNAVAILABLE, "the secret of this route cannot be read");
    };
    if take_shown(asked, &secret) { Ok(()) } else { denied(StatusCode::UNAUTHORIZED, WRONG_SECRET) }
}

const WRONG_SECRET: &str = "the secret of this route is missing or wrong";

/// Takes the secret out of every place in which it was shown; was it shown?
fn take_shown(asked: &mut Asked, secret: &str) -> bool {
    let same = |shown: &[u8]| bool::from(shown.ct_eq(secret.as_bytes()));
    let is_it = |value: &HeaderValue| bearer(value).is_some_and(same);
    let mut shown = remove_values(&mut asked.headers, &header::AUTHORIZATION, is_it);
    let own = HeaderName::from_static("x-perennial-secret");
    shown |= remove_values(&mut asked.headers, &own, |value| same(value.as_bytes()));
    // It is for nobody else, right or wrong.
    asked.headers.remove(own);
    shown
        | asked
            .remove_parameters(|parameter| parameter.name == "secret" && same(parameter.value().as_bytes()))
}

/// Takes values of a header out; was there one?
fn remove_values(headers: &mut HeaderMap, name: &HeaderName, which: impl Fn(&HeaderValue) -> bool) -> bool {
    let (out, kept): (Vec<HeaderValue>, Vec<HeaderValue>) =
        headers.get_all(name).iter().cloned().partition(which);
    if out.is_empty() {
        return false;
    }
    headers.remove(name);
    for value in kept {
        headers.append(name.clone(), value);
    }
    true
}

/// A browser says where its page is from. Only a page of an allowed origin is let in; where none is
/// named, one of this very address, by number or as `localhost`: a name could be made to point here.
fn check_origin(gate: &ClientGate, asked: &Asked, host: Option<&str>) -> Result<(), Denied> {
    let mut origins = asked.headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    // Of two, nobody knows which the service believes.
    let origin = if origins.next().is_none() { origin.to_str().unwrap_or_default() } else { "" };
    if gate.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
        return Ok(());
    }
    let here = origin.split_once("://").map(|(_, authority)| authority);
    let same = gate.origins.is_empty() && here.is_some() && here == host && here.is_some_and(is_own_address);
    if same { Ok(()) } else { denied(StatusCode::FORBIDDEN, origin_denied(origin)) }
}

/// Names what would allow it, if it is written as an origin is (RFC 6454 §6.2), and not as something to be executed.
fn origin_denied(origin: &str) -> Cow<'static, str> {
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '/' | '[' | ']');
    let is_origin = origin.len() <= 300 && origin.contains("://") && origin.chars().all(is_plain);
    if is_origin {
        format!("this origin is not allowed; to allow it, add \"{origin}\" to client.origins of the route")
            .into()
    } else {
        "this origin is not allowed".into()
    }
}

fn is_own_address(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn asked(headers: &[(&'static str, &str)], target: &str) -> Asked {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Asked::new(target, &map)
    }

    fn origin(gate: &ClientGate, origin: &str, host: &str) -> bool {
        check_origin(gate, &asked(&[("origin", origin)], "/"), Some(host)).is_ok()
    }

    /// A gate with these origins.
    fn gate(origins: &str) -> ClientGate {
        let route = "[[route]]\nupstream = \"ws://h\"\ndialect = \"none\"\n[route.client]\norigins = ";
        Config::parse(&format!("{route}{origins}"), "t").unwrap().routes[0].client.clone()
    }

    #[test]
    fn a_page_from_elsewhere_is_turned_away() {
        let none = gate("[]");
        assert!(origin(&none, "http://127.0.0.1:7370", "127.0.0.1:7370"));
        assert!(origin(&none, "http://localhost:7370", "localhost:7370"));
        assert!(origin(&none, "http://[::1]:7370", "[::1]:7370"));
        assert!(!origin(&none, "http://127.0.0.1:3000", "127.0.0.1:7370"));
        assert!(!origin(&none, "null", "127.0.0.1:7370"));
        assert!(!origin(&none, "https://evil.example", "127.0.0.1:7370"));
        // DNS rebinding: the page and the Host agree, and both lie.
        assert!(!origin(&none, "http://evil.example:7370", "evil.example:7370"));
        let some = gate("[\"https://good.example\"]");
        assert!(origin(&some, "https://good.example", "127.0.0.1:7370"));
        assert!(!origin(&some, "https://good.example.evil", "127.0.0.1:7370"));
        assert!(!origin(&some, "http://good.example", "127.0.0.1:7370"));
        assert!(!origin(&some, "http://127.0.0.1:7370", "127.0.0.1:7370"));
    }

    #[test]
    fn a_refused_origin_is_told_what_allows_it() {
        let why = |origin| {
            let asked = asked(&[("origin", origin)], "/");
            check_origin(&gate("[]"), &asked, Some("sidecar:7370")).unwrap_err().why
        };
        assert!(why("https://sidecar:7370").contains("add \"https://sidecar:7370\" to client.origins"));
        for odd in ["null", "https://<script>", "https://a\"b", &format!("https://{}", "a".repeat(400))] {
            assert_eq!(why(odd), "this origin is not allowed");
        }
    }

    #[test]
    fn the_secret_is_taken_where_it_is_right() {
        for (headers, target, good) in [
            (vec![("authorization", "Bearer s3cret")], "/", true),
            (vec![("authorization", "Bearer wrong")], "/", false),
            (vec![("x-perennial-secret", "s3cret")], "/", true),
            (vec![("authorization", "bearer  s3cret")], "/", true),
            (vec![], "/?a=1&secret=s3cret", true),
            // However often, and beside wrong ones.
            (
                vec![
                    ("authorization", "Bearer s3cret"),
                    ("authorization", "Basic x"),
                    ("authorization", "BEARER s3cret"),
                    ("x-perennial-secret", "s3cret"),
                    ("x-perennial-secret", "s3cret"),
                ],
                "/?secret=s3cret&a=1&secret=no&secret=s3cret",
                true,
            ),
            (vec![("authorization", "Basic s3cret")], "/", false),
            (vec![], "/?secret=s3cre", false),
            (vec![], "/", false),
        ] {
            let mut asked = asked(&headers, target);
            assert_eq!(take_shown(&mut asked, "s3cret"), good, "{headers:?} {target}");
            if good {
                let left = format!("{} {:?}", asked.target, asked.headers);
                assert!(!left.contains("s3cret"), "it goes on: {left}");
            }
        }
    }

    #[test]
    fn what_is_left_of_a_handshake_is_known() {
        let request = |headers: &[(&'static str, &str)]| {
            let begun = Request::builder().uri("/").version(Version::HTTP_10);
            let all = headers.iter().fold(begun, |request, (name, value)| request.header(*name, *value));
            all.body(()).unwrap()
        };
        let left = request(&[("host", "h"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]);
        let denied = check_remains(&left).unwrap_err();
        assert!(denied.in_front && denied.status == StatusCode::UPGRADE_REQUIRED);
        assert_eq!(check_remains(&request(&[("upgrade", "h2c")])), Ok(()));
        assert!(is_probe(&request(&[])) && is_probe(&request(&[("user-agent", "kube-probe/1.33")])));
        assert!(!is_probe(&request(&[("user-agent", "curl/8")])));
    }

    #[test]
    fn only_chunks_frame_a_body() {
        for (codings, expected) in [
            (vec![], true),
            (vec!["Chunked "], true),
            (vec!["gzip, chunked"], false),
            (vec!["gzip", "chunked"], false),
            (vec!["xchunked"], false),
        ] {
            let lines = codings.iter().map(|coding| (header::TRANSFER_ENCODING, coding.parse().unwrap()));
            assert_eq!(is_framed(&HeaderMap::from_iter(lines)), expected, "{codings:?}");
        }
    }

    fn handshake(change: impl FnOnce(&mut Request<()>)) -> Option<u16> {
        let mut request = Request::builder()
            .uri("/")
            .header("host", "127.0.0.1")
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "WebSocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap();
        change(&mut request);
        check_handshake(&request).err().map(|denied| denied.status.as_u16())
    }

    #[test]
    fn only_a_handshake_is_one() {
        let set = |name: &'static str, value: &'static str| {
            handshake(move |request| {
                request.headers_mut().insert(name, value.parse().unwrap());
            })
        };
        assert_eq!(handshake(|_| {}), None);
        assert_eq!(handshake(|request| *request.method_mut() = Method::POST), Some(405));
        assert_eq!(handshake(|request| *request.version_mut() = Version::HTTP_10), Some(426));
        for (target, expected) in
            [("http://127.0.0.1:7370/a", None), ("http://a:b@127.0.0.1/", Some(400)), ("*", Some(400))]
        {
            assert_eq!(
                handshake(|request| *request.uri_mut() = target.parse().unwrap()),
                expected,
                "{target}"
            );
        }
        assert_eq!(set("content-length", "5"), Some(400));
        assert_eq!(set("transfer-encoding", "chunked"), Some(400));
        assert_eq!(set("upgrade", "h2c, WebSocket"), None);
        assert_eq!(set("connection", "close"), Some(400));
        assert_eq!(set("sec-websocket-version", "8"), Some(426));
        assert_eq!(set("sec-websocket-key", "c2hvcnQ="), Some(400));
        for name in ["sec-websocket-key", "host"] {
            let twice = handshake(|request| {
                let value = request.headers()[name].clone();
                request.headers_mut().append(name, value);
            });
            assert_eq!(twice, Some(400), "{name} twice");
        }
    }
}
