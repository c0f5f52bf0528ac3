//! A dialect that rebuilds its client's state on each new connection, as declared ones will.
//!
//! ```text
//!   new connection:  restore 3 ──► service      the old one serves on, if there is one, for `settle` as well
//!                    restored  ◄── service      swallowed: the client has its state
//! ```
//!
//! The state is the number of messages that the client has said in all.

use std::time::Duration;

use perennial::{
    clock::Instant,
    config::Swap,
    credential::Token,
    dialect::{Awaits, Dialect, Meaning, Moment, Outgoing, Purpose, Reading, Request, Say, Verdict},
    wire::{Direction, Kind, Message, Payload},
};

/// The name of the dialect in these tests.
pub const RESTORING: &str = "restoring";
/// What begins a message of its own, and the service's answer.
pub const RESTORE: &str = "restore";
pub const RESTORED: &str = "restored";

#[derive(Clone, PartialEq)]
pub struct Restoring {
    request: Request,
    said: u64,
}

impl Restoring {
    pub fn open(request: Request) -> Box<dyn Dialect> {
        Box::new(Self { request, said: 0 })
    }
}

impl Dialect for Restoring {
    fn reads(&self, _: Direction) -> Reading {
        Reading::Messages
    }

    fn handshake(&mut self, _: Option<&Token>) -> Result<Outgoing, String> {
        Ok(self.request.clone().into())
    }

    fn client(&mut self, _: Message<'_>, moment: Moment, _: Instant, _: &mut Say) -> Verdict {
        if moment != Moment::Live {
            return Verdict::HOLD;
        }
        self.said += 1;
        Verdict::FORWARD
    }

    fn upstream(&mut self, message: Message<'_>, _: Moment, _: Instant, _: &mut Say) -> Verdict {
        if message.payload == RESTORED.as_bytes() {
            return Verdict::swallow(Meaning::Ready);
        }
        Verdict::FORWARD
    }

    fn opened(&mut self, purpose: Purpose, _now: Instant, say: &mut Say) -> Awaits {
        if purpose == Purpose::First {
            return Awaits::Nothing;
        }
        let text = format!("{RESTORE} {}", self.said);
        say.to_upstream.push(Payload { kind: Kind::Text, bytes: text.into_bytes().into() });
        Awaits::Ready
    }

    fn swap(&self) -> Option<Swap> {
        Some(Swap::Make)
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(200)
    }
}
