//! The last of what was measured, for a picture without Prometheus.
//!
//! Refreshes are rare and each counts: the last ones are kept as they were. Holds may be thousands in a second:
//! of them the longest of each ten seconds is kept.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::{self, Instant};

/// Measurements that are kept, and steps.
const KEPT: usize = 60;
/// What one step of the holds stands for.
pub const STEP: Duration = Duration::from_secs(10);

/// The last measurements of one route.
#[derive(Debug)]
pub struct Recent {
    began: Instant,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    fetches: VecDeque<Duration>,
    exchanges: VecDeque<Duration>,
    /// The longest hold that ended in each step; the last is of `step`.
    holds: VecDeque<Duration>,
    /// The number of the last step, counted from the beginning.
    step: u128,
}

impl Default for Recent {
    fn default() -> Self {
        let kept = Kept { holds: VecDeque::from([Duration::ZERO; KEPT]), ..Kept::default() };
        Self { began: clock::now(), kept: Mutex::new(kept) }
    }
}

impl Recent {
    /// A fetch gave a token, after so long.
    pub fn fetched(&self, took: Duration) {
        push(&mut self.kept().fetches, took);
    }

    /// An exchange was accepted, after so long.
    pub fn exchanged(&self, took: Duration) {
        push(&mut self.kept().exchanges, took);
    }

    /// A message is held no longer, after so long.
    pub fn released(&self, held: Duration, now: Instant) {
        let mut kept = self.kept();
        kept.advance(self.step(now));
        if let Some(last) = kept.holds.back_mut() {
            *last = held.max(*last);
        }
    }

    /// The last fetches, oldest first.
    pub fn fetches(&self) -> Vec<Duration> {
        self.kept().fetches.iter().copied().collect()
    }

    /// The last exchanges, oldest first.
    pub fn exchanges(&self) -> Vec<Duration> {
        self.kept().exchanges.iter().copied().collect()
    }

    /// The longest hold that ended in each of the last steps, oldest first.
    pub fn holds(&self, now: Instant) -> Vec<Duration> {
        let mut kept = self.kept();
        kept.advance(self.step(now));
        kept.holds.iter().copied().collect()
    }

    fn step(&self, now: Instant) -> u128 {
        now.saturating_duration_since(self.began).as_millis() / STEP.as_millis()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn advance(&mut self, step: u128) {
        let passed = usize::try_from(step.saturating_sub(self.step)).unwrap_or(usize::MAX);
        for _ in 0..passed.min(KEPT) {
            push(&mut self.holds, Duration::ZERO);
        }
        self.step = self.step.max(step);
    }
}

fn push(kept: &mut VecDeque<Duration>, one: Duration) {
    if kept.len() >= KEPT {
        kept.pop_front();
    }
    kept.push_back(one);
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_last_sixty_stay() {
        let recent = Recent::default();
        (1..=70).for_each(|n| recent.fetched(ms(n)));
        assert_eq!(recent.fetches(), (11..=70).map(ms).collect::<Vec<_>>());
        assert!(recent.exchanges().is_empty());
    }

    #[test]
    fn a_step_shows_its_longest_hold_and_moves_on() {
        let recent = Recent::default();
        let began = recent.began;
        recent.released(ms(5), began);
        recent.released(ms(30), began + ms(9_999));
        recent.released(ms(7), began + ms(10_000));
        let holds = recent.holds(began + ms(25_000));
        assert_eq!((holds.len(), &holds[KEPT - 3..]), (KEPT, &[ms(30), ms(7), ms(0)][..]));
        assert_eq!(recent.holds(began + Duration::from_secs(86_400)), vec![ms(0); KEPT]);
    }
}
