//! A real Prometheus with the rules, and what a server that says where it listens has in common with another.

use std::{process::Stdio, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
};

use super::at;

const PATIENCE: Duration = Duration::from_secs(30);

/// The running server.
pub(super) struct Prometheus {
    pub(super) port: u16,
    _child: Child,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    /// One that scrapes the admin server at this port each second, as the job `perennial`.
    pub(super) async fn start(admin: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("prometheus.yml");
        let rules = at("dashboards/rules.yml");
        let configuration = serde_json::json!({
            "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
            "rule_files": [rules],
            "scrape_configs": [
                { "job_name": "perennial", "static_configs": [{ "targets": [format!("127.0.0.1:{admin}")] }] },
            ],
        });
        // JSON is YAML.
        std::fs::write(&file, configuration.to_string()).unwrap();
        Self::run(directory).await
    }

    /// One with the `prometheus.yml` of this directory, in which it also keeps its data.
    pub(super) async fn run(directory: tempfile::TempDir) -> Self {
        let (port, child) = listening(
            Command::new("prometheus")
                .arg(format!("--config.file={}", directory.path().join("prometheus.yml").display()))
                .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display())),
        )
        .await;
        let server = Self { port, _child: child, _directory: directory };
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        let ready = async {
            while !server.ask("/-/ready").await.starts_with("HTTP/1.0 200 ") {
                pause.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("it becomes ready");
        server
    }

    /// The values of an expression: now, or of each second of the last half a minute.
    pub(super) async fn values(&self, expr: &str, over_time: bool) -> Result<Vec<f64>, String> {
        let query = utf8_percent_encode(expr, NON_ALPHANUMERIC);
        let answer = if over_time {
            let now = perennial::clock::Now::read().wall.as_secs();
            let span = format!("start={}&end={now}&step=1", now - 30);
            self.get(&format!("/api/v1/query_range?query={query}&{span}")).await
        } else {
            self.get(&format!("/api/v1/query?query={query}")).await
        };
        if answer["status"] != "success" {
            return Err(answer["error"].to_string());
        }
        let series = answer["data"]["result"].as_array().unwrap();
        let points = series
            .iter()
            .flat_map(|one| one["values"].as_array().cloned().unwrap_or_else(|| vec![one["value"].clone()]));
        Ok(points.map(|point| point[1].as_str().unwrap().parse().unwrap()).collect())
    }

    /// What the API answers.
    pub(super) async fn get(&self, target: &str) -> Json {
        let answer = self.ask(target).await;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{target}: {error}\n{answer}"))
    }

    async fn ask(&self, target: &str) -> String {
        let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        // HTTP/1.0 is answered in one piece.
        socket.write_all(format!("GET {target} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

/// Runs a server of Prometheus' family on a free port, and waits until it says which.
pub(super) async fn listening(command: &mut Command) -> (u16, Child) {
    let mut child = command
        .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"])
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("tests/all installs it");
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let port = loop {
        let line = lines.next_line().await.unwrap().expect("it says where it listens");
        let line: Json = serde_json::from_str(&line).unwrap_or_default();
        if line["msg"] == "Listening on" {
            let address: std::net::SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
            break address.port();
        }
    };
    // What it says later is not read, and must not stop it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (port, child)
}
