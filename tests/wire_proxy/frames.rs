//! One direction's bytes, cut into what a fault can meet: the HTTP head, and then frames.
//!
//! A frame is known by its header alone: its payload passes as it comes, however large it is. What is no
//! WebSocket (a plain request, an answer that is not 101) passes as plain bytes.

use bytes::{Bytes, BytesMut};

/// What passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The connection itself: it counts as something that goes up.
    Connection,
    /// The request, or its answer.
    Head,
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
    /// A frame with an opcode that RFC 6455 does not have.
    Unknown,
}

/// A piece of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Something begins: its size is that of the whole, header included.
    Begin(Kind, u64, Bytes),
    /// It goes on.
    More(Bytes),
}

/// Longer than any head.
const HEAD: usize = 64 * 1024;

/// The state between two reads.
#[derive(Debug, Default)]
pub enum Frames {
    #[default]
    Head,
    /// How much of the payload is still to come.
    Frame(u64),
    Plain,
}

impl Frames {
    /// The next piece of what was read, if enough of it is there.
    pub fn take(&mut self, read: &mut BytesMut) -> Option<Part> {
        if read.is_empty() {
            return None;
        }
        match self {
            Self::Plain => Some(Part::More(read.split().freeze())),
            Self::Head => self.head(read),
            Self::Frame(0) => self.frame(read),
            Self::Frame(left) => {
                let now = read.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= now as u64;
                Some(Part::More(read.split_to(now).freeze()))
            }
        }
    }

    fn head(&mut self, read: &mut BytesMut) -> Option<Part> {
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
            if read.len() > HEAD {
                *self = Self::Plain;
            }
            return (read.len() > HEAD).then(|| Part::More(read.split().freeze()));
        };
        let head = read.split_to(end + 4).freeze();
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let answer = text.starts_with("http/");
        let upgrade = if answer { text.contains(" 101 ") } else { text.contains("\r\nupgrade: websocket") };
        *self = if upgrade { Self::Frame(0) } else { Self::Plain };
        Some(Part::Begin(Kind::Head, head.len() as u64, head))
    }

    fn frame(&mut self, read: &mut BytesMut) -> Option<Part> {
        let (first, second) = (*read.first()?, *read.get(1)?);
        let number = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
        let (length, header) = match second & 0x7f {
            126 => (number(read.get(2..4)?), 4),
            127 => (number(read.get(2..10)?), 10),
            short => (u64::from(short), 2),
        };
        let header = header + if second & 0x80 == 0 { 0 } else { 4 };
        if read.len() < header {
            return None;
        }
        *self = Self::Frame(length);
        Some(Part::Begin(kind(first & 0x0f), header as u64 + length, read.split_to(header).freeze()))
    }
}

fn kind(opcode: u8) -> Kind {
    match opcode {
        0 => Kind::Continuation,
        1 => Kind::Text,
        2 => Kind::Binary,
        8 => Kind::Close,
        9 => Kind::Ping,
        10 => Kind::Pong,
        _ => Kind::Unknown,
    }
}
