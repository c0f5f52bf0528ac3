//! OAuth 2.0 through the sidecar, with a certified provider that ends a grant when a refresh token is used twice.
//!
//! - `address`: a refresh token is not shown to another address;
//! - `grants`: what the provider takes, from anyone who proves itself in any way;
//! - `killed`: `kill -9` at random moments around rotations;
//! - `login`: a person logs in, by a device code and in a browser, while the sidecar waits;
//! - `lost`: answers that were lost after the provider had rotated;
//! - `outage`: an endpoint that is away for three lifetimes;
//! - `replicas`: several sidecars on one refresh token, and a Redis that they share.
//!
//! Each needs `npm ci --prefix tests/provider`; `tests/all` does that, and runs them with the release binary.

mod address;
pub mod grants;
pub mod killed;
mod login;
mod lost;
mod outage;
mod replicas;

use std::{path::Path, time::Duration};

use crate::sidecar::Sidecar;

/// A route that takes its token from the token endpoint at `port`.
pub fn route(port: u16, more: &str) -> String {
    format!(
        r#"
[[route]]
name = "oauth"
upstream = "ws://127.0.0.1:9"
dialect = "handshake"
[route.handshake]
header = "Authorization: Bearer {{token}}"
[route.token]
source = "oauth2"
token_url = "http://127.0.0.1:{port}/token"
client_id = "basic"
client_secret = "{secret}"
{more}
"#,
        secret = crate::provider::SECRET,
    )
}

/// The same with a refresh token in a file, and a store on disk.
pub fn rotating(port: u16, state: &Path, seed: &Path) -> String {
    format!("[state]\nstore = \"disk\"\npath = \"{}\"\n{}", state.display(), refreshed(port, seed))
}

/// The same on a Redis.
fn shared(port: u16, redis: u16, seed: &Path) -> String {
    format!(
        "[state]\nstore = \"redis\"\nsecret = \"the secret of all sidecars\"\nurl = \"redis://127.0.0.1:{redis}\"\n{}",
        refreshed(port, seed)
    )
}

fn refreshed(port: u16, seed: &Path) -> String {
    let grant = format!("grant = \"refresh_token\"\nrefresh_token = {{ file = \"{}\" }}\n", seed.display());
    route(port, &grant)
}

/// The refreshes that a sidecar counts as its own, for whatever reason.
pub async fn refreshes(sidecar: &Sidecar, outcome: &str) -> f64 {
    let mut all = 0.0;
    for trigger in ["schedule", "hint", "expiry", "client", "operator", "start"] {
        let series = format!(
            "perennial_token_refreshes_total{{outcome=\"{outcome}\",route=\"oauth\",trigger=\"{trigger}\"}}"
        );
        all += sidecar.metric(&series).await;
    }
    all
}

/// Waits until the sidecar has a valid token.
pub async fn ready(sidecar: &Sidecar) {
    let waiting = async {
        while sidecar.ask("/readyz").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it has a token within a minute");
}

/// How many lines of a log say this.
pub fn said(log: &str, message: &str) -> usize {
    log.lines().filter(|line| line.contains(&format!("\"message\":\"{message}"))).count()
}
