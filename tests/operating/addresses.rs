//! A name with two addresses, one of which takes connections and does not serve.
//!
//! ```text
//!   sidecar, in a mount namespace with a hosts file of its own ──► 127.0.0.2: deaf, or closes ; 127.0.0.3: serves
//! ```

use std::time::Duration;

use perennial::clock;
use tokio::net::TcpListener;

use crate::{
    sidecar::Sidecar,
    support::{
        beside,
        http::{ask, handshake},
        service::Service,
    },
};

/// The whole time that a handshake has.
const LIMIT: Duration = Duration::from_secs(4);

/// A sidecar whose service has both addresses; the second serves.
async fn sidecar(closes: bool) -> (Sidecar, tempfile::TempDir) {
    let (bad, good) = loop {
        let bad = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = bad.local_addr().unwrap().port();
        if let Ok(good) = TcpListener::bind(("127.0.0.3", port)).await {
            break (bad, good);
        }
    };
    let port = good.local_addr().unwrap().port();
    Service::on(good, None).echo();
    beside(async move {
        let mut held = Vec::new();
        while let Ok((tcp, _)) = bad.accept().await {
            if !closes {
                held.push(tcp);
            }
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost\n127.0.0.2 twins.test\n127.0.0.3 twins.test\n").unwrap();
    let bind = format!("mount --bind {} /etc/hosts && exec \"$0\" \"$@\"", hosts.display());
    let configuration = format!(
        "[limits]\nhandshake = \"{}s\"\n[[route]]\nname = \"twins\"\nupstream = \"ws://twins.test:{port}\"\n\
         dialect = \"none\"\nsession.keepalive = \"10m\"\n",
        LIMIT.as_secs()
    );
    (Sidecar::launch_by(&["unshare", "--mount", "sh", "-c", &bind], &configuration).await, directory)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root: run by tests/all"]
async fn an_address_that_is_deaf_costs_one_client_its_handshake() {
    let (sidecar, _directory) = sidecar(false).await;
    let (answer, _) = ask(sidecar.port, handshake("/", "")).await;
    assert_eq!(answer.status(), 504, "the resolver's first is the deaf one: {answer:?}");
    for _ in 0..3 {
        let began = clock::now();
        let (answer, _client) = ask(sidecar.port, handshake("/", "")).await;
        assert_eq!(answer.status(), 101, "{answer:?}");
        assert!(began.elapsed() < LIMIT / 2, "it did not wait for the deaf one: {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root: run by tests/all"]
async fn an_address_that_accepts_and_closes_costs_one_dial() {
    let (sidecar, _directory) = sidecar(true).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(ask(sidecar.port, handshake("/", "")).await.0.status());
    }
    // A plain route has no token, and so no second dial in its first handshake.
    assert_eq!(statuses, [502, 101, 101, 101]);
}
