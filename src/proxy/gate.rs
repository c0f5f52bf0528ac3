//! Who may come in: what a request must show before a credential is used for it.
//!
//! Rules: a browser's page is let in by its origin, for it cannot help telling it; anyone else by the secret, if the route
//! has one. Nothing here says which part of a secret was wrong.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use subtle::ConstantTimeEq;

use super::{answer::Answer, tally::Turned};
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

pub(super) fn denied<T>(status: StatusCode, why: impl Into<Cow<'static, str>>) -> Result<T, Denied> {
    Err(Denied { status, why: why.into(), in_front: false })
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
}
