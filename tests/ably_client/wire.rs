//! The formats, written and read independently of the proxy's dialect.

use serde_json::Value as Json;
use tokio_tungstenite::tungstenite::Message;

/// How a connection writes its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    /// JSON in binary frames, as ably-java sends it.
    BinaryJson,
    Msgpack,
}

/// For tests whose rows hold in all of them.
pub const FORMATS: [Format; 3] = [Format::Json, Format::BinaryJson, Format::Msgpack];

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::Json | Self::BinaryJson => "json",
            Self::Msgpack => "msgpack",
        }
    }

    pub fn encode(self, frame: &Json) -> Message {
        match self {
            Self::Json => Message::text(frame.to_string()),
            Self::BinaryJson => Message::binary(frame.to_string()),
            Self::Msgpack => Message::binary(rmp_serde::to_vec_named(frame).unwrap()),
        }
    }

    /// Reads one protocol message, as strictly as ably-js does.
    pub fn decode(self, message: &Message) -> Result<Json, String> {
        match (self, message) {
            (Self::Json | Self::BinaryJson, Message::Text(text)) => {
                serde_json::from_str(text).map_err(|error| format!("no JSON: {error}: {text}"))
            }
            (Self::Msgpack, Message::Binary(bytes)) => {
                let mut rest: &[u8] = bytes;
                let tree = rmpv::decode::read_value(&mut rest).map_err(|error| error.to_string())?;
                if !rest.is_empty() {
                    return Err("bytes behind the msgpack value".into());
                }
                let entries = tree.as_map().ok_or("a protocol message that is no map")?;
                let keys: std::collections::BTreeSet<_> =
                    entries.iter().map(|(key, _)| key.as_str()).collect();
                if keys.len() != entries.len() {
                    return Err(format!("a key twice in {tree}"));
                }
                rmp_serde::from_slice(bytes).map_err(|error| error.to_string())
            }
            _ => Err(format!("a message of the other format: {message:?}")),
        }
    }
}
