//! What one connection of the generator says, and what it takes back: its own messages, whole and in their
//! order, or those that the service pushes.

use anyhow::{Result, bail, ensure};
use perennial::wire::{Opcode, encode_frame};

use super::{
    ably::{self, Said},
    load::{Shape, Talk},
    text::{DIGITS, Text},
    ws::{self, Frame},
};

pub(crate) struct Script {
    talk: Talk,
    mask: [u8; 4],
    size: usize,
    frames: usize,
    text: Text,
    /// Frames of a message that is not whole yet, and what they carried.
    pieces: usize,
    partial: Vec<u8>,
    /// May messages go?
    pub(crate) ready: bool,
    sent: u64,
    pub(crate) answered: u64,
    acknowledged: u64,
}

impl Script {
    pub(crate) fn new(talk: Talk, shape: Shape, number: u32) -> Self {
        // What is pushed is the same on every connection.
        let letters = if talk == Talk::Push { 0 } else { number };
        Self {
            talk,
            mask: (number.wrapping_mul(0x9e37_79b9) | 1).to_be_bytes(),
            size: shape.size,
            frames: shape.frames,
            text: if talk == Talk::Json {
                Text::in_json(shape.size, letters)
            } else {
                Text::new(shape.size, letters)
            },
            pieces: 0,
            partial: Vec::new(),
            ready: matches!(talk, Talk::Echo | Talk::Json | Talk::Push),
            sent: 0,
            answered: 0,
            acknowledged: 0,
        }
    }

    /// The next message, where it is the client that speaks.
    pub(crate) fn send(&mut self, out: &mut Vec<u8>) {
        let text = self.text.numbered(self.sent);
        match self.talk {
            Talk::Echo | Talk::Json => ws::encode_in(self.frames, text, self.mask, out),
            Talk::Ably(format) => ably::publish(format, self.sent, text, self.size, self.mask, out),
            Talk::Push => return,
        }
        self.sent += 1;
    }

    /// Has all come that is to come?
    pub(crate) fn settled(&self) -> bool {
        self.talk == Talk::Push || self.answered == self.sent
    }

    /// `again`: for each message that came back the next one goes.
    pub(crate) fn take(&mut self, frame: &Frame<'_>, again: bool, out: &mut Vec<u8>) -> Result<()> {
        let first = match self.talk {
            Talk::Echo | Talk::Json | Talk::Push => Opcode::Text,
            Talk::Ably(format) => format.opcode(),
        };
        let expected = if self.pieces == 0 { first } else { Opcode::Continuation };
        if frame.opcode == Opcode::Ping {
            encode_frame(Opcode::Pong, frame.payload, Some(self.mask), out);
            return Ok(());
        }
        ensure!(frame.opcode == expected, "{:?} came, of {} bytes", frame.opcode, frame.payload.len());
        self.pieces += 1;
        let answered = if frame.last && self.pieces == 1 {
            self.whole(frame.payload, out)?
        } else {
            self.partial.extend_from_slice(frame.payload);
            if !frame.last {
                return Ok(());
            }
            let message = std::mem::take(&mut self.partial);
            self.whole(&message, out)?
        };
        self.pieces = 0;
        if answered && again {
            self.send(out);
        }
        Ok(())
    }

    /// A message has come; is it one of those that are counted?
    fn whole(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        let Talk::Ably(format) = self.talk else {
            ensure!(self.pieces == self.frames, "{} frames came, not {}", self.pieces, self.frames);
            let expected = self.text.numbered(self.answered);
            ensure!(message == expected, "message {} came as another", self.answered);
            self.answered += 1;
            return Ok(true);
        };
        match Said::parse(format, message)? {
            Said::Delivery(data) => {
                let as_sent = self.text.numbered(self.answered).starts_with(data) && data.len() >= DIGITS;
                ensure!(as_sent && message.len() == self.size, "message {} came as another", self.answered);
                self.answered += 1;
                return Ok(true);
            }
            Said::Connected => ably::attach(format, self.mask, out),
            Said::Attached => self.ready = true,
            Said::Ack { first, count } => {
                ensure!(first == self.acknowledged, "an ACK from {first}, not {}", self.acknowledged);
                self.acknowledged += count;
                if self.acknowledged > self.sent {
                    bail!("an ACK of what was not sent");
                }
            }
        }
        Ok(false)
    }
}
