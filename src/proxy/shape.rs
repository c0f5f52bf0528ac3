//! What a request must be: a handshake, a plain request, or what somebody in front made of one.
//!
//! Rules:
//! 1. An `Upgrade` to something else than WebSocket is no error: it is ignored (RFC 9110 §7.8).
//! 2. A target may be absolute (RFC 9112 §3.2.2). What it names replaces `Host`, and leads nowhere else.
//! 3. What a proxy in front does to every handshake, the operator has to hear of: such a refusal says so
//!    (`docs/ingress.md`).

use http::{HeaderMap, Method, Request, StatusCode, Version, header};

use super::{
    gate::{Denied, denied},
    upstream::has_token,
};

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

#[cfg(test)]
mod tests {
    use super::*;

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
