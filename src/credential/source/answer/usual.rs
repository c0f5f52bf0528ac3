//! The usual names of what stands in an answer.
//!
//! Services write one name in many ways (`expires_in`, `expiresIn`, `ExpiresIn`): case, `_` and `-` do not count.

use serde_json::{Map, Value};

/// An access token; an ID token if there is no other one.
const TOKEN: [&str; 4] = ["access_token", "token", "id_token", "jwt"];

/// The token.
pub(super) fn token(object: &Map<String, Value>) -> Option<(&'static str, &Value)> {
    first(object, &TOKEN)
}

/// The first of these members that is there and not null.
pub(super) fn first<'a>(
    object: &'a Map<String, Value>,
    names: &'a [&'static str],
) -> Option<(&'static str, &'a Value)> {
    each(object, names).next()
}

/// All of these members that are there and not null, in the order of the names.
pub(super) fn each<'a>(
    object: &'a Map<String, Value>,
    names: &'a [&'static str],
) -> impl Iterator<Item = (&'static str, &'a Value)> {
    names.iter().flat_map(move |name| {
        let found = object.iter().filter(|(key, value)| is_same(key, name) && !value.is_null());
        found.map(|(_, value)| (*name, value))
    })
}

fn is_same(one: &str, other: &str) -> bool {
    fn letters(text: &str) -> impl Iterator<Item = u8> {
        text.bytes().filter(|byte| !b"_-".contains(byte)).map(|byte| byte.to_ascii_lowercase())
    }
    letters(one).eq(letters(other))
}
