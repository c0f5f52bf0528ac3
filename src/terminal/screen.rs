//! A screen of its own, drawn over in place, and given back as it was.
//!
//! Rules: each line is put at its own row with wrapping off, so that no size of the terminal can
//! garble the picture; a frame is one write; whatever ends the program, the cursor comes back.

use std::io::{self, Write};

use super::{Line, has_colour, size};

/// Columns and rows of a terminal that does not say.
const USUAL: (usize, usize) = (80, 24);

/// The other screen, the cursor hidden, no wrapping.
const OPEN: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const CLEAR: &str = "\x1b[2J";
const CLOSE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// A terminal that is drawn on.
#[derive(Debug)]
pub struct Screen {
    columns: usize,
    rows: usize,
}

impl Screen {
    /// Can what stdout goes to be drawn on, and may it be?
    pub fn is_possible() -> bool {
        has_colour()
    }

    /// Takes the terminal over.
    pub fn open() -> io::Result<Self> {
        let (columns, rows) = size().unwrap_or(USUAL);
        let screen = Self { columns, rows };
        put(OPEN)?;
        Ok(screen)
    }

    /// How wide it is.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How high it is.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// It may be of another size now.
    pub fn resized(&mut self) -> io::Result<()> {
        (self.columns, self.rows) = size().unwrap_or(USUAL);
        put(CLEAR)
    }

    /// Draws these lines over what is there.
    pub fn draw(&self, lines: &[Line]) -> io::Result<()> {
        put(&frame(lines, self.columns))
    }
}

/// What draws these lines, and leaves nothing of a longer picture below them.
fn frame(lines: &[Line], columns: usize) -> String {
    let mut frame = String::new();
    for (row, line) in (1..).zip(lines) {
        // Emptied first: after a line as wide as the screen, the cursor stands on its last sign.
        let empty = if row == lines.len() { "J" } else { "2K" };
        frame.push_str(&format!("\x1b[{row};1H\x1b[{empty}{}", line.painted(columns)));
    }
    frame
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = put(CLOSE);
    }
}

fn put(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::{super::Tone, *};

    #[test]
    fn each_line_has_its_row_and_the_rest_is_emptied() {
        let lines = [Line::new(Tone::Good, "up"), Line::default(), Line::new(Tone::Plain, "end")];
        assert_eq!(frame(&lines, 80), "\x1b[1;1H\x1b[2K\x1b[32mup\x1b[0m\x1b[2;1H\x1b[2K\x1b[3;1H\x1b[Jend");
    }
}
