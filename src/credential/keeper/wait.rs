//! How long to wait: the arithmetic of margins, jitter and backoff.

use std::time::Duration;

use super::SPACING;

/// The longest wait after a first failure; it doubles with each.
const FIRST: Duration = Duration::from_millis(500);
/// Where doubling ends.
const MOST: Duration = Duration::from_secs(30);
/// Nobody was there to be asked: to look whether somebody is costs nothing.
const UNREACHED: Duration = Duration::from_secs(2);
/// Part of every wait after a failure: full jitter alone may draw nothing at all, again and again.
pub(super) const LEAST: Duration = Duration::from_millis(100);
/// A wait is not cut shorter than this for the sake of a token that is about to end.
const URGENT: Duration = Duration::from_secs(1);
/// A refusal that stays is repeated no sooner than this, however soon the token ends.
const SLOW_LEAST: Duration = Duration::from_secs(5);
/// Nor is it longer than this, however long the token still lives.
const PATIENT: Duration = Duration::from_secs(300);
/// An answer that was lost is asked for again after the first of these at the soonest, and the second at the latest.
const LOST: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
/// What another process is asking for is looked for as soon as this, and as late.
const ELSEWHERE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));
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

/// After the `failures`th failure in a row, while the current token lives for `left`; `None` where there is none
/// that would do.
///
/// With a token that lives on nobody waits, and there is something better to do than to hurry: thousands that were
/// refused in the same minute must not all come back in the next one. So the wait is anywhere in a third of what is
/// left, which shrinks with each failure. Without one, clients wait.
pub(super) fn backoff(failures: u32, left: Option<Duration>, rng: &mut fastrand::Rng) -> Duration {
    let most = match left.filter(|left| !left.is_zero()) {
        Some(left) => (left / 3).clamp(URGENT, PATIENT),
        None => FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(MOST),
    };
    LEAST + up_to(most.saturating_sub(LEAST), rng)
}

/// After the `failures`th failure in a row of which nobody was there to be asked, with no token that would do.
pub(super) fn unreached(failures: u32, rng: &mut fastrand::Rng) -> Duration {
    backoff(failures, None, rng).min(UNREACHED)
}

/// From the issue of a refresh token that lives for `life` to its use: a server may end it if it is idle.
pub(super) fn until_refresh_token_ends(life: Duration) -> Duration {
    (life / 4 * 3).max(SPACING)
}

/// Before an answer that was lost is asked for again.
pub(super) fn lost(rng: &mut fastrand::Rng) -> Duration {
    LOST.0 + up_to(LOST.1 - LOST.0, rng)
}

/// Before what another process is asking for is looked for.
pub(super) fn elsewhere(rng: &mut fastrand::Rng) -> Duration {
    ELSEWHERE.0 + up_to(ELSEWHERE.1 - ELSEWHERE.0, rng)
}

/// After a refusal that repeating cannot mend.
///
/// While the current token lives for `left`, it is repeated before that is over: a service may refuse because
/// it was too early, and one that means it loses nothing by saying so a few times more.
pub(super) fn slow(failures: u32, left: Option<Duration>, rng: &mut fastrand::Rng) -> Duration {
    let doubled = SLOW_FIRST.saturating_mul(1 << failures.min(10)).min(SLOW_MOST);
    let wait = SLOW_FIRST + up_to(doubled.saturating_sub(SLOW_FIRST), rng);
    left.filter(|left| !left.is_zero()).map_or(wait, |left| wait.min((left / 2).max(SLOW_LEAST)))
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
