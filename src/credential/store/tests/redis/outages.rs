//! The history while Redis is away, and when it is back.

use super::{
    super::{
        nonsense::{config, open},
        server::{Doing, Front, RedisServer},
        *,
    },
    at, until,
};
use crate::clock;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn what_is_superseded_in_an_outage_counts_here_at_once_and_everywhere_afterwards() {
    let server = RedisServer::start().await;
    let front = Front::before(server.port).await;
    let rig = Rig::of(open(config(&front.url())));
    let other = Rig { now: rig.now, ..Rig::of(at(&server)) };
    rig.supersede("a", 1).await.unwrap();
    for doing in [Doing::Silent, Doing::Cuts] {
        front.now(doing);
        let began = clock::now();
        for _ in 0..3 {
            let error = rig.supersede("a", 2).await.unwrap_err();
            assert!(matches!(error, StoreError::Away { .. }), "{error}");
        }
        assert!(began.elapsed() < 2 * SECOND, "{:?}", began.elapsed());
        assert_eq!(rig.standings("a", 0..=2).await, "revoked, grace a-CANARY-2, current 2");
        assert_eq!(rig.standing("b", 0).await, "unknown", "which the service judges");
    }
    assert_eq!(other.standings("a", 0..=2).await, "grace a-CANARY-1, current 1, unknown");
    // Meanwhile another goes on from there.
    front.now(Doing::Passes);
    until("what was late", async || other.standing("a", 2).await == "current 2").await;
    assert_eq!(other.standings("a", 0..=2).await, "revoked, grace a-CANARY-2, current 2");
    let mut late = Rig { now: rig.now, ..Rig::of(at(&server)) };
    late.now = Now { mono: rig.now.mono + rig.grace, wall: rig.now.wall + rig.grace };
    assert_eq!(
        late.standings("a", 0..=2).await,
        "revoked, revoked, current 2",
        "grace began when it was superseded"
    );
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn what_comes_late_brings_nothing_to_life() {
    let server = RedisServer::start().await;
    let front = Front::before(server.port).await;
    let rig = Rig::of(open(config(&front.url())));
    let other = Rig { now: rig.now, ..Rig::of(at(&server)) };
    rig.supersede("a", 1).await.unwrap();
    front.now(Doing::Cuts);
    until("an outage", async || !rig.store.is_up()).await;
    rig.supersede("a", 2).await.unwrap_err();
    other.supersede("a", 3).await.unwrap();
    other.supersede("a", 4).await.unwrap();
    front.now(Doing::Passes);
    until("what was late", async || other.standing("a", 1).await == "revoked").await;
    let expected = "revoked, revoked, revoked, grace a-CANARY-4, current 4";
    for rig in [&other, &rig, &Rig { now: rig.now, ..Rig::of(at(&server)) }] {
        assert_eq!(rig.standings("a", 0..=4).await, expected);
    }
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn what_a_redis_forgot_this_sidecar_still_knows() {
    let server = RedisServer::start().await;
    let [one, other] = [at(&server), at(&server)].map(Rig::of);
    one.supersede("a", 1).await.unwrap();
    one.supersede("a", 2).await.unwrap();
    assert_eq!(other.standing("a", 0).await, "revoked");
    let _: () = server.ask("FLUSHALL");
    assert_eq!(one.standings("a", 0..=2).await, "revoked, grace a-CANARY-2, current 2");
    assert_eq!(other.standings("a", 0..=1).await, "revoked, unknown", "what it has asked about");
    one.supersede("a", 3).await.unwrap();
    assert_eq!(other.standings("a", 2..=3).await, "grace a-CANARY-3, current 3");
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn a_redis_that_was_killed_has_everything_that_it_took() {
    let mut server = RedisServer::durable().await;
    let rig = Rig::of(at(&server));
    for generation in 1..=20 {
        rig.supersede("a", generation).await.unwrap();
    }
    server.kill();
    until("an outage", async || !rig.store.is_up()).await;
    rig.supersede("a", 21).await.unwrap_err();
    server.again().await;
    let late = Rig { now: rig.now, ..Rig::of(at(&server)) };
    until("what was late", async || late.standing("a", 21).await == "current 21").await;
    assert_eq!(late.standings("a", 18..=21).await, "revoked, revoked, grace a-CANARY-21, current 21");
    assert_eq!(late.standing("a", 0).await, "revoked");
}

/// Answers come late and connections break at any moment, while two sidecars supersede: nothing that was taken is
/// lost, and no call takes long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server, which tests/all installs"]
async fn a_connection_that_breaks_again_and_again_loses_nothing() {
    let server = RedisServer::start().await;
    let front = Front::before(server.port).await;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let rigs = [Rig::of(open(config(&front.url()))), Rig::of(open(config(&front.url())))];
    let mut slowest = Duration::ZERO;
    for generation in 1..=120 {
        match random.u8(0..8) {
            0 => front.now(Doing::Cuts),
            1 if generation % 20 == 0 => front.now(Doing::Silent),
            _ => front.now(Doing::Passes),
        }
        let began = clock::now();
        // What fails is written down later.
        let _ = rigs[random.usize(0..2)].supersede("a", generation).await;
        slowest = slowest.max(began.elapsed());
    }
    front.now(Doing::Passes);
    assert!(slowest < 2 * SECOND, "{slowest:?}");
    let late = Rig { now: rigs[0].now, ..Rig::of(at(&server)) };
    let expected = "revoked, grace a-CANARY-120, current 120";
    for rig in [&late, &rigs[0], &rigs[1]] {
        until("the end", async || rig.standings("a", 118..=120).await == expected).await;
    }
    for generation in 0..118 {
        until("what was late", async || late.standing("a", generation).await == "revoked").await;
    }
}
