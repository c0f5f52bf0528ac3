//! Who a line of the log is about: one client, from its handshake to the end of its session.
//!
//! `session` is the thread through all lines of one session; its connections to the service may change meanwhile.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    num::ParseIntError,
    str::FromStr,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::net::Peer;

/// Names a session in the log: eight hexadecimal digits. No two sessions that live in one process have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionId(u32);

impl SessionId {
    fn next() -> Self {
        // Begins at random: the sessions of two processes, or of one before and after a restart, differ too.
        static NEXT: LazyLock<AtomicU32> =
            LazyLock::new(|| AtomicU32::new(RandomState::new().hash_one(()) as u32));
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// As it is shown.
impl FromStr for SessionId {
    type Err = ParseIntError;

    fn from_str(name: &str) -> Result<Self, ParseIntError> {
        u32::from_str_radix(name, 16).map(Self)
    }
}

/// A client that asks for a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub(super) session: SessionId,
    /// Where it connects from.
    pub(super) client: Peer,
}

impl Caller {
    /// With a new name.
    pub(super) fn new(client: Peer) -> Self {
        Self { session: SessionId::next(), client }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_is_given_once() {
        let names: std::collections::HashSet<_> = (0..1_000).map(|_| SessionId::next().to_string()).collect();
        assert_eq!(names.len(), 1_000);
        assert!(names.iter().all(|name| name.len() == 8));
    }
}
