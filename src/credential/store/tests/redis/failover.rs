//! Redis Sentinel: another Redis becomes the primary, and the store goes there.

use std::sync::atomic::{AtomicU16, Ordering};

use super::{
    super::{
        grants::{grant, keep, kept, lease},
        nonsense::{config, open},
        sentinels::{names, played},
        server::{RedisServer, Replicated},
        *,
    },
    doors::{said, tls_front},
    until,
};
use crate::{
    clock,
    config::{RedisConfig, UpstreamTls},
    credential::store::{LEASE, Leased, Lineage},
};

/// From the death of a primary: half a second until it is noticed, an election that may have to be repeated, and a
/// second until the next dial. Without the sentinels the store does not come back at all.
const FAILOVER: Duration = Duration::from_secs(20);

fn lineage(store: &Store) -> Lineage {
    store.lineage("jobs", b"first")
}

/// All that the primary has, the replica has too.
async fn replicated(redis: &Replicated) {
    let known = |server: &RedisServer| server.ask::<i64>("DBSIZE");
    until("a replica that has everything", async || {
        known(&redis.primary) > 0 && known(&redis.primary) == known(&redis.replica)
    })
    .await;
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn after_the_primary_was_killed_the_store_is_up_at_its_replica_and_leases_are_had_again() {
    let mut redis = Replicated::start().await;
    let (one, other) = (open(config(&redis.url())), open(config(&redis.url())));
    keep(&one, &lineage(&one), 1).await;
    let held = lease(&one, &lineage(&one)).await;
    assert_eq!(kept(&other, &lineage(&other)).await, Some(1));
    replicated(&redis).await;
    redis.primary.kill();
    let killed = clock::now();
    until("an outage", async || !one.is_up() && !other.is_up()).await;
    until("the other primary", async || one.is_up() && other.is_up()).await;
    assert!(killed.elapsed() < FAILOVER, "{:?}", killed.elapsed());
    // What the holder has got in the meantime is not lost.
    one.keep(&lineage(&one), &held, &grant(2), Now::read()).await.unwrap();
    assert_eq!(kept(&other, &lineage(&other)).await, Some(2));
    one.release(&lineage(&one), held).await;
    let back = clock::now();
    until("a lease", async || matches!(other.lease(&lineage(&other)).await, Ok(Leased::Ours(_)))).await;
    assert!(back.elapsed() > LEASE / 2 && back.elapsed() < LEASE * 2, "{:?}", back.elapsed());
    // Who starts now finds it, too.
    assert_eq!(kept(&open(config(&redis.url())), &lineage(&one)).await, Some(2));
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn a_primary_that_becomes_a_replica_is_left() {
    let redis = Replicated::start().await;
    let store = open(config(&redis.url()));
    keep(&store, &lineage(&store), 1).await;
    replicated(&redis).await;
    let began = clock::now();
    let _: () = redis.sentinels[1].ask("SENTINEL FAILOVER mymaster");
    until("the other primary", async || redis.replica.says("INFO replication", "role:master")).await;
    until("a grant that is kept", async || {
        let Ok(Leased::Ours(held)) = store.lease(&lineage(&store)).await else { return false };
        store.keep(&lineage(&store), &held, &grant(2), Now::read()).await.is_ok()
            && redis.replica.says("INFO replication", "role:master")
            && redis.primary.says("INFO replication", "role:slave")
    })
    .await;
    assert!(began.elapsed() < FAILOVER + LEASE, "{:?}", began.elapsed());
    assert_eq!(kept(&store, &lineage(&store)).await, Some(2));
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn a_primary_that_was_cut_off_and_writes_no_more_is_left() {
    let (old, new) = (RedisServer::start().await, RedisServer::start().await);
    let primary = Arc::new(AtomicU16::new(old.port));
    let named = Arc::clone(&primary);
    let (sentinel, _) = played(Arc::new(move |_: &str| names(named.load(Ordering::Relaxed)))).await;
    let store = open(config(&format!("redis+sentinel://127.0.0.1:{sentinel}/mymaster")));
    keep(&store, &lineage(&store), 1).await;
    let _: () = old.ask("CONFIG SET min-replicas-to-write 1");
    until("a refusal", async || {
        store
            .error()
            .is_some_and(|error| error.to_string().contains("refuses (NOREPLICAS): it has fewer replicas"))
    })
    .await;
    primary.store(new.port, Ordering::Relaxed);
    until("the other primary", async || store.is_up()).await;
    assert_eq!(kept(&store, &lineage(&store)).await, None, "it is the other one");
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn the_sentinel_and_the_primary_each_have_to_have_a_certificate() {
    let server = RedisServer::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    for name in ["127.0.0.1", "redis.internal"] {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        std::fs::write(file(&format!("{name}.pem")), made.cert.pem()).unwrap();
        std::fs::write(file(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    }
    let both = std::fs::read_to_string(file("127.0.0.1.pem")).unwrap()
        + &std::fs::read_to_string(file("redis.internal.pem")).unwrap();
    std::fs::write(file("both.pem"), both).unwrap();
    let front = async |behind, name: &str| {
        tls_front(behind, &file(&format!("{name}.pem")), &file(&format!("{name}.key"))).await
    };
    // Of the sentinel, of the primary, and what is set; then whose certificate is refused.
    for (sentinel, primary, server_name, refused) in [
        ("127.0.0.1", "127.0.0.1", None, None),
        ("redis.internal", "redis.internal", Some("redis.internal"), None),
        ("redis.internal", "127.0.0.1", None, Some("sentinel")),
        ("127.0.0.1", "redis.internal", None, Some("primary")),
        ("redis.internal", "127.0.0.1", Some("redis.internal"), Some("primary")),
    ] {
        let primary = front(server.port, primary).await;
        let (plain, _) = played(Arc::new(move |_: &str| names(primary))).await;
        let sentinel = front(plain, sentinel).await;
        let tls = UpstreamTls {
            ca: Some(file("both.pem")),
            server_name: server_name.map(str::to_owned),
            ..UpstreamTls::default()
        };
        let url = format!("rediss+sentinel://127.0.0.1:{sentinel}/mymaster");
        let store = open(RedisConfig { tls, ..config(&url) });
        let said = said(&store).await;
        let at =
            |port: u16| said.contains(&format!("TLS with 127.0.0.1:{port}")) && said.contains("certificate");
        let found = if at(sentinel) {
            Some("sentinel")
        } else if at(primary) {
            Some("primary")
        } else {
            None
        };
        assert_eq!((found, store.is_up()), (refused, refused.is_none()), "{said}");
    }
}
