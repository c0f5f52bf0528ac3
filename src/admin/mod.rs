//! The operator's HTTP server: metrics, health, the status page, and what an operator has done.
//!
//! | path | answer |
//! |---|---|
//! | `/` | the status page for a browser; these, as text, for anything else |
//! | `/status.json`, `/events` | what the page shows: once, and every second |
//! | `/metrics` | every series, for Prometheus |
//! | `/startupz`, `/startup` | 200 when the sidecar was ready once, else 503 |
//! | `/readyz`, `/ready` | 200 while it can serve, else 503 and what is missing |
//! | `/livez`, `/live`, `/healthz` | 200 while this loop turns |
//! | `/sessions.json`, POST `/close`, `/reload`, `/rehearse/ACTION` | for an operator on this machine, and never for a web page |
//!
//! Rules:
//! 1. It holds no secret, and but for what an operator asks for it only reads.
//! 2. A connection carries one request, has a deadline, and is one of a bounded number. Anyone who connects and asks
//!    nothing leaves for a probe that comes (`net::room`).
//! 3. What shows something of the inside is asked for by an address, `localhost` or a name of `admin.hosts`: a name
//!    that was made to point here (DNS rebinding) gets metrics and probes only.
//! 4. What changes something, or shows who the clients are, is asked for as no page can ask (`actions`, `operator`).

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

mod actions;
mod answer;
pub mod client;
pub mod done;
pub mod health;
mod operator;
mod page;
pub mod status;
mod stream;
pub(crate) mod words;

use actions::Action;
use done::{Closed, Rehearsed, Reloaded, SessionStatus};
use status::Status;
use stream::Streams;

use crate::{
    config::Secret,
    net::{
        self, Accepted, Listener,
        room::{Doing, Guest, Place, Room},
    },
};

/// From the accepted socket to the whole head of the request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// From the accepted socket to the last byte of the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);
/// How long answers under way may take after the stop.
const DRAIN: Duration = Duration::from_secs(1);
/// Pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the server asks of the sidecar. Called on the server's tasks, so each answers at once.
pub trait AdminState: Send + Sync + 'static {
    /// Every series in the text format 0.0.4.
    fn render_metrics(&self) -> String;
    /// Does the listener accept, and has each credential of a route a valid token? Else what is
    /// missing, one line for each: it is shown as it is, so it names routes and no secret.
    fn ready(&self) -> Result<(), String>;
    /// Was it ready once?
    fn started(&self) -> bool;
    /// May it be asked by this name of a host? Addresses and `localhost` need no asking.
    fn is_host(&self, name: &str) -> bool;
    /// What an operator must show, if anything.
    fn operator_secret(&self) -> Option<Secret>;
    /// Everything that the page shows.
    fn status(&self) -> Status;
    /// The sessions of a route, or of all.
    fn sessions(&self, route: Option<&str>) -> Result<Listing, Denied>;
    /// Closes sessions; there was one at the least.
    fn close(&self, whom: Whom<'_>) -> Result<Closed, Denied>;
    /// Has the configuration read again; what comes is how that came out.
    fn reload(&self) -> Result<oneshot::Receiver<Reloaded>, Denied>;
    /// Has sessions, or credentials, of a route (of all, if none is named) practise; `sessions` is a count or
    /// a percentage.
    fn rehearse(&self, action: &str, route: Option<&str>, sessions: &str) -> Result<Rehearsed, Denied>;
}

/// Sessions: each is looked at when it is asked for.
pub struct Listing {
    /// How many there are.
    pub total: usize,
    pub sessions: Box<dyn Iterator<Item = SessionStatus> + Send>,
}

/// Whose sessions are closed. Names are those of the log.
#[derive(Debug, Clone, Copy)]
pub enum Whom<'a> {
    Session(&'a str),
    Credential {
        name: &'a str,
        /// On this route alone.
        route: Option<&'a str>,
    },
}

/// Why an operator's action was not done; it is shown as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The secret that it takes was not shown.
    #[error("{0}")]
    Unauthorized(String),
    /// It may not be asked for, or not so.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such action, route or session.
    #[error("{0}")]
    Unknown(String),
    /// It is malformed, or makes no sense here.
    #[error("{0}")]
    Bad(String),
}

/// A connection.
#[derive(Debug, Default)]
struct Visit {
    /// Its request is here.
    asked: CancellationToken,
    /// Its answer is a stream of events: those are few.
    lasting: CancellationToken,
}

impl Guest for Visit {
    fn doing(&self) -> Doing {
        match (self.asked.is_cancelled(), self.lasting.is_cancelled()) {
            (_, true) => Doing::Lasting,
            (true, false) => Doing::Busy,
            (false, false) => Doing::Quiet,
        }
    }
}

/// What all connections share.
struct Server {
    state: Arc<dyn AdminState>,
    streams: Streams,
}

/// Answers on `listener` until `shutdown`, then finishes what is under way (within a second); `most` connections at
/// once.
pub async fn serve(
    listener: Arc<Listener>,
    most: usize,
    state: Arc<dyn AdminState>,
    shutdown: CancellationToken,
) {
    let room = Arc::new(Room::default());
    let connections = TaskTracker::new();
    let server = Arc::new(Server { streams: Streams::new(Arc::clone(&state), shutdown.clone()), state });
    while let Some(accepted) = next(&listener, &shutdown).await {
        let visit = Arc::new(Visit::default());
        let Some(place) = room.enter_anyway(Arc::clone(&visit), most) else { continue };
        connections.spawn(connection(accepted, (visit, place), Arc::clone(&server), shutdown.clone()));
    }
    connections.close();
    // A connection that outlives this has a deadline of its own.
    let _ = timeout(DRAIN, connections.wait()).await;
}

/// The next connection; `None`: it is over.
async fn next(listener: &Listener, shutdown: &CancellationToken) -> Option<Accepted> {
    let accepted = async {
        loop {
            match listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => {
                    tracing::warn!(%error, "admin connection not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    shutdown.run_until_cancelled(accepted).await
}

async fn connection(
    accepted: Accepted,
    (visit, place): (Arc<Visit>, Place<Visit>),
    server: Arc<Server>,
    shutdown: CancellationToken,
) {
    let peer = accepted.peer();
    let stream = match accepted {
        Accepted::Tcp(tcp, _) => net::Stream::Plain(tcp),
        Accepted::Unix(unix, _) => net::Stream::Other(Box::new(unix)),
    };
    // A stream of events says so when it begins; everything else is short.
    let lasting = visit.lasting.clone();
    let answer = service_fn({
        let (asked, lasting) = (visit.asked.clone(), lasting.clone());
        move |request: Request<Incoming>| {
            asked.cancel();
            let (request, _) = request.into_parts();
            let (server, lasting) = (Arc::clone(&server), lasting.clone());
            async move {
                Ok::<_, Infallible>(match Action::of(request.uri.path()) {
                    Some(action) => actions::answer(action, &request, peer, &*server.state).await,
                    None => answer::respond(&request, &server, &lasting),
                })
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        // One request each: scrapes and probes are seconds apart, and an idle connection takes a place.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = std::pin::pin!(connection);
    let served = async {
        tokio::select! {
            served = &mut connection => return served,
            () = place.left() => return Ok(()),
            () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    };
    let mut served = std::pin::pin!(served);
    let mut within = timeout(CONNECTION_TIMEOUT, &mut served).await;
    if within.is_err() && lasting.is_cancelled() {
        within = timeout(stream::LONGEST, served).await;
    }
    match within {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin connection failed"),
        Err(_) => tracing::debug!("admin connection timed out"),
    }
}

#[cfg(test)]
mod tests;
