//! Connections to one service, kept between requests.
//!
//! ```text
//!   request ──► an idle connection, or Dialer::connect ──► HTTP/1.1 ──► the answer's head; its body streams
//!                    ▲                                                        │
//!                    └──────────── idle again, once the body has ended ◄──────┘
//! ```
//!
//! A request that is sent again goes past the idle ones, on a connection that is made for it and for nothing else.
//!
//! 1. Dialling is the one dialer's business: the pool's own resolver, TLS and proxies are not used.
//! 2. Idle connections are few and are not kept for long: a service that closes one just as a request goes
//!    out on it is met seldom, and the caller may ask again, alone, where asking twice is harmless. Where one
//!    idle connection was closed, the next idle one may well be too: a service that restarted closed all.
//! 3. After a minute a connection takes no further request: a name that has moved is followed, also by requests that
//!    never stop. An address that gave no answer is dialled last for a while (`addresses`).
//! 4. Every task of a connection is on the tracker that was handed in, and ends with `stop`.
//! 5. A redirect is an answer like any other, here as in [`super::http`].

use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderValue, Request, Response, Uri, header, uri::PathAndQuery};
use hyper::{
    body::{Body, Incoming},
    client::conn::http1,
    rt::Executor,
};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{CaptureConnection, Connected, Connection, capture_connection},
    },
    rt::{TokioIo, TokioTimer},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service;

use super::{DialError, Dialer, Stream};
use crate::clock::{self, Instant};

/// Connections kept without a request on them, and for how long: Node's own servers let go of theirs after
/// five seconds, and who lets go first is never met by a request.
const MAX_IDLE: usize = 32;
const IDLE: Duration = Duration::from_secs(4);
/// A connection takes no further request after this time.
const LIFE: Duration = Duration::from_secs(60);
/// A caller that leaves after this time without an answer was not answered.
const SILENT: Duration = Duration::from_secs(2);
/// How long bytes may stay unacknowledged before the connection counts as lost.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(60);
/// The head of an answer may be this long, and have so many headers; more of a body is not read ahead.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 200;

/// Connections to one service.
pub struct Pool<B> {
    client: Client<Dial, B>,
    dial: Dial,
    tasks: Tracked,
    authority: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error("{0}")]
    Dial(String),
    /// It was reached, and no answer came of it.
    #[error("HTTP with {host}: {cause}")]
    Exchange { host: String, cause: String },
    #[error("the request cannot be written: {0}")]
    Request(#[from] http::Error),
}

impl<B> Pool<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A pool that takes `connect` for a connection at the most.
    pub fn new(dialer: Dialer, connect: Duration, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let authority = dialer.authority();
        let (dial, tasks) = (Dial { dialer, connect }, Tracked { tasks, stop });
        let client = Client::builder(tasks.clone())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .http1_max_buf_size(MAX_HEAD)
            .http1_max_headers(MAX_HEADERS)
            .set_host(false)
            .build(dial.clone());
        Self { client, dial, tasks, authority }
    }

    /// Sends a request, whose URI is in origin form; `Host` is the service's, unless the request has one.
    pub async fn send(&self, mut request: Request<B>) -> Result<Response<Incoming>, PoolError> {
        let target = request.uri().path_and_query().cloned();
        // The scheme only tells the pools of one client apart: whether there is TLS is the dialer's to know.
        *request.uri_mut() = Uri::builder()
            .scheme("http")
            .authority(&*self.authority)
            .path_and_query(target.unwrap_or_else(|| PathAndQuery::from_static("/")))
            .build()?;
        self.name_host(request.headers_mut())?;
        let mut used = Use::of(&mut request, &self.dial.dialer);
        // The future of a client is a large one.
        let answer = Box::pin(self.client.request(request)).await;
        used.ended(answer.is_ok());
        answer.map_err(|error| self.failed(&error))
    }

    /// The same on a connection of its own, which is made for it and is not kept.
    pub async fn send_alone(&self, mut request: Request<B>) -> Result<Response<Incoming>, PoolError> {
        self.name_host(request.headers_mut())?;
        let stream = self.dial.connect().await.map_err(|error| PoolError::Dial(error.to_string()))?;
        let peer = stream.inner().peer();
        let failed = |error: hyper::Error| {
            self.dial.dialer.blame(peer);
            self.failed(&error)
        };
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .handshake(stream)
            .await
            .map_err(failed)?;
        self.tasks.execute(async move {
            // What goes wrong with it, the one request or its body says.
            let _ = connection.await;
        });
        sender.send_request(request).await.map_err(failed)
    }

    /// The service's own, if the request names none.
    fn name_host(&self, headers: &mut HeaderMap) -> Result<(), PoolError> {
        if !headers.contains_key(header::HOST) {
            headers.insert(header::HOST, HeaderValue::from_str(&self.authority).map_err(http::Error::from)?);
        }
        Ok(())
    }

    fn failed(&self, error: &(dyn std::error::Error + 'static)) -> PoolError {
        let mut said = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            if let Some(dial) = inner.downcast_ref::<DialError>() {
                return PoolError::Dial(dial.to_string());
            }
            said = format!("{said}: {inner}");
            cause = inner.source();
        }
        PoolError::Exchange { host: self.authority.clone(), cause: said }
    }
}

impl<B> fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({})", self.authority)
    }
}

/// The dialer, as the pool wants to call it.
#[derive(Clone)]
struct Dial {
    dialer: Dialer,
    connect: Duration,
}

impl Dial {
    async fn connect(&self) -> Result<TokioIo<Stream>, DialError> {
        let stream = self.dialer.connect(clock::now() + self.connect).await?;
        #[cfg(target_os = "linux")]
        if let Some(tcp) = stream.tcp() {
            // Best effort: without it the deadline of the answer ends the wait.
            let _ = socket2::SockRef::from(tcp).set_tcp_user_timeout(Some(USER_TIMEOUT));
        }
        Ok(TokioIo::new(stream))
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Stream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move { dial.connect().await })
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().extra(Made { at: clock::now(), peer: self.peer() })
    }
}

/// What is known of a connection of the pool.
#[derive(Clone, Copy)]
struct Made {
    at: Instant,
    peer: Option<SocketAddr>,
}

/// The use of a connection for one request, until the head of its answer.
struct Use<'p> {
    dialer: &'p Dialer,
    connection: CaptureConnection,
    began: Instant,
    ended: bool,
}

impl<'p> Use<'p> {
    fn of<B>(request: &mut Request<B>, dialer: &'p Dialer) -> Self {
        Self { dialer, connection: capture_connection(request), began: clock::now(), ended: false }
    }

    fn made(&self) -> Option<Made> {
        let mut extras = Extensions::new();
        self.connection.connection_metadata().as_ref()?.get_extras(&mut extras);
        extras.remove()
    }

    /// There was an answer, or an error.
    fn ended(&mut self, well: bool) {
        self.ended = true;
        let Some(made) = self.made() else { return };
        if !well {
            return self.blame(made);
        }
        // It may lie idle for a while before the next request: that one would come too late.
        if clock::now() + IDLE >= made.at + LIFE
            && let Some(connection) = &*self.connection.connection_metadata()
        {
            connection.poison();
        }
    }

    /// An older connection may have ended for any reason: that it was idle, or that the service restarted.
    fn blame(&self, made: Made) {
        if made.at >= self.began {
            self.dialer.blame(made.peer);
        }
    }
}

/// The caller has given up.
impl Drop for Use<'_> {
    fn drop(&mut self) {
        let Some(made) = self.made().filter(|_| !self.ended) else { return };
        if clock::now() >= self.began + SILENT {
            self.blame(made);
        }
    }
}

/// Where the tasks of connections run.
#[derive(Clone)]
struct Tracked {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tracked {
    fn execute(&self, work: F) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(Box::pin(work)).await;
        });
    }
}

#[cfg(test)]
mod tests;
