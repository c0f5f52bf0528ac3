//! A client that knows nothing of tokens, and everything of what it may see.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// One client, its numbers, and what it saw.
#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) connected: bool,
    pub(crate) connection_id: String,
    next: u64,
    /// Numbers of messages sent, in order; presence takes a serial as well.
    pub(crate) sent: Vec<u64>,
    acked: u64,
    /// The server's numbers, as they came.
    pub(crate) received: Vec<u64>,
    attaching: BTreeSet<String>,
    detaching: BTreeSet<String>,
    /// It has been attached to `main`.
    main: bool,
    pings: Vec<String>,
    auths: u32,
    pub(crate) closed: Option<u16>,
    /// What a client must not see.
    pub(crate) wrong: Vec<String>,
}

impl Client {
    pub(crate) fn publish(&mut self) -> Value {
        let number = self.sent.len() as u64;
        self.sent.push(number);
        let message = json!({"action": 15, "channel": "main", "msgSerial": self.next, "messages": [{"name": "n", "data": number}]});
        self.next += 1;
        message
    }

    pub(crate) fn enter(&mut self) -> Value {
        let message = json!({"msgSerial": self.next, "action": 14, "channel": "main",
            "presence": [{"action": 2, "clientId": "me", "data": "here"}]});
        self.next += 1;
        message
    }

    pub(crate) fn attach(&mut self, channel: &str) -> Option<Value> {
        let idle = !self.detaching.contains(channel) && self.attaching.insert(channel.into());
        let mut message = json!({"action": 10, "channel": channel});
        if channel == "options" {
            message["params"] = json!({"delta": "vcdiff"});
        }
        idle.then_some(message)
    }

    pub(crate) fn detach(&mut self, channel: &str) -> Option<Value> {
        let idle = !self.attaching.contains(channel) && self.detaching.insert(channel.into());
        idle.then(|| json!({"channel": channel, "action": 12}))
    }

    pub(crate) fn ping(&mut self) -> Value {
        let id = format!("p{}", self.next);
        self.pings.push(id.clone());
        json!({"action": 0, "id": id})
    }

    pub(crate) fn auth(&mut self) -> Option<Value> {
        (self.auths == 0).then(|| {
            self.auths += 1;
            json!({"action": 17, "auth": {"accessToken": "the client's own"}})
        })
    }

    /// Has it asked for `main`, and been answered?
    pub(crate) fn is_attached_to_main(&self) -> bool {
        self.connected && self.main
    }

    pub(crate) fn unanswered_pings(&self) -> usize {
        self.pings.len()
    }

    /// Everything that is still owed to it.
    pub(crate) fn waits_for(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        if self.acked != self.next {
            all.push(format!("{} of {} acknowledged", self.acked, self.next));
        }
        all.extend(self.attaching.iter().map(|channel| format!("ATTACHED {channel}")));
        all.extend(self.detaching.iter().map(|channel| format!("DETACHED {channel}")));
        all.extend(self.pings.iter().map(|id| format!("pong {id}")));
        all.extend((self.auths > 0).then(|| "CONNECTED after AUTH".to_owned()));
        all
    }

    pub(crate) fn receive(&mut self, message: &Value) {
        let fine = match message["action"].as_u64() {
            Some(0) => match message["id"].as_str() {
                Some(id) => {
                    self.pings.iter().position(|ping| ping == id).map(|at| self.pings.remove(at)).is_some()
                }
                None => true,
            },
            Some(1) => self.take_ack(message),
            Some(4) if !self.connected => {
                self.connected = true;
                self.connection_id = message["connectionId"].as_str().unwrap().into();
                true
            }
            Some(4) => {
                let asked = self.auths > 0;
                self.auths = self.auths.saturating_sub(1);
                asked && message["connectionId"] == *self.connection_id
            }
            Some(11) => {
                self.main |= message["channel"] == "main";
                self.attaching.remove(message["channel"].as_str().unwrap())
            }
            Some(13) => self.detaching.remove(message["channel"].as_str().unwrap()),
            Some(14) => true,
            Some(15) => {
                self.received.extend(message["messages"][0]["data"].as_u64());
                true
            }
            _ => false,
        };
        if !fine {
            self.wrong.push(message.to_string());
        }
    }

    /// Acknowledgements come in order, each once, with the result of just that message.
    fn take_ack(&mut self, message: &Value) -> bool {
        let (first, count) = (message["msgSerial"].as_u64().unwrap(), message["count"].as_u64().unwrap());
        let right = first == self.acked && count > 0 && first + count <= self.next;
        self.acked = first + count;
        right && message["res"].as_array().is_none_or(|res| res.len() as u64 == count)
    }
}
