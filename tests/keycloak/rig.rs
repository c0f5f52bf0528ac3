//! The rig: a Keycloak that runs, realms that are made while it does, and what is asked of it without a sidecar.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
};

use crate::{
    oauth_sidecar,
    provider::{Front, SECRET},
    support::beside,
};

/// Longer than it takes on a busy machine.
const STARTS: Duration = Duration::from_secs(120);

/// The running server.
pub struct Keycloak {
    pub port: u16,
    log: Arc<Mutex<String>>,
    #[expect(dead_code, reason = "held for its Drop: it ends with the test")]
    child: Child,
}

impl Keycloak {
    pub async fn start() -> Self {
        let home = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".tools/keycloak");
        assert!(home.join("stamp").exists(), "first: tests/keycloak/install");
        let mut child = java(&home.join("server"))
            .env("KC_BOOTSTRAP_ADMIN_USERNAME", "admin")
            .env("KC_BOOTSTRAP_ADMIN_PASSWORD", SECRET)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let log: Arc<Mutex<String>> = Arc::default();
        let said = Arc::clone(&log);
        let starting = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                *said.lock().unwrap() += &format!("{line}\n");
                if let Some((_, at)) = line.split_once("Listening on: http://127.0.0.1:") {
                    return at.split('.').next().unwrap().parse().unwrap();
                }
            }
            panic!("it ended:\n{}", said.lock().unwrap());
        };
        let port = tokio::time::timeout(STARTS, starting).await;
        let port = port.unwrap_or_else(|_| panic!("it does not start:\n{}", log.lock().unwrap()));
        beside(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                *said.lock().unwrap() += &format!("{line}\n");
            }
        });
        Self { port, log, child }
    }

    /// Makes a realm of realm.json, with these fields in place of its own.
    pub async fn realm(&self, name: &str, changes: &Value) {
        self.realm_with_keys(name, changes, &Value::Null).await;
    }

    /// The same, with the public keys of the client `prover`.
    pub async fn realm_with_keys(&self, name: &str, changes: &Value, keys: &Value) {
        let keys = serde_json::to_string(&keys.to_string()).unwrap();
        let text = include_str!("realm.json").replace("\"PUBLIC KEYS\"", &keys);
        let mut realm: Value = serde_json::from_str(&text).unwrap();
        realm["realm"] = json!(name);
        for (field, value) in changes.as_object().unwrap() {
            realm[field] = value.clone();
        }
        self.administer("/admin/realms", &realm).await;
    }

    /// Ends all sessions of a realm.
    pub async fn end_sessions(&self, realm: &str) {
        self.administer(&format!("/admin/realms/{realm}/logout-all"), &json!({})).await;
    }

    async fn administer(&self, path: &str, body: &Value) {
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", "admin"),
            ("password", SECRET),
        ];
        let token = self.token("master", self.port, &form).await;
        let bearer = format!("Authorization: Bearer {}\r\n", token["access_token"].as_str().unwrap());
        let (status, answer) =
            self.post(path, self.port, &bearer, "application/json", &body.to_string()).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}\n{}", self.log.lock().unwrap());
    }

    /// The first refresh token of a family, which is good at that port of this machine.
    pub async fn seed(&self, realm: &str, port: u16) -> String {
        let form = [
            ("grant_type", "password"),
            ("client_id", "basic"),
            ("client_secret", SECRET),
            ("username", "alice"),
            ("password", "of alice"),
        ];
        self.token(realm, port, &form).await["refresh_token"].as_str().unwrap().to_owned()
    }

    /// An access token of the client `app`, as a user's own program has one.
    pub async fn users_token(&self, realm: &str, port: u16) -> String {
        let form = [
            ("grant_type", "password"),
            ("client_id", "app"),
            ("username", "alice"),
            ("password", "of alice"),
        ];
        self.token(realm, port, &form).await["access_token"].as_str().unwrap().to_owned()
    }

    async fn token(&self, realm: &str, port: u16, form: &[(&str, &str)]) -> Value {
        let form: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let kind = "application/x-www-form-urlencoded";
        let (status, answer) = self.post(&endpoint(realm), port, "", kind, &form).await;
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// One POST, as if to that port, which Keycloak takes for its own address: status and body.
    async fn post(&self, path: &str, port: u16, more: &str, kind: &str, body: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        // HTTP/1.0: no chunks.
        let request = format!(
            "POST {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n{more}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let reading = socket.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(60), reading).await.expect("it answers").unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }
}

fn endpoint(realm: &str) -> String {
    format!("/realms/{realm}/protocol/openid-connect/token")
}

/// What `kc.sh start` runs; but a shell between would not end it with the test.
fn java(home: &Path) -> Command {
    let mut java = Command::new("java");
    let home = home.display();
    java.args(["-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(
            ["util", "util.concurrent", "security"]
                .map(|name| format!("--add-opens=java.base/java.{name}=ALL-UNNAMED")),
        )
        .arg("-Djava.util.logging.manager=org.jboss.logmanager.LogManager")
        .args([format!("-Dkc.home.dir={home}"), format!("-Djboss.server.config.dir={home}/conf")])
        .args([
            "-cp",
            &format!("{home}/lib/quarkus-run.jar"),
            "io.quarkus.bootstrap.runner.QuarkusEntryPoint",
        ])
        .args([
            "start",
            "--optimized",
            "--http-enabled=true",
            "--hostname-strict=false",
            "--http-host=127.0.0.1",
        ])
        .args(["--http-port=0", "--http-management-port=0"]);
    java
}

/// A configuration that asks `/token`, asking a realm instead.
pub fn at(realm: &str, configuration: &str) -> String {
    configuration.replace("/token\"\n", &format!("{}\"\n", endpoint(realm)))
}

/// A family of refresh tokens, a front before Keycloak, and where a sidecar keeps its state.
pub struct Family {
    pub front: Front,
    directory: tempfile::TempDir,
    realm: String,
}

impl Family {
    pub async fn of(keycloak: &Keycloak, realm: &str) -> Self {
        let front = Front::start(keycloak.port).await;
        let directory = tempfile::tempdir().unwrap();
        let seed = keycloak.seed(realm, front.port).await;
        std::fs::write(directory.path().join("refresh"), seed).unwrap();
        Self { front, directory, realm: realm.to_owned() }
    }

    pub fn configuration(&self) -> String {
        let path = self.directory.path();
        at(&self.realm, &oauth_sidecar::rotating(self.front.port, &path.join("state"), &path.join("refresh")))
    }
}
