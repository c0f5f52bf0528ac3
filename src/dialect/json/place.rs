//! Values in JSON by their pointers, and changes in place: all that is not changed stays as it is written, byte for byte.
//!
//! Rules:
//! 1. A member that comes twice on the way is a doubt: parsers disagree on which of them counts.
//! 2. What is no whole JSON on the way is one, too. Beside the way nobody looks.

use std::ops::ControlFlow;

use super::Walk;
use crate::config::dialect::Step;

/// Nobody can say what stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) struct Doubt;

/// The value at the end of these steps; `None`: there is none.
pub(in crate::dialect) fn at<'a>(bytes: &'a [u8], steps: &[Step]) -> Result<Option<&'a [u8]>, Doubt> {
    let mut value = bytes;
    for step in steps {
        let Some(inner) = one_step(value, step)? else { return Ok(None) };
        value = inner;
    }
    Ok(Some(value))
}

fn one_step<'a>(value: &'a [u8], step: &Step) -> Result<Option<&'a [u8]>, Doubt> {
    let (mut found, mut twice) = (None, false);
    match opening(value) {
        Some(b'{') => {
            let name = step.name.as_bytes();
            super::each(value, |key, value| {
                if *key == *name {
                    twice |= found.replace(value).is_some();
                }
                ControlFlow::Continue(())
            })
            .ok_or(Doubt)?;
        }
        Some(b'[') => {
            let Some(index) = step.index else { return Ok(None) };
            each_element(value, |nth, value| {
                if nth == index {
                    found = Some(value);
                }
                ControlFlow::Continue(())
            })
            .ok_or(Doubt)?;
        }
        Some(_) | None => {}
    }
    if twice { Err(Doubt) } else { Ok(found) }
}

/// The first byte that is no space.
pub(in crate::dialect) fn opening(bytes: &[u8]) -> Option<u8> {
    bytes.iter().copied().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
}

/// Shows each element of the array that `bytes` are, until one is the last that counts; `None` if they are no whole array.
pub(in crate::dialect) fn each_element<'a>(
    bytes: &'a [u8],
    mut show: impl FnMut(usize, &'a [u8]) -> ControlFlow<()>,
) -> Option<()> {
    let (mut walk, mut nth) = (Walk { bytes, at: 0 }, 0);
    let walked = walk.all(b'[', b']', |walk| {
        let shown = show(nth, walk.value()?);
        nth += 1;
        Some(shown)
    })?;
    if walked.is_break() { Some(()) } else { walk.ends() }
}

/// The same JSON with this value there. Objects that are missing are made. `None`: it cannot stand there.
pub(in crate::dialect) fn put(bytes: &[u8], steps: &[Step], value: &[u8]) -> Option<Vec<u8>> {
    let Some((step, rest)) = steps.split_first() else { return Some(value.to_vec()) };
    if opening(bytes) == Some(b'n') {
        return Some(made(steps, value));
    }
    match one_step(bytes, step).ok()? {
        Some(inner) => {
            let inside = put(inner, rest, value)?;
            Some(spliced(bytes, inner, &inside))
        }
        None => {
            let close = bytes.iter().rposition(|byte| !byte.is_ascii_whitespace())?;
            let (before, behind) = bytes.split_at(close);
            let is_empty = before
                .iter()
                .rev()
                .find(|byte| !byte.is_ascii_whitespace())
                .is_some_and(|byte| matches!(byte, b'{' | b'['));
            let comma: &[u8] = if is_empty { b"" } else { b"," };
            let new = match opening(bytes)? {
                b'{' => member(step, &made(rest, value)),
                b'[' if step.index == length(bytes) => made(rest, value),
                _ => return None,
            };
            Some([before, comma, &new, behind].concat())
        }
    }
}

/// The same JSON without what stands there.
pub(in crate::dialect) fn without(bytes: &[u8], steps: &[Step]) -> Option<Vec<u8>> {
    let (step, rest) = steps.split_first()?;
    let Some(inner) = one_step(bytes, step).ok()? else { return Some(bytes.to_vec()) };
    if !rest.is_empty() {
        return Some(spliced(bytes, inner, &without(inner, rest)?));
    }
    let (mut kept, mut first) = (Vec::with_capacity(bytes.len()), true);
    let mut keep = |entry: &[u8]| {
        if !std::mem::take(&mut first) {
            kept.push(b',');
        }
        kept.extend_from_slice(entry);
    };
    if opening(bytes) == Some(b'{') {
        super::each(bytes, |key, value| {
            if *key != *step.name.as_bytes() {
                let key = serde_json::to_vec(&String::from_utf8_lossy(&key)).unwrap_or_default();
                keep(&[&key, &b":"[..], value].concat());
            }
            ControlFlow::Continue(())
        })?;
        Some([b"{", &kept[..], b"}"].concat())
    } else {
        each_element(bytes, |nth, value| {
            if Some(nth) != step.index {
                keep(value);
            }
            ControlFlow::Continue(())
        })?;
        Some([b"[", &kept[..], b"]"].concat())
    }
}

/// Objects around a value.
fn made(steps: &[Step], value: &[u8]) -> Vec<u8> {
    steps.iter().rev().fold(value.to_vec(), |value, step| [b"{", &member(step, &value)[..], b"}"].concat())
}

fn member(step: &Step, value: &[u8]) -> Vec<u8> {
    let name = serde_json::to_vec(&*step.name).unwrap_or_default();
    [&name, &b":"[..], value].concat()
}

fn length(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    each_element(bytes, |nth, _| {
        length = nth + 1;
        ControlFlow::Continue(())
    })?;
    Some(length)
}

/// `inner` is a part of `bytes`, and this takes its place.
fn spliced(bytes: &[u8], inner: &[u8], new: &[u8]) -> Vec<u8> {
    let from = inner.as_ptr().addr() - bytes.as_ptr().addr();
    [&bytes[..from], new, &bytes[from + inner.len()..]].concat()
}

/// Are these the same value, however they are written?
pub(in crate::dialect) fn same(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    // Different bytes are the same value only with an escape, another number, or spaces.
    let plain = |bytes: &[u8]| bytes.first() == Some(&b'"') && memchr::memchr(b'\\', bytes).is_none();
    // Integers have one spelling, and may be longer than a parser keeps.
    let integer = |bytes: &[u8]| bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-');
    if plain(one) && plain(other) || integer(one) && integer(other) {
        return false;
    }
    let parsed = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    match (parsed(one), parsed(other)) {
        (Some(one), Some(other)) => {
            one == other || one.as_f64().is_some_and(|one| Some(one) == other.as_f64())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::config::dialect::Pointer;

    fn steps(pointer: &str) -> Vec<Step> {
        Pointer::parse(pointer).unwrap().0
    }

    fn put_text(text: &str, pointer: &str, value: &str) -> Option<String> {
        put(text.as_bytes(), &steps(pointer), value.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_value_is_put_where_the_pointer_says_and_the_rest_stays() {
        for (text, pointer, expected) in [
            (r#"{"a": 1e2, "b":{"t":"old"} }"#, "/b/t", Some(r#"{"a": 1e2, "b":{"t":9} }"#)),
            (r#"{"a":1}"#, "/b/t", Some(r#"{"a":1,"b":{"t":9}}"#)),
            (r#"{ }"#, "/b", Some(r#"{ "b":9}"#)),
            (r#"{"b":null}"#, "/b/t/u", Some(r#"{"b":{"t":{"u":9}}}"#)),
            (r#"["x",{"t":1},[]]"#, "/1/t", Some(r#"["x",{"t":9},[]]"#)),
            (r#"["x"]"#, "/1", Some(r#"["x",9]"#)),
            (r#"["x"]"#, "/2", None),
            (r#"{"b":"text"}"#, "/b/t", None),
            (r#"{"b":1,"b":2}"#, "/b", None),
            (r#"{"b\u0062":1}"#, "/bb", Some(r#"{"b\u0062":9}"#)),
            ("7", "/b", None),
            ("7", "", Some("9")),
        ] {
            assert_eq!(put_text(text, pointer, "9").as_deref(), expected, "{text} {pointer}");
        }
    }

    #[test]
    fn what_is_taken_out_is_gone_and_the_rest_stays() {
        for (text, pointer, expected) in [
            (r#"{"a":1.50,"b":2}"#, "/a", r#"{"b":2}"#),
            (r#"{"a":1.50,"b":2}"#, "/b", r#"{"a":1.50}"#),
            (r#"{"a":{"b":1}}"#, "/a/b", r#"{"a":{}}"#),
            (r#"[1,2,3]"#, "/1", "[1,3]"),
            (r#"{"a":1}"#, "/x/y", r#"{"a":1}"#),
        ] {
            let out = without(text.as_bytes(), &steps(pointer)).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{text} {pointer}");
        }
    }

    #[test]
    fn equal_values_are_the_same_however_they_are_written() {
        for (one, other, expected) in [
            ("\"a\"", "\"a\"", true),
            ("\"a\"", "\"\\u0061\"", true),
            ("1", "1.0", true),
            ("1", "\"1\"", false),
            ("\"a\"", "\"b\"", false),
            ("{\"a\":1}", "{ \"a\" : 1 }", true),
            ("12345678901234567890123", "12345678901234567890124", false),
        ] {
            assert_eq!(same(one.as_bytes(), other.as_bytes()), expected, "{one} {other}");
        }
    }

    proptest! {
        /// As a parser sees it, for whatever is written well.
        #[test]
        fn it_is_as_if_a_tree_were_changed(
            depth in 0..3_usize, index in 0..3_usize, width in 0..4_usize, pretty in any::<bool>(),
        ) {
            let mut value = json!({"k": [1, {"a": "x\"y"}, null], "é": 2.5});
            for nth in 0..width {
                value[format!("m{nth}")] = json!(nth);
            }
            let paths = [["/k", "/k/1", "/k/1/a"], ["/é", "/m0", "/k/0"], ["/k/2", "/m1", "/k/1/a"]];
            let pointer = paths[index][depth];
            prop_assume!(value.pointer(pointer).is_some());
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.unwrap();
            let put = put(text.as_bytes(), &steps(pointer), b"[7]").unwrap();
            *value.pointer_mut(pointer).unwrap() = json!([7]);
            prop_assert_eq!(serde_json::from_slice::<Value>(&put).unwrap(), value);
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b'\\'), Just(b':'), Just(b','), Just(b'a'), any::<u8>()], 0..40)) {
            for pointer in ["", "/a", "/a/0", "/0/a"] {
                let steps = steps(pointer);
                let _ = (at(&bytes, &steps), put(&bytes, &steps, b"1"), without(&bytes, &steps));
            }
        }
    }
}
