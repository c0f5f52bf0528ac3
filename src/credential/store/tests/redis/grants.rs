//! Grants that sidecars share: one lease, and nothing from who comes late.

use super::{
    super::{
        grants::{grant, keep, kept, lease},
        nonsense::{config, open},
        server::{Doing, Front, RedisServer},
        *,
    },
    PATIENCE, at, keys, until,
};
use crate::{
    clock,
    config::RedisConfig,
    credential::store::{LEASE, Leased, Lineage},
};

const SECOND: Duration = Duration::from_secs(1);

fn lineage(store: &Store) -> Lineage {
    store.lineage("jobs", b"first")
}

/// Who has it, and how long at most.
async fn theirs(store: &Store) -> Duration {
    match store.lease(&lineage(store)).await.unwrap() {
        Leased::Ours(lease) => panic!("it is ours: {lease:?}"),
        Leased::Theirs { left } => left,
    }
}

/// Asks until the lease is given; how long that took.
async fn leased(store: &Store) -> Duration {
    let began = clock::now();
    let asked = async {
        while !matches!(store.lease(&lineage(store)).await, Ok(Leased::Ours(_))) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("a lease");
    began.elapsed()
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn a_grant_is_found_by_all_and_no_earlier_one_replaces_it() {
    let server = RedisServer::start().await;
    let (one, other) = (at(&server), at(&server));
    let of = lineage(&one);
    assert_eq!(kept(&other, &lineage(&other)).await, None);
    keep(&one, &of, 2).await;
    keep(&other, &lineage(&other), 1).await;
    assert_eq!(kept(&one, &of).await, Some(2));
    assert_eq!(other.grant(&lineage(&other)).await.unwrap(), Some(grant(2)));
    keep(&other, &lineage(&other), 3).await;
    assert_eq!(one.grant(&of).await.unwrap(), Some(grant(3)));
    assert_eq!(kept(&one, &one.lineage("jobs", b"second")).await, None);
    assert_eq!(kept(&one, &one.lineage("other", b"first")).await, None);
    let fleet = open(RedisConfig { prefix: "another".to_owned(), ..config(&server.url()) });
    assert_eq!(kept(&fleet, &lineage(&fleet)).await, None, "another fleet has its own");
    let left: i64 = server.ask(&format!("PTTL {}", keys(&server, "*:grant")[0]));
    assert!(left > 399 * 24 * 3_600_000, "{left}");
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn one_of_all_sidecars_asks_at_a_time() {
    let server = RedisServer::start().await;
    let stores: Vec<_> = (0..5).map(|_| at(&server)).collect();
    for _ in 0..20 {
        let all = futures_util::future::join_all(
            stores.iter().map(|store| async { store.lease(&lineage(store)).await.unwrap() }),
        );
        let (mut ours, mut left) = (Vec::new(), 0);
        for (store, answer) in stores.iter().zip(all.await) {
            match answer {
                Leased::Ours(lease) => ours.push((store, lease)),
                Leased::Theirs { left: time } => {
                    assert!(time <= LEASE && time > LEASE / 2, "{time:?}");
                    left += 1;
                }
            }
        }
        assert_eq!((ours.len(), left), (1, 4));
        let (store, lease) = ours.pop().unwrap();
        store.release(&lineage(store), lease).await;
    }
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn two_routes_of_one_sidecar_do_not_ask_at_once_either() {
    let server = RedisServer::start().await;
    let store = at(&server);
    let held = lease(&store, &lineage(&store)).await;
    assert!(theirs(&store).await <= LEASE);
    store.release(&lineage(&store), held).await;
    lease(&store, &lineage(&store)).await;
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn the_lease_of_one_that_died_ends_and_its_late_answer_is_not_taken() {
    let server = RedisServer::start().await;
    let (dead, other) = (at(&server), at(&server));
    keep(&dead, &lineage(&dead), 1).await;
    let late = lease(&dead, &lineage(&dead)).await;
    assert!(theirs(&other).await > LEASE - SECOND);
    let took = leased(&other).await;
    assert!(took > LEASE - 2 * SECOND && took < LEASE + SECOND, "{took:?}");
    // Nothing has been written since, and yet.
    let refused = dead.keep(&lineage(&dead), &late, &grant(7), Now::read()).await;
    assert_eq!(refused, Err(StoreError::Overtaken));
    assert_eq!(dead.renew(&lineage(&dead), &late).await, Err(StoreError::Overtaken));
    assert_eq!(kept(&other, &lineage(&other)).await, Some(1), "and it changed nothing");
    dead.release(&lineage(&dead), late).await;
    assert!(theirs(&dead).await > LEASE / 2, "nor did it give back what is another's");
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn a_lease_is_renewed_and_one_that_only_ran_out_still_writes() {
    let server = RedisServer::start().await;
    let (one, other) = (at(&server), at(&server));
    let held = lease(&one, &lineage(&one)).await;
    let key = &keys(&server, "*:lease")[0];
    let _: i64 = server.ask(&format!("PEXPIRE {key} 100"));
    one.renew(&lineage(&one), &held).await.unwrap();
    let left: i64 = server.ask(&format!("PTTL {key}"));
    assert!(left > 7_000, "{left}");
    let _: i64 = server.ask(&format!("DEL {key}"));
    one.keep(&lineage(&one), &held, &grant(1), Now::read()).await.unwrap();
    one.renew(&lineage(&one), &held).await.unwrap();
    assert!(theirs(&other).await > LEASE - SECOND, "it is taken again");
    let _: i64 = server.ask(&format!("DEL {key}"));
    let theirs = lease(&other, &lineage(&other)).await;
    other.release(&lineage(&other), theirs).await;
    assert_eq!(one.renew(&lineage(&one), &held).await, Err(StoreError::Overtaken), "another had it since");
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn a_redis_that_forgot_everything_takes_the_holders_answer_but_no_earlier_one() {
    let server = RedisServer::start().await;
    let (one, other) = (at(&server), at(&server));
    let held = lease(&one, &lineage(&one)).await;
    let _: () = server.ask("FLUSHALL");
    one.keep(&lineage(&one), &held, &grant(4), Now::read()).await.unwrap();
    assert_eq!(kept(&other, &lineage(&other)).await, Some(4), "it existed nowhere else");
    let _: () = server.ask("FLUSHALL");
    one.renew(&lineage(&one), &held).await.unwrap();
    assert!(theirs(&other).await > LEASE - SECOND);
    let _: () = server.ask("FLUSHALL");
    lease(&other, &lineage(&other)).await;
    let refused = one.keep(&lineage(&one), &held, &grant(5), Now::read()).await;
    assert_eq!(refused, Err(StoreError::Overtaken), "numbers do not begin again");
    assert_eq!(kept(&other, &lineage(&other)).await, None);
    // The one who has the lease says so again; one who had it before is late all the same.
    let _: i64 = server.ask(&format!("DEL {}", keys(&server, "*:lease")[0]));
    let newer = lease(&other, &lineage(&other)).await;
    let _: () = server.ask("FLUSHALL");
    other.renew(&lineage(&other), &newer).await.unwrap();
    let refused = one.keep(&lineage(&one), &held, &grant(5), Now::read()).await;
    assert_eq!(refused, Err(StoreError::Overtaken));
}

/// As after a failover to a replica that had not heard of it yet.
#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn a_redis_that_forgot_the_last_lease_takes_the_holders_answer() {
    let server = RedisServer::start().await;
    let (one, other) = (at(&server), at(&server));
    keep(&one, &lineage(&one), 1).await;
    let held = lease(&one, &lineage(&one)).await;
    let forget = || {
        let _: i64 = server.ask(&format!("DECR {}", keys(&server, "*:fence")[0]));
        let _: i64 = server.ask(&format!("DEL {}", keys(&server, "*:lease")[0]));
    };
    forget();
    one.keep(&lineage(&one), &held, &grant(2), Now::read()).await.unwrap();
    assert_eq!(kept(&other, &lineage(&other)).await, Some(2), "it existed nowhere else");
    one.renew(&lineage(&one), &held).await.unwrap();
    forget();
    one.renew(&lineage(&one), &held).await.unwrap();
    assert!(theirs(&other).await > LEASE - SECOND, "it is taken again");
    let _: i64 = server.ask(&format!("DEL {}", keys(&server, "*:lease")[0]));
    lease(&other, &lineage(&other)).await;
    let refused = one.keep(&lineage(&one), &held, &grant(3), Now::read()).await;
    assert_eq!(refused, Err(StoreError::Overtaken), "the next one has a later fence");
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn what_was_kept_outlives_the_redis_where_it_writes_it_down() {
    let mut server = RedisServer::durable().await;
    let store = at(&server);
    keep(&store, &lineage(&store), 6).await;
    let held = lease(&store, &lineage(&store)).await;
    server.kill();
    until("an outage", async || !store.is_up()).await;
    assert!(matches!(store.grant(&lineage(&store)).await, Err(StoreError::Away { .. })));
    server.again().await;
    until("a connection", async || store.is_up()).await;
    assert_eq!(kept(&store, &lineage(&store)).await, Some(6));
    store.keep(&lineage(&store), &held, &grant(7), Now::read()).await.unwrap();
    store.renew(&lineage(&store), &held).await.unwrap();
    store.release(&lineage(&store), held).await;
    // Another process answers: anyone who has something to write down comes first.
    assert!(theirs(&store).await > LEASE / 2);
    let fresh = at(&server);
    lease(&fresh, &lineage(&fresh)).await;
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn after_an_outage_nothing_new_is_begun_for_a_while() {
    let server = RedisServer::start().await;
    let front = Front::before(server.port).await;
    let store = open(config(&front.url()));
    let held = lease(&store, &lineage(&store)).await;
    // A short one: a connection that was closed, and made again.
    front.now(Doing::Cuts);
    until("an outage", async || !store.is_up()).await;
    front.now(Doing::Passes);
    until("a connection", async || store.is_up()).await;
    store.release(&lineage(&store), held).await;
    let held = lease(&store, &lineage(&store)).await;
    // A long one.
    front.now(Doing::Silent);
    until("an outage", async || !store.is_up()).await;
    front.now(Doing::Passes);
    until("a connection", async || store.is_up()).await;
    let back = clock::now();
    store.keep(&lineage(&store), &held, &grant(1), Now::read()).await.unwrap();
    store.renew(&lineage(&store), &held).await.unwrap();
    store.release(&lineage(&store), held).await;
    assert!(theirs(&store).await > LEASE - 2 * SECOND);
    leased(&store).await;
    assert!(back.elapsed() > LEASE - SECOND && back.elapsed() < LEASE + SECOND, "{:?}", back.elapsed());
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn who_starts_in_an_outage_does_not_rush_in_after_it() {
    let mut server = RedisServer::durable().await;
    server.kill();
    let store = at(&server);
    let began = clock::now();
    until("a refusal", async || store.lease(&lineage(&store)).await.is_err()).await;
    until("an outage that lasts", async || began.elapsed() > 2 * SECOND).await;
    server.again().await;
    until("a connection", async || store.is_up()).await;
    assert!(theirs(&store).await > LEASE / 2);
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn a_paused_redis_is_away_in_time_and_back_when_it_goes_on() {
    let server = RedisServer::start().await;
    let store = at(&server);
    keep(&store, &lineage(&store), 1).await;
    server.pause();
    let began = clock::now();
    let error = store.grant(&lineage(&store)).await.unwrap_err().to_string();
    assert!(error.ends_with("is away: it does not answer in time"), "{error}");
    assert!(began.elapsed() < 2 * SECOND, "{:?}", began.elapsed());
    let began = clock::now();
    store.grant(&lineage(&store)).await.unwrap_err();
    assert!(began.elapsed() < SECOND / 4, "who knows it is away says so at once: {:?}", began.elapsed());
    server.go_on();
    until("a connection", async || store.is_up()).await;
    assert_eq!(kept(&store, &lineage(&store)).await, Some(1));
    // And without anybody asking, an outage is known.
    server.pause();
    until("an outage", async || !store.is_up()).await;
    server.go_on();
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn a_redis_that_is_full_or_a_replica_refuses_and_nothing_changes() {
    let server = RedisServer::start().await;
    let store = at(&server);
    keep(&store, &lineage(&store), 1).await;
    let held = lease(&store, &lineage(&store)).await;
    // Its sealed part is no text.
    let dump = || {
        let key = keys(&server, "*:grant")[0].clone();
        server.ask::<Vec<Vec<u8>>>(&format!("HGETALL {key}"))
    };
    let before = dump();
    let _: () = server.ask("CONFIG SET maxmemory 1");
    let keep = || async { store.keep(&lineage(&store), &held, &grant(2), Now::read()).await };
    let error = keep().await.unwrap_err().to_string();
    assert!(error.contains("refuses (OOM): it is full"), "{error}");
    assert_eq!(dump(), before);
    let _: () = server.ask("CONFIG SET maxmemory 0");
    let _: () = server.ask("REPLICAOF 127.0.0.1 9");
    let error = keep().await.unwrap_err().to_string();
    assert!(error.contains("refuses (READONLY): it is a replica"), "{error}");
    let _: () = server.ask("REPLICAOF NO ONE");
    assert_eq!(dump(), before);
    until("a grant that is kept", async || keep().await.is_ok()).await;
    assert_eq!(kept(&store, &lineage(&store)).await, Some(2));
}
