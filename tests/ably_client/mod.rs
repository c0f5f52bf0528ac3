//! A raw Ably client on a real socket, for the tests: it says what it is told to, and is strict about
//! what it hears.
//!
//! ```text
//!   test ── attach, publish, send ──► Client ──► socket ──► the sidecar
//!           until, calm           ◄── Seen   ◄── task   ◄──
//! ```
//!
//! - `seen` judges each message as it comes: what was not asked for is a fault, unless it is expected.
//! - `wire` writes and reads the two formats.
//! - `world` is a service and a sidecar in this process.
//!
//! Tests wait for conditions; nothing here sleeps.

pub mod seen;
pub mod wire;
pub mod world;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, protocol::CloseFrame},
};

pub use seen::{Seen, action};
pub use wire::Format;

/// How long a condition may take to come: far longer than it does, for the sake of busy machines.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Messages on their way to the socket: few, so that a test feels the push of TCP.
const LINE: usize = 4;
/// Bytes that the kernel takes ahead of the sidecar.
const SEND_BUFFER: u32 = 32 * 1024;

/// Where and how a client connects.
#[derive(Debug, Clone)]
pub struct Dial {
    pub address: SocketAddr,
    pub format: Format,
    /// What it calls its messages; no two clients of a test share one.
    pub name: String,
    pub query: Vec<(String, String)>,
    /// It is going to be told an ERROR, and ended: known beforehand, for that may come at once.
    pub turned_away: bool,
}

impl Dial {
    /// As an SDK of protocol version 6 with a literal token that died long ago.
    pub fn new(address: SocketAddr, format: Format, name: &str) -> Self {
        let query = [("accessToken", "demo01.of-yesterday"), ("format", format.name()), ("v", "6")];
        let query = query.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        Self { address, format, name: name.to_owned(), query, turned_away: false }
    }

    /// With a parameter, in place of the one of its name.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.query.retain(|(name, _)| name != key);
        self.query.push((key.to_owned(), value.to_owned()));
        self
    }

    pub fn turned_away(mut self) -> Self {
        self.turned_away = true;
        self
    }

    pub fn without(mut self, key: &str) -> Self {
        self.query.retain(|(name, _)| name != key);
        self
    }

    fn url(&self) -> String {
        let mut url = url::Url::parse(&format!("ws://{}/", self.address)).unwrap();
        url.query_pairs_mut().extend_pairs(&self.query);
        url.into()
    }
}

/// Why there is no connection: the HTTP status, where there was one.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused(pub Option<u16>);

/// One client.
pub struct Client {
    pub dial: Dial,
    shared: Arc<Shared>,
    out: mpsc::Sender<Message>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: watch::Sender<()>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, act: impl FnOnce(&mut Seen) -> T) -> T {
        let done = act(&mut self.lock());
        self.changed.send_replace(());
        done
    }
}

impl Client {
    /// Connects, and waits for CONNECTED.
    pub async fn connect(dial: Dial) -> Self {
        let client = Self::open(dial).await.unwrap();
        client.until("it is connected", |seen| seen.connected > 0 || seen.ended.is_some()).await;
        client
    }

    /// Connects, as far as the WebSocket.
    pub async fn open(dial: Dial) -> Result<Self, Refused> {
        let shared = Arc::new(Shared::default());
        shared.lock().name.clone_from(&dial.name);
        Self::on(shared, dial).await
    }

    async fn on(shared: Arc<Shared>, dial: Dial) -> Result<Self, Refused> {
        shared.lock().begin();
        if dial.turned_away {
            shared.change(|seen| {
                seen.expect(action::ERROR);
                seen.leaving = true;
            });
        }
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(SEND_BUFFER).unwrap();
        let stream = socket.connect(dial.address).await.map_err(|_| Refused(None))?;
        stream.set_nodelay(true).unwrap();
        let socket = match tokio_tungstenite::client_async(dial.url(), stream).await {
            Ok((socket, _)) => socket,
            Err(Error::Http(response)) => return Err(Refused(Some(response.status().as_u16()))),
            Err(_) => return Err(Refused(None)),
        };
        let (out, line) = mpsc::channel(LINE);
        let tasks = tokio_util::task::TaskTracker::new();
        let running = run(socket, line, Arc::clone(&shared), dial.format);
        let task = tasks.spawn(running);
        Ok(Self { dial, shared, out, task })
    }

    /// Leaves without a word, as a process that was killed does.
    pub fn vanish(&self) {
        self.shared.lock().leaving = true;
        self.task.abort();
    }

    /// Comes back with this key, as an SDK does: attaches again from where it was, and sends again
    /// what was not acknowledged; under a new connection id it counts from zero.
    pub async fn come_back(&mut self, key: &str) {
        self.vanish();
        // What the old connection is still told must not count as heard on the new one.
        let _ = (&mut self.task).await;
        let dial = self.dial.clone().with("resume", key);
        *self = Self::on(Arc::clone(&self.shared), dial).await.unwrap();
        self.until("it is connected again", |seen| !seen.awaits_connected).await;
        for frame in self.shared.change(Seen::start_over) {
            self.put(frame).await;
        }
    }

    // ----- what it says

    /// Sends a message, after noting what it asks for; those that want it get their `msgSerial`.
    pub async fn send(&self, mut frame: Json) {
        self.shared.change(|seen| seen.sends(&mut frame));
        self.put(frame).await;
    }

    /// Says what no SDK says.
    pub async fn say(&self, message: Message) {
        let _ = self.out.send(message).await;
    }

    async fn put(&self, frame: Json) {
        // One whose connection has ended says so in what it has seen.
        let _ = self.out.send(self.dial.format.encode(&frame)).await;
    }

    /// Attaches, and waits for the answer.
    pub async fn attach(&self, channel: &str) {
        self.attach_with(json!({"action": action::ATTACH, "channel": channel})).await;
    }

    /// Attaches as this message says, and waits for the answer.
    pub async fn attach_with(&self, frame: Json) {
        let channel = frame["channel"].as_str().unwrap().to_owned();
        self.send(frame).await;
        self.until("it is attached", |seen| seen.is_attached(&channel)).await;
    }

    /// Publishes the next number on a channel.
    pub async fn publish(&self, channel: &str) {
        self.publish_padded(channel, "").await;
    }

    /// The same, with something that makes it large.
    pub async fn publish_padded(&self, channel: &str, pad: &str) {
        let number = self.shared.lock().next_number(channel);
        let data = if pad.is_empty() { json!(number) } else { json!({"n": number, "pad": pad}) };
        let messages = json!([{"name": self.dial.name, "data": data}]);
        self.send(json!({"action": action::MESSAGE, "channel": channel, "messages": messages})).await;
    }

    /// Enters a channel's presence, as the client it is.
    pub async fn enter(&self, channel: &str, data: &str) {
        let presence = json!([{"action": 2, "data": data}]);
        self.send(json!({"action": action::PRESENCE, "channel": channel, "presence": presence})).await;
    }

    pub async fn ping(&self, id: &str) {
        self.send(json!({"action": action::HEARTBEAT, "id": id})).await;
    }

    /// Its own AUTH, with a token that is long dead.
    pub async fn authorize(&self) {
        self.send(json!({"action": action::AUTH, "auth": {"accessToken": "demo01.of-yesterday"}})).await;
    }

    /// Says CLOSE, and waits for CLOSED and the end.
    pub async fn close(&self) {
        self.send(json!({"action": action::CLOSE})).await;
        self.until("it is closed", |seen| seen.closed && seen.ended.is_some()).await;
    }

    // ----- what it hears

    /// The next message of this action is to come; without this it is a fault.
    pub fn expect(&self, action: u64) {
        self.shared.lock().expect(action);
    }

    /// The end of the connection is to come.
    pub fn expect_end(&self) {
        self.shared.lock().leaving = true;
    }

    pub fn seen<T>(&self, ask: impl FnOnce(&Seen) -> T) -> T {
        ask(&self.shared.lock())
    }

    pub fn id(&self) -> String {
        self.seen(|seen| seen.id.clone())
    }

    /// The key that it was shown last.
    pub fn key(&self) -> String {
        self.seen(|seen| seen.key.clone())
    }

    /// Waits until it has seen what is asked for.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Seen) -> bool) {
        if tokio::time::timeout(PATIENCE, self.whenever(is_so)).await.is_err() {
            panic!("{}: waited for: {what}\n{}", self.dial.name, self.seen(Seen::story));
        }
    }

    /// The same, however long it takes.
    pub async fn whenever(&self, is_so: impl Fn(&Seen) -> bool) {
        let mut changes = self.shared.changed.subscribe();
        while !self.seen(&is_so) {
            changes.changed().await.unwrap();
        }
    }

    /// Waits until all that it published has been acknowledged, and has come back where it listens.
    pub async fn settled(&self) {
        self.until("everything is acknowledged", |seen| seen.unacked.is_empty()).await;
        self.until("everything has come back", Seen::is_echoed).await;
    }

    /// Waits until it heard so many messages of the service's own on a channel.
    pub async fn heard(&self, channel: &str, count: u64) {
        self.until("the service's messages", |seen| seen.heard(channel, "service") >= count).await;
    }

    /// Fails if there was anything that a client must not see.
    pub fn calm(&self) {
        self.seen(|seen| assert!(seen.faults.is_empty(), "{}:\n{}", self.dial.name, seen.story()));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Moves messages between the socket and what was seen.
async fn run(
    socket: WebSocketStream<TcpStream>,
    mut line: mpsc::Receiver<Message>,
    shared: Arc<Shared>,
    format: Format,
) {
    let (mut sink, mut stream) = socket.split();
    let writing = async {
        while let Some(message) = line.recv().await {
            if sink.send(message).await.is_err() {
                break;
            }
        }
        // Reading finds out why.
        std::future::pending::<()>().await;
    };
    let reading = async {
        loop {
            match stream.next().await {
                Some(Ok(Message::Close(close))) => shared.change(|seen| seen.closed_with(close_of(close))),
                Some(Ok(Message::Ping(_))) => shared.change(|seen| seen.pings += 1),
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    let frame = format.decode(&message);
                    shared.change(|seen| seen.receives(frame));
                }
                Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(_)) | None => break,
            }
        }
    };
    tokio::select! {
        () = writing => {}
        () = reading => {}
    }
    shared.change(Seen::ends);
}

fn close_of(close: Option<CloseFrame>) -> (u16, String) {
    close.map_or((1005, String::new()), |close| (close.code.into(), close.reason.as_str().to_owned()))
}
