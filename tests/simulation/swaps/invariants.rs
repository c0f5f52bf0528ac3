//! What holds after every step, and at the end.

use super::*;

impl World {
    /// After every step.
    pub(super) fn stands(&self) {
        let in_order = |numbers: &[u64]| numbers.last_chunk::<2>().is_none_or(|[a, b]| a < b);
        assert!(in_order(&self.heard), "{:?}: the service heard {:?}", self.weather, tail(&self.heard));
        let once = !self.weather.to_all;
        assert!(!once || in_order(&self.got), "{:?}: the client heard {:?}", self.weather, tail(&self.got));
        assert!(self.session.held_bytes() <= 3 * self.bound(), "{:?}", self.session);
        let late = self.session.deadline().is_some_and(|at| at + alarm::SLACK < self.instant());
        assert!(!late, "{:?}: nothing wakes the core: {:?}", self.weather, self.session);
    }

    pub(super) fn bound(&self) -> usize {
        (1 << 20) + 1024
    }

    /// At the end: nothing is missing that no doubt was cast on, and nothing is heard twice unseen.
    pub(super) fn judge(&self) {
        assert!(self.is_quiet(), "{:?}: not quiet at the end: {:?}", self.weather, self.session);
        if self.tally.doubts == 0 {
            let all: Vec<u64> = (1..=self.said).collect();
            assert_eq!(self.heard, all, "{:?}: the service misses some", self.weather);
        }
        let gaps = gaps(&self.got);
        let discarded = self.tally.discarded;
        assert!(
            self.tally.doubts > 0 || gaps <= discarded,
            "{:?}: the client misses {gaps} messages, {discarded} of them counted",
            self.weather
        );
        let twice = self.got.windows(2).filter(|pair| pair[1] <= pair[0]).count() as u64;
        // What is still on its way on the new connection when the old one has ended is the new one's.
        let most = if self.weather.discard {
            self.tally.swaps + self.tally.doubts
        } else {
            self.tally.kept + self.tally.swaps
        };
        assert!(twice <= most, "{:?}: {twice} turns back, {:?}", self.weather, self.tally);
    }
}

/// Numbers that never came.
fn gaps(got: &[u64]) -> u64 {
    let seen: std::collections::BTreeSet<u64> = got.iter().copied().collect();
    seen.last().map_or(0, |last| last - seen.len() as u64)
}

fn tail(numbers: &[u64]) -> &[u64] {
    &numbers[numbers.len().saturating_sub(6)..]
}
