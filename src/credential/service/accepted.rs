//! With which token a service let sessions in: a token that others were just accepted with is not to blame if one
//! session is refused.
//!
//! Rules:
//! 1. Others vouch for a token for a minute. Then a refusal is the token's fault, as ever.
//! 2. If the service refuses two sessions that it had let in before, one after the other, it has revoked the token:
//!    nobody vouches for it any more, until the service accepts it again.

use std::time::Duration;

use super::Generation;
use crate::clock::Instant;

/// How long others vouch for a token.
const VOUCHED: Duration = Duration::from_secs(60);

/// Tells sessions apart.
pub(super) type Who = usize;

/// What is remembered of the newest generation that the service accepted.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    generation: Generation,
    /// The last session that was let in, and the last other one before it.
    last: Option<(Who, Instant)>,
    other: Option<(Who, Instant)>,
    /// A session that was refused since, after it had been let in before.
    refused: Option<Who>,
}

impl Accepted {
    /// The service let this session in.
    pub(super) fn accepted(&mut self, generation: Generation, who: Who, now: Instant) {
        if generation < self.generation {
            return;
        }
        if generation > self.generation {
            *self = Self { generation, ..Self::default() };
        }
        if self.last.is_some_and(|(last, _)| last != who) {
            self.other = self.last;
        }
        self.last = Some((who, now));
        self.refused = None;
    }

    /// Was a session just accepted with this token, another one than `who`? Then it is not the token's fault if the
    /// service refuses this one.
    pub(super) fn vouched(&self, generation: Generation, who: Option<Who>, now: Instant) -> bool {
        let mut others =
            [self.last, self.other].into_iter().flatten().filter(|(other, _)| Some(*other) != who);
        self.generation == generation
            && (self.refused.is_none() || self.refused == who)
            && others.any(|(_, at)| now.saturating_duration_since(at) < VOUCHED)
    }

    /// The service refused a session that it had let in before. Is the token to blame?
    pub(super) fn refused(&mut self, generation: Generation, who: Who, now: Instant) -> bool {
        let vouched = self.vouched(generation, Some(who), now);
        if self.generation == generation && self.refused.is_none() {
            self.refused = Some(who);
        }
        !vouched
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const T1: Generation = Generation(1);
    const T2: Generation = Generation(2);

    #[test]
    fn others_vouch_for_a_token_for_a_minute() {
        let (mut accepted, start) = (Accepted::default(), clock::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!accepted.vouched(T1, Some(1), start), "nobody was let in");
        accepted.accepted(T1, 1, start);
        assert!(accepted.vouched(T1, Some(2), at(59)));
        assert!(!accepted.vouched(T1, Some(2), at(60)), "that is long ago");
        assert!(!accepted.vouched(T1, Some(1), at(1)), "nobody vouches for oneself");
        assert!(!accepted.vouched(T2, Some(2), at(1)), "a newer token has to be accepted first");
        accepted.accepted(T1, 2, at(1));
        assert!(accepted.vouched(T1, Some(1), at(1)) && accepted.vouched(T1, Some(2), at(1)));
        accepted.accepted(T2, 1, at(2));
        accepted.accepted(T1, 3, at(2));
        assert!(accepted.vouched(T2, Some(2), at(3)) && !accepted.vouched(T1, Some(2), at(3)));
        assert!(
            !accepted.vouched(T2, Some(1), at(3)),
            "those of the older token say nothing of the newer one"
        );
    }

    #[test]
    fn a_token_that_is_revoked_is_found_by_the_second_session_that_is_refused() {
        let (mut accepted, start) = (Accepted::default(), clock::now());
        for who in 1..=5 {
            accepted.accepted(T1, who, start);
        }
        assert!(!accepted.refused(T1, 1, start), "others vouch for it");
        assert!(!accepted.refused(T1, 1, start), "however often the same one is refused");
        assert!(accepted.refused(T1, 2, start), "the service has revoked it");
        assert!(!accepted.vouched(T1, None, start), "for those who come as well");
        accepted.accepted(T1, 3, start);
        assert!(!accepted.refused(T1, 2, start), "it is accepted again");
        let mut accepted = Accepted::default();
        assert!(accepted.refused(T1, 1, start), "without others it is the token's fault");
    }
}
