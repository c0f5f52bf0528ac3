//! How many clients the limit on open files allows, beside what the sidecar itself needs to live.
//!
//! ```text
//!   open files ─┬─ the sidecar's own: listeners, log, store, refreshes, a connection that replaces another, the admin port
//!               ├─ connections that are no session's yet, and those for plain requests to the service
//!               └─ two for each session
//! ```
//!
//! Clients get what is left over. So probes are answered and tokens are refreshed, however many clients come.

use rustix::process::{Resource, getrlimit};

use crate::config::Limits;

/// What the sidecar keeps for itself; of a very low limit, half.
const OWN: usize = 64;
/// Connections that are no session's, at the least, if there are files for more.
const BESIDE: usize = 64;
/// Of the files that clients may use, one in so many is for one that has just come.
const AT_ONCE: usize = 16;
/// Connections of the admin port: a few scrapers and probes, many times over.
const ADMIN: usize = 64;
/// The same, if files are few.
const ADMIN_OF_FEW: usize = 24;
/// So many files are few.
const FEW: usize = 1024;

/// How many there may be of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowed {
    /// Open files of the process.
    pub(super) files: usize,
    pub(super) sessions: usize,
    /// Clients' connections that are no session's.
    pub(super) connections: usize,
    /// Connections of the admin port.
    pub(super) admin: usize,
}

impl Allowed {
    /// By the limit of this process.
    pub(super) fn now(limits: &Limits) -> Self {
        let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
        Self::of(files.unwrap_or(usize::MAX), limits.sessions)
    }

    fn of(files: usize, wanted: usize) -> Self {
        let clients = files - OWN.min(files / 2);
        // Many may come at once: after a restart of the service, say.
        let beside = (clients / AT_ONCE).max(BESIDE.min(clients / 4));
        let sessions = wanted.min(clients.saturating_sub(with_theirs(beside)) / 2).max(1);
        let left = clients.saturating_sub(sessions.saturating_mul(2)) / 9 * 4;
        Self {
            files,
            sessions,
            connections: left.clamp(1, sessions.saturating_add(BESIDE)),
            admin: if files < FEW { ADMIN_OF_FEW.min(files / 4).max(1) } else { ADMIN },
        }
    }

    /// Says it if there are fewer sessions than the configuration asks for.
    pub(super) fn tell(self, limits: &Limits) {
        if self.sessions < limits.sessions {
            tracing::warn!(
                sessions = self.sessions,
                wanted = limits.sessions,
                open_files = self.files,
                needed = Self::needed(limits.sessions),
                "fewer sessions than limits.sessions: the limit on open files is too low; raise it (ulimit -Hn, LimitNOFILE=)"
            );
        }
    }

    /// Open files that so many sessions need.
    fn needed(sessions: usize) -> usize {
        let both = sessions.saturating_mul(2);
        // What is left of sixteen parts for sessions is 16 - 2.25; and both shares are rounded.
        let large = both / 55 * 64 + 2 * 64;
        large.max(both.saturating_add(with_theirs(BESIDE))).saturating_add(OWN)
    }
}

/// Open files of so many connections that are no session's: each may have one to the service beside it, and some of
/// those that had to leave are still on their way out (`net::room`).
fn with_theirs(connections: usize) -> usize {
    connections * 2 + connections.div_ceil(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_is_left_over() {
        for files in 8..5000 {
            let Allowed { sessions, connections, admin, .. } = Allowed::of(files, 10_000);
            let clients = 2 * sessions + with_theirs(connections);
            assert!(clients <= (files - OWN.min(files / 2)).max(5), "{files}: {sessions}, {connections}");
            assert!(sessions > 0 && connections > 0 && admin > 0);
        }
    }

    #[test]
    fn who_has_files_enough_has_what_was_asked_for() {
        assert_eq!(
            Allowed::of(1 << 20, 10_000),
            Allowed { files: 1 << 20, sessions: 10_000, connections: 10_064, admin: 64 }
        );
        let needed = Allowed::needed(10_000);
        assert_eq!(Allowed::of(needed, 10_000).sessions, 10_000);
        assert!(Allowed::of(needed - 200, 10_000).sessions < 10_000);
        assert!(Allowed::of(needed, 10_000).connections > 1_000, "many may come at once");
        assert_eq!(
            Allowed::of(128, 10_000),
            Allowed { files: 128, sessions: 14, connections: 16, admin: 24 }
        );
        assert_eq!(Allowed::of(usize::MAX, usize::MAX - 1).admin, 64);
    }
}
