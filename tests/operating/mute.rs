//! A resolver that never answers: nothing else waits for it, the end neither.
//!
//! ```text
//!   sidecar, in a mount namespace with a resolv.conf of its own ──► 127.9.9.9:53: a socket that nobody reads
//! ```

use std::{net::UdpSocket, time::Duration};

use futures_util::future::join_all;

use super::reload::relays;
use crate::{
    sidecar::Sidecar,
    support::{
        beside,
        http::{ask, handshake},
        plain,
        service::Service,
        soon, until,
        ws::{Wire, session},
    },
};

/// Clients of the name.
const CLIENTS: usize = 600;

struct Mute {
    #[expect(dead_code, reason = "held open: it is where questions end")]
    socket: UdpSocket,
    directory: tempfile::TempDir,
}

impl Mute {
    fn start(host: u8) -> Self {
        let address = format!("127.9.9.{host}");
        let socket = UdpSocket::bind((address.as_str(), 53)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let conf = format!("nameserver {address}\noptions timeout:30 attempts:3\n");
        std::fs::write(directory.path().join("resolv.conf"), conf).unwrap();
        Self { socket, directory }
    }

    /// A sidecar that asks it.
    async fn sidecar(&self, configuration: &str) -> Sidecar {
        let conf = self.directory.path().join("resolv.conf");
        let bind = format!("mount --bind {} /etc/resolv.conf && exec \"$0\" \"$@\"", conf.display());
        Sidecar::launch_by(&["unshare", "--mount", "sh", "-c", &bind], configuration).await
    }
}

/// A route to a name that nobody resolves, and one that needs no name.
fn routes(service: u16) -> String {
    format!(
        "[[route]]\nname = \"lost\"\npath = \"/lost\"\nupstream = \"ws://service.example:80\"\ndialect = \"none\"\n{}",
        plain(service)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root: run by tests/all"]
async fn six_hundred_clients_of_a_name_that_nobody_resolves_cost_one_thread() {
    let (mute, service) = (Mute::start(1), Service::start().await);
    let sidecar = mute.sidecar(&format!("[limits]\nhandshake = \"2s\"\n{}", routes(service.port))).await;
    let threads = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", sidecar.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap();
        line.trim().parse::<usize>().unwrap()
    };
    let before = threads();
    let clients = (0..CLIENTS).map(|_| ask(sidecar.port, handshake("/lost", "")));
    let clients = beside(join_all(clients.collect::<Vec<_>>()));
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    let mut most = before;
    while !clients.is_finished() {
        relays(&mut client, &mut theirs).await;
        most = most.max(threads());
    }
    let answers = clients.await.unwrap();
    let statuses: std::collections::BTreeSet<_> = answers.iter().map(|(answer, _)| answer.status()).collect();
    assert_eq!(statuses, [502].into(), "each is told that the service cannot be reached");
    // The one that resolves, and one that reads files for the test's own look.
    assert!(most <= before + 2, "{most} threads, {before} before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root: run by tests/all"]
async fn the_end_does_not_wait_for_a_lookup() {
    let (mute, service) = (Mute::start(2), Service::start().await);
    for (signals, status) in [(1, 0), (2, 1)] {
        let drain = if signals == 1 { "0s" } else { "1h" };
        let limits = format!("[limits]\ndrain = \"{drain}\"\n");
        let sidecar = mute.sidecar(&format!("{limits}{}", routes(service.port))).await;
        let (_client, _theirs) = session(sidecar.port, &service).await;
        let mut lost = Wire::dial(sidecar.port).await;
        lost.send(handshake("/lost", "")).await;
        asked(&sidecar).await;
        sidecar.signal("TERM");
        if signals == 2 {
            // The first was heard. Two at once are one.
            until("the drain", || sidecar.ask("/readyz"), |(status, _)| *status == 503).await;
            sidecar.signal("TERM");
        }
        let began = perennial::clock::now();
        let (ended, log) = soon("the end", sidecar.ended()).await;
        assert_eq!(ended, Some(status), "{log}");
        // The name's own time would be 90 s, clients' that do not answer a Close are 6 s.
        assert!(began.elapsed() < Duration::from_secs(20), "{log}");
    }
}

/// Until there is a thread that resolves.
async fn asked(sidecar: &Sidecar) {
    let path = format!("/proc/{}/task", sidecar.id());
    until(
        "a lookup",
        || async {
            let tasks = std::fs::read_dir(&path).unwrap().flatten();
            let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
            names.filter(|name| name.trim() == "resolver").count()
        },
        |count| *count > 0,
    )
    .await;
}
