//! What a scrape of `/metrics`, and a look at the status page, cost with many idle sessions.
//!
//! ```text
//!   10,000 clients ──► perennial (release) ──► a service     all in this process, but for the sidecar
//!                          ▲
//!                          └── GET /metrics, GET /status.json: from the request to the last byte
//! ```
//!
//! Two routes: one credential for nobody (a plain proxy), and one for each client, which is what has to be
//! looked through. `cargo bench --bench scrape [-- SESSIONS]`; it takes as many as open files allow.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that cannot go on ends"
)]
#![allow(clippy::print_stdout, reason = "the numbers are what it is for")]
#![allow(clippy::disallowed_methods, reason = "tasks and clocks of a benchmark are its own")]

use std::{process::Stdio, time::Instant};

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    task::JoinSet,
};

/// Clients that connect at once.
const AT_ONCE: usize = 64;
/// Looks of each kind.
const LOOKS: usize = 51;

/// A sidecar, and where its two listeners are.
struct Sidecar {
    port: u16,
    admin: u16,
    _child: Child,
    _directory: tempfile::TempDir,
}

#[tokio::main]
async fn main() {
    let sessions = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(10_000_usize);
    // Two sockets for each session, here as in the sidecar, and a few files beside.
    let mut files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    files.current = files.maximum;
    let room =
        files.maximum.map_or(usize::MAX, |files| usize::try_from(files).unwrap().saturating_sub(256) / 2);
    if rustix::process::setrlimit(rustix::process::Resource::Nofile, files).is_err() || room < sessions {
        println!("as many as the limit on open files has room for: {room}\n");
    }
    let sessions = sessions.min(room);
    println!("| sessions | what | median | slowest of {LOOKS} | bytes |\n|--:|---|--:|--:|--:|");
    for path in ["/plain", "/own"] {
        let upstream = upstream().await;
        let sidecar = start(upstream, sessions).await;
        let kept = connect(&sidecar, path, sessions).await;
        look(&sidecar, path, kept.len()).await;
        // The next one begins with a free machine.
        drop((kept, sidecar));
    }
}

async fn look(sidecar: &Sidecar, path: &str, sessions: usize) {
    for what in ["/metrics", "/status.json"] {
        let mut times = Vec::new();
        let mut bytes = 0;
        for _ in 0..LOOKS {
            // A snapshot is kept for a second, and is to be a new one each time.
            if what == "/status.json" {
                tokio::time::sleep(std::time::Duration::from_millis(950)).await;
            }
            let began = Instant::now();
            bytes = get(sidecar.admin, what).await.len();
            times.push(began.elapsed());
            if times.len() == 11 && what == "/status.json" {
                break;
            }
        }
        times.sort();
        let milliseconds = |at: usize| format!("{:.2} ms", times[at].as_secs_f64() * 1e3);
        let whose = if path == "/own" { "a credential each" } else { "no credential" };
        println!(
            "| {sessions} | {what}, {whose} | {} | {} | {bytes} |",
            milliseconds(times.len() / 2),
            milliseconds(times.len() - 1)
        );
    }
}

async fn start(upstream: u16, sessions: usize) -> Sidecar {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("perennial.toml");
    let configuration = format!(
        r#"
        [listen]
        address = "127.0.0.1:0"
        [admin]
        address = "127.0.0.1:0"
        [limits]
        sessions = {limit}
        [[route]]
        name = "plain"
        path = "/plain"
        upstream = "ws://127.0.0.1:{upstream}"
        dialect = "none"
        [[route]]
        name = "own"
        path = "/own"
        upstream = "ws://127.0.0.1:{upstream}"
        dialect = "handshake"
        [route.token]
        source = "http"
        url = "http://127.0.0.1:{upstream}/token"
        share = "client"
        lifetime = "2h"
        [route.client]
        token = {{ query = "token" }}
        "#,
        limit = sessions + 100
    );
    std::fs::write(&file, configuration).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_perennial"))
        .args(["run", "--log-format", "json", "--config"])
        .arg(&file)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (port, admin) = loop {
        let line = lines.next_line().await.unwrap().expect("it ended");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let port = |name: &str| line[name].as_str()?.rsplit(':').next()?.parse::<u16>().ok();
        if let (Some(port), Some(admin)) = (port("address"), port("admin")) {
            break (port, admin);
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Sidecar { port, admin, _child: child, _directory: directory }
}

/// Idle sessions.
async fn connect(sidecar: &Sidecar, path: &str, sessions: usize) -> Vec<TcpStream> {
    let (mut dials, mut kept) = (JoinSet::new(), Vec::new());
    for nth in 0..sessions {
        if dials.len() >= AT_ONCE {
            kept.extend(dials.join_next().await.unwrap());
        }
        let (port, target) = (sidecar.port, format!("{path}?token=T{nth}"));
        dials.spawn(async move {
            let mut tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let request = format!(
                "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            tcp.write_all(request.as_bytes()).await.unwrap();
            let head = head(&mut tcp).await;
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
            tcp
        });
    }
    kept.extend(dials.join_all().await);
    kept
}

/// A service that lets everybody in and says nothing.
async fn upstream() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = head(&mut tcp).await;
                let named = |line: &&str| line.to_ascii_lowercase().starts_with("sec-websocket-key: ");
                let key = head.lines().find(named).and_then(|line| line.split_once(": ")).unwrap().1;
                let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
                let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: {}\r\n\r\n",
                    BASE64_STANDARD.encode(hash)
                );
                let _ = tcp.write_all(answer.as_bytes()).await;
                // Until the other side ends.
                let _ = tcp.read(&mut [0; 64]).await;
            });
        }
    });
    port
}

async fn head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 1];
        if tcp.read_exact(&mut byte).await.is_err() {
            break;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

async fn get(port: u16, path: &str) -> Vec<u8> {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await.unwrap();
    answer
}
