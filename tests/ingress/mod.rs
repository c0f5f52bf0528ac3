//! The configurations of `docs/ingress.md`, run by the proxies that they are for: in front of Perennial, and behind it.
//!
//! ```text
//!   front    client ──► ingress ──► sidecar ──► service        the block of the page, with other ports
//!   behind   client ──► sidecar ──► ingress ──► service        the same block: it leads to the service
//! ```

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::support::{free_port, until};

mod services;

const PAGE: &str = include_str!("../../docs/ingress.md");

/// A proxy that the page has a configuration for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Haproxy,
    Apache,
    Caddy,
    Traefik,
    Envoy,
}

pub const KINDS: [Kind; 6] =
    [Kind::Nginx, Kind::Haproxy, Kind::Apache, Kind::Caddy, Kind::Traefik, Kind::Envoy];

/// A running proxy.
pub struct Ingress {
    pub port: u16,
    child: Child,
    #[expect(dead_code, reason = "held for its Drop")]
    directory: tempfile::TempDir,
}

/// It is told to end, and ends its workers; a kill would leave them.
impl Drop for Ingress {
    fn drop(&mut self) {
        let Some(pid) = self.child.id() else { return };
        let told = std::process::Command::new("kill").args(["-s", "TERM", &pid.to_string()]).status();
        for _ in 0..40 {
            if told.is_err() || !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

/// The block of the page under this heading.
fn block(heading: &str) -> String {
    let (_, section) = PAGE.split_once(&format!("\n### {heading}\n")).expect("the page has the heading");
    let (_, block) = section.split_once("```").expect("a block follows it");
    let (block, _) = block.split_once("\n```").expect("the block ends");
    // The first line names its language.
    block.split_once('\n').expect("the block has lines").1.to_owned()
}

/// What is put around the block, so that it is a whole configuration of a proxy that keeps to its directory.
fn whole(kind: Kind, block: &str, directory: &Path) -> String {
    let at = directory.display();
    match kind {
        Kind::Nginx => format!(
            "daemon off;\nuser root;\npid {at}/pid;\nerror_log stderr;\nworker_processes 1;\nworker_shutdown_timeout 1s;\n\
             events {{}}\nhttp {{\naccess_log off;\n{block}\n}}\n"
        ),
        Kind::Haproxy => format!("global\n    hard-stop-after 1s\n\n{block}\n"),
        Kind::Apache => {
            let modules = ["mpm_event", "authz_core", "proxy", "proxy_http", "headers"]
                .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"));
            format!(
                "ServerRoot {at}\nPidFile {at}/pid\nErrorLog {at}/log\nDefaultRuntimeDir {at}\nServerName localhost\n\
                 GracefulShutdownTimeout 1\n{}{block}\n",
                modules.concat()
            )
        }
        Kind::Caddy => format!("{{\nadmin off\nauto_https off\npersist_config off\n}}\n{block}\n"),
        Kind::Traefik | Kind::Envoy => block.to_owned(),
    }
}

impl Ingress {
    /// Runs the page's configuration, which leads to this port.
    pub async fn start(kind: Kind, to: u16) -> Self {
        let (port, directory) = (free_port(), tempfile::tempdir().unwrap());
        let block = block(&format!("{kind:?}").replace("Haproxy", "HAProxy").replace("Nginx", "nginx"));
        let block = block.replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"));
        let block = block.replace("127.0.0.1:7370", &format!("127.0.0.1:{to}"));
        let block = block.replace("port_value: 8080", &format!("port_value: {port}"));
        let block = block.replace("port_value: 7370", &format!("port_value: {to}"));
        let file = directory.path().join("ingress.yaml");
        std::fs::write(&file, whole(kind, &block, directory.path())).unwrap();
        let child = command(kind, &file, (port, directory.path()))
            .env("HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        let listens = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        until(&format!("{kind:?}"), listens, |listens| *listens).await;
        Self { port, child, directory }
    }

    /// Has it read its configuration again, as an operator has: its old processes have a second.
    pub fn reload(&self, kind: Kind) {
        let signal = match kind {
            Kind::Nginx => "HUP",
            Kind::Haproxy => "USR2",
            Kind::Apache => "USR1",
            Kind::Caddy | Kind::Traefik | Kind::Envoy => panic!("{kind:?} is not told so by a signal"),
        };
        let pid = self.child.id().unwrap().to_string();
        let told = std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
        assert!(told.success());
    }
}

fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin").join(name)
}

fn command(kind: Kind, file: &Path, (port, directory): (u16, &Path)) -> Command {
    let mut command;
    match kind {
        Kind::Nginx => {
            command = Command::new("nginx");
            command.arg("-p").arg(directory).arg("-c").arg(file);
        }
        Kind::Haproxy => {
            command = Command::new("haproxy");
            command.args(["-W", "-q", "-f"]).arg(file);
        }
        Kind::Apache => {
            command = Command::new("apache2");
            command.args(["-D", "FOREGROUND", "-f"]).arg(file);
        }
        Kind::Caddy => {
            command = Command::new(tool("caddy"));
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
        }
        Kind::Traefik => {
            command = Command::new(tool("traefik"));
            command
                .arg(format!("--entrypoints.web.address=127.0.0.1:{port}"))
                .arg(format!("--providers.file.filename={}", file.display()))
                .args([
                    "--global.checknewversion=false",
                    "--global.sendanonymoususage=false",
                    "--log.level=ERROR",
                ]);
        }
        Kind::Envoy => {
            command = Command::new(tool("envoy"));
            command
                .args(["--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id", "-c"])
                .arg(file);
        }
    }
    command
}

#[test]
fn the_page_has_a_block_for_each() {
    for heading in ["nginx", "HAProxy", "Apache", "Caddy", "Traefik", "Envoy"] {
        let block = block(heading);
        assert!(block.contains("7370"), "{heading}: {block}");
    }
}
