//! A service that is told of a token at the handshake, and nowhere else: a new token is a new connection.
//!
//! Its messages are its own affair: they pass unread, as the bytes they came in. Only where one ends and the
//! next begins is looked at, so that a connection is left between two of them, and the first message of a
//! connection that replaced another, which may be a greeting that the client must not see.

use std::sync::Arc;

use http::HeaderMap;

use super::{
    Awaits, Dialect, Doing, Ending, Moment, Outgoing, Purpose, Reading, Request, Say, Verdict, closes,
    placement,
};
use crate::{
    clock::Instant,
    config::{Route, Swap},
    credential::Token,
    wire::{Close, Direction, Kind, Message},
};

/// One client's session with such a service.
#[derive(Clone, PartialEq)]
pub(super) struct Handshake {
    request: Request,
    route: Arc<Route>,
    /// The next message of the newest connection is its first, and may be a greeting.
    first: bool,
}

impl Handshake {
    pub(super) fn new(request: Request, route: Arc<Route>) -> Self {
        Self { request, route, first: false }
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

    fn upstream(&mut self, message: Message<'_>, moment: Moment, _now: Instant, _say: &mut Say) -> Verdict {
        // While the old connection has yet to end, its messages are none of the newest one's.
        let newest = moment != Moment::Exchanging;
        if newest && std::mem::take(&mut self.first) && self.is_greeting(message) {
            return Verdict::SWALLOW;
        }
        Verdict::FORWARD
    }

    fn opened(&mut self, purpose: Purpose, _now: Instant, _say: &mut Say) -> Awaits {
        self.first = purpose != Purpose::First && self.route.handshake.greeting.is_some();
        Awaits::Nothing
    }

    fn hopes(&self) -> bool {
        !self.route.session.stateless
    }

    fn swap(&self) -> Option<Swap> {
        Some(self.route.session.swap)
    }

    fn ending(&self, close: Option<&Close>, at_the_end: bool) -> Ending {
        closes::meaning([&self.route.closes[..]], close, at_the_end)
    }

    fn answered(&mut self, headers: &HeaderMap) {
        self.request.remember_cookies(headers);
    }

    fn lost(&mut self) -> Result<(), &'static str> {
        if self.route.session.swap == Swap::Never { Err("`session.swap` is never") } else { Ok(()) }
    }

    fn farewell(&mut self, _doing: Doing, close: Option<Close>, _say: &mut Say) -> Option<Close> {
        close.map(|close| closes::for_client([&self.route.closes[..]], close))
    }
}
