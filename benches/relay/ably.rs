//! Ably's protocol as far as a relay has to follow it: one channel, publishes, deliveries, ACKs.
//!
//! ```text
//!   generator                            upstream
//!                                    ◄── CONNECTED
//!   ATTACH bench                     ──►
//!                                    ◄── ATTACHED
//!   MESSAGE msgSerial n, data        ──►
//!                                    ◄── MESSAGE channelSerial n, the same data  (at each 16th an ACK)
//! ```
//!
//! A delivery is as long as the publish that it answers: its longer head takes bytes from the end of the data.

use anyhow::{Context as _, Result, bail};
use perennial::wire::{Opcode, encode_frame};

mod format;

pub(crate) use format::Format;
use format::Value::{List, Number, Object, Text};

use super::text::DIGITS;

/// The actions that are spoken here.
const ACK: u64 = 1;
const CONNECTED: u64 = 4;
const ATTACH: u64 = 10;
const ATTACHED: u64 = 11;
const MESSAGE: u64 = 15;
/// Publishes that one ACK covers.
const ACKED_TOGETHER: u64 = 16;

impl Format {
    /// What a generator dials.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Self::Json => "/?v=2&format=json",
            Self::Msgpack => "/?v=2&format=msgpack",
        }
    }

    /// The one that a generator asks for.
    pub(crate) fn asked(target: &str) -> Self {
        if target.contains("format=msgpack") { Self::Msgpack } else { Self::Json }
    }

    pub(crate) const fn opcode(self) -> Opcode {
        match self {
            Self::Json => Opcode::Text,
            Self::Msgpack => Opcode::Binary,
        }
    }

    fn object(self, entries: &[(&str, format::Value<'_>)]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(256);
        self.write(&Object(entries), &mut payload);
        payload
    }

    fn action(self, payload: &[u8]) -> Result<u64> {
        self.number(payload, "action").context("a message without an action")
    }
}

/// The service's side of one connection.
pub(crate) struct Service {
    format: Format,
    id: u64,
    /// The first publish that has no ACK.
    unacked: u64,
}

impl Service {
    pub(crate) fn new(format: Format, id: u64) -> Self {
        Self { format, id, unacked: 0 }
    }

    pub(crate) fn greet(&self, out: &mut Vec<u8>) {
        let (id, key) = (format!("conn{}", self.id), format!("conn{}!key", self.id));
        let details = [
            ("connectionKey", Text(key.as_bytes())),
            ("maxMessageSize", Number(65536)),
            ("maxInboundRate", Number(50)),
            ("maxOutboundRate", Number(100)),
            ("maxFrameSize", Number(524_288)),
            ("serverId", Text(b"bench.1")),
            ("connectionStateTtl", Number(120_000)),
            ("maxIdleInterval", Number(0)),
        ];
        let connected = [
            ("action", Number(CONNECTED)),
            ("connectionId", Text(id.as_bytes())),
            ("connectionDetails", Object(&details)),
        ];
        self.say(&connected, out);
    }

    fn say(&self, entries: &[(&str, format::Value<'_>)], out: &mut Vec<u8>) {
        encode_frame(self.format.opcode(), &self.format.object(entries), None, out);
    }

    pub(crate) fn answer(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let format = self.format;
        match format.action(payload)? {
            ATTACH => {
                let (flags, serial) = (Number(983_040), Text(b"bench-0"));
                let attached = [
                    ("action", Number(ATTACHED)),
                    ("flags", flags),
                    ("channel", Text(b"bench")),
                    ("channelSerial", serial),
                ];
                self.say(&attached, out);
                return Ok(());
            }
            MESSAGE => {}
            other => bail!("a client said {other}"),
        }
        let data = format.text(payload, "data").context("a publish without data")?;
        let serial = format.last_number(payload, "msgSerial").context("a publish without a serial")?;
        encode_frame(format.opcode(), &delivery(format, serial, data, payload.len()), None, out);
        if serial.is_multiple_of(ACKED_TOGETHER) {
            let (first, count) = (Number(self.unacked), Number(serial + 1 - self.unacked));
            self.say(&[("action", Number(ACK)), ("msgSerial", first), ("count", count)], out);
            self.unacked = serial + 1;
        }
        Ok(())
    }
}

fn delivery(format: Format, serial: u64, data: &[u8], size: usize) -> Vec<u8> {
    let serial = format!("bench-{serial}");
    fitted(format, data, size, |data| {
        format.object(&[
            ("action", Number(MESSAGE)),
            ("channel", Text(b"bench")),
            ("channelSerial", Text(serial.as_bytes())),
            ("messages", List(&[Object(&[("name", Text(b"e")), ("data", Text(data))])])),
        ])
    })
}

/// A publish of `size` bytes, whose data begins as `text` does.
pub(crate) fn publish(
    format: Format,
    serial: u64,
    text: &[u8],
    size: usize,
    mask: [u8; 4],
    out: &mut Vec<u8>,
) {
    let payload = fitted(format, text, size, |data| {
        format.object(&[
            ("action", Number(MESSAGE)),
            ("channel", Text(b"bench")),
            ("messages", List(&[Object(&[("name", Text(b"e")), ("data", Text(data))])])),
            ("msgSerial", Number(serial)),
        ])
    });
    encode_frame(format.opcode(), &payload, Some(mask), out);
}

pub(crate) fn attach(format: Format, mask: [u8; 4], out: &mut Vec<u8>) {
    let attach = format.object(&[("action", Number(ATTACH)), ("channel", Text(b"bench"))]);
    encode_frame(format.opcode(), &attach, Some(mask), out);
}

/// A message with so much of the data that it has `size` bytes.
fn fitted(format: Format, data: &[u8], size: usize, message: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let room = size.saturating_sub(message(b"").len());
    let header = format.text_costs(room) - room;
    let room = room.saturating_sub(header).clamp(DIGITS, data.len());
    message(&data[..room])
}

/// What a message of the service is to the generator.
#[derive(Clone, Copy)]
pub(crate) enum Said<'a> {
    Connected,
    Attached,
    /// The data's start: which message it is.
    Delivery(&'a [u8]),
    /// Publishes from `first` on are acknowledged.
    Ack {
        first: u64,
        count: u64,
    },
}

impl<'a> Said<'a> {
    pub(crate) fn parse(format: Format, payload: &'a [u8]) -> Result<Self> {
        Ok(match format.action(payload)? {
            MESSAGE => Self::Delivery(format.text(payload, "data").context("a delivery without data")?),
            ACK => {
                let first = format.number(payload, "msgSerial").context("an ACK without a serial")?;
                let count = format.number(payload, "count").context("an ACK without a count")?;
                Self::Ack { first, count }
            }
            ATTACHED => Self::Attached,
            CONNECTED => Self::Connected,
            other => bail!("the service said {other}: {}", String::from_utf8_lossy(payload)),
        })
    }
}
