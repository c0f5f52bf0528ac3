//! One line, in pieces of a tone each.

/// How a piece of a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Bad,
    Warning,
}

impl Tone {
    /// What selects it (SGR, ECMA-48 §8.3.117).
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "1",
            Self::Faint => "2",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Warning => "33",
        }
    }
}

/// One line, in pieces.
#[derive(Debug, Clone, Default)]
pub struct Line(Vec<(Tone, String)>);

impl Line {
    /// A line of one piece.
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self(Vec::new()).and(tone, text)
    }

    /// The same line, with one more piece.
    #[must_use]
    pub fn and(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.0.push((tone, text.into()));
        self
    }

    /// The same line, with another one behind it.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The line without colours.
    pub fn bare(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// How many columns it takes.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// The line with ANSI colours, cut to `width` columns.
    pub fn painted(&self, width: usize) -> String {
        let long = self.width() > width;
        let mut room = if long { width.saturating_sub(1) } else { width };
        let mut out = String::new();
        for (tone, text) in &self.0 {
            let cut: String = text.chars().take(room).collect();
            room -= cut.chars().count();
            let code = tone.code();
            if code.is_empty() || cut.is_empty() {
                out.push_str(&cut);
            } else {
                out.push_str(&format!("\x1b[{code}m{cut}\x1b[0m"));
            }
        }
        if long {
            out.push('…');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_between_colours() {
        let line = Line::new(Tone::Plain, "──").and(Tone::Bad, "1234").and(Tone::Good, "5");
        assert_eq!(line.painted(7), "──\x1b[31m1234\x1b[0m\x1b[32m5\x1b[0m");
        assert_eq!(line.painted(5), "──\x1b[31m12\x1b[0m…");
        assert_eq!(line.painted(3), "──…");
        assert_eq!((line.bare().as_str(), line.width()), ("──12345", 7));
    }
}
