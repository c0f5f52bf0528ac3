//! The terminal: a screen of its own, drawn over in place, and given back as it was.
//!
//! Rules: each line is put at its own row with wrapping off, so that no size of the terminal can
//! garble the picture; a frame is one write; whatever ends the demo, the cursor comes back.

use std::{
    io::{self, IsTerminal, Write},
    process::{Command, Stdio},
};

use super::view::Line;

/// Columns of a terminal that does not say.
const COLUMNS: usize = 80;

/// The other screen, the cursor hidden, no wrapping.
const OPEN: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const CLEAR: &str = "\x1b[2J";
const CLOSE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// A terminal that is drawn on.
#[derive(Debug)]
pub(super) struct Screen {
    columns: usize,
}

impl Screen {
    /// Can what stdout goes to be drawn on, and may it be?
    pub(super) fn is_possible() -> bool {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        io::stdout().is_terminal() && !is_set("NO_COLOR") && !dumb
    }

    /// Takes the terminal over.
    pub(super) fn open() -> io::Result<Self> {
        let screen = Self { columns: columns() };
        put(OPEN)?;
        Ok(screen)
    }

    /// How wide it is.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// It may be of another size now.
    pub(super) fn resized(&mut self) -> io::Result<()> {
        self.columns = columns();
        put(CLEAR)
    }

    /// Draws these lines over what is there.
    pub(super) fn draw(&self, lines: &[Line]) -> io::Result<()> {
        let mut frame = String::new();
        for (row, line) in (1..).zip(lines) {
            // Emptied first: after a line as wide as the screen, the cursor stands on its last sign.
            frame.push_str(&format!("\x1b[{row};1H\x1b[2K{}", line.painted(self.columns)));
        }
        put(&frame)
    }
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

/// How wide the terminal is. The terminal is the one that stdin is, as `stty` reads it: nothing else
/// that is linked here knows the call.
fn columns() -> usize {
    let asked = Command::new("stty").arg("size").stdin(Stdio::inherit()).stderr(Stdio::null()).output();
    let said = asked.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let columns = said.as_deref().and_then(|said| said.split_whitespace().nth(1)?.parse().ok());
    columns.filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}
