//! What everyone speaks: WebSocket frames (RFC 6455), messages, close codes.
//!
//! ```text
//!   bytes of a leg ─► Inbound ─┬─ streaming: Part │ Control          (nobody looks inside)
//!                              └─ whole:     Message │ Control       (a dialect looks inside)
//! ```
//!
//! Rules: a length is believed only after it was checked against the limit; nothing is reserved for
//! bytes that have not come; nothing here does IO or panics.

mod close;
mod frame;
mod inbound;

pub use close::Close;
pub use frame::{Header, MAX_HEADER, Opcode, apply_mask, encode_frame};
pub use inbound::{Inbound, Step, Violation};

/// The two ways a message can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the service.
    Up,
    /// From the service to the client.
    Down,
}

/// What a data message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Text,
    Binary,
}

impl Kind {
    /// The opcode of the message's first frame.
    pub fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }
}

/// A whole message, unmasked, in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    pub kind: Kind,
    pub payload: &'a [u8],
}

/// A whole message of one's own: to be sent, or held.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    pub kind: Kind,
    pub bytes: Box<[u8]>,
}

impl Payload {
    /// The same message, borrowed.
    pub fn as_message(&self) -> Message<'_> {
        Message { kind: self.kind, payload: &self.bytes }
    }
}

impl From<Message<'_>> for Payload {
    fn from(message: Message<'_>) -> Self {
        Self { kind: message.kind, bytes: message.payload.into() }
    }
}

/// A payload may carry a token: its text is never printed.
impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({:?}, {} bytes)", self.kind, self.bytes.len())
    }
}
