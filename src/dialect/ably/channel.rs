//! One channel: what the client asked for, what the service said, and what a new upstream is told.
//!
//! ```text
//!   client    ATTACH   DETACH   ATTACH       one more request without an answer, each
//!   service       ATTACHED  DETACHED  …      the answer to the oldest of its kind
//! ```
//!
//! A client may send its next request before the last one is answered, so requests are counted. The newest
//! says what the client wants. After a loss only that one is sent again: the answers to older ones would
//! tell the client nothing that the newest does not.

use super::{
    codec::{Map, Style, last},
    head::{HAS_OBJECTS, HAS_PRESENCE, Head, RESUMED, action},
    members::{Item, Member, Members},
};
use crate::wire::{Message, Payload};

/// Who has to see an ATTACHED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attached {
    /// The client: it asked, or it has to know that messages are missing.
    Shown,
    /// It answers Perennial's own ATTACH: the client need not know.
    Hidden,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Channel {
    /// The client's newest ATTACH, with its params and flags.
    attach: Option<Payload>,
    /// The client's newest request is an ATTACH, and not a DETACH.
    wants_attached: bool,
    /// The client's ATTACHes and DETACHes that have no answer.
    attaches: u32,
    detaches: u32,
    /// Perennial's own ATTACH has no answer.
    own_attach: bool,
    /// The service's last word on this connection.
    is_attached: bool,
    /// Perennial is to enter the members again.
    enters_members: bool,
    serial: String,
    objects: bool,
    /// The client was told of members.
    peopled: bool,
    members: Members,
}

impl Channel {
    /// Bytes kept.
    pub(super) fn cost(&self) -> usize {
        let attach = self.attach.as_ref().map_or(0, |attach| attach.bytes.len());
        size_of::<Self>() + attach + self.serial.capacity() + self.members.cost()
    }

    /// Is there nothing that a new upstream would have to be told?
    pub(super) fn is_idle(&self) -> bool {
        !self.is_attached && !self.own_attach && !self.is_asked()
    }

    /// Does a request of the client's have no answer?
    fn is_asked(&self) -> bool {
        self.attaches > 0 || self.detaches > 0
    }

    fn is_wanted(&self) -> bool {
        if self.is_asked() { self.wants_attached } else { self.is_attached || self.own_attach }
    }

    /// Does presence on it have to wait for an ATTACHED?
    pub(super) fn is_attaching(&self) -> bool {
        self.own_attach || (self.attaches > 0 && self.wants_attached)
    }

    /// Do members of this connection wait for Perennial's own ATTACH?
    pub(super) fn members_wait(&self) -> bool {
        self.own_attach && self.enters_members
    }

    /// The client attaches, or changes how it is attached.
    pub(super) fn client_attaches(&mut self, message: Message<'_>) {
        self.attach = Some(message.into());
        self.wants_attached = true;
        self.attaches = self.attaches.saturating_add(1);
    }

    pub(super) fn client_detaches(&mut self) {
        self.wants_attached = false;
        self.detaches = self.detaches.saturating_add(1);
    }

    /// The service says that the channel is attached.
    pub(super) fn attached(&mut self, head: &Head<'_>) -> Attached {
        self.take_serial(head);
        self.objects |= head.flag(HAS_OBJECTS);
        self.peopled |= head.flag(HAS_PRESENCE);
        self.is_attached = true;
        let resumed = head.flag(RESUMED);
        // Perennial's own went first on this connection, so its answer comes first.
        if !std::mem::take(&mut self.own_attach) {
            self.attaches = self.attaches.saturating_sub(1);
            return Attached::Shown;
        }
        if !resumed && self.is_wanted() {
            // RTP17i: an SDK that sees the gap enters its members itself.
            self.enters_members = false;
            return Attached::Shown;
        }
        // An SDK synchronises its Objects again on ATTACHED alone, and raises no event for it. What the client
        // has asked for since has an answer of its own to come.
        if self.objects && !self.is_asked() { Attached::Shown } else { Attached::Hidden }
    }

    /// The service says that the channel is detached: the answer to a DETACH, if there is one.
    pub(super) fn detached(&mut self) {
        if self.detaches > 0 {
            self.detaches -= 1;
            if self.detaches == 0 && !self.wants_attached {
                // It answers the newest request: nothing older can be answered any more.
                self.attaches = 0;
            }
            self.is_attached = false;
            self.forget_state();
        } else {
            self.refused();
        }
    }

    /// The service says that the channel failed.
    pub(super) fn failed(&mut self) {
        if self.wants_attached {
            return self.refused();
        }
        // The client takes the channel for failed: it waits for no answer to its DETACH.
        *self = Self::default();
    }

    /// It refuses an ATTACH, or ended the channel by itself. If the channel was attached, nobody can tell
    /// which: an ATTACH that is under way may still be answered, so it counts as unanswered.
    fn refused(&mut self) {
        let was_attached = std::mem::take(&mut self.is_attached);
        if !std::mem::take(&mut self.own_attach) && !was_attached {
            self.attaches = self.attaches.saturating_sub(1);
        }
        self.forget_state();
    }

    /// RTL15b2, RTP5a: a channel that is not attached has no serial and no members. What was asked stays.
    fn forget_state(&mut self) {
        let attach = self.attach.take();
        let Self { wants_attached, attaches, detaches, .. } = *self;
        *self = Self { attach, wants_attached, attaches, detaches, ..Self::default() };
    }

    /// RTL15b: the newest serial.
    pub(super) fn take_serial(&mut self, head: &Head<'_>) {
        if let Some(serial) = head.channel_serial() {
            self.serial.clear();
            self.serial.push_str(&serial);
        }
    }

    /// RTP17b: the service says who is present.
    pub(super) fn presence(&mut self, head: &Head<'_>, items: &[Item<'_>], own: &str) {
        self.peopled = true;
        for item in items {
            self.members.take(head, item, own);
        }
    }

    /// A new upstream begins: the ATTACH that it is sent, if the client wants the channel.
    pub(super) fn attach_again(&mut self, style: Style, name: &str) -> Option<Payload> {
        let (wanted, asked) = (self.is_wanted(), self.is_asked());
        self.is_attached = false;
        self.own_attach = wanted && !asked;
        self.attaches = u32::from(wanted && asked);
        self.detaches = u32::from(!wanted);
        self.enters_members = self.own_attach && !self.members.is_empty();
        wanted.then(|| self.attach_message(style, name))
    }

    /// The DETACH that a new upstream is sent behind everything else (RTN19b).
    pub(super) fn detach_again(&self, style: Style, name: &str) -> Option<Payload> {
        let due = self.detaches > 0 && !self.wants_attached;
        due.then(|| Map::action(style.format, action::DETACH).text("channel", name).payload(style.kind))
    }

    /// The client's ATTACH with the newest serial in place of the one it had, written as it was.
    fn attach_message(&self, style: Style, name: &str) -> Payload {
        let said = self.attach.as_ref().map(Payload::as_message);
        let Style { format, kind } = said.and_then(Style::of).unwrap_or(style);
        let fields = said.and_then(|said| format.fields(said.payload)).unwrap_or_default();
        let mut map = Map::new(format);
        for (key, value) in fields.iter().filter(|(key, _)| key != "channelSerial") {
            map = map.raw(key, value);
        }
        if fields.is_empty() {
            map = map.uint("action", action::ATTACH).text("channel", name);
        }
        if !self.serial.is_empty() {
            map = map.text("channelSerial", &self.serial);
        } else if let Some(value) = last(&fields, "channelSerial") {
            map = map.raw("channelSerial", value);
        }
        map.payload(kind)
    }

    /// The members that Perennial has to enter again, by client id; each is named once.
    pub(super) fn take_members(&mut self) -> impl Iterator<Item = (&str, &Member)> {
        let due = std::mem::take(&mut self.enters_members) && self.is_attached;
        self.members.iter().filter(move |_| due)
    }

    /// Is the member present with this id? Then it is no longer.
    pub(super) fn remove_member(&mut self, client: &str, id: &str) -> bool {
        self.members.remove_if(client, id)
    }

    /// The service has no members here: the SYNC that tells the client, if it knew some.
    pub(super) fn emptied(&mut self, style: Style, head: &Head<'_>, own: &str) -> Option<Payload> {
        if head.flag(HAS_PRESENCE) || !self.peopled {
            return None;
        }
        let Style { format, kind } = style;
        let present = self.members.iter().map(|(_, member)| member.map(format, 1));
        let items: Vec<Vec<u8>> = present.map(|item| item.text("connectionId", own).bytes()).collect();
        self.peopled = !items.is_empty();
        let sync = Map::action(format, action::SYNC)
            .text("channel", &head.channel()?)
            .text("channelSerial", "perennial:")
            .array("presence", items.iter().map(Vec::as_slice));
        Some(sync.payload(kind))
    }
}
