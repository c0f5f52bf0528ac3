//! The store in a real Redis.

use super::{
    nonsense::{config, open},
    server::RedisServer,
    *,
};

mod doors;
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
async fn until(what: &str, good: impl AsyncFn() -> bool) {
    let asked = async {
        while !good().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("this never came: {what}"));
}
