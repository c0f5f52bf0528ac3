//! Filters: what a value goes through before it stands in its place, `{token|base64url}`, and back again.
//!
//! | filter | makes of `abc` | who wants it |
//! |---|---|---|
//! | `base64` | `YWJj`, padded (RFC 4648 §4) | |
//! | `base64url` | `YWJj`, without padding (RFC 4648 §5) | Kubernetes: `base64url.bearer.authorization.k8s.io.{token|base64url}` |
//! | `prefix:TEXT` | `TEXTabc` | Basic: `Authorization: Basic {token|prefix:user:|base64}` |
//! | `json:/POINTER` | `{"POINTER":"abc"}` | AppSync: `header-{token|json:/Authorization|base64url}` |
//!
//! They are applied from left to right. Where a client's own value is replaced, the rest of its JSON stays.

use std::fmt;

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};

use serde_json::{Map, Value};

use super::error::nearest;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Filter {
    Base64,
    Base64Url,
    Prefix(String),
    /// The members that lead to it, the outermost first.
    Json(Vec<String>),
}

/// Those of one name; mostly none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Filters(Vec<Filter>);

/// As they are written.
const WORDS: [&str; 4] = ["base64", "base64url", "json", "prefix"];

impl Filters {
    /// Reads `base64url`, `prefix:x:|base64`, `json:/a/b`. `None`: one of them is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let filter = |word: &str| match word.split_once(':') {
            None if word == "base64" => Some(Filter::Base64),
            None if word == "base64url" => Some(Filter::Base64Url),
            Some(("prefix", prefix)) => Some(Filter::Prefix(prefix.to_owned())),
            Some(("json", pointer)) => members(pointer).map(Filter::Json),
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
                "json" => "json:/POINTER".to_owned(),
                near => near.to_owned(),
            }),
        };
        text.split('|').map(word).collect::<Option<Vec<_>>>().map(|words| words.join("|"))
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value as it stands in its place.
    pub fn apply(&self, value: &str) -> String {
        self.0.iter().fold(value.to_owned(), |value, filter| filter.apply(&value, None))
    }

    /// The value that stands there so; `None`: it is written in another way.
    pub fn undo(&self, text: &str) -> Option<String> {
        self.0.iter().rev().try_fold(text.to_owned(), |text, filter| filter.undo(&text))
    }

    /// `text` with another value in it, and everything else as it was.
    pub fn replaced(&self, text: &str, value: &str) -> String {
        // What each filter made, the last first.
        let mut made = vec![Some(text.to_owned())];
        for filter in self.0.iter().rev() {
            made.push(made.last().and_then(|text| filter.undo(text.as_deref()?)));
        }
        made.pop();
        let made = made.iter().rev().map(Option::as_deref);
        self.0.iter().zip(made).fold(value.to_owned(), |value, (filter, made)| filter.apply(&value, made))
    }
}

impl Filter {
    /// What becomes of the value; `before`: what the filter made of another one.
    fn apply(&self, value: &str, before: Option<&str>) -> String {
        match self {
            Self::Base64 => BASE64_STANDARD.encode(value),
            Self::Base64Url => BASE64_URL_SAFE_NO_PAD.encode(value),
            Self::Prefix(prefix) => format!("{prefix}{value}"),
            Self::Json(members) => {
                let mut document =
                    before.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
                put(&mut document, members, value);
                document.to_string()
            }
        }
    }

    fn undo(&self, text: &str) -> Option<String> {
        let bytes = match self {
            Self::Base64 => BASE64_STANDARD.decode(text).ok()?,
            // Some pad it all the same.
            Self::Base64Url => BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?,
            Self::Prefix(prefix) => text.strip_prefix(prefix.as_str())?.as_bytes().to_vec(),
            Self::Json(members) => {
                let document: Value = serde_json::from_str(text).ok()?;
                let value = members.iter().try_fold(&document, |value, member| value.get(member))?;
                return value.as_str().map(str::to_owned);
            }
        };
        String::from_utf8(bytes).ok()
    }
}

/// The members that a JSON Pointer names (RFC 6901); `None`: it names none.
fn members(pointer: &str) -> Option<Vec<String>> {
    let names = pointer.strip_prefix('/')?.split('/');
    Some(names.map(|name| name.replace("~1", "/").replace("~0", "~")).collect())
}

/// Puts a text where the members lead, through objects that are made if they are not there.
fn put(document: &mut Value, members: &[String], text: &str) {
    let place = members.iter().fold(document, |value, member| {
        if !value.is_object() {
            *value = Value::Object(Map::new());
        }
        &mut value[member]
    });
    *place = text.into();
}

impl fmt::Display for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for filter in &self.0 {
            match filter {
                Filter::Base64 => f.write_str("|base64")?,
                Filter::Base64Url => f.write_str("|base64url")?,
                Filter::Prefix(prefix) => write!(f, "|prefix:{prefix}")?,
                Filter::Json(members) => {
                    f.write_str("|json:")?;
                    for member in members {
                        write!(f, "/{}", member.replace('~', "~0").replace('/', "~1"))?;
                    }
                }
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
            ("json:/Authorization", r#"{"Authorization":"???abc"}"#),
            ("prefix:Bearer |json:/a~1b/c", r#"{"a/b":{"c":"Bearer ???abc"}}"#),
        ] {
            let filters = Filters::parse(filters).unwrap();
            assert_eq!(filters.apply("???abc"), expected);
            assert_eq!(filters.undo(expected).as_deref(), Some("???abc"));
            assert_eq!(Filters::parse(filters.to_string().trim_start_matches('|')), Some(filters));
        }
        let url = Filters::parse("base64url").unwrap();
        assert_eq!(
            (url.undo("YWJjZA==").as_deref(), url.undo("a.b"), url.undo("_w")),
            (Some("abcd"), None, None)
        );
    }

    #[test]
    fn what_stands_beside_a_value_in_json_stays() {
        let filters = Filters::parse("json:/Authorization|base64url").unwrap();
        let shown = BASE64_URL_SAFE_NO_PAD.encode(r#"{"host":"api.example","Authorization":"T0"}"#);
        assert_eq!(filters.undo(&shown).as_deref(), Some("T0"));
        let replaced = BASE64_URL_SAFE_NO_PAD.decode(filters.replaced(&shown, "T\"1")).unwrap();
        let replaced: Value = serde_json::from_slice(&replaced).unwrap();
        assert_eq!(replaced, serde_json::json!({ "host": "api.example", "Authorization": "T\"1" }));
        // What is none is as if nothing had been there.
        assert_eq!(filters.replaced("???", "T1"), filters.apply("T1"));
        for bad in ["W10", "eyJBdXRob3JpemF0aW9uIjo1fQ", "bnVsbA"] {
            assert_eq!(filters.undo(bad), None, "{bad}");
        }
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
        fn what_was_applied_is_undone(value in ".{0,40}", which in proptest::sample::select(vec!["base64", "base64url", "prefix:a", "json:/a", "prefix:a:|base64url|base64", "json:/a/b|base64|json:/c"])) {
            let filters = Filters::parse(which).unwrap();
            prop_assert_eq!(filters.undo(&filters.apply(&value)), Some(value));
        }

        #[test]
        fn anything_has_an_answer(text in ".{0,40}") {
            for which in ["base64", "base64url", "prefix:a|base64", "json:/a/b", "json:/a|base64"] {
                let filters = Filters::parse(which).unwrap();
                let _ = (filters.undo(&text), filters.replaced(&text, "T1"));
            }
            let _ = Filters::meant(&text);
        }
    }
}
