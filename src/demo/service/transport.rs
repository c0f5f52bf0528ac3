//! One WebSocket: moves messages between the socket and the hub, and decides nothing.
//!
//! ```text
//!   control ──► reset, drop, silence            first: an order does not queue behind data
//!   frames  ──► socket                          as far as the socket takes them
//!   socket  ──► hub.receive                     never waits for the writing
//! ```
//!
//! Reading goes on while writing is blocked: a client that waits for us to read before it reads
//! would otherwise hang, and the service would look dead where it is only slow.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Sink, Stream};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, error::ProtocolError},
};
use tokio_util::sync::CancellationToken;

use super::{connection::TransportId, hub::Shared};

/// How long a client has to answer our close.
const CLOSING: Duration = Duration::from_secs(2);
/// How long a silenced socket stays open when its transport is over: longer than any client waits.
const ABANDONED: Duration = Duration::from_secs(60);

/// What a fault orders of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    /// End with a TCP reset.
    Reset,
    /// End without a WebSocket close.
    Drop,
    /// Neither read nor write.
    Silence,
    /// Read and write again.
    Speak,
}

/// A socket with its end of the hub's line.
pub(super) struct Wire {
    pub(super) socket: WebSocketStream<TcpStream>,
    pub(super) frames: mpsc::Receiver<Message>,
    pub(super) control: mpsc::Receiver<Control>,
}

/// What happened on a wire.
enum Step {
    Received(Message),
    Ordered(Control),
    /// The hub has let go of the transport: there is nothing more to take from the line.
    LetGo,
    Ended(Option<String>),
}

/// Serves a transport until its socket ends.
pub(super) async fn run(mut wire: Wire, id: TransportId, shared: Shared, stop: CancellationToken) {
    let mut state = State::default();
    let closing = tokio::time::sleep(CLOSING);
    tokio::pin!(closing);
    loop {
        let step = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = &mut closing, if state.let_go => break,
            step = poll_fn(|cx| wire.poll_step(&mut state, cx)) => step,
        };
        match step {
            Step::Received(message) => match message {
                Message::Text(_) | Message::Binary(_) => shared.lock().receive(id, &message),
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
            },
            Step::Ordered(Control::Silence) => state.silent = true,
            Step::Ordered(Control::Speak) => state.silent = false,
            Step::Ordered(Control::Drop) => break,
            Step::Ordered(Control::Reset) => {
                let socket = socket2::SockRef::from(wire.socket.get_ref());
                if let Err(error) = socket.set_linger(Some(Duration::ZERO)) {
                    tracing::debug!(%error, "no reset, only an end");
                }
                break;
            }
            Step::LetGo => {
                state.let_go = true;
                let rest = if state.silent { ABANDONED } else { CLOSING };
                closing.as_mut().reset(crate::clock::now() + rest);
            }
            Step::Ended(breach) => {
                if let Some(breach) = breach {
                    shared.ledger.violation(breach);
                }
                break;
            }
        }
    }
    shared.lock().lost(id);
}

#[derive(Default)]
struct State {
    silent: bool,
    let_go: bool,
    /// The hub dropped its end of the line of orders.
    unordered: bool,
}

impl Wire {
    fn poll_step(&mut self, state: &mut State, cx: &mut Context<'_>) -> Poll<Step> {
        if !state.unordered {
            match self.control.poll_recv(cx) {
                Poll::Ready(Some(control)) => return Poll::Ready(Step::Ordered(control)),
                Poll::Ready(None) => state.unordered = true,
                Poll::Pending => {}
            }
        }
        if state.silent {
            let over = state.unordered && !state.let_go;
            return if over { Poll::Ready(Step::LetGo) } else { Poll::Pending };
        }
        if !state.let_go
            && let Poll::Ready(step) = self.poll_feed(cx)
        {
            return Poll::Ready(step);
        }
        // An error shows again at the read.
        let _ = Pin::new(&mut self.socket).poll_flush(cx);
        match Pin::new(&mut self.socket).poll_next(cx) {
            Poll::Ready(Some(Ok(message))) => Poll::Ready(Step::Received(message)),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Step::Ended(breach(&error))),
            Poll::Ready(None) => Poll::Ready(Step::Ended(None)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Takes from the line what the socket takes; ready only where there will be no more.
    fn poll_feed(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let mut socket = Pin::new(&mut self.socket);
        loop {
            // Of a socket that takes no more, the read finds out why.
            match socket.as_mut().poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Step::LetGo),
                Poll::Pending => return Poll::Pending,
            }
            match self.frames.poll_recv(cx) {
                Poll::Ready(Some(message)) => {
                    if socket.as_mut().start_send(message).is_err() {
                        return Poll::Ready(Step::LetGo);
                    }
                }
                Poll::Ready(None) => return Poll::Ready(Step::LetGo),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// What no client may do to a WebSocket; losing it is no breach.
fn breach(error: &Error) -> Option<String> {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(what) => Some(format!("WebSocket: {what}")),
        Error::Utf8(_) => Some("WebSocket: text that is no UTF-8".into()),
        Error::Capacity(what) => Some(format!("WebSocket: {what}")),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Io(_)
        | Error::Tls(_)
        | Error::WriteBufferFull(_)
        | Error::AttackAttempt
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_) => None,
    }
}
