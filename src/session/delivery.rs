//! What a peer was sent, and what it has shown that it read.
//!
//! ```text
//!   messages   1 2 3 │ 4 5 6 7 │ 8      a Ping carries the number of messages before it
//!              Ping(3)─┘  Ping(7)┘      Pong(3): 1 to 3 were read; 4 to 8 are in doubt
//! ```
//!
//! Rules:
//! 1. A message counts when it is sent on, not when it came.
//! 2. Only a Pong with the number of one of our Pings shows anything. A Pong that nobody asked for is allowed
//!    (RFC 6455 §5.5.3), and says nothing of messages.
//! 3. A message is counted as in doubt once.

/// One direction of one connection.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivery {
    sent: u64,
    read: u64,
}

impl Delivery {
    /// So many more messages were sent on.
    pub(super) fn sends(&mut self, messages: u64) {
        self.sent = self.sent.saturating_add(messages);
    }

    /// The number that a Ping carries now.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// The peer has read so many.
    pub(super) fn reads(&mut self, messages: u64) {
        self.read = self.read.max(messages.min(self.sent));
    }

    /// The peer has read all of them: it answered a Close that stood behind them.
    pub(super) fn reads_all(&mut self) {
        self.read = self.sent;
    }

    /// Messages that nothing shows to be read; from now on they are accounted for.
    pub(super) fn take_doubt(&mut self) -> u64 {
        let doubt = self.sent - self.read;
        self.read = self.sent;
        doubt
    }

    /// Is everything read, as far as is known?
    pub(super) fn is_all_read(&self) -> bool {
        self.sent == self.read
    }
}
