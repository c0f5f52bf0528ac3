//! No more messages in any second than the service takes.

use std::{collections::VecDeque, time::Duration};

use crate::clock::Instant;

/// A second as the service may count it: what the network squeezes together is allowed for.
const SECOND: Duration = Duration::from_millis(1020);

/// When messages were sent, in the last second.
#[derive(Debug, Default, Clone, PartialEq)]
#[expect(clippy::box_collection, reason = "an idle session keeps a word, not four")]
pub(super) struct Pace(Option<Box<VecDeque<Instant>>>);

impl Pace {
    /// A message goes now, to a service that takes `pace` in a second.
    pub(super) fn sends(&mut self, pace: u32, now: Instant) {
        if pace == u32::MAX {
            return;
        }
        self.forget(now);
        let sent = self.0.get_or_insert_default();
        if sent.len() >= pace as usize {
            // The client itself exceeds it: that is between the two of them.
            sent.pop_back();
        }
        sent.push_back(now);
    }

    /// When the next message may go; `None`: now.
    pub(super) fn next(&mut self, pace: u32, now: Instant) -> Option<Instant> {
        self.forget(now);
        let sent = self.0.as_ref()?;
        let first_of_full = sent.len().checked_sub(pace as usize)?;
        sent.get(first_of_full).map(|at| *at + SECOND)
    }

    fn forget(&mut self, now: Instant) {
        let Some(sent) = &mut self.0 else { return };
        while sent.front().is_some_and(|at| *at + SECOND <= now) {
            sent.pop_front();
        }
        if sent.is_empty() {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn no_second_has_more_than_the_pace() {
        let (mut pace, begun) = (Pace::default(), clock::now());
        let mut sent = Vec::new();
        let mut now = begun;
        while sent.len() < 200 {
            match pace.next(50, now) {
                Some(at) => {
                    assert!(at > now, "a wait has an end");
                    now = at;
                }
                None => {
                    pace.sends(50, now);
                    sent.push(now);
                }
            }
        }
        for window in sent.windows(51) {
            assert!(window[50] - window[0] >= Duration::from_secs(1));
        }
        assert!(now - begun < Duration::from_secs(4), "and all that it takes");
    }
}
