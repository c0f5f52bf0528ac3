//! What a client has seen: its connection, and what became of each message.
//!
//! ```text
//!   sent(n) ──► open ──ACK──► acknowledged ─┐
//!                 └─────echo──► came back ──┴──► done
//!                 └── neither in time, or the connection is gone ──► lost
//! ```
//!
//! Every message is known by its number, so a message that is lost, doubled or out of order is
//! counted as what it is, and not concluded from totals.

use std::{collections::BTreeMap, time::Duration};

use crate::clock::Instant;

/// A message that has had no answer for so long is lost.
const PATIENCE: Duration = Duration::from_secs(3);
/// One that has had none for so long is not looked for any more: a client may run for weeks.
const WRITTEN_OFF: Duration = Duration::from_secs(60);

/// What a client has seen so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Its connection's name, and since when it has it.
    pub(super) connected: Option<(String, Instant)>,
    /// How its connection ended.
    pub(super) ended: Option<Ended>,
    /// How often it was asked for another token, of which it has none.
    pub(super) asked: u64,
    /// How often it was told again that it is connected.
    pub(super) reconnected: u64,
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    /// Messages of its own that came back.
    pub(super) received: u64,
    pub(super) doubled: u64,
    pub(super) reordered: u64,
    /// Messages that there was no connection for.
    pub(super) unsent: u64,
    /// The longest that an acknowledgement took.
    pub(super) slowest: Duration,
    refused: u64,
    written_off: u64,
    open: BTreeMap<u64, Open>,
}

/// A message that is not done with.
#[derive(Debug, Clone, Copy)]
struct Open {
    since: Instant,
    acknowledged: bool,
    echoed: bool,
}

/// How a client's connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// The client closed it.
    Left,
    /// It was closed, or lost, against the client's will.
    Dropped(Instant, Reason),
}

/// Why a client was dropped, in the words it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    /// The service's error code, where it gave one.
    pub(super) code: Option<u64>,
    pub(super) message: String,
}

impl Reason {
    /// RSA4b: the codes from 40140 to 40149 say that the token is at fault.
    pub(super) fn is_expiry(&self) -> bool {
        self.code.is_some_and(|code| (40140..40150).contains(&code))
    }

    /// In plain words.
    pub(super) fn words(&self) -> String {
        match self.code {
            Some(code) if self.is_expiry() => format!("token expired ({code})"),
            Some(code) => format!("{} ({code})", self.message),
            None => self.message.clone(),
        }
    }
}

impl Tally {
    /// Takes the next number for a message that is sent now.
    pub(super) fn send(&mut self, now: Instant) -> u64 {
        while let Some(oldest) = self.open.first_entry()
            && now.saturating_duration_since(oldest.get().since) > WRITTEN_OFF
        {
            oldest.remove();
            self.written_off += 1;
        }
        let number = self.sent;
        self.sent += 1;
        self.open.insert(number, Open { since: now, acknowledged: false, echoed: false });
        number
    }

    /// The service has taken `count` messages from `first` on.
    pub(super) fn acknowledge(&mut self, first: u64, count: u64, now: Instant) {
        let mut news = 0;
        for (_, open) in self.open.range_mut(first..first.saturating_add(count)) {
            if !open.acknowledged {
                open.acknowledged = true;
                news += 1;
                self.slowest = self.slowest.max(now.saturating_duration_since(open.since));
            }
        }
        self.acknowledged += news;
        // An answer to what has been answered, or to what was never sent.
        self.doubled += count.saturating_sub(news);
        self.tidy();
    }

    /// The service refuses `count` messages from `first` on.
    pub(super) fn refuse(&mut self, first: u64, count: u64) {
        let before = self.open.len();
        self.open.retain(|number, _| !(first..first.saturating_add(count)).contains(number));
        self.refused += (before - self.open.len()) as u64;
    }

    /// A message of our own came back.
    pub(super) fn echo(&mut self, number: u64) {
        let overtaken = self.open.range(..number).any(|(_, open)| !open.echoed);
        match self.open.get_mut(&number) {
            Some(open) if !open.echoed => {
                open.echoed = true;
                self.received += 1;
                self.reordered += u64::from(overtaken);
            }
            Some(_) | None => self.doubled += 1,
        }
        self.tidy();
    }

    /// Messages that will not arrive any more.
    pub(super) fn lost(&self, now: Instant) -> u64 {
        let over = |open: &&Open| now.saturating_duration_since(open.since) > PATIENCE;
        let lost = match self.ended {
            Some(Ended::Left | Ended::Dropped(..)) => self.open.len(),
            None => self.open.values().filter(over).count(),
        };
        self.refused + self.written_off + lost as u64
    }

    /// Has everything that was sent been acknowledged, and come back?
    pub(super) fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    /// When, and why, the client was dropped.
    pub(super) fn dropped(&self) -> Option<(Instant, &Reason)> {
        match &self.ended {
            Some(Ended::Dropped(at, reason)) => Some((*at, reason)),
            Some(Ended::Left) | None => None,
        }
    }

    fn tidy(&mut self) {
        self.open.retain(|_, open| !(open.acknowledged && open.echoed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn sent(messages: u64) -> (Tally, Instant) {
        let (mut tally, now) = (Tally::default(), clock::now());
        (0..messages).for_each(|number| assert_eq!(tally.send(now), number));
        (tally, now)
    }

    fn counts(tally: &Tally, now: Instant) -> (u64, u64, u64, u64) {
        (tally.acknowledged, tally.lost(now), tally.doubled, tally.reordered)
    }

    #[tokio::test(start_paused = true)]
    async fn answers_in_any_order_settle_a_message() {
        let (mut tally, now) = sent(3);
        tally.echo(0);
        tally.acknowledge(0, 2, now + Duration::from_millis(7));
        tally.echo(1);
        tally.echo(2);
        assert!(!tally.is_settled());
        tally.acknowledge(2, 1, now);
        assert!(tally.is_settled());
        assert_eq!((counts(&tally, now), tally.slowest), ((3, 0, 0, 0), Duration::from_millis(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_doubled_or_out_of_order_is_counted_as_that() {
        let (mut tally, now) = sent(3);
        tally.acknowledge(0, 3, now);
        tally.echo(1);
        tally.echo(0);
        tally.echo(2);
        assert_eq!(counts(&tally, now), (3, 0, 0, 1));
        tally.echo(2);
        tally.acknowledge(2, 1, now);
        assert_eq!(counts(&tally, now), (3, 0, 2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_answer_is_lost_when_it_is_late_or_the_connection_is_gone() {
        let (mut tally, now) = sent(3);
        tally.acknowledge(0, 2, now);
        tally.echo(0);
        assert_eq!(tally.lost(now + PATIENCE), 0);
        assert_eq!(tally.lost(now + PATIENCE * 2), 2, "one was not even acknowledged, one did not come back");
        tally.refuse(2, 1);
        tally.ended = Some(Ended::Left);
        assert_eq!(tally.lost(now), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_written_off_stays_lost_and_takes_no_room() {
        let (mut tally, now) = sent(3);
        tally.acknowledge(1, 1, now);
        tally.echo(1);
        let later = now + WRITTEN_OFF * 2;
        tally.send(later);
        assert_eq!((tally.open.len(), tally.lost(later)), (1, 2));
    }
}
