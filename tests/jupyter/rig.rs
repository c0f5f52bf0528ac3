//! The rig: a stock jupyter_server, a client of its kernels, and an endpoint whose tokens end.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

use crate::{
    sidecar::ask,
    support::{beside, service::Service},
};

/// A token that is good for so long.
pub fn token(life: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("good-{}", (now + life).as_millis())
}

/// An endpoint that gives such tokens: its port.
pub async fn tokens(life: Duration) -> u16 {
    let service = Service::start().await;
    let port = service.port;
    beside(async move {
        loop {
            let asked = service.asked().await;
            let body = format!(r#"{{"token":"{}","expires_in":{}}}"#, token(life), life.as_secs());
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
            asked.answer(format!("{head}: {}\r\n\r\n{body}", body.len())).await;
        }
    });
    port
}

/// The running server.
pub struct Jupyter {
    pub port: u16,
    log: Arc<Mutex<String>>,
    #[expect(dead_code, reason = "held for its Drop: it ends with the test")]
    child: Child,
    #[expect(dead_code, reason = "held for its Drop: where its files are")]
    home: tempfile::TempDir,
}

impl Jupyter {
    pub async fn start() -> Self {
        let (home, log) = (tempfile::tempdir().unwrap(), Arc::default());
        let port = free_port().await;
        let mut child = Command::new(program("jupyter-server"))
            .arg(format!("--config={}", here("server.py").display()))
            .arg(format!("--port={port}"))
            .arg(format!("--ServerApp.root_dir={}", home.path().display()))
            .env("HOME", home.path())
            .env("JUPYTER_RUNTIME_DIR", home.path())
            .env("JUPYTER_CONFIG_DIR", home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said: Arc<Mutex<String>> = Arc::clone(&log);
        beside(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                *said.lock().unwrap() += &format!("{line}\n");
            }
        });
        let server = Self { port, log, child, home };
        server.is_up().await;
        server
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    async fn is_up(&self) {
        let status = format!("/api/status?token={}", token(Duration::from_secs(3600)));
        for _ in 0..600 {
            let listens = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok();
            if listens && ask(self.port, &status).await.0 == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it does not start:\n{}", self.log());
    }
}

/// What the client saw.
#[derive(Debug, Deserialize)]
pub struct Report {
    pub asked: u64,
    /// In the order in which they came.
    pub replied: Vec<u64>,
    pub printed: Vec<u64>,
    /// How its connection ended, if not by its own doing.
    pub closed: Option<String>,
}

/// A client of a kernel of the server, through this port, with this token.
pub async fn client(server: &Jupyter, port: u16, token: &str, seconds: u64) -> Report {
    let output = Command::new(program("python"))
        .arg(here("client.py"))
        .args([server.port.to_string(), port.to_string(), token.to_owned(), seconds.to_string()])
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{}", server.log()))
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

fn here(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/jupyter").join(file)
}

fn program(name: &str) -> PathBuf {
    let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".tools/jupyter/bin").join(name);
    assert!(program.exists(), "first: tests/jupyter/install");
    program
}
