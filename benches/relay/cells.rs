//! What is measured: groups of cells, and the setting that each group's proxies are in.

use serde::Serialize;

use super::{
    ably::Format,
    load::{Talk, Work},
    options::Program,
};

/// What stands around a proxy, and what Perennial reads; nginx and HAProxy read nothing but HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// No TLS; `dialect = "none"`.
    Plain,
    /// TLS between the proxy and the service.
    TlsUpstream,
    /// TLS between the client and the proxy.
    TlsClient,
    /// `dialect = "handshake"`.
    Handshake,
    /// A declared dialect, and messages that none of its rules is about.
    Declared,
    /// `dialect = "ably"`, and a service of that shape.
    Ably,
    /// Plain HTTP, `[route.http]`.
    Http,
}

/// A proxy in one setting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contender {
    pub(crate) program: Program,
    pub(crate) setting: Setting,
}

impl Contender {
    /// The name of its directory.
    pub(crate) fn name(self) -> String {
        format!("{}-{:?}", self.program.name(), self.setting)
    }
}

/// What is said over the connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    /// What the name begins with, if the numbers are not all.
    label: &'static str,
    pub(crate) work: Work,
    pub(crate) size: usize,
    pub(crate) window: u32,
    pub(crate) frames: usize,
    pub(crate) connections: u32,
}

impl Cell {
    const fn new(label: &'static str, work: Work, size: usize) -> Self {
        Self { label, work, size, window: 0, frames: 1, connections: 64 }
    }

    const fn echo(size: usize, window: u32) -> Self {
        Self { window, ..Self::new("", Work::Talk(Talk::Echo), size) }
    }

    /// JSON that no rule of a dialect is about.
    const fn json(size: usize, window: u32) -> Self {
        Self { window, ..Self::new("json", Work::Talk(Talk::Json), size) }
    }

    const fn ably(label: &'static str, format: Format, window: u32) -> Self {
        Self { window, ..Self::new(label, Work::Talk(Talk::Ably(format)), 128) }
    }

    const fn in_frames(self, frames: usize) -> Self {
        Self { frames, ..self }
    }

    /// Few connections: what they carry is enough.
    const fn on_16(self) -> Self {
        Self { connections: 16, ..self }
    }

    pub(crate) fn name(self) -> String {
        let size = match self.size {
            0 => None,
            mib if mib.is_multiple_of(1 << 20) => Some(format!("{} MiB", mib >> 20)),
            kib if kib.is_multiple_of(1 << 10) => Some(format!("{} KiB", kib >> 10)),
            bytes => Some(format!("{bytes} B")),
        };
        let size = size.map(|size| match self.frames {
            1 => size,
            frames => format!("{size} in {frames} frames"),
        });
        let label = (!self.label.is_empty()).then(|| self.label.to_owned());
        let window = (self.window > 0).then(|| format!("W={}", self.window));
        label.into_iter().chain(size).chain(window).collect::<Vec<_>>().join(", ")
    }

    /// How many messages (connections, requests) one time is: an echo is a message in each direction.
    pub(crate) fn counts(self) -> u64 {
        match self.work {
            Work::Talk(Talk::Echo | Talk::Json | Talk::Ably(_)) => 2,
            Work::Talk(Talk::Push) | Work::Connect | Work::Get => 1,
        }
    }
}

/// What stands over a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Heading {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// What is measured, in a sentence or two.
    pub(crate) note: &'static str,
}

/// Cells of one setting. Groups that follow each other under one heading are one table.
pub(crate) struct Group {
    pub(crate) heading: Heading,
    pub(crate) setting: Setting,
    pub(crate) cells: &'static [Cell],
}

const PER_MESSAGE: &str = "µs of CPU per message";

const PLAIN: Heading = Heading {
    name: "plain",
    unit: PER_MESSAGE,
    note: "The service sends each message back. `dialect = \"none\"`, no TLS.",
};
const PUSH: Heading = Heading {
    name: "push",
    unit: PER_MESSAGE,
    note: "The service sends as fast as it can, and the client only reads. 16 connections.",
};
const FRAGMENTS: Heading = Heading {
    name: "fragments",
    unit: PER_MESSAGE,
    note: "As plain, but each message comes in several frames.",
};
const HANDSHAKE: Heading = Heading {
    name: "dialect handshake",
    unit: PER_MESSAGE,
    note: "Perennial looks where each message begins and ends, so that it can change the connection between \
           two of them. nginx and HAProxy relay the same traffic unread.",
};
const DECLARED: Heading = Heading {
    name: "dialect declared",
    unit: PER_MESSAGE,
    note: "`dialect = \"graphql-transport-ws\"`, and messages that no rule of it is about. Perennial looks at the members \
           at the top of each. nginx and HAProxy relay the same traffic unread.",
};
const JSON_BY_HANDSHAKE: Heading = Heading {
    name: "dialect handshake, json",
    unit: PER_MESSAGE,
    note: "The same messages with `dialect = \"handshake\"`.",
};
const ABLY: Heading = Heading {
    name: "dialect ably",
    unit: PER_MESSAGE,
    note: "One channel; the client publishes, and the service delivers each message to it. Perennial reads \
           each message, as it must to resume a session. nginx and HAProxy relay the same traffic unread.",
};
const TLS_UPSTREAM: Heading = Heading {
    name: "TLS upstream",
    unit: PER_MESSAGE,
    note: "As plain, with TLS 1.3 between the proxy and the service.",
};
const TLS_CLIENT: Heading = Heading {
    name: "TLS client",
    unit: PER_MESSAGE,
    note: "As plain, with TLS 1.3 between the client and the proxy.",
};
const CONNECTS: Heading = Heading {
    name: "connects",
    unit: "µs of CPU per connection",
    note: "TCP, TLS if named, the WebSocket handshake, a Close in both directions, the end. The client resumes \
           no TLS session: each of its TLS handshakes is a full one.",
};
const HTTP: Heading = Heading {
    name: "HTTP",
    unit: "µs of CPU per request",
    note: "`[route.http]`: plain GET requests, one at a time on each of 64 connections. These stay open, and \
           so do the connections to the service.",
};

pub(crate) const GROUPS: &[Group] = &[
    Group {
        heading: PLAIN,
        setting: Setting::Plain,
        cells: &[
            Cell::echo(128, 1),
            Cell::echo(128, 16),
            Cell::echo(1 << 10, 16),
            Cell::echo(16 << 10, 1),
            Cell::echo(16 << 10, 16),
            Cell::echo(1 << 20, 1).on_16(),
        ],
    },
    Group {
        heading: PUSH,
        setting: Setting::Plain,
        cells: &[
            Cell::new("", Work::Talk(Talk::Push), 128).on_16(),
            Cell::new("", Work::Talk(Talk::Push), 16 << 10).on_16(),
        ],
    },
    Group {
        heading: FRAGMENTS,
        setting: Setting::Plain,
        cells: &[Cell::echo(128, 16).in_frames(2), Cell::echo(1 << 10, 16).in_frames(8)],
    },
    Group {
        heading: HANDSHAKE,
        setting: Setting::Handshake,
        cells: &[
            Cell::echo(128, 1),
            Cell::echo(128, 16),
            Cell::echo(128, 16).in_frames(2),
            Cell::echo(1 << 10, 16).in_frames(8),
        ],
    },
    Group {
        heading: DECLARED,
        setting: Setting::Declared,
        cells: &[Cell::json(128, 1), Cell::json(128, 16), Cell::json(1 << 10, 16)],
    },
    Group {
        heading: JSON_BY_HANDSHAKE,
        setting: Setting::Handshake,
        cells: &[Cell::json(128, 1), Cell::json(128, 16), Cell::json(1 << 10, 16)],
    },
    Group {
        heading: ABLY,
        setting: Setting::Ably,
        cells: &[
            Cell::ably("json", Format::Json, 1),
            Cell::ably("json", Format::Json, 16),
            Cell::ably("msgpack", Format::Msgpack, 1),
            Cell::ably("msgpack", Format::Msgpack, 16),
        ],
    },
    Group {
        heading: TLS_UPSTREAM,
        setting: Setting::TlsUpstream,
        cells: &[Cell::echo(128, 1), Cell::echo(128, 16), Cell::echo(16 << 10, 1)],
    },
    Group {
        heading: TLS_CLIENT,
        setting: Setting::TlsClient,
        cells: &[Cell::echo(128, 1), Cell::echo(128, 16), Cell::echo(16 << 10, 1)],
    },
    Group { heading: CONNECTS, setting: Setting::Plain, cells: &[Cell::new("plain", Work::Connect, 0)] },
    Group {
        heading: CONNECTS,
        setting: Setting::TlsUpstream,
        cells: &[Cell::new("TLS upstream", Work::Connect, 0)],
    },
    Group {
        heading: CONNECTS,
        setting: Setting::TlsClient,
        cells: &[Cell::new("TLS client", Work::Connect, 0)],
    },
    Group { heading: HTTP, setting: Setting::Http, cells: &[Cell::new("GET", Work::Get, 512)] },
];
