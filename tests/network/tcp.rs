//! A TCP connection in memory: latency, bandwidth, buffers that fill, a window that closes, and faults.
//!
//! ```text
//!   End ─ write ─► unsent ─► flying ─► arrived ─► read ─ End        one `Flow` for each direction
//!                  send buffer │ ▲      receive buffer
//!                              ▼ │
//!                            acks, credits (one latency later)
//! ```
//!
//! Rules:
//! 1. A byte moves only when its time has come. An end is woken when bytes arrive, when there is room again,
//!    and when the connection breaks; never earlier: a wake-up too many would hide a missing one.
//! 2. A frozen connection loses everything both ways. What was accepted stays in the buffers: after `thaw` it is
//!    sent again. No kernel gives up a frozen connection here: it would wait for many minutes.
//! 3. `delivery` says what the kernel of that end would know, and no more.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
};

use perennial::{
    clock::{self, Instant},
    net::{Delivery, Io},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

pub use crate::flow::Terms;
use crate::{
    flow::{Flow, wake},
    support::beside,
};

/// So often an end is asked at one moment only if time stands still for want of a task that waits.
const CIRCLES: u64 = 10_000;

/// Both directions: flow 0 is written by end 0.
#[derive(Debug)]
struct State {
    flows: [Flow; 2],
    last: Instant,
    frozen: Option<Instant>,
    /// When a reset reaches the end that is left.
    reset: Option<Instant>,
    broken: Option<io::ErrorKind>,
    open: usize,
    /// How often an end was asked to read or to write, in all and at one moment.
    polls: [u64; 2],
    at_once: (Instant, u64),
    /// Somebody turned in circles: the connection was broken to make an end of it.
    spun: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Does something now, and lets what is due happen before and after it.
    fn act<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = clock::now();
        let mut state = self.lock();
        state.advance(now);
        let before = state.next();
        let done = act(&mut state, now);
        state.advance(now);
        if state.next() != before || state.open == 0 {
            self.changed.notify_one();
        }
        done
    }
}

impl State {
    fn next(&self) -> Option<Instant> {
        if self.broken.is_some() || self.frozen.is_some() {
            return None;
        }
        let flows = self.flows.iter().filter_map(|flow| flow.next(self.last));
        flows.chain(self.reset).min()
    }

    fn advance(&mut self, now: Instant) {
        while let Some(at) = self.next().filter(|at| *at <= now) {
            self.last = self.last.max(at);
            if self.reset.is_some_and(|due| due <= at) {
                return self.give_up(io::ErrorKind::ConnectionReset);
            }
            for index in 0..2 {
                let resets = self.flows[index].step(at);
                if resets && self.flows[index].reset_at.is_some() {
                    return self.give_up(io::ErrorKind::ConnectionReset);
                }
                if resets {
                    self.reset = Some(at + self.flows[index].terms.latency);
                }
            }
        }
        self.last = self.last.max(now);
    }

    /// An end is asked to read or to write.
    fn asked(&mut self, side: usize, now: Instant) {
        self.polls[side] += 1;
        let (at, times) = self.at_once;
        self.at_once = if at == now { (at, times + 1) } else { (now, 1) };
        if times > CIRCLES && !self.spun {
            self.spun = true;
            self.give_up(io::ErrorKind::Other);
        }
    }

    /// The connection is no more. As in a kernel, nothing can be written, and what has arrived can still be read.
    fn give_up(&mut self, why: io::ErrorKind) {
        self.broken = Some(why);
        for flow in &mut self.flows {
            if self.spun {
                flow.arrived.clear();
            }
            wake(&mut flow.reader);
            wake(&mut flow.writer);
        }
    }
}

/// One end of a connection.
#[derive(Debug)]
pub struct End {
    shared: Arc<Shared>,
    side: usize,
}

/// The way between the ends, for faults.
#[derive(Debug, Clone)]
pub struct Cable(Arc<Shared>);

/// A connection: its two ends, and the way between them.
pub fn connection(terms: Terms) -> (End, End, Cable) {
    let now = clock::now();
    let state = State {
        flows: [Flow::new(terms, now), Flow::new(terms, now)],
        last: now,
        frozen: None,
        reset: None,
        broken: None,
        open: 2,
        polls: [0; 2],
        at_once: (now, 0),
        spun: false,
    };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
    beside(run(Arc::clone(&shared)));
    let end = |side| End { shared: Arc::clone(&shared), side };
    (end(0), end(1), Cable(Arc::clone(&shared)))
}

/// Lets time pass on one connection, until both ends are closed and nothing is on its way.
async fn run(shared: Arc<Shared>) {
    loop {
        let next = {
            let mut state = shared.lock();
            state.advance(clock::now());
            let next = state.next();
            if state.open == 0 && (next.is_none() || state.frozen.is_some()) {
                return;
            }
            next
        };
        match next {
            Some(at) => {
                tokio::select! {
                   biased;
                    () = shared.changed.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                }
            }
            None => shared.changed.notified().await,
        }
    }
}

impl Cable {
    /// From now on nothing arrives and nothing is acknowledged, in either direction.
    pub fn freeze(&self) {
        self.0.act(|state, now| {
            state.frozen.get_or_insert(now);
        });
    }

    /// The way is there again: what was lost is sent once more.
    pub fn thaw(&self) {
        self.0.act(|state, now| {
            if let Some(since) = state.frozen.take() {
                state.flows.iter_mut().for_each(|flow| flow.put_off(now - since));
            }
        });
    }

    /// A reset for both ends at once.
    pub fn reset(&self) {
        self.0.act(|state, _| state.give_up(io::ErrorKind::ConnectionReset));
    }

    /// The end of a way that is dead: a reset. A way that works stays as it is.
    pub fn reset_if_frozen(&self) {
        self.0.act(|state, _| {
            if state.frozen.is_some() {
                state.give_up(io::ErrorKind::ConnectionReset);
            }
        });
    }

    /// A reset once so many more bytes have arrived at `side` (0 or 1).
    pub fn reset_after(&self, side: usize, bytes: u64) {
        self.0.act(|state, _| {
            let flow = &mut state.flows[1 - side];
            flow.reset_at = Some(flow.total + bytes);
        });
    }

    /// How often an end was asked to read or to write.
    pub fn polls(&self, side: usize) -> u64 {
        self.0.lock().polls[side]
    }

    /// Bytes that have arrived at `side` (0 or 1), and that it has not read.
    pub fn unread(&self, side: usize) -> usize {
        self.0.act(|state, _| state.flows[1 - side].arrived.len())
    }

    /// Was an end asked without end at one moment?
    pub fn spun(&self) -> bool {
        self.0.lock().spun
    }

    /// Has one end been closed, or has the connection broken?
    pub fn is_left(&self) -> bool {
        self.0.act(|state, _| state.broken.is_some() || state.open < 2)
    }

    /// Is the connection closed at both ends, or broken?
    pub fn is_over(&self) -> bool {
        self.0.act(|state, _| state.broken.is_some() || state.open == 0)
    }
}

impl Io for End {
    fn delivery(&self) -> Option<Delivery> {
        Some(self.shared.act(|state, now| state.flows[self.side].delivery(state.frozen, now)))
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.shared.act(|state, now| {
            state.asked(self.side, now);
            let broken = state.broken;
            let flow = &mut state.flows[1 - self.side];
            if let Some(why) = broken.filter(|_| flow.arrived.is_empty()) {
                return Poll::Ready(Err(why.into()));
            }
            if flow.arrived.is_empty() && !flow.ended {
                flow.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let size = flow.arrived.len().min(buf.remaining());
            let (first, second) = flow.arrived.as_slices();
            let from_first = size.min(first.len());
            buf.put_slice(&first[..from_first]);
            buf.put_slice(&second[..size - from_first]);
            flow.arrived.drain(..size);
            if size > 0 {
                flow.credits.push_back((now + flow.terms.latency, size));
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.shared.act(|state, now| {
            state.asked(self.side, now);
            if let Some(why) = state.broken {
                return Poll::Ready(Err(why.into()));
            }
            let flow = &mut state.flows[self.side];
            if flow.fin {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let size = flow.room().min(bytes.len());
            if size == 0 && !bytes.is_empty() {
                flow.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            flow.unsent.extend(&bytes[..size]);
            if flow.credit == 0 {
                flow.closed.get_or_insert(now);
            }
            Poll::Ready(Ok(size))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.act(|state, _| state.flows[self.side].fin = true);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    /// As `close` does: what was written still goes out, unless something that came was not read.
    fn drop(&mut self) {
        self.shared.act(|state, now| {
            state.open -= 1;
            let latency = state.flows[0].terms.latency;
            let flow = &mut state.flows[1 - self.side];
            flow.unread = true;
            if flow.arrived.is_empty() {
                state.flows[self.side].fin = true;
            } else {
                flow.arrived.clear();
                state.reset = Some(now + latency);
            }
        });
    }
}
