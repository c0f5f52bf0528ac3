//! JSON, walked in place: where each entry of an object begins and ends, without a tree and without recursion.
//!
//! ```text
//!   {"action":15,"messages":[{"data":"…"}],"msgSerial":7}
//!    key ──── ▲             ▲ skipped: strings by their quotes, brackets by their depth
//!             └─ value, as it stands
//! ```
//!
//! Rules:
//! 1. Whatever a JSON parser takes (RFC 8259) is walked, with the same keys and the same values, however deep it is.
//! 2. What no parser takes may be walked, too: inside a value nobody looks. The service is the judge of it.
//! 3. An object is whole: what stands behind it makes it none.
//! 4. Each byte is looked at once. Most strings are shorter than what it costs to call a vector search.

pub(super) mod place;

use std::{borrow::Cow, ops::ControlFlow};

use memchr::memchr2;

/// Shows each entry of the object that `bytes` are, until one is the last that counts; `None` if they are no whole
/// object, whatever was shown. A key comes without its escapes.
pub(super) fn each<'a>(
    bytes: &'a [u8],
    mut show: impl FnMut(Cow<'a, [u8]>, &'a [u8]) -> ControlFlow<()>,
) -> Option<()> {
    let mut walk = Walk { bytes, at: 0 };
    let walked = walk.all(b'{', b'}', |walk| {
        let key = walk.key()?;
        walk.mark(b':')?;
        Some(show(key, walk.value()?))
    })?;
    if walked.is_break() { Some(()) } else { walk.ends() }
}

/// The elements of the array that `bytes` are.
pub(super) fn elements(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut walk, mut elements) = (Walk { bytes, at: 0 }, Vec::new());
    let _ = walk.all(b'[', b']', |walk| {
        elements.push(walk.value()?);
        Some(ControlFlow::Continue(()))
    })?;
    walk.ends()?;
    Some(elements)
}

/// A raw value as text.
pub(super) fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if quote_or_escape(inner).is_none() {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice(value).ok().map(Cow::Owned)
}

/// Where the first quote or backslash is.
#[inline(always)]
fn quote_or_escape(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < SHORT
        && let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk)
    {
        let word = u64::from_le_bytes(*word);
        let found = first_of(word, b'"') | first_of(word, b'\\');
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    Some(at + memchr2(b'"', b'\\', &bytes[at..])?)
}

/// Bytes after which a string is long.
const SHORT: usize = 24;

/// The lowest bit that is set is the highest of the first byte that is `byte`; 0: none is.
#[inline(always)]
fn first_of(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let differs = word ^ (ONES * u64::from(byte));
    differs.wrapping_sub(ONES) & !differs & (ONES << 7)
}

/// How far the bytes have been read.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// What stands between two brackets, with commas between; `one` reads one of them.
    #[inline(always)]
    fn all(
        &mut self,
        open: u8,
        close: u8,
        mut one: impl FnMut(&mut Self) -> Option<ControlFlow<()>>,
    ) -> Option<ControlFlow<()>> {
        self.mark(open)?;
        if self.mark(close).is_some() {
            return Some(ControlFlow::Continue(()));
        }
        loop {
            if one(self)?.is_break() {
                return Some(ControlFlow::Break(()));
            }
            self.space();
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            if byte != b',' {
                return (byte == close).then_some(ControlFlow::Continue(()));
            }
        }
    }

    /// Space, and this byte.
    #[inline(always)]
    fn mark(&mut self, byte: u8) -> Option<()> {
        self.space();
        (self.bytes.get(self.at) == Some(&byte)).then(|| self.at += 1)
    }

    #[inline(always)]
    fn space(&mut self) {
        if self.bytes.get(self.at).is_some_and(|byte| *byte > b' ') {
            return;
        }
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn ends(&mut self) -> Option<()> {
        self.space();
        (self.at == self.bytes.len()).then_some(())
    }

    /// A string without its quotes; are there escapes in it?
    #[inline(always)]
    fn string(&mut self) -> Option<(&'a [u8], bool)> {
        self.mark(b'"')?;
        let (from, mut escapes) = (self.at, false);
        loop {
            let to = self.at + quote_or_escape(self.bytes.get(self.at..)?)?;
            if self.bytes[to] == b'"' {
                self.at = to + 1;
                return Some((&self.bytes[from..to], escapes));
            }
            escapes = true;
            self.at = to + 2;
        }
    }

    #[inline(always)]
    fn key(&mut self) -> Option<Cow<'a, [u8]>> {
        self.space();
        let from = self.at;
        let (key, escapes) = self.string()?;
        if escapes {
            return Some(Cow::Owned(text(&self.bytes[from..self.at])?.into_owned().into_bytes()));
        }
        Some(Cow::Borrowed(key))
    }

    /// A value, whatever it is.
    fn value(&mut self) -> Option<&'a [u8]> {
        self.space();
        let from = self.at;
        match self.bytes.get(from)? {
            b'"' => drop(self.string()?),
            b'{' | b'[' => self.nested()?,
            _ => self.scalar()?,
        }
        Some(&self.bytes[from..self.at])
    }

    /// From a bracket to the one that closes it.
    fn nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.bytes.get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// A number, or one of the three words.
    fn scalar(&mut self) -> Option<()> {
        let rest = &self.bytes[self.at..];
        let is_of_it = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = rest.iter().position(|byte| !is_of_it(byte)).unwrap_or(rest.len());
        let said = &rest[..length];
        let is_number = || said.first().is_some_and(|first| first.is_ascii_digit() || *first == b'-');
        let is_scalar = matches!(said, b"true" | b"false" | b"null") || is_number();
        is_scalar.then(|| self.at += length)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, value::RawValue};

    use super::*;

    /// Each key with its last value, as it stands.
    fn walked(bytes: &[u8]) -> Option<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        each(bytes, |key, value| {
            let key = String::from_utf8(key.into_owned()).unwrap_or_default();
            all.insert(key, String::from_utf8_lossy(value).into_owned());
            ControlFlow::Continue(())
        })?;
        Some(all)
    }

    /// The same as a parser sees it.
    fn parsed(bytes: &[u8]) -> Option<BTreeMap<String, String>> {
        let all: BTreeMap<String, &RawValue> = serde_json::from_slice(bytes).ok()?;
        Some(all.into_iter().map(|(key, value)| (key, value.get().to_owned())).collect())
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i32>().prop_map(|number| Value::from(f64::from(number) / 4.0)),
            "[a\"\\\\{}\\[\\],: é\u{1}\n]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ab\"\\\\{ü]{0,3}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Rule 1, for what is written well, compact or not.
        #[test]
        fn what_is_json_is_walked_as_it_is_parsed(value in json(), pretty in any::<bool>()) {
            let object = serde_json::json!({"a": value, "b\"": [value], "": {"a": value}});
            let text = if pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) };
            let text = text.unwrap();
            prop_assert_eq!(walked(text.as_bytes()), parsed(text.as_bytes()));
            let array = serde_json::to_string(&[&value, &value]).unwrap();
            let elements = elements(array.as_bytes()).unwrap();
            prop_assert_eq!(elements.len(), 2);
            prop_assert_eq!(serde_json::from_slice::<Value>(elements[1]).unwrap(), value);
        }

        /// Rule 1, for whatever comes of it if bytes are changed: what a parser still takes is walked alike.
        #[test]
        fn what_is_still_json_is_walked_alike(
            value in json(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..3),
        ) {
            let mut bytes = serde_json::to_vec(&serde_json::json!({"k": value, "l": 1})).unwrap();
            for (at, byte, how) in changes {
                let at = at.index(bytes.len());
                match how {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => { bytes.remove(at); }
                }
                if bytes.is_empty() { bytes.push(b'{'); }
            }
            if let Some(parsed) = parsed(&bytes) {
                prop_assert_eq!(walked(&bytes), Some(parsed));
            }
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'{'), Just(b'}'), Just(b'['), Just(b'\\'), Just(b':'), Just(b','), any::<u8>()], 0..40)) {
            let _ = (walked(&bytes), elements(&bytes), text(&bytes));
        }
    }

    #[test]
    fn what_is_no_object_is_none() {
        for bytes in [
            "",
            "{",
            "}",
            "[]",
            "{}{}",
            "{} x",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":tru}",
            "{\"a\":'x'}",
            "{\"a\":[1}",
            "{\"a\":\"x}",
            "{\"a\\\":1}",
            "{\"\\ud800\":1}",
            "{\"a\":]}",
        ] {
            assert_eq!(walked(bytes.as_bytes()), None, "{bytes}");
        }
        assert_eq!(
            walked(b" {\t\"a\" : [ { } ] , \"\\u0061\" : null }\n").unwrap()["a"],
            "null",
            "the last one counts"
        );
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(walked(deep.as_bytes()).is_some());
    }
}
