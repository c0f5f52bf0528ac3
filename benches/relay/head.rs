//! The head of an HTTP/1.1 message: of a WebSocket handshake, of a plain request, of an answer.

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// No head here is longer.
const LONGEST: usize = 8 * 1024;

/// A first line, and fields.
pub(crate) struct Head(String);

impl Head {
    /// Reads up to the empty line; what had already come behind it is returned, too.
    pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<(Self, Vec<u8>)> {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = bytes.split_off(end + 4);
                return Ok((Self(String::from_utf8(bytes)?), rest));
            }
            ensure!(bytes.len() < LONGEST, "a head without an end");
            if stream.read_buf(&mut bytes).await? == 0 {
                bail!("the connection ended within a head");
            }
        }
    }

    pub(crate) fn first_line(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }

    /// What a request asks for.
    pub(crate) fn target(&self) -> &str {
        self.first_line().split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.0.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}
