//! Filters: what a value goes through before it stands in its place, `{token|base64url}`, and back again.
//!
//! | filter | makes of `abc` | who wants it |
//! |---|---|---|
//! | `base64` | `YWJj`, padded (RFC 4648 §4) | |
//! | `base64url` | `YWJj`, without padding (RFC 4648 §5) | Kubernetes: `base64url.bearer.authorization.k8s.io.{token|base64url}` |
//! | `prefix:TEXT` | `TEXTabc` | Basic: `Authorization: Basic {token|prefix:user:|base64}` |
//!
//! They are applied from left to right.

use std::fmt;

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};

use super::error::nearest;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Filter {
    Base64,
    Base64Url,
    Prefix(String),
}

/// Those of one name; mostly none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Filters(Vec<Filter>);

/// As they are written.
const WORDS: [&str; 3] = ["base64", "base64url", "prefix"];

impl Filters {
    /// Reads `base64url`, `prefix:x:|base64`. `None`: one of them is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let filter = |word: &str| match word.split_once(':') {
            None if word == "base64" => Some(Filter::Base64),
            None if word == "base64url" => Some(Filter::Base64Url),
            Some(("prefix", prefix)) => Some(Filter::Prefix(prefix.to_owned())),
            None | Some(_) => None,
        };
        text.split('|').map(filter).collect::<Option<_>>().map(Self)
    }

    /// What a text that is no filters was probably meant to be.
    pub(super) fn meant(text: &str) -> Option<String> {
        let word = |word: &str| match Self::parse(word) {
            Some(_) => Some(word.to_owned()),
            None => nearest(word.split(':').next()?, WORDS).map(|near| match near {
                "prefix" => "prefix:TEXT".to_owned(),
                near => near.to_owned(),
            }),
        };
        text.split('|').map(word).collect::<Option<Vec<_>>>().map(|words| words.join("|"))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value as it stands in its place.
    pub fn apply(&self, value: &str) -> String {
        self.0.iter().fold(value.to_owned(), |value, filter| match filter {
            Filter::Base64 => BASE64_STANDARD.encode(value),
            Filter::Base64Url => BASE64_URL_SAFE_NO_PAD.encode(value),
            Filter::Prefix(prefix) => format!("{prefix}{value}"),
        })
    }

    /// The value that stands there so; `None`: it is written in another way.
    pub fn undo(&self, text: &str) -> Option<String> {
        self.0.iter().rev().try_fold(text.to_owned(), |text, filter| {
            let bytes = match filter {
                Filter::Base64 => BASE64_STANDARD.decode(text).ok()?,
                // Some pad it all the same.
                Filter::Base64Url => BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?,
                Filter::Prefix(prefix) => text.strip_prefix(prefix.as_str())?.as_bytes().to_vec(),
            };
            String::from_utf8(bytes).ok()
        })
    }
}

impl fmt::Display for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for filter in &self.0 {
            match filter {
                Filter::Base64 => f.write_str("|base64")?,
                Filter::Base64Url => f.write_str("|base64url")?,
                Filter::Prefix(prefix) => write!(f, "|prefix:{prefix}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_goes_through_them_from_left_to_right() {
        for (filters, expected) in [
            ("base64", "Pz8/YWJj"),
            ("base64url", "Pz8_YWJj"),
            ("prefix:user:|base64", "dXNlcjo/Pz9hYmM="),
            ("base64url|prefix:v1.", "v1.Pz8_YWJj"),
        ] {
            let filters = Filters::parse(filters).unwrap();
            assert_eq!(filters.apply("???abc"), expected);
            assert_eq!(filters.undo(expected).as_deref(), Some("???abc"));
        }
        let url = Filters::parse("base64url").unwrap();
        assert_eq!(
            (url.undo("YWJjZA==").as_deref(), url.undo("a.b"), url.undo("_w")),
            (Some("abcd"), None, None)
        );
    }

    #[test]
    fn a_slip_is_told() {
        for (text, meant) in [
            ("bas64", Some("base64")),
            ("base64ulr", Some("base64url")),
            ("prefx:a|base64", Some("prefix:TEXT|base64")),
        ] {
            assert_eq!(Filters::parse(text), None);
            assert_eq!(Filters::meant(text).as_deref(), meant);
        }
        assert_eq!(Filters::meant("wombat"), None);
    }

    proptest! {
        #[test]
        fn what_was_applied_is_undone(value in ".{0,40}", which in proptest::sample::select(vec!["base64", "base64url", "prefix:a", "prefix:a:|base64url|base64"])) {
            let filters = Filters::parse(which).unwrap();
            prop_assert_eq!(filters.undo(&filters.apply(&value)), Some(value));
        }

        #[test]
        fn anything_has_an_answer(text in ".{0,40}") {
            for which in ["base64", "base64url", "prefix:a|base64"] {
                let _ = Filters::parse(which).unwrap().undo(&text);
            }
            let _ = Filters::meant(&text);
        }
    }
}
