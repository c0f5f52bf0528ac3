//! What a service manager is told (sd_notify(3)): ready, reloading, stopping, one line of status, a sign of life.
//!
//! Without one (`NOTIFY_SOCKET` is not set) nothing is sent.

use std::{sync::Arc, time::Duration};

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use super::state::State;
use crate::telemetry::SessionState;

/// Between two lines of status; the sign of life comes twice in the time that the manager waits for it.
const STATUS: Duration = Duration::from_secs(10);

/// The listener accepts. That no token has come yet is not said here: what is started after Perennial may dial it,
/// and waits for the token within its handshake.
pub(super) fn ready() {
    send(&[NotifyState::Ready]);
}

pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "no clock for the service manager"),
    }
}

pub(super) fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("going away: sessions are closed")]);
}

/// Says how it fares, and that the loop turns, until `stop`.
pub(super) async fn keep_telling(state: Arc<State>, stop: CancellationToken) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let alive = sd_notify::watchdog_enabled();
    let every = alive.map_or(STATUS, |within| (within / 2).min(STATUS)).max(Duration::from_millis(1));
    let mut tick = tokio::time::interval(every);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let status = line(&state);
        match alive {
            Some(_) => send(&[NotifyState::Watchdog, NotifyState::Status(&status)]),
            None => send(&[NotifyState::Status(&status)]),
        }
    }
}

/// One line, as `systemctl status` shows it.
fn line(state: &State) -> String {
    let routes = state.routes();
    let sessions = |one: SessionState| -> u64 {
        routes.iter().map(|context| state.metrics.route(&context.route.name).counts().sessions(one)).sum()
    };
    let live = sessions(SessionState::Live) + sessions(SessionState::Exchanging);
    let all: u64 = SessionState::ALL.into_iter().map(sessions).sum();
    let mut parts = vec![format!("{live} of {all} sessions relay")];
    parts.extend(state.problems());
    if state.reload.lock().is_ok_and(|reload| !reload.successful) {
        parts.push("the last reload was refused: see the log".to_owned());
    }
    parts.join("; ")
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
