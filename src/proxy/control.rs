//! What is said beside the messages: Ping, Pong and Close of a leg, and what breaks the protocol.
//!
//! Rules:
//! 1. Ping and Pong are of one leg (RFC 6455 §5.5.2): they are answered here and never passed on.
//! 2. A service's Close is answered at once; what anybody else hears of a Close is the core's business.
//! 3. An answer does not stand inside a frame that is passing to its leg: it waits for the frame's end.
//! 4. What a peer sends behind its Close, and behind what it broke, is for nobody.

use super::{driver::Driver, leg::Leg, perform::FENCE, writing::Run};
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
        let inside = self.other(leg).is_some_and(|other| other.inbound.mid_frame());
        let epoch = self.epoch(leg);
        let (link, random) = match leg {
            Leg::Client => (Some(&mut self.client), &mut self.random),
            Leg::Upstream => (self.upstream.as_mut(), &mut self.random),
            Leg::Next => (self.next.as_deref_mut(), &mut self.random),
        };
        let Some(link) = link else { return };
        if opcode == Opcode::Pong {
            link.liveness.ponged(now);
        }
        match opcode {
            Opcode::Ping => link.control(Opcode::Pong, body, inside, random),
            Opcode::Close => match Close::parse(body) {
                Ok(close) => {
                    link.close_received = true;
                    let event = match leg {
                        Leg::Client => Event::ClientClosed(Some(close)),
                        Leg::Upstream | Leg::Next => {
                            link.close(&close, inside, random);
                            Event::UpstreamClosed(epoch, Some(close), "the service closed it")
                        }
                    };
                    self.event(event, now, actions);
                }
                Err(violation) => self.broke(leg, violation, actions, now),
            },
            Opcode::Pong if leg == Leg::Upstream && body == FENCE => {
                self.event(Event::Fenced(epoch), now, actions);
            }
            Opcode::Pong if leg == Leg::Upstream => self.report.ponged(),
            Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
    }

    /// What a peer sends behind its Close is for nobody (RFC 6455 §5.5.1).
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

/// The body of a control frame, without its mask.
pub(super) fn unmasked(body: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut body = body.to_vec();
    if let Some(mask) = mask {
        apply_mask(&mut body, mask, 0);
    }
    body
}
