//! A sidecar whose store is a Redis: it starts without it, notices it, and says so.

use crate::support::{
    plain,
    redis::{Doing, Front, RedisServer},
    until,
};
use perennial::{app::App, config::Config};

async fn start(url: &str, more: &str) -> anyhow::Result<App> {
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[limits]\ndrain = \"0s\"\n\
         [state]\nstore = \"redis\"\nsecret = \"the secret of all sidecars\"\nurl = \"{url}\"\ntimeout = \"200ms\"\n{more}\n{}",
        plain(9)
    );
    App::start(&Config::parse(&text, "test").unwrap()).await
}

async fn is(app: &App, up: u8) {
    let line = format!("perennial_store_up {up}");
    until(&line, async || app.metrics(), |text| text.lines().any(|shown| shown == line)).await;
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn the_gauge_says_whether_redis_can_be_asked() {
    let server = RedisServer::start().await;
    let front = Front::before(server.port).await;
    front.now(Doing::Cuts);
    let app = start(&front.url(), "").await.unwrap();
    is(&app, 0).await;
    front.now(Doing::Passes);
    is(&app, 1).await;
    server.pause();
    is(&app, 0).await;
    server.go_on();
    is(&app, 1).await;
    // Stopping waits for the connection's tasks, and they end.
    let stopped = tokio::time::timeout(std::time::Duration::from_secs(30), app.stop());
    assert!(stopped.await.is_ok());
}

#[tokio::test]
async fn a_redis_that_is_away_does_not_keep_a_sidecar_from_starting_but_a_wrong_file_does() {
    let app = start("redis://:CANARY@127.0.0.1:9", "").await.unwrap();
    is(&app, 0).await;
    app.stop().await;
    let refused = start("rediss://:CANARY@127.0.0.1:9", "[state.tls]\nca = \"Cargo.toml\"").await;
    let error = format!("{:#}", refused.err().unwrap());
    assert_eq!(error, "[state]: the Redis cannot be dialled: Cargo.toml: holds no PEM certificate");
}
