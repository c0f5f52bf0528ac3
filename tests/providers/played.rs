//! A block of a page, and the server that gives it one answer.

use std::{path::Path, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use perennial::{
    config::{Config, SourceConfig, TokenConfig},
    credential::source::{Asking, Issued, Source, SourceError},
    net::Egress,
};

use tokio::io::AsyncReadExt;

use super::{Row, now};
use crate::{
    examples::Judge,
    support::service::{Asked, Service},
};

/// More than anybody needs.
const AMPLE: Duration = Duration::from_secs(20);

/// What came of an answer.
pub struct Played {
    pub result: Result<Issued, SourceError>,
    /// The last request: head and body.
    pub request: String,
    /// Does the block say how long a token lives, or use it once?
    pub has_lifetime: bool,
}

/// Files that the blocks name.
pub struct Stage {
    judge: Judge,
}

/// The names of the pages that configure something.
pub fn pages() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/providers");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap().trim_end_matches(".md").to_owned());
    names.filter(|name| name != "README").collect()
}

/// The configurations on a page.
pub fn blocks(page: &str) -> Vec<String> {
    let folder = if page == "usual" { "tests" } else { "docs" };
    let path = format!("{}/{folder}/providers/{page}.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

/// The block with the server's address in the place of each address that is asked.
fn redirected(block: &str, port: u16) -> String {
    let mut lines = Vec::new();
    for line in block.lines() {
        let asked =
            ["url", "token_url", "issuer"].iter().any(|key| line.starts_with(&format!("{key} = \"http")));
        let redirected = asked.then(|| {
            let (before, address) = line.split_once("://").unwrap();
            let path = address.find(['/', '"']).unwrap();
            let before = before.trim_end_matches('s');
            format!("{before}://127.0.0.1:{port}{}", &address[path..])
        });
        lines.push(redirected.unwrap_or_else(|| line.to_owned()));
    }
    lines.join("\n")
}

/// The issuer's document, if that is what was asked for. An issuer is what stands before `/.well-known`.
fn document(block: &str, target: &str) -> Option<String> {
    target.contains("/.well-known/").then_some(())?;
    let issuer = block.lines().find_map(|line| line.strip_prefix("issuer = \"")).unwrap();
    let issuer = issuer.split('"').next().unwrap();
    let base = issuer.trim_end_matches('/');
    Some(format!(r#"{{"issuer":"{issuer}","token_endpoint":"{base}/token"}}"#))
}

fn written(status: u16, content_type: &str, header: Option<&str>, body: &str) -> String {
    let header = header.map_or_else(String::new, |header| format!("{header}\r\n"));
    format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\n{header}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Head and body, and the claims of the JWTs in them.
async fn asked_for(asked: &mut Asked) -> String {
    let length = asked.head.get("content-length").map_or(0, |length| length.parse().unwrap());
    while asked.wire.buffer.len() < length {
        assert_ne!(asked.wire.io.read_buf(&mut asked.wire.buffer).await.unwrap(), 0, "a whole body");
    }
    let headers = asked.head.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
    let body = String::from_utf8_lossy(&asked.wire.buffer);
    let text = format!("{}\n{}\n{body}", asked.head.first, headers.collect::<String>());
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c));
    let jwts = words.filter(|word| word.starts_with("eyJ")).filter_map(|jwt| jwt.split('.').nth(1));
    let claims = jwts.map(|claims| BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap());
    let claims: Vec<_> = claims.map(|claims| String::from_utf8(claims).unwrap()).collect();
    format!("{text}\n{}", claims.join("\n"))
}

impl Stage {
    pub fn new() -> Self {
        Self { judge: Judge::new() }
    }

    /// What a block configures, at a server on this port.
    pub fn config(&self, page: &str, block: usize, port: u16) -> TokenConfig {
        let text = self.judge.with_secrets(&redirected(&blocks(page)[block - 1], port));
        let config = Config::parse(&text, page).unwrap_or_else(|error| panic!("{error}"));
        config.routes[0].token.clone().unwrap()
    }

    /// Has the block's source ask for a token, and gives it the row's answer.
    pub async fn play(&self, page: &str, row: &Row) -> Played {
        let service = Service::start().await;
        let mut config = self.config(page, row.block, service.port);
        let kept = tempfile::NamedTempFile::new().unwrap();
        match &mut config.source {
            SourceConfig::File { path, .. } => std::fs::write(path, &row.body).unwrap(),
            SourceConfig::Exec(exec) => {
                std::fs::write(kept.path(), &row.body).unwrap();
                (exec.program, exec.arguments) = ("cat".to_owned(), vec![kept.path().display().to_string()]);
            }
            SourceConfig::Http(_) | SourceConfig::OAuth2(_) => {}
            other @ (SourceConfig::AblyKey(_) | SourceConfig::Static { .. } | SourceConfig::Jwt(_)) => {
                panic!("{page}: nobody is asked by {other:?}")
            }
        }
        let source = Source::new(&config.source, &Egress::default()).unwrap();
        let (now, asking) = (now(), Asking::default());
        let block = redirected(&blocks(page)[row.block - 1], service.port);
        let mut request = String::new();
        let server = async {
            loop {
                let mut asked = service.asked().await;
                request = asked_for(&mut asked).await;
                let answer = match document(&block, asked.head.target()) {
                    Some(document) => written(200, "application/json", None, &document),
                    None => written(row.status, &row.content_type, row.header.as_deref(), &row.body),
                };
                asked.answer(answer).await;
            }
        };
        let result = tokio::select! {
            result = source.fetch(&asking, now, now.mono + AMPLE) => result,
            () = server => unreachable!(),
        };
        Played { result, request, has_lifetime: config.refresh.lifetime.is_some() || config.refresh.once }
    }
}
