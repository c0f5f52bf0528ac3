//! Whether bytes have the shape of Redis' answers (RESP 2), as they arrive.
//!
//! ```text
//!   kind ─┬─ + -  ──► a line ───────────────────────┐
//!         ├─ :    ──► a number ─────────────────────┤
//!         ├─ $    ──► a number ──► so many bytes ───┼──► whole, or the next of its array
//!         └─ *    ──► a number ──► so many answers ─┘
//! ```
//!
//! 1. Nothing reaches the parser that does not have the shape: an HTTP server is told by its first byte.
//! 2. No length is believed beyond a bound, so that none makes anybody allocate.
//! 3. No answer is longer than a bound, whatever it is made of.
//! 4. Nothing is kept but where in an answer the bytes end.

/// The longest line; a refusal by a script quotes a part of it.
const LINE: usize = 4096;

/// The longest number, with its sign.
const DIGITS: usize = 20;

/// The longest string.
const STRING: i64 = 1 << 20;

/// The longest answer, in bytes, with all that lies in it.
pub(super) const ANSWER: usize = 1 << 20;

/// The most answers in one array: a record and all that it names are far less.
const ANSWERS: i64 = 1024;

/// How deep arrays may lie in each other.
const DEPTH: usize = 4;

/// How far an answer has come.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Answers that are still to come, of each array that is open.
    open: Vec<i64>,
    at: At,
    /// Bytes of the answer that is begun.
    length: usize,
    /// Answers that are whole, since the beginning.
    answers: u64,
}

#[derive(Debug, Default)]
enum At {
    /// Before the first byte of an answer.
    #[default]
    Start,
    /// In a line that is not looked into.
    Text { length: usize, ends: bool },
    /// In the number that a kind begins with.
    Number { kind: u8, digits: Vec<u8>, ends: bool },
    /// In a string.
    Bytes { left: i64 },
}

/// It is no answer of Redis; what it is instead.
pub(super) type Misshapen = &'static str;

impl Shape {
    /// Looks at what came next.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<(), Misshapen> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let At::Bytes { left } = &mut self.at {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left = left.saturating_sub(i64::try_from(here).unwrap_or(i64::MAX));
                bytes = &bytes[here..];
                let last = *left == 0;
                self.longer(here)?;
                if last {
                    self.whole();
                }
                continue;
            }
            bytes = rest;
            self.longer(1)?;
            self.byte(byte)?;
        }
        Ok(())
    }

    /// How many were whole.
    pub(super) fn answers(&self) -> u64 {
        self.answers
    }

    /// Is an answer begun and not ended?
    pub(super) fn is_within(&self) -> bool {
        !self.open.is_empty() || !matches!(self.at, At::Start)
    }

    fn longer(&mut self, by: usize) -> Result<(), Misshapen> {
        self.length = self.length.saturating_add(by);
        if self.length > ANSWER { Err("an answer beyond all bounds") } else { Ok(()) }
    }

    fn byte(&mut self, byte: u8) -> Result<(), Misshapen> {
        match &mut self.at {
            At::Start => {
                self.at = match byte {
                    b'+' | b'-' => At::Text { length: 0, ends: false },
                    b':' | b'$' | b'*' => At::Number { kind: byte, digits: Vec::new(), ends: false },
                    _ => return Err("it does not speak Redis' protocol"),
                };
            }
            At::Text { ends: true, .. } if byte == b'\n' => self.whole(),
            At::Text { length, ends } => {
                if *ends || byte == b'\n' {
                    return Err("a line ends wrongly");
                }
                *ends = byte == b'\r';
                *length += 1;
                if *length > LINE {
                    return Err("a line without end");
                }
            }
            At::Number { kind, digits, ends: true } if byte == b'\n' => {
                let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
                let kind = *kind;
                return self.counted(kind, number.ok_or("a number that is none")?);
            }
            At::Number { digits, ends, .. } => {
                let number = byte.is_ascii_digit() || (byte == b'-' && digits.is_empty());
                match byte {
                    b'\r' if !*ends => *ends = true,
                    _ if number && !*ends && digits.len() < DIGITS => digits.push(byte),
                    _ => return Err("a number that is none"),
                }
            }
            At::Bytes { .. } => {}
        }
        Ok(())
    }

    /// The number of a kind is there.
    fn counted(&mut self, kind: u8, number: i64) -> Result<(), Misshapen> {
        match (kind, number) {
            (b'$', 0..=STRING) => self.at = At::Bytes { left: number + 2 },
            (b'*', 1..=ANSWERS) if self.open.len() < DEPTH => {
                self.open.push(number);
                self.at = At::Start;
            }
            (b':', _) | (b'$' | b'*', -1) | (b'*', 0) => self.whole(),
            _ => return Err("a length beyond all bounds"),
        }
        Ok(())
    }

    /// An answer has ended, and with it perhaps those that it lies in.
    fn whole(&mut self) {
        self.at = At::Start;
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.open.pop();
        }
        self.length = 0;
        self.answers += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANSWERS: &[u8] = b"+OK\r\n-ERR no\r\n:12\r\n$-1\r\n$0\r\n\r\n$4\r\na\r\nb\r\n*0\r\n*-1\r\n*3\r\n:1\r\n*2\r\n$1\r\nx\r\n+y\r\n:-7\r\n";

    #[test]
    fn answers_have_the_shape_however_they_are_cut() {
        for at in 0..=ANSWERS.len() {
            let mut shape = Shape::default();
            shape.take(&ANSWERS[..at]).unwrap();
            shape.take(&ANSWERS[at..]).unwrap();
            assert!(!shape.is_within());
            assert_eq!(shape.answers(), 9);
        }
        let mut whole = Shape::default();
        for (nth, byte) in ANSWERS.iter().enumerate() {
            whole.take(&[*byte]).unwrap();
            let mut upto = Shape::default();
            upto.take(&ANSWERS[..=nth]).unwrap();
            assert_eq!(whole.is_within(), upto.is_within(), "at {nth}");
        }
    }

    #[test]
    fn half_an_answer_is_not_whole() {
        for half in ["+", "+O", "+OK\r", "$3\r\nab", "$3\r\nabc\r", "*2\r\n:1\r\n", "*1\r\n"] {
            let mut shape = Shape::default();
            shape.take(half.as_bytes()).unwrap();
            assert!(shape.is_within(), "{half:?}");
        }
    }

    #[test]
    fn what_is_no_answer_is_told_at_once() {
        let deep = "*1\r\n".repeat(DEPTH + 1);
        let long = format!("+{}", "x".repeat(LINE + 1));
        for wrong in [
            "HTTP/1.1 400 Bad Request\r\n",
            "\0",
            "%1\r\n",
            ">1\r\n",
            "+a\n",
            "+a\rb",
            ":x\r\n",
            ":\r\n",
            ":--1\r\n",
            ":99999999999999999999\r\n",
            "$1048577\r\n",
            "$-2\r\n",
            "*1025\r\n",
            "*9223372036854775807\r\n",
            &deep,
            &long,
        ] {
            assert!(Shape::default().take(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Shape::default().take(&bytes);
        }
    }
}
