//! What is secret and open to others: what goes over a network in the clear, and files that other users can read. Said
//! at the start, and by `check`.

use super::{Config, EgressProxy, Endpoint, HttpBody, ProxyAddress, ProxyScheme, SourceConfig, StateConfig};

impl Config {
    /// One line for each leg that carries secrets without TLS beyond this machine, and for each file that is open to
    /// other users.
    pub(super) fn exposed(&self) -> Vec<String> {
        let mut found = self.files.open();
        let mut leg = |place: &str, what: &str, endpoint: &Endpoint| {
            if !endpoint.tls && !is_here(&endpoint.host) {
                found.push(format!("{place}: {what} goes to {} without TLS", endpoint.host));
            }
        };
        if let StateConfig::Redis(redis) = &self.state
            && let Ok(address) = redis.address()
            && address.logins().any(|login| login.password.is_some())
        {
            // What sentinels tell decides who gets it.
            address
                .place
                .endpoints()
                .iter()
                .for_each(|endpoint| leg("[state] url", "the password", endpoint));
        }
        if let EgressProxy::Url(url) = &self.egress.proxy
            && let Ok(ProxyAddress { scheme, host, port, login: Some(_) }) = ProxyAddress::of_secret(url)
        {
            let (tls, path_and_query) = (scheme == ProxyScheme::Https, String::new());
            leg("[egress] proxy", "the password", &Endpoint { tls, host, port, path_and_query });
        }
        for route in &self.routes {
            let place = |key: &str| format!("route \"{}\", {key}", route.name);
            if let Some(token) = &route.token {
                let legs = [
                    ("upstream", Some(&route.upstream)),
                    ("http.upstream", route.http.as_ref().map(|http| &http.upstream)),
                ];
                // A Unix socket is of this machine.
                let legs = legs
                    .into_iter()
                    .filter_map(|(key, upstream)| Some((key, upstream.filter(|it| it.socket.is_none())?)));
                for (key, upstream) in legs {
                    upstream.endpoints().for_each(|endpoint| leg(&place(key), "the token", endpoint));
                }
                match &token.source {
                    SourceConfig::OAuth2(source) => {
                        leg(
                            &place("token"),
                            "what proves the client, and the token,",
                            &source.server.address().endpoint,
                        );
                    }
                    SourceConfig::Http(source) => {
                        let asks = !source.headers.is_empty()
                            || source.basic.is_some()
                            || !matches!(source.body, HttpBody::None);
                        let what =
                            if asks { "what the source is asked with, and the token," } else { "the token" };
                        leg(&place("token.url"), what, &source.endpoint);
                        leg(&place("token.exchange"), "the token", &source.exchange);
                    }
                    SourceConfig::AblyKey(_)
                    | SourceConfig::Jwt(_)
                    | SourceConfig::Static { .. }
                    | SourceConfig::File { .. }
                    | SourceConfig::Exec(_) => {}
                }
            }
        }
        found
    }
}

/// Does it stay on this machine?
fn is_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposed(text: &str) -> Vec<String> {
        Config::parse(text, "t").unwrap_or_else(|error| panic!("{error}")).exposed()
    }

    #[test]
    fn what_is_secret_and_goes_in_the_clear_is_named() {
        let text = "[state]\nstore = \"redis\"\nsecret = \"sixteen characters\"\nurl = \"redis://:pw@redis.example\"\n\
                    [[route]]\nname = \"r\"\nupstream = \"ws://feed.example\"\ndialect = \"handshake\"\n\
                    [route.token]\nsource = \"oauth2\"\ntoken_url = \"http://auth.example\"\nclient_id = \"c\"\n\
                    [route.handshake]\nquery = \"t\"\n[route.http]\nupstream = \"http://rest.example\"";
        let found = exposed(text);
        assert_eq!(found.len(), 4, "{found:?}");
        for host in ["redis.example", "feed.example", "auth.example", "rest.example"] {
            assert!(found.iter().any(|line| line.contains(host)), "{host}: {found:?}");
        }
        let closed = text
            .replace("redis://:pw", "rediss://:pw")
            .replace("ws://", "wss://")
            .replace("http://", "https://");
        assert_eq!(exposed(&closed), [""; 0]);
        let here = text
            .replace("redis.example", "127.0.0.1")
            .replace("feed.example", "localhost")
            .replace("auth.example", "[::1]")
            .replace("rest.example", "127.0.0.2");
        assert_eq!(exposed(&here), [""; 0]);
        let socket = text.replace("redis://:pw@redis.example", "unix:///run/redis.example?pass=pw");
        assert!(!exposed(&socket).iter().any(|line| line.contains("redis")), "it stays on this machine");
        for login in [
            "redis+sentinel://:pw@redis.example,127.0.0.1/m",
            "redis+sentinel://redis.example/m?sentinel_pass=pw",
        ] {
            let sentinels = text.replace("redis://:pw@redis.example", login);
            assert!(exposed(&sentinels).iter().any(|line| line.contains("redis.example")), "{login}");
        }
        let proxied = |url: &str| {
            exposed(&format!(
                "[egress]\nproxy = \"{url}\"\n[[route]]\nupstream = \"wss://h.example\"\ndialect = \"none\""
            ))
        };
        assert_eq!(
            proxied("http://u:pw@p.example"),
            ["[egress] proxy: the password goes to p.example without TLS"]
        );
        for closed in ["https://u:pw@p.example", "http://p.example", "http://u:pw@127.0.0.1", "none"] {
            assert_eq!(proxied(closed), [""; 0], "{closed}");
        }
        let exchanged = "[[route]]\nupstream = \"wss://h.example\"\ndialect = \"ably\"\n[route.token]\nsource = \"http\"\n\
                         url = \"https://auth.example\"\nexchange = \"http://rest.example\"";
        let [line] = &*exposed(exchanged) else { panic!("one leg") };
        assert!(line.contains("token.exchange") && line.contains("rest.example"), "{line}");
        assert_eq!(
            exposed("[[route]]\nupstream = \"ws://h.example\"\ndialect = \"none\""),
            [""; 0],
            "no secret"
        );
    }
}
