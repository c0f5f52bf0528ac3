//! What a client has seen, and whether it should have.
//!
//! ```text
//!   sends     ──► what may be answered: ATTACH, DETACH, AUTH, CLOSE, pings, serials
//!   receives  ──► was it asked for, or expected? In its order, once? Else: a fault
//! ```
//!
//! Numbers: each client's messages on a channel count from 0, and so do the service's own (by the name
//! `service`). Anyone who listens hears each of them once and in order, whatever happened in between.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value as Json, json};

/// TR2.
pub mod action {
    pub const HEARTBEAT: u64 = 0;
    pub const ACK: u64 = 1;
    pub const NACK: u64 = 2;
    pub const CONNECTED: u64 = 4;
    pub const DISCONNECTED: u64 = 6;
    pub const CLOSE: u64 = 7;
    pub const CLOSED: u64 = 8;
    pub const ERROR: u64 = 9;
    pub const ATTACH: u64 = 10;
    pub const ATTACHED: u64 = 11;
    pub const DETACH: u64 = 12;
    pub const DETACHED: u64 = 13;
    pub const PRESENCE: u64 = 14;
    pub const MESSAGE: u64 = 15;
    pub const SYNC: u64 = 16;
    pub const AUTH: u64 = 17;
}

const RESUMED: u64 = 4;

/// A channel, as the client knows it.
#[derive(Debug, Default)]
pub struct Channel {
    /// The ATTACH that it last sent.
    attach: Json,
    attaches: usize,
    detaches: usize,
    pub attached: bool,
    pub serial: Option<String>,
}

/// Everything that one client has seen, over all its connections.
#[derive(Debug, Default)]
pub struct Seen {
    pub name: String,
    pub frames: Vec<Json>,
    /// What no client should see.
    pub faults: Vec<String>,
    pub id: String,
    pub key: String,
    /// CONNECTEDs, those that answered an AUTH included.
    pub connected: usize,
    pub awaits_connected: bool,
    /// The `error` of the last CONNECTED.
    pub error: Json,
    /// WebSocket pings.
    pub pings: usize,
    /// HEARTBEATs that nobody asked for.
    pub heartbeats: usize,
    pub closed: bool,
    /// Code and reason of the Close; 1006 where there was none.
    pub ended: Option<(u16, String)>,
    /// It is leaving, or told that the end is near.
    pub leaving: bool,
    /// Publishes without an answer, with their serials.
    pub unacked: VecDeque<Json>,
    pub nacks: Vec<Json>,
    pub acks: u64,
    next_serial: u64,
    /// The id of the connection that `next_serial` counts on.
    counted_on: String,
    pub channels: BTreeMap<String, Channel>,
    pub pongs: Vec<String>,
    asked_pings: Vec<String>,
    asked_auths: usize,
    expected: BTreeMap<u64, usize>,
    /// The next number to publish, by channel.
    numbers: BTreeMap<String, u64>,
    /// The next number to hear, by channel and name.
    next: BTreeMap<(String, String), u64>,
    /// What the service calls each of its messages: in the ACK, and where they come back.
    answers: BTreeMap<(String, u64), Json>,
    echoes: BTreeMap<(String, u64), Json>,
}

impl Seen {
    // ----- what it sends

    /// A new transport begins.
    pub(super) fn begin(&mut self) {
        self.awaits_connected = true;
        self.leaving = false;
        self.ended = None;
        self.asked_auths = 0;
        self.asked_pings.clear();
    }

    pub(super) fn next_number(&mut self, channel: &str) -> u64 {
        let number = self.numbers.entry(channel.to_owned()).or_default();
        *number += 1;
        *number - 1
    }

    /// Notes what a message asks for.
    pub(super) fn sends(&mut self, frame: &mut Json) {
        let channel = frame["channel"].as_str().unwrap_or_default().to_owned();
        match frame["action"].as_u64() {
            Some(action::ATTACH) => {
                let known = self.channels.entry(channel).or_default();
                known.attach = frame.clone();
                known.attaches += 1;
                known.attached = false;
            }
            Some(action::DETACH) => self.channels.entry(channel).or_default().detaches += 1,
            Some(action::AUTH) => self.asked_auths += 1,
            Some(action::CLOSE) => self.leaving = true,
            Some(action::HEARTBEAT) => self.asked_pings.extend(frame["id"].as_str().map(str::to_owned)),
            Some(action::MESSAGE | action::PRESENCE) => {
                frame["msgSerial"] = self.next_serial.into();
                self.next_serial += 1;
                self.unacked.push_back(frame.clone());
            }
            _ => {}
        }
    }

    /// What an SDK sends when it is connected again.
    pub(super) fn start_over(&mut self) -> Vec<Json> {
        let mut frames = Vec::new();
        for channel in self.channels.values_mut().filter(|channel| channel.attached) {
            let mut attach = channel.attach.clone();
            attach["channelSerial"] = channel.serial.clone().into();
            (channel.attaches, channel.detaches) = (1, 0);
            frames.push(attach);
        }
        if self.counted_on != self.id {
            self.counted_on = self.id.clone();
            self.next_serial = 0;
            for frame in &mut self.unacked {
                frame["msgSerial"] = self.next_serial.into();
                self.next_serial += 1;
            }
        }
        frames.extend(self.unacked.iter().cloned());
        frames
    }

    pub(super) fn expect(&mut self, action: u64) {
        *self.expected.entry(action).or_default() += 1;
    }

    // ----- what it receives

    fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    /// Faults, unless a message of this action was expected.
    fn unasked(&mut self, frame: &Json) {
        let expected = frame["action"].as_u64().and_then(|action| self.expected.get_mut(&action));
        match expected.filter(|count| **count > 0) {
            Some(count) => *count -= 1,
            None => self.fault(format!("nobody asked for {frame}")),
        }
    }

    pub(super) fn receives(&mut self, frame: Result<Json, String>) {
        match frame {
            Ok(frame) => {
                self.judge(&frame);
                self.frames.push(frame);
            }
            Err(why) => self.fault(why),
        }
    }

    fn judge(&mut self, frame: &Json) {
        match frame["action"].as_u64() {
            Some(action::CONNECTED) => self.is_connected(frame),
            Some(action::ATTACHED) => self.is_attached_now(frame),
            Some(action::DETACHED) => {
                let channel = self.channel(frame);
                channel.attached = false;
                match channel.detaches.checked_sub(1) {
                    Some(left) => channel.detaches = left,
                    None => self.unasked(frame),
                }
            }
            Some(action::ACK) => self.is_answered(frame),
            Some(action::NACK) => {
                self.unasked(frame);
                self.nacks.push(frame.clone());
                self.is_answered(frame);
            }
            Some(action::MESSAGE) => self.hears(frame),
            Some(action::PRESENCE) => self.takes_serial(frame),
            Some(action::SYNC) => {}
            Some(action::HEARTBEAT) => match frame["id"].as_str() {
                None => self.heartbeats += 1,
                Some(id) => match self.asked_pings.iter().position(|asked| asked == id) {
                    Some(at) => self.pongs.push(self.asked_pings.remove(at)),
                    None => self.fault(format!("an answer to nobody's ping: {frame}")),
                },
            },
            Some(action::CLOSED) if self.leaving => self.closed = true,
            Some(action::ERROR) => {
                if frame["channel"].is_string() {
                    self.channel(frame).attached = false;
                }
                self.unasked(frame);
            }
            _ => self.unasked(frame),
        }
    }

    fn channel(&mut self, frame: &Json) -> &mut Channel {
        self.channels.entry(frame["channel"].as_str().unwrap_or_default().to_owned()).or_default()
    }

    fn is_connected(&mut self, frame: &Json) {
        self.connected += 1;
        let id = frame["connectionId"].as_str().unwrap_or_default().to_owned();
        let key = frame["connectionDetails"]["connectionKey"].as_str().unwrap_or_default();
        key.clone_into(&mut self.key);
        self.error = frame["error"].clone();
        if std::mem::take(&mut self.awaits_connected) {
            if self.counted_on.is_empty() {
                self.counted_on = id.clone();
            }
            self.id = id;
        } else if self.asked_auths > 0 && id == self.id {
            self.asked_auths -= 1;
        } else {
            self.unasked(frame);
        }
    }

    fn is_attached_now(&mut self, frame: &Json) {
        self.takes_serial(frame);
        let resumed = frame["flags"].as_u64().unwrap_or(0) & RESUMED != 0;
        let channel = self.channel(frame);
        channel.attached = true;
        match channel.attaches.checked_sub(1) {
            Some(left) => channel.attaches = left,
            // It would be harmless to ably-js; but it was Perennial's own business.
            None if resumed => self.fault(format!("an ATTACHED of somebody else's: {frame}")),
            None => self.unasked(frame),
        }
    }

    fn takes_serial(&mut self, frame: &Json) {
        if let Some(serial) = frame["channelSerial"].as_str() {
            self.channel(frame).serial = Some(serial.to_owned());
        }
    }

    fn is_answered(&mut self, frame: &Json) {
        let (first, count) = (frame["msgSerial"].as_u64(), frame["count"].as_u64().unwrap_or(1));
        let due = self.unacked.front().and_then(|sent| sent["msgSerial"].as_u64());
        if first.is_none() || first != due || count == 0 || count > self.unacked.len() as u64 {
            return self.fault(format!("{due:?} of {} was due, and not {frame}", self.unacked.len()));
        }
        let results = frame["res"].as_array();
        if results.is_some_and(|results| results.len() as u64 != count) {
            self.fault(format!("as many results as messages were due: {frame}"));
        }
        for nth in 0..count as usize {
            let Some(sent) = self.unacked.pop_front() else { return };
            self.acks += 1;
            let result = results.and_then(|results| results.get(nth)).map(|r| r["serials"][0].clone());
            if let (Some(number), Some(result)) = (number_of(&sent["messages"][0]), result) {
                let channel = sent["channel"].as_str().unwrap_or_default().to_owned();
                self.answers.insert((channel, number), result);
            }
        }
    }

    fn hears(&mut self, frame: &Json) {
        self.takes_serial(frame);
        let channel = frame["channel"].as_str().unwrap_or_default().to_owned();
        if !self.is_attached(&channel) && self.channel(frame).attaches == 0 {
            self.fault(format!("it is not attached to the channel of {frame}"));
        }
        for item in frame["messages"].as_array().into_iter().flatten() {
            let name = item["name"].as_str().unwrap_or_default().to_owned();
            let Some(number) = number_of(item) else {
                self.fault(format!("no number in {item}"));
                continue;
            };
            if name == self.name {
                self.echoes.insert((channel.clone(), number), item["serial"].clone());
            }
            let next = self.next.entry((channel.clone(), name.clone())).or_default();
            let due = std::mem::replace(next, number + 1);
            if number != due {
                self.fault(format!("{channel}: number {due} of {name} was due, and not {number}"));
            }
        }
    }

    pub(super) fn closed_with(&mut self, close: (u16, String)) {
        self.ended = Some(close);
    }

    pub(super) fn ends(&mut self) {
        let ended = self.ended.get_or_insert_with(|| (1006, "no Close".into())).clone();
        if !self.leaving {
            self.fault(format!("the connection ended: {ended:?}"));
        }
    }

    // ----- what a test asks

    pub fn is_attached(&self, channel: &str) -> bool {
        self.channels.get(channel).is_some_and(|channel| channel.attached)
    }

    /// How many messages of this name it heard on a channel.
    pub fn heard(&self, channel: &str, name: &str) -> u64 {
        self.next.get(&(channel.to_owned(), name.to_owned())).copied().unwrap_or(0)
    }

    /// How many numbers it published on a channel.
    pub fn published(&self, channel: &str) -> u64 {
        self.numbers.get(channel).copied().unwrap_or(0)
    }

    /// Has everything that it published come back, under the name that the ACK gave it?
    pub fn is_echoed(&self) -> bool {
        let come_back = |(channel, count): (&String, &u64)| {
            !self.is_attached(channel) || self.heard(channel, &self.name) == *count
        };
        let same = self.answers.iter().all(|(which, answer)| {
            !self.is_attached(&which.0) || self.echoes.get(which).is_none_or(|echo| echo == answer)
        });
        self.numbers.iter().all(come_back) && same
    }

    pub fn of(&self, action: u64) -> impl DoubleEndedIterator<Item = &Json> {
        self.frames.iter().filter(move |frame| frame["action"].as_u64() == Some(action))
    }

    /// For a failing test.
    pub fn story(&self) -> String {
        let last: Vec<String> = self.frames.iter().rev().take(12).rev().map(Json::to_string).collect();
        let unacked: Vec<_> = self.unacked.iter().map(|sent| sent["msgSerial"].clone()).collect();
        format!(
            "faults: {:#?}\nended: {:?}, un-ACKed: {}\nlast heard:\n  {}",
            self.faults,
            self.ended,
            json!(unacked),
            last.join("\n  ")
        )
    }
}

/// The number that a message carries.
fn number_of(item: &Json) -> Option<u64> {
    item["data"].as_u64().or_else(|| item["data"]["n"].as_u64())
}
