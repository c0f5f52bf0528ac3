//! Plain HTTP/1.1: GET on connections that stay open, one request at a time on each.
//!
//! ```text
//!   generator                     upstream
//!   GET /512/7                ──►
//!                             ◄── 200, the text of 512 bytes that has the number 7
//! ```

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    dial::{Dialer, Stream},
    head::Head,
    load::Progress,
    text::Text,
};

/// No answer takes longer, if the proxy is not broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// The generator's side of one connection: the next request goes when an answer has come, until all is to stop.
pub(crate) async fn run(dialer: Dialer, size: usize, progress: Arc<Progress>) -> Result<()> {
    let mut stream = dialer.dial().await?;
    let mut text = Text::new(size, 0);
    let mut number = 0;
    while !progress.stopped() {
        let body = timeout(PATIENCE, get(&mut stream, size, number)).await;
        let body = body.context("a request was not answered")??;
        ensure!(body == text.numbered(number), "request {number} has the answer of another");
        progress.add(1);
        number += 1;
    }
    Ok(())
}

async fn get(stream: &mut Box<dyn Stream>, size: usize, number: u64) -> Result<Vec<u8>> {
    let request = format!("GET /{size}/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let (head, mut body) = Head::read(stream).await?;
    ensure!(head.first_line().starts_with("HTTP/1.1 200"), "the answer is {}", head.first_line());
    let closes = head.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    ensure!(!closes, "the proxy does not keep the connection");
    let length = head.field("content-length").context("an answer without a length")?.parse::<usize>()?;
    ensure!(length == size && body.len() <= size, "an answer of {length} bytes, not {size}");
    let come = body.len();
    body.resize(length, 0);
    stream.read_exact(&mut body[come..]).await?;
    Ok(body)
}

/// The upstream's side of one connection.
pub(crate) async fn serve(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    // A proxy closes its connections when it likes.
    while let Ok((head, rest)) = Head::read(&mut stream).await {
        ensure!(rest.is_empty(), "a request came before the last one was answered");
        let asked = head.target().trim_start_matches('/').split_once('/').context("another path")?;
        let (size, number) = (asked.0.parse::<usize>()?, asked.1.parse::<u64>()?);
        let mut answer =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n")
                .into_bytes();
        answer.extend_from_slice(Text::new(size, 0).numbered(number));
        stream.write_all(&answer).await?;
    }
    Ok(())
}
