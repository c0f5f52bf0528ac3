//! What a service manager hears: the test plays it, on a socket of its own.

use std::os::unix::net::UnixDatagram;

use crate::{
    operating::reload::reload,
    sidecar::Sidecar,
    support::{plain, soon},
};

/// The manager's end.
struct Manager {
    socket: tokio::net::UnixDatagram,
    directory: tempfile::TempDir,
    heard: Vec<String>,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket: tokio::net::UnixDatagram::from_std(socket).unwrap(), directory, heard: Vec::new() }
    }

    async fn launch(&self, configuration: &str) -> Sidecar {
        let path = self.directory.path().join("notify");
        let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
        Sidecar::launch(configuration, &[], &variables).await
    }

    /// Waits for a line that begins so.
    async fn hears(&mut self, line: &str) -> String {
        let mut message = [0; 4096];
        soon(line, async {
            loop {
                let n = self.socket.recv(&mut message).await.unwrap();
                let text = String::from_utf8(message[..n].to_vec()).unwrap();
                self.heard.extend(text.lines().map(str::to_owned));
                if let Some(found) = text.lines().find(|said| said.starts_with(line)) {
                    return found.to_owned();
                }
            }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_hears_of_the_start_of_life_of_reloads_and_of_the_end() {
    let mut manager = Manager::new();
    let sidecar = manager.launch(&plain(9)).await;
    manager.hears("READY=1").await;
    for _ in 0..3 {
        manager.hears("WATCHDOG=1").await;
    }
    assert_eq!(manager.hears("STATUS=").await, "STATUS=0 of 0 sessions relay");
    for (configuration, good) in [(plain(8), true), ("nonsense".to_owned(), false)] {
        assert_eq!(reload(&sidecar, &configuration).await, good);
        manager.hears("RELOADING=1").await;
        manager.hears("READY=1").await;
    }
    assert!(manager.heard.iter().any(|line| line.starts_with("MONOTONIC_USEC=")), "{:?}", manager.heard);
    let refused = manager.hears("STATUS=0 of 0 sessions relay; the last reload was refused").await;
    assert!(refused.contains("see the log"), "{refused}");
    sidecar.signal("TERM");
    manager.hears("STOPPING=1").await;
    assert_eq!(sidecar.ended().await.0, Some(0));
}
