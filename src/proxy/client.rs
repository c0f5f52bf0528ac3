//! Who the client is, as far as those are believed that passed its request on; and what the service is told of it.
//!
//! ```text
//!   who connected ── trusted? ── no ──► it is the client; what it says of another is removed
//!                       │ yes
//!                       └──► X-Forwarded-For, or Forwarded, from its end: the first that is not trusted is the client
//! ```
//!
//! A proxy that is trusted has to set these headers itself, or to remove them: what it passes on is believed.

use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header, uri::Authority};

use super::{
    forwarding,
    gate::{Denied, remove_twins},
};
use crate::{
    config::{ClientPart, Endpoint, ForwardedBy, HostSeen, Name, Networks, Place, Route},
    dialect::Request as Asked,
    net::Peer,
};

/// Who asks.
#[derive(Debug)]
pub(super) struct Client {
    /// Where it connects from, as logs and limits have it.
    pub(super) address: Peer,
    /// Who connected: it, or a proxy before it.
    peer: Peer,
    /// Is that one trusted?
    trusted: bool,
    /// The host that it asked for.
    host: Option<String>,
    /// `https`, or `http`.
    scheme: &'static str,
    /// The host and the scheme of its last hop, which a proxy before it may have chosen.
    here: (Option<String>, &'static str),
}

impl Client {
    /// Of a request that came by TLS, or not.
    pub(super) fn of<B>(request: &Request<B>, peer: Peer, tls: bool, trusted: &Networks) -> Self {
        let headers = request.headers();
        let is_trusted = is_trusted(&peer, trusted);
        let told = |name: &'static str| if is_trusted { forwarding::told(headers, name) } else { None };
        let here = (host(request).map(str::to_owned), if tls { "https" } else { "http" });
        let scheme = match told("proto").as_deref() {
            Some("https" | "wss") => "https",
            Some("http" | "ws") => "http",
            Some(_) | None => here.1,
        };
        let address = if is_trusted { behind(headers, peer, trusted) } else { peer };
        let host = told("host").or_else(|| here.0.clone());
        Self { address, peer, trusted: is_trusted, host, scheme, here }
    }

    /// Who asks by a command on this machine, and by no listener: what is not known of it has no value.
    pub(super) fn local() -> Self {
        let peer = Peer::Unix { uid: 0, pid: None };
        let (host, here) = (None, (None, "http"));
        Self { address: peer, peer, trusted: false, host, scheme: "http", here }
    }

    /// Prepares what is sent to the service: without what was forged, and with what it is to be told.
    pub(super) fn introduce(&self, route: &Route, asked: &mut Asked, to: &Endpoint) -> Result<(), Denied> {
        if !self.trusted {
            forwarding::remove(&mut asked.headers);
        }
        let added = self.rendered(route, asked)?;
        match route.forwarded {
            ForwardedBy::Off => {}
            ForwardedBy::XForwarded => {
                forwarding::by_x(&mut asked.headers, self.peer.address(), self.host.as_deref(), self.scheme);
            }
            ForwardedBy::Forwarded => {
                let (host, scheme) = &self.here;
                forwarding::by_rfc(&mut asked.headers, self.peer.address(), host.as_deref(), scheme);
            }
        }
        match (route.host, self.host.as_deref()) {
            (HostSeen::Client, Some(host)) => put(&mut asked.headers, header::HOST, host),
            (HostSeen::Upstream, Some(host)) => own_origin(&mut asked.headers, host, to),
            (HostSeen::Client | HostSeen::Upstream, None) => {}
        }
        for (name, value) in added {
            remove_twins(&mut asked.headers, &name);
            asked.headers.insert(name, value);
        }
        Ok(())
    }

    /// The route's own headers, but for those that name what is not there.
    fn rendered(&self, route: &Route, asked: &Asked) -> Result<Vec<(HeaderName, HeaderValue)>, Denied> {
        if route.headers.is_empty() {
            return Ok(Vec::new());
        }
        let address = self.address.address().map(|address| address.to_string());
        let queries: Vec<(String, String)> =
            asked.parameters().map(|p| (p.name.clone(), p.value())).collect();
        let values = |name: &Name| match name {
            Name::Client(ClientPart::Address) => address.as_deref(),
            Name::Client(ClientPart::Host) => self.host.as_deref(),
            Name::Client(ClientPart::Scheme) => Some(self.scheme),
            Name::Query(query) => queries.iter().find(|(name, _)| name == query).map(|(_, value)| &**value),
            Name::Header(header) => asked.headers.get(header.as_str()).and_then(|value| value.to_str().ok()),
            Name::Token | Name::ClientToken | Name::Arg | Name::Json | Name::RefreshToken | Name::Jwt => None,
        };
        let mut added = Vec::new();
        for (name, template) in &route.headers {
            if template.names().any(|name| values(name).is_none()) {
                continue;
            }
            let value = template.expand(Place::Header, &values).ok();
            let value = value.and_then(|text| HeaderValue::from_str(&text).ok());
            let value = value.ok_or_else(|| Denied {
                status: StatusCode::BAD_REQUEST,
                why: format!("what is to stand in the header {name} has bytes that no header can have")
                    .into(),
                in_front: false,
            })?;
            added.push((name.clone(), value));
        }
        Ok(added)
    }
}

/// The host that a request asks for: an absolute target names it (RFC 9112 §3.2.2), else `Host`.
pub(super) fn host<B>(request: &Request<B>) -> Option<&str> {
    let named = request.uri().authority().map(Authority::as_str);
    named.or_else(|| request.headers().get(header::HOST)?.to_str().ok())
}

fn is_trusted(peer: &Peer, trusted: &Networks) -> bool {
    match peer.address() {
        Some(address) => trusted.contains(address),
        None => trusted.has_unix(),
    }
}

/// The client behind a trusted proxy.
fn behind(headers: &HeaderMap, peer: Peer, trusted: &Networks) -> Peer {
    let mut client = peer;
    for hop in forwarding::hops(headers).into_iter().rev() {
        // What cannot be read, and all before it, says nothing.
        let Some(address) = hop else { break };
        client = Peer::Behind(address.to_canonical());
        if !trusted.contains(address) {
            break;
        }
    }
    client
}

/// An origin that is the host that was asked for is the service's own: what compares the two finds them the same.
fn own_origin(headers: &mut HeaderMap, host: &str, service: &Endpoint) {
    let Some((scheme, authority)) =
        headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).and_then(|o| o.split_once("://"))
    else {
        return;
    };
    let own_port = if scheme == "https" { ":443" } else { ":80" };
    let plain = |host: &str| host.strip_suffix(own_port).unwrap_or(host).to_ascii_lowercase();
    if plain(authority) == plain(host) {
        put(headers, header::ORIGIN, &service.origin());
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::config::Config;

    const SERVICE: &str = "wss://feed.example:8443";

    fn config(listen: &str, route: &str) -> Config {
        let text =
            format!("[listen]\n{listen}\n[[route]]\nupstream = \"{SERVICE}\"\ndialect = \"none\"\n{route}");
        Config::parse(&text, "t").unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the service is told if this peer asks with these headers, and who that is.
    fn told(
        (listen, route): (&str, &str),
        peer: &str,
        headers: &[(&'static str, &str)],
    ) -> (String, Vec<String>) {
        let config = config(listen, route);
        let mut request = Request::builder().uri("/ws?room=a");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let peer = match peer {
            "unix" => Peer::Unix { uid: 1, pid: None },
            address => SocketAddr::new(address.parse().unwrap(), 4711).into(),
        };
        let client = Client::of(&request, peer, false, &config.listen.trusted_proxies);
        let mut asked = Asked::new("/ws?room=a", request.headers());
        let route = &config.routes[0];
        client.introduce(route, &mut asked, &route.upstream.endpoint).unwrap();
        let mut sent: Vec<String> = asked
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        sent.sort();
        (client.address.to_string(), sent)
    }

    const TRUSTED: &str = "trusted_proxies = [\"10.0.0.0/8\", \"unix\"]";

    #[test]
    fn what_a_stranger_says_of_itself_goes_no_further() {
        let forged = [
            ("host", "h"),
            ("x-forwarded-for", "10.9.9.9"),
            ("x-forwarded-proto", "https"),
            ("x_forwarded_for", "10.9.9.9"),
            ("forwarded", "for=10.9.9.9"),
            ("x-real-ip", "10.9.9.9"),
            ("x-forwarded-user", "kept"),
        ];
        let kept = vec!["x-forwarded-user: kept".to_owned()];
        for listen in ["", TRUSTED] {
            let (address, sent) = told((listen, ""), "192.0.2.7", &forged);
            assert_eq!((&*address, &sent), ("192.0.2.7:4711", &kept), "{listen}");
        }
        let (_, sent) = told((TRUSTED, "forwarded = \"x-forwarded\""), "192.0.2.7", &forged);
        assert_eq!(
            sent,
            ["x-forwarded-for: 192.0.2.7", "x-forwarded-host: h", "x-forwarded-proto: http", &kept[0]]
        );
    }

    #[test]
    fn a_trusted_proxy_is_believed_and_its_word_is_extended() {
        let chain = [
            ("host", "inner"),
            ("x-forwarded-for", "10.9.9.9, 198.51.100.1"),
            ("x-forwarded-for", "10.0.0.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "app.example"),
        ];
        let (address, sent) = told((TRUSTED, "forwarded = \"x-forwarded\""), "10.0.0.1", &chain);
        assert_eq!(address, "198.51.100.1", "not what stands before it: that is the client's own word");
        assert_eq!(
            sent,
            [
                "x-forwarded-for: 10.9.9.9, 198.51.100.1, 10.0.0.9, 10.0.0.1",
                "x-forwarded-host: app.example",
                "x-forwarded-proto: https"
            ]
        );
        let (address, sent) = told((TRUSTED, ""), "10.0.0.1", &chain);
        assert_eq!((&*address, sent.len()), ("198.51.100.1", 4), "off: as it came");
        let (address, _) = told((TRUSTED, ""), "10.0.0.1", &[("x-forwarded-for", "evil, 10.0.0.3")]);
        assert_eq!(address, "10.0.0.3", "what cannot be read ends the chain");
        let (address, _) = told((TRUSTED, ""), "unix", &[("x-forwarded-for", "198.51.100.1:99")]);
        assert_eq!(address, "198.51.100.1");
    }

    #[test]
    fn forwarded_is_written_and_read_as_rfc_7239_has_it() {
        let by = "forwarded = \"forwarded\"";
        let (_, sent) = told((TRUSTED, by), "2001:db8::7", &[("host", "h:7370")]);
        assert_eq!(sent, ["forwarded: for=\"[2001:db8::7]\";host=\"h:7370\";proto=http"]);
        let (_, sent) = told(("", by), "unix", &[("host", "h")]);
        assert_eq!(sent, ["forwarded: for=unknown;host=h;proto=http"]);
        let chain = [
            ("host", "inner"),
            ("forwarded", "for=\"[2001:db8::1]:99\";proto=https;host=\"a,b\", for=10.0.0.3"),
        ];
        let (address, sent) = told((TRUSTED, by), "10.0.0.1", &chain);
        assert_eq!(address, "2001:db8::1");
        assert_eq!(sent, [format!("forwarded: {}, for=10.0.0.1;host=inner;proto=http", chain[1].1)]);
    }

    #[test]
    fn host_and_origin_agree() {
        for (headers, expected) in [
            ([("host", "app.example"), ("origin", "https://app.example")], "https://feed.example:8443"),
            ([("host", "App.example:443"), ("origin", "https://app.example")], "https://feed.example:8443"),
            ([("host", "127.0.0.1:7370"), ("origin", "http://127.0.0.1:7370")], "https://feed.example:8443"),
            ([("host", "app.example"), ("origin", "https://evil.example")], "https://evil.example"),
            ([("host", "app.example"), ("origin", "null")], "null"),
        ] {
            assert_eq!(
                told(("", ""), "192.0.2.7", &headers).1,
                [format!("origin: {expected}")],
                "{headers:?}"
            );
            let client = told(("", "host = \"client\""), "192.0.2.7", &headers).1;
            let (host, origin) = (headers[0].1, headers[1].1);
            assert_eq!(client, [format!("host: {host}"), format!("origin: {origin}")]);
        }
    }

    #[test]
    fn headers_of_the_route_name_the_client_and_its_request() {
        let route = "headers = { X-Client = \"{client.address}\", X-Where = \"{client.scheme}://{client.host}\", \
                     X-Room = \"{query.room}\", X-None = \"{query.none}\", User-Agent = \"perennial\" }";
        let (_, sent) =
            told(("", route), "192.0.2.7", &[("host", "h"), ("x-client", "me"), ("user-agent", "old")]);
        assert_eq!(sent, ["user-agent: perennial", "x-client: 192.0.2.7", "x-room: a", "x-where: http://h"]);
    }
}
