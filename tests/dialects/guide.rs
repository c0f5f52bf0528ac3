//! The worked example of docs/dialects/write-one.md, from the page: the explanation is what the command prints, and a
//! client of the chat notices nothing of what happens to its token.

use std::{path::Path, process::Command};

use crate::{
    sidecar::Sidecar,
    support::{
        service::Service,
        soon,
        ws::{TEXT, Wire, bare, masked, session_at},
    },
};

fn block(name: &str) -> String {
    block_of("write-one", name)
}

/// The block behind `<!-- test: NAME -->` of a page.
pub fn block_of(page: &str, name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/dialects/{page}.md"));
    let page = std::fs::read_to_string(path).unwrap();
    let behind = page.split_once(&format!("<!-- test: {name} -->\n```")).unwrap().1;
    let (_, block) = behind.split_once('\n').unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_page_shows_what_the_command_prints() {
    let home = tempfile::tempdir().unwrap();
    let written = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (config, capture) = (written("p.toml", &block("dialect")), written("capture.txt", &block("capture")));
    let mut command = Command::new(env!("CARGO_BIN_EXE_perennial"));
    let ran = command.args(["check", "--config"]).arg(config).arg("--explain").arg(capture).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), block("explained"));
}

/// A chat as the page has it, and one of its clients.
struct Chat {
    service: Service,
    client: Wire,
    theirs: Wire,
    sidecar: Sidecar,
    token: std::path::PathBuf,
    _home: tempfile::TempDir,
}

impl Chat {
    async fn begins() -> Self {
        let home = tempfile::tempdir().unwrap();
        let token = home.path().join("token");
        std::fs::write(&token, "T1").unwrap();
        let service = Service::start().await;
        let source = format!("source = \"file\"\npath = '{}'", token.display());
        let config = block("dialect")
            .replace("wss://chat.example.com", &format!("ws://127.0.0.1:{}", service.port))
            .replace("source = \"http\"\nurl = \"https://auth.example.com/chat-token\"", &source);
        let sidecar = Sidecar::start(&config).await;
        let (_, client, theirs) = session_at(sidecar.port, &service, "/", "").await;
        let mut chat = Self { service, client, theirs, sidecar, token, _home: home };
        chat.says(r#"{"op":"hello"}"#).await;
        chat.asks(r#"{"op":"login","token":"old","as":"ann"}"#, r#"{"op":"login","token":"T1","as":"ann"}"#)
            .await;
        chat.says(r#"{"op":"welcome","session":"s1"}"#).await;
        for room in ["a", "b"] {
            let join = format!(r#"{{"op":"join","room":"{room}"}}"#);
            chat.asks(&join, &join).await;
            chat.says(&join.replace("join", "joined")).await;
        }
        let leave = r#"{"op":"leave","room":"b"}"#;
        chat.asks(leave, leave).await;
        chat
    }

    /// The service says it, and the client hears it.
    async fn says(&mut self, text: &str) {
        self.theirs.send(bare(TEXT, text.as_bytes())).await;
        assert_eq!(soon(text, self.client.message()).await.text(), text);
    }

    /// The client says it, and the service hears this.
    async fn asks(&mut self, text: &str, heard: &str) {
        self.client.send(masked(TEXT, text.as_bytes())).await;
        assert_eq!(soon(text, self.theirs.message()).await.text(), heard);
    }

    /// A new connection comes, and is told what the client had said, with this token.
    async fn is_restored(&mut self, token: &str) {
        self.theirs = soon("a new connection", self.service.asked()).await.accept("").await;
        let talk = [
            (r#"{"op":"hello"}"#.to_owned(), format!(r#"{{"op":"login","token":"{token}","as":"ann"}}"#)),
            (r#"{"op":"welcome","session":"s2"}"#.to_owned(), r#"{"op":"join","room":"a"}"#.to_owned()),
        ];
        for (said, heard) in talk {
            self.theirs.send(bare(TEXT, said.as_bytes())).await;
            assert_eq!(soon(&said, self.theirs.message()).await.text(), heard);
        }
        self.theirs.send(bare(TEXT, br#"{"op":"joined","room":"a"}"#)).await;
        // The next that the client hears is of its room.
        self.says(r#"{"op":"said","room":"a","text":"again"}"#).await;
        let say = r#"{"op":"say","room":"a","text":"good morning"}"#;
        self.asks(say, say).await;
    }
}

#[tokio::test]
async fn a_client_of_the_chat_notices_no_lost_connection() {
    let mut chat = Chat::begins().await;
    chat.theirs.send(bare(0x8, &[])).await;
    chat.is_restored("T1").await;
    chat.sidecar.stop().await;
}

#[tokio::test]
async fn a_client_of_the_chat_notices_no_end_of_its_token() {
    let mut chat = Chat::begins().await;
    std::fs::write(&chat.token, "T2").unwrap();
    chat.theirs.send(bare(TEXT, br#"{"op":"bye","why":"token expired"}"#)).await;
    chat.is_restored("T2").await;
    chat.sidecar.stop().await;
}
