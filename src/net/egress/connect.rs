//! A tunnel by HTTP CONNECT (RFC 9110 §9.3.6), with Basic credentials (RFC 7617).
//!
//! ```text
//!   CONNECT host:port ──► proxy ──► HTTP/1.1 2xx … and an empty line ──► from here on, the stream is the target's
//! ```
//!
//! 1. Of the answer nothing counts but its status, and no more of it is told: a page may quote what was sent.
//! 2. No more than 16 KiB of it are read.
//! 3. The target does not speak before it was spoken to. What comes behind the answer is not from it, and ends the
//!    tunnel.

use std::io;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::config::{ProxyLogin, socket};

/// The head of an answer may be this long.
const MAX_HEAD: usize = 16 * 1024;

/// Has the proxy connect to `host:port`. It takes as long as the proxy does.
pub(super) async fn open(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    (host, port): (&str, u16),
    login: Option<&ProxyLogin>,
) -> io::Result<()> {
    let target = socket(host, port);
    stream.write_all(request(&target, login).as_bytes()).await?;
    stream.flush().await?;
    let Head { status, is_all } = head(stream).await?;
    if !status.is_success() {
        return Err(io::Error::other(format!("it answered {} to CONNECT {target}", status.as_u16())));
    }
    if is_all { Ok(()) } else { Err(wrong("it sent more than an answer to CONNECT")) }
}

fn request(target: &str, login: Option<&ProxyLogin>) -> Zeroizing<String> {
    let authorization = login.map(|ProxyLogin { user, password }| {
        let pair = Zeroizing::new(format!("{}:{}", user.as_str(), password.as_str()));
        Zeroizing::new(format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(&*pair)))
    });
    let authorization = authorization.as_deref().map_or("", String::as_str);
    Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n"))
}

/// What counts of an answer.
struct Head {
    status: StatusCode,
    /// Nothing came behind its empty line.
    is_all: bool,
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Head> {
    let mut head = Vec::with_capacity(512);
    loop {
        let before = head.len();
        if stream.read_buf(&mut head).await? == 0 {
            let end = if head.is_empty() { "it closed without an answer" } else { "it closed in its answer" };
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, end));
        }
        if !head.starts_with(&BEGIN[..BEGIN.len().min(head.len())]) {
            return Err(wrong("its answer is no HTTP"));
        }
        if let Some(end) = end_of(&head, before) {
            return Ok(Head { status: status(&head)?, is_all: end == head.len() });
        }
        if head.len() >= MAX_HEAD {
            return Err(wrong("the head of its answer is longer than 16 KiB"));
        }
    }
}

const BEGIN: &[u8] = b"HTTP/1.";

/// Where the empty line ends. What was read before `seen` has none, but for its last bytes.
fn end_of(head: &[u8], seen: usize) -> Option<usize> {
    let from = seen.saturating_sub(3);
    // A lone line feed ends a line too (RFC 9112 §2.2).
    let ends = ["\r\n\r\n", "\n\n", "\n\r\n"].map(|end| {
        let end = end.as_bytes();
        head[from..].windows(end.len()).position(|window| window == end).map(|at| from + at + end.len())
    });
    ends.into_iter().flatten().min()
}

/// `HTTP/1.1 200 OK`.
fn status(head: &[u8]) -> io::Result<StatusCode> {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut words = line.strip_prefix(BEGIN).unwrap_or_default().split(|byte| byte.is_ascii_whitespace());
    let minor = words.next().filter(|minor| minor.len() == 1 && minor[0].is_ascii_digit());
    let status = words.next().and_then(|code| StatusCode::from_bytes(code).ok());
    minor.and(status).ok_or_else(|| wrong("its answer is no HTTP"))
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::duplex;

    use super::*;

    /// What comes of it if the proxy answers so, in parts; and what it was sent.
    async fn answered(parts: &[&[u8]], login: Option<&ProxyLogin>) -> (Result<(), String>, String) {
        let (mut near, mut far) = duplex(64 * 1024);
        let proxy = async {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                far.read_buf(&mut asked).await.unwrap();
            }
            for part in parts {
                // The client may have had enough.
                let _ = far.write_all(part).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(far);
            String::from_utf8(asked).unwrap()
        };
        let (opened, asked) = tokio::join!(
            async {
                let opened = open(&mut near, ("api.example", 443), login).await;
                drop(near);
                opened
            },
            proxy
        );
        (opened.map_err(|error| error.to_string()), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_is_asked_for_and_opened() {
        let (opened, asked) = answered(&[b"HTTP/1.1 200 Connection established\r\n\r\n"], None).await;
        assert_eq!(opened, Ok(()));
        assert_eq!(asked, "CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n");
        let login = ProxyLogin { user: "Aladdin".into(), password: "open sesame".into() };
        let (opened, asked) = answered(&[b"HTTP/1.0 204 x\nA: b\n\n"], Some(&login)).await;
        assert_eq!(opened, Ok(()));
        assert!(
            asked.contains("\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"),
            "{asked}"
        );
        let ok: Vec<&[u8]> = b"HTTP/1.1 200\r\nA: b\r\n\r\n".chunks(1).collect();
        assert_eq!(answered(&ok, None).await.0, Ok(()), "byte by byte");
    }

    #[tokio::test(start_paused = true)]
    async fn what_it_answers_is_told_and_not_quoted() {
        let said = async |parts: &[&[u8]]| answered(parts, None).await.0.unwrap_err();
        let refused = b"HTTP/1.1 407 CANARY\r\nProxy-Authenticate: Basic realm=CANARY\r\n\r\nCANARY";
        // With a page behind it.
        assert_eq!(said(&[refused]).await, "it answered 407 to CONNECT api.example:443");
        assert_eq!(said(&[b"HTTP/1.1 502 x\r\n\r\n"]).await, "it answered 502 to CONNECT api.example:443");
        assert_eq!(said(&[b"HTTP/1.1 101 x\r\n\r\n"]).await, "it answered 101 to CONNECT api.example:443");
        for garbage in ["SSH-2.0-CANARY\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 20\r\n\r\n", "HTTP/1.1\r\n\r\n"]
        {
            assert_eq!(said(&[garbage.as_bytes()]).await, "its answer is no HTTP", "{garbage}");
        }
        assert_eq!(said(&[]).await, "it closed without an answer");
        assert_eq!(said(&[b"HTTP/1.1 200 OK\r\nA: "]).await, "it closed in its answer");
        let more = said(&[b"HTTP/1.1 200 OK\r\n\r\nCANARY"]).await;
        assert_eq!(more, "it sent more than an answer to CONNECT");
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_head_ends_at_the_limit() {
        let line = [b'x'; 1024];
        let mut parts: Vec<&[u8]> = vec![b"HTTP/1.1 200 OK\r\nA: "];
        parts.resize(100, &line);
        let (opened, _) = answered(&parts, None).await;
        assert_eq!(opened, Err("the head of its answer is longer than 16 KiB".to_owned()));
    }
}
