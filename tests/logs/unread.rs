//! Nobody reads the log, or it cannot be written: sessions, probes, metrics and the end of the process are as ever.

use std::{
    fs::OpenOptions,
    io::{PipeWriter, Write},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use rustix::fs::OFlags;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::{
    sidecar::ask,
    support::{
        self,
        http::handshake,
        plain,
        service::Service,
        soon, until,
        ws::{CLOSE, Honest, masked},
    },
};

/// Sessions that come and go: several lines each.
const SHORT: usize = 1_500;
/// Sessions at the same time.
const AT_ONCE: usize = 8;
/// The end takes about two seconds here. If it waits for a reader, it never comes.
const END: Duration = Duration::from_secs(15);

/// A sidecar whose stderr is the test's own choice, before a service that says everything again.
struct Deaf {
    child: Child,
    port: u16,
    admin: u16,
    _directory: tempfile::TempDir,
}

impl Deaf {
    async fn start(stdout: Stdio, stderr: Stdio) -> Self {
        Self::run(&["exec \"$@\""], stdout, stderr).await
    }

    /// Runs it by a shell that may do something to stderr before.
    async fn run(script: &[&str], stdout: Stdio, stderr: Stdio) -> Self {
        let service = Service::start().await.echo();
        let [port, admin] = free_ports();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("perennial.toml");
        let ports =
            format!("[listen]\naddress = \"127.0.0.1:{port}\"\n[admin]\naddress = \"127.0.0.1:{admin}\"\n");
        std::fs::write(&file, format!("{ports}[limits]\ndrain = \"200ms\"\n{}", plain(service))).unwrap();
        let binary =
            std::env::var("PERENNIAL_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_perennial").into());
        let child = Command::new("sh")
            .arg("-c")
            .args(script)
            .args(["sh", &binary, "run", "--log-level", "debug", "--log-format", "json", "--config"])
            .arg(file)
            .stdout(stdout)
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        soon("it listens", async {
            while TcpStream::connect(("127.0.0.1", admin)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        Self { child, port, admin, _directory: directory }
    }

    async fn dropped(&self) -> f64 {
        let (status, page) = soon("/metrics", ask(self.admin, "/metrics")).await;
        assert_eq!(status, 200, "{page}");
        let series = "perennial_log_lines_dropped_total ";
        page.lines().find_map(|line| line.strip_prefix(series)).unwrap().parse().unwrap()
    }

    /// Many sessions come and go, and one stays; afterwards everything answers.
    async fn serves(&self) {
        let mut honest = Honest::open(self.port, "/").await;
        honest.relays().await;
        come_and_go(self.port, SHORT).await;
        honest.relays().await;
        assert_eq!(soon("/livez", ask(self.admin, "/livez")).await.0, 200);
    }

    /// Goes on until lines are dropped, and serves then.
    async fn drops_lines_and_serves(&self) {
        self.serves().await;
        until("lines are dropped", || self.served_and_dropped(), |dropped| *dropped > 0.0).await;
        self.serves().await;
    }

    async fn served_and_dropped(&self) -> f64 {
        come_and_go(self.port, AT_ONCE).await;
        self.dropped().await
    }

    /// SIGTERM ends it, with status 0.
    async fn ends(mut self) {
        let id = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").arg(id).status().unwrap().success());
        let status = tokio::time::timeout(END, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it has not ended after {END:?}")).unwrap();
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

/// Ports that nobody has now.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

async fn come_and_go(port: u16, sessions: usize) {
    let left = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let all: Vec<_> = (0..sessions)
        .map(|_| {
            let left = Arc::clone(&left);
            support::beside(async move {
                let _turn = left.acquire().await.unwrap();
                let (answer, mut wire) = support::http::ask(port, handshake("/", "")).await;
                assert_eq!(answer.status(), 101);
                wire.send(masked(CLOSE, &1000_u16.to_be_bytes())).await;
                assert!(wire.ending().await.is_some());
            })
        })
        .collect();
    for one in all {
        one.await.unwrap();
    }
}

/// Leaves no room in a pipe, not even for a short word.
fn fill(pipe: &PipeWriter) {
    // A descriptor of its own: whether it waits is not shared with the sidecar.
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let no_wait = OFlags::NONBLOCK.bits().cast_signed();
    let mut pipe = OpenOptions::new().write(true).custom_flags(no_wait).open(path).unwrap();
    while pipe.write(b" ").is_ok() {}
}

/// stdout as well: a container runtime and systemd give both to one reader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_reads_it() {
    let (reader, writer) = std::io::pipe().unwrap();
    let stdout = writer.try_clone().unwrap();
    let sidecar = Deaf::start(stdout.into(), writer.try_clone().unwrap().into()).await;
    sidecar.drops_lines_and_serves().await;
    fill(&writer);
    sidecar.ends().await;
    drop(reader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_reader_has_gone() {
    let (reader, writer) = std::io::pipe().unwrap();
    let sidecar = Deaf::start(Stdio::null(), writer.into()).await;
    drop(reader);
    sidecar.drops_lines_and_serves().await;
    sidecar.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_disk_is_full() {
    let full = std::fs::File::create("/dev/full").unwrap();
    let sidecar = Deaf::start(Stdio::null(), full.into()).await;
    sidecar.drops_lines_and_serves().await;
    sidecar.ends().await;
}

/// Such a process has /dev/null for stderr: nothing is dropped, and nobody is stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_closed() {
    let sidecar = Deaf::run(&["exec \"$@\" 2>&-"], Stdio::null(), Stdio::null()).await;
    sidecar.serves().await;
    sidecar.ends().await;
}
