//! One service, its real client, and what they say (README.md has the promises of both programs).

use std::{
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::Notify,
};

use crate::jobs::send;

/// How long a program may take for its first word.
const START: Duration = Duration::from_secs(60);

/// A service under Node.
pub struct Service {
    pub port: u16,
    control: u16,
    _child: Child,
}

/// What the service says that it accepted.
#[derive(Debug, Deserialize)]
pub struct Ledger {
    pub refused: u64,
    pub expired: u64,
    pub said: Vec<u64>,
}

impl Service {
    /// Starts it; its tokens live for 4 s.
    pub async fn start(name: &str, variant: &str) -> Self {
        #[derive(Deserialize)]
        struct Ready {
            port: u16,
            control: u16,
        }
        let mut child = node("service.mjs", &[name], variant);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(START, lines.next_line()).await.expect("it starts").unwrap();
        let Ready { port, control } = serde_json::from_str(&line.expect("it lives")).unwrap();
        Self { port, control, _child: child }
    }

    /// Where its tokens come from.
    pub fn token_url(&self) -> String {
        format!("http://127.0.0.1:{}/token", self.control)
    }

    /// A token, as a client has one.
    pub async fn token(&self) -> String {
        #[derive(Deserialize)]
        struct Grant {
            token: String,
        }
        send(self.control, "GET", "/token", &[], None).await.understood::<Grant>().token
    }

    /// Ends all connections, as a crash does.
    pub async fn kill(&self) {
        assert_eq!(send(self.control, "POST", "/kill", &[], None).await.status, 200);
    }

    pub async fn ledger(&self) -> Ledger {
        send(self.control, "GET", "/ledger", &[], None).await.understood()
    }
}

/// A client under Node, and all that it has said so far.
pub struct Client {
    child: Child,
    said: Arc<Mutex<Vec<Line>>>,
    /// It has said more.
    more: Arc<Notify>,
}

/// One line of a client's.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    Tick(u64),
    /// On a second subscription.
    Also(u64),
    /// Something new was opened with the old token, and works.
    Opened(u64),
    Said(u64),
    Answered(u64),
    Event(String),
    #[serde(untagged)]
    Unanswered {
        unanswered: u64,
        why: String,
    },
}

impl Client {
    /// Connects it to this port.
    pub fn start((name, variant): (&str, &str), port: u16, token: &str) -> Self {
        let mut child = node("client.mjs", &[name, &format!("ws://127.0.0.1:{port}"), token], variant);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (said, more) = (Arc::default(), Arc::new(Notify::new()));
        let (all, news): (Arc<Mutex<Vec<Line>>>, _) = (Arc::clone(&said), Arc::clone(&more));
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let line = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                all.lock().unwrap().push(line);
                news.notify_one();
            }
        });
        Self { child, said, more }
    }

    pub fn lines(&self) -> Vec<Line> {
        self.said.lock().unwrap().clone()
    }

    /// The numbers that it has heard.
    pub fn ticks(&self) -> Vec<u64> {
        self.lines()
            .into_iter()
            .filter_map(|line| if let Line::Tick(nth) = line { Some(nth) } else { None })
            .collect()
    }

    /// Waits until it has said what is wanted, for 90 s at most.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let said = async {
            while !is_so(self) {
                self.more.notified().await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(90), said).await.is_ok() {
            return;
        }
        panic!("the client has not said {what}: {:?}", self.lines());
    }

    /// Ends it, and gives all that it said.
    pub async fn stop(mut self) -> Vec<Line> {
        drop(self.child.stdin.take());
        let ended = tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await;
        assert!(ended.expect("it ends").unwrap().success());
        self.lines()
    }
}

/// Node with a script of this directory.
fn node(script: &str, arguments: &[&str], variant: &str) -> Child {
    let home = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/dialects");
    assert!(home.join("node_modules").is_dir(), "first: npm ci --prefix tests/dialects");
    Command::new("node")
        .arg(home.join(script))
        .args(arguments)
        .env("VARIANT", variant)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("node is installed")
}
