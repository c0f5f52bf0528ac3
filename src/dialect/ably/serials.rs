//! The two countings of messages: the client's and the upstream's (RTN7, RTN19a2).
//!
//! A message that wants an acknowledgement carries a serial. Perennial sends a few of its own (a member
//! entered again after a loss), which take serials of the upstream's counting that the client knows
//! nothing of: from then on client serial *n* is upstream serial *n + k*.
//!
//! ```text
//!   client    5   6        7   8          breaks: from 0 +0, from 7 +1
//!   upstream  5   6  [7]   8   9          [7] is Perennial's own: its ACK is swallowed
//! ```
//!
//! Rules:
//! 1. What is not acknowledged is kept as it was sent, to be sent again with the same serial.
//! 2. An acknowledgement reaches the client only for what the client sent, in its counting, in its order. A client may
//!    send a later serial before an earlier one (ably-go: its channels send what they queued before its connection
//!    repeats what has no answer), and takes the acknowledgement of the later one for a refusal of the earlier. What
//!    overtook an earlier one in this way waits for it.
//! 3. What was sent once stays until it is named.
//! 4. A serial goes up once on one connection: what waits for its acknowledgement, or has had it, is not sent again.
//! 5. What an earlier session owes of Perennial's own goes before the first message with a later serial.

use std::collections::VecDeque;

use crate::wire::Payload;

/// A message that has not been acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    /// The client's serial; `None` if the message is Perennial's own.
    pub client: Option<u64>,
    /// The upstream's.
    pub upstream: u64,
    /// As it went to the upstream.
    pub payload: Payload,
    /// Presence on this channel: sent again only once the channel is attached (RTL3d2).
    pub presence_of: Option<Box<str>>,
    /// Sent again after a loss: the service may have taken it already, and say nothing more.
    again: bool,
    /// It went up before one with an earlier serial.
    overtook: bool,
    /// The service has acknowledged it, and the client is told after those that it overtook.
    acknowledged: bool,
}

impl Sent {
    /// Bytes that keeping it takes: the queue doubles as it grows, and each allocation has its own overhead.
    fn cost(&self) -> usize {
        const OVERHEAD: usize = 2 * size_of::<Sent>() + 32;
        OVERHEAD
            + self.payload.bytes.len()
            + self.presence_of.as_ref().map_or(0, |channel| channel.len() + 32)
    }

    /// It is kept no longer.
    fn release(&self, bytes: &mut usize, repeated: &mut usize) {
        *bytes = bytes.saturating_sub(self.cost());
        if self.again {
            *repeated = repeated.saturating_sub(self.cost());
        }
    }
}

/// Where the offset changes: client serials from `from` on are `offset` behind the upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Break {
    pub from: u64,
    pub offset: u64,
}

/// Both countings, and what is not acknowledged.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Serials {
    /// In the order of the upstream's serials.
    unacked: VecDeque<Sent>,
    /// Perennial's own, of an earlier session, that have not gone up in this one.
    owed: VecDeque<Sent>,
    bytes: usize,
    /// How many of `bytes` are messages that were sent again.
    repeated: usize,
    breaks: Vec<Break>,
    /// The next serial of the client's that has not been seen.
    next_client: u64,
    /// The client has been told of every serial before this one.
    told: u64,
}

/// A run of acknowledged messages in the client's counting.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub first: u64,
    pub count: u64,
    /// Index into the acknowledgement's `res` of the first; `None` if the service did not name it.
    pub result: Option<usize>,
}

impl Run {
    /// Also in `res`: a message of Perennial's own between two of the client's has its place there.
    fn is_followed_by(&self, client: u64, result: Option<usize>) -> bool {
        self.first.saturating_add(self.count) == client
            && self.result.map(|at| at + self.count as usize) == result
    }
}

/// What an acknowledgement covers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Covered {
    /// The client's messages.
    pub runs: Vec<Run>,
    /// It is one run with the numbers that the service named: the acknowledgement goes on as it is.
    pub is_unchanged: bool,
    /// Perennial's own messages.
    pub own: Vec<Sent>,
}

impl Serials {
    /// Continues the counting of an earlier session of the same connection.
    pub(super) fn continued(breaks: Vec<Break>, next_client: u64, owed: VecDeque<Sent>) -> Self {
        let bytes = owed.iter().map(Sent::cost).sum();
        Self { breaks, next_client, owed, bytes, ..Self::default() }
    }

    pub(super) fn breaks(&self) -> &[Break] {
        &self.breaks
    }

    /// The upstream's serial of the client's `serial`.
    pub(super) fn upstream_of(&self, serial: u64) -> u64 {
        let offset = self.breaks.iter().rev().find(|b| b.from <= serial).map_or(0, |b| b.offset);
        serial.saturating_add(offset)
    }

    /// A message of the client's goes up.
    pub(super) fn sent(&mut self, client: u64, payload: Payload, presence_of: Option<Box<str>>) {
        let upstream = self.upstream_of(client);
        self.next_client = self.next_client.max(client.saturating_add(1));
        self.keep(Sent {
            client: Some(client),
            upstream,
            payload,
            presence_of,
            again: false,
            overtook: false,
            acknowledged: false,
        });
    }

    /// What is owed of an earlier session has to go now: a message with the serial `upstream` is next.
    pub(super) fn due_before(&mut self, upstream: u64) -> Vec<Payload> {
        let due = self.owed.partition_point(|sent| sent.upstream < upstream);
        let due: Vec<Sent> = self.owed.drain(..due).collect();
        let payloads = due.iter().map(|sent| sent.payload.clone()).collect();
        for sent in due {
            self.bytes = self.bytes.saturating_sub(sent.cost());
            self.keep(sent);
        }
        payloads
    }

    /// The serial that a message of Perennial's own is to carry; its place in the counting is taken.
    pub(super) fn take_own(&mut self) -> u64 {
        let upstream = self.upstream_of(self.next_client);
        let offset = upstream.saturating_sub(self.next_client).saturating_add(1);
        match self.breaks.last_mut().filter(|last| last.from == self.next_client) {
            Some(last) => last.offset = offset,
            None => self.breaks.push(Break { from: self.next_client, offset }),
        }
        upstream
    }

    /// A message of Perennial's own goes up with a serial from [`Serials::take_own`].
    pub(super) fn sent_own(&mut self, upstream: u64, payload: Payload, channel: &str) -> Sent {
        let sent = Sent {
            client: None,
            upstream,
            payload,
            presence_of: Some(channel.into()),
            again: false,
            overtook: false,
            acknowledged: false,
        };
        self.keep(sent.clone());
        sent
    }

    fn keep(&mut self, sent: Sent) {
        self.bytes += sent.cost();
        if self.unacked.back().is_none_or(|last| last.upstream < sent.upstream) {
            return self.unacked.push_back(sent);
        }
        let at = self.unacked.partition_point(|known| known.upstream < sent.upstream);
        self.unacked.range_mut(at..).for_each(|later| later.overtook = true);
        self.unacked.insert(at, sent);
    }

    /// Has this message of the client's gone up on this connection?
    pub(super) fn has_gone_up(&self, client: u64) -> bool {
        let upstream = self.upstream_of(client);
        client < self.told
            || self.unacked.back().is_some_and(|last| upstream <= last.upstream)
                && self.unacked.binary_search_by_key(&upstream, |sent| sent.upstream).is_ok()
    }

    /// Does the client wait for an acknowledgement?
    pub(super) fn is_awaited(&self) -> bool {
        self.unacked.iter().any(|sent| sent.client.is_some())
    }

    /// Bytes kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes kept of messages that were sent once: the service is sure to acknowledge them.
    pub(super) fn bytes_sent_once(&self) -> usize {
        self.bytes.saturating_sub(self.repeated)
    }

    /// Presence that is not acknowledged.
    pub(super) fn presence(&self) -> impl Iterator<Item = (&str, &Sent)> {
        self.unacked.iter().filter_map(|sent| Some((sent.presence_of.as_deref()?, sent)))
    }

    /// Everything that is not acknowledged, to be sent again in its order.
    pub(super) fn again(&mut self) -> impl Iterator<Item = &Payload> {
        let Self { unacked, repeated, .. } = self;
        unacked.iter_mut().filter(|sent| !sent.acknowledged).map(|sent| {
            if !std::mem::replace(&mut sent.again, true) {
                *repeated += sent.cost();
            }
            &sent.payload
        })
    }

    /// The service acknowledges `count` messages from `first` on; `refused` if it is a NACK. `None`: it names none that
    /// it was sent and has not acknowledged.
    pub(super) fn acknowledged(&mut self, first: u64, count: u64, refused: bool) -> Option<Covered> {
        let before = |serial| self.unacked.partition_point(|sent| sent.upstream < serial);
        let (named, end) = (before(first), before(first.saturating_add(count)));
        if !self.unacked.range(named..end).any(|sent| !sent.acknowledged) {
            return None;
        }
        let mut covered = Covered::default();
        let mut now: Vec<Sent> = self.unacked.drain(named..end).collect();
        // What was sent again the service may have taken before, and then it says nothing more of it. A refusal says
        // nothing of what it does not name.
        if !refused && self.repeated > 0 {
            let (again, once): (Vec<Sent>, Vec<Sent>) =
                self.unacked.drain(..named).partition(|sent| sent.again);
            once.into_iter().rev().for_each(|sent| self.unacked.push_front(sent));
            now.splice(..0, again);
        }
        for sent in now {
            let before = self.unacked.partition_point(|known| known.upstream < sent.upstream);
            let owed = |sent: &Sent| sent.client.is_some() && !sent.acknowledged;
            if !refused && sent.overtook && self.unacked.range(..before).any(owed) {
                self.unacked.insert(before, Sent { acknowledged: true, ..sent });
            } else {
                self.tell(sent, first, &mut covered);
            }
        }
        self.tell_those_that_waited(first, &mut covered);
        if self.unacked.is_empty() {
            // An idle connection keeps no room for messages.
            self.unacked = VecDeque::new();
        }
        self.prune();
        let whole = Run { first, count, result: Some(0) };
        covered.is_unchanged = covered.runs == [whole];
        Some(covered)
    }

    /// What is acknowledged, and nothing of the client's that it overtook goes before any more.
    fn tell_those_that_waited(&mut self, first: u64, covered: &mut Covered) {
        // Perennial's own are few, and the client waits for none of them.
        let mut own = 0;
        while let Some(next) = self.unacked.get(own) {
            if next.acknowledged {
                let Some(sent) = self.unacked.remove(own) else { return };
                self.tell(sent, first, covered);
            } else if next.client.is_none() {
                own += 1;
            } else {
                return;
            }
        }
    }

    /// It is over with this one; the client is told, if it is the client's.
    fn tell(&mut self, sent: Sent, first: u64, covered: &mut Covered) {
        sent.release(&mut self.bytes, &mut self.repeated);
        self.told = self.told.max(sent.client.map_or(0, |client| client.saturating_add(1)));
        covered.add(sent, first);
    }

    /// Drops offsets that no message will ask for again.
    fn prune(&mut self) {
        while let Some(second) = self.breaks.get(1).copied() {
            let oldest = self.unacked.iter().find_map(|sent| sent.client).unwrap_or(self.next_client);
            if second.from > oldest {
                return;
            }
            self.breaks.remove(0);
        }
    }
}

impl Covered {
    fn add(&mut self, sent: Sent, first: u64) {
        let Some(client) = sent.client else { return self.own.push(sent) };
        let result = sent.upstream.checked_sub(first).map(|at| at as usize);
        match self.runs.last_mut() {
            Some(run) if run.is_followed_by(client, result) => run.count += 1,
            _ => self.runs.push(Run { first: client, count: 1, result }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Kind;

    fn payload() -> Payload {
        Payload { kind: Kind::Text, bytes: Box::from(&b"x"[..]) }
    }

    fn own(serials: &mut Serials) -> u64 {
        let serial = serials.take_own();
        serials.sent_own(serial, payload(), "c");
        serial
    }

    fn run(first: u64, count: u64, result: Option<usize>) -> Run {
        Run { first, count, result }
    }

    #[test]
    fn without_messages_of_ones_own_everything_passes_as_it_is() {
        let mut serials = Serials::default();
        (0..5).for_each(|n| serials.sent(n, payload(), None));
        assert!(serials.acknowledged(0, 3, false).unwrap().is_unchanged);
        assert!(serials.acknowledged(3, 2, false).unwrap().is_unchanged);
        assert_eq!((serials.bytes(), serials.breaks().len()), (0, 0));
    }

    #[test]
    fn a_range_that_mixes_both_is_split() {
        let mut serials = Serials::default();
        serials.sent(0, payload(), None);
        assert_eq!(own(&mut serials), 1);
        assert_eq!(own(&mut serials), 2);
        serials.sent(1, payload(), None);
        serials.sent(2, payload(), None);
        assert_eq!(serials.upstream_of(2), 4);
        let covered = serials.acknowledged(0, 5, false).unwrap();
        assert_eq!(covered.runs, [run(0, 1, Some(0)), run(1, 2, Some(3))]);
        assert_eq!(covered.own.iter().map(|sent| sent.upstream).collect::<Vec<_>>(), [1, 2]);
        serials.sent(3, payload(), None);
        let covered = serials.acknowledged(5, 1, true).unwrap();
        assert_eq!((covered.runs, covered.is_unchanged), (vec![run(3, 1, Some(0))], false));
    }

    #[test]
    fn an_acknowledgement_of_ones_own_is_for_no_client() {
        let mut serials = Serials::default();
        own(&mut serials);
        let covered = serials.acknowledged(0, 1, false).unwrap();
        assert_eq!((covered.runs.len(), covered.own.len(), covered.is_unchanged), (0, 1, false));
    }

    #[test]
    fn what_was_sent_again_is_acknowledged_by_a_later_one() {
        let mut serials = Serials::default();
        (0..3).for_each(|n| serials.sent(n, payload(), None));
        assert_eq!(serials.again().count(), 3);
        assert_eq!(serials.acknowledged(2, 1, false).unwrap().runs, [run(0, 2, None), run(2, 1, Some(0))]);
        // But a refusal of the last says nothing of those before it.
        (3..5).for_each(|n| serials.sent(n, payload(), None));
        assert_eq!(serials.again().count(), 2);
        assert!(serials.acknowledged(4, 1, true).unwrap().is_unchanged);
        serials.sent(5, payload(), None);
        assert_eq!(serials.acknowledged(5, 1, false).unwrap().runs, [run(3, 1, None), run(5, 1, Some(0))]);
    }

    #[test]
    fn a_later_serial_that_is_acknowledged_first_waits_for_the_earlier_ones() {
        let mut serials = Serials::continued(Vec::new(), 54, VecDeque::new());
        (54..60).for_each(|n| serials.sent(n, payload(), None));
        (14..54).for_each(|n| serials.sent(n, payload(), None));
        assert_eq!(
            serials.acknowledged(54, 6, false).unwrap().runs,
            [],
            "a client would take it for a refusal of 14"
        );
        assert!(serials.is_awaited());
        assert_eq!(serials.acknowledged(54, 6, false), None, "that is no news");
        // A loss now repeats what has no acknowledgement, and nothing else.
        assert_eq!(serials.again().count(), 40);
        assert_eq!(serials.acknowledged(14, 40, false).unwrap().runs, [run(14, 46, Some(0))]);
        assert_eq!((serials.bytes(), serials.bytes_sent_once(), serials.is_awaited()), (0, 0, false));
        // What the client repeats all the same has gone up.
        assert!((14..60).all(|n| serials.has_gone_up(n)) && !serials.has_gone_up(60));
    }

    #[test]
    fn a_service_that_skips_one_is_not_waited_for() {
        let mut serials = Serials::default();
        (0..3).for_each(|n| serials.sent(n, payload(), None));
        assert!(serials.acknowledged(2, 1, false).unwrap().is_unchanged, "nothing was overtaken");
        assert!(serials.acknowledged(0, 2, false).unwrap().is_unchanged);
    }

    #[test]
    fn a_refusal_is_told_at_once() {
        let mut serials = Serials::default();
        (0..3).for_each(|n| serials.sent(n, payload(), None));
        assert_eq!(serials.acknowledged(2, 1, true).unwrap().runs, [run(2, 1, Some(0))]);
        assert_eq!(serials.acknowledged(0, 2, false).unwrap().runs, [run(0, 2, Some(0))]);
    }

    #[test]
    fn repeats_are_told_from_what_was_sent_once() {
        let mut serials = Serials::default();
        (0..3).for_each(|n| serials.sent(n, payload(), None));
        assert_eq!(serials.bytes_sent_once(), serials.bytes());
        serials.again().count();
        assert_eq!(serials.bytes_sent_once(), 0);
        serials.sent(3, payload(), None);
        let one = serials.bytes() / 4;
        assert_eq!(serials.bytes_sent_once(), one);
        serials.acknowledged(0, 2, false);
        assert_eq!((serials.bytes(), serials.bytes_sent_once()), (2 * one, one));
    }

    #[test]
    fn what_is_owed_goes_before_the_first_later_serial() {
        let mut before = Serials::default();
        before.sent(0, payload(), None);
        let serial = before.take_own();
        let owed = before.sent_own(serial, payload(), "c");
        let mut serials = Serials::continued(before.breaks().to_vec(), 1, [owed].into());
        assert_eq!(serials.due_before(serials.upstream_of(0)).len(), 0, "the client's own comes first");
        serials.sent(0, payload(), None);
        assert_eq!(serials.due_before(serials.upstream_of(1)).len(), 1);
        serials.sent(1, payload(), None);
        assert_eq!(serials.acknowledged(0, 3, false).unwrap().runs, [run(0, 1, Some(0)), run(1, 1, Some(2))]);
        assert_eq!(serials.bytes(), 0);
    }
}
