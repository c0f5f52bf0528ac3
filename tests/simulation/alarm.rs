//! When the core is woken: at the instant that the driver has armed, and at no other.
//!
//! The rule of the driver: after each event it compares deadlines, and sets its timer if that has to be earlier. A
//! deadline that has moved away is found out when the timer fires.

use std::time::Duration;

use perennial::clock::Instant;

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
    pub(crate) fn set(&mut self, deadline: Option<Instant>, now: Instant) -> Option<(u64, Instant)> {
        let at = deadline?.max(now);
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
