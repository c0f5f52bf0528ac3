//! The release shape of the sidecar for the tests: the binary, a file, and free ports.

mod log;

use std::{path::PathBuf, process::Stdio, time::Duration};

use log::Log;
use tokio::process::{Child, Command};

/// A running sidecar.
pub struct Sidecar {
    pub port: u16,
    pub admin: u16,
    child: Child,
    directory: tempfile::TempDir,
    log: Log,
}

impl Sidecar {
    /// Runs the binary with this configuration, on free ports, until it says `listening`.
    pub async fn start(configuration: &str) -> Self {
        Self::start_with(configuration, "info").await
    }

    /// The same, at a log level.
    pub async fn start_with(configuration: &str, level: &str) -> Self {
        Self::launch(configuration, &["--log-level", level], &[]).await
    }

    /// The same, with arguments and variables of one's own.
    pub async fn launch(configuration: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::run(written(configuration), &[], arguments, variables).await
    }

    /// The same, by a command that runs what is behind it: `["nice"]`.
    pub async fn launch_by(command: &[&str], configuration: &str) -> Self {
        Self::run(written(configuration), command, &[], &[]).await
    }

    async fn run(
        directory: tempfile::TempDir,
        command: &[&str],
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        // `tests/all` names the release binary; a bare `cargo test` uses the one it built. The first is static: nothing
        // can be preloaded into it.
        let named = std::env::var("PERENNIAL_BINARY").ok();
        let is_preloaded = variables.iter().any(|(name, _)| *name == "LD_PRELOAD");
        let binary =
            named.filter(|_| !is_preloaded).unwrap_or_else(|| env!("CARGO_BIN_EXE_perennial").into());
        let words: Vec<&str> = command.iter().copied().chain([binary.as_str()]).collect();
        let mut command = Command::new(words[0]);
        // The way out is the test's, and not that of the machine that it runs on.
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        let mut child = command
            .args(&words[1..])
            .args(["run", "--log-format", "json"])
            .args(arguments)
            .arg("--config")
            .arg(file(&directory))
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (log, listening) = Log::until_listening(child.stderr.take().unwrap()).await;
        let (port, admin) = (port(&listening["address"]), port(&listening["admin"]));
        Self { port, admin, child, directory, log }
    }

    /// Kills it, as a machine does that is out of memory: its whole log, and what is needed to run it again.
    pub async fn killed(self) -> (String, Gone) {
        self.signal("KILL");
        let Self { port, admin, mut child, directory, log } = self;
        child.wait().await.unwrap();
        (log.whole().await, Gone { port, admin, directory })
    }

    /// The same, and runs it again at once.
    pub async fn killed_and_run_again(self) -> (String, Self) {
        let (log, gone) = self.killed().await;
        (log, gone.again().await)
    }

    /// Ends it with SIGTERM, which it must follow with status 0; its whole log.
    pub async fn stop(self) -> String {
        self.stopped().await.0
    }

    /// The same, and what is needed to run it again.
    pub async fn stopped(self) -> (String, Gone) {
        self.signal("TERM");
        let Self { port, admin, mut child, directory, log } = self;
        let ended = tokio::time::timeout(Duration::from_secs(30), child.wait()).await.unwrap().unwrap();
        let log = log.whole().await;
        assert_eq!(ended.code(), Some(0), "{log}");
        (log, Gone { port, admin, directory })
    }

    /// Writes its configuration again, which it reads when it is told to. An address of port 0 stays where it is.
    pub fn configure(&self, whole: &str) {
        std::fs::write(file(&self.directory), whole).unwrap();
    }

    /// The same, as the kubelet changes a mounted ConfigMap: a link beside the file comes to name another directory.
    pub fn mount(&self, whole: &str) {
        let (directory, version) = (self.directory.path(), format!("..{:x}", fastrand::u64(..)));
        let link = |to: &str, name: &str| {
            let new = directory.join("..new");
            std::os::unix::fs::symlink(to, &new).unwrap();
            std::fs::rename(new, directory.join(name)).unwrap();
        };
        std::fs::create_dir(directory.join(&version)).unwrap();
        std::fs::write(directory.join(&version).join("perennial.toml"), whole).unwrap();
        link(&version, "..data");
        link("..data/perennial.toml", "perennial.toml");
    }

    /// The file of its configuration.
    pub fn file(&self) -> PathBuf {
        file(&self.directory)
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Sends it a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let kill = std::process::Command::new("kill").args(["-s", name, &self.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Waits for its end: the status, where it was not killed, and the whole log.
    pub async fn ended(mut self) -> (Option<i32>, String) {
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await.unwrap().unwrap();
        (status.code(), self.log.whole().await)
    }

    /// One series of its metrics.
    pub async fn metric(&self, series: &str) -> f64 {
        let (_, page) = self.ask("/metrics").await;
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not there")).parse().unwrap()
    }

    /// Has it fetch a new token now, as an operator does.
    pub async fn refresh(&self) {
        use crate::support::http::ask;
        let request = "POST /rehearse/refresh HTTP/1.1\r\nHost: localhost\r\nPerennial-Operator: yes\r\n\
                       Content-Length: 0\r\nConnection: close\r\n\r\n";
        let (head, _) = ask(self.admin, request).await;
        assert_eq!(head.status(), 200, "{head:?}");
    }

    /// Runs a command against it: status, stdout, stderr.
    pub async fn command(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perennial"));
        for name in ["PERENNIAL_CONFIG", "PERENNIAL_LOG", "PERENNIAL_REHEARSAL_SECRET"] {
            command.env_remove(name);
        }
        command.args(arguments).args(["--admin", &format!("127.0.0.1:{}", self.admin)]);
        let output = command.kill_on_drop(true).output().await.unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code(), out, err)
    }

    /// What the admin server answers: status and body.
    pub async fn ask(&self, path: &str) -> (u16, String) {
        ask(self.admin, path).await
    }
}

/// A sidecar that has ended.
pub struct Gone {
    port: u16,
    admin: u16,
    directory: tempfile::TempDir,
}

impl Gone {
    /// Runs it again on its old ports, where its clients look for it.
    pub async fn again(self) -> Sidecar {
        let Self { port, admin, directory } = self;
        let text = std::fs::read_to_string(file(&directory)).unwrap();
        let text = [port, admin]
            .iter()
            .fold(text, |text, port| text.replacen("\"127.0.0.1:0\"", &format!("\"127.0.0.1:{port}\""), 1));
        std::fs::write(file(&directory), text).unwrap();
        Sidecar::run(directory, &[], &["--log-level", "info"], &[]).await
    }
}

/// A directory with the configuration, on free ports. What it says of `[listen]` stands at its beginning.
fn written(configuration: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (listen, rest) = match configuration.strip_prefix("[listen]\n") {
        Some(own) => own.split_at(own.find("\n[").map_or(own.len(), |end| end + 1)),
        None => ("", configuration),
    };
    let port = "address = \"127.0.0.1:0\"\n";
    let own = if listen.contains("address =") { "" } else { port };
    let admin = if rest.starts_with("[admin]\naddress") { String::new() } else { format!("[admin]\n{port}") };
    std::fs::write(file(&directory), format!("[listen]\n{own}{listen}{admin}{rest}")).unwrap();
    directory
}

fn file(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("perennial.toml")
}

/// The port of the first address; 0 for a Unix socket.
fn port(address: &serde_json::Value) -> u16 {
    let first = address.as_str().unwrap().split(',').next().unwrap();
    first.parse::<std::net::SocketAddr>().map_or(0, |address| address.port())
}

/// One GET on loopback: status and body.
pub async fn ask(port: u16, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}
