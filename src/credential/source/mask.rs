//! What must not be seen of a line that a command wrote, or of a server's words, replaced by `***`.
//!
//! 1. Every secret that is known: those of the command's environment, the current token, and each word of its
//!    output. One that is shorter than four characters hides nothing.
//! 2. What looks like a JWT: a word of base64url and dots that begins with `eyJ`.
//! 3. What a label says is secret: what follows `Bearer` or `Basic`; what follows `=`, `:` or, in an option, a space
//!    after a word that ends with one of [`LABELS`]; the password in a URL.
//! 4. What looks random ([`looks_random`]): 20 or more of `A-Z a-z 0-9 + / = _ - % ~` in a row.
//! 5. Of a line that was cut, the last word, and the beginning of a secret at its end: the rest of it is not there to
//!    be recognised.
//!
//! Rules 2 to 4 also hide what is no secret. What is left has its control characters escaped.

use std::fmt::Write;

use zeroize::Zeroizing;

use crate::config::looks_random;

/// Shorter ones would hide half of every line.
const SHORTEST: usize = 4;
/// Of the output, shorter words are no secrets.
const SHORTEST_WORD: usize = 8;
/// So many words of the output are looked for, the longest ones.
const MAX_WORDS: usize = 64;
/// A word that ends so names a secret.
const LABELS: [&str; 15] = [
    "token",
    "password",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "secret",
    "key",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "assertion",
    "signature",
    "jwt",
];
/// What stands before a secret in a header.
const SCHEMES: [&str; 2] = ["bearer", "basic"];

/// The secrets that are known.
#[derive(Default)]
pub(super) struct Mask {
    secrets: Vec<Zeroizing<String>>,
}

/// One line, and which of its bytes are hidden. A character is hidden as a whole: every end is one of a pattern
/// of whole characters.
struct Hidden<'t> {
    text: &'t str,
    bytes: Vec<bool>,
}

impl Mask {
    /// Hides this text.
    pub(super) fn add(&mut self, secret: &str) {
        let secret = secret.trim();
        if secret.len() >= SHORTEST {
            self.secrets.push(Zeroizing::new(secret.to_owned()));
        }
    }

    /// Hides what a command printed: the token, whether it was understood or not.
    pub(super) fn add_output(&mut self, output: &[u8]) {
        let Ok(text) = std::str::from_utf8(output) else { return };
        if !text.trim().contains(char::is_whitespace) {
            self.add(text);
        }
        let apart = |c: char| c.is_whitespace() || c.is_control() || "\"'{}[],".contains(c);
        let mut words: Vec<&str> = text.split(apart).filter(|word| word.len() >= SHORTEST_WORD).collect();
        words.sort_unstable_by_key(|word| std::cmp::Reverse(word.len()));
        words.into_iter().take(MAX_WORDS).for_each(|word| self.add(word));
    }

    /// The line as it may be shown; `cut`: it went on.
    pub(super) fn line(&self, text: &str, cut: bool) -> String {
        let mut hidden = Hidden { text, bytes: vec![false; text.len()] };
        for secret in &self.secrets {
            hidden.all_of(secret);
        }
        hidden.jwts();
        hidden.labelled();
        hidden.passwords_in_urls();
        hidden.random();
        if cut {
            hidden.torn(&self.secrets);
        }
        let mut shown = hidden.shown();
        if cut {
            shown.push('…');
        }
        shown
    }
}

impl<'t> Hidden<'t> {
    fn hide(&mut self, from: usize, to: usize) {
        self.bytes[from..to].fill(true);
    }

    /// Each stretch of characters that fit: where it begins and ends.
    fn stretches(&self, fits: impl Fn(char) -> bool) -> Vec<(usize, usize)> {
        let mut found: Vec<(usize, usize)> = Vec::new();
        for (at, c) in self.text.char_indices().filter(|(_, c)| fits(*c)) {
            match found.last_mut() {
                Some((_, end)) if *end == at => *end += c.len_utf8(),
                Some(_) | None => found.push((at, at + c.len_utf8())),
            }
        }
        found
    }

    fn all_of(&mut self, secret: &str) {
        let mut from = 0;
        while let Some(at) = self.text[from..].find(secret) {
            let at = from + at;
            self.hide(at, at + secret.len());
            // The next one may begin inside this one.
            from = at + secret.chars().next().map_or(1, char::len_utf8);
        }
    }

    fn jwts(&mut self) {
        for (from, to) in self.stretches(|c| c.is_ascii_alphanumeric() || "-_.=".contains(c)) {
            if let Some(at) = self.text[from..to].find("eyJ").filter(|at| to - from - at >= 10) {
                self.hide(from + at, to);
            }
        }
    }

    fn labelled(&mut self) {
        for (from, to) in self.stretches(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
            let word = self.text[from..to].to_ascii_lowercase();
            let rest = &self.text[to..];
            let spaced = rest.starts_with(char::is_whitespace);
            if spaced && SCHEMES.contains(&&*word) {
                self.value(to, "");
            } else if LABELS.iter().any(|label| word.ends_with(label)) {
                // The word itself may stand in quotes, as in JSON.
                let after = rest.trim_start_matches(['"', '\'', '\\']).trim_start();
                // `/run/token: no such file` tells of a file, and no token.
                let path = self.text[..from].ends_with('/') && after.starts_with(": ");
                if after.starts_with(['=', ':']) && !path {
                    let after = after.trim_start_matches(['=', ':', '>']);
                    self.value(self.text.len() - after.len(), ",;&)}]");
                } else if spaced && word.starts_with('-') && !after.starts_with('-') {
                    self.value(to, "");
                }
            }
        }
    }

    /// Hides the value that begins at `from`, after spaces: to its closing quote, or to its end.
    fn value(&mut self, from: usize, ends: &str) {
        let text = self.text[from..].trim_start();
        let quotes = text.len() - text.trim_start_matches(['"', '\'', '\\']).len();
        let begin = self.text.len() - text.len() + quotes;
        let text = &self.text[begin..];
        let quote = self.text[..begin].chars().next_back().filter(|c| quotes > 0 && "\"'".contains(*c));
        let ends_it = |c: char| match quote {
            Some(quote) => c == quote,
            None => c.is_whitespace() || "\"'".contains(c) || ends.contains(c),
        };
        let length = text.find(ends_it).unwrap_or(text.len());
        // In `Authorization: Bearer X` the scheme has its own rule, and may be seen.
        if !SCHEMES.contains(&&*text[..length].to_ascii_lowercase()) {
            self.hide(begin, begin + length);
        }
    }

    /// `scheme://user:password@host`.
    fn passwords_in_urls(&mut self) {
        for (from, to) in self.stretches(|c| !c.is_whitespace() && !"\"'<>".contains(c)) {
            let word = &self.text[from..to];
            let Some(begin) = word.find("://").map(|at| at + 3) else { continue };
            let authority = &word[begin..];
            let authority = &authority[..authority.find(['/', '?', '#']).unwrap_or(authority.len())];
            if let Some((user, _)) = authority.rsplit_once('@') {
                let password = user.find(':').map_or(user.len(), |at| at + 1);
                self.hide(from + begin + password, from + begin + user.len());
            }
        }
    }

    fn random(&mut self) {
        for (from, to) in self.stretches(|c| c.is_ascii_alphanumeric() || "+/=_-%~".contains(c)) {
            if looks_random(&self.text[from..to]) {
                self.hide(from, to);
            }
        }
    }

    /// The end of a line that went on.
    fn torn(&mut self, secrets: &[Zeroizing<String>]) {
        let end = self.text.len();
        let word = self.text.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let word = (word..=end).find(|at| self.text.is_char_boundary(*at)).unwrap_or(end);
        let begun = |secret: &Zeroizing<String>| {
            let lengths = secret.char_indices().map(|(at, _)| at).filter(|at| *at > 0);
            lengths.rev().find(|length| self.text.ends_with(&secret[..*length]))
        };
        let longest = secrets.iter().filter_map(begun).max().unwrap_or(0);
        self.hide(word.min(end - longest), end);
    }

    fn shown(&self) -> String {
        let mut shown = String::new();
        let mut before = false;
        for (at, c) in self.text.char_indices() {
            let hidden = self.bytes[at];
            match (before, hidden) {
                (false, true) => shown.push_str("***"),
                (true, true) => {}
                (_, false) if is_unfit(c) => {
                    // Writing to a String cannot fail.
                    let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
                }
                (_, false) => shown.push(c),
            }
            before = hidden;
        }
        shown
    }
}

/// Drives a terminal, or makes a line look like another one.
fn is_unfit(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(secrets: &[&str], line: &str) -> String {
        let mut mask = Mask::default();
        secrets.iter().for_each(|secret| mask.add(secret));
        mask.line(line, false)
    }

    #[test]
    fn known_secrets_are_hidden_wherever_they_stand() {
        assert_eq!(masked(&["hunter2"], "say hunter2, hunter2hunter2!"), "say ***, ***!");
        assert_eq!(masked(&["pass phrase"], "it is pass phrase here"), "it is *** here");
        assert_eq!(masked(&["aXa"], "aXa"), "aXa", "too short to be one");
        assert_eq!(masked(&["aXaXa"], "aXaXaXaXa"), "***", "the end of one is the beginning of the next");
        let mut mask = Mask::default();
        mask.add_output(b"{\"access_token\": \"some secret-word\",\"n\": 5}");
        assert_eq!(mask.line("got secret-word and some 5", false), "got *** and some 5");
        let mut mask = Mask::default();
        mask.add_output(b"abcd\n");
        assert_eq!(mask.line("the token is abcd", false), "the token is ***");
    }

    #[test]
    fn what_looks_like_a_secret_is_hidden() {
        let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.";
        let cases = [
            (format!("got {jwt} from cache"), "got *** from cache"),
            ("cut eyJhbGciOi".to_owned(), "cut ***"),
            ("Authorization: Bearer abc".to_owned(), "Authorization: Bearer ***"),
            ("sent 'authorization: basic YTpi' once".to_owned(), "sent 'authorization: basic ***' once"),
            ("GET /t?access_token=abc&x=1".to_owned(), "GET /t?access_token=***&x=1"),
            ("password: swordfish".to_owned(), "password: ***"),
            (
                "{\"client_secret\": \"two words\", \"n\": 1}".to_owned(),
                "{\"client_secret\": \"***\", \"n\": 1}",
            ),
            ("{\\\"token\\\":\\\"abc\\\"}".to_owned(), "{\\\"token\\\":\\\"***\"}"),
            ("+ tool --password swordfish -v".to_owned(), "+ tool --password *** -v"),
            ("PGPASSWORD=x tool".to_owned(), "PGPASSWORD=*** tool"),
            ("from https://me:swordfish@host/p".to_owned(), "from https://me:***@host/p"),
            ("key AKIAIOSFODNN7EXAMPLEQ2 used".to_owned(), "key *** used"),
            ("id 550e8400-e29b-41d4-a716-446655440000".to_owned(), "id ***"),
            ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(), "***"),
            ("sum 9f86d081884c7d659a2feaa0c55ad015".to_owned(), "sum ***"),
        ];
        for (line, shown) in cases {
            assert_eq!(masked(&[], &line), shown, "{line}");
        }
    }

    #[test]
    fn what_an_operator_needs_is_seen() {
        for line in [
            "ERROR: (gcloud.auth.print-access-token) You do not currently have an active account selected.",
            "Traceback (most recent call last):",
            "  File \"/usr/lib/python3/dist-packages/requests/adapters.py\", line 519, in send",
            "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='sts.example.com', port=443)",
            "at com.example.identity.TokenProviderFactoryImplementation.fetch(Provider.java:12)",
            "2026-11-22T04:44:50.123Z the token expired 5 minutes ago, asking again",
            "/home/user1/project2/src/v2/lib/credentials: no such file",
        ] {
            assert_eq!(masked(&[], line), line);
        }
    }

    #[test]
    fn the_end_of_a_cut_line_is_hidden() {
        let mut mask = Mask::default();
        mask.add("open sesame now");
        assert_eq!(mask.line("the word is open ses", true), "the word is ***…");
        assert_eq!(mask.line("the word is hunt", true), "the word is ***…");
        assert_eq!(mask.line("oneword", true), "***…");
        assert_eq!(mask.line("ends with a space ", true), "ends with a space …");
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(masked(&[], "a\u{1b}[2Jb\tc\u{202e}d\u{0}"), "a\\u{1b}[2Jb\\u{9}c\\u{202e}d\\u{0}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_line_is_too_odd_and_no_secret_is_left(
            before in "\\PC{0,20}|[a-z:=\"'\\\\ é-]{0,20}",
            secret in "[!-~]{4,40}|é[a-z ]{4,20}é",
            after in "\\PC{0,20}|[ \"',;&]{0,9}",
            cut in any::<bool>(),
        ) {
            let mut mask = Mask::default();
            mask.add(&secret);
            let shown = mask.line(&format!("{before}{secret}{after}"), cut);
            prop_assume!(!before.contains(&secret) && !"***…".contains(&secret));
            prop_assert!(!shown.contains(&secret), "{shown}");
        }
    }
}
