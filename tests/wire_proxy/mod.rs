//! A far and faulty network for tests: a TCP proxy in user space that understands WebSocket frames.
//!
//! ```text
//!                      ┌───────────── WireProxy ──────────────┐
//!   sidecar ──up──►    │ Frames ─► Faults ─► queue ─► writer   │ ──► service
//!           ◄──down──  │    │                latency   rate    │ ◄──
//!                      │    └─► Seen (what passed, and when)   │
//!                      └──────────────────────────────────────┘
//! ```
//!
//! 1. Everything on the way is small: the queue of a direction and all socket buffers hold [`Conditions::buffer`]
//!    bytes each, so a slow line is felt by who sends, and no kernel hides it.
//! 2. Each direction keeps its order, as TCP does: a delayed frame delays what follows it.
//! 3. The kernel of this machine still acknowledges what the proxy does not read. A line on which nothing is
//!    acknowledged is made with a network namespace.
//! 4. What happened is in [`Seen`]: counts of everything, and the first events with their times.

mod faults;
mod frames;
mod link;
mod seen;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
};

use faults::Faults;
pub use faults::{Action, Cut, Fault};
pub use frames::Kind;
pub use seen::{Event, Seen, What};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From who connected to the proxy (the sidecar) to the target (the service).
    Up,
    /// Back.
    Down,
}

/// What the line is like.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    /// How long each byte is on its way, in each direction: half of a round trip.
    pub latency: Duration,
    /// Bytes a second; `None`: as fast as it goes.
    pub up: Option<u32>,
    pub down: Option<u32>,
    /// Bytes that the queue of a direction, and each socket buffer, may hold.
    pub buffer: u32,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { latency: Duration::ZERO, up: None, down: None, buffer: 64 * 1024 }
    }
}

impl Conditions {
    /// A line of this round-trip time.
    pub fn round_trip(millis: u64) -> Self {
        Self { latency: Duration::from_millis(millis) / 2, ..Self::default() }
    }
}

/// A running proxy. It ends, with its connections, when it is dropped.
pub struct WireProxy {
    pub port: u16,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

struct Shared {
    target: SocketAddr,
    conditions: Conditions,
    faults: Faults,
    seen: watch::Sender<Seen>,
    /// The last order to cut everything.
    cut: watch::Sender<Option<Cut>>,
}

impl WireProxy {
    /// A line to a port of this machine.
    pub fn start(port: u16, conditions: Conditions) -> Self {
        let socket = narrow(conditions);
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self::on(socket.listen(1024).unwrap(), port, conditions)
    }

    /// The same, from a listener of the test's own, whose buffers are as they are.
    pub fn on(listener: TcpListener, port: u16, conditions: Conditions) -> Self {
        let target = ([127, 0, 0, 1], port).into();
        let port = listener.local_addr().unwrap().port();
        let (faults, seen, cut) = (Faults::default(), watch::Sender::default(), watch::Sender::default());
        let shared = Arc::new(Shared { target, conditions, faults, seen, cut });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&shared)));
        Self { port, shared, _accepting: accepting }
    }

    /// From now on, this goes wrong too. Of several faults that fit, the first one happens.
    pub fn inject(&self, fault: Fault) {
        self.shared.faults.add(fault);
    }

    /// From now on, nothing goes wrong.
    pub fn heal(&self) {
        self.shared.faults.clear();
    }

    /// Ends every connection now.
    pub fn cut(&self, cut: Cut) {
        self.shared.cut.send_replace(Some(cut));
    }

    /// How often this passed, frames that were dropped included.
    pub fn count(&self, direction: Direction, kind: Kind) -> u64 {
        self.seen(|seen| seen.count(direction, kind))
    }

    /// Asks what was seen.
    pub fn seen<T>(&self, ask: impl FnOnce(&Seen) -> T) -> T {
        ask(&self.shared.seen.borrow())
    }

    /// Waits until this was seen; fails after `within`.
    pub async fn until(&self, what: &str, within: Duration, is_so: impl Fn(&Seen) -> bool) {
        let come = tokio::time::timeout(within, self.whenever(is_so)).await.is_ok();
        assert!(come, "not seen within {within:?}: {what}\n{}", self.seen(Seen::tail));
    }

    /// The same, however long it takes.
    pub async fn whenever(&self, is_so: impl Fn(&Seen) -> bool) {
        self.shared.seen.subscribe().wait_for(|seen| is_so(seen)).await.unwrap();
    }
}

/// A socket that holds little.
fn narrow(conditions: Conditions) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(conditions.buffer).unwrap();
    socket.set_send_buffer_size(conditions.buffer).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    for number in 0.. {
        let (near, _) = listener.accept().await.unwrap();
        near.set_nodelay(true).unwrap();
        connections.spawn(link::run(number, near, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

impl Shared {
    async fn dial(&self) -> std::io::Result<TcpStream> {
        narrow(self.conditions).connect(self.target).await
    }
}
