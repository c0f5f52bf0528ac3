//! A certified OpenID provider that rotates its refresh tokens, and a front that loses what goes through it.
//!
//! ```text
//!   sidecar ──► Front ──► node provider.mjs (npm oidc-provider)
//!                 │ pass, cut, hold back an answer, lose one
//! ```
//!
//! The provider ends a grant when one of its refresh tokens comes a second time, and says so in its ledger. It prints
//! its port when it accepts, and ends when its standard input does.
//!
//! The npm packages are installed once, with `npm ci --prefix tests/provider`.

mod front;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

pub use front::{Front, Way};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
};

/// Of the clients that prove themselves with one. It has what has to be encoded.
pub const SECRET: &str = "the client: its secret+";

/// The running provider.
pub struct Provider {
    pub port: u16,
    /// It ends with this.
    _child: Child,
}

/// What it saw.
#[derive(Debug, Clone, Deserialize)]
pub struct Ledger {
    /// Tokens given out.
    pub granted: u64,
    /// The codes of its refusals.
    pub refused: Vec<String>,
    /// Grants ended, since a refresh token came a second time.
    pub revoked: u64,
}

impl Provider {
    /// One whose access tokens live for `ttl` seconds.
    pub async fn start(ttl: u64) -> Self {
        Self::start_with(ttl, &serde_json::Value::Null).await
    }

    /// The same, with the public keys of the client `prover`.
    pub async fn start_with(ttl: u64, keys: &serde_json::Value) -> Self {
        let home = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/provider");
        assert!(home.join("node_modules").is_dir(), "first: npm ci --prefix tests/provider");
        let argument = json!({ "TTL": ttl, "JWKS": keys, "PORT": 0 }).to_string();
        Self::run(Path::new("node"), &home.join("provider.mjs"), &argument).await
    }

    /// Any other that is run, seeded and asked in the same way.
    pub async fn run(interpreter: &Path, script: &Path, argument: &str) -> Self {
        #[derive(Deserialize)]
        struct Ready {
            port: u16,
        }
        let mut child = Command::new(interpreter)
            .arg(script)
            .arg(argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await;
        let line = line.expect("it starts").unwrap().expect("it says its port");
        let Ready { port } = serde_json::from_str(&line).unwrap();
        Self { port, _child: child }
    }

    /// A first refresh token of a client.
    pub async fn seed(&self, client: &str) -> String {
        #[derive(Deserialize)]
        struct Seed {
            refresh_token: String,
        }
        let answer = ask(self.port, "POST", &format!("/seed?client={client}")).await;
        serde_json::from_str::<Seed>(&answer).unwrap().refresh_token
    }

    pub async fn ledger(&self) -> Ledger {
        serde_json::from_str(&ask(self.port, "GET", "/ledger").await).unwrap()
    }

    /// Waits until the ledger is so.
    pub async fn until(&self, is_so: impl Fn(&Ledger) -> bool) -> Ledger {
        let waiting = async {
            loop {
                let ledger = self.ledger().await;
                if is_so(&ledger) {
                    return ledger;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(60), waiting).await {
            Ok(ledger) => ledger,
            Err(_) => panic!("not so within a minute: {:?}", self.ledger().await),
        }
    }
}

/// The body of an answer with a status of success.
async fn ask(port: u16, method: &str, target: &str) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer.split(' ').nth(1), Some("200"), "{answer}");
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    // Node sends it in chunks where it does not know the length beforehand.
    body[body.find('{').unwrap()..=body.rfind('}').unwrap()].to_owned()
}
