//! Services that compare `Origin` with `Host`, as they are by default: tornado (and with it jupyter_server) and Action Cable. A page that
//! comes through Perennial is one of their own, whichever of the two headers is rewritten.
//!
//! Broken on purpose, and caught: the origin is passed on as it came.

use std::path::Path;

use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::{
    sidecar::Sidecar,
    support::{
        free_port,
        http::{ask, handshake},
        plain, until,
    },
};

mod services;

/// A service that checks origins.
struct Checking {
    port: u16,
    path: &'static str,
    #[expect(dead_code, reason = "held for its Drop")]
    child: Child,
}

fn here(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

impl Checking {
    async fn tornado() -> Self {
        let port = free_port();
        let mut command = Command::new(here(".tools/jupyter/bin/python"));
        command.arg(here("tests/origins/tornado_echo.py")).arg(port.to_string());
        Self::run(command, port, "/ws").await
    }

    async fn action_cable() -> Self {
        let port = free_port();
        let mut command = Command::new("puma");
        command
            .args(["--quiet", "--bind", &format!("tcp://127.0.0.1:{port}")])
            .arg(here("tests/origins/cable.ru"));
        Self::run(command, port, "/cable").await
    }

    async fn run(mut command: Command, port: u16, path: &'static str) -> Self {
        let child = command.kill_on_drop(true).spawn().unwrap();
        let listens = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        until(path, listens, |listens| *listens).await;
        Self { port, path, child }
    }

    /// What a page of this origin is answered, by this port.
    async fn status(&self, port: u16, host: &str, origin: &str) -> u16 {
        let request = handshake(self.path, &format!("Origin: {origin}\r\n"));
        let request = request.replacen("Host: 127.0.0.1", &format!("Host: {host}"), 1);
        ask(port, request).await.0.status()
    }

    /// A page of the sidecar is served as a page of the service is, and one from elsewhere is not.
    async fn serves_pages(&self) {
        let own = format!("127.0.0.1:{}", self.port);
        let (direct, foreign) = (format!("http://{own}"), "https://other.example");
        assert_eq!(self.status(self.port, &own, &direct).await, 101, "{}: its own page", self.path);
        let refusal = self.status(self.port, &own, foreign).await;
        assert!(refusal >= 400, "{}: a page from elsewhere", self.path);
        let origins = format!("client.origins = [\"http://app.example\", \"{foreign}\"]\n");
        for host in ["upstream", "client"] {
            let route = format!("{}host = \"{host}\"\n{origins}", plain(self.port));
            let sidecar = Sidecar::start(&route).await;
            let page = self.status(sidecar.port, "app.example", "http://app.example").await;
            assert_eq!(page, 101, "{}: a page of the sidecar, host = {host}", self.path);
            let page = self.status(sidecar.port, "app.example", foreign).await;
            assert_eq!(page, refusal, "{}: it is the service's to refuse, host = {host}", self.path);
        }
    }
}
