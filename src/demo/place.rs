//! Where a client is told to go.

use std::{fmt, net::SocketAddr};

use url::Url;

/// The address of a WebSocket service without TLS, and the path and query that a client asks there for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    authority: String,
    path: String,
    query: Option<String>,
}

impl Place {
    /// The root of what listens there.
    pub(super) fn of(address: SocketAddr) -> Self {
        Self { authority: address.to_string(), path: "/".to_owned(), query: None }
    }

    /// Reads `ws://HOST:PORT`, with a path and a query where the service wants them.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("expected ws://HOST:PORT: {error}"))?;
        if url.scheme() != "ws" {
            return Err("expected ws://HOST:PORT; this client speaks no TLS".to_owned());
        }
        let host = url.host_str().ok_or("expected ws://HOST:PORT")?;
        Ok(Self {
            authority: format!("{host}:{}", url.port().unwrap_or(80)),
            path: url.path().to_owned(),
            query: url.query().map(str::to_owned),
        })
    }

    /// `host:port`.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// The whole URL, with these parameters behind its own.
    pub(super) fn with_query(&self, more: &str) -> String {
        let query = self.query.as_ref().map_or_else(String::new, |query| format!("{query}&"));
        format!("{self}?{query}{more}")
    }
}

/// Without the query, in which there may be a secret.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_and_its_query_kept_but_not_shown() {
        let place = Place::parse("ws://perennial:7370/live?secret=s3cret").unwrap();
        assert_eq!(
            (place.authority(), place.to_string().as_str()),
            ("perennial:7370", "ws://perennial:7370/live")
        );
        assert_eq!(place.with_query("v=2"), "ws://perennial:7370/live?secret=s3cret&v=2");
        let bare = Place::parse("ws://[::1]:7370").unwrap();
        assert_eq!(
            (bare.authority(), bare.with_query("v=2").as_str()),
            ("[::1]:7370", "ws://[::1]:7370/?v=2")
        );
        assert_eq!(bare, Place::of("[::1]:7370".parse().unwrap()));
        for (text, why) in [("wss://h:1", "no TLS"), ("http://h:1", "ws://"), ("h:1", "ws://"), ("", "ws://")]
        {
            assert!(Place::parse(text).is_err_and(|said| said.contains(why)), "{text}");
        }
    }
}
