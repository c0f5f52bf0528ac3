//! The text of a message: its number in sixteen digits, and letters up to its size; or the same as a message in JSON.
//!
//! Both ends know the text of message *n* without being told: a message that is lost, doubled, cut short or
//! changed is found by the end that takes it.

/// Digits of the number.
pub(crate) const DIGITS: usize = 16;

/// What stands around a text in JSON.
const BEFORE: &[u8] = b"{\"id\":\"1\",\"type\":\"next\",\"payload\":\"";
const BEHIND: &[u8] = b"\"}";

/// The texts of one connection.
pub(crate) struct Text {
    bytes: Vec<u8>,
    /// Where the number stands.
    at: usize,
}

impl Text {
    /// Messages of `size` bytes, and of the digits at least. Connections differ in their letters.
    pub(crate) fn new(size: usize, connection: u32) -> Self {
        Self { bytes: letters(size.max(DIGITS), connection), at: 0 }
    }

    /// The same, as a message of GraphQL over WebSocket.
    pub(crate) fn in_json(size: usize, connection: u32) -> Self {
        let inner = size.saturating_sub(BEFORE.len() + BEHIND.len()).max(DIGITS);
        Self { bytes: [BEFORE, &letters(inner, connection), BEHIND].concat(), at: BEFORE.len() }
    }

    /// The text of message `number`.
    pub(crate) fn numbered(&mut self, number: u64) -> &[u8] {
        for (at, digit) in self.bytes[self.at..][..DIGITS].iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(number >> (4 * (DIGITS - 1 - at))) as usize & 15];
        }
        &self.bytes
    }
}

fn letters(size: usize, connection: u32) -> Vec<u8> {
    (b'a'..=b'z').cycle().skip(connection as usize % 26).take(size).collect()
}
