//! The listener: sockets of clients become requests, with a deadline on every stage.

use std::{convert::Infallible, fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{gate, route::RouteContext, upgrade};
use crate::{
    clock,
    config::Limits,
    net::{ServerTls, Stream},
};

/// Bytes that the head of a request may have (RFC 9110 leaves it to us), and its headers.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 100;
/// Characters of a path that a log line shows.
const SHOWN: usize = 100;
/// How long what was written to a client may stay unacknowledged by its host.
#[cfg(target_os = "linux")]
const VANISHED: Duration = Duration::from_secs(30);
/// A pause after an accept that failed: out of file descriptors, it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the listener serves.
#[derive(Debug)]
pub struct Proxy {
    pub limits: Limits,
    /// Longest path first.
    pub routes: Vec<Arc<RouteContext>>,
    /// One permit for each session.
    pub sessions: Arc<Semaphore>,
    /// Every task of the proxy: shutdown waits for them.
    pub tasks: TaskTracker,
    pub tls: Option<ServerTls>,
}

impl Proxy {
    /// The route of a path, as [`gate::meant`] gives it: the longest prefix that ends at a segment.
    pub(super) fn route(&self, path: &str) -> Option<&Arc<RouteContext>> {
        let serves = |prefix: &str| gate::meant(prefix).is_some_and(|prefix| is_under(path, &prefix));
        self.routes.iter().find(|context| serves(&context.route.path))
    }
}

/// Is `path` the prefix itself, or below it?
fn is_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a peer named, for the log: the beginning of it, and nothing that would not print as it is.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = self.0.char_indices().nth(SHOWN).map_or(self.0.len(), |(at, _)| at);
        write!(f, "{}{}", self.0[..cut].escape_debug(), if cut < self.0.len() { "…" } else { "" })
    }
}

/// Accepts until `stop`; sessions outlive it.
pub async fn serve(listener: TcpListener, proxy: Arc<Proxy>, stop: CancellationToken) {
    // Handshakes are bounded beside sessions: who never finishes one must not keep the others out.
    let handshakes = Arc::new(Semaphore::new(proxy.limits.sessions.saturating_add(64)));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => {
                let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
                    tracing::warn!("too many handshakes at once; a client was turned away");
                    continue;
                };
                let (tasks, proxy, stop) = (proxy.tasks.clone(), Arc::clone(&proxy), stop.clone());
                tasks.spawn(async move {
                    if let Err(error) = connection(tcp, peer, proxy, stop).await {
                        tracing::debug!(%error, "a client's handshake ended");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One socket, until its handshake is over.
async fn connection(
    tcp: TcpStream,
    peer: SocketAddr,
    proxy: Arc<Proxy>,
    stop: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    tune(&tcp)?;
    let limit = proxy.limits.handshake;
    let now = clock::now();
    let stream = match &proxy.tls {
        Some(tls) => tls.accept(tcp, now, now + limit).await?,
        None => Stream::Plain(tcp),
    };
    let service = service_fn(move |request| {
        let proxy = Arc::clone(&proxy);
        async move {
            tracing::debug!(%peer, path = %Shown(request.uri().path()), "request");
            Ok::<_, Infallible>(Box::pin(upgrade::serve(proxy, request)).await)
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    // Twice: reading the head, and answering it.
    let done = tokio::time::timeout(limit * 2 + Duration::from_secs(1), connection);
    tokio::select! {
        done = done => Ok(done??),
        () = stop.cancelled() => Ok(()),
    }
}

/// No delay, and an end for a client that vanished.
fn tune(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(VANISHED))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_under;

    #[test]
    fn a_prefix_ends_at_a_segment() {
        for (path, prefix, expected) in [
            ("/", "/", true),
            ("/a/b", "/", true),
            ("/a", "/a", true),
            ("/a/b", "/a/", true),
            ("/ab", "/a", false),
            ("/", "/a", false),
        ] {
            assert_eq!(is_under(path, prefix), expected, "{path} under {prefix}");
        }
    }
}
