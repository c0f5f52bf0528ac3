//! The channels of a connection, as a new upstream has to be told of them (RTL3d, RTL4c1, RTP17i).
//!
//! The service keeps almost nothing for a connection: which channels are attached, with which options,
//! and from where their messages go on, is the client's to say after every loss. Perennial says it in the
//! client's place, from what it saw pass.
//!
//! Rules:
//! 1. A channel's serial is the newest that passed with MESSAGE, PRESENCE, ANNOTATION, OBJECT or ATTACHED
//!    (RTL15b), never one of a SYNC; it is opaque.
//! 2. What is kept is counted as it is kept. Beyond the limit all of it is forgotten: a connection cannot be
//!    continued with some of its channels. The client keeps its connection, and loses no message. Only its
//!    next outage is not hidden: it is told DISCONNECTED, comes back, and attaches its channels itself.

use std::collections::BTreeMap;

use super::{
    channel::{Attached, Channel},
    codec::{Format, Map, Style},
    head::{Head, action},
    members::Item,
};
use crate::wire::{Message, Payload};

/// What the map and the allocator take for a channel, beside what is in it.
const NODE: usize = size_of::<(Box<str>, Box<Channel>)>() + 64;

/// The channels of one connection.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Channels {
    /// Boxed: a node of the map has room for eleven, and most connections have one.
    by_name: BTreeMap<Box<str>, Box<Channel>>,
    bytes: usize,
    limit: usize,
    forgotten: bool,
}

impl Channels {
    /// Keeps `limit` bytes at most.
    pub(super) fn new(limit: usize) -> Self {
        Self { by_name: BTreeMap::new(), bytes: 0, limit, forgotten: false }
    }

    /// Were there more than may be kept?
    pub(super) fn are_forgotten(&self) -> bool {
        self.forgotten
    }

    /// Bytes kept.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The client attaches, or changes how it is attached.
    pub(super) fn client_attaches(&mut self, name: &str, message: Message<'_>) {
        self.open(name);
        self.change(name, |channel| channel.client_attaches(message));
    }

    pub(super) fn client_detaches(&mut self, name: &str) {
        self.open(name);
        self.change(name, Channel::client_detaches);
    }

    fn open(&mut self, name: &str) {
        if !self.forgotten && !self.by_name.contains_key(name) {
            let channel = Box::<Channel>::default();
            self.bytes += NODE + name.len() + channel.cost();
            self.by_name.insert(name.into(), channel);
        }
    }

    /// Changes a channel and counts what it then takes. One about which nothing is left to say is dropped.
    fn change<T>(&mut self, name: &str, change: impl FnOnce(&mut Channel) -> T) -> Option<T> {
        let channel = self.by_name.get_mut(name)?;
        let before = channel.cost();
        let value = change(channel);
        let (after, idle) = (channel.cost(), channel.is_idle());
        self.bytes = (self.bytes + after).saturating_sub(before);
        if idle {
            self.by_name.remove(name);
            self.bytes = self.bytes.saturating_sub(NODE + name.len() + after);
        }
        if self.bytes > self.limit {
            (self.by_name, self.bytes, self.forgotten) = (BTreeMap::new(), 0, true);
        }
        Some(value)
    }

    /// The service says that a channel is attached: who has to see it?
    pub(super) fn attached(&mut self, head: &Head<'_>) -> Attached {
        let name = head.channel().unwrap_or_default();
        self.change(&name, |channel| channel.attached(head)).unwrap_or(Attached::Shown)
    }

    pub(super) fn detached(&mut self, name: &str) {
        self.change(name, Channel::detached);
    }

    pub(super) fn failed(&mut self, name: &str) {
        self.change(name, Channel::failed);
    }

    /// A message whose serial counts passed.
    pub(super) fn passed(&mut self, head: &Head<'_>) {
        if let Some(name) = head.channel() {
            self.change(&name, |channel| channel.take_serial(head));
        }
    }

    /// The service says who is present, in a PRESENCE or a SYNC.
    pub(super) fn presence(&mut self, head: &Head<'_>, message: &[u8], own: &str) {
        let Some(name) = head.channel().filter(|name| self.by_name.contains_key(&**name)) else { return };
        let items = Item::all(message);
        self.change(&name, |channel| channel.presence(head, &items, own));
    }

    /// ATTACHes for a new upstream: of all that is attached, with its newest serial; and again what the
    /// client asked for and has no answer to.
    pub(super) fn attach_again(&mut self, style: Style) -> Vec<Payload> {
        self.by_name.iter_mut().filter_map(|(name, channel)| channel.attach_again(style, name)).collect()
    }

    /// DETACHes that have no answer.
    pub(super) fn detach_again(&self, style: Style) -> impl Iterator<Item = Payload> {
        self.by_name.iter().filter_map(move |(name, channel)| channel.detach_again(style, name))
    }

    /// Is a channel still to be attached, so that presence on it has to wait?
    pub(super) fn is_attaching(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|channel| channel.is_attaching())
    }

    /// Do members of any channel wait for its ATTACHED?
    pub(super) fn members_wait(&self) -> bool {
        self.by_name.values().any(|channel| channel.members_wait())
    }

    /// The members to be entered again, each as its channel and its PRESENCE, but for the serial.
    /// `is_settled` says of a channel, a client id and an id whether the service's last word on it stands.
    pub(super) fn take_members(
        &mut self,
        format: Format,
        is_settled: impl Fn(&str, &str, &str) -> bool,
    ) -> Vec<(Box<str>, Map)> {
        let mut out = Vec::new();
        for (name, channel) in &mut self.by_name {
            for (client, member) in channel.take_members() {
                if is_settled(name, client, &member.id) {
                    // RTP17g1: with the id it had, so that it is the same member to everyone.
                    let item = member.map(format, 2).bytes();
                    let message = Map::action(format, action::PRESENCE)
                        .text("channel", name)
                        .array("presence", std::iter::once(&item[..]));
                    out.push((name.clone(), message));
                }
            }
        }
        out
    }

    /// The service refused to enter a member again: if it still has that id, it is present no longer.
    pub(super) fn remove_member(&mut self, name: &str, client: &str, id: &str) -> bool {
        self.change(name, |channel| channel.remove_member(client, id)).unwrap_or_default()
    }

    /// The service has no members on this channel: what the client has to be told, if it knew some.
    pub(super) fn emptied(&mut self, style: Style, head: &Head<'_>, own: &str) -> Option<Payload> {
        self.by_name.get_mut(&*head.channel()?)?.emptied(style, head, own)
    }
}
