//! What time brings: expiries, hints, heartbeats, delayed answers, the end of graces.
//!
//! One task sleeps until the earliest timer. Timers are never cancelled: each says which state it
//! was set for, and does nothing where that is past.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use rmpv::Value;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::{
    connection::TransportId,
    faults::Cut,
    frame::{action, map},
    hub::{Hub, Shared},
};
use crate::clock::{self, Instant};

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// Ask for another token, unless there was one since.
    Hint(TransportId, u64),
    /// The token of this grant has ended.
    Expiry(TransportId, u64),
    /// Something must be heard on this transport.
    Heartbeat(TransportId),
    /// Answer the oldest AUTH.
    AuthAnswer(TransportId),
    /// Send the ACKs that wait for company.
    Acks(TransportId),
    /// Nobody came back since this loss: forget the connection.
    Forget(String, u64),
    /// Nobody entered again since this loss: its members leave.
    Leave(String, u64),
    /// Reset all transports.
    PeriodicReset(u64),
}

/// The timers, earliest first; of two at one instant, the one set first.
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, u64, Due)>>,
    set: u64,
    sooner: Arc<Notify>,
}

impl Timers {
    pub(super) fn new(sooner: Arc<Notify>) -> Self {
        Self { heap: BinaryHeap::new(), set: 0, sooner }
    }

    pub(super) fn set(&mut self, at: Instant, due: Due) {
        let first = self.next();
        self.set += 1;
        self.heap.push(Reverse((at, self.set, due)));
        if first.is_none_or(|first| at < first) {
            self.sooner.notify_one();
        }
    }

    fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    fn pop(&mut self, now: Instant) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((.., due))| due)
    }
}

/// Does what is due, until told to stop.
pub(super) async fn run(shared: Shared, stop: CancellationToken) {
    loop {
        let next = {
            let mut hub = shared.lock();
            while let Some(due) = hub.timers.pop(clock::now()) {
                hub.on_due(due);
            }
            hub.timers.next()
        };
        let sleep = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.sooner.notified() => {}
            () = sleep => {}
        }
    }
}

impl Hub {
    fn on_due(&mut self, due: Due) {
        match due {
            Due::Hint(id, grant) if self.has_grant(id, grant) => self.hint(id),
            Due::Expiry(id, grant) if self.has_grant(id, grant) => self.token_ended(id),
            Due::Hint(..) | Due::Expiry(..) => {}
            Due::Heartbeat(id) => self.beat(id),
            Due::AuthAnswer(id) => self.answer_auth(id),
            Due::Acks(id) => self.flush_acks(id),
            Due::Forget(connection, loss) => self.forget_connection(&connection, loss),
            Due::Leave(connection, loss) => self.leave_behind(&connection, loss),
            Due::PeriodicReset(number) => self.reset_periodically(number),
        }
    }

    fn beat(&mut self, id: TransportId) {
        let Some(transport) = self.transports.get(&id) else { return };
        if transport.wishes.heartbeats {
            self.send(id, &map([("action", action::HEARTBEAT.into()), ("id", Value::Nil)]));
        } else {
            self.put_on_line(id, Message::Ping(bytes::Bytes::new()));
        }
        self.start_heartbeat(id);
    }

    /// Sets the timer of the next heartbeat, a tenth before the silence that was promised is over.
    pub(super) fn start_heartbeat(&mut self, id: TransportId) {
        let interval = self.options.max_idle_interval;
        if !interval.is_zero() {
            self.set_timer(clock::now() + interval - interval / 10, Due::Heartbeat(id));
        }
    }

    fn reset_periodically(&mut self, number: u64) {
        let Some(period) = self.standing.periodic_reset else { return };
        if number != self.standing.period {
            return;
        }
        for id in self.transport_ids() {
            self.cut(id, Cut::Reset);
        }
        self.set_timer(clock::now() + period, Due::PeriodicReset(number));
    }
}
