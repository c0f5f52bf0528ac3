//! How a new upstream takes up the lost one: channels first, then what was not acknowledged, then members.

use std::collections::BTreeMap;

use super::{Ably, codec::Style, members::Item};
use crate::dialect::{Meaning, Say};

/// What the newest un-ACKed PRESENCE says of a member, by channel and client id: the id that the member has
/// once the service takes it, `None` if it leaves.
type Unacked = BTreeMap<Box<str>, BTreeMap<Box<str>, Option<String>>>;

impl Ably {
    /// The service continues the connection: everything is said again, in its order.
    pub(super) fn resume(&mut self, say: &mut Say) -> Meaning {
        self.own_auth = false;
        self.replaying = true;
        // What the lost connection was asked and did not answer.
        let unanswered = std::mem::take(&mut self.pings);
        say.to_client.extend(unanswered.iter().map(|id| self.pong(Some(id))));
        say.to_upstream.extend(self.channels.attach_again(self.style()));
        self.replay(say)
    }

    /// RTN19a, RTP17i: once every channel whose presence is at stake is attached, what was not
    /// acknowledged goes again, with its serials; then the members are entered again.
    pub(super) fn replay(&mut self, say: &mut Say) -> Meaning {
        if !self.replaying {
            return Meaning::Nothing;
        }
        if self.channels.are_forgotten() {
            return Meaning::Lost("the channels take more memory than session.queue allows".to_owned());
        }
        let waits = self.serials.presence().any(|(channel, _)| self.channels.is_attaching(channel));
        if waits || self.channels.members_wait() {
            return Meaning::Nothing;
        }
        self.replaying = false;
        let before = say.to_upstream.len();
        say.to_upstream.extend(self.serials.again().cloned());
        let sent = say.to_upstream.len() - before;
        say.replayed += u32::try_from(sent).unwrap_or(u32::MAX);
        self.enter_members_again(say);
        say.to_upstream.extend(self.channels.detach_again(self.style()));
        Meaning::Ready
    }

    /// RTP17i: but not if a PRESENCE that is under way says something else of the member.
    fn enter_members_again(&mut self, say: &mut Say) {
        let unacked = self.unacked_presence();
        let Style { format, kind } = self.style();
        let members = self.channels.take_members(format, |channel, client, id| {
            let newest = unacked.get(channel).and_then(|clients| clients.get(client));
            newest.is_none_or(|newest| newest.as_deref() == Some(id))
        });
        if members.is_empty() {
            return;
        }
        say.to_upstream.extend(self.serials.due_before(u64::MAX));
        let mut owed = Vec::with_capacity(members.len());
        for (channel, message) in members {
            let serial = self.serials.take_own();
            let payload = message.uint("msgSerial", serial).payload(kind);
            say.to_upstream.push(payload.clone());
            owed.push(self.serials.sent_own(serial, payload, &channel));
        }
        if let Some(mut record) = self.own_record() {
            record.breaks = self.serials.breaks().to_vec();
            record.owed.extend(owed);
        }
    }

    fn unacked_presence(&self) -> Unacked {
        let Some(connection) = &self.connection else { return Unacked::new() };
        let mut unacked = Unacked::new();
        for (channel, sent) in self.serials.presence() {
            let clients = unacked.entry(channel.into()).or_default();
            let of_message = format!("{}:{}", connection.id, sent.upstream);
            for item in Item::all(&sent.payload.bytes) {
                let client = item.client().or_else(|| connection.client_id.as_deref().map(Into::into));
                let Some(client) = client else { continue };
                let leaves = item.action() == Some(3);
                clients.insert(Box::from(&*client), (!leaves).then(|| item.id(Some(&of_message))));
            }
        }
        unacked
    }
}
