//! The status page in a real browser: Debian's Chromium, driven by `check.mjs` beside this file.
//!
//! ```text
//!   this test ──► node check.mjs ──► Chromium ──► the page of  mock.mjs, which plays nine scenarios
//!        ▲             │                                       or a running sidecar
//!        └── please lose, please bring: what only who started the sidecar can do to it
//! ```
//!
//! The npm packages are installed once, with `npm ci --prefix tests/page`; the browser is `/usr/bin/chromium`,
//! or what `CHROMIUM` names.

use std::{path::PathBuf, process::Stdio, time::Duration};

use crate::ably_client::{Client, Dial, Format};
use crate::sidecar::Sidecar;
use perennial::demo::service::{Options, Service, ServiceHandle};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStdin, ChildStdout, Command},
};
use tokio_util::sync::CancellationToken;

/// A token's life: long enough to be looked at, short enough to be refreshed meanwhile.
const LIFETIME: &str = "12s";
/// All checks, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// `node check.mjs …`, whose lines are read and printed as they come.
struct Checks {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    answers: ChildStdin,
}

impl Checks {
    fn start(arguments: &[&str]) -> Self {
        let home = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/page");
        assert!(home.join("node_modules").is_dir(), "first: npm ci --prefix tests/page");
        let mut child = Command::new("node")
            .arg(home.join("check.mjs"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let answers = child.stdin.take().unwrap();
        Self { child, lines, answers }
    }

    /// What it asks for next; `None`: it asks for no more, and every check held.
    async fn next(&mut self) -> Option<String> {
        let reading = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                println!("{line}");
                if let Some(wish) = line.strip_prefix("please  ") {
                    return Some(wish.to_owned());
                }
            }
            assert!(self.child.wait().await.unwrap().success(), "a check failed: see above");
            None
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("the checks come to an end")
    }

    async fn done(&mut self) {
        self.answers.write_all(b"done\n").await.unwrap();
    }
}

async fn service() -> ServiceHandle {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Service::start(listener, Options::default(), &CancellationToken::new()).unwrap()
}

/// Two routes on one service: one that clients use, and one that waits for them.
fn configuration(service: &ServiceHandle) -> String {
    let (address, key) = (service.address(), service.key().expose());
    let route = |name: &str, path: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"ws://{address}\"\ndialect = \"ably\"\n\
             [route.token]\nsource = \"ably-key\"\nkey = \"{key}\"\nttl = \"{LIFETIME}\"\n"
        )
    };
    route("ably", "/") + &route("spare", "/spare")
}

/// What needs no browser to be seen: nothing in the parts can make an element of a name, or fetch from elsewhere.
#[test]
fn the_page_is_small_and_has_no_way_to_markup_or_to_elsewhere() {
    let parts = ["index.html", "page.css", "page.js"].map(|name| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/admin/page").join(name);
        std::fs::read_to_string(path).unwrap()
    });
    let bytes: usize = parts.iter().map(String::len).sum();
    assert!(bytes < 100 * 1024, "{bytes} bytes");
    let ways = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        " style=",
        "@import",
    ];
    let text = parts.concat().replace("http://www.w3.org/2000/svg", "");
    for way in ways.iter().chain(&["http:", "https:", "url(", "javascript:"]) {
        assert!(!text.contains(way), "{way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs node and chromium: tests/all installs them"]
async fn the_page_says_what_a_played_sidecar_says() {
    let mut checks = Checks::start(&["mock"]);
    assert_eq!(checks.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs node and chromium: tests/all installs them"]
async fn the_page_says_what_the_sidecar_says() {
    let service = service().await;
    let sidecar = Sidecar::start(&configuration(&service)).await;
    let address = format!("127.0.0.1:{}", sidecar.port).parse().unwrap();
    let mut clients = Vec::new();
    for name in ["alice", "bob", "carol"] {
        let client = Client::connect(Dial::new(address, Format::Json, name)).await;
        client.attach("news").await;
        client.publish("news").await;
        clients.push(client);
    }
    let mut checks = Checks::start(&[&format!("http://127.0.0.1:{}/", sidecar.admin)]);
    assert_eq!(checks.next().await.as_deref(), Some("lose"));
    sidecar.signal("KILL");
    checks.done().await;
    assert_eq!(checks.next().await.as_deref(), Some("bring"));
    let (log, sidecar) = sidecar.killed_and_run_again().await;
    checks.done().await;
    assert_eq!(checks.next().await, None, "{log}");
    sidecar.stop().await;
}
