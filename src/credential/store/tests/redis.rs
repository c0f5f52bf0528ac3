//! The store in a real Redis.
//!
//! Each of these bugs was planted, one at a time, and was seen to be caught:
//! fences begin again in a Redis that forgot · who comes late keeps a grant · or renews · or gives back what is
//! another's · an earlier grant replaces a later one · two have the lease · a lease has no end · a grant is not
//! forgotten · nothing rests after an outage · or after a restart · a change is written over another · predecessors
//! are not read · records have no end · what is superseded in an outage does not count here · or is not written down
//! later · a command that is late leaves the connection · nobody looks for a sign of life · HTTP is proposed in the
//! TLS handshake · the number of the database is not said · what comes is not looked at.

use super::{
    nonsense::{config, open},
    server::RedisServer,
    *,
};

mod doors;
mod failover;
mod grants;
mod history;
mod outages;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A sidecar's store.
fn at(server: &RedisServer) -> Store {
    open(config(&server.url()))
}

fn keys(server: &RedisServer, pattern: &str) -> Vec<String> {
    server.ask(&format!("KEYS {pattern}"))
}

/// Asks until it is as it should be.
pub(super) async fn until(what: &str, good: impl AsyncFn() -> bool) {
    let asked = async {
        while !good().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("this never came: {what}"));
}
