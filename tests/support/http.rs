//! Heads of requests and answers, as they came.

use tokio::io::AsyncReadExt;

use super::{soon, ws::Wire};

/// A request's or an answer's head.
#[derive(Debug, Clone)]
pub struct Head {
    /// Its first line.
    pub first: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Self {
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Self { first, headers }
    }

    /// The answer's status; 0 where nothing came.
    pub fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The request's target.
    pub fn target(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    /// The one value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter().filter(|(n, _)| n == name);
        let value = all.next().map(|(_, value)| value.as_str());
        assert!(all.next().is_none(), "{name} stands twice: {self:?}");
        value
    }

    /// Every value of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }
}

impl Wire {
    /// Reads a head; an empty one where the peer ended instead.
    pub async fn head(&mut self) -> Head {
        soon("a head", async {
            loop {
                if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                    let text = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                    self.buffer.drain(..end + 4);
                    return Head::parse(&text);
                }
                if !matches!(self.io.read_buf(&mut self.buffer).await, Ok(1..)) {
                    return Head { first: String::new(), headers: Vec::new() };
                }
            }
        })
        .await
    }
}

/// The handshake of a client, with more header lines (each with its line break).
pub fn handshake(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// What a server answers to the key of [`handshake`] (RFC 6455 §1.3).
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Sends a request: the head of the answer, and what is behind it.
pub async fn ask(port: u16, request: impl AsRef<[u8]>) -> (Head, Wire) {
    let mut wire = Wire::dial(port).await;
    // A refusal may come before the request is out: then the answer is what counts.
    let _ = wire.try_send(request.as_ref()).await;
    let head = wire.head().await;
    (head, wire)
}
