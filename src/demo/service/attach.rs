//! Attaching to channels, and what a client that attaches again has missed.
//!
//! ```text
//!   ATTACH serial ──► known, all after it remembered ──► ATTACHED + RESUMED, then what was missed, once
//!                └──► else                           ──► ATTACHED, then nothing of the past
//! ```
//!
//! An ATTACHED carries the serial from which what follows continues, so that a client which is cut
//! off before the backlog has come asks for it again.

use rmpv::Value;

use super::{
    channel::Channel,
    connection::TransportId,
    frame::{action, error, map, member, number, text},
    hub::Hub,
};

/// The bits of `flags` (TR3).
pub(super) mod flag {
    pub(crate) const HAS_PRESENCE: u64 = 1;
    pub(crate) const HAS_BACKLOG: u64 = 1 << 1;
    pub(crate) const RESUMED: u64 = 1 << 2;
    pub(crate) const SUBSCRIBE: u64 = 1 << 18;
    pub(crate) const PRESENCE_SUBSCRIBE: u64 = 1 << 19;
    pub(crate) const ANNOTATION_SUBSCRIBE: u64 = 1 << 22;
    pub(crate) const OBJECT_SUBSCRIBE: u64 = 1 << 24;
    /// Every bit that is a mode.
    pub(crate) const MODES: u64 = 0b11_0110_1111 << 16;
    /// Granted to who asks for none: presence, publish, subscribe, presence subscribe.
    pub(crate) const DEFAULT: u64 = 0b1111 << 16;
}

impl Hub {
    pub(super) fn attach(&mut self, id: TransportId, frame: &Value) {
        let Some(name) = self.channel_named(id, frame) else { return };
        self.ledger.count(|c| c.attaches += 1);
        let modes = match number(frame, "flags").unwrap_or(0) & flag::MODES {
            0 => flag::DEFAULT,
            asked => asked,
        };
        let Some(transport) = self.transports.get_mut(&id) else { return };
        let in_place = transport.attached.insert(name.clone(), modes).is_some();
        self.channels.entry(name.clone()).or_insert_with(Channel::new).attached.insert(id);
        let backlog = if in_place { Backlog::Continued(0) } else { self.backlog(&name, frame) };
        self.say_attached(id, &name, frame, modes, &backlog, in_place);
        if !in_place {
            self.replay(id, &name, backlog.length());
            self.synchronise(id, &name);
        }
    }

    /// What an ATTACH asks for of the past.
    fn backlog(&mut self, name: &str, frame: &Value) -> Backlog {
        let now = crate::clock::now();
        let (limit, ttl) = (self.options.history, self.options.history_ttl);
        let Some(channel) = self.channels.get_mut(name) else { return Backlog::None };
        channel.trim(limit, ttl, now);
        if let Some(serial) = text(frame, "channelSerial") {
            return match channel.since(serial) {
                Some(missed) => Backlog::Continued(missed),
                None => Backlog::Broken,
            };
        }
        let rewind = member(frame, "params").and_then(|p| text(p, "rewind"));
        match rewind.and_then(|n| n.parse::<usize>().ok()) {
            Some(wanted) => Backlog::Rewound(wanted.min(channel.history.len())),
            None => Backlog::None,
        }
    }

    fn say_attached(
        &mut self,
        id: TransportId,
        name: &str,
        frame: &Value,
        modes: u64,
        backlog: &Backlog,
        in_place: bool,
    ) {
        let Some(channel) = self.channels.get(name) else { return };
        let mut flags = modes;
        let mut fault = Value::Nil;
        if !channel.members.is_empty() && !in_place {
            flags |= flag::HAS_PRESENCE;
        }
        if backlog.length() > 0 {
            flags |= flag::HAS_BACKLOG;
        }
        match backlog {
            Backlog::Continued(_) => {
                flags |= flag::RESUMED;
                self.ledger.count(|c| c.continued += u64::from(!in_place));
            }
            Backlog::Broken => fault = error(90003, 404, "unable to recover channel (messages expired)"),
            Backlog::None | Backlog::Rewound(_) => {}
        }
        let answer = map([
            ("action", action::ATTACHED.into()),
            ("flags", flags.into()),
            ("channel", name.into()),
            ("channelSerial", channel.serial_before(backlog.length()).into()),
            ("params", member(frame, "params").cloned().unwrap_or(Value::Nil)),
            ("error", fault),
        ]);
        self.send(id, &answer);
    }

    /// Delivers the newest `missed` messages of a channel to one transport.
    fn replay(&mut self, id: TransportId, name: &str, missed: usize) {
        let Some(transport) = self.transports.get(&id) else { return };
        let (format, echo, own) =
            (transport.wishes.format, transport.wishes.echo, transport.connection.clone());
        let modes = transport.attached.get(name).copied().unwrap_or(0);
        let Some(channel) = self.channels.get_mut(name) else { return };
        let first = channel.history.len().saturating_sub(missed);
        let messages: Vec<_> = channel
            .history
            .iter_mut()
            .skip(first)
            .filter(|past| modes & past.mode != 0 && (echo || past.connection_id != own))
            .map(|past| past.frame.encoded(format))
            .collect();
        for message in messages {
            self.put_on_line(id, message);
        }
    }

    pub(super) fn detach(&mut self, id: TransportId, frame: &Value) {
        let Some(name) = self.channel_named(id, frame) else { return };
        self.unattach(id, &name);
        if let Some(connection) = self.transports.get(&id).map(|t| t.connection.clone()) {
            self.leave(&name, |whose, _| whose == connection);
        }
        self.send(id, &map([("action", action::DETACHED.into()), ("channel", name.into())]));
    }

    fn unattach(&mut self, id: TransportId, name: &str) {
        if let Some(transport) = self.transports.get_mut(&id) {
            transport.attached.remove(name);
        }
        if let Some(channel) = self.channels.get_mut(name) {
            channel.attached.remove(&id);
        }
    }

    pub(super) fn fail_channel(&mut self, name: &str, code: u64, status: u64) {
        let Some(channel) = self.channels.get(name) else { return };
        let attached: Vec<TransportId> = channel.attached.iter().copied().collect();
        let frame = map([
            ("action", action::ERROR.into()),
            ("channel", name.into()),
            ("error", error(code, status, "failed by order")),
        ]);
        for id in attached {
            self.unattach(id, name);
            self.send(id, &frame);
        }
    }

    pub(super) fn forget_history(&mut self, name: &str) {
        if let Some(channel) = self.channels.get_mut(name) {
            channel.forget();
        }
    }
}

/// What of the past follows an ATTACHED.
enum Backlog {
    /// Nothing was asked for.
    None,
    /// The newest ones, as a parameter asked.
    Rewound(usize),
    /// All that was missed.
    Continued(usize),
    /// What was missed is not to be had.
    Broken,
}

impl Backlog {
    fn length(&self) -> usize {
        match self {
            Self::None | Self::Broken => 0,
            Self::Rewound(n) | Self::Continued(n) => *n,
        }
    }
}
