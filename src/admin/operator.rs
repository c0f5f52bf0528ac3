//! Who may have something done, and see who the clients are: somebody on this machine, by a program and not by a web
//! page.
//!
//! A browser on the operator's machine reaches loopback too, and runs what any site sends. What tells its
//! requests from a program's:
//!
//! 1. A page cannot set a header of its own towards another origin without a preflight (Fetch §4.8), which nobody
//!    here answers.
//! 2. A browser adds `Origin` or `Sec-Fetch-Site` itself, and no page can take them away: this is so for the
//!    status page, too, which therefore has no buttons.
//! 3. A name that was made to point at loopback (DNS rebinding) stands in `Host`.
//!
//! A proxy on this machine that passes requests on is not this machine's operator either: it says so. Of several users
//! of the machine, or containers of the pod, the operator is who shows `rehearsal_secret`, if the configuration has it.

use std::net::IpAddr;

use http::{
    HeaderMap,
    header::{AUTHORIZATION, FORWARDED, HOST, ORIGIN, VIA},
};
use subtle::ConstantTimeEq;

use super::Denied;
use crate::{
    config::Secret,
    net::{Peer, http::bearer},
};

/// What a program adds, and no page can.
pub(super) const OPERATOR: &str = "perennial-operator";

/// May this request have something done? `secret`: what it must show.
pub(super) fn check(headers: &HeaderMap, peer: &Peer, secret: Option<&Secret>) -> Result<(), Denied> {
    let refuse = |why: &str| Err(Denied::Forbidden(format!("refused: {why}")));
    if !peer.ip().is_loopback() {
        return refuse("an operator's actions are taken from this machine only");
    }
    if !headers.get(HOST).and_then(|host| host.to_str().ok()).is_some_and(is_loopback) {
        return refuse("Host must be a loopback address, or localhost");
    }
    let fetched = headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"));
    if fetched || headers.contains_key(ORIGIN) {
        return refuse("a browser asks; use the command `perennial`");
    }
    if headers.contains_key(FORWARDED) || headers.contains_key(VIA) || headers.contains_key("x-forwarded-for")
    {
        return refuse("it was passed on by a proxy");
    }
    if headers.get(OPERATOR).is_none_or(|value| value != "yes") {
        return refuse("the header `Perennial-Operator: yes` is missing; the command `perennial` sends it");
    }
    secret.map_or(Ok(()), |secret| check_secret(headers, peer, secret))
}

fn check_secret(headers: &HeaderMap, peer: &Peer, secret: &Secret) -> Result<(), Denied> {
    let secret = secret.reveal().map_err(|error| Denied::Forbidden(format!("refused: {error}")))?;
    let is_it = |shown: &[u8]| bool::from(shown.ct_eq(secret.as_bytes()));
    if headers.get_all(AUTHORIZATION).iter().filter_map(bearer).any(is_it) {
        return Ok(());
    }
    tracing::warn!(%peer, "an operator's action was refused: the secret is missing or wrong");
    Err(Denied::Unauthorized(
        "refused: the operator's secret is missing or wrong; --secret-file FILE shows it".to_owned(),
    ))
}

/// May a request under this `Host` see what is inside? `is_known`: the configuration names it.
pub(super) fn check_host(headers: &HeaderMap, is_known: impl Fn(&str) -> bool) -> Result<(), Denied> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).map_or("", name_of);
    if host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok() || is_known(host) {
        return Ok(());
    }
    Err(Denied::Forbidden(
        "refused: Host must be an address, localhost, or a name in [admin] hosts of the configuration"
            .to_owned(),
    ))
}

/// `localhost`, `127.0.0.1`, `[::1]`, with or without a port.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = name_of(host);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The name or the address in a `Host`, without port and brackets.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(name, _)| name),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(of: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        };
        of.iter().map(pair).collect()
    }

    fn checked(peer: &str, of: &[(&str, &str)]) -> bool {
        check(&headers(of), &peer.parse::<std::net::SocketAddr>().unwrap().into(), None).is_ok()
    }

    #[test]
    fn a_program_on_this_machine_may() {
        for peer in ["127.0.0.1:5000", "[::1]:5000", "[::ffff:127.0.0.1]:5000"] {
            for host in ["127.0.0.1:7371", "localhost:7371", "LOCALHOST", "[::1]:7371", "127.8.8.8"] {
                assert!(checked(peer, &[("host", host), (OPERATOR, "yes")]), "{peer} {host}");
            }
        }
    }

    #[test]
    fn nobody_else_may() {
        let usual = [("host", "127.0.0.1:7371"), (OPERATOR, "yes")];
        for peer in ["10.0.0.7:5000", "[2001:db8::1]:5000", "[::ffff:10.0.0.7]:5000"] {
            assert!(!checked(peer, &usual), "{peer}");
        }
        for host in [
            "evil.example",
            "evil.example:7371",
            "127.0.0.1.evil.example",
            "10.0.0.7:7371",
            "[2001:db8::1]",
            "",
        ] {
            assert!(!checked("127.0.0.1:5000", &[("host", host), (OPERATOR, "yes")]), "{host}");
        }
        assert!(!checked("127.0.0.1:5000", &[(OPERATOR, "yes")]), "no Host");
        assert!(!checked("127.0.0.1:5000", &usual[..1]), "no header");
        assert!(!checked("127.0.0.1:5000", &[usual[0], (OPERATOR, "no")]));
    }

    #[test]
    fn no_page_and_no_proxy_may() {
        let usual = [("host", "127.0.0.1:7371"), (OPERATOR, "yes")];
        for other in [
            ("origin", "http://127.0.0.1:7371"),
            ("origin", "null"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "no-cors"),
            ("x-forwarded-for", "127.0.0.1"),
            ("forwarded", "for=127.0.0.1"),
            ("via", "1.1 proxy"),
        ] {
            assert!(!checked("127.0.0.1:5000", &[usual[0], usual[1], other]), "{other:?}");
        }
    }
}
