//! A sidecar whose store is a Redis: it starts without it, notices it, says so, and goes on over a failover.

use crate::support::{
    plain,
    redis::{Doing, Front, RedisServer, Replicated},
    service::Service,
    until,
    ws::Honest,
};
use perennial::{app::App, config::Config};

async fn start(url: &str, more: &str) -> anyhow::Result<App> {
    start_with(url, more, &plain(9)).await
}

async fn start_with(url: &str, more: &str, route: &str) -> anyhow::Result<App> {
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[limits]\ndrain = \"0s\"\n\
         [state]\nstore = \"redis\"\nsecret = \"the secret of all sidecars\"\nurl = \"{url}\"\ntimeout = \"200ms\"\n{more}\n{route}"
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server, which tests/all installs"]
async fn a_session_and_its_token_go_on_over_a_failover() {
    let mut redis = Replicated::start().await;
    let token = "command = [\"echo\", '{\"access_token\":\"T\",\"expires_in\":20}']";
    let route = plain(Service::start().await.echo()).replace("none", "handshake");
    let route = format!(
        "{route}[route.token]\nsource = \"exec\"\n{token}\n\
         [route.handshake]\nheader = \"Authorization: Bearer {{token}}\"\n"
    );
    let app = start_with(&redis.url(), "", &route).await.unwrap();
    is(&app, 1).await;
    let mut session = Honest::open(app.address().port(), "/").await;
    session.relays().await;
    redis.primary.kill();
    is(&app, 0).await;
    session.relays().await;
    is(&app, 1).await;
    let scheduled = "perennial_token_refreshes_total{outcome=\"ok\",route=\"plain\",trigger=\"schedule\"} ";
    let refreshed = async || {
        let text = app.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(scheduled));
        line.map_or(0, |count| count.parse().unwrap())
    };
    let before: u64 = refreshed().await;
    until("a token that was had under a new lease", refreshed, |count| *count > before).await;
    session.relays().await;
    let none = "perennial_sessions_closed_total{reason=\"token_expired\",route=\"plain\"} 0";
    assert!(app.metrics().lines().any(|line| line == none), "{}", app.metrics());
    app.stop().await;
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
