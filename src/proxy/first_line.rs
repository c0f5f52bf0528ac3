//! The first line of a client's connection: bytes that no target may have, and that real clients write there.
//!
//! ```text
//!   GET /ws?filter={"a":1} HTTP/1.1   ──►   GET /ws?filter={%22a%22:1} HTTP/1.1
//! ```
//!
//! They are escaped as a browser escapes them (RFC 3986 §2.1), so that what reads the request finds a URI, and the service
//! the same text. Nothing else is changed: a space or a control character ends the target as before. It is the first
//! line only, since a handshake is the first request of its connection.

/// How far the line has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstLine {
    Method,
    Target,
    Over,
}

impl FirstLine {
    /// The next bytes of the connection as they are to be read; `None`: as they came.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut escaped: Option<Vec<u8>> = None;
        for (at, byte) in bytes.iter().enumerate() {
            *self = match (*self, byte) {
                (Self::Over, _) => break,
                (Self::Method, b' ') => Self::Target,
                (Self::Target, b' ') | (_, b'\r' | b'\n') => Self::Over,
                (own, _) => own,
            };
            let escape = *self == Self::Target && is_escaped(*byte);
            if escape && escaped.is_none() {
                escaped = Some(bytes[..at].to_vec());
            }
            if let Some(out) = &mut escaped {
                match escape {
                    true => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
                    false => out.push(*byte),
                }
            }
            if *self == Self::Over {
                if let Some(out) = &mut escaped {
                    out.extend_from_slice(&bytes[at + 1..]);
                }
                break;
            }
        }
        escaped
    }
}

/// Is this byte refused in a path or a query by those who read them, and escaped by browsers?
fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'`' | 0x80..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passed(pieces: &[&[u8]]) -> String {
        let mut line = FirstLine::Method;
        let all = pieces.iter().map(|piece| line.pass(piece).unwrap_or_else(|| piece.to_vec()));
        String::from_utf8(all.collect::<Vec<_>>().concat()).unwrap()
    }

    #[test]
    fn what_no_target_may_have_is_escaped() {
        assert_eq!(
            passed(&["GET /é?f={\"a\":<1>} HTTP/1.1\r\nX: \"é\"\r\n".as_bytes()]),
            "GET /%C3%A9?f={%22a%22:%3C1%3E} HTTP/1.1\r\nX: \"é\"\r\n"
        );
        assert_eq!(FirstLine::Method.pass(b"GET /a?b=c HTTP/1.1\r\n"), None, "it is not copied");
        assert_eq!(passed(&[b"\"\r\nGET \"\r\n"]), "\"\r\nGET \"\r\n", "not in a second line");
    }

    proptest! {
        #[test]
        fn however_it_is_cut(target in "[a-z/?\"<é]{0,30}", cut in 0..40_usize) {
            let line = format!("GET {target} HTTP/1.1\r\nHost: \"\r\n");
            let (one, two) = line.as_bytes().split_at(cut.min(line.len()));
            prop_assert_eq!(passed(&[one, two]), passed(&[line.as_bytes()]));
        }
    }
}
