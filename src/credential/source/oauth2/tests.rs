//! An authorization server that says what it is told to, on loopback sockets.

mod assertions;
mod discovery;
mod forms;
mod hostile;
mod refusals;
mod secrets;
mod tls;

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{
    clock,
    config::{Address, ClientAuth, Endpoint, Grant, Secret, Template, TokenExchange, UpstreamTls},
};

const AMPLE: Duration = Duration::from_secs(20);
/// Of a fetch that has to run out of time, with time enough for what comes before that on a busy machine.
const SHORT: Duration = Duration::from_secs(1);
/// The wall clock of every fetch.
const WALL: Duration = Duration::from_secs(1_800_000_000);
const TOKEN: &str = r#"{"access_token":"abc","token_type":"Bearer","expires_in":60}"#;

/// What the server does with one connection.
pub(super) enum Reply {
    /// A status line, headers (each with its line end), and a body; `{port}` in it is the server's.
    Whole(&'static str, &'static str, String),
    /// These bytes, and silence.
    Silent(String),
    /// These bytes, and the end.
    Cut(&'static str),
    /// A head, and a body without an end.
    Endless,
    /// A head, and a byte now and then.
    Drip,
}

pub(super) fn ok(body: &str) -> Reply {
    Reply::Whole("200 OK", "content-type: application/json\r\n", body.to_owned())
}

pub(super) fn status(line: &'static str, body: &str) -> Reply {
    Reply::Whole(line, "", body.to_owned())
}

/// Reads one request: head and body.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let mut text = String::from_utf8(head).unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.unwrap();
    text.push_str(std::str::from_utf8(&body).unwrap());
    text
}

/// Answers; the client may leave before the end, which is the test's to judge.
async fn reply(stream: &mut (impl AsyncWrite + Unpin), port: u16, reply: &Reply) {
    match reply {
        Reply::Whole(line, headers, body) => {
            let body = body.replace("{port}", &port.to_string());
            let head = format!("HTTP/1.1 {line}\r\n{headers}content-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes()).await;
            let _ = stream.flush().await;
        }
        Reply::Silent(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
        }
        Reply::Cut(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Reply::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await;
            while stream.write_all(&[b' '; 4096]).await.is_ok() {}
        }
        Reply::Drip => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

/// Does `work` beside a server that gives these replies, one to each connection; the requests it saw.
pub(super) async fn beside<T>(replies: &[Reply], work: impl AsyncFnOnce(u16) -> T) -> (T, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (mut seen, mut open) = (Vec::new(), Vec::new());
    let server = async {
        for one in replies {
            let (mut tcp, _) = listener.accept().await.unwrap();
            seen.push(read_request(&mut tcp).await);
            reply(&mut tcp, port, one).await;
            open.push(tcp);
        }
        // One request more than there are replies is a test's mistake, or the code's.
        let _more = listener.accept().await;
        seen.push("one too many".to_owned());
        std::future::pending::<()>().await;
    };
    let done = tokio::select! {
        done = work(port) => done,
        () = server => unreachable!(),
    };
    (done, seen)
}

pub(super) fn address(text: &str) -> Address {
    Address { text: text.to_owned(), endpoint: Endpoint::of_server(text).unwrap() }
}

/// The plainest source, at a server on this port.
pub(super) fn source(port: u16) -> OAuth2Source {
    OAuth2Source {
        server: AuthorizationServer::TokenUrl(address(&format!("http://127.0.0.1:{port}/token?a=b"))),
        tls: UpstreamTls::default(),
        grant: Grant::ClientCredentials,
        client_id: Some("me".to_owned()),
        client_auth: ClientAuth::None,
        scope: Vec::new(),
        audience: Vec::new(),
        resource: Vec::new(),
        parameters: Vec::new(),
        headers: Vec::new(),
        answer: crate::config::AnswerForm::Auto,
    }
}

fn now() -> Now {
    Now { mono: clock::now(), wall: WALL }
}

async fn ask(tokens: &OAuth2Tokens, asking: &Asking) -> Result<Issued, SourceError> {
    let now = now();
    tokens.fetch(asking, now, now.mono + AMPLE).await
}

/// What was read of a file is old.
async fn a_moment_later() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await;
    tokio::time::resume();
}

/// One fetch of a source like that: how it ended, and the one request.
async fn fetch(
    answer: Reply,
    asking: &Asking,
    change: impl FnOnce(&mut OAuth2Source),
) -> (Result<Issued, SourceError>, String) {
    let (result, mut seen) = beside(&[answer], async |port| {
        let mut source = source(port);
        change(&mut source);
        ask(&OAuth2Tokens::new(&source, &Egress::default()).unwrap(), asking).await
    })
    .await;
    assert_eq!(seen.len(), 1, "one request");
    (result, seen.remove(0))
}

/// The same, for a failure: of the plain grant, and of a refresh token.
async fn both(make: impl Fn() -> Reply) -> (SourceError, SourceError) {
    let (plain, _) = fetch(make(), &Asking::default(), |_| {}).await;
    let (rotating, _) = fetch(make(), &Asking::default(), rotates).await;
    (plain.unwrap_err(), rotating.unwrap_err())
}

fn rotates(source: &mut OAuth2Source) {
    source.grant = Grant::RefreshToken(Secret::literal("first"));
}

/// The fields of a form, decoded, in their order.
pub(super) fn form(request: &str) -> Vec<(String, String)> {
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn exchange() -> TokenExchange {
    TokenExchange {
        subject_token: Template::parse("{client.token}"),
        subject_token_type: "urn:ietf:params:oauth:token-type:access_token".to_owned(),
        actor_token: None,
        requested_token_type: None,
    }
}
