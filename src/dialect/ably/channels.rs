//! The channels of a connection, as a new upstream has to be told of them (RTL3d, RTL4c1, RTP17i).
//!
//! The service keeps almost nothing for a connection: which channels are attached, with which options,
//! and from where their messages go on, is the client's to say after every loss. Perennial says it in the
//! client's place, from what it saw pass.
//!
//! Rules: a channel's serial is the newest that passed with MESSAGE, PRESENCE, ANNOTATION, OBJECT or
//! ATTACHED (RTL15b), never one of a SYNC; it is opaque. Members are those that the service echoed as
//! this connection's (RTP17b).

use std::collections::BTreeMap;

use super::{
    codec::{Format, Map},
    head::{HAS_OBJECTS, Head, RESUMED, action},
};
use crate::wire::Payload;

/// TR3: others are present on the channel.
const HAS_PRESENCE: u64 = 1;

/// What the client wants of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Its ATTACH has no answer yet.
    Attaching,
    Attached,
    /// Its DETACH has no answer yet.
    Detaching,
}

#[derive(Debug)]
struct Channel {
    wanted: Wanted,
    /// The client's last ATTACH, with its params and flags.
    attach: Box<[u8]>,
    /// Perennial's own ATTACH has no answer yet.
    ours: bool,
    serial: String,
    objects: bool,
    /// The client was told of members.
    peopled: bool,
    /// This connection's members, by client id.
    members: BTreeMap<Box<str>, Member>,
}

/// One of this connection's members.
#[derive(Debug)]
struct Member {
    id: Box<str>,
    /// `clientId`, `data`, `encoding`, `extras`: as the service wrote them.
    entries: Vec<(Box<str>, Box<[u8]>)>,
}

/// Whose ATTACHED it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Attached {
    /// The client's, or one that nobody asked for.
    Client,
    /// The answer to Perennial's own; the client need not know.
    Own,
    /// The answer to Perennial's own, but messages are missing: the client has to know.
    OwnWithGap,
}

/// The channels of one connection.
#[derive(Debug)]
pub(super) struct Channels {
    format: Format,
    by_name: BTreeMap<Box<str>, Channel>,
    bytes: usize,
}

impl Channels {
    pub(super) fn new(format: Format) -> Self {
        Self { format, by_name: BTreeMap::new(), bytes: 0 }
    }

    /// Bytes remembered, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The client attaches, or changes how it is attached.
    pub(super) fn client_attaches(&mut self, name: &str, message: &[u8]) {
        let channel = self.channel(name);
        channel.wanted = Wanted::Attaching;
        let before = std::mem::replace(&mut channel.attach, message.into());
        self.bytes = (self.bytes + message.len()).saturating_sub(before.len());
    }

    /// The client detaches.
    pub(super) fn client_detaches(&mut self, name: &str) {
        self.channel(name).wanted = Wanted::Detaching;
    }

    fn channel(&mut self, name: &str) -> &mut Channel {
        if !self.by_name.contains_key(name) {
            self.bytes += name.len() + size_of::<Channel>();
        }
        self.by_name.entry(name.into()).or_insert_with(|| Channel {
            wanted: Wanted::Attaching,
            attach: Box::default(),
            ours: false,
            serial: String::new(),
            objects: false,
            peopled: false,
            members: BTreeMap::new(),
        })
    }

    /// The service says that a channel is attached.
    pub(super) fn attached(&mut self, head: &Head<'_>) -> Attached {
        let Some(channel) = head.channel().and_then(|name| self.by_name.get_mut(name)) else {
            return Attached::Client;
        };
        channel.take_serial(head);
        channel.objects |= head.flag(HAS_OBJECTS);
        channel.peopled |= head.flag(HAS_PRESENCE);
        // Perennial's own went first on this connection, so its answer comes first.
        if std::mem::take(&mut channel.ours) {
            let resumed = head.flag(RESUMED);
            return match channel.wanted {
                // An SDK starts its Objects anew on ATTACHED alone, and raises no event for it.
                Wanted::Attached if resumed && channel.objects => Attached::Client,
                Wanted::Attached if !resumed => Attached::OwnWithGap,
                // What the client has asked for since has an answer of its own to come.
                Wanted::Attached | Wanted::Attaching | Wanted::Detaching => Attached::Own,
            };
        }
        if channel.wanted == Wanted::Attaching {
            channel.wanted = Wanted::Attached;
        }
        Attached::Client
    }

    /// The service detached a channel, or refused it.
    pub(super) fn gone(&mut self, name: &str) {
        if let Some(channel) = self.by_name.remove(name) {
            let members: usize = channel.members.values().map(Member::bytes).sum();
            let freed = name.len() + channel.attach.len() + size_of::<Channel>() + members;
            self.bytes = self.bytes.saturating_sub(freed);
        }
    }

    /// A message of the service's on a channel.
    pub(super) fn passed(&mut self, head: &Head<'_>) {
        if let Some(channel) = head.channel().and_then(|name| self.by_name.get_mut(name)) {
            channel.take_serial(head);
        }
    }

    /// A PRESENCE or SYNC of the service's: members of the connection `own` are remembered.
    pub(super) fn presence(&mut self, head: &Head<'_>, message: &[u8], own: &str) {
        let format = self.format;
        let Some(channel) = head.channel().and_then(|name| self.by_name.get_mut(name)) else { return };
        channel.peopled = true;
        let Some(fields) = format.fields(message) else { return };
        let Some((_, list)) = fields.iter().find(|(key, _)| key == "presence") else { return };
        for (index, item) in format.elements(list).unwrap_or_default().into_iter().enumerate() {
            let before: usize = channel.members.values().map(Member::bytes).sum();
            channel.member(format, head, item, index, own);
            let after: usize = channel.members.values().map(Member::bytes).sum();
            self.bytes = (self.bytes + after).saturating_sub(before);
        }
    }

    /// ATTACHes for a new upstream: of all that is attached, with its newest serial; and again what the
    /// client asked for and has no answer to.
    pub(super) fn attach_again(&mut self) -> Vec<Payload> {
        let format = self.format;
        let mut out = Vec::new();
        for (name, channel) in &mut self.by_name {
            channel.ours = channel.wanted == Wanted::Attached;
            if channel.wanted != Wanted::Detaching {
                out.push(channel.attach_message(format, name));
            }
        }
        out
    }

    /// DETACHes that have no answer.
    pub(super) fn detach_again(&self) -> impl Iterator<Item = Payload> {
        self.by_name
            .iter()
            .filter(|(_, channel)| channel.wanted == Wanted::Detaching)
            .map(|(name, _)| Map::action(self.format, action::DETACH).text("channel", name).payload())
    }

    /// Is a channel still to be attached, so that presence on it has to wait?
    pub(super) fn is_attaching(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|c| c.ours || c.wanted == Wanted::Attaching)
    }

    /// Is a channel with members of this connection still to be attached?
    pub(super) fn members_wait(&self) -> bool {
        self.by_name.values().any(|channel| channel.ours && !channel.members.is_empty())
    }

    /// The members to be entered again on attached channels, each as its channel and its PRESENCE, but
    /// for the serial.
    pub(super) fn members(&self) -> Vec<(Box<str>, Map)> {
        let attached = self.by_name.iter().filter(|(_, channel)| channel.wanted == Wanted::Attached);
        attached
            .flat_map(|(name, channel)| channel.members.values().map(move |member| (name, member)))
            .map(|(name, member)| {
                // RTP17g1: with the id it had, so that it is the same member to everyone.
                let item = member.map(self.format, 2).bytes();
                let message = Map::action(self.format, action::PRESENCE)
                    .text("channel", name)
                    .array("presence", std::iter::once(&item[..]));
                (name.clone(), message)
            })
            .collect()
    }

    /// The service has no members on this channel: what the client has to be told, where it knew some.
    pub(super) fn emptied(&mut self, head: &Head<'_>, own: &str) -> Option<Payload> {
        let name = head.channel()?;
        let channel = self.by_name.get_mut(name)?;
        if head.flag(HAS_PRESENCE) || !channel.peopled {
            return None;
        }
        let items: Vec<Vec<u8>> = channel
            .members
            .values()
            .map(|member| member.map(self.format, 1).text("connectionId", own).bytes())
            .collect();
        channel.peopled = !items.is_empty();
        let sync = Map::action(self.format, action::SYNC)
            .text("channel", name)
            .text("channelSerial", "perennial:")
            .array("presence", items.iter().map(Vec::as_slice));
        Some(sync.payload())
    }
}

impl Channel {
    fn take_serial(&mut self, head: &Head<'_>) {
        if let Some(serial) = &head.channel_serial {
            self.serial.clear();
            self.serial.push_str(&serial.0);
        }
    }

    /// The client's ATTACH with the newest serial in place of the one it had.
    fn attach_message(&self, format: Format, name: &str) -> Payload {
        let fields = format.fields(&self.attach).unwrap_or_default();
        let mut map = Map::new(format);
        for (key, value) in fields.iter().filter(|(key, _)| key != "channelSerial") {
            map = map.raw(key, value);
        }
        if fields.is_empty() {
            map = map.uint("action", action::ATTACH).text("channel", name);
        }
        if !self.serial.is_empty() {
            map = map.text("channelSerial", &self.serial);
        } else if let Some((_, value)) = fields.iter().find(|(key, _)| key == "channelSerial") {
            map = map.raw("channelSerial", value);
        }
        map.payload()
    }

    fn member(&mut self, format: Format, head: &Head<'_>, item: &[u8], index: usize, own: &str) {
        let Some(fields) = format.fields(item) else { return };
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
        let text = |name: &str| field(name).and_then(|value| format.text(value));
        let of_message = head.connection_id.as_ref().map(|id| &*id.0);
        if text("connectionId").as_deref().or(of_message) != Some(own) {
            return;
        }
        let client = text("clientId").map(|id| Box::from(&*id)).unwrap_or_default();
        let id = text("id").map(|id| id.into_owned());
        let id = id.or_else(|| head.id.as_ref().map(|id| format!("{}:{index}", id.0))).unwrap_or_default();
        match field("action").and_then(|value| format.uint(value)) {
            Some(1 | 2 | 4) => {
                let kept = ["clientId", "data", "encoding", "extras"];
                let entries = fields.iter().filter(|(key, _)| kept.contains(&&**key));
                let entries = entries.map(|(key, value)| (Box::from(&**key), Box::from(*value))).collect();
                self.members.insert(client, Member { id: id.into(), entries });
            }
            // A leave that the service made up, for a connection it took for dead, does not count.
            Some(0 | 3) if id.starts_with(own) => {
                self.members.remove(&client);
            }
            _ => {}
        }
    }
}

impl Member {
    fn bytes(&self) -> usize {
        self.id.len()
            + self.entries.iter().map(|(key, value)| key.len() + value.len() + 32).sum::<usize>()
            + 64
    }

    /// The member as an element of `presence`.
    fn map(&self, format: Format, action: u64) -> Map {
        let map = Map::action(format, action);
        let map = if self.id.is_empty() { map } else { map.text("id", &self.id) };
        self.entries.iter().fold(map, |map, (key, value)| map.raw(key, value))
    }
}
