//! No dialect: messages pass unread; a token, where the route has one, goes into the handshake.

use std::{sync::Arc, time::Duration};

use super::{Dialect, Ending, Moment, Outgoing, Reading, Request, Say, Verdict, placement};
use crate::{
    clock::Instant,
    config::{Route, Swap},
    credential::Token,
    wire::{Close, Direction, Message, Payload},
};

/// A service that is not spoken with.
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
        let Some(request) = &self.request else { return Err("the connection cannot be made anew".into()) };
        placement::outgoing(request, &self.route, token)
    }

    fn client(&mut self, _message: Message<'_>, _moment: Moment, _now: Instant, _say: &mut Say) -> Verdict {
        Verdict::FORWARD
    }

    fn upstream(&mut self, _message: Message<'_>, _moment: Moment, _now: Instant, _say: &mut Say) -> Verdict {
        Verdict::FORWARD
    }

    fn opened(&mut self) -> bool {
        // It will not be dialled again: an idle session holds no headers.
        self.request = None;
        true
    }

    fn exchange(&mut self, _token: &Token, _say: &mut Say) -> bool {
        false
    }

    fn swap(&self) -> Option<Swap> {
        None
    }

    fn ending(&self, _close: &Close) -> Ending {
        Ending::Lost
    }

    fn lost(&mut self) -> bool {
        false
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
