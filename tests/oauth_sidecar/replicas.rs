//! Several sidecars on one refresh token: one asks, all are served, and the provider never sees a token twice.

use std::time::Duration;

use tokio::time::Instant;

use super::{ready, refreshes, shared};
use crate::{
    provider::{Front, Provider, Way},
    sidecar::Sidecar,
    support::{redis::RedisServer, service::Service, ws::Honest},
};

/// Of a token, in seconds: as short as the provider has them.
const LIFETIME: u64 = 1;

/// A provider, a Redis that forgets nothing, and the first refresh token in a file.
struct Rig {
    provider: Provider,
    front: Front,
    redis: RedisServer,
    directory: tempfile::TempDir,
}

impl Rig {
    async fn new(lifetime: u64) -> Self {
        let provider = Provider::start(lifetime).await;
        let front = Front::start(provider.port).await;
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("refresh"), provider.seed("basic").await).unwrap();
        Self { provider, front, redis: RedisServer::durable().await, directory }
    }

    fn configuration(&self) -> String {
        shared(self.front.port, self.redis.port, &self.directory.path().join("refresh"))
    }

    async fn sidecar(&self) -> Sidecar {
        Sidecar::start(&self.configuration()).await
    }

    /// Nothing was refused, and no grant has ended.
    async fn is_sound(&self) {
        let ledger = self.provider.ledger().await;
        assert_eq!((ledger.refused.len(), ledger.revoked), (0, 0), "{ledger:?}");
    }
}

async fn one_request_for_each_rotation(replicas: usize) {
    let rotations: u64 = std::env::var("PERENNIAL_ROTATIONS").map_or(40, |text| text.parse().unwrap());
    let rig = Rig::new(LIFETIME).await;
    let mut sidecars = Vec::new();
    for _ in 0..replicas {
        sidecars.push(rig.sidecar().await);
    }
    while rig.provider.ledger().await.granted < rotations {
        rig.is_sound().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for sidecar in &sidecars {
        ready(sidecar).await;
    }
    rig.is_sound().await;
    // Nobody asks any more when the counts are read.
    rig.front.cut(true);
    let granted = rig.provider.ledger().await.granted;
    let mut own = Vec::new();
    for sidecar in &sidecars {
        own.push(refreshes(sidecar, "ok").await);
    }
    println!("{replicas} sidecars, {granted} rotations, asked for by each: {own:?}");
    // One answer may have been cut off.
    let counted: f64 = own.iter().sum();
    assert!((granted as f64 - counted).abs() <= 1.0, "{granted} rotations, {counted} refreshes");
    for sidecar in sidecars {
        let log = sidecar.stop().await;
        assert!(log.contains("token taken over") || replicas == 1, "it never had another's: {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider and redis-server, which tests/all installs"]
async fn two_sidecars_make_one_request_for_each_rotation() {
    one_request_for_each_rotation(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider and redis-server, which tests/all installs"]
async fn five_sidecars_make_one_request_for_each_rotation() {
    one_request_for_each_rotation(5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider and redis-server, which tests/all installs"]
async fn who_asks_and_dies_is_replaced_within_ten_seconds() {
    let rig = Rig::new(LIFETIME).await;
    let first = rig.sidecar().await;
    ready(&first).await;
    let asked = rig.front.passed().len();
    rig.front.next(Way::Hold);
    rig.front.asked(asked + 1).await;
    let second = rig.sidecar().await;
    first.signal("KILL");
    let killed = Instant::now();
    rig.front.asked(asked + 2).await;
    let took = killed.elapsed();
    println!("another asks {took:?} after the end of who had the lease");
    assert!(took < Duration::from_secs(10));
    ready(&second).await;
    rig.is_sound().await;
    let (_, log) = first.ended().await;
    assert!(!log.contains("invalid_grant"), "{log}");
    let log = second.stop().await;
    assert!(
        log.contains("was lost with the one who asked"),
        "the next one knows that there may have been an answer: {log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm's oidc-provider and redis-server, which tests/all installs"]
async fn while_redis_is_away_sessions_notice_nothing_and_no_refresh_token_is_used_twice() {
    let service = Service::start().await.echo();
    let mut rig = Rig::new(3).await;
    let configuration = rig.configuration().replace("127.0.0.1:9\"", &format!("127.0.0.1:{service}\""));
    let mut sidecars = Vec::new();
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let sidecar = Sidecar::start(&configuration).await;
        ready(&sidecar).await;
        sessions.push(Honest::open(sidecar.port, "/").await);
        sidecars.push(sidecar);
    }
    for round in 0..3 {
        rig.redis.kill();
        let away = Instant::now();
        let granted = rig.provider.ledger().await.granted;
        // Longer than a token lives: in this time a refresh is due in both.
        while away.elapsed() < Duration::from_secs(4) {
            for session in &mut sessions {
                session.relays().await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // One may have been under way when it went.
        let during = rig.provider.ledger().await.granted - granted;
        assert!(during <= 1, "round {round}: {during} refreshes without the store");
        rig.redis.again().await;
        for sidecar in &sidecars {
            ready(sidecar).await;
        }
        rig.provider.until(|ledger| ledger.granted > granted + during).await;
        rig.is_sound().await;
        for session in &mut sessions {
            session.relays().await;
        }
    }
    for sidecar in sidecars {
        let log = sidecar.stop().await;
        assert!(log.contains("store away") && log.contains("store back"), "{log}");
    }
}
