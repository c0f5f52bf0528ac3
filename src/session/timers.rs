//! The deadlines of a session, one for each reason: the earliest is what the driver waits for.

use crate::clock::Instant;

/// Why the session wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// What the state waits for has taken too long.
    Step,
    /// The outage has been hidden for as long as it may be.
    Budget,
    /// The connection has served for so long that its outage is over.
    Healthy,
    /// The next attempt to connect.
    Retry,
    /// This session's turn to show the service the new token.
    Exchange,
    /// The dialect has something to say because time has passed.
    Speech,
    /// The next of the messages that wait may go.
    Pace,
    /// The client said goodbye to a service that is away.
    Leaving,
    /// A message of the client's has waited for a token for as long as it may.
    Token,
    /// The client that went away has been waited for as long as it may be.
    Park,
}

/// One deadline for each reason that there is, in the order of the reasons. Most sessions wait for none.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Timers(Vec<(Timer, Instant)>);

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        match self.find(timer) {
            Ok(found) => self.0[found].1 = at,
            Err(place) => self.0.insert(place, (timer, at)),
        }
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        if let Ok(found) = self.find(timer) {
            self.remove(found);
        }
    }

    pub(super) fn at(&self, timer: Timer) -> Option<Instant> {
        self.find(timer).ok().map(|found| self.0[found].1)
    }

    fn find(&self, timer: Timer) -> Result<usize, usize> {
        self.0.binary_search_by_key(&timer, |(timer, _)| *timer)
    }

    fn remove(&mut self, at: usize) -> Timer {
        let (timer, _) = self.0.remove(at);
        self.give_room_back();
        timer
    }

    /// Without a deadline there is no room for any.
    fn give_room_back(&mut self) {
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }

    /// Stops all but these.
    pub(super) fn keep(&mut self, timers: &[Timer]) {
        self.0.retain(|(timer, _)| timers.contains(timer));
        self.give_room_back();
    }

    /// The earliest.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().map(|(_, at)| *at).min()
    }

    /// Takes one that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let due = self.0.iter().position(|(_, at)| *at <= now)?;
        Some(self.remove(due))
    }
}
