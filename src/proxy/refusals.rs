//! Polite redials: a service that refuses everybody for a time is asked by one session of a route; the others wait.
//!
//! ```text
//!   dial ─► whose turn? ─► mine: ask ─► 429, 502, 503, 504: nobody asks before the time that it names
//!                │                  └─► anything else: everybody may, each after a moment of its own
//!                └──────► not mine: wait for that time, or for the answer to the one who asks
//! ```
//!
//! Rules:
//! 1. Only the redials of sessions count. What a client is told at its first handshake is its own affair: it may
//!    ask for what is refused to nobody else.
//! 2. A time that a service names is bounded: no session waits longer than `reconnect` for it.
//! 3. A session that asks and is never heard of again holds the others up for `hold`, not for ever.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::StatusCode;
use tokio::{sync::Notify, time};

use crate::clock::{self, Instant};

/// The wait after a refusal that names no time; it doubles with each further one.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// Those who waited ask within this time, and not at one moment.
const SPREAD: Duration = Duration::from_secs(1);

/// Is it a refusal that others would meet as well, for now?
pub(super) fn is_for_all(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// Whose turn it is to ask; one for each route. It does no IO and reads no clock.
#[derive(Debug)]
struct Refusals {
    /// The longest wait: `reconnect`.
    longest: Duration,
    /// How long the one who asks has, until it gives up: `hold`.
    patience: Duration,
    /// Refusals in a row.
    count: u32,
    turn: Turn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Everybody's.
    Free,
    /// Nobody's until then, and then one session's.
    Nobody(Instant),
    /// One session asks; until then at most.
    Taken(Instant),
}

impl Refusals {
    /// Until when to wait, and then to ask again whether one may; `None`: dial now, and tell what came of it.
    fn may_dial(&mut self, now: Instant) -> Option<Instant> {
        match self.turn {
            Turn::Nobody(until) | Turn::Taken(until) if now < until => Some(until),
            Turn::Nobody(_) | Turn::Taken(_) => {
                self.turn = Turn::Taken(now + self.patience);
                None
            }
            Turn::Free => None,
        }
    }

    /// The service refused one session, and named this time.
    fn refused(&mut self, now: Instant, retry_after: Option<Duration>) {
        let named = |wait: Duration| now + wait.min(self.longest);
        if let Turn::Nobody(until) = self.turn {
            // Dials that were under way when the first one was refused say nothing new, unless they name a later time.
            self.turn = Turn::Nobody(retry_after.map_or(until, |wait| named(wait).max(until)));
            return;
        }
        let wait = SHORTEST.saturating_mul(1 << self.count.min(5)).min(LONGEST);
        self.turn = Turn::Nobody(named(retry_after.unwrap_or(wait)));
        self.count = self.count.saturating_add(1);
    }

    /// The time that the service named, or that was taken for it.
    fn named(&self) -> Option<Instant> {
        match self.turn {
            Turn::Nobody(until) => Some(until),
            Turn::Free | Turn::Taken(_) => None,
        }
    }

    /// The service did something else, or is away: each session goes by its own backoff.
    fn accepted(&mut self) {
        self.turn = Turn::Free;
        self.count = 0;
    }
}

/// What the sessions of a route share of it.
#[derive(Debug)]
pub(super) struct Politeness {
    refusals: Mutex<Refusals>,
    answered: Notify,
}

impl Politeness {
    /// `longest`: no wait is longer; `patience`: of one who asks.
    pub(super) fn new(longest: Duration, patience: Duration) -> Self {
        let refusals = Refusals { longest, patience, count: 0, turn: Turn::Free };
        Self { refusals: Mutex::new(refusals), answered: Notify::new() }
    }

    /// Waits until this session may dial. The error: that is not so by `latest`, but at this time, if one is named.
    pub(super) async fn turn(&self, latest: Instant) -> Result<(), Option<Instant>> {
        loop {
            // From here on an answer is not missed, also between the question and the wait.
            let answered = self.answered.notified();
            tokio::pin!(answered);
            answered.as_mut().enable();
            let Some(until) = self.lock().may_dial(clock::now()) else { return Ok(()) };
            if clock::now() >= latest {
                return Err(self.lock().named());
            }
            if time::timeout_at(until.min(latest), answered).await.is_ok() {
                time::sleep(SPREAD.mul_f64(fastrand::f64())).await;
            }
        }
    }

    /// Takes note of what a dial came to; `refused`: it was a refusal that others would meet as well, with the time
    /// that it named.
    pub(super) fn note(&self, refused: Option<Option<Duration>>) {
        let mut refusals = self.lock();
        match refused {
            Some(retry_after) => refusals.refused(clock::now(), retry_after),
            None if refusals.turn == Turn::Free => {}
            None => {
                refusals.accepted();
                drop(refusals);
                self.answered.notify_waiters();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, sync::atomic::AtomicU32, sync::atomic::Ordering};

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn refusals() -> Refusals {
        Refusals { longest: seconds(60), patience: seconds(10), count: 0, turn: Turn::Free }
    }

    #[test]
    fn one_asks_and_the_others_wait_for_its_answer_or_the_time_named() {
        let (mut refusals, start) = (refusals(), clock::now());
        assert_eq!(refusals.may_dial(start), None);
        assert_eq!(refusals.may_dial(start), None, "nothing was refused yet");
        refusals.refused(start, Some(seconds(5)));
        let named = start + seconds(5);
        assert_eq!(refusals.may_dial(start + seconds(4)), Some(named));
        assert_eq!(refusals.may_dial(named), None, "this one asks");
        assert_eq!(refusals.may_dial(named), Some(named + seconds(10)), "and this one does not");
        refusals.accepted();
        assert_eq!(refusals.may_dial(named), None);
        assert_eq!(refusals.may_dial(named), None);
    }

    #[test]
    fn one_that_is_never_heard_of_again_is_not_waited_for_for_ever() {
        let (mut refusals, start) = (refusals(), clock::now());
        refusals.refused(start, Some(Duration::ZERO));
        assert_eq!(refusals.may_dial(start), None);
        assert_eq!(refusals.may_dial(start + seconds(9)), Some(start + seconds(10)));
        assert_eq!(refusals.may_dial(start + seconds(10)), None, "another one asks");
        assert_eq!(refusals.may_dial(start + seconds(10)), Some(start + seconds(20)));
    }

    #[test]
    fn the_wait_doubles_where_no_time_is_named_and_is_bounded_where_one_is() {
        let (mut refusals, start) = (refusals(), clock::now());
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            refusals.turn = Turn::Taken(start);
            refusals.refused(start, None);
            assert_eq!(refusals.turn, Turn::Nobody(start + seconds(wait)));
        }
        for (named, wait) in [(seconds(3600), 60), (Duration::MAX, 60), (seconds(7), 7)] {
            refusals.turn = Turn::Taken(start);
            refusals.refused(start, Some(named));
            assert_eq!(refusals.turn, Turn::Nobody(start + seconds(wait)));
        }
        refusals.accepted();
        refusals.refused(start, None);
        assert_eq!(refusals.turn, Turn::Nobody(start + seconds(1)), "an answer begins it again");
    }

    #[test]
    fn refusals_that_were_under_way_together_count_once() {
        let (mut refusals, start) = (refusals(), clock::now());
        for _ in 0..50 {
            refusals.refused(start, None);
        }
        assert_eq!((refusals.count, refusals.turn), (1, Turn::Nobody(start + seconds(1))));
        refusals.refused(start, Some(seconds(5)));
        refusals.refused(start, Some(seconds(3)));
        assert_eq!(refusals.turn, Turn::Nobody(start + seconds(5)));
    }

    /// Fifty sessions lose their connections at once; the service refuses everybody for twelve seconds.
    #[tokio::test(start_paused = true)]
    async fn fifty_sessions_do_not_storm_a_service_that_refuses() {
        let politeness = Arc::new(Politeness::new(seconds(60), seconds(10)));
        let (dials, begin) = (Arc::new(AtomicU32::new(0)), clock::now());
        let session = |politeness: Arc<Politeness>, dials: Arc<AtomicU32>| async move {
            loop {
                if let Err(later) = politeness.turn(clock::now() + seconds(5)).await {
                    let backoff = clock::now() + Duration::from_millis(500);
                    time::sleep_until(later.unwrap_or(backoff)).await;
                    continue;
                }
                dials.fetch_add(1, Ordering::Relaxed);
                // Of the round trip.
                time::sleep(Duration::from_millis(20)).await;
                let served = clock::now() >= begin + seconds(12);
                politeness.note((!served).then_some(Some(seconds(5))));
                if served {
                    return clock::now() - begin;
                }
            }
        };
        let all = (0..50).map(|_| session(Arc::clone(&politeness), Arc::clone(&dials)));
        let served = futures_util::future::join_all(all).await;
        let (first, last) = (served.iter().min().copied(), served.iter().max().copied());
        assert!(first >= Some(seconds(15)) && last <= Some(seconds(17)), "{first:?} to {last:?}");
        // Fifty were under way, then one each time, then everybody once.
        assert_eq!(dials.load(Ordering::Relaxed), 50 + 2 + 50);
    }
}
