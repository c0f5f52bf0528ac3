//! Few open files, and more clients than they allow: the sidecar keeps what it needs to live.
//!
//! ```text
//!   300 clients ──► sidecar with 128 open files ──► service
//!   probes ───────►        └──────────────────────► token endpoint: a token for two seconds
//! ```

use futures_util::future::join_all;

use crate::{
    sidecar::Sidecar,
    support::{
        beside,
        http::{ask, handshake},
        service::Service,
        until,
        ws::Wire,
    },
};

const FILES: &str = "128";
const CLIENTS: usize = 300;
/// Refreshes that come in their time, while clients knock.
const REFRESHES: f64 = 3.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn realtime_clients_do_not_take_what_probes_and_refreshes_need() {
    let (service, tokens) = (Service::start().await.echo(), Service::start().await);
    let endpoint = tokens.port;
    beside(async move {
        for number in 1.. {
            let asked = tokens.asked().await;
            let token = format!("{{\"token\":\"token-{number}\",\"expires_in\":2}}");
            let length = token.len();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
            asked.answer(format!("{head}Content-Length: {length}\r\n\r\n{token}")).await;
        }
    });
    let sidecar = Sidecar::launch_by(
        &["sh", "-c", &format!("ulimit -n {FILES}; exec \"$0\" \"$@\"")],
        &format!(
            "[[route]]\nname = \"few\"\nupstream = \"ws://127.0.0.1:{service}\"\ndialect = \"handshake\"\n\
             [route.handshake]\nquery = \"token\"\n\
             [route.token]\nsource = \"http\"\nurl = \"http://127.0.0.1:{endpoint}/\"\n"
        ),
    )
    .await;
    assert_eq!(sidecar.metric("perennial_open_files_limit").await, FILES.parse::<f64>().unwrap());
    let most = sidecar.metric("perennial_sessions_limit").await;
    assert!(most < 10_000.0, "{most}");

    let clients = (0..CLIENTS).map(|_| knock(sidecar.port));
    let clients = beside(join_all(clients.collect::<Vec<_>>()));
    let refreshed = "perennial_token_refreshes_total{outcome=\"ok\",route=\"few\",trigger=\"schedule\"}";
    until(
        "refreshes in their time",
        || async {
            let (status, _) = sidecar.ask("/livez").await;
            assert_eq!(status, 200);
            sidecar.metric(refreshed).await
        },
        |count| *count >= REFRESHES,
    )
    .await;
    let answers = clients.await.unwrap();
    // One that takes a new token at this moment is live again in the next.
    let live = "perennial_sessions{route=\"few\",state=\"live\"}";
    until("all to be live", || sidecar.metric(live), |count| *count == most).await;
    let served = answers.iter().flatten().count();
    assert_eq!(served as f64, most, "the others were told so");
    drop(answers);
    let page = sidecar.ask("/metrics").await.1;
    let failed = page.lines().filter(|line| {
        line.starts_with("perennial_token_refreshes_total{outcome=\"failed\"") && !line.ends_with(" 0")
    });
    assert_eq!(failed.collect::<Vec<_>>(), Vec::<&str>::new());
    let log = sidecar.stop().await;
    assert!(log.contains("fewer sessions than limits.sessions"), "{log}");
    assert!(!log.contains("Too many open files"), "{log}");
}

/// One client, until it is let in, or told that there is no room; its connection, if it was let in.
async fn knock(port: u16) -> Option<Wire> {
    loop {
        let (answer, wire) = ask(port, handshake("/", "")).await;
        // Too many at once: its connection was closed without a word.
        if !answer.first.is_empty() {
            return (answer.status() == 101).then_some(wire);
        }
    }
}
