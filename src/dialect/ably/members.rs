//! This connection's members of one channel, as the service echoed them (RTP17b).

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    codec::{Field, Format, Map, last},
    head::Head,
};

/// What the map and the allocator take for a member, and for a field of one, beside the bytes themselves.
const MEMBER: usize = size_of::<Member>() + 64;
const ENTRY: usize = size_of::<(Box<str>, Box<[u8]>)>() + 32;

/// An element of `presence`.
pub(super) struct Item<'a> {
    format: Format,
    index: usize,
    fields: Vec<Field<'a>>,
}

impl<'a> Item<'a> {
    /// Those of a PRESENCE or a SYNC.
    pub(super) fn all(message: &'a [u8]) -> Vec<Self> {
        let Some(format) = Format::of(message) else { return Vec::new() };
        let fields = format.fields(message).unwrap_or_default();
        let list = last(&fields, "presence");
        let elements = list.and_then(|list| format.elements(list)).unwrap_or_default();
        let items = elements.into_iter().enumerate().filter_map(|(index, element)| {
            let fields = format.fields(element)?;
            Some(Self { format, index, fields })
        });
        items.collect()
    }

    fn field(&self, name: &str) -> Option<&'a [u8]> {
        last(&self.fields, name)
    }

    fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.field(name).and_then(|value| self.format.text(value))
    }

    pub(super) fn client(&self) -> Option<Cow<'a, str>> {
        self.text("clientId")
    }

    pub(super) fn action(&self) -> Option<u64> {
        self.field("action").and_then(|value| self.format.uint(value))
    }

    /// TP3a: its own id, or the one that follows from the id of its message.
    pub(super) fn id(&self, of_message: Option<&str>) -> String {
        let own = self.text("id").map(Cow::into_owned);
        own.or_else(|| of_message.map(|id| format!("{id}:{}", self.index))).unwrap_or_default()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    pub id: Box<str>,
    /// `clientId`, `data`, `encoding`, `extras`: as the service wrote them.
    entries: Vec<(Box<str>, Box<[u8]>)>,
}

impl Member {
    fn new(item: &Item<'_>, id: String) -> Self {
        let kept = ["clientId", "data", "encoding", "extras"];
        let entries = item.fields.iter().filter(|(key, _)| kept.contains(&&**key));
        let entries = entries.map(|(key, value)| (Box::from(&**key), Box::from(*value))).collect();
        Self { id: id.into(), entries }
    }

    fn cost(&self) -> usize {
        let entries = self.entries.iter().map(|(key, value)| key.len() + value.len() + ENTRY);
        MEMBER + self.id.len() + entries.sum::<usize>()
    }

    /// The member as an element of `presence`.
    pub(super) fn map(&self, format: Format, action: u64) -> Map {
        let map = Map::action(format, action);
        let map = if self.id.is_empty() { map } else { map.text("id", &self.id) };
        self.entries.iter().fold(map, |map, (key, value)| map.raw(key, value))
    }
}

/// The members, by client id.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Members {
    by_client: BTreeMap<Box<str>, Member>,
    cost: usize,
}

impl Members {
    /// Bytes kept.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_client.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.by_client.iter().map(|(client, member)| (&**client, member))
    }

    /// The service says this of somebody; only this connection's own count.
    pub(super) fn take(&mut self, head: &Head<'_>, item: &Item<'_>, own: &str) {
        if item.text("connectionId").or_else(|| head.connection_id()).as_deref() != Some(own) {
            return;
        }
        let client = item.client().unwrap_or_default();
        let id = item.id(head.id().as_deref());
        match item.action() {
            Some(1 | 2 | 4) => self.insert(&client, Member::new(item, id)),
            // A leave that the service made up, for a connection it took for dead, does not count.
            Some(0 | 3) if id.starts_with(own) => self.remove(&client),
            _ => {}
        }
    }

    fn insert(&mut self, client: &str, member: Member) {
        self.remove(client);
        self.cost += client.len() + member.cost();
        self.by_client.insert(client.into(), member);
    }

    fn remove(&mut self, client: &str) {
        if let Some(member) = self.by_client.remove(client) {
            self.cost = self.cost.saturating_sub(client.len() + member.cost());
        }
    }

    /// Removes a member that still has this id; was it so?
    pub(super) fn remove_if(&mut self, client: &str, id: &str) -> bool {
        let same = self.by_client.get(client).is_some_and(|member| *member.id == *id);
        if same {
            self.remove(client);
        }
        same
    }
}
