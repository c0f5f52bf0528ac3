//! What a leg has sent so far: frames in their order, messages with their bounds.
//!
//! ```text
//!   buffer ─► next_part     short messages, or one piece of a data frame, as much as is there;  or a control frame
//!          ├► next_whole    messages that are there with all their frames;                      or as next_message
//!          └► next_message  a message, once all its fragments are there;                        or a control frame
//! ```
//!
//! Streaming mode keeps counters only. Whole mode keeps the fragments of an unfinished message: as
//! they came (to be forwarded) and joined (to be read). A session uses one of the two for each
//! direction, and may change only between messages.

use super::{Close, Header, Kind, Opcode, apply_mask, frame::RESERVED};

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
    /// This many bytes of data frames pass, and so many messages end in them.
    Part { total: usize, messages: u64 },
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
    /// Bits of a data frame that may be set: an extension was agreed.
    allowed: u8,
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
        let limit = limit as u64;
        Self { masked, allowed: 0, limit, remaining: 0, ends: false, unfinished: None, assembly: None }
    }

    /// The ends agreed on an extension: what it does to messages is theirs to know, and they pass unread.
    pub fn allow_extensions(&mut self, agreed: bool) {
        self.allowed = if agreed { RESERVED } else { 0 };
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
        if let Some(part) = self.short_messages(bytes) {
            return Ok(part);
        }
        let Some(header) = self.header(bytes)? else { return Ok(Step::More) };
        if header.opcode.is_control() {
            return Ok(control(&header, bytes.len()));
        }
        self.unfinished = self.admit(&header)?;
        self.remaining = header.payload;
        self.ends = header.fin;
        Ok(self.take(header.len, bytes.len() - header.len))
    }

    fn take(&mut self, header: usize, there: usize) -> Step {
        let now = self.remaining.min(there as u64);
        self.remaining -= now;
        let messages = u64::from(self.ends && self.remaining == 0);
        Step::Part { total: header + now as usize, messages }
    }

    /// Whole, but nobody reads them: what does `bytes` start with?
    pub fn next_whole(&mut self, bytes: &[u8]) -> Result<Step, Violation> {
        if self.unfinished.is_none() {
            let whole = self.short_messages(bytes).or_else(|| self.frames_of_message(bytes));
            self.unfinished = None;
            if let Some(part) = whole {
                return Ok(part);
            }
        }
        self.next_message(bytes)
    }

    /// The first message, if all its frames are there with nothing between them.
    fn frames_of_message(&mut self, bytes: &[u8]) -> Option<Step> {
        let mut total = 0;
        loop {
            let header = self.header(&bytes[total..]).ok()??;
            if header.opcode.is_control() {
                return None;
            }
            self.unfinished = self.admit(&header).ok()?;
            total = usize::try_from(header.total()).ok()?.checked_add(total)?;
            if total > bytes.len() {
                return None;
            }
            if header.fin {
                return Some(Step::Part { total, messages: 1 });
            }
        }
    }

    /// The messages that `bytes` start with, if each is one frame and is there. What is rare is for others to see.
    fn short_messages(&self, bytes: &[u8]) -> Option<Step> {
        if self.unfinished.is_some() {
            return None;
        }
        let (mut total, mut messages) = (0, 0);
        while let Some(next) = self.short_message(&bytes[total..]) {
            total += next;
            messages += 1;
        }
        (messages > 0).then_some(Step::Part { total, messages })
    }

    /// A text or binary message in one frame, of less than 64 KiB.
    fn short_message(&self, bytes: &[u8]) -> Option<usize> {
        let [first, second, rest @ ..] = bytes else { return None };
        let (payload, header) = match (second & 0x7f, rest) {
            (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 4),
            (126 | 127, _) => return None,
            (short, _) => (usize::from(short), 2),
        };
        let total = header + payload + if self.masked { 4 } else { 0 };
        let fits = total <= bytes.len() && payload as u64 <= self.limit && (header == 2 || payload >= 126);
        (fits && matches!(first & !self.allowed, 0x81 | 0x82) && (second & 0x80 != 0) == self.masked)
            .then_some(total)
    }

    /// Whole: what does `bytes` start with?
    pub fn next_message(&mut self, bytes: &[u8]) -> Result<Step, Violation> {
        let Some(header) = self.header(bytes)? else { return Ok(Step::More) };
        if header.opcode.is_control() {
            return Ok(control(&header, bytes.len()));
        }
        let unfinished = self.admit(&header)?;
        if header.total() > bytes.len() as u64 {
            return Ok(Step::More);
        }
        let total = header.total() as usize;
        let first = self.unfinished.is_none();
        self.unfinished = unfinished;
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
        if header.reserved & !self.allowed != 0 {
            return Err(Violation::ReservedBits);
        }
        match (self.masked, header.mask) {
            (true, None) => Err(Violation::Unmasked),
            (false, Some(_)) => Err(Violation::Masked),
            (true, Some(_)) | (false, None) => Ok(Some(header)),
        }
    }

    /// May this data frame come now, and is its message still within the limit? How much of a message that it does
    /// not end has come with it?
    fn admit(&self, header: &Header) -> Result<Option<Extent>, Violation> {
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
            return Err(Violation::TooBig);
        }
        Ok((!header.fin).then_some(Extent { payload, raw }))
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

    type Next = fn(&mut Inbound, &[u8]) -> Result<Step, Violation>;

    const PART: Next = Inbound::next_part;
    const WHOLE: Next = Inbound::next_whole;
    const MESSAGE: Next = Inbound::next_message;

    /// Feeds `bytes` in slices, as a driver does, and returns messages, forwarded bytes and pings.
    fn run(
        bytes: &[u8],
        slices: &[usize],
        mut inbound: Inbound,
        next: Next,
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
                match next(&mut inbound, rest).unwrap() {
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
            assert!(next as usize != PART as usize || buffer.len() <= 125 + 14, "streaming keeps no payload");
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
            prop_assert_eq!(&run(&bytes, &slices, inbound(), PART).1, &bytes);
            prop_assert_eq!(&run(&bytes, &slices, inbound(), WHOLE).1, &bytes);
            let (whole, forwarded, _) = run(&bytes, &slices, inbound(), MESSAGE);
            prop_assert_eq!(whole, joined);
            prop_assert_eq!(&forwarded, &bytes);
            // Pings between the fragments are taken out, and nothing else is.
            let pinged = frames(&messages, mask, true);
            let expected: usize = messages.iter().map(|(_, f)| f.len() - 1).sum();
            for next in [PART, WHOLE, MESSAGE] {
                let (_, forwarded, pings) = run(&pinged, &slices, inbound(), next);
                prop_assert_eq!(&forwarded, &bytes);
                prop_assert_eq!(pings, expected);
            }
        }

        /// What is refused, and where, does not depend on how it is read.
        #[test]
        fn all_ways_to_read_refuse_the_same(
            messages in prop::collection::vec(
                (any::<bool>(), prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..4)), 1..4),
            mask: Option<[u8; 4]>,
            masked: bool,
            at in 0..4_usize,
            byte in prop_oneof![Just(0_u8), Just(126), Just(254), any::<u8>()],
            ping: bool,
        ) {
            let mut bytes = frames(&messages, mask, ping);
            if let Some(in_header) = bytes.get_mut(at) {
                *in_header = byte;
            }
            let refused = [PART, WHOLE, MESSAGE].map(|next| {
                let (mut inbound, mut at) = (Inbound::new(masked, 300), 0);
                loop {
                    match next(&mut inbound, &bytes[at..]) {
                        Err(violation) => break Some((at, violation)),
                        Ok(Step::More) => break None,
                        Ok(Step::Control { total, .. } | Step::Part { total, .. } | Step::Single { total, .. } | Step::Fragment { total, .. }) => at += total,
                    }
                }
            });
            prop_assert_eq!(refused[0], refused[2]);
            prop_assert_eq!(refused[1], refused[2]);
        }

        #[test]
        fn hostile_bytes_are_refused_or_bounded(bytes in prop::collection::vec(any::<u8>(), 0..600), next in prop::sample::select(vec![PART, WHOLE, MESSAGE])) {
            let mut inbound = Inbound::new(true, 100);
            let mut at = 0;
            while at < bytes.len() {
                match next(&mut inbound, &bytes[at..]) {
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
        for next in [PART, WHOLE, MESSAGE] {
            let mut inbound = Inbound::new(true, 1 << 20);
            let step = next(&mut inbound, &claim);
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
