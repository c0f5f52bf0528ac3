//! What is measured, and whom with.

use super::{load::Talk, options::Program};

/// What the proxy has before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leg {
    Plain,
    Tls,
    /// The upstream of Ably's shape, relayed by `dialect = "none"`.
    AblyUnread,
    /// The same, and Perennial follows the protocol.
    AblyRead,
}

/// A proxy in one of its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contender {
    pub(crate) program: Program,
    pub(crate) leg: Leg,
}

impl Contender {
    pub(crate) fn name(self) -> &'static str {
        match (self.program, self.leg) {
            (Program::Nginx, Leg::Tls) => "nginx-tls",
            (Program::Nginx, _) => "nginx",
            (Program::Haproxy, Leg::Tls) => "haproxy-tls",
            (Program::Haproxy, _) => "haproxy",
            (Program::Perennial, Leg::Plain) => "perennial",
            (Program::Perennial, Leg::Tls) => "perennial-tls",
            (Program::Perennial, Leg::AblyUnread) => "perennial-none",
            (Program::Perennial, Leg::AblyRead) => "perennial-ably",
        }
    }

    pub(crate) fn talk(self) -> Talk {
        match self.leg {
            Leg::Plain | Leg::Tls => Talk::Echo,
            Leg::AblyUnread | Leg::AblyRead => Talk::Ably,
        }
    }
}

/// Messages of one size, and how many are in flight on a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) size: usize,
    pub(crate) window: u32,
}

impl Cell {
    const fn new(size: usize, window: u32) -> Self {
        Self { size, window }
    }

    pub(crate) fn name(self) -> String {
        let size = match self.size {
            kib if kib.is_multiple_of(1024) => format!("{} KiB", kib / 1024),
            bytes => format!("{bytes} B"),
        };
        format!("{size}, W={}", self.window)
    }
}

/// Cells whose contenders take turns.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    /// The last is compared with each of the others.
    pub(crate) contenders: &'static [Contender],
    pub(crate) cells: &'static [Cell],
}

/// Connections of a group's cells.
pub(crate) const CONNECTIONS: u32 = 64;

const fn contender(program: Program, leg: Leg) -> Contender {
    Contender { program, leg }
}

pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "plain",
        contenders: &[
            contender(Program::Nginx, Leg::Plain),
            contender(Program::Haproxy, Leg::Plain),
            contender(Program::Perennial, Leg::Plain),
        ],
        cells: &[
            Cell::new(128, 1),
            Cell::new(128, 16),
            Cell::new(1024, 16),
            Cell::new(16 * 1024, 1),
            Cell::new(16 * 1024, 16),
        ],
    },
    Group {
        name: "tls upstream",
        contenders: &[
            contender(Program::Nginx, Leg::Tls),
            contender(Program::Haproxy, Leg::Tls),
            contender(Program::Perennial, Leg::Tls),
        ],
        cells: &[Cell::new(128, 1), Cell::new(128, 16), Cell::new(16 * 1024, 1)],
    },
    Group {
        name: "ably",
        contenders: &[
            contender(Program::Perennial, Leg::AblyUnread),
            contender(Program::Perennial, Leg::AblyRead),
        ],
        cells: &[Cell::new(128, 1), Cell::new(128, 16)],
    },
];

/// Who is measured idle.
pub(crate) const IDLE: &[Contender] = &[
    contender(Program::Nginx, Leg::Plain),
    contender(Program::Haproxy, Leg::Plain),
    contender(Program::Perennial, Leg::Plain),
    contender(Program::Nginx, Leg::Tls),
    contender(Program::Haproxy, Leg::Tls),
    contender(Program::Perennial, Leg::Tls),
    contender(Program::Perennial, Leg::AblyRead),
];

/// The message that an idle connection has sent.
pub(crate) const IDLE_SIZE: usize = 16 * 1024;
