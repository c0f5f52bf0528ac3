//! Sentinels that are none, are silent, know nothing, or are wrong.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{
    nonsense::{config, open, said},
    redis::until,
    server::{Doing, Front},
    *,
};
use crate::config::RedisConfig;

const SECOND: Duration = Duration::from_secs(1);

/// What it answers to a command.
pub(super) type Answers = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// A peer that answers each command; and how often it was dialled.
pub(super) async fn played(answers: Answers) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (dialled, tasks) = (Arc::new(AtomicUsize::new(0)), TaskTracker::new());
    let (count, each) = (Arc::clone(&dialled), tasks.clone());
    tasks.spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let answers = Arc::clone(&answers);
            each.spawn(async move {
                let mut asked = [0; 4096];
                while let Ok(length @ 1..) = tcp.read(&mut asked).await {
                    let answer = answers(&String::from_utf8_lossy(&asked[..length]));
                    if tcp.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (port, dialled)
}

/// What a sentinel says of a primary on this port.
pub(super) fn names(port: u16) -> String {
    let port = port.to_string();
    format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len())
}

fn url(ports: &[u16]) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("redis+sentinel://:CANARY@{}/mymaster?sentinel_pass=CANARY", hosts.join(","))
}

/// A port that nobody listens at.
async fn nobody() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

async fn told(ports: &[u16]) -> String {
    let store = open(RedisConfig { timeout: SECOND / 5, ..config(&url(ports)) });
    let error = said(&store).await;
    assert!(!error.contains("CANARY") && !store.is_up(), "{error}");
    error
}

#[tokio::test]
async fn a_sentinel_that_names_no_primary_is_told_with_what_it_said() {
    for (what, expected) in [
        ("*-1\r\n", "does not know `mymaster`: compare the name in url of [state] with `sentinel monitor`"),
        ("$-1\r\n", "does not know `mymaster`"),
        ("$6\r\nCANARY\r\n", "answers nonsense (no address)"),
        ("*0\r\n", "answers nonsense (no address)"),
        ("*1\r\n$1\r\na\r\n", "answers nonsense (no address)"),
        ("*3\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\n1\r\n", "answers nonsense (no address)"),
        ("*2\r\n$1\r\na\r\n:6379\r\n", "answers nonsense (no address)"),
        ("*2\r\n$1\r\na\r\n$1\r\n0\r\n", "answers nonsense (no address)"),
        ("*2\r\n$1\r\na\r\n$5\r\n65536\r\n", "answers nonsense (no address)"),
        ("*2\r\n$0\r\n\r\n$4\r\n6379\r\n", "answers nonsense (no address)"),
        ("*2\r\n$8\r\nCANARY\nx\r\n$4\r\n6379\r\n", "answers nonsense (no address)"),
        ("*2\r\n$1\r\na\r\n", "cannot be asked: it does not answer in time"),
        ("HTTP/1.1 400 CANARY\r\n\r\n", "answers nonsense (it does not speak Redis' protocol)"),
        ("-NOPERM CANARY\r\n", "refuses (NOPERM): look at sentinel_user and sentinel_pass"),
        ("-ERR unknown command CANARY\r\n", "refuses (ERR): look at"),
    ] {
        let answer = move |asked: &str| (if asked.contains("AUTH") { "+OK\r\n" } else { what }).to_owned();
        let (port, _) = played(Arc::new(answer)).await;
        let error = told(&[port]).await;
        let whole = format!(
            "the Redis at 127.0.0.1:{port}/mymaster is away: no sentinel names the primary (1 asked): 127.0.0.1:{port} "
        );
        assert!(error.starts_with(&format!("{whole}{expected}")), "{what:?}: {error}");
    }
    let wrong = played(Arc::new(|_: &str| "-WRONGPASS CANARY\r\n".to_owned())).await;
    let error = told(&[wrong.0]).await;
    assert!(error.contains("refuses (WRONGPASS): look at sentinel_user and sentinel_pass"), "{error}");
}

#[tokio::test]
async fn if_none_helps_the_reason_is_the_one_that_waiting_does_not_change() {
    let (silent, cuts) = (Front::saying(Doing::Silent).await, Front::saying(Doing::Cuts).await);
    let gone = nobody().await;
    let error = told(&[silent.port, cuts.port, gone]).await;
    assert!(
        error.contains("no sentinel names the primary (3 asked): ") && error.contains("cannot be asked"),
        "{error}"
    );
    let unknown = Front::saying(Doing::Says(Arc::from(&b"*-1\r\n"[..]))).await;
    let plain = |ports: &[u16]| url(ports).replace("?sentinel_pass=CANARY", "");
    let store = open(config(&plain(&[gone, unknown.port, silent.port])));
    let error = said(&store).await;
    assert!(
        error.contains(&format!("(3 asked): 127.0.0.1:{} does not know `mymaster`", unknown.port)),
        "{error}"
    );
}

#[tokio::test]
async fn the_first_that_names_one_counts_and_is_asked_first_the_next_time() {
    let primary = nobody().await;
    let (silent, silently) = played(Arc::new(|_: &str| String::new())).await;
    let (unknown, _) = played(Arc::new(|_: &str| "*-1\r\n".to_owned())).await;
    let (good, well) = played(Arc::new(move |_: &str| names(primary))).await;
    let (last, never) = played(Arc::new(move |_: &str| names(primary))).await;
    let ports = [silent, nobody().await, unknown, good, last];
    let store = open(config(&url(&ports).replace("?sentinel_pass=CANARY", "")));
    let error = said(&store).await;
    assert!(error.contains(&format!("is away: connect to 127.0.0.1:{primary}")), "{error}");
    until("the sentinel is asked again", async || well.load(Ordering::Relaxed) >= 4).await;
    assert_eq!((silently.load(Ordering::Relaxed), never.load(Ordering::Relaxed)), (1, 0));
}

/// A Redis that does everything, and says that it is a primary or a replica.
fn redis(is_primary: Arc<AtomicBool>) -> Answers {
    Arc::new(move |asked| match asked {
        _ if asked.contains("INFO") => {
            let role = if is_primary.load(Ordering::Relaxed) { "master" } else { "slave" };
            let info = format!("# Server\r\nrun_id:a\r\nrole:{role}\r\naof_enabled:1\r\n");
            format!("${}\r\n{info}\r\n", info.len())
        }
        _ if asked.contains("PING") => "+PONG\r\n".to_owned(),
        _ if asked.contains("EVAL") => ":1\r\n".to_owned(),
        _ => "+OK\r\n".to_owned(),
    })
}

#[tokio::test]
async fn a_replica_is_not_taken_for_the_primary_even_if_it_would_write() {
    let is_primary = Arc::new(AtomicBool::new(false));
    let (port, dialled) = played(redis(Arc::clone(&is_primary))).await;
    let (sentinel, _) =
        played(Arc::new(
            move |asked: &str| {
                if asked.contains("SENTINEL") { names(port) } else { "+OK\r\n".to_owned() }
            },
        ))
        .await;
    let store = open(config(&url(&[sentinel])));
    let error = said(&store).await;
    assert!(error.ends_with("is away: the one that the sentinels name is not the primary"), "{error}");
    assert!(dialled.load(Ordering::Relaxed) >= 1 && !store.is_up());
    is_primary.store(true, Ordering::Relaxed);
    until("it is dialled again", async || store.is_up()).await;
    // Who names a Redis without sentinels means that one.
    is_primary.store(false, Ordering::Relaxed);
    let store = open(config(&format!("redis://127.0.0.1:{port}")));
    let lineage = store.lineage("jobs", b"first");
    assert!(
        matches!(store.grant(&lineage).await, Err(StoreError::Nonsense { .. })),
        "it is up, and only played"
    );
}

#[tokio::test]
async fn each_hears_its_own_password_and_no_other() {
    let heard = |what: Arc<Mutex<String>>, answers: Answers| -> Answers {
        Arc::new(move |asked| {
            what.lock().unwrap().push_str(asked);
            answers(asked)
        })
    };
    let (at_primary, at_sentinel) = (Arc::<Mutex<String>>::default(), Arc::<Mutex<String>>::default());
    let all = redis(Arc::new(AtomicBool::new(true)));
    let (primary, _) = played(heard(Arc::clone(&at_primary), Arc::clone(&all))).await;
    let answers: Answers =
        Arc::new(move |asked| if asked.contains("SENTINEL") { names(primary) } else { "+OK\r\n".to_owned() });
    let (sentinel, _) = played(heard(Arc::clone(&at_sentinel), answers)).await;
    let url =
        format!("redis+sentinel://me:mine@127.0.0.1:{sentinel}/m/3?sentinel_user=you&sentinel_pass=yours");
    let store = open(config(&url));
    until("a store that is up", async || store.is_up()).await;
    let (at_primary, at_sentinel) = (at_primary.lock().unwrap().clone(), at_sentinel.lock().unwrap().clone());
    let is_said =
        |to: &str, words: [&str; 2]| words.iter().all(|word| to.contains(&format!("\r\n{word}\r\n")));
    assert!(is_said(&at_primary, ["me", "mine"]) && is_said(&at_primary, ["SELECT", "3"]), "{at_primary}");
    assert!(
        is_said(&at_sentinel, ["you", "yours"]) && is_said(&at_sentinel, ["SENTINEL", "m"]),
        "{at_sentinel}"
    );
    assert!(!at_primary.contains("you") && !at_sentinel.contains("mi") && !at_sentinel.contains("SELECT"));
}
