//! The listener: sockets of clients become requests, with a deadline on every stage.

use std::{borrow::Cow, convert::Infallible, fmt, io, pin::pin, sync::Arc, time::Duration};

use ::http::Request;
use arc_swap::ArcSwap;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    answer::Answer,
    body::AnswerBody,
    client::Client,
    crowd::Crowd,
    http,
    pace::{Pace, Paced},
    places::Places,
    prelude::{self, Odd},
    route::RouteContext,
    shape,
    tally::{Turned, draining},
    upgrade,
};
use crate::{
    clock,
    config::{self, Limits, Listen},
    net::{Accepted, Listener, Peer, ServerTls, Stream, room::Room},
    telemetry::{Handshake, HandshakeMetrics},
};

/// Headers that a request may have.
const MAX_HEADERS: usize = 100;
/// Characters of a path that a log line shows.
const SHOWN: usize = 100;
/// How long what was written to a client may stay unacknowledged by its host.
#[cfg(target_os = "linux")]
const VANISHED: Duration = Duration::from_secs(30);
/// How long a client without the secret waits for its answer: so many guesses a second has a connection.
const GUESS_PAUSE: Duration = Duration::from_millis(500);
/// How long a client that has not been answered at the stop has to ask, and to be told that nobody is served any more.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A pause after an accept that failed: out of file descriptors, it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the listener serves.
#[derive(Debug)]
pub struct Proxy {
    pub limits: Limits,
    /// Clients' connections at once that are no session's.
    pub connections: usize,
    /// Where these are.
    pub hall: Hall,
    /// Longest path first.
    pub routes: Vec<Arc<RouteContext>>,
    pub listen: Listen,
    /// One for each session.
    pub sessions: Arc<Places>,
    /// One for each plain request in flight.
    pub requests: Arc<Places>,
    /// What each client address has of them.
    pub crowd: Arc<Crowd>,
    /// Handshakes of no route.
    pub nowhere: Arc<HandshakeMetrics>,
    /// Every task of the proxy: shutdown waits for them.
    pub tasks: TaskTracker,
    pub tls: Option<Arc<ServerTls>>,
}

/// Clients' connections that are no session's: of all listeners together, and of those before a reload.
#[derive(Debug, Clone, Default)]
pub struct Hall(Arc<Room<Pace>>);

impl Proxy {
    /// The route of a path, as [`config::meant`] gives it: the longest prefix that ends at a segment.
    pub(super) fn route(&self, path: &str) -> Option<&Arc<RouteContext>> {
        let serves = |prefix: &str| config::meant(prefix).is_some_and(|prefix| is_under(path, &prefix));
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

/// Accepts until `stop`; sessions outlive it. Each request is served by what is current when it comes.
pub async fn serve(listener: Arc<Listener>, current: Arc<ArcSwap<Proxy>>, stop: CancellationToken) {
    if let Some(Err(error)) = listener.as_tcp().map(|tcp| tune(&SockRef::from(tcp))) {
        tracing::warn!(%error, "the listener's sockets keep the system's settings");
    }
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => {
                let peer = accepted.peer();
                let proxy = current.load_full();
                let pace = Arc::new(Pace::new(proxy.limits.handshake, clock::now()));
                // They are bounded beside sessions: who never finishes a handshake must not keep the others out.
                let Some(place) = proxy.hall.0.enter(Arc::clone(&pace), proxy.connections) else {
                    proxy.nowhere.count(Handshake::Limit);
                    tracing::warn!(client = %peer, "too many connections at once; a client was turned away");
                    continue;
                };
                let (current, stop, nowhere) =
                    (Arc::clone(&current), stop.clone(), Arc::clone(&proxy.nowhere));
                proxy.tasks.spawn(async move {
                    let mut served = pin!(connection(accepted, Arc::clone(&pace), current, stop));
                    let ended = tokio::select! {
                        ended = &mut served => ended,
                        () = place.left() => Err(NotServed::other("it made room for another")),
                        () = pace.session() => {
                            // It has one of `limits.sessions` instead.
                            drop(place);
                            served.await
                        }
                    };
                    if let Err(not_served) = ended {
                        not_served.tell(&nowhere, &peer);
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Why a connection came to nothing.
enum NotServed {
    /// What it says is no HTTP, or not what this port speaks: it has no request that could be turned away.
    Unreadable(Cow<'static, str>, bool),
    Ended(Box<dyn std::error::Error + Send + Sync>),
}

impl NotServed {
    fn other(why: &'static str) -> Self {
        Self::Ended(why.into())
    }

    fn tell(self, nowhere: &HandshakeMetrics, client: &Peer) {
        match self {
            Self::Ended(error) => tracing::debug!(%client, %error, "a client's connection ended"),
            Self::Unreadable(why, in_front) => {
                nowhere.count(Handshake::BadRequest);
                let turned = Turned::new(Handshake::BadRequest, "", why);
                Turned { in_front, ..turned }.log(client);
            }
        }
    }
}

impl From<hyper::Error> for NotServed {
    fn from(error: hyper::Error) -> Self {
        match error.is_parse() {
            true => Self::Unreadable(error.to_string().into(), false),
            false => Self::Ended(error.into()),
        }
    }
}

impl From<Odd> for NotServed {
    fn from(odd: Odd) -> Self {
        match odd {
            Odd::Speaks(why) => Self::Unreadable(why.into(), true),
            Odd::Failed(error) if error.kind() == io::ErrorKind::InvalidData => {
                Self::Unreadable(error.to_string().into(), true)
            }
            Odd::Failed(error) => Self::Ended(error.into()),
        }
    }
}

/// One socket: what it begins with, its TLS handshake, and what follows.
async fn connection(
    accepted: Accepted,
    pace: Arc<Pace>,
    current: Arc<ArcSwap<Proxy>>,
    stop: CancellationToken,
) -> Result<(), NotServed> {
    let (mut tcp, peer) = match accepted {
        Accepted::Tcp(tcp, peer) => (tcp, peer),
        Accepted::Unix(unix, peer) => {
            return talk(Stream::Other(Box::new(unix)), (peer, pace), current, stop).await;
        }
    };
    #[cfg(not(target_os = "linux"))]
    tune(&SockRef::from(&tcp)).map_err(Odd::Failed)?;
    let proxy = current.load_full();
    let deadline = clock::now() + proxy.limits.handshake;
    let looked = tokio::time::timeout_at(deadline, prelude::look(&mut tcp, peer, &proxy.listen));
    let peer = match stop.run_until_cancelled(looked).await {
        Some(Ok(looked)) => looked?,
        Some(Err(_)) => return Err(NotServed::other("it said nothing in time")),
        // It has a moment to ask, and to be told.
        None => peer.into(),
    };
    let stream = match &proxy.tls {
        Some(tls) => {
            let accepted = tls.accept(tcp, clock::now(), deadline).await;
            accepted.map_err(|error| NotServed::Ended(error.into()))?
        }
        None => Stream::Plain(tcp),
    };
    drop(proxy);
    pace.secured(clock::now());
    talk(stream, (peer, pace), current, stop).await
}

/// Serves one client on a stream whose TLS handshake is over, until it is a session's or has ended.
pub async fn converse(stream: Stream, peer: Peer, current: Arc<ArcSwap<Proxy>>, stop: CancellationToken) {
    let pace = Arc::new(Pace::new(current.load().limits.handshake, clock::now()));
    // Its peer has been told what there was to be told.
    let _ = talk(stream, (peer, pace), current, stop).await;
}

async fn talk(
    stream: Stream,
    (peer, pace): (Peer, Arc<Pace>),
    current: Arc<ArcSwap<Proxy>>,
    stop: CancellationToken,
) -> Result<(), NotServed> {
    let proxy = current.load_full();
    let (limit, head, drain) = (proxy.limits.handshake, proxy.limits.head, proxy.limits.drain);
    let tls = matches!(stream, Stream::TlsServer(_));
    let stream = Paced::new(stream, Arc::clone(&pace));
    // What it was accepted under may be replaced while it lasts.
    drop(proxy);
    let service = service_fn({
        let (pace, stop) = (Arc::clone(&pace), stop.clone());
        move |request| {
            let (proxy, pace, stop) = (current.load_full(), Arc::clone(&pace), stop.clone());
            async move {
                tracing::debug!(client = %peer, path = %Shown(request.uri().path()), "request");
                let client = Client::of(&request, peer, tls, &proxy.listen.trusted_proxies);
                Ok::<_, Infallible>(answer(proxy, request, &client, (&pace, stop)).await)
            }
        }
    });
    let mut builder = http1::Builder::new();
    // The pace is what has deadlines: hyper's own for a head would count the wait for the next request too.
    builder.header_read_timeout(None).max_headers(MAX_HEADERS).max_buf_size(head);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = pin!(connection);
    let mut stopped = pin!(stop.cancelled());
    let mut last = None;
    // The timer is never later than what is due. That it was too early is found out when it fires.
    let mut timer = pin!(tokio::time::sleep(limit));
    loop {
        let due = [pace.deadline(), last].into_iter().flatten().min();
        if let Some(due) = due.filter(|due| timer.is_elapsed() || *due < timer.deadline()) {
            timer.as_mut().reset(due);
        }
        tokio::select! {
            biased;
            done = connection.as_mut() => return Ok(done?),
            () = stopped.as_mut(), if last.is_none() => {
                let takes_time = pace.takes_time();
                if takes_time {
                    connection.as_mut().graceful_shutdown();
                }
                // Who asks now, or is about to, is told to come again, and that is the last answer.
                last = Some(clock::now() + if takes_time { drain } else { LAST_WORDS });
            }
            () = pace.changed() => {}
            () = timer.as_mut(), if !timer.is_elapsed() => {
                let late = [pace.deadline(), last].into_iter().flatten().any(|due| due <= clock::now());
                if late {
                    return Err(NotServed::other("it took too long, or nothing moved on it"));
                }
            }
        }
    }
}

/// Answers one request, and says what is to be expected of the connection then.
async fn answer(
    proxy: Arc<Proxy>,
    request: Request<Incoming>,
    client: &Client,
    (pace, stop): (&Arc<Pace>, CancellationToken),
) -> Answer {
    let plain = !shape::is_handshake(&request);
    pace.asked(plain, clock::now());
    let answer = if stop.is_cancelled() && plain {
        draining()
    } else if plain {
        Box::pin(http::serve(&proxy, request, client, pace)).await
    } else {
        Box::pin(upgrade::serve(proxy, request, client, (pace, stop))).await
    };
    if let Some(turned) = answer.extensions().get::<Turned>() {
        turned.log(&client.address);
        if turned.outcome == Handshake::Unauthorized {
            tokio::time::sleep(GUESS_PAUSE).await;
        }
    }
    match answer.body() {
        AnswerBody::Own(_) => pace.ending(clock::now()),
        AnswerBody::Passed(_) => pace.answering(clock::now()),
    }
    answer
}

/// No delay, and an end for a client that vanished. On Linux what a listener has, its connections have (tcp(7)).
fn tune(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(VANISHED))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;
    use tokio::net::{TcpListener, TcpStream};

    use super::{VANISHED, is_under, tune};

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_the_listener_has_its_connections_have() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        tune(&SockRef::from(&listener)).unwrap();
        let address = listener.local_addr().unwrap();
        let (_client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (accepted, _) = accepted.unwrap();
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(VANISHED));
    }

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
