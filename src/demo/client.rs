//! A legacy client: it speaks version 2 of the protocol as JSON, and has one token for life.
//!
//! ```text
//!   dial ──► CONNECTED ──► ATTACH ──► ATTACHED ──► a numbered message, a few times a second ◄─┐
//!                                                     └── its ACK, its echo ──────────────────┘
//!   DISCONNECTED, ERROR, a close ──► down, and it stays down
//! ```
//!
//! Rules: it knows nothing of refreshing a token, so it passes over the service's request for
//! another one; it is the same client whether it is told to dial the service or the sidecar; what it
//! has to say goes on after its connection has ended, and is counted as not sent.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{MissedTickBehavior, interval, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message},
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{
    place::Place,
    tally::{Ended, Reason, Tally},
};
use crate::clock;

/// How often it has something to say.
const EVERY: Duration = Duration::from_millis(200);
/// How long it waits for its dial.
const DIAL: Duration = Duration::from_secs(10);
/// How long it waits for what is on its way before it leaves, and then for the answer to its CLOSE.
const SETTLE: Duration = Duration::from_secs(2);
/// Longer than a close that follows DISCONNECTED takes.
const FAREWELL: Duration = Duration::from_secs(1);

/// The actions that it knows (TR2).
mod action {
    pub(super) const ACK: u64 = 1;
    pub(super) const NACK: u64 = 2;
    pub(super) const CONNECTED: u64 = 4;
    pub(super) const DISCONNECTED: u64 = 6;
    pub(super) const CLOSE: u64 = 7;
    pub(super) const CLOSED: u64 = 8;
    pub(super) const ERROR: u64 = 9;
    pub(super) const ATTACH: u64 = 10;
    pub(super) const ATTACHED: u64 = 11;
    pub(super) const MESSAGE: u64 = 15;
    pub(super) const AUTH: u64 = 17;
}

type Socket = WebSocketStream<TcpStream>;

/// One client, and what it sees.
#[derive(Clone)]
pub(super) struct Client {
    tally: Arc<Mutex<Tally>>,
    channel: Arc<str>,
}

/// What a message of the service leads to.
enum Step {
    GoOn,
    Say(Value),
    /// The channel is attached to: there may be messages from now on.
    Ready,
    /// The service has answered the client's CLOSE.
    Closed,
    Over(Reason),
}

impl Client {
    /// A client of the channel `channel`, not yet connected.
    pub(super) fn new(channel: impl Into<Arc<str>>) -> Self {
        Self { tally: Arc::default(), channel: channel.into() }
    }

    /// What it has seen so far.
    pub(super) fn tally(&self) -> Tally {
        self.lock().clone()
    }

    /// Connects and publishes until `finish`; then it waits for what is on its way, and leaves. Where it is
    /// dropped, it stays down.
    pub(super) async fn run(self, place: Place, token: Zeroizing<String>, finish: CancellationToken) {
        if self.once(&place, &token, &finish).await != Ended::Left {
            finish.run_until_cancelled(self.stay_down()).await;
        }
    }

    /// The same for one connection: how it ended.
    pub(super) async fn once(&self, place: &Place, token: &str, finish: &CancellationToken) -> Ended {
        let dialled = finish.run_until_cancelled(timeout(DIAL, dial(place, token))).await;
        let ended = match dialled {
            // Nothing was said yet.
            None => Ok(()),
            Some(Ok(Ok(mut socket))) => self.talk(&mut socket, finish).await,
            Some(Ok(Err(error))) => Err(reason(format!("cannot connect: {error}"))),
            Some(Err(_)) => Err(reason("cannot connect: no answer in time".to_owned())),
        };
        let ended = match ended {
            Ok(()) => Ended::Left,
            Err(reason) => Ended::Dropped(clock::now(), reason),
        };
        self.lock().ended = Some(ended.clone());
        ended
    }

    /// Publishes until it is told to leave; an error is the connection's end.
    async fn talk(&self, socket: &mut Socket, finish: &CancellationToken) -> Result<(), Reason> {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut ready = false;
        loop {
            tokio::select! {
                () = finish.cancelled() => return self.leave(socket).await,
                _ = tick.tick(), if ready => {
                    let publish = self.publish();
                    say(socket, &publish).await?;
                }
                step = self.hear(socket) => match step {
                    Step::GoOn | Step::Closed => {}
                    Step::Say(frame) => say(socket, &frame).await?,
                    Step::Ready => ready = true,
                    Step::Over(reason) => {
                        // What the service has to say last was said; the close only follows.
                        let _ = timeout(FAREWELL, socket.close(None)).await;
                        return Err(reason);
                    }
                }
            }
        }
    }

    /// Waits for what is on its way, then closes the connection.
    async fn leave(&self, socket: &mut Socket) -> Result<(), Reason> {
        let deadline = clock::now() + SETTLE;
        while !self.lock().is_settled() {
            match timeout_at(deadline, self.hear(socket)).await {
                Ok(Step::Over(reason)) => return Err(reason),
                Ok(Step::GoOn | Step::Say(_) | Step::Ready | Step::Closed) => {}
                Err(_) => break,
            }
        }
        say(socket, &json!({ "action": action::CLOSE })).await?;
        let deadline = clock::now() + SETTLE;
        // However it ends now, it is the client that ends it.
        while let Ok(Step::GoOn | Step::Say(_) | Step::Ready) = timeout_at(deadline, self.hear(socket)).await
        {
        }
        let _ = timeout(FAREWELL, socket.close(None)).await;
        Ok(())
    }

    /// What there is to say has nowhere to go.
    pub(super) async fn stay_down(&self) {
        let mut tick = interval(EVERY);
        loop {
            tick.tick().await;
            self.lock().unsent += 1;
        }
    }

    fn publish(&self) -> Value {
        let number = self.lock().send(clock::now());
        json!({
            "action": action::MESSAGE,
            "channel": &*self.channel,
            "msgSerial": number,
            "messages": [{ "name": "number", "data": number.to_string() }],
        })
    }

    /// Waits for the service's next message.
    async fn hear(&self, socket: &mut Socket) -> Step {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                Ok(frame) => self.take(&frame),
                Err(error) => Step::Over(reason(format!("what was received is no JSON: {error}"))),
            },
            Some(Ok(Message::Close(Some(close)))) => {
                let why = format!("closed with {} {}", close.code, close.reason);
                Step::Over(reason(why.trim_end().to_owned()))
            }
            Some(Ok(Message::Close(None))) | None => Step::Over(reason("closed without a word".to_owned())),
            Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                Step::GoOn
            }
            Some(Err(error)) => Step::Over(reason(error.to_string())),
        }
    }

    fn take(&self, frame: &Value) -> Step {
        let number = |name: &str| frame[name].as_u64();
        let mut tally = self.lock();
        match number("action") {
            Some(action::CONNECTED) => {
                let id = frame["connectionId"].as_str().unwrap_or_default().to_owned();
                if tally.connected.is_some() {
                    tally.reconnected += 1;
                } else {
                    tally.connected = Some((id, clock::now()));
                }
                return Step::Say(json!({ "action": action::ATTACH, "channel": &*self.channel }));
            }
            Some(action::ATTACHED) => return Step::Ready,
            Some(action::ACK) => {
                let (first, count) = (number("msgSerial"), number("count"));
                tally.acknowledge(first.unwrap_or_default(), count.unwrap_or(1), clock::now());
            }
            Some(action::NACK) => {
                let (first, count) = (number("msgSerial"), number("count"));
                tally.refuse(first.unwrap_or_default(), count.unwrap_or(1));
            }
            Some(action::MESSAGE) => {
                for message in frame["messages"].as_array().into_iter().flatten() {
                    let echoed = message["data"].as_str().and_then(|text| text.parse().ok());
                    echoed.into_iter().for_each(|number| tally.echo(number));
                }
            }
            Some(action::AUTH) => tally.asked += 1,
            Some(action::CLOSED) => return Step::Closed,
            Some(action::DISCONNECTED | action::ERROR) => {
                let error = &frame["error"];
                let message = error["message"].as_str().unwrap_or("for no reason given").to_owned();
                return Step::Over(Reason { code: error["code"].as_u64(), message });
            }
            Some(_) | None => {}
        }
        Step::GoOn
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn dial(place: &Place, token: &str) -> Result<Socket, tungstenite::Error> {
    let stream = TcpStream::connect(place.authority()).await?;
    stream.set_nodelay(true)?;
    let token: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
    let request = place.with_query(&format!("v=2&format=json&access_token={token}"));
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    Ok(socket)
}

async fn say(socket: &mut Socket, frame: &Value) -> Result<(), Reason> {
    let sent = socket.send(Message::text(frame.to_string())).await;
    sent.map_err(|error| reason(error.to_string()))
}

fn reason(message: String) -> Reason {
    Reason { code: None, message }
}
