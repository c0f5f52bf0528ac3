//! The demo as a user starts it, in real time: that it keeps what it promises is what it is for.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perennial"));
    command.arg("demo").args(arguments).stdin(Stdio::null()).env_remove("PERENNIAL_LOG");
    command
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

/// A process whose lines are read one by one. It ends with the test.
struct Running {
    child: Child,
    lines: BufReader<Box<dyn Read>>,
    /// All of them so far.
    said: String,
}

impl Running {
    /// Starts it, and reads its stdout.
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        Self { child, lines: BufReader::new(Box::new(out)), said: String::new() }
    }

    /// Starts it, and reads its log.
    fn logging(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = child.stderr.take().unwrap();
        Self { child, lines: BufReader::new(Box::new(log)), said: String::new() }
    }

    /// The next line with these words.
    fn line(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "it ended before \"{words}\":\n{}", self.said);
            self.said += &line;
            if line.contains(words) {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Ends it with SIGTERM, with this status: all that it said.
    fn end(mut self, status: i32) -> String {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        self.said += &rest;
        assert_eq!(self.child.wait().unwrap().code(), Some(status), "{}", self.said);
        std::mem::take(&mut self.said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One GET: the whole answer.
fn get(address: &str, path: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_contrast_holds() {
    let output = demo(&["--for", "13s", "--token-lifetime", "4s", "--plain"]).output().unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    for words in [
        "without  connected to the service",
        "with     connected to perennial",
        "without  the service closed the connection: token expired (40142)",
        "the connection stayed up (2)",
        "without perennial: dropped after 4.",
        "with perennial: never dropped; token refreshed ",
        " 0 lost, 0 doubled, 0 out of order",
        "perennial run",
    ] {
        assert!(said.contains(words), "{words} in\n{said}");
    }
    assert!(!said.contains('\x1b'), "plain is plain");
}

#[test]
fn ctrl_c_is_a_good_end() {
    let mut child = demo(&[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("connected to perennial") {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "it ended of its own accord");
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    assert!(rest.contains("never dropped") && rest.contains("perennial run"), "{rest}");
}

#[test]
fn a_demo_that_could_show_nothing_is_refused() {
    let output = demo(&["--for", "5s"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(said(&output).contains("--for must be"), "{}", said(&output));
}

#[test]
fn the_status_page_of_the_demo_is_where_it_says() {
    let mut first = Running::start(demo(&["--admin", "127.0.0.1:0"]));
    let page = first.line("status page: http://127.0.0.1:");
    let address = page.trim().strip_prefix("status page: http://").unwrap().strip_suffix('/').unwrap();
    first.line("with     connected to perennial");
    let ready = get(address, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 200 ") && ready.contains("ready: the listener accepts"), "{ready}");
    first.end(0);
    // Told where to be, it is there.
    let mut again = Running::start(demo(&["--admin", address]));
    let page = again.line("status page: ");
    assert!(page.ends_with(&format!("http://{address}/")), "{page}");
    again.end(0);
}

/// What the demo's service says about itself, and the configuration that it prints.
fn service(life: &str) -> (Running, String, String) {
    let mut service = Running::start(demo(&["service", "--listen", "127.0.0.1:0", "--token-lifetime", life]));
    let first = service.line("The demo's service listens on ");
    let address = first.split(' ').nth(5).unwrap().trim_end_matches(';').to_owned();
    let mut configuration = String::new();
    while !configuration.contains("/token") {
        let line = service.line("");
        configuration += line.strip_prefix("  ").unwrap_or_default();
        configuration.push('\n');
    }
    (service, address, configuration)
}

#[test]
fn the_service_alone_gives_tokens_and_ends_well() {
    let (service, address, configuration) = service("2s");
    assert!(configuration.contains(&format!("upstream = \"ws://{address}\"")), "{configuration}");
    let answer = get(&address, "/token");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"token\""), "{answer}");
    let taken = demo(&["service", "--listen", &address]).output().unwrap();
    assert_eq!(taken.status.code(), Some(1));
    assert!(said(&taken).contains("in use") && said(&taken).contains("--listen"), "{}", said(&taken));
    service.end(0);
}

#[test]
fn the_client_alone_is_dropped_when_its_token_ends_and_says_so() {
    let (service, address, _) = service("2s");
    let (url, token_url) = (format!("ws://{address}"), format!("http://{address}/token"));
    let mut client = Running::start(demo(&["client", "--url", &url, "--token-url", &token_url]));
    client.line(&format!("Z connected to {url}/"));
    let dropped = client.line("dropped after ");
    for words in ["after 2.", "token expired (40142); the same token is tried again in 1 s"] {
        assert!(dropped.contains(words), "{words} in {dropped}");
    }
    let refused = client.line("not connected: ");
    assert!(refused.contains("token expired") && refused.contains("again in 2 s"), "{refused}");
    let all = client.end(0);
    assert!(all.contains("Z ended: ") && all.contains(" had nowhere to go"), "{all}");
    service.end(0);
    // Nobody gives a token any more.
    let failed = demo(&["client", "--url", &url, "--token-url", &token_url]).output().unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert!(said(&failed).contains(&format!("no token from {address}")), "{}", said(&failed));
    for wrong in [&["client"][..], &["client", "--url", "wss://h:1"], &["service", "--listen", "x"]] {
        assert_eq!(demo(wrong).output().unwrap().status.code(), Some(64), "{wrong:?}");
    }
}

#[test]
fn the_client_behind_the_sidecar_stays_up_and_comes_back() {
    let (service, _, configuration) = service("2s");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("perennial.toml");
    let write = |port: &str| {
        let addresses =
            format!("[listen]\naddress = \"127.0.0.1:{port}\"\n[admin]\naddress = \"127.0.0.1:0\"\n");
        std::fs::write(&file, format!("{addresses}[limits]\ndrain = \"0s\"\n{configuration}")).unwrap();
    };
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perennial"));
        command.args(["run", "--log-format", "json", "--config"]).arg(&file).env_remove("PERENNIAL_LOG");
        let mut sidecar = Running::logging(command);
        let line: serde_json::Value = serde_json::from_str(&sidecar.line("\"listening\"")).unwrap();
        let port = line["address"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
        (sidecar, port)
    };
    write("0");
    let (sidecar, port) = run();
    let url = format!("ws://127.0.0.1:{port}");
    let mut client = Running::start(demo(&["client", "--url", &url]));
    client.line(&format!("connected to {url}/"));
    let up = client.line(" up since 2");
    assert!(up.contains(" 0 lost") && !up.contains("doubled"), "{up}");
    let log = sidecar.end(0);
    assert!(log.matches("\"token refreshed\"").count() > 3, "{log}");
    let dropped = client.line("dropped after 1");
    assert!(dropped.contains("going away (80003)") && dropped.contains("again in 1 s"), "{dropped}");
    write(&port);
    let (sidecar, _) = run();
    client.line(&format!("connected to {url}/"));
    let all = client.end(0);
    assert_eq!(all.matches("dropped").count(), 1, "{all}");
    sidecar.end(0);
    service.end(0);
}
