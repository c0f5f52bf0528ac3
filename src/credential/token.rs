//! A token: its text, its generation, and when it ends.
//!
//! The text is a secret: only [`Token::expose`] gives it out, at the places that put it on a wire: a handshake,
//! an exchange, and a message of a declared dialect.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    clock::{Instant, Now},
    config::SecretText,
};

/// Counts the tokens of one credential, from 1; 0 is "none yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An access token of a credential, as its source gave it.
#[derive(Debug, Clone)]
pub struct Token {
    /// Shared: a session of some dialects keeps the token that it shows.
    text: Arc<SecretText>,
    /// Which token of its credential this is.
    pub generation: Generation,
    /// When the request that brought it was sent (both clocks: the wall one finds a stepped clock).
    pub issued: Now,
    /// When it ends, since the Unix epoch on the wall clock; `None` where nobody told.
    pub expires_wall: Option<Duration>,
    /// The same on the monotonic clock, reckoned when it was issued.
    pub expires: Option<Instant>,
    /// When the refresh token ends that the next token is asked for with, on the wall clock, if that is known.
    pub refresh_ends: Option<Duration>,
}

/// Of one credential: the generation tells its tokens apart.
impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.generation == other.generation && self.expires == other.expires
    }
}

impl Token {
    /// A token that lives for `lifetime` from `issued`.
    pub fn new(text: &str, generation: Generation, issued: Now, lifetime: Option<Duration>) -> Self {
        Self {
            text: Arc::new(text.into()),
            generation,
            issued,
            expires_wall: lifetime.map(|l| issued.wall.saturating_add(l)),
            expires: lifetime.and_then(|l| issued.mono.checked_add(l)),
            refresh_ends: None,
        }
    }

    /// The secret itself, to be put on a wire and nowhere else.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Is it known to have ended, by either clock?
    pub fn is_expired(&self, now: Now) -> bool {
        self.expires.is_some_and(|at| at <= now.mono) || self.expires_wall.is_some_and(|at| at <= now.wall)
    }

    /// How long it still lives, by the more pessimistic clock; `None` where nobody told.
    pub fn remaining(&self, now: Now) -> Option<Duration> {
        let mono = self.expires?.saturating_duration_since(now.mono);
        let wall = self.expires_wall?.saturating_sub(now.wall);
        Some(mono.min(wall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_masks_the_text() {
        let token = Token::new("CANARY", Generation(1), Now::read(), None);
        assert!(!format!("{token:?}").contains("CANARY"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_more_pessimistic_clock_decides() {
        let then = Now::read();
        let token = Token::new("t", Generation(1), then, Some(Duration::from_secs(60)));
        let suspended = Now { mono: then.mono, wall: then.wall + Duration::from_secs(61) };
        assert!(token.is_expired(suspended), "a host that slept must not use the dead token");
        let stepped_back = Now { mono: then.mono + Duration::from_secs(61), wall: then.wall };
        assert!(token.is_expired(stepped_back));
        assert_eq!(token.remaining(stepped_back), Some(Duration::ZERO));
    }
}
