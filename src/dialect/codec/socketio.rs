//! Engine.IO 4, and Socket.IO 5 in its messages (the protocol of Socket.IO 3 and 4), as JSON.
//!
//! ```text
//!   0{"sid":"x"}          {"eio":0,"data":{"sid":"x"}}
//!   2   2probe            {"eio":2}   {"eio":2,"data":"probe"}
//!   42/a,7["ev",1,"o"]    {"eio":4,"sio":2,"nsp":"/a","id":7,"data":["ev",1,"o"],"last":"o"}
//!   451-["ev",{…}]        {"eio":4,"sio":5,"attachments":1,"nsp":"/","data":["ev",{…}]}
//! ```
//!
//! Rules:
//! 1. `last` is the last element of an event, if that is a text: with connection state recovery it is the position of the
//!    event. It is not written.
//! 2. Attachments are binary messages of their own, which no rule is about: an event with some is not to be said again.
//! 3. What follows a packet type has to be what that type has: otherwise nobody can say what the service reads in it.

use std::{borrow::Cow, ops::ControlFlow};

use super::{Read, json, place};
use crate::config::dialect::Pointer;

/// The types of Engine.IO: open, close, ping, pong, message, upgrade, noop.
const MESSAGE: u8 = b'4';

pub(super) fn read(bytes: &[u8]) -> Read<'_> {
    let Some((kind @ b'0'..=b'6', rest)) = bytes.split_first() else { return Read::Foreign };
    let view = match kind {
        b'0' => json_value(rest).then(|| [b"{\"eio\":0,\"data\":", rest, b"}"].concat()),
        b'2' | b'3' if !rest.is_empty() => {
            let probe = (rest == b"probe").then_some(*kind);
            probe.map(|kind| format!("{{\"eio\":{},\"data\":\"probe\"}}", char::from(kind)).into_bytes())
        }
        &MESSAGE => packet(rest),
        kind => rest.is_empty().then(|| format!("{{\"eio\":{}}}", char::from(*kind)).into_bytes()),
    };
    view.map_or(Read::Unread, |view| Read::One(Cow::Owned(view)))
}

/// A packet of Socket.IO; `None`: it is none.
fn packet(bytes: &[u8]) -> Option<Vec<u8>> {
    let (kind @ b'0'..=b'6', rest) = bytes.split_first()? else { return None };
    let mut view = format!("{{\"eio\":4,\"sio\":{}", char::from(*kind)).into_bytes();
    let mut rest = rest;
    if matches!(kind, b'5' | b'6') {
        let count = digits(rest);
        view.extend_from_slice(&[b",\"attachments\":", &rest[..count]].concat());
        rest = rest[count..].strip_prefix(b"-").filter(|_| count > 0)?;
    }
    let namespace = if rest.first() == Some(&b'/') {
        let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
        let namespace = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        std::str::from_utf8(namespace).ok()?
    } else {
        "/"
    };
    view.extend_from_slice(b",\"nsp\":");
    view.extend_from_slice(&serde_json::to_vec(namespace).ok()?);
    let id = digits(rest);
    if id > 0 {
        view.extend_from_slice(&[b",\"id\":", &rest[..id]].concat());
        rest = &rest[id..];
    }
    if !rest.is_empty() {
        view.extend_from_slice(&[b",\"data\":", rest].concat());
        if rest.first() != Some(&b'[') {
            json_value(rest).then_some(())?;
        } else if let Some(last) = last(rest)? {
            view.extend_from_slice(&[b",\"last\":", last].concat());
        }
    }
    view.push(b'}');
    Some(view)
}

/// How many digits it begins with. A number has no more of them than one can count with.
fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take(18).take_while(|byte| byte.is_ascii_digit()).count()
}

/// Are the bytes one value, and nothing else?
fn json_value(bytes: &[u8]) -> bool {
    // In an array of its own it is one element.
    let wrapped = [b"[", bytes, b"]"].concat();
    json::elements(&wrapped).is_some_and(|all| all.len() == 1)
}

/// The last element, if it is a text behind the name of an event; `None`: this is no array.
#[expect(clippy::option_option, reason = "no array, nothing of the kind, a position")]
fn last(array: &[u8]) -> Option<Option<&[u8]>> {
    let mut last = None;
    place::each_element(array, |nth, element| {
        last = Some(element).filter(|element| nth > 0 && element.first() == Some(&b'"'));
        ControlFlow::Continue(())
    })?;
    Some(last)
}

/// The packet that a text stands for. What is missing is an event in the main namespace.
pub(super) fn write(text: &[u8]) -> Vec<u8> {
    let member = |name: &str| {
        let pointer = Pointer::parse(name).ok()?;
        place::at(text, &pointer.0).ok().flatten()
    };
    let data = member("/data").unwrap_or_default();
    let eio = member("/eio").unwrap_or(b"4");
    if eio != b"4" {
        let probe = json::text(data).map(|text| text.into_owned().into_bytes());
        return [eio, &probe.unwrap_or_else(|| data.to_vec())].concat();
    }
    let mut packet = [b"4", member("/sio").unwrap_or(b"2")].concat();
    if let Some(count) = member("/attachments") {
        packet.extend_from_slice(&[count, b"-"].concat());
    }
    let namespace = member("/nsp").and_then(json::text).unwrap_or(Cow::Borrowed("/"));
    if namespace != "/" {
        packet.extend_from_slice(format!("{namespace},").as_bytes());
    }
    packet.extend_from_slice(member("/id").unwrap_or_default());
    packet.extend_from_slice(data);
    packet
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn view(packet: &str) -> Option<String> {
        match read(packet.as_bytes()) {
            Read::One(view) => Some(String::from_utf8(view.into_owned()).unwrap()),
            Read::Several(_) | Read::Foreign | Read::Unread => None,
        }
    }

    #[test]
    fn each_packet_has_its_json() {
        for (packet, expected) in [
            ("0{\"sid\":\"x\"}", r#"{"eio":0,"data":{"sid":"x"}}"#),
            ("1", r#"{"eio":1}"#),
            ("2", r#"{"eio":2}"#),
            ("3probe", r#"{"eio":3,"data":"probe"}"#),
            ("40", r#"{"eio":4,"sio":0,"nsp":"/"}"#),
            ("40{\"token\":\"t\"}", r#"{"eio":4,"sio":0,"nsp":"/","data":{"token":"t"}}"#),
            ("40/admin,{\"a\":1}", r#"{"eio":4,"sio":0,"nsp":"/admin","data":{"a":1}}"#),
            ("41/admin,", r#"{"eio":4,"sio":1,"nsp":"/admin"}"#),
            ("420[\"hi\",1]", r#"{"eio":4,"sio":2,"nsp":"/","id":0,"data":["hi",1]}"#),
            ("42[\"ev\",\"o\"]", r#"{"eio":4,"sio":2,"nsp":"/","data":["ev","o"],"last":"o"}"#),
            ("43/a,17[]", r#"{"eio":4,"sio":3,"nsp":"/a","id":17,"data":[]}"#),
            (
                "451-[\"ev\",{\"n\":0}]",
                r#"{"eio":4,"sio":5,"attachments":1,"nsp":"/","data":["ev",{"n":0}]}"#,
            ),
        ] {
            assert_eq!(view(packet).as_deref(), Some(expected), "{packet}");
            let written = String::from_utf8(write(expected.as_bytes())).unwrap();
            // The comma behind a namespace without more is written too.
            assert_eq!(written, packet);
        }
    }

    #[test]
    fn what_is_no_packet_is_not_guessed_at() {
        for bytes in ["", "hello", "7", "{\"a\":1}", "\u{4}"] {
            assert_eq!(read(bytes.as_bytes()), Read::Foreign, "{bytes}");
        }
        for bytes in [
            "0",
            "0{",
            "1x",
            "2prob",
            "4",
            "49",
            "45[1]",
            "42[\"a\"",
            "42[1],[2]",
            "40{}{}",
            "40{\"a\":1},\"x\":{}",
            "42[1] x",
        ] {
            assert_eq!(read(bytes.as_bytes()), Read::Unread, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_read_is_written(bytes in "[0-6]{0,3}(/[a-z]{1,3},)?[0-9]{0,4}(\\[\"[a-z]{0,3}\"(,[0-9]{1,3})?\\]|\\{\\}|.{0,8})") {
            if let Read::One(view) = read(bytes.as_bytes()) {
                serde_json::from_slice::<serde_json::Value>(&view).ok();
                prop_assert_eq!(String::from_utf8(write(&view)).unwrap(), bytes.as_str());
            }
        }
    }
}
