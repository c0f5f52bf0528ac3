//! The two formats of a ProtocolMessage, read in place by key and written again where they must change.
//!
//! ```text
//!   bytes ─► fields()  ─► (key, raw value)…      nothing is decoded that nobody asked for
//!   entries ─► Map     ─► bytes                  raw values are copied as they stood
//! ```
//!
//! Rules: the format is told by the bytes, never by the opcode: ably-java sends JSON in binary frames. Keys come in
//! any order; unknown ones are kept; integers may have any width, be floats, or be null (fact sheet §8, codec
//! notes); one object for each message, nothing behind it.

use std::{borrow::Cow, ops::ControlFlow};

use serde::{Deserialize, Deserializer, de::Visitor};

use super::msgpack;
use crate::{
    dialect::{Request, json},
    wire::{Kind, Message, Payload},
};

/// How a ProtocolMessage is written (RTN2a).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Json,
    Msgpack,
}

/// How the messages of a connection are written: their format, and the opcode of their frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    pub format: Format,
    pub kind: Kind,
}

/// An entry of an object: its key, and its value as it stands.
pub(super) type Field<'a> = (Cow<'a, str>, &'a [u8]);

impl Style {
    pub(super) const JSON: Self = Self { format: Format::Json, kind: Kind::Text };
    pub(super) const MSGPACK: Self = Self { format: Format::Msgpack, kind: Kind::Binary };

    /// The one that a client asks for (RTN2a).
    pub(super) fn asked(request: &Request) -> Option<Self> {
        match request.parameter("format").as_deref() {
            Some("json") => Some(Self::JSON),
            Some("msgpack") => Some(Self::MSGPACK),
            _ => None,
        }
    }

    /// That of a message; `None` if it is written in neither format.
    pub(super) fn of(message: Message<'_>) -> Option<Self> {
        Some(Self { format: Format::of(message.payload)?, kind: message.kind })
    }
}

impl Format {
    /// That of these bytes; `None` if no object begins here. No MessagePack map begins as JSON may, and no JSON as
    /// a MessagePack map does.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes.trim_ascii_start().first()? {
            b'{' => Some(Self::Json),
            _ => matches!(bytes[0], 0x80..=0x8f | 0xde | 0xdf).then_some(Self::Msgpack),
        }
    }

    /// Shows each entry of the object that `bytes` are, until one is the last that counts; `None` if they are no whole
    /// object, whatever was shown.
    pub(super) fn each_until<'a>(
        self,
        bytes: &'a [u8],
        show: impl FnMut(Cow<'a, [u8]>, &'a [u8]) -> ControlFlow<()>,
    ) -> Option<()> {
        match self {
            Self::Json => json::each(bytes, show),
            Self::Msgpack => msgpack::each(bytes, show),
        }
    }

    /// Shows each entry.
    pub(super) fn each<'a>(
        self,
        bytes: &'a [u8],
        mut show: impl FnMut(Cow<'a, [u8]>, &'a [u8]),
    ) -> Option<()> {
        self.each_until(bytes, |key, value| {
            show(key, value);
            ControlFlow::Continue(())
        })
    }

    /// The entries of the object that `bytes` are.
    pub(super) fn fields(self, bytes: &[u8]) -> Option<Vec<Field<'_>>> {
        let mut fields = Vec::new();
        self.each(bytes, |key, value| fields.push((as_text(key), value)))?;
        fields.into_iter().map(|(key, value)| Some((key?, value))).collect()
    }

    /// The elements of the array that `bytes` are.
    pub(super) fn elements(self, bytes: &[u8]) -> Option<Vec<&[u8]>> {
        match self {
            Self::Json => json::elements(bytes),
            Self::Msgpack => msgpack::elements(bytes),
        }
    }

    /// Does a raw value stand for nothing?
    pub(super) fn is_null(self, bytes: &[u8]) -> bool {
        bytes
            == match self {
                Self::Json => &b"null"[..],
                Self::Msgpack => &[0xc0],
            }
    }

    /// A raw value as text.
    pub(super) fn text(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Self::Json => json::text(bytes),
            Self::Msgpack => msgpack::text(bytes).map(Cow::Borrowed),
        }
    }

    /// A raw value as a whole number.
    pub(super) fn uint(self, bytes: &[u8]) -> Option<u64> {
        match self {
            Self::Json => digits(bytes).or_else(|| serde_json::from_slice::<Uint>(bytes).ok()?.0),
            Self::Msgpack => match bytes {
                [small @ 0..=0x7f] => Some(u64::from(*small)),
                wide => rmp_serde::from_slice::<Uint>(wide).ok()?.0,
            },
        }
    }
}

fn as_text(key: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    Some(match key {
        Cow::Borrowed(key) => Cow::Borrowed(std::str::from_utf8(key).ok()?),
        Cow::Owned(key) => Cow::Owned(String::from_utf8(key).ok()?),
    })
}

/// A number as most are written: short, and digits only.
fn digits(bytes: &[u8]) -> Option<u64> {
    if bytes.len() >= 19 {
        return None;
    }
    bytes.iter().try_fold(0, |number: u64, byte| match byte {
        b'0'..=b'9' => Some(number * 10 + u64::from(byte - b'0')),
        _ => None,
    })
}

/// An object that is being written.
pub(super) struct Map {
    format: Format,
    entries: u32,
    body: Vec<u8>,
}

impl Map {
    pub(super) fn new(format: Format) -> Self {
        Self { format, entries: 0, body: Vec::with_capacity(64) }
    }

    /// A ProtocolMessage of this action.
    pub(super) fn action(format: Format, action: u64) -> Self {
        Self::new(format).uint("action", action)
    }

    fn key(&mut self, key: &str) {
        match self.format {
            Format::Json => {
                if self.entries > 0 {
                    self.body.push(b',');
                }
                json_text(key, &mut self.body);
                self.body.push(b':');
            }
            Format::Msgpack => msgpack::put_text(key, &mut self.body),
        }
        self.entries += 1;
    }

    /// A value as it stood.
    pub(super) fn raw(mut self, key: &str, value: &[u8]) -> Self {
        self.key(key);
        self.body.extend_from_slice(value);
        self
    }

    pub(super) fn uint(mut self, key: &str, value: u64) -> Self {
        self.key(key);
        match self.format {
            Format::Json => self.body.extend_from_slice(value.to_string().as_bytes()),
            Format::Msgpack => msgpack::put_uint(value, &mut self.body),
        }
        self
    }

    pub(super) fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        match self.format {
            Format::Json => json_text(value, &mut self.body),
            Format::Msgpack => msgpack::put_text(value, &mut self.body),
        }
        self
    }

    pub(super) fn map(self, key: &str, value: Self) -> Self {
        let value = value.bytes();
        self.raw(key, &value)
    }

    pub(super) fn array<'a>(self, key: &str, values: impl ExactSizeIterator<Item = &'a [u8]>) -> Self {
        let mut bytes = Vec::new();
        match self.format {
            Format::Json => {
                bytes.push(b'[');
                for (i, value) in values.enumerate() {
                    if i > 0 {
                        bytes.push(b',');
                    }
                    bytes.extend_from_slice(value);
                }
                bytes.push(b']');
            }
            Format::Msgpack => {
                msgpack::put_array_header(values.len(), &mut bytes);
                values.for_each(|value| bytes.extend_from_slice(value));
            }
        }
        self.raw(key, &bytes)
    }

    /// The object as it stands on the wire.
    pub(super) fn bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 5);
        match self.format {
            Format::Json => {
                out.push(b'{');
                out.extend_from_slice(&self.body);
                out.push(b'}');
            }
            Format::Msgpack => {
                msgpack::put_map_header(self.entries as usize, &mut out);
                out.extend_from_slice(&self.body);
            }
        }
        out
    }

    /// The same as a message, in frames of this opcode.
    pub(super) fn payload(self, kind: Kind) -> Payload {
        Payload { kind, bytes: self.bytes().into_boxed_slice() }
    }
}

fn json_text(text: &str, out: &mut Vec<u8>) {
    // Writing a string into a `Vec` cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// A whole number of any width; a float without a fraction counts, null is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Uint(pub(super) Option<u64>);

impl<'de> Deserialize<'de> for Uint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyWidth;
        impl<'de> Visitor<'de> for AnyWidth {
            type Value = Uint;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_u64<E>(self, value: u64) -> Result<Uint, E> {
                Ok(Uint(Some(value)))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Uint, E> {
                Ok(Uint(u64::try_from(value).ok()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Uint, E> {
                // 2^53: beyond it a float no longer names one number.
                let whole = value.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&value);
                Ok(Uint(whole.then_some(value as u64)))
            }

            fn visit_unit<E>(self) -> Result<Uint, E> {
                Ok(Uint(None))
            }
        }
        deserializer.deserialize_any(AnyWidth)
    }
}

/// The value of a key: the last one of that name, as every SDK's parser has it.
pub(super) fn last<'a>(fields: &[Field<'a>], name: &str) -> Option<&'a [u8]> {
    fields.iter().rfind(|(key, _)| key == name).map(|(_, value)| *value)
}
