//! What is left of tokens in memory when nobody uses them any more: nothing that Perennial still holds.
//!
//! ```text
//!   this process: clients, token endpoint, service ◄──► a child that is the sidecar, and clears what it frees
//!         └── when the last client is gone: reads the child's memory, and looks for tokens ──┘
//! ```
//!
//! The child's allocator overwrites what is freed, so what is found is still held. Without it, copies that libraries
//! have made and freed (a request, a frame) stay until their place is used again; SECURITY.md says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, says what it saw, and spawns and times as it likes"
)]
#![cfg(target_os = "linux")]

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, future::join_all};
use perennial::{app::App, config::Config};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use zeroizing_alloc::ZeroAlloc;

#[global_allocator]
static CLEARING: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

const CLIENTS: usize = 20;
const CONFIGURATION: &str = "PERENNIAL_MEMORY_TEST";

/// The child: a sidecar until its stdin ends.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PERENNIAL_MEMORY_TEST: no_token_is_held_when_the_last_client_is_gone runs it as its own process"]
async fn sidecar() {
    let Ok(text) = std::env::var(CONFIGURATION) else { return };
    let app = App::start(&Config::parse(&text, "a test").unwrap()).await.unwrap();
    println!("\nlistening {} {}", app.address().port(), app.admin().port());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    app.stop().await;
}

struct Sidecar {
    process: Child,
    port: u16,
    admin: u16,
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Sidecar {
    fn start(configuration: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sidecar", "--ignored", "--nocapture"])
            .env(CONFIGURATION, configuration)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let ports = said.find_map(|line| line.strip_prefix("listening ").map(str::to_owned)).unwrap();
        let (port, admin) = ports.split_once(' ').unwrap();
        Self { process, port: port.parse().unwrap(), admin: admin.parse().unwrap() }
    }

    /// The sum of a family.
    async fn metric(&self, name: &str) -> f64 {
        let mut wire = TcpStream::connect(("127.0.0.1", self.admin)).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        wire.write_all(request.as_bytes()).await.unwrap();
        let mut page = String::new();
        wire.read_to_string(&mut page).await.unwrap();
        let values =
            page.lines().filter(|line| line.starts_with(name)).map(|line| line.rsplit(' ').next().unwrap());
        values.map(|value| value.parse::<f64>().unwrap()).sum()
    }

    /// Each text of the form of `prefix` and digits in its memory, and how often one stands there.
    fn find(&self, prefix: &[u8]) -> (BTreeSet<String>, usize) {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.process.id())).unwrap();
        let mut memory = File::open(format!("/proc/{}/mem", self.process.id())).unwrap();
        let (mut found, mut times) = (BTreeSet::new(), 0);
        for line in maps.lines().filter(|line| line.contains(" rw")) {
            let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
            let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
            memory.seek(SeekFrom::Start(from)).unwrap();
            if memory.read_exact(&mut bytes).is_err() {
                continue;
            }
            for at in memchr::memmem::find_iter(&bytes, prefix) {
                let digits = bytes[at + prefix.len()..].iter().take_while(|byte| byte.is_ascii_digit());
                found.insert(digits.map(|byte| char::from(*byte)).collect());
                times += 1;
            }
        }
        (found, times)
    }
}

/// Reads the head of a request.
async fn head(wire: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(wire.read_u8().await.unwrap());
    }
}

/// Gives out tokens that begin with `prefix`; how many it gave is counted.
async fn endpoint(prefix: String) -> (u16, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, given) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&given);
    tokio::spawn(async move {
        loop {
            let (mut wire, _) = listener.accept().await.unwrap();
            head(&mut wire).await;
            let number = 1000 + count.fetch_add(1, Ordering::Relaxed);
            let body = format!("{{\"token\":\"{prefix}{number}\",\"expires_in\":3}}");
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            wire.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (port, given)
}

/// Lets everybody in, and reads what they say.
async fn service() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (wire, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                if let Ok(wire) = tokio_tungstenite::accept_async(wire).await {
                    wire.for_each(|_| async {}).await;
                }
            });
        }
    });
    port
}

async fn client(port: u16, number: usize, prefix: &str) -> impl Sized {
    let wire = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let url = format!("ws://127.0.0.1:{port}/?user={number}&token={prefix}{number}");
    tokio_tungstenite::client_async(url, wire).await.unwrap().0
}

/// Asks until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited for: {what}"));
}

#[tokio::test]
async fn no_token_is_held_when_the_last_client_is_gone() {
    // Not the same in two runs, and nowhere in the program.
    let prefix = format!("t{:016x}{:016x}-", fastrand::u64(..), fastrand::u64(..));
    let ((tokens, given), upstream) = tokio::join!(endpoint(prefix.clone()), service());
    let sidecar = Sidecar::start(&format!(
        r#"
        [listen]
        address = "127.0.0.1:0"
        [admin]
        address = "127.0.0.1:0"
        [[route]]
        name = "jobs"
        upstream = "ws://127.0.0.1:{upstream}"
        dialect = "handshake"
        [route.token]
        source = "http"
        url = "http://127.0.0.1:{tokens}/token"
        json = {{ user = "{{query.user}}", oldToken = "{{token}}" }}
        share = "client"
        identity = "{{query.user}}"
        lifetime = "2s"
        refresh_before = "1s"
        [route.client]
        token = {{ query = "token" }}
        [route.handshake]
        query = "token"
        "#
    ));
    let clients = join_all((0..CLIENTS).map(|number| client(sidecar.port, number, &prefix))).await;
    let enough = 2 * u32::try_from(CLIENTS).unwrap();
    until("two refreshes of each", async || given.load(Ordering::Relaxed) >= enough).await;
    let (found, times) = sidecar.find(prefix.as_bytes());
    assert!(found.len() >= CLIENTS, "they are there while they are used: {found:?}");
    println!("in use: {} tokens, {times} times", found.len());
    drop(clients);
    until("no credential", async || sidecar.metric("perennial_credentials{").await == 0.0).await;
    // The tasks of the last have ended a moment later.
    let held = async || sidecar.find(prefix.as_bytes()).1 > 0;
    let ended = tokio::time::timeout(Duration::from_secs(10), async {
        while held().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let ended = ended.await.is_ok();
    let (found, times) = sidecar.find(prefix.as_bytes());
    assert!(ended, "{} of {} tokens, {times} times: {found:?}", found.len(), given.load(Ordering::Relaxed));
}
