//! What follows from a fetch that brought no token.

use std::time::Duration;

use super::{Action, FailureKind, FetchFailure, Keeper, Phase, Report, SPACING, Trigger, wait};
use crate::{
    clock::{Instant, Now},
    credential::token::Token,
};

/// An answer that was lost is asked for again so often at the most,
const LOST_TIMES: u32 = 3;
/// and for so long.
const LOST_FOR: Duration = Duration::from_secs(5);
/// Another process that has been asking for longer than this is not to be waited for in silence.
const ELSEWHERE_FOR: Duration = Duration::from_secs(30);

impl Keeper {
    pub(super) fn fail(
        &mut self,
        failure: FetchFailure,
        trigger: Trigger,
        sent: Now,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        if failure.kind == FailureKind::Elsewhere && self.is_patient(now.mono) {
            let wait = wait::elsewhere(&mut self.rng);
            let wait = self.sooner(wait);
            self.phase = Phase::Waiting { trigger, until: now.mono + wait };
            return;
        }
        let valid = self.current.as_ref().filter(|token| !token.is_expired(now));
        let left = valid.map(|token| token.remaining(now));
        // A token that the service does not take leaves as little time as none.
        let usable = valid.filter(|token| !self.rejected.has(token.expose()));
        let (is_usable, usable_for) = (usable.is_some(), usable.and_then(|token| token.remaining(now)));
        self.count(is_usable);
        let again = self.asks_again(failure.kind, now.mono);
        let terminal = match failure.kind {
            FailureKind::Terminal => true,
            FailureKind::Lost => again.is_none(),
            FailureKind::Passing | FailureKind::Unreached | FailureKind::Elsewhere => false,
        };
        let mut wait = match again {
            Some(wait) => wait,
            None if terminal => wait::slow(self.failures, left.flatten(), &mut self.rng),
            None if failure.kind == FailureKind::Unreached && !is_usable => {
                wait::unreached(self.failures, &mut self.rng)
            }
            None => wait::backoff(self.failures, usable_for, &mut self.rng),
        };
        if let Some(asked) = failure.retry_after {
            wait = wait.max(wait::asked(asked, &mut self.rng));
        }
        let wait = self.sooner(wait);
        self.patient = is_usable && !terminal && again.is_none() && failure.retry_after.is_none();
        self.phase = Phase::Waiting { trigger, until: now.mono + wait };
        self.refused = terminal;
        out.push(Action::Report(Report::Failed {
            trigger,
            terminal,
            reason: failure.reason,
            took: now.mono.saturating_duration_since(sent.mono),
            retry_in: wait,
            still_valid_for: left.map_or(Some(Duration::ZERO), |remaining| remaining),
        }));
        self.despair(now, out);
    }

    /// One more failure. Those from before the token ended are no reason to let clients wait.
    fn count(&mut self, has_token: bool) {
        if std::mem::replace(&mut self.had_token, has_token) && !has_token {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
    }

    /// After an answer that was, or that nobody needed.
    pub(super) fn recovered(&mut self) {
        self.failures = 0;
        self.refused = false;
        self.lost = None;
        self.elsewhere = None;
    }

    /// Says so where the source has refused for good, and the current token will not do either.
    pub(super) fn despair(&self, now: Now, out: &mut Vec<Action>) {
        let usable = |token: &Token| !token.is_expired(now) && !self.rejected.has(token.expose());
        if self.refused && !self.current.as_ref().is_some_and(usable) {
            out.push(Action::Hopeless);
        }
    }

    /// How long to wait before an answer that may have been lost is asked for again, where that makes sense.
    fn asks_again(&mut self, kind: FailureKind, now: Instant) -> Option<Duration> {
        self.elsewhere = None;
        if kind != FailureKind::Lost {
            self.lost = None;
            return None;
        }
        let (times, since) = self.lost.unwrap_or((0, now));
        self.lost = Some((times.saturating_add(1), since));
        let wait = wait::lost(&mut self.rng);
        (times < LOST_TIMES && now + wait <= since + LOST_FOR).then_some(wait)
    }

    /// Is another process to be waited for?
    fn is_patient(&mut self, now: Instant) -> bool {
        let since = *self.elsewhere.get_or_insert(now);
        now.saturating_duration_since(since) < ELSEWHERE_FOR
    }

    /// When a wait is over. One that was long because the current token lived on is cut short when that will not do
    /// any more: it was rejected, or the wall clock says that it has ended.
    pub(super) fn hurried(&mut self, trigger: Trigger, until: Instant, now: Now) -> Instant {
        let usable = |token: &Token| !token.is_expired(now) && !self.rejected.has(token.expose());
        if !self.patient || self.current.as_ref().is_some_and(usable) {
            return until;
        }
        self.patient = false;
        self.count(false);
        let until = until.min(now.mono + wait::backoff(self.failures, None, &mut self.rng));
        self.phase = Phase::Waiting { trigger, until };
        until
    }

    /// A secret that changed while the fetch was under way cuts the wait.
    fn sooner(&mut self, wait: Duration) -> Duration {
        if std::mem::take(&mut self.again) { wait.min(SPACING) } else { wait }
    }
}
