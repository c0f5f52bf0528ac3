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
//! Rules: what is not acknowledged is kept as it was sent, to be sent again with the same serial; an
//! acknowledgement reaches the client only for what the client sent, in its counting, in its order.

use std::collections::VecDeque;

use crate::wire::Payload;

/// A message that has not been acknowledged.
#[derive(Debug)]
pub(super) struct Sent {
    /// The client's serial; `None` where the message is Perennial's own.
    pub client: Option<u64>,
    /// The upstream's.
    pub upstream: u64,
    /// As it went to the upstream.
    pub payload: Payload,
    /// Presence on this channel: sent again only once the channel is attached (RTL3d2).
    pub presence_of: Option<Box<str>>,
    /// Sent again after a loss: the service may have taken it already, and say nothing more.
    again: bool,
}

/// Where the offset changes: client serials from `from` on are `offset` behind the upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Break {
    pub from: u64,
    pub offset: u64,
}

/// Both countings, and what is not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Serials {
    unacked: VecDeque<Sent>,
    bytes: usize,
    breaks: Vec<Break>,
    /// The next serial of the client's that has not been seen.
    next_client: u64,
}

/// A run of acknowledged messages in the client's counting.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub first: u64,
    pub count: u64,
    /// Index into the acknowledgement's `res` of the first; `None` where the service did not name it.
    pub result: Option<usize>,
}

impl Run {
    /// Also in `res`: a message of Perennial's own between two of the client's has its place there.
    fn is_followed_by(&self, client: u64, result: Option<usize>) -> bool {
        self.first + self.count == client && self.result.map(|at| at + self.count as usize) == result
    }
}

/// What an acknowledgement covers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Covered {
    /// Just the client's, with the same numbers: it goes on as it is.
    AsItIs,
    /// These runs, each to be written anew; none where it was all Perennial's own.
    Runs(Vec<Run>),
}

impl Serials {
    /// Continues a counting of an earlier session of the same connection.
    pub(super) fn continued(breaks: Vec<Break>, next_client: u64) -> Self {
        Self { breaks, next_client, ..Self::default() }
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
        // An SDK may send a serial twice on one transport (fact sheet §3.4); one of them is remembered.
        if self.unacked.back().is_some_and(|last| last.upstream >= upstream) {
            self.forget(upstream);
        }
        self.push(Sent { client: Some(client), upstream, payload, presence_of, again: false });
    }

    fn forget(&mut self, upstream: u64) {
        if let Some(at) = self.unacked.iter().position(|sent| sent.upstream >= upstream) {
            for sent in self.unacked.drain(at..) {
                self.bytes -= sent.payload.bytes.len();
            }
        }
    }

    /// The serial that a message of Perennial's own is to carry; its place in the counting is taken.
    pub(super) fn take_own(&mut self) -> u64 {
        let upstream = self.upstream_of(self.next_client);
        let offset = upstream - self.next_client + 1;
        match self.breaks.last_mut().filter(|last| last.from == self.next_client) {
            Some(last) => last.offset = offset,
            None => self.breaks.push(Break { from: self.next_client, offset }),
        }
        upstream
    }

    /// A message of Perennial's own goes up with a serial from [`Serials::take_own`].
    pub(super) fn sent_own(&mut self, upstream: u64, payload: Payload, channel: &str) {
        self.push(Sent { client: None, upstream, payload, presence_of: Some(channel.into()), again: false });
    }

    fn push(&mut self, sent: Sent) {
        self.bytes += sent.payload.bytes.len();
        self.unacked.push_back(sent);
    }

    /// Bytes kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Is anything of Perennial's own not acknowledged?
    pub(super) fn owes_own(&self) -> bool {
        self.unacked.iter().any(|sent| sent.client.is_none())
    }

    /// Presence that is not acknowledged.
    pub(super) fn presence(&self) -> impl Iterator<Item = (&str, &Sent)> {
        self.unacked.iter().filter_map(|sent| Some((sent.presence_of.as_deref()?, sent)))
    }

    /// Everything that is not acknowledged, to be sent again in its order.
    pub(super) fn again(&mut self) -> impl Iterator<Item = &Payload> {
        self.unacked.iter_mut().map(|sent| {
            sent.again = true;
            &sent.payload
        })
    }

    /// The service acknowledges `count` messages from `first` on; `refused` where it is a NACK.
    pub(super) fn acknowledged(&mut self, first: u64, count: u64, refused: bool) -> Covered {
        let end = first.saturating_add(count);
        let mut runs: Vec<Run> = Vec::new();
        // A refusal says nothing of what went before it: that is still to be acknowledged, or sent again.
        let from = if refused { self.unacked.partition_point(|sent| sent.upstream < first) } else { 0 };
        let to = self.unacked.partition_point(|sent| sent.upstream < end).max(from);
        for sent in self.unacked.drain(from..to) {
            self.bytes -= sent.payload.bytes.len();
            let named = sent.upstream >= first;
            // What was sent again, and is passed over by a later ACK, the service had taken before.
            let counts = named || sent.again;
            let (Some(client), true) = (sent.client, counts) else { continue };
            let result = named.then(|| (sent.upstream - first) as usize);
            match runs.last_mut() {
                Some(run) if run.is_followed_by(client, result) => run.count += 1,
                _ => runs.push(Run { first: client, count: 1, result }),
            }
        }
        if self.unacked.is_empty() && self.unacked.capacity() > 64 {
            self.unacked = VecDeque::new();
        }
        self.prune();
        match runs[..] {
            [Run { first: client, count: n, result: Some(0) }] if client == first && n == count => {
                Covered::AsItIs
            }
            _ => Covered::Runs(runs),
        }
    }

    /// Drops offsets that no message will ask for again.
    fn prune(&mut self) {
        let oldest = self.unacked.iter().find_map(|sent| sent.client).unwrap_or(self.next_client);
        while self.breaks.get(1).is_some_and(|second| second.from <= oldest) {
            self.breaks.remove(0);
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

    #[test]
    fn without_messages_of_ones_own_everything_passes_as_it_is() {
        let mut serials = Serials::default();
        (0..5).for_each(|n| serials.sent(n, payload(), None));
        assert_eq!(serials.acknowledged(0, 3, false), Covered::AsItIs);
        assert_eq!(serials.acknowledged(3, 2, false), Covered::AsItIs);
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
        let runs =
            vec![Run { first: 0, count: 1, result: Some(0) }, Run { first: 1, count: 2, result: Some(3) }];
        assert_eq!(serials.acknowledged(0, 5, false), Covered::Runs(runs));
        serials.sent(3, payload(), None);
        let runs = vec![Run { first: 3, count: 1, result: Some(0) }];
        assert_eq!(serials.acknowledged(5, 1, true), Covered::Runs(runs));
    }

    #[test]
    fn an_acknowledgement_of_ones_own_is_swallowed() {
        let mut serials = Serials::default();
        own(&mut serials);
        assert!(serials.owes_own());
        assert_eq!(serials.acknowledged(0, 1, false), Covered::Runs(vec![]));
        assert!(!serials.owes_own());
    }

    #[test]
    fn what_was_sent_again_is_acknowledged_by_a_later_one() {
        let mut serials = Serials::default();
        (0..3).for_each(|n| serials.sent(n, payload(), None));
        assert_eq!(serials.again().count(), 3);
        let runs =
            vec![Run { first: 0, count: 2, result: None }, Run { first: 2, count: 1, result: Some(0) }];
        assert_eq!(serials.acknowledged(2, 1, false), Covered::Runs(runs));
        // But a refusal of the last says nothing of those before it.
        (3..5).for_each(|n| serials.sent(n, payload(), None));
        assert_eq!(serials.again().count(), 2);
        assert_eq!(serials.acknowledged(4, 1, true), Covered::AsItIs);
        let runs =
            vec![Run { first: 3, count: 1, result: None }, Run { first: 5, count: 1, result: Some(0) }];
        serials.sent(5, payload(), None);
        assert_eq!(serials.acknowledged(5, 1, false), Covered::Runs(runs));
    }

    #[test]
    fn a_serial_that_comes_twice_is_kept_once() {
        let mut serials = Serials::default();
        (0..4).for_each(|n| serials.sent(n, payload(), None));
        (2..4).for_each(|n| serials.sent(n, payload(), None));
        assert_eq!(serials.again().count(), 4);
        assert_eq!(serials.acknowledged(0, 4, false), Covered::AsItIs);
        assert_eq!(
            serials.acknowledged(0, 4, false),
            Covered::Runs(vec![]),
            "an ACK that comes again is not the client's"
        );
    }
}
