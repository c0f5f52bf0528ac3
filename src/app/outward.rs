//! How connections leave this machine, in words: for `perennial check` and the log.

use crate::{
    config::{Config, Endpoint, SourceConfig, Upstream},
    net::{Egress, EgressError, Way},
};

/// One line for each endpoint that a route dials: directly, or through which proxy. No user and no password is in it.
pub fn ways(config: &Config) -> Result<Vec<String>, EgressError> {
    let egress = Egress::new(&config.egress.proxy)?;
    let mut lines = Vec::new();
    for route in &config.routes {
        let mut line = |key: &str, endpoint: &Endpoint| {
            let way = match egress.way(endpoint) {
                Way::Direct(why) => format!("directly ({why})"),
                Way::Through(proxy) => format!("through {proxy}"),
            };
            lines.push(format!("route \"{}\", {key}: {}: {way}", route.name, endpoint.socket()));
        };
        let http = route.http.as_ref().map(|http| &http.upstream);
        for (key, upstream) in [("upstream", Some(&route.upstream)), ("http.upstream", http)] {
            // A Unix socket leads nowhere else.
            let dialled = upstream.into_iter().filter(|upstream| upstream.socket.is_none());
            dialled.flat_map(Upstream::endpoints).for_each(|endpoint| line(key, endpoint));
        }
        match route.token.as_ref().map(|token| &token.source) {
            Some(SourceConfig::Http(source)) => line("token", &source.endpoint),
            Some(SourceConfig::OAuth2(source)) => line("token", &source.server.address().endpoint),
            Some(
                SourceConfig::AblyKey(_)
                | SourceConfig::Static { .. }
                | SourceConfig::File { .. }
                | SourceConfig::Exec(_)
                | SourceConfig::Jwt(_),
            )
            | None => {}
        }
    }
    Ok(lines)
}

/// Says at the start what is not to be seen in the configuration: which proxies are used, or which variables are not.
pub(super) fn tell(egress: &Egress) {
    let proxies = egress.proxies();
    if !proxies.is_empty() {
        tracing::info!(proxies = proxies.join(", "), "connections go out through a proxy");
    }
    if !egress.unused().is_empty() {
        tracing::info!(variables = egress.unused().join(", "), "proxy variables are not used");
    }
}
