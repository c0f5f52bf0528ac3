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
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Duration,
};

use perennial::{
    clock::{self, Instant},
    net::{Delivery, Io},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

use crate::support::beside;

/// Bytes of one segment.
const SEGMENT: usize = 1460;
/// The shortest time until a segment is sent again (RFC 6298; Linux: 200 ms beyond the round trip).
const RETRANSMIT: Duration = Duration::from_millis(200);
/// The longest pause between two tries.
const LONGEST: Duration = Duration::from_secs(120);

/// So often an end is asked at one moment only if time stands still for want of a task that waits.
const CIRCLES: u64 = 10_000;

/// What the way between two hosts is like; the same both ways.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// From one end to the other; a round trip is twice as long.
    pub latency: Duration,
    /// Bytes a second.
    pub rate: u64,
    /// Bytes that the sender's kernel takes.
    pub send: usize,
    /// Bytes that the receiver's kernel keeps.
    pub receive: usize,
}

impl Terms {
    /// A local network.
    pub const NEAR: Self =
        Self { latency: Duration::ZERO, rate: 1 << 30, send: 256 * 1024, receive: 256 * 1024 };

    /// The same with this round trip.
    pub fn rtt(millis: u64) -> Self {
        Self { latency: Duration::from_micros(millis * 500), ..Self::NEAR }
    }
}

#[derive(Debug)]
struct Segment {
    sent: Instant,
    arrives: Instant,
    bytes: Vec<u8>,
    fin: bool,
}

/// One direction.
#[derive(Debug)]
struct Flow {
    terms: Terms,
    unsent: VecDeque<u8>,
    fin: bool,
    fin_sent: bool,
    /// Bytes that the receiver has room for, as far as the sender knows.
    credit: usize,
    /// When the line is free for the next segment.
    free: Instant,
    flying: VecDeque<Segment>,
    /// Bytes sent and not acknowledged, with the time of their sending.
    unacked: usize,
    acks: VecDeque<(Instant, Instant, usize)>,
    credits: VecDeque<(Instant, usize)>,
    arrived: VecDeque<u8>,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The receiving end is closed.
    unread: bool,
    /// Bytes that arrived in all, and after how many the connection is reset.
    total: u64,
    reset_at: Option<u64>,
    /// When the sender last heard anything of the receiver's host.
    last_ack: Instant,
    /// Since when the sender has something to send, and no room for it.
    closed: Option<Instant>,
}

impl Flow {
    fn new(terms: Terms, now: Instant) -> Self {
        Self {
            terms,
            unsent: VecDeque::new(),
            fin: false,
            fin_sent: false,
            credit: terms.receive,
            free: now,
            flying: VecDeque::new(),
            unacked: 0,
            acks: VecDeque::new(),
            credits: VecDeque::new(),
            arrived: VecDeque::new(),
            ended: false,
            reader: None,
            writer: None,
            unread: false,
            total: 0,
            reset_at: None,
            last_ack: now,
            closed: None,
        }
    }

    fn room(&self) -> usize {
        self.terms.send.saturating_sub(self.unsent.len() + self.unacked)
    }

    fn may_send(&self) -> bool {
        let data = !self.unsent.is_empty() && self.credit > 0;
        data || (self.unsent.is_empty() && self.fin && !self.fin_sent)
    }

    /// When something happens next; `last` is when something last did.
    fn next(&self, last: Instant) -> Option<Instant> {
        let sends = self.may_send().then(|| self.free.max(last));
        let arrives = self.flying.front().map(|segment| segment.arrives);
        let acked = self.acks.front().map(|ack| ack.0);
        let credited = self.credits.front().map(|credit| credit.0);
        [sends, arrives, acked, credited].into_iter().flatten().min()
    }

    /// What is due at this moment happens; `true` if the receiver's host answers with a reset.
    fn step(&mut self, now: Instant) -> bool {
        if self.acks.front().is_some_and(|ack| ack.0 <= now)
            && let Some((_, _, bytes)) = self.acks.pop_front()
        {
            self.unacked -= bytes;
            self.last_ack = now;
            if self.room() * 3 >= self.terms.send {
                wake(&mut self.writer);
            }
        }
        if self.credits.front().is_some_and(|credit| credit.0 <= now)
            && let Some((_, bytes)) = self.credits.pop_front()
        {
            self.credit += bytes;
            self.last_ack = now;
            self.closed = None;
        }
        if self.flying.front().is_some_and(|segment| segment.arrives <= now) {
            return self.arrive(now);
        }
        if self.may_send() && self.free <= now {
            self.transmit(now);
        }
        false
    }

    fn transmit(&mut self, now: Instant) {
        let fast = self.terms.rate >= Terms::NEAR.rate;
        let most = if fast { 16 * SEGMENT } else { SEGMENT };
        let size = self.unsent.len().min(self.credit).min(most);
        let bytes: Vec<u8> = self.unsent.drain(..size).collect();
        self.credit -= size;
        self.unacked += size;
        self.free = now + Duration::from_secs_f64(size as f64 / self.terms.rate as f64);
        let fin = size == 0;
        self.fin_sent |= fin;
        let arrives = self.free + self.terms.latency;
        self.flying.push_back(Segment { sent: now, arrives, bytes, fin });
        if !self.unsent.is_empty() && self.credit == 0 {
            self.closed = Some(now);
        }
    }

    fn arrive(&mut self, now: Instant) -> bool {
        let Some(segment) = self.flying.pop_front() else { return false };
        if self.unread {
            return !segment.fin;
        }
        let size = segment.bytes.len();
        self.total += size as u64;
        self.arrived.extend(segment.bytes);
        self.ended |= segment.fin;
        if size > 0 {
            self.acks.push_back((now + self.terms.latency, segment.sent, size));
        }
        wake(&mut self.reader);
        self.reset_at.is_some_and(|at| self.total >= at)
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// Both directions: flow 0 is written by end 0.
#[derive(Debug)]
struct State {
    flows: [Flow; 2],
    last: Instant,
    frozen: Option<Instant>,
    /// When a reset reaches whoever is left.
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

    /// The connection is no more; what was not read is lost.
    fn give_up(&mut self, why: io::ErrorKind) {
        self.broken = Some(why);
        for flow in &mut self.flows {
            flow.arrived.clear();
            wake(&mut flow.reader);
            wake(&mut flow.writer);
        }
    }

    fn delivery(&self, side: usize, now: Instant) -> Delivery {
        let flow = &self.flows[side];
        let rtt = flow.terms.latency * 2;
        let (mut last_ack, mut retry, mut overdue) = (flow.last_ack, rtt + RETRANSMIT, false);
        let frozen = self.frozen.unwrap_or(now);
        if let Some(closed) = flow.closed {
            // The closed window is probed. An answer comes one round trip later; the second that does not, tells.
            let (mut probe, mut pause, mut unanswered) = (closed + retry, retry, 0);
            while probe <= now {
                let answered = probe + rtt <= frozen.min(now);
                last_ack = if answered { last_ack.max(probe + rtt) } else { last_ack };
                unanswered = if answered { 0 } else { unanswered + 1 };
                pause = (pause * 2).min(LONGEST);
                probe += pause;
            }
            overdue = unanswered > 1;
        } else if let Some(first) = self.frozen.and_then(|frozen| flow.first_lost(frozen)) {
            // Each try waits twice as long as the one before it, and that is told as `retry`.
            let mut tries = first + retry;
            while tries <= now {
                overdue = true;
                retry = (retry * 2).min(LONGEST);
                tries += retry;
            }
        }
        let lost = self.frozen.is_some() && flow.may_send();
        Delivery { outstanding: flow.unacked > 0 || lost, overdue, retry, last_ack: now - last_ack }
    }
}

impl Flow {
    /// When the first of what a frozen way swallowed was sent.
    fn first_lost(&self, frozen: Instant) -> Option<Instant> {
        let sent = self.acks.iter().map(|ack| ack.1).chain(self.flying.iter().map(|segment| segment.sent));
        let unsent = self.may_send().then_some(self.free.max(frozen));
        sent.chain(unsent).min()
    }

    /// What happens is put off by as long as the way was frozen.
    fn put_off(&mut self, by: Duration) {
        self.free += by;
        self.flying.iter_mut().for_each(|segment| segment.arrives += by);
        self.acks.iter_mut().for_each(|ack| ack.0 += by);
        self.credits.iter_mut().for_each(|credit| credit.0 += by);
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
        Some(self.shared.act(|state, now| state.delivery(self.side, now)))
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.shared.act(|state, now| {
            state.asked(self.side, now);
            if let Some(why) = state.broken {
                return Poll::Ready(Err(why.into()));
            }
            let flow = &mut state.flows[1 - self.side];
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
