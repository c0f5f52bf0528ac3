//! What a connection begins with, before it is read as HTTP.
//!
//! ```text
//!   accepted ──► PROXY protocol, if this peer speaks it ──► does it speak what this port does? ──► TLS, HTTP
//!                          └── the client's own address         └── no: it is told so, as far as it would understand
//! ```
//!
//! A balancer or a client that is set up for another kind of port fails in the same way each time: the log has to name
//! the cause.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    config::Listen,
    net::{Peer, proxy_protocol},
};

/// The first byte of a client that speaks TLS (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// As much of the beginning as tells one from another.
const BEGINNING: usize = 12;
/// What is read of a peer that is told no, so that it hears it: a socket that is closed over unread bytes is reset.
const UNREAD: usize = 64 * 1024;

/// Why a connection is not served.
#[derive(Debug)]
pub(super) enum Odd {
    /// It ended, or its header is none.
    Failed(io::Error),
    /// It speaks something else than this port.
    Speaks(&'static str),
}

impl From<io::Error> for Odd {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Looks at the beginning of a connection. The client's address, as far as it is told.
pub(super) async fn look(tcp: &mut TcpStream, peer: SocketAddr, listen: &Listen) -> Result<Peer, Odd> {
    let told = listen.proxy_protocol && listen.trusted_proxies.contains(peer.ip());
    let source = if told { proxy_protocol::read(tcp).await? } else { None };
    let mut first = [0; BEGINNING];
    let there = tcp.peek(&mut first).await?;
    let first = &first[..there];
    let speaks_tls = first.first() == Some(&TLS_HANDSHAKE);
    if proxy_protocol::is_begun_by(first) {
        let why = "it begins with a header of PROXY protocol: switch that off in the balancer in front, or set \
                   listen.proxy_protocol = true, and its address in listen.trusted_proxies";
        return Err(refuse(tcp, why).await);
    }
    match (&listen.tls, speaks_tls) {
        (None, true) => {
            Err(Odd::Speaks("it speaks TLS, and this port does not: is it wss:// that should be ws://?"))
        }
        (Some(_), false) if first.first().is_some_and(u8::is_ascii_uppercase) => {
            let why = "it does not speak TLS, and this port does: is it ws:// that should be wss://?";
            Err(refuse(tcp, why).await)
        }
        (Some(_) | None, _) => Ok(source.map_or_else(|| peer.into(), Peer::from)),
    }
}

/// Tells a peer that writes plain text, in plain text.
async fn refuse(tcp: &mut TcpStream, why: &'static str) -> Odd {
    let length = why.len() + 1;
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{why}\n"
    );
    // Who does not want to hear it has ended the connection.
    if tcp.write_all(answer.as_bytes()).await.is_ok() && tcp.shutdown().await.is_ok() {
        let _ = tokio::io::copy(&mut tcp.take(UNREAD as u64), &mut tokio::io::sink()).await;
    }
    Odd::Speaks(why)
}
