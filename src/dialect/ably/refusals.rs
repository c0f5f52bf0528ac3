//! What an ERROR or a DISCONNECTED of the service's means: the code is judged first, then the moment.
//!
//! ```text
//!   ERROR             4014x      other token codes   passes (429, 5xx)   anything else
//!   opening           Lapsed     shown               shown               shown
//!   own AUTH is out   Rejected   Rejected            Lost                Lost: the redial shows what it is
//!   live              Lapsed     shown               Lost                shown
//!   resuming          Lapsed     Lapsed, once        Lost                shown
//! ```
//!
//! A fault of the service's never costs a token: other sessions use it too.

use std::time::Duration;

use super::{Ably, head::Head};
use crate::{
    clock::Instant,
    dialect::{Meaning, Moment, Say, Verdict},
};

/// How long a handshake that was given up may still be on its way.
const STRAY: Duration = Duration::from_secs(120);

impl Ably {
    pub(super) fn error(&mut self, head: &Head<'_>, moment: Moment, say: &mut Say) -> Verdict {
        if let Some(channel) = head.channel() {
            self.channels.failed(&channel);
            return Verdict::forward(self.replay(say));
        }
        let error = head.error();
        let own_auth = std::mem::take(&mut self.own_auth);
        if error.passes() && (own_auth || moment != Moment::Opening) {
            return Verdict::swallow(Meaning::Lost(error.describe()));
        }
        if own_auth {
            let why = error.describe();
            let of_token = error.is_of_offered_token();
            return Verdict::swallow(if of_token { Meaning::Rejected(why) } else { Meaning::Lost(why) });
        }
        if error.is_of_token() {
            return Verdict::swallow(Meaning::Lapsed(error.describe()));
        }
        // The redial's token was refused: a fresh one may do, once. At the first dial it is the client's own
        // doing (its clientId, say), and must not cost the other sessions their token.
        if error.is_of_offered_token() && moment == Moment::Resuming && self.refused == 0 {
            self.refused += 1;
            return Verdict::swallow(Meaning::Lapsed(error.describe()));
        }
        self.fatal(error.describe())
    }

    /// The service's last word is the client's as well.
    fn fatal(&mut self, why: String) -> Verdict {
        self.told = true;
        Verdict::forward(Meaning::Fatal(why))
    }

    pub(super) fn disconnected_by_service(&mut self, head: &Head<'_>, now: Instant) -> Verdict {
        let error = head.error();
        match error.code() {
            // A handshake of our own that came late: a new connection supersedes it in its turn.
            80016 if self.stray.take().is_some_and(|at| now - at < STRAY) => {
                Verdict::swallow(Meaning::Lost(error.describe()))
            }
            // The client itself has a newer transport: this one must not fight for the connection.
            80016 => self.fatal(error.describe()),
            // Also while an AUTH is under way: it is the old token that ended before the new one was read.
            _ if error.is_of_token() => Verdict::swallow(Meaning::Lapsed(error.describe())),
            _ => Verdict::swallow(Meaning::Lost(error.describe())),
        }
    }
}
