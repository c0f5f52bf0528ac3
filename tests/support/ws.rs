//! One end of a WebSocket: frames as bytes, and nothing that is done unasked.

use std::{io, time::Duration};

use perennial::net::Io;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    http::{Head, ask, handshake},
    service::Service,
    soon,
};

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// One frame, bit for bit: the first byte has FIN, the reserved bits and the opcode.
pub fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = header(first, payload.len() as u64, mask);
    let mask = mask.unwrap_or_default();
    out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    out
}

/// The header of a frame whose payload may never come.
pub fn header(first: u8, length: u64, mask: Option<[u8; 4]>) -> Vec<u8> {
    let flag = if mask.is_some() { 0x80 } else { 0 };
    let mut out = match length {
        0..126 => vec![first, flag | length as u8],
        126..0x1_0000 => [vec![first, flag | 126], (length as u16).to_be_bytes().to_vec()].concat(),
        _ => [vec![first, flag | 127], length.to_be_bytes().to_vec()].concat(),
    };
    out.extend(mask.unwrap_or_default().iter().take(if mask.is_some() { 4 } else { 0 }));
    out
}

/// A whole frame with FIN, masked as a client's.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(0x80 | opcode, payload, Some(MASK))
}

/// A whole frame with FIN, as a server's.
pub fn bare(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(0x80 | opcode, payload, None)
}

pub const MASK: [u8; 4] = [0x1b, 0xad, 0xf0, 0x0d];

/// The payload of a Close.
pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_ref()].concat()
}

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub first: u8,
    pub masked: bool,
    /// Without its mask.
    pub payload: Vec<u8>,
    /// As it stood on the wire.
    pub raw: Vec<u8>,
}

impl Frame {
    pub fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }

    /// Takes a frame off the front of `bytes`, where it is all there.
    pub fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        let number = |from: usize, to| {
            bytes.get(from..to).map(|n: &[u8]| n.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)))
        };
        let (length, mut at) = match second & 0x7f {
            126 => (number(2, 4)?, 4),
            127 => (number(2, 10)?, 10),
            short => (usize::from(short), 2),
        };
        let masked = second & 0x80 != 0;
        let mask: [u8; 4] = if masked { bytes.get(at..at + 4)?.try_into().unwrap() } else { [0; 4] };
        at += if masked { 4 } else { 0 };
        let payload = bytes.get(at..at + length)?.iter().zip(mask.iter().cycle());
        let payload = payload.map(|(byte, mask)| byte ^ mask).collect();
        let raw = bytes.drain(..at + length).collect();
        Some(Self { first, masked, payload, raw })
    }
}

/// One end of a connection.
pub struct Wire {
    pub io: Box<dyn Io>,
    /// Read, and not yet used.
    pub buffer: Vec<u8>,
}

impl Wire {
    pub fn new(io: impl Io + 'static) -> Self {
        Self { io: Box::new(io), buffer: Vec::new() }
    }

    /// A connection to a port of this machine; what is written goes out at once.
    pub async fn dial(port: u16) -> Self {
        let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        Self::new(tcp)
    }

    /// The same, with so small a receive buffer that nothing hides in it.
    pub async fn dial_narrow(port: u16) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        Self::new(socket.connect(([127, 0, 0, 1], port).into()).await.unwrap())
    }

    pub async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        soon("room to write", async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        })
        .await
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).await.unwrap();
    }

    /// The next frame; `None` if the connection has ended, in whatever way.
    pub async fn frame(&mut self) -> Option<Frame> {
        soon("a frame", self.patient_frame()).await
    }

    /// The same, however long it takes.
    pub async fn patient_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::take(&mut self.buffer) {
                return Some(frame);
            }
            match self.io.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next frame that is neither Ping nor Pong.
    pub async fn message(&mut self) -> Frame {
        loop {
            let frame = self.frame().await.expect("a message, not the end");
            if !matches!(frame.opcode(), PING | PONG) {
                return frame;
            }
        }
    }

    /// How the peer ends: the code of its Close (0 where it was empty) and the reason. `None`: without one.
    pub async fn ending(&mut self) -> Option<(u16, String)> {
        while let Some(frame) = self.frame().await {
            if frame.opcode() == CLOSE {
                let code = frame.payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                let reason = frame.payload.get(2..).unwrap_or_default();
                return Some((code, String::from_utf8(reason.to_vec()).unwrap()));
            }
        }
        None
    }

    /// Nothing more comes, and the connection ends.
    pub async fn end(&mut self) {
        assert_eq!(self.frame().await, None);
        assert!(self.buffer.is_empty(), "a broken frame at the end: {:?}", self.buffer);
    }

    /// Everything up to the end.
    pub async fn rest(&mut self) -> Vec<u8> {
        soon("the end", async { while let Ok(1..) = self.io.read_buf(&mut self.buffer).await {} }).await;
        std::mem::take(&mut self.buffer)
    }
}

/// A client's session and the service's end of it.
pub async fn session(port: u16, service: &Service) -> (Wire, Wire) {
    let (_, client, theirs) = session_at(port, service, "/", "").await;
    (client, theirs)
}

/// The same, at a target and with header lines; with the service's view of the request.
pub async fn session_at(port: u16, service: &Service, target: &str, more: &str) -> (Head, Wire, Wire) {
    let ((answer, client), asked) = tokio::join!(ask(port, handshake(target, more)), async {
        let asked = service.asked().await;
        let head = asked.head.clone();
        (head, asked.accept("").await)
    });
    assert_eq!(answer.status(), 101, "{answer:?}");
    (asked.0, client, asked.1)
}

/// A session that has nothing to do with what goes on beside it, with a service that says everything again.
pub struct Honest {
    wire: Wire,
    said: u32,
}

impl Honest {
    pub async fn open(port: u16, target: &str) -> Self {
        let (answer, wire) = ask(port, handshake(target, "")).await;
        assert_eq!(answer.status(), 101, "{answer:?}");
        Self { wire, said: 0 }
    }

    /// Fails unless the session still relays.
    pub async fn relays(&mut self) {
        self.said += 1;
        let text = format!("still here, for the {}th time", self.said);
        self.wire.send(masked(TEXT, text.as_bytes())).await;
        assert_eq!(self.wire.message().await.text(), text);
    }
}

/// Takes the connection down hard: the peer sees a reset.
pub fn reset(tcp: TcpStream) {
    SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
    drop(tcp);
}
