//! What a leg has sent so far: frames in their order, messages with their bounds.
//!
//! ```text
//!   buffer ─► next_part     one piece of a data frame, as much as is there; or a control frame
//!          └► next_message  a message, once all its fragments are there;    or a control frame
//! ```
//!
//! Streaming mode keeps counters only. Whole mode keeps the fragments of an unfinished message: as
//! they came (to be forwarded) and joined (to be read). A session uses one of the two for each
//! direction, and may change only between messages.

use super::{Close, Header, Kind, Opcode, apply_mask};

/// How a peer broke RFC 6455, or a limit of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("reserved bits are set although no extension was agreed")]
    ReservedBits,
    #[error("unknown opcode {0:#x}")]
    UnknownOpcode(u8),
    #[error("a control frame is fragmented or longer than 125 bytes")]
    BadControl,
    #[error("a length is not in its shortest form")]
    BadLength,
    #[error("a client's frame must be masked")]
    Unmasked,
    #[error("a server's frame must not be masked")]
    Masked,
    #[error("a continuation without a message to continue")]
    LoneContinuation,
    #[error("a new message inside an unfinished one")]
    Interleaved,
    #[error("a close frame of one byte")]
    CloseTooShort,
    #[error("close code {0} may not be sent")]
    CloseCode(u16),
    #[error("the close reason is not UTF-8")]
    CloseReason,
    #[error("a text message is not UTF-8")]
    InvalidText,
    #[error("a message is larger than the limit")]
    TooBig,
}

impl Violation {
    /// The close code that tells the peer what it did (§7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Self::TooBig => Close::TOO_BIG,
            Self::CloseReason | Self::InvalidText => Close::INVALID_TEXT,
            Self::ReservedBits
            | Self::UnknownOpcode(_)
            | Self::BadControl
            | Self::BadLength
            | Self::Unmasked
            | Self::Masked
            | Self::LoneContinuation
            | Self::Interleaved
            | Self::CloseTooShort
            | Self::CloseCode(_) => Close::PROTOCOL,
        }
    }
}

/// What the start of a buffer turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Not enough is there; all of the buffer has to be kept for the next read.
    More,
    /// A control frame of this many bytes.
    Control { opcode: Opcode, mask: Option<[u8; 4]>, header: usize, total: usize },
    /// Streaming: this many bytes belong to a data frame; do they end a message?
    Part { total: usize, ends: bool },
    /// Whole: the buffer starts with a whole message in a single frame.
    Single { kind: Kind, mask: Option<[u8; 4]>, header: usize, total: usize },
    /// Whole: this many bytes were a fragment, now kept; did it end the message?
    Fragment { total: usize, ends: bool },
}

/// The state of one leg's incoming side.
#[derive(Debug)]
pub struct Inbound {
    /// Must frames be masked? True for what a client sends.
    masked: bool,
    /// Bytes of the largest message.
    limit: u64,
    /// Bytes of the current data frame's payload that have not been seen (streaming).
    remaining: u64,
    /// Does the current data frame end its message (streaming)?
    ends: bool,
    /// An unfinished message of several frames, so far.
    unfinished: Option<Extent>,
    assembly: Option<Box<Assembly>>,
}

/// How much of a message has come.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    payload: u64,
    /// With the headers: fragments without a payload must not be free.
    raw: u64,
}

/// The fragments of an unfinished message.
#[derive(Debug)]
pub struct Assembly {
    pub kind: Kind,
    /// The frames as they came.
    pub raw: Vec<u8>,
    /// Their payloads, unmasked and joined.
    pub payload: Vec<u8>,
}

impl Inbound {
    /// For a leg whose frames are `masked` and whose messages have `limit` bytes at most.
    pub fn new(masked: bool, limit: usize) -> Self {
        Self { masked, limit: limit as u64, remaining: 0, ends: false, unfinished: None, assembly: None }
    }

    /// Is a message under way? Nothing may be put between its frames.
    pub fn mid_message(&self) -> bool {
        self.remaining > 0 || self.unfinished.is_some()
    }

    /// Streaming: has a part of a frame passed, and not yet all of it?
    pub fn mid_frame(&self) -> bool {
        self.remaining > 0
    }

    /// Has a message begun in fragments, and not ended?
    pub fn is_mid_message(&self) -> bool {
        self.unfinished.is_some()
    }

    /// Bytes kept for an unfinished message.
    pub fn held(&self) -> usize {
        self.assembly.as_ref().map_or(0, |a| a.raw.capacity() + a.payload.capacity())
    }

    /// Streaming: what does `bytes` start with?
    pub fn next_part(&mut self, bytes: &[u8]) -> Result<Step, Violation> {
        if self.remaining > 0 {
            return Ok(if bytes.is_empty() { Step::More } else { self.take(0, bytes.len()) });
        }
        let Some(header) = self.header(bytes)? else { return Ok(Step::More) };
        if header.opcode.is_control() {
            return Ok(control(&header, bytes.len()));
        }
        self.admit(&header)?;
        self.remaining = header.payload;
        self.ends = header.fin;
        Ok(self.take(header.len, bytes.len() - header.len))
    }

    fn take(&mut self, header: usize, there: usize) -> Step {
        let now = self.remaining.min(there as u64);
        self.remaining -= now;
        Step::Part { total: header + now as usize, ends: self.ends && self.remaining == 0 }
    }

    /// Whole: what does `bytes` start with?
    pub fn next_message(&mut self, bytes: &[u8]) -> Result<Step, Violation> {
        let Some(header) = self.header(bytes)? else { return Ok(Step::More) };
        if header.opcode.is_control() {
            return Ok(control(&header, bytes.len()));
        }
        self.check(&header)?;
        if header.total() > bytes.len() as u64 {
            return Ok(Step::More);
        }
        let total = header.total() as usize;
        let first = self.unfinished.is_none();
        self.admit(&header)?;
        let Header { fin, opcode, mask, len, .. } = header;
        if first && fin {
            let kind = if opcode == Opcode::Text { Kind::Text } else { Kind::Binary };
            return Ok(Step::Single { kind, mask, header: len, total });
        }
        self.keep(opcode, mask, &bytes[..total], len);
        Ok(Step::Fragment { total, ends: fin })
    }

    fn keep(&mut self, opcode: Opcode, mask: Option<[u8; 4]>, frame: &[u8], header: usize) {
        let assembly = self.assembly.get_or_insert_with(|| {
            let kind = if opcode == Opcode::Text { Kind::Text } else { Kind::Binary };
            Box::new(Assembly { kind, raw: Vec::new(), payload: Vec::new() })
        });
        assembly.raw.extend_from_slice(frame);
        let start = assembly.payload.len();
        assembly.payload.extend_from_slice(&frame[header..]);
        if let Some(mask) = mask {
            apply_mask(&mut assembly.payload[start..], mask, 0);
        }
    }

    /// The message whose last fragment has come.
    pub fn assembled(&mut self) -> Option<Box<Assembly>> {
        self.assembly.take()
    }

    fn header(&self, bytes: &[u8]) -> Result<Option<Header>, Violation> {
        let Some(header) = Header::parse(bytes)? else { return Ok(None) };
        match (self.masked, header.mask) {
            (true, None) => Err(Violation::Unmasked),
            (false, Some(_)) => Err(Violation::Masked),
            (true, Some(_)) | (false, None) => Ok(Some(header)),
        }
    }

    /// May this data frame come now, and is its message still within the limit?
    fn check(&self, header: &Header) -> Result<Extent, Violation> {
        let so_far = match (header.opcode == Opcode::Continuation, self.unfinished) {
            (true, None) => return Err(Violation::LoneContinuation),
            (false, Some(_)) => return Err(Violation::Interleaved),
            (true, Some(extent)) => extent,
            (false, None) => Extent::default(),
        };
        let payload = so_far.payload.saturating_add(header.payload);
        let raw = so_far.raw.saturating_add(header.total());
        // Twice the limit and a little: fragments of some dozen bytes pass, a flood of empty ones does not.
        let raw_limit = self.limit.saturating_mul(2).saturating_add(4096);
        if payload > self.limit || raw > raw_limit {
            Err(Violation::TooBig)
        } else {
            Ok(Extent { payload, raw })
        }
    }

    fn admit(&mut self, header: &Header) -> Result<(), Violation> {
        let extent = self.check(header)?;
        self.unfinished = if header.fin { None } else { Some(extent) };
        Ok(())
    }
}

fn control(header: &Header, there: usize) -> Step {
    if header.total() > there as u64 {
        return Step::More;
    }
    Step::Control {
        opcode: header.opcode,
        mask: header.mask,
        header: header.len,
        total: header.total() as usize,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::encode_frame, *};

    /// Messages as frames: each payload cut into fragments, pings put between them.
    fn frames(messages: &[(bool, Vec<Vec<u8>>)], mask: Option<[u8; 4]>, ping: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for (binary, fragments) in messages {
            for (i, fragment) in fragments.iter().enumerate() {
                let opcode = match (i, binary) {
                    (0, true) => Opcode::Binary,
                    (0, false) => Opcode::Text,
                    _ => Opcode::Continuation,
                };
                let at = out.len();
                encode_frame(opcode, fragment, mask, &mut out);
                if i + 1 < fragments.len() {
                    out[at] &= 0x7f;
                    if ping {
                        encode_frame(Opcode::Ping, b"still there?", mask, &mut out);
                    }
                }
            }
        }
        out
    }

    /// Feeds `bytes` in slices, as a driver does, and returns messages, forwarded bytes and pings.
    fn run(
        bytes: &[u8],
        slices: &[usize],
        mut inbound: Inbound,
        whole: bool,
    ) -> (Vec<Vec<u8>>, Vec<u8>, usize) {
        let (mut messages, mut forwarded, mut pings, mut buffer) = (vec![], vec![], 0, vec![]);
        let (mut fed, mut slices) = (0, slices.iter().cycle());
        while fed < bytes.len() {
            let n = (*slices.next().unwrap()).clamp(1, bytes.len() - fed);
            buffer.extend_from_slice(&bytes[fed..fed + n]);
            fed += n;
            let mut at = 0;
            loop {
                let rest = &buffer[at..];
                let step = if whole { inbound.next_message(rest) } else { inbound.next_part(rest) };
                match step.unwrap() {
                    Step::More => break,
                    Step::Control { total, .. } => {
                        pings += 1;
                        at += total;
                    }
                    Step::Part { total, .. } => {
                        forwarded.extend_from_slice(&rest[..total]);
                        at += total;
                    }
                    Step::Single { mask, header, total, .. } => {
                        let mut payload = rest[header..total].to_vec();
                        apply_mask(&mut payload, mask.unwrap_or_default(), 0);
                        messages.push(payload);
                        forwarded.extend_from_slice(&rest[..total]);
                        at += total;
                    }
                    Step::Fragment { total, ends } => {
                        at += total;
                        if ends {
                            let assembly = inbound.assembled().unwrap();
                            forwarded.extend_from_slice(&assembly.raw);
                            messages.push(assembly.payload);
                        }
                    }
                }
            }
            buffer.drain(..at);
            assert!(whole || buffer.len() <= 125 + 14, "streaming keeps no payload");
        }
        assert!(buffer.is_empty() && !inbound.mid_message());
        (messages, forwarded, pings)
    }

    proptest! {
        /// Any fragmentation, any slicing of the byte stream: the same bytes out, the same messages.
        #[test]
        fn what_goes_in_comes_out(
            messages in prop::collection::vec(
                (any::<bool>(), prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5)), 1..6),
            slices in prop::collection::vec(1usize..400, 1..20),
            mask: Option<[u8; 4]>,
        ) {
            let bytes = frames(&messages, mask, false);
            let joined: Vec<Vec<u8>> = messages.iter().map(|(_, f)| f.concat()).collect();
            let inbound = || Inbound::new(mask.is_some(), 10_000);
            prop_assert_eq!(&run(&bytes, &slices, inbound(), false).1, &bytes);
            let (whole, forwarded, _) = run(&bytes, &slices, inbound(), true);
            prop_assert_eq!(whole, joined);
            prop_assert_eq!(&forwarded, &bytes);
            // Pings between the fragments are taken out, and nothing else is.
            let pinged = frames(&messages, mask, true);
            let expected: usize = messages.iter().map(|(_, f)| f.len() - 1).sum();
            for whole in [false, true] {
                let (_, forwarded, pings) = run(&pinged, &slices, inbound(), whole);
                prop_assert_eq!(&forwarded, &bytes);
                prop_assert_eq!(pings, expected);
            }
        }

        #[test]
        fn hostile_bytes_are_refused_or_bounded(bytes in prop::collection::vec(any::<u8>(), 0..600), whole: bool) {
            let mut inbound = Inbound::new(true, 100);
            let mut at = 0;
            while at < bytes.len() {
                let step = if whole { inbound.next_message(&bytes[at..]) } else { inbound.next_part(&bytes[at..]) };
                match step {
                    Err(_) | Ok(Step::More) => break,
                    Ok(Step::Control { total, .. } | Step::Part { total, .. } | Step::Single { total, .. } | Step::Fragment { total, .. }) => {
                        prop_assert!(total > 0 && at + total <= bytes.len());
                        at += total;
                    }
                }
                prop_assert!(inbound.held() < 2 * (100 * 3 + 4096));
            }
        }
    }

    #[test]
    fn a_length_is_refused_before_its_bytes_come() {
        let claim = [0x82, 0x80 | 127, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        for whole in [false, true] {
            let mut inbound = Inbound::new(true, 1 << 20);
            let step = if whole { inbound.next_message(&claim) } else { inbound.next_part(&claim) };
            assert_eq!(step, Err(Violation::TooBig));
        }
    }

    #[test]
    fn one_byte_over_the_limit_in_fragments_is_too_big() {
        for (last, expected) in [(50, true), (51, false)] {
            let bytes = frames(&[(true, vec![vec![0; 50], vec![0; last]])], None, false);
            let mut inbound = Inbound::new(false, 100);
            assert!(matches!(inbound.next_message(&bytes), Ok(Step::Fragment { .. })));
            assert_eq!(inbound.next_message(&bytes[52..]).is_ok(), expected);
        }
    }

    #[test]
    fn empty_fragments_are_not_free() {
        let mut inbound = Inbound::new(false, 100);
        assert!(inbound.next_message(&[0x01, 0]).is_ok());
        let error = (0..100_000).find_map(|_| inbound.next_message(&[0x00, 0]).err());
        assert_eq!(error, Some(Violation::TooBig));
        assert!(inbound.held() < 20_000);
    }

    #[test]
    fn fragments_come_in_their_order() {
        assert_eq!(Inbound::new(false, 9).next_message(&[0x80, 0]), Err(Violation::LoneContinuation));
        let mut inbound = Inbound::new(false, 9);
        assert!(inbound.next_message(&[0x01, 0]).is_ok());
        assert_eq!(inbound.next_message(&[0x81, 0]), Err(Violation::Interleaved));
        assert_eq!(Inbound::new(true, 9).next_message(&[0x81, 0]), Err(Violation::Unmasked));
        assert_eq!(Inbound::new(false, 9).next_message(&[0x81, 0x80, 0, 0, 0, 0]), Err(Violation::Masked));
    }
}
