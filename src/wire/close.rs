//! The end of a WebSocket: code and reason (RFC 6455 §7.4).

use super::Violation;

/// A Close as it stands on the wire; `code` is `None` where the frame was empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Close {
    pub code: Option<u16>,
    pub reason: String,
}

impl Close {
    pub const GOING_AWAY: u16 = 1001;
    pub const PROTOCOL: u16 = 1002;
    pub const INVALID_TEXT: u16 = 1007;
    pub const POLICY: u16 = 1008;
    pub const TOO_BIG: u16 = 1009;
    pub const INTERNAL: u16 = 1011;
    pub const TRY_AGAIN: u16 = 1013;

    /// A Close of Perennial's own. The reason is cut at 123 bytes, the most that a frame can hold.
    pub fn new(code: u16, reason: &str) -> Self {
        let mut end = reason.len().min(123);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Self { code: Some(code), reason: reason[..end].to_owned() }
    }

    /// Reads the payload of a Close frame, unmasked.
    pub fn parse(payload: &[u8]) -> Result<Self, Violation> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return if payload.is_empty() { Ok(Self::default()) } else { Err(Violation::CloseTooShort) };
        };
        let code = u16::from_be_bytes(*code);
        if !is_allowed(code) {
            return Err(Violation::CloseCode(code));
        }
        let reason = std::str::from_utf8(reason).map_err(|_| Violation::CloseReason)?;
        Ok(Self { code: Some(code), reason: reason.to_owned() })
    }

    /// The payload of the Close frame.
    pub fn payload(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(code) = self.code {
            bytes.extend_from_slice(&code.to_be_bytes());
            bytes.extend_from_slice(self.reason.as_bytes());
        }
        bytes
    }
}

/// May this code stand in a Close frame? 1004 to 1006 and 1015 are reserved (§7.4.1).
fn is_allowed(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_stand_on_the_wire_is_refused() {
        for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
            assert_eq!(Close::parse(&code.to_be_bytes()), Err(Violation::CloseCode(code)));
        }
        assert_eq!(Close::parse(&[3]), Err(Violation::CloseTooShort));
        assert_eq!(Close::parse(&[3, 232, 0xff]), Err(Violation::CloseReason));
    }

    #[test]
    fn a_close_comes_back_as_it_went() {
        for close in [Close::default(), Close::new(1000, ""), Close::new(4001, "späte Züge")] {
            assert_eq!(Close::parse(&close.payload()), Ok(close));
        }
        let long = Close::new(1008, &"ü".repeat(100));
        assert!(long.payload().len() <= 125 && Close::parse(&long.payload()).is_ok());
    }
}
