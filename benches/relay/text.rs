//! The text of a message: its number in sixteen digits, and letters up to its size.
//!
//! Both ends know the text of message *n* without being told: a message that is lost, doubled, cut short or
//! changed is found by the end that takes it.

/// Digits of the number.
pub(crate) const DIGITS: usize = 16;

/// The texts of one connection.
pub(crate) struct Text(Vec<u8>);

impl Text {
    /// Messages of `size` bytes, and of the digits at least. Connections differ in their letters.
    pub(crate) fn new(size: usize, connection: u32) -> Self {
        let letters = (b'a'..=b'z').cycle().skip(connection as usize % 26);
        Self(letters.take(size.max(DIGITS)).collect())
    }

    /// The text of message `number`.
    pub(crate) fn numbered(&mut self, number: u64) -> &[u8] {
        for (at, digit) in self.0[..DIGITS].iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(number >> (4 * (DIGITS - 1 - at))) as usize & 15];
        }
        &self.0
    }
}
