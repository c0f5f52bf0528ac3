//! Ably's two formats, as far as the benchmark writes and finds in them: JSON and MessagePack.
//!
//! Texts are letters and digits, so nothing has to be escaped. What is looked for is found by its key,
//! wherever that stands: no text here looks like a key.

use serde::{Deserialize, Serialize};

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Format {
    Json,
    Msgpack,
}

/// What is to be written.
pub(super) enum Value<'a> {
    Number(u64),
    Text(&'a [u8]),
    List(&'a [Self]),
    Object(&'a [(&'a str, Self)]),
}

impl Format {
    pub(super) fn write(self, value: &Value<'_>, out: &mut Vec<u8>) {
        match (self, value) {
            (Self::Json, Value::Number(number)) => out.extend_from_slice(number.to_string().as_bytes()),
            (Self::Json, Value::Text(text)) => {
                out.push(b'"');
                out.extend_from_slice(text);
                out.push(b'"');
            }
            (Self::Json, Value::List(items)) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    out.extend_from_slice(if at > 0 { b"," } else { b"" });
                    self.write(item, out);
                }
                out.push(b']');
            }
            (Self::Json, Value::Object(entries)) => {
                out.push(b'{');
                for (at, (key, item)) in entries.iter().enumerate() {
                    out.extend_from_slice(if at > 0 { b"," } else { b"" });
                    self.key(key, out);
                    self.write(item, out);
                }
                out.push(b'}');
            }
            (Self::Msgpack, Value::Number(number)) => put_number(*number, out),
            (Self::Msgpack, Value::Text(text)) => {
                put_header(text.len(), out);
                out.extend_from_slice(text);
            }
            (Self::Msgpack, Value::List(items)) => {
                out.push(0x90 | items.len() as u8);
                items.iter().for_each(|item| self.write(item, out));
            }
            (Self::Msgpack, Value::Object(entries)) => {
                out.push(0x80 | entries.len() as u8);
                for (key, item) in *entries {
                    self.key(key, out);
                    self.write(item, out);
                }
            }
        }
    }

    fn key(self, key: &str, out: &mut Vec<u8>) {
        self.write(&Value::Text(key.as_bytes()), out);
        if self == Self::Json {
            out.push(b':');
        }
    }

    /// Bytes that a text of this length takes beside those of an empty one.
    pub(super) fn text_costs(self, length: usize) -> usize {
        let mut header = Vec::new();
        put_header(length, &mut header);
        length + if self == Self::Msgpack { header.len() - 1 } else { 0 }
    }

    /// The text behind the first place of this key.
    pub(super) fn text<'a>(self, payload: &'a [u8], key: &str) -> Option<&'a [u8]> {
        let value = self.behind(payload, key, false)?;
        match self {
            Self::Json => value.strip_prefix(b"\"")?.split(|byte| *byte == b'"').next(),
            Self::Msgpack => {
                let (wide, length) = match value {
                    [short @ 0xa0..=0xbf, ..] => (1, usize::from(short & 0x1f)),
                    [0xd9, a, ..] => (2, usize::from(*a)),
                    [0xda, a, b, ..] => (3, usize::from(u16::from_be_bytes([*a, *b]))),
                    _ => return None,
                };
                value.get(wide..wide + length)
            }
        }
    }

    /// The number behind the first place of this key.
    pub(super) fn number(self, payload: &[u8], key: &str) -> Option<u64> {
        self.read_number(self.behind(payload, key, false)?)
    }

    /// The number behind the last place of this key: a serial stands behind what may be a lot of data.
    pub(super) fn last_number(self, payload: &[u8], key: &str) -> Option<u64> {
        self.read_number(self.behind(payload, key, true)?)
    }

    fn read_number(self, value: &[u8]) -> Option<u64> {
        match (self, value) {
            (Self::Json, _) => {
                let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
                Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
            }
            (Self::Msgpack, [small @ 0..=0x7f, ..]) => Some(u64::from(*small)),
            (Self::Msgpack, [0xcc, a, ..]) => Some(u64::from(*a)),
            (Self::Msgpack, [0xcd, a, b, ..]) => Some(u64::from(u16::from_be_bytes([*a, *b]))),
            (Self::Msgpack, [0xce, a, b, c, d, ..]) => Some(u64::from(u32::from_be_bytes([*a, *b, *c, *d]))),
            (Self::Msgpack, _) => None,
        }
    }

    fn behind<'a>(self, payload: &'a [u8], key: &str, from_the_end: bool) -> Option<&'a [u8]> {
        let mut sought = Vec::with_capacity(key.len() + 3);
        self.key(key, &mut sought);
        let mut places = payload.windows(sought.len());
        let is_it = |place: &[u8]| place == sought;
        let at = if from_the_end { places.rposition(is_it) } else { places.position(is_it) };
        Some(&payload[at? + sought.len()..])
    }
}

/// The header of a MessagePack text.
fn put_header(length: usize, out: &mut Vec<u8>) {
    match length {
        0..=31 => out.push(0xa0 | length as u8),
        32..=0xff => out.extend_from_slice(&[0xd9, length as u8]),
        _ => {
            out.push(0xda);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
}

/// A MessagePack number, which is below 2^32 here.
fn put_number(number: u64, out: &mut Vec<u8>) {
    match number {
        0..=0x7f => out.push(number as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, number as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        _ => {
            out.push(0xce);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
    }
}
