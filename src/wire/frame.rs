//! A frame: its header (RFC 6455 §5.2), its mask, and how one is written.

use super::Violation;

/// The longest header: 2 bytes, 8 of length, 4 of mask.
pub const MAX_HEADER: usize = 14;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    /// Close, Ping or Pong: never fragmented, 125 bytes at most, allowed between fragments.
    pub fn is_control(self) -> bool {
        self.bits() >= 0x8
    }
}

/// A frame's header, read and found valid in itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub fin: bool,
    pub opcode: Opcode,
    /// The bits of a data frame that only an extension gives a meaning, where they stand in the first byte.
    pub reserved: u8,
    pub mask: Option<[u8; 4]>,
    /// Bytes of the header itself.
    pub len: usize,
    /// Bytes of the payload that follows.
    pub payload: u64,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` where it is not all there yet.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, Violation> {
        let [first, second, rest @ ..] = bytes else {
            return first_byte_of(bytes);
        };
        let opcode = check_first(*first)?;
        let fin = first & 0x80 != 0;
        let masked = second & 0x80 != 0;
        let (payload, extra) = match (second & 0x7f, rest) {
            (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 2),
            (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 8),
            (126 | 127, _) if !opcode.is_control() => return Ok(None),
            (short, _) => (u64::from(short), 0),
        };
        if opcode.is_control() && (!fin || payload > 125) {
            return Err(Violation::BadControl);
        }
        // §5.2: the minimal number of bytes must be used, and the most significant bit must be 0.
        if (extra == 2 && payload < 126) || (extra == 8 && payload < 65536) || payload >> 63 != 0 {
            return Err(Violation::BadLength);
        }
        let mask = match (masked, rest.get(extra..)) {
            (false, _) => None,
            (true, Some([a, b, c, d, ..])) => Some([*a, *b, *c, *d]),
            (true, _) => return Ok(None),
        };
        let len = 2 + extra + if masked { 4 } else { 0 };
        Ok(Some(Self { fin, opcode, reserved: first & RESERVED, mask, len, payload }))
    }

    /// Header and payload together.
    pub fn total(&self) -> u64 {
        self.payload + self.len as u64
    }
}

fn first_byte_of(bytes: &[u8]) -> Result<Option<Header>, Violation> {
    bytes.first().map_or(Ok(None), |first| check_first(*first).map(|_| None))
}

/// The reserved bits of a first byte.
pub(super) const RESERVED: u8 = 0x70;

/// No extension changes a control frame: those between the ends have to read it.
fn check_first(first: u8) -> Result<Opcode, Violation> {
    let opcode = Opcode::from_bits(first & 0x0f).ok_or(Violation::UnknownOpcode(first & 0x0f))?;
    if opcode.is_control() && first & RESERVED != 0 {
        return Err(Violation::ReservedBits);
    }
    Ok(opcode)
}

/// Masks or unmasks in place (§5.3); `offset` is how far into the payload `bytes` begins.
pub fn apply_mask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mask = [mask[offset % 4], mask[(offset + 1) % 4], mask[(offset + 2) % 4], mask[(offset + 3) % 4]];
    let word = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Ok(eight) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(eight) ^ word).to_ne_bytes());
        }
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// Appends one whole frame to `out`, masked where a mask is given.
pub fn encode_frame(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let flag = if mask.is_some() { 0x80 } else { 0 };
    out.push(0x80 | opcode.bits());
    match payload.len() {
        short @ 0..=125 => out.push(flag | short as u8),
        medium @ 126..=0xffff => {
            out.push(flag | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(flag | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    let Some(mask) = mask else {
        out.extend_from_slice(payload);
        return;
    };
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], mask, 0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;

    use super::*;

    #[test]
    fn non_minimal_and_oversized_lengths_are_refused() {
        assert_eq!(Header::parse(&[0x82, 126, 0, 5]), Err(Violation::BadLength));
        assert_eq!(Header::parse(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 200]), Err(Violation::BadLength));
        assert_eq!(Header::parse(&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(Violation::BadLength));
    }

    #[test]
    fn control_frames_are_short_and_whole() {
        assert_eq!(Header::parse(&[0x89, 126, 0, 126]), Err(Violation::BadControl));
        assert_eq!(Header::parse(&[0x89, 126]), Err(Violation::BadControl), "the length need not come first");
        assert_eq!(Header::parse(&[0x09, 0]), Err(Violation::BadControl));
    }

    proptest! {
        /// The library that the field uses is the judge of what we write, and of what we read.
        #[test]
        fn tungstenite_reads_what_we_write(len in 0usize..70_000, mask: Option<[u8; 4]>, binary: bool) {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let opcode = if binary { Opcode::Binary } else { Opcode::Text };
            let mut out = Vec::new();
            encode_frame(opcode, &payload, mask, &mut out);
            let mut cursor = std::io::Cursor::new(&out);
            let (theirs, length) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            prop_assert_eq!(length as usize, len);
            prop_assert_eq!(theirs.mask, mask);
            let ours = Header::parse(&out).unwrap().unwrap();
            prop_assert_eq!((ours.payload as usize, ours.mask, ours.len as u64), (len, mask, cursor.position()));
            let body = &mut out[ours.len..];
            if let Some(mask) = mask {
                apply_mask(body, mask, 0);
            }
            prop_assert_eq!(&*body, &payload[..]);
        }

        #[test]
        fn a_mask_can_be_applied_in_pieces(mut bytes: Vec<u8>, mask: [u8; 4], cut: prop::sample::Index) {
            let mut whole = bytes.clone();
            apply_mask(&mut whole, mask, 0);
            let cut = if bytes.is_empty() { 0 } else { cut.index(bytes.len()) };
            apply_mask(&mut bytes[..cut], mask, 0);
            apply_mask(&mut bytes[cut..], mask, cut);
            prop_assert_eq!(bytes, whole);
        }

        #[test]
        fn any_bytes_are_read_or_refused_never_more(bytes: Vec<u8>) {
            if let Ok(Some(header)) = Header::parse(&bytes) {
                prop_assert!(header.len <= bytes.len() && header.len <= MAX_HEADER);
            }
        }
    }
}
