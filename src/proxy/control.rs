//! What is said beside the messages: Ping, Pong and Close of a leg, and what breaks the protocol.
//!
//! Rules:
//! 1. Ping and Pong are of one leg (RFC 6455 §5.5.2): they are answered here and never passed on.
//! 2. A service's Close is answered at once; what anybody else hears of a Close is the core's business.
//! 3. An answer does not stand inside a frame that is passing to its leg: the link makes it wait for the end.
//! 4. What a peer sends behind its Close, and behind what it broke, is discarded.
//! 5. A Ping of ours carries the number of messages that stand before it, in eight bytes. Any other Pong says
//!    that the peer is alive, and no more.

use super::{
    driver::{CONTROL, Driver},
    leg::Leg,
    writing::Run,
};
use crate::{
    clock::Instant,
    session::{Action, Event},
    wire::{Close, Opcode, Violation, apply_mask},
};

impl Driver {
    /// Ping and Pong are a leg's own business; a Close is the core's.
    pub(super) fn control(
        &mut self,
        leg: Leg,
        opcode: Opcode,
        body: &[u8],
        actions: &mut Vec<Action>,
        now: Instant,
    ) {
        let epoch = self.epoch(leg);
        self.work += CONTROL;
        let Some((link, random)) = self.link_and_random(leg) else { return };
        match opcode {
            Opcode::Ping => link.control(Opcode::Pong, body, random),
            Opcode::Pong => {
                link.liveness.ponged(now);
                // Rule 5.
                if let Ok(messages) = body.try_into().map(u64::from_be_bytes) {
                    let event = match leg {
                        Leg::Client => Event::ClientRead(messages),
                        Leg::Upstream | Leg::Next => Event::UpstreamRead(epoch, messages),
                    };
                    self.event(event, now, actions);
                }
            }
            Opcode::Close => match Close::parse(body) {
                Ok(close) => {
                    link.close_received = true;
                    let event = match leg {
                        Leg::Client => Event::ClientClosed(Some(close)),
                        Leg::Upstream | Leg::Next => {
                            link.close(&close, random);
                            Event::UpstreamClosed(epoch, Some(close), "the service closed it")
                        }
                    };
                    self.event(event, now, actions);
                }
                // There are clients that write the code as text (Eclipse Paho). They are told, and the service hears
                // that the client has left: it is a goodbye all the same.
                Err(violation @ Violation::CloseCode(code)) if leg == Leg::Client => {
                    link.close_received = true;
                    link.close(&Close::new(violation.close_code(), &violation.to_string()), random);
                    self.report.wrong_close_code(code);
                    self.event(Event::ClientClosed(Some(Close::new(1000, ""))), now, actions);
                }
                Err(violation) => self.broke(leg, violation, actions, now),
            },
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
    }

    /// What a peer sends behind its Close is discarded (RFC 6455 §5.5.1).
    pub(super) fn nothing_behind_a_close(&mut self, leg: Leg, run: &mut Run<'_>) {
        if self.link(leg).is_some_and(|link| link.close_received) {
            run.skip(run.rest().len());
        }
    }

    pub(super) fn broke(&mut self, leg: Leg, violation: Violation, actions: &mut Vec<Action>, now: Instant) {
        self.deaf |= leg == Leg::Client;
        let event = match leg {
            Leg::Client => Event::ClientBroke(violation),
            Leg::Upstream | Leg::Next => Event::UpstreamBroke(self.epoch(leg), violation),
        };
        self.event(event, now, actions);
    }
}

/// The most that a control frame carries (RFC 6455 §5.5).
const MOST: usize = 125;

/// The body of a control frame, without its mask. Nothing is allocated for it.
pub(super) struct Body {
    bytes: [u8; MOST],
    len: usize,
}

impl Body {
    pub(super) fn unmasked(body: &[u8], mask: Option<[u8; 4]>) -> Self {
        let (mut bytes, len) = ([0; MOST], body.len().min(MOST));
        bytes[..len].copy_from_slice(&body[..len]);
        if let Some(mask) = mask {
            apply_mask(&mut bytes[..len], mask, 0);
        }
        Self { bytes, len }
    }
}

impl std::ops::Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
