//! The fields of a ProtocolMessage that Perennial looks at (TR2 to TR4), and their numbers.
//!
//! Everything else stays unread.

use std::{borrow::Cow, ops::ControlFlow};

use super::codec::Format;

/// TR2: what a message is.
pub(super) mod action {
    pub(in super::super) const HEARTBEAT: u64 = 0;
    pub(in super::super) const ACK: u64 = 1;
    pub(in super::super) const NACK: u64 = 2;
    pub(in super::super) const CONNECTED: u64 = 4;
    pub(in super::super) const DISCONNECT: u64 = 5;
    pub(in super::super) const DISCONNECTED: u64 = 6;
    pub(in super::super) const CLOSE: u64 = 7;
    pub(in super::super) const CLOSED: u64 = 8;
    pub(in super::super) const ERROR: u64 = 9;
    pub(in super::super) const ATTACH: u64 = 10;
    pub(in super::super) const ATTACHED: u64 = 11;
    pub(in super::super) const DETACH: u64 = 12;
    pub(in super::super) const DETACHED: u64 = 13;
    pub(in super::super) const PRESENCE: u64 = 14;
    pub(in super::super) const MESSAGE: u64 = 15;
    pub(in super::super) const SYNC: u64 = 16;
    pub(in super::super) const AUTH: u64 = 17;
    pub(in super::super) const OBJECT: u64 = 19;
    pub(in super::super) const ANNOTATION: u64 = 21;
}

/// TR3: others are present on the channel.
pub(super) const HAS_PRESENCE: u64 = 1;
/// TR3: ATTACHED says that the channel goes on from the given serial.
pub(super) const RESUMED: u64 = 4;
/// TR3: the channel holds Objects, whose state is synchronised on ATTACHED.
pub(super) const HAS_OBJECTS: u64 = 128;

/// What is read of a message: where its fields are. A field is decoded when it is asked for, which for most is never.
/// A value of the wrong type counts as absent: what a parser makes of it is its own affair.
#[derive(Debug, Default)]
pub(super) struct Head<'a> {
    pub format: Format,
    pub action: Option<u64>,
    /// It carries credentials, in whatever spelling of the key a parser might take.
    pub has_auth: bool,
    channel: Option<&'a [u8]>,
    channel_serial: Option<&'a [u8]>,
    msg_serial: Option<&'a [u8]>,
    count: Option<&'a [u8]>,
    flags: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    connection_id: Option<&'a [u8]>,
    details: Option<&'a [u8]>,
    error: Option<&'a [u8]>,
}

/// CD2: what the service says of a connection.
#[derive(Debug, Default)]
pub(super) struct Details<'a> {
    pub client_id: Option<Cow<'a, str>>,
    pub key: Option<Cow<'a, str>>,
    /// Milliseconds; 0 promises nothing (CD2h).
    pub max_idle: Option<u64>,
    /// Messages a second; 0 names no limit.
    pub max_inbound_rate: Option<u64>,
}

/// TI1: why something failed.
#[derive(Debug, Default)]
pub(super) struct ErrorInfo<'a> {
    pub code: Option<u64>,
    pub status: Option<u64>,
    pub message: Option<Cow<'a, str>>,
}

impl<'a> Head<'a> {
    /// Reads the head; `None` if the bytes are no ProtocolMessage. The last of two equal keys counts, as it does for
    /// the SDKs' parsers and the service's.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        Self::read_until(bytes, |_| false)
    }

    /// The same for a message of the service's, which repeats no key: behind the serial of a delivery nothing is read.
    pub(super) fn of_service(bytes: &'a [u8]) -> Option<Self> {
        Self::read_until(bytes, |head| {
            head.channel_serial.is_some()
                && head.channel.is_some()
                && matches!(head.action, Some(action::MESSAGE | action::ANNOTATION | action::OBJECT))
        })
    }

    fn read_until(bytes: &'a [u8], is_enough: impl Fn(&Self) -> bool) -> Option<Self> {
        let format = Format::of(bytes)?;
        let mut head = Self { format, ..Self::default() };
        format.each_until(bytes, |key, value| {
            head.take(&key, value);
            if is_enough(&head) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Some(head)
    }

    fn take(&mut self, key: &[u8], value: &'a [u8]) {
        match key {
            b"action" => self.action = self.format.uint(value),
            b"channel" => self.channel = Some(value),
            b"channelSerial" => self.channel_serial = Some(value),
            b"msgSerial" => self.msg_serial = Some(value),
            b"count" => self.count = Some(value),
            b"flags" => self.flags = Some(value),
            b"id" => self.id = Some(value),
            b"connectionId" => self.connection_id = Some(value),
            b"connectionDetails" => self.details = Some(value),
            b"error" => self.error = Some(value),
            key if key.eq_ignore_ascii_case(b"auth") => self.has_auth |= !self.format.is_null(value),
            _ => {}
        }
    }

    fn text(&self, value: Option<&'a [u8]>) -> Option<Cow<'a, str>> {
        self.format.text(value?)
    }

    fn uint(&self, value: Option<&'a [u8]>) -> Option<u64> {
        self.format.uint(value?)
    }

    /// The channel's name; an absent one, a null and an empty one are alike.
    pub(super) fn channel(&self) -> Option<Cow<'a, str>> {
        self.text(self.channel).filter(|name| !name.is_empty())
    }

    pub(super) fn channel_serial(&self) -> Option<Cow<'a, str>> {
        self.text(self.channel_serial)
    }

    pub(super) fn msg_serial(&self) -> Option<u64> {
        self.uint(self.msg_serial)
    }

    /// How many messages from [`Head::msg_serial`] on are meant.
    pub(super) fn count(&self) -> Option<u64> {
        self.uint(self.count)
    }

    pub(super) fn flag(&self, bit: u64) -> bool {
        self.uint(self.flags).is_some_and(|flags| flags & bit != 0)
    }

    pub(super) fn id(&self) -> Option<Cow<'a, str>> {
        self.text(self.id)
    }

    pub(super) fn connection_id(&self) -> Option<Cow<'a, str>> {
        self.text(self.connection_id)
    }

    /// With nothing in them if there are none.
    pub(super) fn details(&self) -> Details<'a> {
        self.details.and_then(|details| Details::read(self.format, details)).unwrap_or_default()
    }

    /// With nothing in it if there is none.
    pub(super) fn error(&self) -> ErrorInfo<'a> {
        self.error.and_then(|error| ErrorInfo::read(self.format, error)).unwrap_or_default()
    }
}

impl<'a> Details<'a> {
    fn read(format: Format, bytes: &'a [u8]) -> Option<Self> {
        let mut details = Self::default();
        format.each(bytes, |key, value| match &*key {
            b"clientId" => details.client_id = format.text(value),
            b"connectionKey" => details.key = format.text(value),
            b"maxIdleInterval" => details.max_idle = format.uint(value),
            b"maxInboundRate" => details.max_inbound_rate = format.uint(value),
            _ => {}
        })?;
        Some(details)
    }
}

impl<'a> ErrorInfo<'a> {
    fn read(format: Format, bytes: &'a [u8]) -> Option<Self> {
        let mut error = Self::default();
        format.each(bytes, |key, value| match &*key {
            b"code" => error.code = format.uint(value),
            b"statusCode" => error.status = format.uint(value),
            b"message" => error.message = format.text(value),
            _ => {}
        })?;
        Some(error)
    }

    pub(super) fn code(&self) -> u64 {
        self.code.unwrap_or_default()
    }

    /// RSA4b: the token ended, and a new one will do.
    pub(super) fn is_of_token(&self) -> bool {
        (40140..40150).contains(&self.code())
    }

    /// The token that was just offered will not do: it is invalid, or not one for this connection. Other
    /// codes from 40100 on speak of the account or of its limits, and cost nobody a token.
    pub(super) fn is_of_offered_token(&self) -> bool {
        matches!(self.code(), 40101 | 40102 | 40130..=40149)
    }

    /// Too much is asked of the service, or it has a fault of its own: that passes, whatever the code.
    pub(super) fn passes(&self) -> bool {
        matches!(self.code(), 42900..=42999 | 50000..=59999) || matches!(self.status, Some(429 | 500..=599))
    }

    /// For a log: the code, and what the service says of it.
    pub(super) fn describe(&self) -> String {
        let message = self.message.as_deref().unwrap_or_default();
        // A service's text could quote the token; its first words are enough for an operator.
        let short: String = message.chars().filter(|c| !c.is_control()).take(80).collect();
        format!("{} {short}", self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn the_samples_of_both_formats_read_alike() {
        // Fact sheet §8: MESSAGE delivery, as JSON and as the SDK's own codec writes it.
        let json = br#"{"action":15,"id":"connidA:0","connectionId":"connidA","timestamp":1700000000000,"channel":"foo","channelSerial":"serial-1","messages":[{"name":"event","data":"hello","action":0,"size":10}]}"#;
        let msgpack = hex(
            "87a6616374696f6e0fa26964a9636f6e6e6964413a30ac636f6e6e656374696f6e4964a7636f6e6e696441a974696d657374616d70cf0000018bcfe56800a76368616e6e656ca3666f6fad6368616e6e656c53657269616ca873657269616c2d31a86d657373616765739184a46e616d65a56576656e74a464617461a568656c6c6fa6616374696f6e00a473697a650a",
        );
        for (format, bytes) in [(Format::Json, &json[..]), (Format::Msgpack, &msgpack)] {
            let head = Head::read(bytes).unwrap();
            assert_eq!((head.format, head.action), (format, Some(action::MESSAGE)));
            assert_eq!(head.channel().as_deref(), Some("foo"));
            assert_eq!(head.channel_serial().unwrap(), "serial-1");
            assert_eq!(head.connection_id().unwrap(), "connidA");
        }
    }

    #[test]
    fn of_a_delivery_nothing_is_read_behind_its_serial() {
        let delivery = br#"{"action":15,"channel":"foo","channelSerial":"s","messages":[{"da"#;
        let head = Head::of_service(delivery).unwrap();
        assert_eq!((head.channel().as_deref(), head.channel_serial().as_deref()), (Some("foo"), Some("s")));
        assert!(Head::read(delivery).is_none(), "a client's message is read to its end");
        // What else the service says is read to its end, too.
        assert!(
            Head::of_service(br#"{"action":14,"channel":"foo","channelSerial":"s","presence":[{"#).is_none()
        );
        let late = br#"{"action":15,"messages":[{"data":"x"}],"channelSerial":"s","channel":"foo"}"#;
        assert_eq!(Head::of_service(late).unwrap().channel().as_deref(), Some("foo"));
    }

    #[test]
    fn order_width_floats_and_nulls_do_not_matter() {
        let json = br#"{"msgSerial":7.0,"channel":null,"error":null,"x":[{"action":1}],"flags":null,"action":1.5e1}"#;
        let head = Head::read(json).unwrap();
        assert_eq!((head.action, head.msg_serial(), head.channel()), (Some(15), Some(7), None));
        // The same number as uint64, int8 and float64.
        for value in ["cf000000000000000f", "d00f", "cb402e000000000000"] {
            let bytes = hex(&format!("81a6616374696f6e{value}"));
            assert_eq!(Head::read(&bytes).unwrap().action, Some(15));
        }
        let ext = hex("82a178d40000a6616374696f6e11");
        assert_eq!(Head::read(&ext).unwrap().action, Some(action::AUTH));
        assert!(Head::read(b"[15]").is_none());
        assert!(Head::read(&hex("910f")).is_none());
        assert!(Head::read(b"nonsense").is_none());
    }
}
