//! The terminal: lines with colours, a screen that is drawn over in place, and text that cannot drive it.
//!
//! ```text
//!   text    what others wrote, made harmless
//!     ▼
//!   line    pieces with a tone each, cut to a width
//!     ▼
//!   screen  lines at their rows; given back as it was
//! ```
//!
//! 1. A colour only repeats what a sign or a word says, and is left out where nobody wants it.
//! 2. What a peer wrote never reaches a terminal as it came.

mod line;
mod screen;
mod text;

use std::io::{self, IsTerminal};

pub use line::{Line, Tone};
pub use screen::Screen;
pub use text::{is_harmful, visible};

/// Is stdout a terminal that understands colours, and are they wanted (<https://no-color.org>)?
pub fn has_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stdout().is_terminal() && !is_set("NO_COLOR") && !dumb
}

/// Columns and rows of the terminal that stdout is; `None` where it is none, or does not say.
pub fn size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
}
