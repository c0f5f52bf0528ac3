//! What a command says on stderr, kept until it has ended: its last lines, and the beginning of each.
//!
//! The last ones, since where a program fails its reason comes last. Everything else is counted.

use std::collections::VecDeque;

use zeroize::Zeroizing;

/// So many lines are kept.
pub(super) const MAX_LINES: usize = 20;
/// So many bytes of each.
pub(super) const MAX_LINE: usize = 1024;

/// Lines on their way in.
#[derive(Default)]
pub(super) struct Lines {
    kept: VecDeque<Raw>,
    open: Raw,
    left_out: u64,
    cut_off: u64,
}

/// A line in bytes, which may hold a secret.
#[derive(Default)]
struct Raw {
    bytes: Zeroizing<Vec<u8>>,
    cut: u64,
}

/// What was said, all in all.
pub(super) struct Said {
    pub(super) lines: Vec<Line>,
    /// Lines before them that were not kept.
    pub(super) left_out: u64,
    /// Bytes that are missing at their ends.
    pub(super) cut_off: u64,
}

/// One line, which may hold a secret.
pub(super) struct Line {
    pub(super) text: Zeroizing<String>,
    /// Does it go on?
    pub(super) cut: bool,
}

impl Lines {
    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let room = MAX_LINE.saturating_sub(self.open.bytes.len());
            let (kept, cut) = text.split_at(room.min(text.len()));
            self.open.bytes.extend_from_slice(kept);
            self.open.cut = self.open.cut.saturating_add(cut.len() as u64);
            if ends {
                self.close();
            }
        }
    }

    /// All lines, the one that was not ended included.
    pub(super) fn end(mut self) -> Said {
        self.close();
        let line = |raw: Raw| Line {
            text: Zeroizing::new(String::from_utf8_lossy(&raw.bytes).into_owned()),
            cut: raw.cut > 0,
        };
        Said {
            lines: self.kept.into_iter().map(line).collect(),
            left_out: self.left_out,
            cut_off: self.cut_off,
        }
    }

    fn close(&mut self) {
        let line = std::mem::take(&mut self.open);
        self.cut_off = self.cut_off.saturating_add(line.cut);
        if line.bytes.iter().all(u8::is_ascii_whitespace) && line.cut == 0 {
            return;
        }
        if self.kept.len() == MAX_LINES {
            self.kept.pop_front();
            self.left_out = self.left_out.saturating_add(1);
        }
        self.kept.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(chunks: &[&str]) -> Said {
        let mut lines = Lines::default();
        chunks.iter().for_each(|chunk| lines.push(chunk.as_bytes()));
        lines.end()
    }

    #[test]
    fn lines_are_put_together_and_blank_ones_are_none() {
        let said = said(&["on", "e\n\n \r\ntw", "o\nthree"]);
        let texts: Vec<&str> = said.lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["one", "two", "three"]);
        assert_eq!((said.left_out, said.cut_off), (0, 0));
    }

    #[test]
    fn the_last_are_kept_and_the_others_counted() {
        let text: String = (0..100_000).map(|nth| format!("{nth}\n")).collect();
        let said = said(&[&text]);
        assert_eq!((said.lines.len(), said.left_out), (MAX_LINES, 100_000 - MAX_LINES as u64));
        let ends = [0, MAX_LINES - 1].map(|nth| said.lines[nth].text.as_str());
        assert_eq!(ends, ["99980", "99999"]);
    }

    #[test]
    fn a_long_line_is_cut_and_the_rest_counted() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            lines.push(&[b'x'; 1000]);
        }
        assert!(lines.open.bytes.len() <= MAX_LINE);
        lines.push(b"\nnext\n");
        let said = lines.end();
        assert_eq!((said.lines[0].text.len(), said.lines[0].cut), (MAX_LINE, true));
        assert_eq!((said.lines[1].text.as_str(), said.lines[1].cut), ("next", false));
        assert_eq!(said.cut_off, 1_000_000 - MAX_LINE as u64);
    }
}
