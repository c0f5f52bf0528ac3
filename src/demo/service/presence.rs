//! Who is present: enter, update, leave, and what a newcomer is told.
//!
//! ```text
//!   enter ──► present ──transport lost──► left behind ──enters again, same connection──► present
//!                │                             └──grace over, or the connection closed──► leave
//!                └──leave, detach, close──► leave
//! ```

use rmpv::Value;

use super::{
    attach::flag,
    channel::Member,
    connect::millis,
    connection::{Outcome, TransportId},
    frame::{Broadcast, action, map, member, number, put, text},
    hub::Hub,
};
use crate::clock::Now;

const PRESENT: u64 = 1;
const ENTER: u64 = 2;
const LEAVE: u64 = 3;
const UPDATE: u64 = 4;

impl Hub {
    /// A client's PRESENCE.
    pub(super) fn present(&mut self, id: TransportId, serial: u64, channel: &str, frame: &Value) -> Outcome {
        let Some(transport) = self.transports.get(&id) else { return Outcome::Acked(Vec::new()) };
        let connection = transport.connection.clone();
        if !transport.attached.contains_key(channel) {
            self.ledger
                .violation(format!("{connection}: PRESENCE on {channel}, which it is not attached to"));
            return Outcome::Nacked { code: 90001, status: 400, message: "channel is not attached" };
        }
        let own = self.connections.get(&connection).and_then(|c| c.client_id.clone());
        let Some(Value::Array(items)) = member(frame, "presence") else {
            self.ledger.violation(format!("{connection}: PRESENCE without presence"));
            return Outcome::Nacked { code: 40000, status: 400, message: "nothing to present" };
        };
        let now = millis(Now::read().wall);
        let mut taken = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let Some(client) = presented_client(own.as_deref(), text(item, "clientId")) else {
                return Outcome::Nacked { code: 40012, status: 400, message: "invalid clientId" };
            };
            if !matches!(number(item, "action"), Some(ENTER | LEAVE | UPDATE)) {
                self.ledger.violation(format!("{connection}: PRESENCE with a foreign action"));
                return Outcome::Nacked { code: 40000, status: 400, message: "invalid presence action" };
            }
            let given = text(item, "id").map(str::to_owned);
            let mut item = item.clone();
            put(&mut item, "clientId", client.into());
            put(&mut item, "connectionId", connection.as_str().into());
            put(&mut item, "timestamp", now.into());
            put(&mut item, "id", given.unwrap_or_else(|| format!("{connection}:{serial}:{index}")).into());
            taken.push(item);
        }
        for item in &taken {
            self.keep(channel, &connection, item);
        }
        self.tell(channel, &connection, &format!("{connection}:{serial}"), taken);
        Outcome::Acked(Vec::new())
    }

    /// Changes who is present.
    fn keep(&mut self, channel: &str, connection: &str, item: &Value) {
        let Some(channel) = self.channels.get_mut(channel) else { return };
        let client = text(item, "clientId").unwrap_or_default();
        let whose = (connection.to_owned(), client.to_owned());
        if number(item, "action") == Some(LEAVE) {
            channel.members.remove(&whose);
        } else {
            let mut tree = item.clone();
            put(&mut tree, "action", PRESENT.into());
            channel.members.insert(whose, Member { tree, left_behind: None });
        }
    }

    /// Tells all who are attached.
    fn tell(&mut self, name: &str, connection: &str, id: &str, items: Vec<Value>) {
        let Some(channel) = self.channels.get(name) else { return };
        let mut frame = Broadcast::new(map([
            ("action", action::PRESENCE.into()),
            ("id", id.into()),
            ("connectionId", connection.into()),
            ("timestamp", millis(Now::read().wall).into()),
            ("channel", name.into()),
            ("channelSerial", channel.serial().into()),
            ("presence", Value::Array(items)),
        ]));
        let mut messages = Vec::with_capacity(channel.attached.len());
        for id in &channel.attached {
            let Some(transport) = self.transports.get(id) else { continue };
            let modes = transport.attached.get(name).copied().unwrap_or(0);
            if modes & flag::PRESENCE_SUBSCRIBE != 0 {
                messages.push((*id, frame.encoded(transport.wishes.format)));
            }
        }
        for (id, message) in messages {
            self.put_on_line(id, message);
        }
    }

    /// Tells a newcomer who is present, page by page; the cursor of the last page is empty.
    pub(super) fn synchronise(&mut self, id: TransportId, name: &str) {
        let Some(channel) = self.channels.get(name) else { return };
        let modes = self.transports.get(&id).and_then(|t| t.attached.get(name)).copied().unwrap_or(0);
        if modes & flag::PRESENCE_SUBSCRIBE == 0 {
            return;
        }
        let members: Vec<Value> = channel.members.values().map(|m| m.tree.clone()).collect();
        let run = super::connection::word(6);
        let pages: Vec<_> = members.chunks(self.options.sync_page.max(1)).collect();
        let frames: Vec<Value> = (1..)
            .zip(&pages)
            .map(|(number, page)| {
                let cursor = if number == pages.len() { String::new() } else { number.to_string() };
                map([
                    ("action", action::SYNC.into()),
                    ("channel", name.into()),
                    ("channelSerial", format!("{run}:{cursor}").into()),
                    ("presence", Value::Array(page.to_vec())),
                ])
            })
            .collect();
        for frame in &frames {
            self.send(id, frame);
        }
    }

    /// Members of a connection whose transport was lost have their grace to enter again.
    pub(super) fn mark_left_behind(&mut self, connection: &str, loss: u64) {
        for channel in self.channels.values_mut() {
            for ((whose, _), member) in &mut channel.members {
                if whose == connection {
                    member.left_behind = Some(loss);
                }
            }
        }
    }

    /// The grace is over for those who did not.
    pub(super) fn leave_behind(&mut self, connection: &str, loss: u64) {
        let names: Vec<String> = self.channels.keys().cloned().collect();
        for name in names {
            self.leave(&name, |whose, member| whose == connection && member.left_behind == Some(loss));
        }
    }

    /// All members of a connection leave.
    pub(super) fn leave_all(&mut self, connection: &str) {
        let names: Vec<String> = self.channels.keys().cloned().collect();
        for name in names {
            self.leave(&name, |whose, _| whose == connection);
        }
    }

    /// The members of a channel of whom this is so leave it.
    pub(super) fn leave(&mut self, name: &str, mut is_gone: impl FnMut(&str, &Member) -> bool) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        let mut gone = Vec::new();
        channel.members.retain(|(connection, _), member| {
            let leaves = is_gone(connection, member);
            if leaves {
                gone.push((connection.clone(), member.tree.clone()));
            }
            !leaves
        });
        for (connection, mut item) in gone {
            // Not of the form that the connection's own would have: clients see by it that the service
            // speaks for a member that is gone, and compare by time (RTP2b1).
            let id = format!("service-{}", super::connection::word(8));
            put(&mut item, "action", LEAVE.into());
            put(&mut item, "id", format!("{id}:0").into());
            put(&mut item, "timestamp", millis(Now::read().wall).into());
            self.tell(name, &connection, &id, vec![item]);
        }
    }
}

/// The client id that a presence message is for: that of the connection, or, where it may be
/// anybody's, the one named.
fn presented_client(own: Option<&str>, named: Option<&str>) -> Option<String> {
    match (own, named) {
        (Some("*") | None, Some(named)) => Some(named.to_owned()),
        (Some("*") | None, None) => None,
        (Some(own), None) => Some(own.to_owned()),
        (Some(own), Some(named)) => (own == named).then(|| own.to_owned()),
    }
}
