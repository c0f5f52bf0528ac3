//! The last words to a client: one message that its SDK takes as it is meant, and a Close that no SDK takes for more.
//!
//! | the end is                             | message               | Close |
//! |----------------------------------------|-----------------------|-------|
//! | the client's own: it said Close        | none                  | its own |
//! | the client's own: it said CLOSE        | CLOSED                | 1000 |
//! | that of the client's token             | ERROR 40142           | 1000 |
//! | that of a client without a clear token | ERROR 40101           | 1000 |
//! | a violation of the client's            | ERROR 40000           | 1000 |
//! | a message of the client's, too large   | none                  | 1009 |
//! | nothing of the client's doing          | DISCONNECTED 80003    | 1000 |
//!
//! Rules:
//! 1. ably-java takes 1008, 1011, 1012 and 1013 for the end of its channels, and over OkHttp sees no Close at all: the
//!    message says it, and the Close is 1000.
//! 2. After DISCONNECTED a client comes back at once and resumes (RTN15h3); after an ERROR that names no token it does
//!    not (RTN15i).
//! 3. Nothing is added to a last word of the service's own.

use super::{
    Ably,
    codec::{Map, Style},
    head::action,
};
use crate::{
    dialect::{Doing, Request, Say},
    wire::{Close, Payload},
};

/// The last words to a client that gets no session.
pub(in crate::dialect) fn turn_away(
    request: &Request,
    doing: Doing,
    close: Close,
) -> (Option<Payload>, Close) {
    let style = Style::asked(request).unwrap_or(Style::JSON);
    (message(style, doing, &close.reason), normal(doing, close))
}

impl Ably {
    pub(super) fn last_words(&mut self, doing: Doing, close: Option<Close>, say: &mut Say) -> Option<Close> {
        let told = std::mem::replace(&mut self.told, true);
        let asked = self.leaving || self.closing;
        if !told && asked {
            let Style { format, kind } = self.style();
            say.to_client.push(Map::action(format, action::CLOSED).payload(kind));
        } else if !told {
            let why = close.as_ref().map_or("", |close| &close.reason);
            say.to_client.extend(message(self.style(), doing, why));
        }
        // Its own Close is answered as it was said, its CLOSE as any other end.
        if doing == Doing::Left && !asked { close } else { Some(normal(doing, close.unwrap_or_default())) }
    }
}

/// Rule 1.
fn normal(doing: Doing, close: Close) -> Close {
    match doing {
        Doing::TooBig => close,
        Doing::Left | Doing::TokenEnded | Doing::TokenUnclear | Doing::Violation | Doing::NotTheClients => {
            Close { code: Some(1000), ..close }
        }
    }
}

/// Rule 2.
fn message(style: Style, doing: Doing, why: &str) -> Option<Payload> {
    let (action, code, status) = match doing {
        Doing::Left | Doing::TooBig => return None,
        Doing::TokenEnded => (action::ERROR, 40142, 401),
        Doing::TokenUnclear => (action::ERROR, 40101, 401),
        Doing::Violation => (action::ERROR, 40000, 400),
        Doing::NotTheClients => (action::DISCONNECTED, 80003, 400),
    };
    let why = if why.is_empty() { "the connection to the service was lost" } else { why };
    let error = Map::new(style.format).uint("code", code).uint("statusCode", status).text("message", why);
    Some(Map::action(style.format, action).map("error", error).payload(style.kind))
}
