//! What the client says: numbered and kept on its way to the service, answered or held if it has to be.
//!
//! No credential of the client's reaches the service. A message that nobody here can read goes on as it came, because
//! the service may know it; but not if it may carry credentials, or if it carries some and is no AUTH: what one parser
//! takes for a publish, another takes for an AUTH. The session ends then, by the client's fault.

use super::{
    Ably, PING_ID, PINGS,
    codec::{Map, Style},
    head::{Head, action},
};
use crate::{
    dialect::{Fate, Meaning, Moment, Say, Verdict},
    wire::{Message, Payload},
};

/// A message that cannot be read.
pub(super) fn unreadable(message: Message<'_>) -> Verdict {
    // An escape may spell any key.
    let bytes = message.payload;
    let spells = |word: &[u8]| bytes.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    if spells(b"auth") || spells(b"\\u") {
        return forged();
    }
    Verdict::forward(Meaning::Unreadable { ends: false })
}

/// A message that may bring credentials past Perennial.
pub(super) fn forged() -> Verdict {
    Verdict::swallow(Meaning::Unreadable { ends: true })
}

impl Ably {
    /// A message that wants an acknowledgement (RTN7a).
    pub(super) fn client_publishes(
        &mut self,
        head: &Head<'_>,
        message: Message<'_>,
        say: &mut Say,
    ) -> Verdict {
        let Some(serial) = head.msg_serial() else { return Verdict::FORWARD };
        let presence = head.action == Some(action::PRESENCE);
        let presence_of = presence.then(|| head.channel()).flatten().map(|channel| Box::from(&*channel));
        let upstream = self.serials.upstream_of(serial);
        if self.serials.has_gone_up(serial) {
            return Verdict::SWALLOW;
        }
        if let Some(mut record) = self.own_record() {
            // At once, not at the end: the client may be back before this session knows that it left.
            record.next_client = record.next_client.max(serial.saturating_add(1));
        }
        if upstream == serial {
            self.serials.sent(serial, message.into(), presence_of);
            return Verdict::FORWARD;
        }
        let format = head.format;
        let Some(fields) = format.fields(message.payload) else { return Verdict::FORWARD };
        let renumbered = fields.iter().fold(Map::new(format), |map, (key, value)| match &**key {
            "msgSerial" => map.uint(key, upstream),
            key => map.raw(key, value),
        });
        let payload = renumbered.payload(message.kind);
        say.to_upstream.extend(self.serials.due_before(upstream));
        self.serials.sent(serial, payload.clone(), presence_of);
        say.instead = Some(payload);
        Verdict::FORWARD
    }

    pub(super) fn client_live(&mut self, head: &Head<'_>, message: Message<'_>, say: &mut Say) -> Verdict {
        match head.action {
            Some(action::MESSAGE | action::PRESENCE | action::ANNOTATION | action::OBJECT) => {
                return self.client_publishes(head, message, say);
            }
            Some(action::ATTACH) => {
                if let Some(channel) = head.channel() {
                    self.channels.client_attaches(&channel, message);
                }
            }
            Some(action::DETACH) => {
                if let Some(channel) = head.channel() {
                    self.channels.client_detaches(&channel);
                }
            }
            Some(action::HEARTBEAT) => self.client_pings(head),
            Some(action::AUTH) => {
                self.client_auth = true;
                return Verdict::swallow(Meaning::ClientAsks);
            }
            Some(action::CLOSE) => {
                self.closing = true;
                return Verdict::forward(Meaning::Leaving);
            }
            _ => {}
        }
        Verdict::FORWARD
    }

    pub(super) fn client_pings(&mut self, head: &Head<'_>) {
        if let Some(id) = head.id().filter(|id| id.len() <= PING_ID) {
            if self.pings.len() == PINGS {
                self.pings.pop_front();
            }
            self.pings.push_back(Box::from(&*id));
        }
    }

    /// RTN13e: the answer carries the id.
    pub(super) fn pong(&self, id: Option<&str>) -> Payload {
        let Style { format, kind } = self.style();
        let pong = Map::action(format, action::HEARTBEAT);
        let pong = if let Some(id) = id { pong.text("id", id) } else { pong };
        pong.payload(kind)
    }

    /// A message that comes while the upstream is away, or taken up with something else.
    pub(super) fn client_waits(&mut self, head: &Head<'_>, moment: Moment, say: &mut Say) -> Verdict {
        match head.action {
            // A heartbeat does not depend on the token.
            Some(action::HEARTBEAT) if moment == Moment::Exchanging => {
                self.client_pings(head);
                Verdict::FORWARD
            }
            Some(action::HEARTBEAT) => {
                say.to_client.push(self.pong(head.id().as_deref()));
                Verdict::SWALLOW
            }
            Some(action::CLOSE) if moment == Moment::Exchanging => {
                Verdict { fate: Fate::Hurry, meaning: Meaning::Nothing }
            }
            Some(action::CLOSE) => {
                self.leaving = true;
                Verdict { fate: Fate::Hold, meaning: Meaning::Leaving }
            }
            Some(action::DISCONNECT) => Verdict::SWALLOW,
            _ => Verdict::HOLD,
        }
    }
}
