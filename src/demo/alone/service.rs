//! The service alone, on an address of its own.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::super::{
    lifetime,
    service::{Options, Service},
    signals::Signals,
    stage::options,
};

/// Publishes that its ledger remembers, and messages that a channel does: it may run for weeks.
const REMEMBERED: usize = 1_000;

/// Anyone who reaches it gets a token for the asking: it guards nothing.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Arguments {
    /// Where it listens, for WebSockets and for GET /token; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 9000)))]
    listen: SocketAddr,
    /// How long its tokens live.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = lifetime)]
    token_lifetime: Duration,
}

/// Serves until it is told to end.
pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { listen, token_lifetime } = arguments;
    let mut signals = Signals::new()?;
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("{listen} cannot be listened on; is it in use? --listen names another one")
    })?;
    let options = Options { history: REMEMBERED, ledger_limit: REMEMBERED, ..options(token_lifetime) };
    let service = Service::start(listener, options, &CancellationToken::new())?;
    writeln!(io::stdout(), "{}", greeting(service.address(), token_lifetime))?;
    signals.end().await;
    service.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Where it is, and how a sidecar finds it.
fn greeting(listens: SocketAddr, life: Duration) -> String {
    let local = match listens {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        SocketAddr::V4(_) | SocketAddr::V6(_) => listens,
    };
    let elsewhere =
        if local == listens { "" } else { "; from elsewhere, put this machine's name for the address" };
    format!(
        r#"The demo's service listens on {listens}; its tokens live {} s.
A sidecar for it{elsewhere}:

  [[route]]
  upstream = "ws://{local}"
  dialect = "ably"
  [route.token]
  source = "http"
  url = "http://{local}/token"
"#,
        life.as_secs_f64()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_is_printed_is_a_configuration() {
        let text = greeting("0.0.0.0:9000".parse().unwrap(), Duration::from_secs(30));
        assert!(text.contains("listens on 0.0.0.0:9000") && text.contains("from elsewhere"), "{text}");
        let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        let config = Config::parse(&lines.join("\n"), "p").unwrap();
        assert_eq!(config.routes[0].upstream.endpoint.authority(), "127.0.0.1:9000");
        let six = greeting("[::1]:9000".parse().unwrap(), Duration::from_secs(30));
        assert!(six.contains("ws://[::1]:9000") && !six.contains("elsewhere"), "{six}");
    }
}
