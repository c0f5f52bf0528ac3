//! What others wrote, made harmless.

/// Without what could drive a terminal, on one line, and not longer than `longest` signs.
pub fn visible(text: &str, longest: usize) -> String {
    let mut shown = String::new();
    for c in text.chars().take(longest) {
        if is_harmful(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    if text.chars().nth(longest).is_some() {
        shown.push('…');
    }
    shown
}

/// Could it drive a terminal, or deceive an eye? Besides control characters, those that turn the direction of a
/// text, and those that cannot be seen.
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_is_escaped() {
        let shown = visible("a\x1b[2Jb\u{9b}c\u{202e}d\u{200b}\ne", 100);
        assert_eq!(shown, "a\\u{1b}[2Jb\\u{9b}c\\u{202e}d\\u{200b}\\u{a}e");
        assert_eq!(visible("grün ✗ 語", 100), "grün ✗ 語", "what is only foreign stays");
    }

    #[test]
    fn a_long_text_is_cut_between_signs() {
        assert_eq!((visible("äöü", 3), visible("äöü", 2)), ("äöü".to_owned(), "äö…".to_owned()));
    }
}
