//! The upstream's role: it echoes frames, pushes messages, answers as Ably would, or serves plain HTTP.
//!
//! It says on its standard output where it listens, and ends with its parent.

use std::{io::Write as _, path::Path};

use anyhow::Result;
use perennial::wire::{Opcode, encode_frame};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use super::{
    ably::{Format, Service},
    dial::Stream,
    http,
    text::Text,
    tls,
    ws::Socket,
};

/// Bytes that are pushed with one write.
const PUSHED_TOGETHER: usize = 64 * 1024;

/// Where the upstream listens.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) plain: u16,
    pub(crate) tls: u16,
    pub(crate) ably: u16,
    pub(crate) http: u16,
}

/// Who is dialled.
#[derive(Clone, Copy)]
enum As {
    Echo,
    Ably,
}

pub(crate) async fn serve(directory: &Path) -> Result<()> {
    let acceptor = tls::issue(directory)?;
    let (plain, tls, ably, http) = (listen().await?, listen().await?, listen().await?, listen().await?);
    let ports = Ports { plain: port(&plain)?, tls: port(&tls)?, ably: port(&ably)?, http: port(&http)? };
    println!("{}", serde_json::to_string(&ports)?);
    std::io::stdout().flush()?;
    let connections = TaskTracker::new();
    let mut accepted = 0;
    loop {
        accepted += 1;
        tokio::select! {
            stream = plain.accept() => tell(&connections, in_the_clear(stream?.0, As::Echo, accepted)),
            stream = ably.accept() => tell(&connections, in_the_clear(stream?.0, As::Ably, accepted)),
            stream = http.accept() => tell(&connections, http::serve(stream?.0)),
            stream = tls.accept() => {
                let (acceptor, stream) = (acceptor.clone(), stream?.0);
                tell(&connections, async move {
                    stream.set_nodelay(true)?;
                    converse(acceptor.accept(stream).await?, As::Echo, accepted).await
                });
            }
        }
    }
}

async fn listen() -> Result<TcpListener> {
    Ok(TcpListener::bind("127.0.0.1:0").await?)
}

fn port(listener: &TcpListener) -> Result<u16> {
    Ok(listener.local_addr()?.port())
}

/// A connection of its own; what went wrong stands in the log.
fn tell(connections: &TaskTracker, connection: impl Future<Output = Result<()>> + Send + 'static) {
    connections.spawn(async move {
        if let Err(error) = connection.await {
            eprintln!("upstream: {error:#}");
        }
    });
}

async fn in_the_clear(stream: TcpStream, who: As, id: u64) -> Result<()> {
    stream.set_nodelay(true)?;
    converse(stream, who, id).await
}

/// Answers until the other side is done.
async fn converse(stream: impl Stream, who: As, id: u64) -> Result<()> {
    // Who only looks whether somebody listens has no handshake.
    let Ok((mut socket, asked)) = Socket::accept(stream).await else { return Ok(()) };
    if let Some(size) = asked.target().strip_prefix("/push/") {
        return push(socket, size.parse()?).await;
    }
    let mut service = match who {
        As::Echo => None,
        As::Ably => Some(Service::new(Format::asked(asked.target()), id)),
    };
    if let Some(service) = &service {
        service.greet(&mut socket.out);
    }
    let mut closed = false;
    while !closed {
        let turn = socket.turn(|frame, out| {
            match frame.opcode {
                Opcode::Text | Opcode::Binary | Opcode::Continuation => match &mut service {
                    Some(service) => service.answer(frame.payload, out)?,
                    None => frame.encode(None, out),
                },
                Opcode::Ping => encode_frame(Opcode::Pong, frame.payload, None, out),
                Opcode::Close => {
                    encode_frame(Opcode::Close, frame.payload, None, out);
                    closed = true;
                }
                Opcode::Pong => {}
            }
            Ok(())
        });
        // A generator that has seen enough just goes.
        if !matches!(turn.await, Ok(true)) {
            return Ok(());
        }
    }
    socket.end().await
}

/// Numbered messages without an end; it reads nothing, and the client has gone when a write fails.
async fn push(mut socket: Socket<impl Stream>, size: usize) -> Result<()> {
    let mut text = Text::new(size, 0);
    let mut number = 0;
    loop {
        while socket.out.len() < PUSHED_TOGETHER {
            encode_frame(Opcode::Text, text.numbered(number), None, &mut socket.out);
            number += 1;
        }
        if socket.flush().await.is_err() {
            return Ok(());
        }
    }
}
