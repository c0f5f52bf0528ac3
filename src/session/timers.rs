//! The deadlines of a session: one place for each reason, the earliest is what the driver waits for.

use crate::clock::Instant;

/// Why the session wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// The client that went away has been waited for as long as it may be.
    Park,
}

const ALL: [Timer; 9] = [
    Timer::Step,
    Timer::Budget,
    Timer::Healthy,
    Timer::Retry,
    Timer::Exchange,
    Timer::Speech,
    Timer::Pace,
    Timer::Leaving,
    Timer::Park,
];

/// One deadline for each reason.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Timers([Option<Instant>; ALL.len()]);

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(super) fn at(&self, timer: Timer) -> Option<Instant> {
        self.0[timer as usize]
    }

    /// Stops all but these.
    pub(super) fn keep(&mut self, timers: &[Timer]) {
        for timer in ALL {
            if !timers.contains(&timer) {
                self.stop(timer);
            }
        }
    }

    /// The earliest.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// Takes one that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let timer = ALL.into_iter().find(|timer| self.0[*timer as usize].is_some_and(|at| at <= now))?;
        self.stop(timer);
        Some(timer)
    }
}
