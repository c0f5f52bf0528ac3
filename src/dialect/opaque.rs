//! No dialect: messages pass unread; a token, where the route has one, goes into the handshake.

use std::sync::Arc;

use super::{Awaits, Dialect, Doing, Ending, Outgoing, Purpose, Reading, Request, Say, closes, placement};
use crate::{
    clock::Instant,
    config::{Route, Swap},
    credential::Token,
    wire::{Close, Direction},
};

/// A service that is not spoken with.
#[derive(Clone, PartialEq)]
pub(super) struct Opaque {
    /// Kept only until the handshake is made: an idle session holds no headers.
    request: Option<Request>,
    route: Arc<Route>,
}

impl Opaque {
    pub(super) fn new(request: Request, route: Arc<Route>) -> Self {
        Self { request: Some(request), route }
    }
}

impl Dialect for Opaque {
    fn reads(&self, _direction: Direction) -> Reading {
        Reading::Nothing
    }

    fn handshake(&mut self, token: Option<&Token>) -> Result<Outgoing, String> {
        let Some(request) = &self.request else { return Err("the connection cannot be made again".into()) };
        placement::outgoing(request, &self.route, token)
    }

    fn opened(&mut self, _purpose: Purpose, _now: Instant, _say: &mut Say) -> Awaits {
        // It will not be dialled again: an idle session holds no headers.
        self.request = None;
        Awaits::Nothing
    }

    /// One connection serves the session, and what ends it ends the session.
    fn swap(&self) -> Option<Swap> {
        Some(Swap::Never)
    }

    fn ending(&self, close: Option<&Close>, at_the_end: bool) -> Ending {
        closes::meaning([&self.route.closes[..]], close, at_the_end)
    }

    fn farewell(&mut self, _doing: Doing, close: Option<Close>, _say: &mut Say) -> Option<Close> {
        close.map(|close| closes::for_client([&self.route.closes[..]], close))
    }

    fn lost(&mut self) -> Result<(), &'static str> {
        Err("the route has no dialect")
    }
}
