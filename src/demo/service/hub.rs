//! All state of the service, and what a message of a client does to it.
//!
//! One lock, taken for each message and each order and never held across an await: what clients
//! see has one order, and a test that gives an order finds it done.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rmpv::Value;
use tokio::sync::{Notify, mpsc::error::TrySendError};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    channel::Channel,
    connection::{Connection, Transport, TransportId},
    credential::Issuer,
    due::{Due, Timers},
    faults::{Cut, Standing},
    frame::{action, error, map, member, number, text},
    ledger::Ledger,
    options::Options,
    transport::Control,
};
use crate::clock::{Instant, Now};

/// The hub, shared by all tasks of the service.
#[derive(Clone)]
pub(super) struct Shared {
    hub: Arc<Mutex<Hub>>,
    /// Told when a timer was set that comes before all others.
    pub(super) sooner: Arc<Notify>,
    pub(super) options: Arc<Options>,
    pub(super) ledger: Ledger,
}

impl Shared {
    pub(super) fn new(options: Options) -> Self {
        let options = Arc::new(options);
        let ledger = Ledger::new(options.ledger_limit);
        let sooner = Arc::new(Notify::new());
        let mut hub = Hub {
            issuer: Issuer::new(options.key.clone(), options.basic),
            options: Arc::clone(&options),
            ledger: ledger.clone(),
            standing: Standing::default(),
            timers: Timers::new(Arc::clone(&sooner)),
            connections: HashMap::new(),
            transports: BTreeMap::new(),
            channels: BTreeMap::new(),
            transports_made: 0,
            auths_open: 0,
        };
        hub.start_periodic_reset(options.periodic_reset);
        Self { hub: Arc::new(Mutex::new(hub)), sooner, options, ledger }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Hub {
    pub(super) options: Arc<Options>,
    pub(super) ledger: Ledger,
    pub(super) issuer: Issuer,
    pub(super) standing: Standing,
    pub(super) timers: Timers,
    pub(super) connections: HashMap<String, Connection>,
    pub(super) transports: BTreeMap<TransportId, Transport>,
    pub(super) channels: BTreeMap<String, Channel>,
    pub(super) transports_made: u64,
    /// AUTHs that are unanswered, of all transports.
    pub(super) auths_open: usize,
}

impl Hub {
    /// A message came in on a transport.
    pub(super) fn receive(&mut self, id: TransportId, message: &Message) {
        let Some(transport) = self.transports.get(&id) else { return };
        self.ledger.count(|c| c.frames_in += 1);
        match transport.wishes.format.decode(message) {
            Ok(frame) => self.act(id, &frame),
            Err(what) => self.breach(id, what),
        }
    }

    fn act(&mut self, id: TransportId, frame: &Value) {
        match number(frame, "action") {
            Some(action::HEARTBEAT) => self.heartbeat(id, frame),
            Some(action::AUTH) => self.authenticate(id, frame),
            Some(action::ATTACH) => self.attach(id, frame),
            Some(action::DETACH) => self.detach(id, frame),
            Some(n @ (action::MESSAGE | action::PRESENCE | action::ANNOTATION | action::OBJECT)) => {
                self.publish(id, n, frame);
            }
            Some(action::CLOSE) => self.close(id),
            Some(action::DISCONNECT) => self.end(id, None, CloseCode::Normal),
            Some(n) => self.breach(id, &format!("action {n}, which is not a client's")),
            None => self.breach(id, "a protocol message without an action"),
        }
    }

    fn heartbeat(&mut self, id: TransportId, frame: &Value) {
        let echo = member(frame, "id").cloned().unwrap_or(Value::Nil);
        self.send(id, &map([("action", action::HEARTBEAT.into()), ("id", echo)]));
    }

    fn close(&mut self, id: TransportId) {
        self.send(id, &map([("action", action::CLOSED.into())]));
        self.hang_up(id, CloseCode::Normal);
        self.ledger.count(|c| c.closes += 1);
        if let Some(transport) = self.take_transport(id) {
            self.leave_all(&transport.connection);
            self.connections.remove(&transport.connection);
        }
    }

    /// The client did what no client may do: this is recorded, and the end of its transport.
    pub(super) fn breach(&mut self, id: TransportId, what: &str) {
        let whose = self.transports.get(&id).map(|t| t.connection.clone()).unwrap_or_default();
        self.ledger.violation(format!("{whose}: {what}"));
        self.fail(id, 80013, 400, what);
    }

    /// Tells a client that its connection has failed, and ends the transport.
    pub(super) fn fail(&mut self, id: TransportId, code: u64, status: u64, message: &str) {
        let frame = map([("action", action::ERROR.into()), ("error", error(code, status, message))]);
        self.end(id, Some(&frame), CloseCode::Normal);
    }

    /// Ends a transport from this side, with these last words; the connection stays to be resumed.
    pub(super) fn end(&mut self, id: TransportId, last: Option<&Value>, code: CloseCode) {
        if let Some(frame) = last {
            self.send(id, frame);
        }
        self.hang_up(id, code);
        self.lost(id);
    }

    fn hang_up(&mut self, id: TransportId, code: CloseCode) {
        self.put_on_line(id, Message::Close(Some(CloseFrame { code, reason: "".into() })));
    }

    /// Ends a transport as a fault asks.
    pub(super) fn cut(&mut self, id: TransportId, cut: Cut) {
        match cut {
            Cut::Reset => self.break_off(id, Control::Reset),
            Cut::Drop => self.break_off(id, Control::Drop),
            Cut::Close(code) => self.hang_up(id, code.into()),
        }
        self.lost(id);
    }

    pub(super) fn send(&mut self, id: TransportId, frame: &Value) {
        let Some(transport) = self.transports.get(&id) else { return };
        let message = transport.wishes.format.encode(frame);
        self.put_on_line(id, message);
    }

    /// Hands a message to the transport's task. One whose client does not read is ended: its line
    /// is as long as anything here may grow.
    pub(super) fn put_on_line(&mut self, id: TransportId, message: Message) {
        let Some(transport) = self.transports.get(&id) else { return };
        self.ledger.count(|c| c.frames_out += 1);
        if let Err(TrySendError::Full(_)) = transport.line.frames.try_send(message) {
            self.ledger.count(|c| c.overflows += 1);
            self.break_off(id, Control::Reset);
            self.lost(id);
        }
    }

    /// Ends a transport at once; what stands on its line is never written.
    fn break_off(&mut self, id: TransportId, control: Control) {
        self.order(id, control);
        let Some(transport) = self.transports.get(&id) else { return };
        let unwritten = transport.line.frames.capacity() < transport.line.frames.max_capacity();
        if let Some(connection) = self.connections.get_mut(&transport.connection) {
            connection.in_doubt |= unwritten;
        }
    }

    pub(super) fn order(&self, id: TransportId, control: Control) {
        if let Some(transport) = self.transports.get(&id) {
            // A full line of orders already holds one that ends the transport.
            let _ = transport.line.control.try_send(control);
        }
    }

    pub(super) fn transport_ids(&self) -> Vec<TransportId> {
        self.transports.keys().copied().collect()
    }

    pub(super) fn transport_of(&self, connection: &str) -> Option<TransportId> {
        self.connections.get(connection)?.transport
    }

    pub(super) fn set_timer(&mut self, at: Instant, due: Due) {
        self.timers.set(at, due);
    }

    pub(super) fn start_periodic_reset(&mut self, period: Option<std::time::Duration>) {
        self.standing.period += 1;
        self.standing.periodic_reset = period;
        if let Some(period) = period {
            let number = self.standing.period;
            self.set_timer(Now::read().mono + period, Due::PeriodicReset(number));
        }
    }

    /// The `channel` of a frame that must name one.
    pub(super) fn channel_named(&mut self, id: TransportId, frame: &Value) -> Option<String> {
        let name = text(frame, "channel").filter(|n| !n.is_empty()).map(str::to_owned);
        if name.is_none() {
            self.breach(id, "a channel's message without a channel");
        }
        name
    }
}
