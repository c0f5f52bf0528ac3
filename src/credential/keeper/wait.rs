//! How long to wait: the arithmetic of margins, jitter and backoff.

use std::time::Duration;

use super::SPACING;

/// The longest wait after a first failure; it doubles with each.
const FIRST: Duration = Duration::from_millis(500);
/// Where doubling ends.
const MOST: Duration = Duration::from_secs(30);
/// Part of every wait after a failure: full jitter alone may draw nothing at all, again and again.
pub(super) const LEAST: Duration = Duration::from_millis(100);
/// A wait is not cut shorter than this for the sake of a token that is about to end.
const URGENT: Duration = Duration::from_secs(1);
/// A refusal that repeating cannot mend is repeated after this, at first.
const SLOW_FIRST: Duration = Duration::from_secs(60);
/// And after this at last.
const SLOW_MOST: Duration = Duration::from_secs(300);
/// A refresh waits for an exchange in steps of this.
const POSTPONED: Duration = Duration::from_secs(5);
/// `Retry-After` is believed up to this.
const ASKED_MOST: Duration = Duration::from_secs(300);

/// From the issue of a token that lives for `life` to its refresh.
///
/// The margin is at most three quarters of the life: one that was configured for long-lived tokens must
/// not make a short-lived one due at once. The jitter makes a refresh earlier than the usual margin, and later
/// than one that was configured: a service may refuse to renew a token that has more than that left.
pub(super) fn until_refresh(life: Duration, margin: Option<Duration>, rng: &mut fastrand::Rng) -> Duration {
    let due = match margin {
        Some(margin) => {
            let margin = margin.min(life / 4 * 3);
            life.saturating_sub(margin) + up_to((life / 10).min(margin / 4), rng)
        }
        None => life.saturating_sub(life / 4).saturating_sub(up_to(life / 10, rng)),
    };
    due.max(SPACING)
}

/// Between two looks whether a refresh that waits for an exchange may go; sooner where little time is left.
pub(super) fn postponed(left: Duration) -> Duration {
    (left / 4).min(POSTPONED)
}

/// After the `failures`th failure in a row, while the current token lives for `left`.
pub(super) fn backoff(failures: u32, left: Option<Duration>, rng: &mut fastrand::Rng) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(MOST);
    let most =
        left.filter(|left| !left.is_zero()).map_or(doubled, |left| doubled.min((left / 2).max(URGENT)));
    LEAST + up_to(most.saturating_sub(LEAST), rng)
}

/// After a refusal that repeating cannot mend.
///
/// While the current token lives for `left`, it is repeated before that is over: a service may refuse because
/// it was too early, and one that means it loses nothing by saying so a few times more.
pub(super) fn slow(failures: u32, left: Option<Duration>, rng: &mut fastrand::Rng) -> Duration {
    let doubled = SLOW_FIRST.saturating_mul(1 << failures.min(10)).min(SLOW_MOST);
    let wait = SLOW_FIRST + up_to(doubled.saturating_sub(SLOW_FIRST), rng);
    left.filter(|left| !left.is_zero()).map_or(wait, |left| wait.min((left / 2).max(URGENT)))
}

/// As long as the server asked, and a little more, so that not everybody comes back in the same moment.
pub(super) fn asked(retry_after: Duration, rng: &mut fastrand::Rng) -> Duration {
    let wait = retry_after.min(ASKED_MOST);
    wait + up_to((wait / 10).max(Duration::from_secs(1)), rng)
}

fn up_to(most: Duration, rng: &mut fastrand::Rng) -> Duration {
    let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(rng.u64(0..=nanos))
}
