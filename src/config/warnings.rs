//! What `check` warns of, and what is logged at the start: configurations that are read, and that do less than they seem
//! to.

use super::{Config, Grant, Name, SourceConfig};

impl Config {
    /// One line for each: what is open to others, and tokens that cannot be renewed as long as they are needed.
    pub fn warnings(&self) -> Vec<String> {
        let mut found = self.exposed();
        found.extend(self.one_life());
        found.extend(self.awaited());
        found
    }

    /// A refresh token that nobody has got yet.
    fn awaited(&self) -> impl Iterator<Item = String> {
        self.routes.iter().filter_map(|route| {
            let SourceConfig::OAuth2(source) = &route.token.as_ref()?.source else { return None };
            let Grant::RefreshToken(first) = &source.grant else { return None };
            let (path, route) = (first.awaited()?.display(), &route.name);
            Some(format!(
                "route \"{route}\", token.refresh_token: {path} is not there yet; run perennial login {route}"
            ))
        })
    }

    /// The client shows its token once. When that has ended, no server exchanges it again.
    fn one_life(&self) -> impl Iterator<Item = String> {
        self.routes.iter().filter_map(|route| {
            let SourceConfig::OAuth2(source) = &route.token.as_ref()?.source else { return None };
            let Grant::TokenExchange(exchange) = &source.grant else { return None };
            exchange.subject_token.names().any(|name| *name == Name::ClientToken).then(|| {
                format!(
                    "route \"{}\", token.subject_token: the client shows {{client.token}} once, so no exchange works \
                     after that token has ended; write {{token}} if the server exchanges the tokens that it issues",
                    route.name
                )
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(subject_token: &str) -> Vec<String> {
        let text = format!(
            "[[route]]\nname = \"r\"\nupstream = \"wss://feed.example\"\ndialect = \"handshake\"\n\
             [route.token]\nsource = \"oauth2\"\nshare = \"client\"\ntoken_url = \"https://auth.example/t\"\n\
             client_id = \"c\"\ngrant = \"token_exchange\"\nsubject_token = \"{subject_token}\"\n\
             [route.client.token]\nquery = \"t\"\n[route.handshake]\nquery = \"t\""
        );
        Config::parse(&text, "t").unwrap_or_else(|error| panic!("{error}")).warnings()
    }

    #[test]
    fn a_token_that_ends_with_the_clients_own_is_named() {
        let found = warnings("{client.token}");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("route \"r\", token.subject_token: "), "{found:?}");
        assert_eq!(warnings("{token}"), [""; 0]);
    }

    #[test]
    fn a_refresh_token_that_is_not_there_yet_is_named_with_the_way_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("refresh");
        let text = format!(
            "[[route]]\nname = \"r\"\nupstream = \"wss://feed.example\"\ndialect = \"handshake\"\n\
             handshake.query = \"t\"\n\
             [route.token]\nsource = \"oauth2\"\ntoken_url = \"https://auth.example/t\"\nclient_id = \"c\"\n\
             grant = \"refresh_token\"\nrefresh_token = {{ file = \"{}\" }}",
            path.display()
        );
        let warnings = || Config::parse(&text, "t").unwrap_or_else(|error| panic!("{error}")).warnings();
        let said = format!(
            "route \"r\", token.refresh_token: {} is not there yet; run perennial login r",
            path.display()
        );
        assert_eq!(warnings(), [said]);
        std::fs::write(&path, "x").unwrap();
        assert!(!warnings().iter().any(|line| line.contains("not there")), "{:?}", warnings());
        std::fs::write(&path, "").unwrap();
        assert!(Config::parse(&text, "t").is_err(), "an empty one is still an error");
    }
}
