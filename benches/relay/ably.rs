//! Ably's protocol as far as a relay has to follow it: one channel, publishes, deliveries, ACKs.
//!
//! ```text
//!   generator                            upstream
//!                                    ◄── CONNECTED
//!   ATTACH bench                     ──►
//!                                    ◄── ATTACHED
//!   MESSAGE msgSerial n, data        ──►
//!                                    ◄── MESSAGE channelSerial n, the same data   (and each 16th time an ACK)
//! ```
//!
//! A delivery is as long as the publish that it answers: its longer head takes bytes from the end of the data.

use anyhow::{Context as _, Result, bail, ensure};
use perennial::wire::{Opcode, encode_frame};

/// What a generator dials.
pub(crate) const TARGET: &str = "/?v=2&format=json";
const ATTACH: &[u8] = br#"{"action":10,"channel":"bench"}"#;
const ATTACHED: &[u8] = br#"{"action":11,"flags":983040,"channel":"bench","channelSerial":"bench-0"}"#;
const MESSAGE: &[u8] = br#"{"action":15,"#;
const ACK: &[u8] = br#"{"action":1,"#;
/// Publishes that one ACK covers.
const ACKED_TOGETHER: u64 = 16;
/// Digits that tell which message it is: the start of the data.
pub(crate) const DIGITS: usize = 16;

/// The service's side of one connection.
pub(crate) struct Service {
    id: u64,
    /// The first publish that has no ACK.
    unacked: u64,
}

impl Service {
    pub(crate) fn new(id: u64) -> Self {
        Self { id, unacked: 0 }
    }

    pub(crate) fn greet(&self, out: &mut Vec<u8>) {
        let id = self.id;
        let connected = format!(
            r#"{{"action":4,"connectionId":"conn{id}","connectionDetails":{{"connectionKey":"conn{id}!key","maxMessageSize":65536,"maxInboundRate":50,"maxOutboundRate":100,"maxFrameSize":524288,"serverId":"bench.1","connectionStateTtl":120000,"maxIdleInterval":0}}}}"#
        );
        encode_frame(Opcode::Text, connected.as_bytes(), None, out);
    }

    pub(crate) fn answer(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<()> {
        if payload == ATTACH {
            encode_frame(Opcode::Text, ATTACHED, None, out);
            return Ok(());
        }
        ensure!(payload.starts_with(MESSAGE), "not a publish: {}", String::from_utf8_lossy(payload));
        let data = until_quote(after(payload, br#""data":""#).context("a publish without data")?);
        let serial = number(after(payload, br#""msgSerial":"#).context("a publish without a serial")?);
        let mut delivery =
            format!(r#"{{"action":15,"channel":"bench","channelSerial":"bench-{serial}","messages":[{{"name":"e","data":""#)
                .into_bytes();
        let end = br#""}]}"#;
        let room = payload.len().saturating_sub(delivery.len() + end.len()).clamp(DIGITS, data.len());
        delivery.extend_from_slice(&data[..room]);
        delivery.extend_from_slice(end);
        encode_frame(Opcode::Text, &delivery, None, out);
        if serial.is_multiple_of(ACKED_TOGETHER) {
            let (first, count) = (self.unacked, serial + 1 - self.unacked);
            let ack = format!(r#"{{"action":1,"msgSerial":{first},"count":{count}}}"#);
            encode_frame(Opcode::Text, ack.as_bytes(), None, out);
            self.unacked = serial + 1;
        }
        Ok(())
    }
}

/// What a frame of the service is to the generator.
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
    pub(crate) fn parse(payload: &'a [u8]) -> Result<Self> {
        if payload.starts_with(MESSAGE) {
            let data = until_quote(after(payload, br#""data":""#).context("a delivery without data")?);
            return Ok(Self::Delivery(data));
        }
        if payload.starts_with(ACK) {
            let first = number(after(payload, br#""msgSerial":"#).context("an ACK without a serial")?);
            let count = number(after(payload, br#""count":"#).context("an ACK without a count")?);
            return Ok(Self::Ack { first, count });
        }
        if payload == ATTACHED {
            return Ok(Self::Attached);
        }
        if payload.starts_with(br#"{"action":4,"#) {
            return Ok(Self::Connected);
        }
        bail!("the service said {}", String::from_utf8_lossy(payload))
    }
}

pub(crate) fn attach(mask: [u8; 4], out: &mut Vec<u8>) {
    encode_frame(Opcode::Text, ATTACH, Some(mask), out);
}

/// A publish of `size` bytes, whose data begins as `text` does.
pub(crate) fn publish(serial: u64, text: &[u8], size: usize, mask: [u8; 4], out: &mut Vec<u8>) {
    let mut payload = br#"{"action":15,"channel":"bench","messages":[{"name":"e","data":""#.to_vec();
    let end = format!(r#""}}],"msgSerial":{serial}}}"#);
    let room = size.saturating_sub(payload.len() + end.len()).clamp(DIGITS, text.len());
    payload.extend_from_slice(&text[..room]);
    payload.extend_from_slice(end.as_bytes());
    encode_frame(Opcode::Text, &payload, Some(mask), out);
}

fn after<'a>(bytes: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    // A serial stands at the end, behind what may be a lot of data.
    let at = if key.starts_with(br#""data"#) {
        bytes.windows(key.len()).position(|part| part == key)
    } else {
        bytes.windows(key.len()).rposition(|part| part == key)
    }?;
    Some(&bytes[at + key.len()..])
}

fn until_quote(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == b'"').next().unwrap_or_default()
}

fn number(bytes: &[u8]) -> u64 {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}
