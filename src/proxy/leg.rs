//! The legs of a session: its client, the upstream that serves it, and the one that is to replace that.
//!
//! Rule: a connection to the service carries its epoch, by which the core knows it. If the one that serves is
//! closed, the next one stands in its place.

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

/// A connection to the service.
pub(super) struct Upstream {
    pub(super) epoch: Epoch,
    pub(super) link: Link,
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
        self.link_and_random(leg).map(|(link, _)| link)
    }

    /// A leg, and where its masks come from.
    pub(super) fn link_and_random(&mut self, leg: Leg) -> Option<(&mut Link, &mut fastrand::Rng)> {
        let link = match leg {
            Leg::Client => Some(&mut self.client),
            Leg::Upstream => self.upstream.as_mut().map(|upstream| &mut upstream.link),
            Leg::Next => self.next.as_deref_mut().map(|next| &mut next.link),
        };
        Some((link?, &mut self.random))
    }

    /// Where the messages of a leg go; those of the next one go nowhere yet.
    pub(super) fn other(&mut self, leg: Leg) -> Option<&mut Link> {
        match leg {
            Leg::Client => self.link(Leg::Upstream),
            Leg::Upstream => Some(&mut self.client),
            Leg::Next => None,
        }
    }

    /// The epoch of an upstream leg; the client has none.
    pub(super) fn epoch(&self, leg: Leg) -> Epoch {
        let upstream = match leg {
            Leg::Client => None,
            Leg::Upstream => self.upstream.as_ref(),
            Leg::Next => self.next.as_deref(),
        };
        upstream.map(|upstream| upstream.epoch).unwrap_or_default()
    }

    /// The leg of this epoch.
    pub(super) fn leg(&self, epoch: Epoch) -> Option<Leg> {
        [Leg::Upstream, Leg::Next].into_iter().find(|leg| {
            let there = if *leg == Leg::Next { self.next.is_some() } else { self.upstream.is_some() };
            there && self.epoch(*leg) == epoch
        })
    }

    /// A connection that was dialled takes its place: beside the one that serves, if there is one.
    pub(super) fn connect(&mut self, upstream: Upstream) -> Leg {
        if self.upstream.is_some() {
            self.next = Some(Box::new(upstream));
            return Leg::Next;
        }
        self.upstream = Some(upstream);
        Leg::Upstream
    }

    /// Takes a connection out.
    pub(super) fn disconnect(&mut self, epoch: Epoch) -> Option<Link> {
        match self.leg(epoch)? {
            Leg::Next => self.next.take().map(|next| next.link),
            Leg::Client | Leg::Upstream => {
                let next = self.next.take().map(|next| *next);
                std::mem::replace(&mut self.upstream, next).map(|upstream| upstream.link)
            }
        }
    }
}
