//! One direction of a simulated TCP connection: what was written, what is on its way, what has arrived.
//!
//! ```text
//!   write ─► unsent ─► flying ─► arrived ─► read
//!                        └─ acks, credits: one latency later ─► room for more
//! ```

use std::{collections::VecDeque, task::Waker, time::Duration};

use perennial::{clock::Instant, net::Delivery};

/// Bytes of one segment.
const SEGMENT: usize = 1460;
/// The shortest time until a segment is sent again (RFC 6298; Linux: 200 ms beyond the round trip).
const RETRANSMIT: Duration = Duration::from_millis(200);
/// The longest pause between two tries.
const LONGEST: Duration = Duration::from_secs(120);

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
pub struct Segment {
    sent: Instant,
    arrives: Instant,
    bytes: Vec<u8>,
    fin: bool,
}

/// One direction.
#[derive(Debug)]
pub struct Flow {
    pub terms: Terms,
    pub unsent: VecDeque<u8>,
    pub fin: bool,
    pub fin_sent: bool,
    /// Bytes that the receiver has room for, as far as the sender knows.
    pub credit: usize,
    /// When the line is free for the next segment.
    pub free: Instant,
    pub flying: VecDeque<Segment>,
    /// Bytes sent and not acknowledged, with the time of their sending.
    pub unacked: usize,
    pub acks: VecDeque<(Instant, Instant, usize)>,
    pub credits: VecDeque<(Instant, usize)>,
    pub arrived: VecDeque<u8>,
    pub ended: bool,
    pub reader: Option<Waker>,
    pub writer: Option<Waker>,
    /// The receiving end is closed.
    pub unread: bool,
    /// Bytes that arrived in all, and after how many the connection is reset.
    pub total: u64,
    pub reset_at: Option<u64>,
    /// When the sender last heard anything of the receiver's host.
    pub last_ack: Instant,
    /// Since when the sender has something to send, and no room for it.
    pub closed: Option<Instant>,
}

impl Flow {
    pub fn new(terms: Terms, now: Instant) -> Self {
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

    pub fn room(&self) -> usize {
        self.terms.send.saturating_sub(self.unsent.len() + self.unacked)
    }

    pub fn may_send(&self) -> bool {
        let data = !self.unsent.is_empty() && self.credit > 0;
        data || (self.unsent.is_empty() && self.fin && !self.fin_sent)
    }

    /// When something happens next; `last` is when something last did.
    pub fn next(&self, last: Instant) -> Option<Instant> {
        let sends = self.may_send().then(|| self.free.max(last));
        let arrives = self.flying.front().map(|segment| segment.arrives);
        let acked = self.acks.front().map(|ack| ack.0);
        let credited = self.credits.front().map(|credit| credit.0);
        [sends, arrives, acked, credited].into_iter().flatten().min()
    }

    /// What is due at this moment happens; `true` if the receiver's host answers with a reset.
    pub fn step(&mut self, now: Instant) -> bool {
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

    /// What the sender's kernel knows of what it has sent.
    pub fn delivery(&self, frozen: Option<Instant>, now: Instant) -> Delivery {
        let rtt = self.terms.latency * 2;
        let (mut last_ack, mut retry, mut overdue) = (self.last_ack, rtt + RETRANSMIT, false);
        let until = frozen.unwrap_or(now);
        if let Some(closed) = self.closed {
            // The closed window is probed. An answer comes one round trip later; the second that does not, tells.
            let (mut probe, mut pause, mut unanswered) = (closed + retry, retry, 0);
            while probe <= now {
                let answered = probe + rtt <= until.min(now);
                last_ack = if answered { last_ack.max(probe + rtt) } else { last_ack };
                unanswered = if answered { 0 } else { unanswered + 1 };
                pause = (pause * 2).min(LONGEST);
                probe += pause;
            }
            overdue = unanswered > 1;
        } else if let Some(first) = frozen.and_then(|frozen| self.first_lost(frozen)) {
            // Each try waits twice as long as the one before it, and that is told as `retry`.
            let mut tries = first + retry;
            while tries <= now {
                overdue = true;
                retry = (retry * 2).min(LONGEST);
                tries += retry;
            }
        }
        let lost = frozen.is_some() && self.may_send();
        Delivery { outstanding: self.unacked > 0 || lost, overdue, retry, last_ack: now - last_ack }
    }

    /// When the first of what a frozen way swallowed was sent.
    fn first_lost(&self, frozen: Instant) -> Option<Instant> {
        let sent = self.acks.iter().map(|ack| ack.1).chain(self.flying.iter().map(|segment| segment.sent));
        let unsent = self.may_send().then_some(self.free.max(frozen));
        sent.chain(unsent).min()
    }

    /// What happens is put off by as long as the way was frozen.
    pub fn put_off(&mut self, by: Duration) {
        self.free += by;
        self.flying.iter_mut().for_each(|segment| segment.arrives += by);
        self.acks.iter_mut().for_each(|ack| ack.0 += by);
        self.credits.iter_mut().for_each(|credit| credit.0 += by);
    }
}

/// Wakes the task that waits.
pub fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
