//! What listens at the URL is no Redis, or none that keeps to its word.

use super::{
    server::{Doing, Front},
    *,
};
use crate::{
    config::{RedisConfig, Secret, UpstreamTls},
    credential::store::Lineage,
};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn config(url: &str) -> RedisConfig {
    let tls = UpstreamTls::default();
    let secret = vec![Secret::literal("the secret of all sidecars")];
    RedisConfig { url: Secret::literal(url), secret, prefix: "test".to_owned(), timeout: SECOND, tls }
}

pub(super) fn open(config: RedisConfig) -> Store {
    opened(&StateConfig::Redis(Box::new(config)), HISTORY).unwrap()
}

fn lineage(store: &Store) -> Lineage {
    store.lineage("jobs", b"CANARY")
}

/// What is said of it when it was dialled, each time in at most twice the timeout.
pub(super) async fn said(store: &Store) -> String {
    let lineage = lineage(store);
    loop {
        let asked = tokio::time::timeout(2 * SECOND, store.grant(&lineage));
        let error = asked.await.expect("an answer in time").unwrap_err().to_string();
        if !error.ends_with("it is being dialled") {
            return error;
        }
    }
}

async fn told(doing: Doing, timeout: Duration) -> String {
    let front = Front::saying(doing).await;
    let config = RedisConfig { timeout, ..config(&front.url()) };
    let store = open(config);
    let error = said(&store).await;
    assert!(!error.contains("CANARY") && !store.is_up(), "{error}");
    error.replace(&front.port.to_string(), "PORT")
}

#[tokio::test]
async fn what_is_no_redis_is_told_and_never_waited_for() {
    let info = b"$18\r\n# Server\r\nrun_id:a\r\n";
    let cases: [(&[u8], &str); 9] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\nCANARY", "it does not speak Redis' protocol"),
        (b"\x00\xff\xfe", "it does not speak Redis' protocol"),
        (b"+CANARY", "half an answer"),
        (b"$1000\r\nCANARY", "half an answer"),
        (b"*2147483647\r\n", "a length beyond all bounds"),
        (b"$2147483647\r\n", "a length beyond all bounds"),
        (b":CANARY\r\n", "a number that is none"),
        (b"+OK\r\n", "no INFO"),
        (info, "another kind of answer"),
    ];
    for (what, expected) in cases {
        let error = told(Doing::Says(what.into()), SECOND / 5).await;
        let whole = format!(
            "the Redis at 127.0.0.1:PORT answers nonsense ({expected}); look whether url in [state] names a Redis"
        );
        assert_eq!(error, whole, "{:?}", String::from_utf8_lossy(what));
    }
}

#[tokio::test]
async fn what_talks_without_end_is_cut_off() {
    let letters = Arc::<[u8]>::from(vec![b'x'; 64 << 10]);
    assert!(told(Doing::Floods(letters), SECOND).await.contains("nonsense"));
    let string = [&b"$60000\r\n"[..], &[b'x'; 60_000], b"\r\n"].concat();
    let error = told(Doing::Floods(string.into()), SECOND).await;
    assert!(error.contains("it says more than it was asked for") || error.contains("no INFO"), "{error}");
    let array = [&b"*1000\r\n"[..], &b"$0\r\n\r\n".repeat(900)].concat();
    assert!(told(Doing::Floods(array.into()), SECOND).await.contains("nonsense"));
}

#[tokio::test]
async fn silence_and_a_door_that_is_shut_are_outages() {
    let error = told(Doing::Silent, SECOND / 5).await;
    assert_eq!(error, "the Redis at 127.0.0.1:PORT is away: it does not answer in time");
    assert!(told(Doing::Cuts, SECOND).await.contains("is away"));
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = said(&open(config(&format!("redis://:CANARY@127.0.0.1:{port}")))).await;
    assert!(error.starts_with(&format!("the Redis at 127.0.0.1:{port} is away: connect to")), "{error}");
}

#[tokio::test]
async fn refusals_are_told_by_their_code_alone() {
    let refusals = [
        ("-WRONGPASS CANARY\r\n", "(WRONGPASS): look at the user"),
        ("-NOAUTH CANARY\r\n", "(NOAUTH): look at the user"),
        ("-LOADING CANARY\r\n", "(LOADING): it has just started"),
        ("-CANARY-is-secret of me\r\n", "(ERR): look at its version"),
    ];
    for (what, expected) in refusals {
        let error = told(Doing::Says(what.as_bytes().into()), SECOND).await;
        assert!(error.contains(expected), "{what} {error}");
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_an_error_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, "none").unwrap();
    let tls = UpstreamTls { ca: Some(ca), ..UpstreamTls::default() };
    let config = RedisConfig { tls, ..config("rediss://:CANARY@127.0.0.1:9") };
    let error = opened(&StateConfig::Redis(Box::new(config)), HISTORY).unwrap_err().to_string();
    assert!(error.contains("ca.pem: holds no PEM certificate") && !error.contains("CANARY"), "{error}");
}
