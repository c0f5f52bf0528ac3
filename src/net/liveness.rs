//! Is the peer of a leg still there? When to ask it, and when to stop hoping.
//!
//! ```text
//!   bytes came ──────────► alive                      (`heard`)
//!   the socket took bytes ► it makes progress         (`wrote`)
//!   neither, for a while ─► Ping ─► no answer         ─► hung
//!   nothing acknowledged by the peer's host           ─► the network is dead
//!   nothing taken of what it is owed                  ─► it does not read
//! ```
//!
//! Three deaths are told apart. A dead network is the kernel's to tell: what was sent is sent again, and no
//! acknowledgement comes. A hung peer acknowledges and answers nothing. A slow reader is alive: what was sent
//! before a Ping may lie in buffers, and the peer gets the time to read it.
//!
//! Rules:
//! 1. Each cause has its own deadline, and handling it moves it: after [`Liveness::judge`] the deadline is
//!    later than `now`. Pings on a leg are never more than elapsed / `every` + 1.
//! 2. A verdict on silence needs a question: it falls after a Ping, never before one.
//! 3. Bytes are proven read by the Pong to a Ping sent behind them. How fast the peer reads is taken from that.

use std::time::Duration;

use super::Delivery;
use crate::clock::Instant;

/// How long a peer may take nothing of what it is owed, beside the time to read what it has.
const STALL: Duration = Duration::from_secs(30);
/// The slowest reader that is waited for, bytes a second; and how long at most: as it takes for a megabyte.
const SLOWEST: u64 = 2 * 1024;
const READING: Duration = Duration::from_secs(512);
/// A peer is trusted to go on reading at this part of the rate it has shown.
const SLOWER: u32 = 8;
const HUNG: &str = "it does not answer a Ping; session.keepalive = \"0s\" keeps a service that never does";
/// On a way that is slow itself, so many times as long.
const SLOW_WAY: u32 = 4;
/// The least time between two looks.
const AGAIN: Duration = Duration::from_millis(100);
/// How long a client may take to show that it is there, when another that may be the same comes.
const THERE: Duration = Duration::from_secs(1);
const DEAD: &str = "the network is dead: nothing is acknowledged";
/// How long an acknowledgement may be away if `keepalive` says nothing shorter.
const NETWORK: Duration = Duration::from_secs(30);

/// What one leg is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Silence after which the peer is pinged; zero: never.
    every: Duration,
    /// Is a Ping that stays unanswered a verdict?
    answers: bool,
    /// How long an acknowledgement of the peer's host may be away.
    network: Duration,
}

impl Patience {
    /// The service's leg: a Ping unanswered for half of `keepalive` is a verdict.
    pub fn with_service(keepalive: Duration) -> Self {
        let network = if keepalive.is_zero() { NETWORK } else { NETWORK.min(keepalive * 3 / 2) };
        Self { every: keepalive, answers: !keepalive.is_zero(), network }
    }

    /// The client's leg: it is pinged, and may be silent.
    pub fn with_client(keepalive: Duration) -> Self {
        Self { every: keepalive, answers: false, network: NETWORK }
    }
}

/// What a look at a leg came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Alive,
    /// Send a Ping, and say so with [`Liveness::pinged`].
    Ask,
    /// It is gone; why, for the log.
    Gone(&'static str),
}

/// What is known of one peer's life.
#[derive(Debug)]
pub struct Liveness {
    /// When bytes last came.
    heard: Instant,
    /// When the last Ping was queued; at first, when the leg began.
    pinged: Instant,
    /// Since when the first Ping to which nothing came is on its way.
    asking: Option<Instant>,
    /// Since when the socket takes nothing of what the peer is owed.
    blocked: Option<Instant>,
    /// From when on the kernel is to be asked for acknowledgements.
    unacknowledged: Option<Instant>,
    /// The last look found none: one more, and it is a verdict.
    suspect: bool,
    /// What was sent before an unanswered Ping arrives slowly.
    slow_way: bool,
    /// Bytes that the socket took and no Pong has proven read; those of them before the oldest unanswered Ping.
    unread: u64,
    asked: u64,
    /// When a Pong last came, and the bytes a second that the peer was seen to read.
    ponged: Instant,
    rate: u32,
    /// How long it took until anything came after the last Ping, ms.
    lag: u32,
}

impl Liveness {
    /// A leg that begins now.
    pub fn new(now: Instant) -> Self {
        Self {
            heard: now,
            pinged: now,
            asking: None,
            blocked: None,
            unacknowledged: None,
            suspect: false,
            slow_way: false,
            unread: 0,
            asked: 0,
            ponged: now,
            rate: 0,
            lag: 0,
        }
    }

    /// Bytes came. A leg that may not be read is told the same: nothing can be heard of it.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        if let Some(since) = self.asking.take() {
            let lag = now.saturating_duration_since(since).as_millis();
            self.lag = u32::try_from(lag).unwrap_or(u32::MAX);
        }
        self.unacknowledged = None;
        self.suspect = false;
        self.slow_way = false;
    }

    /// The socket took `bytes`.
    pub fn wrote(&mut self, bytes: usize, now: Instant) {
        if self.unread < self.asked {
            // The Ping waits behind what it was queued behind.
            self.asking = self.asking.map(|_| now);
        }
        self.unread += bytes as u64;
        self.blocked = None;
        self.unacknowledged.get_or_insert(now);
    }

    /// The socket takes nothing, though the peer is owed something.
    pub fn blocked(&mut self, now: Instant) {
        self.blocked.get_or_insert(now);
    }

    /// Is no Ping on its way, and none younger than `least`?
    pub fn may_ask(&self, least: Duration, now: Instant) -> bool {
        self.asked == 0 && self.pinged + least <= now
    }

    /// A Ping is due, and cannot be sent now: nothing has been asked yet.
    pub fn ping_waits(&mut self, now: Instant) {
        self.pinged = now;
    }

    /// A Ping was queued behind `owed` bytes that the socket is yet to take, itself included.
    pub fn pinged(&mut self, owed: usize, now: Instant) {
        self.pinged = now;
        self.asking.get_or_insert(now);
        if self.asked == 0 {
            self.asked = self.unread + owed as u64;
        }
    }

    /// A Pong came: the peer has read what stood before the oldest unanswered Ping.
    pub fn ponged(&mut self, now: Instant) {
        let read = std::mem::take(&mut self.asked);
        self.unread = self.unread.saturating_sub(read);
        let seconds = now.saturating_duration_since(self.ponged).as_secs().max(1);
        self.rate = u32::try_from(read / seconds).unwrap_or(u32::MAX).max(self.rate / 2);
        self.ponged = now;
    }

    /// When [`Self::judge`] is to be called, at the latest.
    pub fn deadline(&self, patience: Patience) -> Option<Instant> {
        let due = [
            self.ping_due(patience),
            self.answer_due(patience),
            self.stall_due(),
            self.acknowledgement_due(patience),
        ];
        due.into_iter().flatten().min()
    }

    /// What is to be done about the peer now. `delivery` asks the kernel; that is done only if it is time to.
    pub fn judge(
        &mut self,
        patience: Patience,
        now: Instant,
        delivery: impl FnOnce() -> Option<Delivery>,
    ) -> Verdict {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let unanswered = is_due(self.answer_due(patience));
        if unanswered || is_due(self.acknowledgement_due(patience)) {
            let delivery = delivery();
            if is_due(self.acknowledgement_due(patience)) && self.is_cut_off(patience, now, delivery) {
                return Verdict::Gone(DEAD);
            }
            if unanswered {
                match delivery.filter(|delivery| delivery.outstanding) {
                    // The Ping may be on its way behind the rest: the peer's host takes it in, however slowly.
                    Some(delivery) if delivery.last_ack < patience.every / 2 => self.slow_way = true,
                    Some(_) => return Verdict::Gone(DEAD),
                    None => return Verdict::Gone(HUNG),
                }
                if is_due(self.answer_due(patience)) {
                    return Verdict::Gone(HUNG);
                }
            }
        }
        if is_due(self.stall_due()) {
            return Verdict::Gone("it takes nothing");
        }
        if is_due(self.ping_due(patience)) { Verdict::Ask } else { Verdict::Alive }
    }

    /// When [`Self::is_there`] has an answer, of a peer that was asked at `since`.
    pub fn answers_by(&self, since: Instant) -> Instant {
        since + THERE + Duration::from_millis(u64::from(self.lag) * 2).min(READING)
    }

    /// Is a peer there that was pinged at `since`? `None`: that is not known yet.
    pub fn is_there(
        &self,
        since: Instant,
        now: Instant,
        delivery: impl FnOnce() -> Option<Delivery>,
    ) -> Option<bool> {
        if self.heard > since {
            return Some(true);
        }
        if now < self.answers_by(since) {
            return None;
        }
        // A slow reader has yet to read what was sent before the Ping; its host acknowledges meanwhile.
        let is_cut = delivery().is_some_and(|known| known.outstanding && known.last_ack >= THERE / 2);
        Some(!is_cut && self.reading(self.asked) > THERE)
    }

    /// A quiet peer is pinged; so is one that was sent something, however much it says itself.
    fn ping_due(&self, patience: Patience) -> Option<Instant> {
        let last = if self.unread > self.asked { self.pinged } else { self.pinged.max(self.heard) };
        (!patience.every.is_zero()).then(|| last + patience.every)
    }

    /// A Ping to which nothing came is a verdict after half of `every`, and the time to read up to it.
    fn answer_due(&self, patience: Patience) -> Option<Instant> {
        let asking = self.asking.filter(|_| patience.answers);
        // One that was slow to answer before may be so again.
        let slow = Duration::from_millis(u64::from(self.lag) * 2).min(READING);
        let way = if self.slow_way { SLOW_WAY } else { 1 };
        asking.map(|since| since + patience.every / 2 + (self.reading(self.asked) * way).max(slow))
    }

    fn stall_due(&self) -> Option<Instant> {
        self.blocked.map(|since| since + STALL + self.reading(self.unread))
    }

    /// The first look comes a little earlier than the verdict, which a second one confirms.
    fn acknowledgement_due(&self, patience: Patience) -> Option<Instant> {
        let parts = if self.suspect { 6 } else { 5 };
        self.unacknowledged.map(|since| since + patience.network * parts / 6)
    }

    /// Is what was sent without an acknowledgement for too long? If not, when is the next look due?
    fn is_cut_off(&mut self, patience: Patience, now: Instant, delivery: Option<Delivery>) -> bool {
        let Some(delivery) = delivery.filter(|delivery| delivery.outstanding || delivery.overdue) else {
            self.unacknowledged = None;
            self.suspect = false;
            return false;
        };
        let first = patience.network * 5 / 6;
        if delivery.overdue && delivery.last_ack >= first && delivery.retry >= first / 2 {
            let confirmed = std::mem::replace(&mut self.suspect, true);
            self.unacknowledged = now.checked_sub(first).or(Some(now));
            return confirmed;
        }
        self.suspect = false;
        // It is asked again when the silence of its host would be long enough.
        let silent = if delivery.overdue { delivery.last_ack } else { first / 2 };
        self.unacknowledged = now.checked_sub(silent.min(first.saturating_sub(AGAIN))).or(Some(now));
        false
    }

    /// How long the peer may take to read so much.
    fn reading(&self, unread: u64) -> Duration {
        let rate = u64::from(self.rate / SLOWER).max(SLOWEST);
        Duration::from_millis(unread.saturating_mul(1000) / rate).min(READING)
    }
}

#[cfg(test)]
mod tests;
