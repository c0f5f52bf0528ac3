//! What a service manager is told (sd_notify(3)): ready, reloading, stopping, one line of status, a sign of life.
//!
//! Without one (`NOTIFY_SOCKET` is not set) nothing is sent.

//!
//! It is said on a socket that never blocks: a manager that does not listen loses what it is told, and nobody waits.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::state::State;
use crate::telemetry::SessionState;

/// Between two lines of status; the sign of life comes twice in the time that the manager waits for it.
const STATUS: Duration = Duration::from_secs(10);
const SHORTEST: Duration = Duration::from_millis(10);

/// The listener accepts. That no token has come yet is not said here: what is started after Perennial may dial it,
/// and waits for the token within its handshake.
pub(super) fn ready() {
    tell("READY=1");
}

/// A manager that knows `Type=notify-reload` compares the moment with its own.
pub(super) fn reloading() {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
}

pub(super) fn stopping() {
    tell("STOPPING=1\nSTATUS=going away: sessions are closed");
}

/// Says how it fares, and that the loop turns, until `stop`.
pub(super) async fn keep_telling(state: Arc<State>, stop: CancellationToken) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let alive = watchdog();
    let every = alive.map_or(STATUS, |within| (within / 2).clamp(SHORTEST, STATUS));
    let mut tick = tokio::time::interval(every);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let alive = if alive.is_some() { "WATCHDOG=1\n" } else { "" };
        tell(&format!("{alive}STATUS={}", line(&state)));
    }
}

/// How often the manager wants a sign of life, where it wants one of this process.
fn watchdog() -> Option<Duration> {
    let ours = std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
    let micros = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    ours.then(|| Duration::from_micros(micros))
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

fn tell(what: &str) {
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET")
        && let Err(error) = send(socket.as_bytes(), what)
    {
        tracing::debug!(%error, "the service manager was not told");
    }
}

/// A name that begins with `@` is of the abstract namespace.
fn send(socket: &[u8], what: &str) -> io::Result<()> {
    let address = match socket.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(socket))?,
    };
    let out = UnixDatagram::unbound()?;
    out.set_nonblocking(true)?;
    out.send_to_addr(what.as_bytes(), &address).map(|_| ())
}
