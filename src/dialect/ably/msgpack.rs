//! MessagePack, walked in place: where each value begins and ends, without decoding it.

use std::{borrow::Cow, ops::ControlFlow};

/// Shows each entry of the map that `bytes` are, until one is the last that counts; `None` if they are no whole map with
/// texts for keys.
pub(super) fn each<'a>(
    bytes: &'a [u8],
    mut show: impl FnMut(Cow<'a, [u8]>, &'a [u8]) -> ControlFlow<()>,
) -> Option<()> {
    let (count, mut rest) = header(bytes, 0x80, 0xde)?;
    for _ in 0..count {
        let (key, after) = split_value(rest)?;
        let (value, after) = split_value(after)?;
        if show(Cow::Borrowed(key_bytes(key)?), value).is_break() {
            return Some(());
        }
        rest = after;
    }
    rest.is_empty().then_some(())
}

/// The elements of the array that `bytes` are.
pub(super) fn elements(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let (count, mut rest) = header(bytes, 0x90, 0xdc)?;
    let mut elements = Vec::with_capacity(count.min(rest.len()));
    for _ in 0..count {
        let (value, after) = split_value(rest)?;
        elements.push(value);
        rest = after;
    }
    rest.is_empty().then_some(elements)
}

/// A raw value as text.
pub(super) fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(text_bytes(value)?).ok()
}

fn text_bytes(value: &[u8]) -> Option<&[u8]> {
    let (first, rest) = value.split_first()?;
    match first {
        0xa0..=0xbf => Some(rest),
        0xd9 => rest.get(1..),
        0xda => rest.get(2..),
        0xdb => rest.get(4..),
        _ => None,
    }
}

/// A key: some write a text as bytes, and some read bytes as a text.
fn key_bytes(key: &[u8]) -> Option<&[u8]> {
    match key.first()? {
        0xc4 => key.get(2..),
        0xc5 => key.get(3..),
        0xc6 => key.get(5..),
        _ => text_bytes(key),
    }
}

/// Count and rest of a map (fix 0x80, wide 0xde) or an array (fix 0x90, wide 0xdc).
fn header(bytes: &[u8], fix: u8, wide: u8) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    match *first {
        small if small & 0xf0 == fix => Some((usize::from(small & 0x0f), rest)),
        first if first == wide => number(rest, 2),
        first if first == wide + 1 => number(rest, 4),
        _ => None,
    }
}

/// A big-endian number of `width` bytes, and what follows.
fn number(bytes: &[u8], width: usize) -> Option<(usize, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(width)?;
    let value = digits.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    Some((usize::try_from(value).ok()?, rest))
}

/// The first value, and what follows it. Values within values are counted, not followed: nesting costs nothing.
fn split_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut rest, mut values) = (bytes, 1_usize);
    while values > 0 {
        let (within, after) = split_one(rest)?;
        values = (values - 1).checked_add(within)?;
        rest = after;
        if values > rest.len() {
            // Each takes a byte at least: the count is a lie.
            return None;
        }
    }
    bytes.split_at_checked(bytes.len() - rest.len())
}

/// How many values are within the first one, and what follows its own bytes.
fn split_one(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let sized = |width: usize, extra: usize| {
        let (len, rest) = number(rest, width)?;
        rest.get(len.checked_add(extra)?..)
    };
    let after = match *first {
        0x00..=0x7f | 0xe0..=0xff | 0xc0..=0xc3 => rest,
        small @ 0x80..=0x8f => return Some((usize::from(small & 0x0f) * 2, rest)),
        small @ 0x90..=0x9f => return Some((usize::from(small & 0x0f), rest)),
        small @ 0xa0..=0xbf => rest.get(usize::from(small & 0x1f)..)?,
        0xc4 | 0xd9 => sized(1, 0)?,
        0xc5 | 0xda => sized(2, 0)?,
        0xc6 | 0xdb => sized(4, 0)?,
        0xc7 => sized(1, 1)?,
        0xc8 => sized(2, 1)?,
        0xc9 => sized(4, 1)?,
        0xcc | 0xd0 => rest.get(1..)?,
        0xcd | 0xd1 | 0xd4 => rest.get(2..)?,
        0xd5 => rest.get(3..)?,
        0xca | 0xce | 0xd2 => rest.get(4..)?,
        0xd6 => rest.get(5..)?,
        0xcb | 0xcf | 0xd3 => rest.get(8..)?,
        0xd7 => rest.get(9..)?,
        0xd8 => rest.get(17..)?,
        0xdc => return number(rest, 2),
        0xdd => return number(rest, 4),
        wide @ (0xde | 0xdf) => {
            let (entries, rest) = number(rest, if wide == 0xde { 2 } else { 4 })?;
            return Some((entries.checked_mul(2)?, rest));
        }
    };
    Some((0, after))
}

/// The shortest form, as the SDKs write it.
pub(super) fn put_uint(value: u64, out: &mut Vec<u8>) {
    match value {
        0..=0x7f => out.push(value as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    match text.len() {
        len @ 0..=31 => out.push(0xa0 | len as u8),
        len @ 32..=0xff => out.extend_from_slice(&[0xd9, len as u8]),
        len @ 0x100..=0xffff => {
            out.push(0xda);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0xdb);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn put_map_header(entries: usize, out: &mut Vec<u8>) {
    put_header(entries, 0x80, 0xde, out);
}

pub(super) fn put_array_header(elements: usize, out: &mut Vec<u8>) {
    put_header(elements, 0x90, 0xdc, out);
}

fn put_header(count: usize, fix: u8, wide: u8, out: &mut Vec<u8>) {
    match count {
        0..=15 => out.push(fix | count as u8),
        16..=0xffff => {
            out.push(wide);
            out.extend_from_slice(&(count as u16).to_be_bytes());
        }
        _ => {
            out.push(wide + 1);
            out.extend_from_slice(&(count as u32).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = rmpv::Value> {
        use rmpv::Value;
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Boolean),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::F64),
            ".{0,40}".prop_map(Value::from),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Binary),
            (any::<i8>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(t, b)| Value::Ext(t, b)),
        ];
        leaf.prop_recursive(4, 40, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
                prop::collection::vec((inner.clone(), inner), 0..20).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        /// Where a value ends is where the library says that it ends.
        #[test]
        fn values_are_walked_as_the_library_reads_them(value in any_value(), behind: Vec<u8>) {
            let mut bytes = Vec::new();
            rmpv::encode::write_value(&mut bytes, &value).unwrap();
            let len = bytes.len();
            bytes.extend_from_slice(&behind);
            let (first, rest) = split_value(&bytes).unwrap();
            prop_assert_eq!((first.len(), rest), (len, &behind[..]));
        }

        #[test]
        fn hostile_bytes_are_refused_or_walked(bytes: Vec<u8>) {
            let _ = each(&bytes, |_, _| ControlFlow::Continue(()));
            let _ = elements(&bytes);
        }

        #[test]
        fn numbers_and_texts_are_read_by_the_library(value: u64, text in ".{0,300}") {
            let mut bytes = Vec::new();
            put_uint(value, &mut bytes);
            prop_assert_eq!(rmpv::decode::read_value(&mut &bytes[..]).unwrap(), rmpv::Value::from(value));
            let mut bytes = Vec::new();
            put_text(&text, &mut bytes);
            prop_assert_eq!(super::text(&bytes), Some(&*text));
            prop_assert_eq!(rmpv::decode::read_value(&mut &bytes[..]).unwrap(), rmpv::Value::from(text));
        }
    }

    #[test]
    fn nesting_costs_nothing_and_counts_are_checked() {
        let deep = [vec![0x91; 100_000], vec![0xc0]].concat();
        assert_eq!(split_value(&deep), Some((&deep[..], &[][..])));
        assert_eq!(split_value(&deep[..100_000]), None);
        assert_eq!(each(&[0xdf, 0xff, 0xff, 0xff, 0xff], |_, _| ControlFlow::Continue(())), None);
        assert_eq!(split_value(&[0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0]), None);
    }
}
