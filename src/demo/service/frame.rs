//! Protocol messages as generic trees, in both formats.
//!
//! A tree can hold whatever a client sends, also what this service has never heard of; it is what
//! comes back out to subscribers of either format.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use rmpv::Value;
use serde_json::{Map, Number, Value as Json};
use tokio_tungstenite::tungstenite::Message;

/// What `action` says.
pub(super) mod action {
    pub(crate) const HEARTBEAT: u64 = 0;
    pub(crate) const ACK: u64 = 1;
    pub(crate) const NACK: u64 = 2;
    pub(crate) const CONNECTED: u64 = 4;
    pub(crate) const DISCONNECT: u64 = 5;
    pub(crate) const DISCONNECTED: u64 = 6;
    pub(crate) const CLOSE: u64 = 7;
    pub(crate) const CLOSED: u64 = 8;
    pub(crate) const ERROR: u64 = 9;
    pub(crate) const ATTACH: u64 = 10;
    pub(crate) const ATTACHED: u64 = 11;
    pub(crate) const DETACH: u64 = 12;
    pub(crate) const DETACHED: u64 = 13;
    pub(crate) const PRESENCE: u64 = 14;
    pub(crate) const MESSAGE: u64 = 15;
    pub(crate) const SYNC: u64 = 16;
    pub(crate) const AUTH: u64 = 17;
    pub(crate) const OBJECT: u64 = 19;
    pub(crate) const ANNOTATION: u64 = 21;
}

/// The two formats of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Text messages of JSON.
    Json,
    /// Binary messages of msgpack.
    Msgpack,
}

impl Format {
    /// Reads one protocol message; the error says what no client may send. JSON may come in binary frames: ably-java
    /// sends it so.
    pub(super) fn decode(self, message: &Message) -> Result<Value, &'static str> {
        let tree = match (self, message) {
            (Self::Json, Message::Text(_) | Message::Binary(_)) => {
                let said = message.clone().into_data();
                from_json(serde_json::from_slice(&said).map_err(|_| "a message that is no JSON")?)
            }
            (Self::Msgpack, Message::Binary(bytes)) => {
                let mut rest: &[u8] = bytes;
                let tree = rmpv::decode::read_value(&mut rest).map_err(|_| "binary that is no msgpack")?;
                if !rest.is_empty() {
                    return Err("bytes after the msgpack value");
                }
                tree
            }
            (Self::Json, _) => return Err("no message at all"),
            (Self::Msgpack, _) => return Err("a text message where the format is msgpack"),
        };
        if tree.is_map() { Ok(tree) } else { Err("a protocol message that is no map") }
    }

    /// Writes one protocol message.
    pub(super) fn encode(self, tree: &Value) -> Message {
        match self {
            Self::Json => Message::text(to_json(tree).to_string()),
            Self::Msgpack => {
                let mut bytes = Vec::new();
                // Writing to memory does not fail.
                let _ = rmpv::encode::write_value(&mut bytes, tree);
                Message::Binary(Bytes::from(bytes))
            }
        }
    }
}

/// One protocol message, encoded at most once in each format however many it goes to.
pub(super) struct Broadcast {
    tree: Value,
    json: Option<Message>,
    msgpack: Option<Message>,
}

impl Broadcast {
    pub(super) fn new(tree: Value) -> Self {
        Self { tree, json: None, msgpack: None }
    }

    pub(super) fn encoded(&mut self, format: Format) -> Message {
        let tree = &self.tree;
        let slot = match format {
            Format::Json => &mut self.json,
            Format::Msgpack => &mut self.msgpack,
        };
        slot.get_or_insert_with(|| format.encode(tree)).clone()
    }
}

/// A map of these members, without those that are nil.
pub(super) fn map<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Map(members.into_iter().filter(|(_, v)| !v.is_nil()).map(|(k, v)| (k.into(), v)).collect())
}

/// The member of this name; one that is nil is absent.
pub(super) fn member<'a>(tree: &'a Value, name: &str) -> Option<&'a Value> {
    let members = tree.as_map()?;
    members.iter().find(|(k, _)| k.as_str() == Some(name)).map(|(_, v)| v).filter(|v| !v.is_nil())
}

/// The text of this name.
pub(super) fn text<'a>(tree: &'a Value, name: &str) -> Option<&'a str> {
    member(tree, name)?.as_str()
}

/// The whole number of this name, in whatever width it came; some clients write it as a float.
pub(super) fn number(tree: &Value, name: &str) -> Option<u64> {
    let value = member(tree, name)?;
    value.as_u64().or_else(|| {
        let float = value.as_f64()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole")]
        (float >= 0.0 && float.fract() == 0.0).then_some(float as u64)
    })
}

/// Puts a member in place of the one of its name, or adds it.
pub(super) fn put(tree: &mut Value, name: &str, value: Value) {
    let Value::Map(members) = tree else { return };
    match members.iter_mut().find(|(k, _)| k.as_str() == Some(name)) {
        Some((_, old)) => *old = value,
        None => members.push((name.into(), value)),
    }
}

/// An `error` member.
pub(super) fn error(code: u64, status: u64, message: &str) -> Value {
    let href = format!("https://help.ably.io/error/{code}");
    map([
        ("code", code.into()),
        ("statusCode", status.into()),
        ("message", message.into()),
        ("href", href.into()),
    ])
}

/// The JSON of a tree. Bytes become base64, and `encoding` beside them says so.
pub(super) fn to_json(tree: &Value) -> Json {
    match tree {
        Value::Nil | Value::Ext(..) => Json::Null,
        Value::Boolean(b) => Json::Bool(*b),
        Value::Integer(i) => i
            .as_u64()
            .map(Number::from)
            .or_else(|| i.as_i64().map(Number::from))
            .map_or(Json::Null, Json::Number),
        Value::F32(f) => Number::from_f64(f64::from(*f)).map_or(Json::Null, Json::Number),
        Value::F64(f) => Number::from_f64(*f).map_or(Json::Null, Json::Number),
        Value::String(s) => Json::String(s.as_str().unwrap_or_default().to_owned()),
        Value::Binary(b) => Json::String(STANDARD.encode(b)),
        Value::Array(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Map(members) => {
            let mut object: Map<String, Json> = members
                .iter()
                .map(|(k, v)| (k.as_str().unwrap_or_default().to_owned(), to_json(v)))
                .collect();
            if matches!(member(tree, "data"), Some(Value::Binary(_))) {
                let before = text(tree, "encoding").map(|e| format!("{e}/")).unwrap_or_default();
                object.insert("encoding".into(), Json::String(format!("{before}base64")));
            }
            Json::Object(object)
        }
    }
}

/// The tree of a JSON value.
pub(super) fn from_json(json: Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(b) => Value::Boolean(b),
        Json::Number(n) => match (n.as_u64(), n.as_i64()) {
            (Some(u), _) => u.into(),
            (None, Some(i)) => i.into(),
            (None, None) => n.as_f64().map_or(Value::Nil, Value::F64),
        },
        Json::String(s) => s.into(),
        Json::Array(items) => Value::Array(items.into_iter().map(from_json).collect()),
        Json::Object(members) => {
            Value::Map(members.into_iter().map(|(k, v)| (k.into(), from_json(v))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_from_msgpack_to_json_and_say_so() {
        let tree = map([("data", Value::Binary(vec![1, 2, 3])), ("encoding", "cipher".into())]);
        let Message::Text(text) = Format::Json.encode(&tree) else { panic!("json is text") };
        assert_eq!(
            serde_json::from_str::<Json>(&text).unwrap(),
            serde_json::json!({
                "data": "AQID", "encoding": "cipher/base64",
            })
        );
    }

    #[test]
    fn a_message_of_the_wrong_kind_or_with_a_tail_is_refused() {
        assert!(Format::Json.decode(&Message::binary(vec![0x80])).is_err());
        assert!(Format::Json.decode(&Message::binary("{}")).is_ok());
        assert!(Format::Msgpack.decode(&Message::text("{}")).is_err());
        assert!(Format::Msgpack.decode(&Message::binary(vec![0x80])).is_ok());
        assert!(Format::Msgpack.decode(&Message::binary(vec![0x80, 0x80])).is_err());
        assert!(Format::Json.decode(&Message::text("[]")).is_err());
    }

    #[test]
    fn a_number_is_read_in_any_width_and_a_nil_is_absent() {
        let tree = map([("a", Value::F64(7.0)), ("b", 7_u8.into())]);
        assert_eq!((number(&tree, "a"), number(&tree, "b")), (Some(7), Some(7)));
        let nil = Value::Map(vec![("a".into(), Value::Nil)]);
        assert!(member(&nil, "a").is_none());
    }
}
