//! What stands between a WebSocket message and the JSON that rules are about.
//!
//! ```text
//!   message ─ read ─► JSON, one text or several ─► rules ─► what they changed ─ write ─► message
//!      └──────────────── no rule concerns it: it goes on as its bytes ───────────────────────┘
//! ```
//!
//! | codec | a message is |
//! |---|---|
//! | `json` | one JSON text |
//! | `json-batch` | one JSON text; an array is several |
//! | `json-lines` | JSON texts with line breaks between |
//! | `json-records` | JSON texts, each with a 0x1e behind it |
//! | `socketio` | a packet of Engine.IO 4, and of Socket.IO 5 in it (`socketio`) |
//!
//! Rules:
//! 1. A codec is pure, and keeps nothing from one message to the next.
//! 2. It decides by the bytes. Only Socket.IO tells its packets from attachments by the kind of a message.
//! 3. What was read is written as the same message, but for spaces.

mod socketio;

use std::borrow::Cow;

use super::json::{self, place};
use crate::{
    config::dialect::Codec,
    wire::{Kind, Message},
};

/// A message, as its JSON.
#[derive(Debug, PartialEq)]
pub(super) enum Read<'b> {
    /// One text. It may be none: nobody has looked at it yet.
    One(Cow<'b, [u8]>),
    /// Several, in one message.
    Several(Vec<Cow<'b, [u8]>>),
    /// Something else, for example audio.
    Foreign,
    /// It begins like a message of this codec, and is none.
    Unread,
}

impl Read<'_> {
    /// Each of its texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let (one, several) = match self {
            Self::One(one) => (Some(one), &[][..]),
            Self::Several(all) => (None, &all[..]),
            Self::Foreign | Self::Unread => (None, &[][..]),
        };
        one.into_iter().chain(several).map(|text| &**text)
    }
}

/// Reads a message.
pub(super) fn read(codec: Codec, message: Message<'_>) -> Read<'_> {
    let bytes = message.payload;
    match codec {
        Codec::Json => Read::One(Cow::Borrowed(bytes)),
        Codec::JsonBatch if place::opening(bytes) == Some(b'[') => match json::elements(bytes) {
            Some(all) if !all.is_empty() => Read::Several(all.into_iter().map(Cow::Borrowed).collect()),
            Some(_) | None => Read::One(Cow::Borrowed(bytes)),
        },
        Codec::JsonBatch => Read::One(Cow::Borrowed(bytes)),
        Codec::JsonLines => parts(bytes, b'\n'),
        Codec::JsonRecords => parts(bytes, RECORD),
        Codec::SocketIo if message.kind == Kind::Binary => Read::Foreign,
        Codec::SocketIo => socketio::read(bytes),
    }
}

const RECORD: u8 = 0x1e;

fn parts(bytes: &[u8], mark: u8) -> Read<'_> {
    if memchr::memchr(mark, bytes).is_none() {
        return Read::One(Cow::Borrowed(bytes));
    }
    let parts = bytes.split(|byte| *byte == mark).filter(|part| !part.trim_ascii().is_empty());
    let all: Vec<Cow<'_, [u8]>> = parts.map(Cow::Borrowed).collect();
    if all.is_empty() { Read::Foreign } else { Read::Several(all) }
}

/// A message of these texts.
pub(super) fn write(codec: Codec, texts: &[Vec<u8>]) -> Vec<u8> {
    match codec {
        Codec::JsonBatch => [b"[", &texts.join(&b","[..])[..], b"]"].concat(),
        Codec::JsonLines => texts.join(&b'\n'),
        Codec::Json | Codec::JsonRecords | Codec::SocketIo => {
            texts.iter().flat_map(|text| write_one(codec, text.clone())).collect()
        }
    }
}

/// A message of this text alone.
pub(super) fn write_one(codec: Codec, mut text: Vec<u8>) -> Vec<u8> {
    match codec {
        Codec::Json | Codec::JsonBatch | Codec::JsonLines => text,
        Codec::JsonRecords => {
            text.push(RECORD);
            text
        }
        Codec::SocketIo => socketio::write(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(codec: Codec, bytes: &[u8]) -> Vec<String> {
        let read = read(codec, Message { kind: Kind::Text, payload: bytes });
        read.texts().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    #[test]
    fn a_message_is_one_text_or_several() {
        for (codec, bytes, expected) in [
            (Codec::Json, "[1,2]", &["[1,2]"][..]),
            (Codec::JsonBatch, "[1, [2]]", &["1", "[2]"]),
            (Codec::JsonBatch, "{}", &["{}"]),
            (Codec::JsonBatch, "[]", &["[]"]),
            (Codec::JsonLines, "{}", &["{}"]),
            (Codec::JsonLines, "{\"a\":1}\n{\"b\":2}\r\n", &["{\"a\":1}", "{\"b\":2}\r"]),
            (Codec::JsonRecords, "{\"type\":6}\u{1e}", &["{\"type\":6}"]),
            (Codec::JsonRecords, "{}\u{1e}{\"type\":6}\u{1e}", &["{}", "{\"type\":6}"]),
            (Codec::JsonLines, "\n\n", &[]),
        ] {
            assert_eq!(texts(codec, bytes.as_bytes()), expected, "{codec:?} {bytes}");
        }
    }

    #[test]
    fn what_was_read_is_written_again() {
        for (codec, bytes) in [
            (Codec::JsonBatch, "[1,[2]]"),
            (Codec::JsonLines, "{\"a\":1}\n{\"b\":2}"),
            (Codec::JsonRecords, "{}\u{1e}{\"type\":6}\u{1e}"),
            (Codec::SocketIo, "42/a,7[\"x\",{\"y\":1}]"),
        ] {
            let read = read(codec, Message { kind: Kind::Text, payload: bytes.as_bytes() });
            let all: Vec<Vec<u8>> = read.texts().map(<[u8]>::to_vec).collect();
            assert_eq!(String::from_utf8(write(codec, &all)).unwrap(), bytes);
        }
    }
}
