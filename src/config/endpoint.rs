//! Addresses that are dialled: read from a URL, shown without what may be a secret.

use std::fmt;

use url::{Host, Url};

use super::{
    Endpoint, Template,
    declare::{Kind, value},
    egress::socket,
    random::masked_url,
    value::string,
};

const WEB_SOCKET: &[&str] = &["wss", "ws"];
const HTTP: &[&str] = &["https", "http"];

value! {
    /// The URL of a service.
    pub(super) ServiceUrl: Endpoint, Kind::Url(WEB_SOCKET), |value, _| plain(&string(value)?, Schemes::WebSocket)
}

value! {
    /// The URL of a service without WebSocket.
    pub(super) RestUrl: Endpoint, Kind::Url(HTTP), |value, _| plain(&string(value)?, Schemes::HttpService)
}

value! {
    /// The URL of an endpoint.
    pub(super) HttpUrl: Endpoint, Kind::Url(HTTP), |value, _| plain(&string(value)?, Schemes::Http)
}

value! {
    /// The URL of an endpoint, whose path and query may name what each client has; and these as a template.
    pub(super) NamedUrl: (Endpoint, Template), Kind::Url(HTTP), |value, at| {
        let template = Template::parse(&string(value)?);
        at.names.allow_in_source(&template)?;
        named(&template)
    }
}

fn plain(text: &str, schemes: Schemes) -> Result<Endpoint, String> {
    if Template::parse(text).names().next().is_some() {
        return Err("a name has no value in this URL; write it out".to_owned());
    }
    Endpoint::parse(text, schemes)
}

fn named(template: &Template) -> Result<(Endpoint, Template), String> {
    // A stand-in for each name, since the parser of URLs would escape its braces.
    let stand_in = |nth: usize| format!("~name{nth}~");
    let (text, names) = template.with_stand_ins(stand_in);
    let mut endpoint = Endpoint::parse(&text, Schemes::Http)?;
    if endpoint.host.contains('~') {
        return Err("a name cannot stand in the host: a client would choose where secrets go".to_owned());
    }
    for (nth, name) in names.iter().enumerate() {
        endpoint.path_and_query = endpoint.path_and_query.replacen(&stand_in(nth), &name.shown(false), 1);
    }
    let target = Template::parse(&endpoint.path_and_query);
    Ok((endpoint, target))
}

/// Which schemes a URL may have, and what it is for.
#[derive(Clone, Copy)]
pub(super) enum Schemes {
    /// `ws`, `wss`: a service. It takes no query, since the query is the client's own.
    WebSocket,
    /// `http`, `https`: a token endpoint.
    Http,
    /// `http`, `https`: a service. It takes no query either.
    HttpService,
}

impl Schemes {
    fn tls(self, scheme: &str) -> Option<bool> {
        match (self, scheme) {
            (Self::WebSocket, "wss") | (Self::Http | Self::HttpService, "https") => Some(true),
            (Self::WebSocket, "ws") | (Self::Http | Self::HttpService, "http") => Some(false),
            _ => None,
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::WebSocket => "expected a URL that begins with wss:// or ws://",
            Self::Http | Self::HttpService => "expected a URL that begins with https:// or http://",
        }
    }
}

impl Endpoint {
    /// Reads a URL. An error never quotes it, since it may hold a secret.
    pub(super) fn parse(text: &str, schemes: Schemes) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("{}: {error}", schemes.expected()))?;
        let tls = schemes.tls(url.scheme()).ok_or_else(|| schemes.expected())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL is shown in logs: take the user and the password out of it".to_owned());
        }
        if url.fragment().is_some() {
            return Err("a fragment (\"#…\") is never sent; remove it".to_owned());
        }
        if matches!(schemes, Schemes::WebSocket | Schemes::HttpService) && url.query().is_some() {
            return Err("the query is the client's own; remove \"?…\"".to_owned());
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            None => return Err(schemes.expected().to_owned()),
        };
        let port = url.port().unwrap_or(if tls { 443 } else { 80 });
        let mut path_and_query = url.path().to_owned();
        if let Some(query) = url.query() {
            path_and_query.push('?');
            path_and_query.push_str(query);
        }
        if port == 0 {
            return Err("port 0 cannot be dialled".to_owned());
        }
        Ok(Self { tls, host, port, path_and_query })
    }

    /// Reads the URL of a token endpoint that a server named. An error never quotes it.
    pub fn of_server(text: &str) -> Result<Self, String> {
        Self::parse(text, Schemes::Http)
    }

    /// Reads a token that is the URL of a service. An error never quotes it.
    pub fn of_token(text: &str) -> Result<Self, String> {
        // Its query is the service's own.
        let text = text.strip_prefix("ws").filter(|rest| rest.starts_with("s://") || rest.starts_with("://"));
        let url = text.ok_or("the token is no URL that begins with wss:// or ws://")?;
        Self::parse(&format!("http{url}"), Schemes::Http)
            .map_err(|what| format!("the URL that is the token: {what}"))
    }

    /// `host` or `host:port`, as it stands in a `Host` header: an IPv6 address in brackets, and the
    /// scheme's own port left out.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let own_port = if self.tls { 443 } else { 80 };
        if self.port == own_port { host } else { format!("{host}:{}", self.port) }
    }

    /// Its origin, as a browser writes it (RFC 6454 §6.2).
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }

    /// `host:port`, with the port in any case.
    pub fn socket(&self) -> String {
        socket(&self.host, self.port)
    }

    /// As a URL for an operator to read, without what may be a secret.
    pub(super) fn shown(&self, schemes: Schemes) -> String {
        let scheme = match (schemes, self.tls) {
            (Schemes::WebSocket, true) => "wss",
            (Schemes::WebSocket, false) => "ws",
            (Schemes::Http | Schemes::HttpService, true) => "https",
            (Schemes::Http | Schemes::HttpService, false) => "http",
        };
        format!("{scheme}://{}{}", self.authority(), masked_url(&self.path_and_query))
    }
}

/// Shows all but what may be a secret.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("tls", &self.tls)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("path_and_query", &masked_url(&self.path_and_query))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_becomes_an_endpoint() {
        let of = |text| Endpoint::parse(text, Schemes::Http).unwrap();
        let plain = of("https://auth.example.com");
        assert!(plain.tls);
        assert_eq!((plain.port, plain.path_and_query.as_str()), (443, "/"));
        assert_eq!(plain.authority(), "auth.example.com");
        let odd = of("http://[::1]:7370/a/b?c=d");
        assert_eq!((odd.host.as_str(), odd.authority().as_str()), ("::1", "[::1]:7370"));
        assert_eq!(odd.path_and_query, "/a/b?c=d");
        assert_eq!(odd.shown(Schemes::Http), "http://[::1]:7370/a/b?***");
        assert!(!format!("{odd:?}").contains("c=d"));
        assert_eq!(Endpoint::parse("ws://h:80/", Schemes::WebSocket).unwrap().authority(), "h");
    }
}
