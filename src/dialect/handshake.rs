//! A service that is told of a token at the handshake, and nowhere else: a new token is a new connection.
//!
//! Its messages are its own affair: they pass unread, as the bytes they came in. Only where one ends and the
//! next begins is looked at, so that a connection is left between two of them, and the first message of a
//! connection that replaced another, which may be a greeting that the client must not see.

mod closes;

use std::{sync::Arc, time::Duration};

use super::{Dialect, Ending, Moment, Outgoing, Reading, Request, Say, Verdict, placement};
use crate::{
    clock::Instant,
    config::{Route, Swap},
    credential::Token,
    wire::{Close, Direction, Kind, Message, Payload},
};

/// One client's session with such a service.
pub(super) struct Handshake {
    request: Request,
    route: Arc<Route>,
    /// Connections made so far.
    opened: u32,
    /// The next message of the newest connection is its first, and may be a greeting.
    first: bool,
}

impl Handshake {
    pub(super) fn new(request: Request, route: Arc<Route>) -> Self {
        Self { request, route, opened: 0, first: false }
    }

    fn is_greeting(&self, message: Message<'_>) -> bool {
        let Some(members) = &self.route.handshake.greeting else { return false };
        if message.kind != Kind::Text {
            return false;
        }
        let said = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(message.payload);
        said.is_ok_and(|said| members.iter().all(|(key, value)| said.get(key) == Some(value)))
    }
}

impl Dialect for Handshake {
    fn reads(&self, direction: Direction) -> Reading {
        if direction == Direction::Down && self.first { Reading::Messages } else { Reading::Bounds }
    }

    fn handshake(&mut self, token: Option<&Token>) -> Result<Outgoing, String> {
        placement::outgoing(&self.request, &self.route, token)
    }

    fn client(&mut self, _message: Message<'_>, moment: Moment, _now: Instant, _say: &mut Say) -> Verdict {
        if moment == Moment::Live { Verdict::FORWARD } else { Verdict::HOLD }
    }

    fn upstream(&mut self, message: Message<'_>, moment: Moment, _now: Instant, _say: &mut Say) -> Verdict {
        // While the old connection has yet to end, its messages are none of the newest one's.
        let newest = moment != Moment::Exchanging;
        if newest && std::mem::take(&mut self.first) && self.is_greeting(message) {
            return Verdict::SWALLOW;
        }
        Verdict::FORWARD
    }

    fn opened(&mut self) -> bool {
        self.first = self.opened > 0 && self.route.handshake.greeting.is_some();
        self.opened = self.opened.saturating_add(1);
        true
    }

    fn exchange(&mut self, _token: &Token, _say: &mut Say) -> bool {
        false
    }

    fn swap(&self) -> Option<Swap> {
        Some(self.route.session.swap)
    }

    fn ending(&self, close: &Close) -> Ending {
        closes::meaning(&self.route.closes, Some(close), false)
    }

    fn lost(&mut self) -> bool {
        true
    }

    fn farewell(&mut self, _say: &mut Say) {}

    fn client_idle(&self) -> Option<Duration> {
        None
    }

    fn idle(&self) -> Option<Payload> {
        None
    }

    fn pace(&self) -> u32 {
        u32::MAX
    }

    fn is_full(&self) -> bool {
        false
    }

    fn acknowledges(&self) -> bool {
        false
    }

    fn ended(&mut self, _now: Instant) {}
}
