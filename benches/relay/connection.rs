//! One connection of the generator: it sends numbered messages, and takes nothing back but those, in order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use perennial::wire::{Opcode, encode_frame};
use tokio::{net::TcpStream, time::timeout};

use super::{
    ably::{self, DIGITS, Said},
    load::{Shape, Talk},
    ws::Socket,
};

/// Who answers nothing for so long is broken.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Connection {
    socket: Socket<TcpStream>,
    script: Script,
}

impl Connection {
    /// Opens it, up to where messages may go.
    pub(crate) async fn open(shape: Shape, number: u32) -> Result<Self> {
        let opening = async {
            let stream = TcpStream::connect(("127.0.0.1", shape.port)).await?;
            stream.set_nodelay(true)?;
            let target = if shape.talk == Talk::Ably { ably::TARGET } else { "/" };
            let socket = Socket::connect(stream, target).await?;
            let mut connection = Self { socket, script: Script::new(shape, number) };
            while !connection.script.ready {
                connection.turn(false).await?;
            }
            Ok(connection)
        };
        timeout(PATIENCE, opening).await.context("a handshake was not answered")?
    }

    /// One message goes around.
    pub(crate) async fn exchange(mut self) -> Result<Self> {
        self.script.send(&mut self.socket.out);
        let exchange = async {
            while self.script.answered < self.script.sent {
                self.turn(false).await?;
            }
            Ok(self)
        };
        timeout(PATIENCE, exchange).await.context("a message was not answered")?
    }

    /// Keeps `window` messages in flight, until it is dropped.
    pub(crate) async fn run(mut self, window: u32, answered: Arc<AtomicU64>) -> Result<()> {
        for _ in 0..window {
            self.script.send(&mut self.socket.out);
        }
        loop {
            let before = self.script.answered;
            self.turn(true).await?;
            answered.fetch_add(self.script.answered - before, Ordering::Relaxed);
        }
    }

    /// `again`: for each message that came back the next one goes.
    async fn turn(&mut self, again: bool) -> Result<()> {
        let Self { socket, script } = self;
        let open = socket.turn(|opcode, payload, out| script.take(opcode, payload, again, out)).await?;
        ensure!(open, "the proxy ended the connection");
        Ok(())
    }
}

/// What the connection says, and what it is waiting for.
struct Script {
    talk: Talk,
    mask: [u8; 4],
    size: usize,
    /// The text of a message; its first digits are the message's number.
    text: Vec<u8>,
    ready: bool,
    sent: u64,
    answered: u64,
    acknowledged: u64,
}

impl Script {
    fn new(shape: Shape, number: u32) -> Self {
        let letters = (b'a'..=b'z').cycle().skip(number as usize % 26);
        let text = letters.take(shape.size.max(DIGITS)).collect();
        Self {
            talk: shape.talk,
            mask: (number.wrapping_mul(0x9e37_79b9) | 1).to_be_bytes(),
            size: shape.size,
            text,
            ready: shape.talk == Talk::Echo,
            sent: 0,
            answered: 0,
            acknowledged: 0,
        }
    }

    fn number(&mut self, number: u64) {
        for (at, digit) in self.text[..DIGITS].iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(number >> (4 * (DIGITS - 1 - at))) as usize & 15];
        }
    }

    fn send(&mut self, out: &mut Vec<u8>) {
        self.number(self.sent);
        match self.talk {
            Talk::Echo => encode_frame(Opcode::Text, &self.text, Some(self.mask), out),
            Talk::Ably => ably::publish(self.sent, &self.text, self.size, self.mask, out),
        }
        self.sent += 1;
    }

    fn take(&mut self, opcode: Opcode, payload: &[u8], again: bool, out: &mut Vec<u8>) -> Result<()> {
        match opcode {
            Opcode::Text => {}
            Opcode::Ping => {
                encode_frame(Opcode::Pong, payload, Some(self.mask), out);
                return Ok(());
            }
            other @ (Opcode::Binary | Opcode::Continuation | Opcode::Close | Opcode::Pong) => {
                anyhow::bail!("{other:?} came, of {} bytes", payload.len())
            }
        }
        match self.talk {
            Talk::Echo => self.returned(payload, payload.len() == self.size)?,
            Talk::Ably => {
                let Some(data) = self.delivered(Said::parse(payload)?, out)? else { return Ok(()) };
                self.returned(data, data.len() >= DIGITS)?;
            }
        }
        if again {
            self.send(out);
        }
        Ok(())
    }

    /// What the service delivered, where it is that.
    fn delivered<'a>(&mut self, said: Said<'a>, out: &mut Vec<u8>) -> Result<Option<&'a [u8]>> {
        match said {
            Said::Delivery(data) => return Ok(Some(data)),
            Said::Connected => ably::attach(self.mask, out),
            Said::Attached => self.ready = true,
            Said::Ack { first, count } => {
                ensure!(first == self.acknowledged, "an ACK from {first}, not {}", self.acknowledged);
                self.acknowledged += count;
                ensure!(self.acknowledged <= self.sent, "an ACK of what was not sent");
            }
        }
        Ok(None)
    }

    /// Is this the message that should come back now?
    fn returned(&mut self, text: &[u8], whole: bool) -> Result<()> {
        self.number(self.answered);
        ensure!(whole && self.text.starts_with(text), "message {} came back as another", self.answered);
        self.answered += 1;
        Ok(())
    }
}
