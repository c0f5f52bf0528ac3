//! When the core is woken: at the instant that the driver has armed, and at no other.
//!
//! ```text
//!   event ─► actions ─► does the driver look at the deadline? ─► the timer is set to it, if that is earlier
//!                                     │ no                         ▲
//!                                     └─ it stays as it was ─► it fires ─► now it is looked at
//! ```
//!
//! This is the rule of `proxy/driver.rs` and `proxy/perform.rs` as they are: after a message or the end of a
//! connection the driver looks only if that came to actions besides `Forward`. Its timer is never later than the
//! next look at the legs.

use std::time::Duration;

use perennial::{
    clock::Instant,
    session::{Action, Event},
};

/// The driver looks at its legs, and so at its timer, this often.
const LEGS: Duration = Duration::from_secs(10);
/// The core is woken late beyond this: time is rounded here.
pub(crate) const SLACK: Duration = Duration::from_millis(1);

/// The one timer of a driver.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    armed: Option<Instant>,
    number: u64,
}

impl Alarm {
    /// Sets the timer after an event, if it has to be earlier; its number, and when it fires.
    pub(crate) fn set(
        &mut self,
        deadline: Option<Instant>,
        looks: bool,
        now: Instant,
    ) -> Option<(u64, Instant)> {
        if self.armed.is_some() && !looks {
            return None;
        }
        let at = deadline.map_or(now + LEGS, |at| at.min(now + LEGS)).max(now);
        if self.armed.is_some_and(|armed| armed <= at) {
            return None;
        }
        self.armed = Some(at);
        self.number += 1;
        Some((self.number, at))
    }

    /// The timer of this number fires; `false` if it was set again since.
    pub(crate) fn rings(&mut self, number: u64) -> bool {
        let rings = self.number == number;
        if rings {
            self.armed = None;
        }
        rings
    }
}

/// Is it one of the events after which the driver looks at the deadline only because of actions?
pub(crate) fn is_of_a_message(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::Client(_)
            | Event::ClientClosed(_)
            | Event::Upstream(..)
            | Event::UpstreamClosed(..)
            | Event::Fenced(_)
    )
}

/// Does the driver look at the deadline?
pub(crate) fn looks(is_of_a_message: bool, actions: &[Action]) -> bool {
    !is_of_a_message || !matches!(actions, [] | [Action::Forward])
}
