//! No dialect: messages pass unread; a token, where the route has one, goes into the handshake.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, header};

use super::{
    Dialect, Moment, Outgoing, Request, Say, Verdict,
    request::{encode_parameter, join_target},
};
use crate::{
    clock::Instant,
    config::{Name, Place, Placement, Route},
    credential::Token,
    wire::{Direction, Message, Payload},
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
    fn inspects(&self, _direction: Direction) -> bool {
        false
    }

    fn handshake(&mut self, token: Option<&Token>) -> Result<Outgoing, String> {
        let Some(request) = &self.request else { return Err("the connection cannot be made anew".into()) };
        match token {
            Some(token) => place(request, &self.route.handshake, token),
            None => Ok(Outgoing { target: request.target.clone(), headers: request.headers.clone() }),
        }
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

/// Puts the token where the route says, in place of what stood there.
pub fn place(request: &Request, placement: &Placement, token: &Token) -> Result<Outgoing, String> {
    let mut out = Outgoing { target: request.target.clone(), headers: request.headers.clone() };
    // A query's value is decoded, which needs a place of its own for as long as it is looked at.
    let queries: Vec<(String, String)> = request.parameters().map(|p| (p.name.clone(), p.value())).collect();
    let values = |name: &Name| match name {
        Name::Token => Some(token.expose()),
        Name::Query(query) => queries.iter().find(|(name, _)| name == query).map(|(_, value)| &**value),
        Name::Header(header) => request.headers.get(header.as_str()).and_then(|value| value.to_str().ok()),
        Name::ClientToken => None,
    };
    if let Some(name) = &placement.query {
        let mut pairs: Vec<String> =
            request.parameters().filter(|p| p.name != *name).map(|p| p.raw.to_owned()).collect();
        pairs.push(encode_parameter(name, token.expose()));
        out.target = join_target(request.path(), &pairs);
    }
    if let Some((name, template)) = &placement.header {
        let text = template.expand(Place::Header, &values).map_err(|e| e.to_string())?;
        out.headers.insert(name.clone(), sensitive(&text)?);
    }
    if let Some(template) = &placement.subprotocol {
        let text = template.expand(Place::Header, &values).map_err(|e| e.to_string())?;
        out.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, sensitive(&text)?);
    }
    if let Some(name) = &placement.cookie {
        let others = out.headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
        let mut pairs: Vec<String> = others
            .flat_map(|v| v.split(';'))
            .map(|pair| pair.trim().to_owned())
            .filter(|pair| !pair.is_empty() && pair.split_once('=').is_none_or(|(n, _)| n != name))
            .collect();
        pairs.push(format!("{name}={}", token.expose()));
        out.headers.insert(header::COOKIE, sensitive(&pairs.join("; "))?);
    }
    Ok(out)
}

fn sensitive(text: &str) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| "the token does not fit into a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}
