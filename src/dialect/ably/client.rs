//! What the client says: numbered and kept on its way to the service, answered or held if it has to be.

use super::{
    Ably, PING_ID, PINGS,
    codec::Map,
    head::{Head, action},
};
use crate::{
    dialect::{Fate, Meaning, Moment, Say, Verdict},
    wire::{Message, Payload},
};

impl Ably {
    /// A message that wants an acknowledgement (RTN7a).
    pub(super) fn client_publishes(
        &mut self,
        head: &Head<'_>,
        message: Message<'_>,
        say: &mut Say,
    ) -> Verdict {
        let Some(serial) = head.msg_serial.0 else { return Verdict::FORWARD };
        let presence = head.action.0 == Some(action::PRESENCE);
        let presence_of = head.channel().filter(|_| presence).map(Box::from);
        let upstream = self.serials.upstream_of(serial);
        if let Some(mut record) = self.own_record() {
            // At once, not at the end: the client may be back before this session knows that it left.
            record.next_client = record.next_client.max(serial.saturating_add(1));
        }
        if upstream == serial {
            self.serials.sent(serial, message.into(), presence_of);
            return Verdict::FORWARD;
        }
        let format = Self::format_of(message);
        let Some(fields) = format.fields(message.payload) else { return Verdict::FORWARD };
        let renumbered = fields.iter().fold(Map::new(format), |map, (key, value)| match &**key {
            "msgSerial" => map.uint(key, upstream),
            key => map.raw(key, value),
        });
        let payload = renumbered.payload();
        say.to_upstream.extend(self.serials.due_before(upstream));
        self.serials.sent(serial, payload.clone(), presence_of);
        say.instead = Some(payload);
        Verdict::FORWARD
    }

    pub(super) fn client_live(&mut self, head: &Head<'_>, message: Message<'_>, say: &mut Say) -> Verdict {
        match (head.action.0, head.channel()) {
            (Some(action::MESSAGE | action::PRESENCE | action::ANNOTATION | action::OBJECT), _) => {
                return self.client_publishes(head, message, say);
            }
            (Some(action::ATTACH), Some(channel)) => self.channels.client_attaches(channel, message.payload),
            (Some(action::DETACH), Some(channel)) => self.channels.client_detaches(channel),
            (Some(action::HEARTBEAT), _) => self.client_pings(head),
            (Some(action::AUTH), _) => {
                self.client_auth = true;
                return Verdict::swallow(Meaning::ClientAsks);
            }
            (Some(action::CLOSE), _) => {
                self.closing = true;
                return Verdict::forward(Meaning::Leaving);
            }
            _ => {}
        }
        Verdict::FORWARD
    }

    pub(super) fn client_pings(&mut self, head: &Head<'_>) {
        if let Some(id) = head.id.as_ref().filter(|id| id.0.len() <= PING_ID) {
            if self.pings.len() == PINGS {
                self.pings.pop_front();
            }
            self.pings.push_back(Box::from(&*id.0));
        }
    }

    /// RTN13e: the answer carries the id.
    pub(super) fn pong(&self, id: Option<&str>) -> Payload {
        let pong = Map::action(self.format, action::HEARTBEAT);
        match id {
            Some(id) => pong.text("id", id).payload(),
            None => pong.payload(),
        }
    }

    /// A message that comes while the upstream is away, or taken up with something else.
    pub(super) fn client_waits(&mut self, head: &Head<'_>, moment: Moment, say: &mut Say) -> Verdict {
        match head.action.0 {
            // A heartbeat does not depend on the token.
            Some(action::HEARTBEAT) if moment == Moment::Exchanging => {
                self.client_pings(head);
                Verdict::FORWARD
            }
            Some(action::HEARTBEAT) => {
                say.to_client.push(self.pong(head.id.as_ref().map(|id| &*id.0)));
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
