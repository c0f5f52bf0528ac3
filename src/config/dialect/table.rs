//! The tables of the language, each declared once.

use super::{
    matching::{Captures, Edits, Match, Parameters, Side, Sided},
    pointer::Pointer,
    speech::Speech,
};
use crate::config::{
    close::{CloseRule, Code},
    declare::{At, Kind, Value, table, words},
    route::{Placement, Swap},
    section::kind,
    token::TokenTable,
    value::{Flag, Label, Several, Span, Time},
};

table! {
    /// How a service speaks of tokens, in a small language: which messages carry the token, which are said again on a
    /// new connection, and what the service's own mean. A route names it with `dialect = "NAME"`. See docs/dialects.
    pub(in crate::config) struct DialectTable {
        /// A preset. Its rules come after these; one of the same name is replaced. A table that is written here takes
        /// the place of the preset's.
        like: maybe Label;
        /// What a message is. `json`: one JSON text. `json-batch`: an array of objects is several messages. `json-lines`: JSON
        /// texts with line breaks between. `json-records`: JSON texts, each with the byte 0x1e behind it. `socketio`: a packet
        /// of Socket.IO.
        codec: maybe Codec, otherwise("`\"json\"`, or the preset's");
        /// Where the token goes in the handshake, if the route has no `[route.handshake]`.
        token: perhaps Placement;
        /// Other values from outside, each with a name: a channel's token, a ticket, a signature. `{token.NAME}` in a message
        /// is what it gives, `{arg}` in its templates what that message asks for; a command finds it in `PERENNIAL_ARG`.
        source: keyed TokenTable;
        /// Rules about messages.
        frame: each FrameRule;
        /// Messages that show a new token on the live connection.
        exchange: each ExchangeRule;
        /// How a new connection takes the place of a live one.
        swap: perhaps SwapRule;
        /// How a new connection takes up the state of the one before it.
        resume: perhaps ResumeRule;
        /// What the client hears while the service is away.
        away: each AwayRule;
        /// What a Close of the service's means.
        close: each CloseRule;
    }
}

words! {
    /// What a message is.
    pub enum Codec {
        /// One JSON text.
        Json = "json",
        /// An array of objects is several messages.
        JsonBatch = "json-batch",
        /// JSON texts with line breaks between.
        JsonLines = "json-lines",
        /// JSON texts, each with the byte 0x1e behind it.
        JsonRecords = "json-records",
        /// A packet of Engine.IO 4, with one of Socket.IO 5 in it.
        SocketIo = "socketio",
    }
}

table! {
    /// A rule about messages. Of all that match, each edits and captures; the first with `replay` or `owed` and the first
    /// with `means` count.
    pub struct FrameRule {
        /// By which other rules name it.
        name: maybe Label;
        /// Who says the message.
        from: or Side = "\"client\"";
        /// What holds for it: `{ "/type" = "subscribe", "/n" = [1, 2], "/x" = { exists = true } }`. A condition is one of
        /// `exists`, `re`, `min`, `max` and `eq`.
        r#match: required Match = "match = { \"/type\" = \"…\" }";
        /// Values that are put into it, by where they stand: `{ "/payload/token" = "{token}" }`. Missing objects are made.
        set: maybe Edits;
        /// What is taken out of it.
        remove: maybe Several<Pointer>;
        /// What `{arg}` of a source stands for, in the values that this rule puts in: `"{item/channel}"`.
        arg: maybe Speech;
        /// It does not go on.
        drop: or Flag = "false";
        /// It is remembered, and said again on a new connection.
        replay: or Flag = "false";
        /// The other side owes an answer on the same connection: `until` says which. The service's answer is waited for before
        /// the connection is replaced (`hold` of the swap); the client's goes to no other connection.
        owed: or Flag = "false";
        /// What tells the remembered messages of this rule apart. Without it only the newest is remembered. With a step `*`
        /// (`"/args/*/channel"`) each element of that array is remembered by itself.
        key: maybe Several<Pointer>;
        /// The messages that end it: then it is forgotten. `from = "server"` in one of them means the service's.
        until: maybe Several<Sided>;
        /// Values that are put into it when it is said again.
        on_replay: maybe Edits;
        /// The service's answer, which is awaited before the next message, and does not reach the client.
        answer: maybe Several<Match>;
        /// What else the service says to it: each keeps one message from the client.
        hide: maybe Several<Match>;
        /// Values that are kept, by the names that they get: `{ session = "/d/session_id" }`.
        capture: maybe Captures;
        /// What a message of the service's says of the connection.
        means: maybe FrameMeans;
    }
}

words! {
    /// What a message of the service's says of the connection.
    pub enum FrameMeans {
        /// The service speaks first: on a new connection it is awaited before anything is said again.
        Ready = "ready",
        /// The service wants a new token.
        Asks = "asks",
        /// The token has ended, or is refused: a new connection needs a new one.
        Expired = "expired",
        /// The connection will not go on: a new one does.
        Lost = "lost",
        /// It is the service's last word, and goes to the client.
        Final = "final",
    }
}

table! {
    /// Messages that show a new token on the live connection.
    pub struct ExchangeRule {
        /// What is said: any JSON, with names in braces.
        send: required Speech = "send = { type = \"auth\", token = \"{token}\" }";
        /// The rule whose remembered messages it is said for, once for each, in one go.
        for_each: maybe Label;
        /// The source whose new value it shows; without it the token's.
        source: maybe Label;
        /// The service takes the token.
        ok: maybe Several<Match>;
        /// It refuses it.
        fail: maybe Several<Match>;
        /// Silence for so long is a yes.
        ok_after: maybe Time;
        /// How long an answer is awaited.
        timeout: or Time = "\"5s\"";
    }
}

table! {
    /// How a new connection takes the place of a live one.
    pub struct SwapRule {
        /// Which comes first. `session.swap` of a route comes before it.
        order: or Swap = "\"make\"";
        /// How long the old connection serves on after the last message that was said again.
        settle: or Span = "\"0s\"";
        /// How long what the service owes on the old connection is waited for before it ends; the client's messages wait.
        hold: or Time = "\"1s\"";
        /// How the old connection is ended: with this code, or `"drop"`: without a Close.
        close_old: or CloseOld = "1000";
        /// What is said on the old connection before it ends.
        goodbye: maybe Speech;
        /// How long each answer is awaited.
        timeout: or Time = "\"5s\"";
    }
}

table! {
    /// How every connection but the first takes up the state of the one before it.
    pub struct ResumeRule {
        /// Only if all of these have been captured.
        r#if: maybe Several<Label>, otherwise("always");
        /// Parameters of its query, in the place of those of the same name.
        query: maybe Parameters;
        /// The rule whose message is not said again: `send` is said in its place.
        instead_of: maybe Label;
        /// What is said first.
        send: maybe Speech;
        /// The service's answer to it.
        answer: maybe Several<Match>;
        /// The service continues nothing: the client hears it, and starts over.
        fail: maybe Several<Match>;
    }
}

table! {
    /// What the client hears while the service is away.
    pub struct AwayRule {
        /// The client's message that is answered.
        r#match: maybe Match;
        /// The answer. Without it the message is swallowed.
        reply: maybe Speech;
        /// How often `send` is said if nothing else is.
        every: maybe Time, beside("send");
        /// What is said.
        send: maybe Speech, beside("every");
    }
}

/// How an old connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseOld {
    /// With this code.
    Code(u16),
    /// Without a Close.
    Drop,
}

impl Value for CloseOld {
    type Is = Self;
    const KIND: Kind = Kind::Any;

    fn read(value: &toml::de::DeValue<'_>, at: At) -> Result<Self, String> {
        if value.is_integer() {
            return Code::read(value, at).map(Self::Code);
        }
        let is_drop = value.as_str() == Some("drop");
        is_drop
            .then_some(Self::Drop)
            .ok_or_else(|| format!("expected a Close code or \"drop\", found {}", kind(value)))
    }
}

impl Default for SwapRule {
    fn default() -> Self {
        let second = std::time::Duration::from_secs(1);
        let (settle, timeout) = (std::time::Duration::ZERO, second * 5);
        Self {
            order: Swap::Make,
            settle,
            hold: second,
            close_old: CloseOld::Code(1000),
            goodbye: None,
            timeout,
        }
    }
}
