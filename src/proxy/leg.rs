//! The legs of a session: its client, the upstream that serves it, and the one that is to replace that.

use super::driver::Driver;
use crate::{net::link::Link, session::Epoch, wire::Direction};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leg {
    Client,
    Upstream,
    /// There only while a swap waits for the end of the old upstream.
    Next,
}

impl Leg {
    /// Which way its messages go.
    pub(super) fn direction(self) -> Direction {
        match self {
            Self::Client => Direction::Up,
            Self::Upstream | Self::Next => Direction::Down,
        }
    }
}

impl Driver {
    pub(super) fn link(&mut self, leg: Leg) -> Option<&mut Link> {
        match leg {
            Leg::Client => Some(&mut self.client),
            Leg::Upstream => self.upstream.as_mut(),
            Leg::Next => self.next.as_deref_mut(),
        }
    }

    /// Where the messages of a leg go; those of the next one go nowhere yet.
    pub(super) fn other(&mut self, leg: Leg) -> Option<&mut Link> {
        match leg {
            Leg::Client => self.upstream.as_mut(),
            Leg::Upstream => Some(&mut self.client),
            Leg::Next => None,
        }
    }

    /// The epoch of an upstream leg, as the core counts it.
    pub(super) fn epoch(&self, leg: Leg) -> Epoch {
        match leg {
            Leg::Client | Leg::Upstream => self.session.epoch(),
            Leg::Next => self.session.next_epoch().unwrap_or_default(),
        }
    }
}
