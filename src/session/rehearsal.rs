//! Rehearsals: what would otherwise happen at night, on a session as it stands and by an operator's word.
//!
//! Rules:
//! 1. Only a session that is live takes part: what is under way elsewhere is a case of its own already.
//! 2. What follows is what follows in earnest, by the same code: nothing is softened, and all of it is counted.
//! 3. The loss of an upstream needs no word of its own: it is [`Event::UpstreamClosed`](super::Event).

use super::{
    core::Session,
    event::Action,
    state::{State, Turn},
};

/// What is practised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rehearsal {
    /// An exchange, or a swap, with the current token, whether or not it is newer.
    Reauthenticate,
    /// The end of the token that the upstream was last authenticated with: it will not do from now on.
    Expire,
}

impl Session {
    pub(super) fn rehearse(&mut self, what: Rehearsal) {
        if self.state != State::Live {
            return;
        }
        match what {
            Rehearsal::Reauthenticate if self.turn == Turn::Idle => {
                self.turn = Turn::Asked { same: true };
                self.out.push(Action::AskTurn);
            }
            // It is about to anyway.
            Rehearsal::Reauthenticate => {}
            Rehearsal::Expire => {
                let epoch = self.serving().unwrap_or_default();
                self.lapsed(epoch, ("an operator pretends expiry", None));
            }
        }
    }
}
