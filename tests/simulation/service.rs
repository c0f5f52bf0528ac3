//! A service of the Ably shape, simulated: strict, deterministic, and written without the dialect's code.
//!
//! It answers with what is to be sent, and when; the world decides what becomes of it on the way.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// A transport: one upstream connection.
pub(crate) type Tid = u32;

/// Something for a transport: after a delay in microseconds, a message or the end.
pub(crate) struct Out {
    pub(crate) delay: u64,
    pub(crate) to: Tid,
    pub(crate) what: Option<Value>,
}

#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// Counts the keys that were issued.
    keys: u32,
    /// The newest that the other side is known to have got: older ones no longer resume.
    seen: u32,
    next_serial: u64,
    /// Numbers of the client's messages, as they were first accepted.
    pub(crate) accepted: Vec<u64>,
    pub(crate) members: BTreeSet<String>,
    pub(crate) transport: Option<Tid>,
}

#[derive(Debug)]
struct Transport {
    connection: Option<String>,
    attached: BTreeSet<String>,
    /// When its token ends, µs.
    expires: u64,
    /// Counts its AUTHs: a deadline of an older token is void.
    auths: u32,
    unanswered: u32,
}

/// What went wrong on the client's side of the protocol.
#[derive(Debug, Default)]
pub(crate) struct Service {
    pub(crate) connections: BTreeMap<String, Connection>,
    transports: BTreeMap<Tid, Transport>,
    /// Tokens and when they end, µs.
    pub(crate) tokens: BTreeMap<String, u64>,
    pub(crate) refused: BTreeSet<String>,
    history: BTreeMap<String, Vec<Value>>,
    /// What no correct client does.
    pub(crate) violations: Vec<String>,
    pub(crate) auths: u64,
    pub(crate) resumes: u64,
    pub(crate) expiries: u64,
    /// Faults that were ordered: AUTHs not answered, AUTHs refused.
    pub(crate) swallow: u32,
    pub(crate) reject: u32,
    /// Acknowledgements wait, so that a loss finds something un-acknowledged.
    pub(crate) ack_delay: u64,
    /// Messages a second that it says it takes: what was held is let go no faster.
    pub(crate) rate: u64,
    /// Numbers that it published by itself.
    pub(crate) published_numbers: u64,
    issued: u32,
}

impl Service {
    /// One that says it takes `rate` messages a second.
    pub(crate) fn new(rate: u64) -> Self {
        Self { rate, ..Self::default() }
    }

    pub(crate) fn issue(&mut self, expires: u64) -> String {
        self.issued += 1;
        let token = format!("token-{}", self.issued);
        self.tokens.insert(token.clone(), expires);
        token
    }

    /// A handshake arrives. The transport is open; what it says comes as messages.
    pub(crate) fn dial(&mut self, tid: Tid, target: &str, now: u64) -> Vec<Out> {
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let pairs: Vec<(&str, &str)> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let all = |name: &str| {
            pairs.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.replace("%2D", "-")).collect::<Vec<_>>()
        };
        let tokens = all("accessToken");
        if tokens.len() != 1
            || !all("key").is_empty()
            || !all("access%5Ftoken").is_empty()
            || !all("access_token").is_empty()
        {
            self.violations.push(format!("not exactly one credential: {target}"));
        }
        let token = tokens.into_iter().next().unwrap_or_default();
        let expires = self.tokens.get(&token).copied().unwrap_or(0);
        self.transports.insert(
            tid,
            Transport { connection: None, attached: BTreeSet::new(), expires, auths: 0, unanswered: 0 },
        );
        if expires <= now || self.refused.contains(&token) {
            return self.end(
                tid,
                json!({"action": 9, "error": {"code": 40142, "statusCode": 401, "message": "expired"}}),
            );
        }
        let resume = all("resume").pop();
        let known = resume.as_ref().and_then(|key| {
            let (id, n) = key.split_once("k")?;
            let connection = self.connections.get(id)?;
            n.parse::<u32>()
                .is_ok_and(|n| n >= connection.seen && n <= connection.keys)
                .then(|| id.to_owned())
        });
        let fresh = format!("c{}x", self.connections.len());
        let error = (resume.is_some() && known.is_none()).then(|| json!({"code": 80018, "statusCode": 400}));
        self.resumes += u64::from(known.is_some());
        let id = known.unwrap_or(fresh);
        let connection = self.connections.entry(id.clone()).or_default();
        let mut out = Vec::new();
        if let Some(old) = connection.transport.replace(tid) {
            out = self.end(old, json!({"action": 6, "error": {"code": 80016, "statusCode": 410}}));
        }
        if let Some(transport) = self.transports.get_mut(&tid) {
            transport.connection = Some(id.clone());
        }
        out.push(Out { delay: 0, to: tid, what: Some(self.connected(&id, error)) });
        out
    }

    fn connected(&mut self, id: &str, error: Option<Value>) -> Value {
        let connection = self.connections.get_mut(id).unwrap();
        connection.keys += 1;
        let mut message = json!({"connectionDetails": {"connectionKey": format!("{id}k{}", connection.keys),
            "maxIdleInterval": 15000, "maxInboundRate": self.rate}, "action": 4, "connectionId": id});
        if let Some(error) = error {
            message["error"] = error;
        }
        message
    }

    /// The other side has got this CONNECTED.
    pub(crate) fn seen(&mut self, message: &Value) {
        let Some((id, n)) =
            message["connectionDetails"]["connectionKey"].as_str().and_then(|key| key.split_once('k'))
        else {
            return;
        };
        if let (Some(connection), Ok(n)) = (self.connections.get_mut(id), n.parse()) {
            connection.seen = connection.seen.max(n);
        }
    }

    fn end(&mut self, tid: Tid, last: Value) -> Vec<Out> {
        self.cut(tid);
        vec![Out { delay: 0, to: tid, what: Some(last) }, Out { delay: 0, to: tid, what: None }]
    }

    /// The transport is gone, no matter who ended it.
    pub(crate) fn cut(&mut self, tid: Tid) -> bool {
        let Some(transport) = self.transports.remove(&tid) else { return false };
        if let Some(connection) = transport.connection.and_then(|id| self.connections.get_mut(&id))
            && connection.transport == Some(tid)
        {
            connection.transport = None;
        }
        true
    }

    pub(crate) fn live(&self) -> Vec<Tid> {
        self.transports.keys().copied().collect()
    }

    /// When its token ends, and which of its tokens that is.
    pub(crate) fn expiry(&self, tid: Tid) -> Option<(u64, u32)> {
        self.transports.get(&tid).map(|transport| (transport.expires, transport.auths))
    }

    pub(crate) fn hint(&self, tid: Tid, auths: u32) -> Vec<Out> {
        let due = self.transports.get(&tid).is_some_and(|t| t.auths == auths && t.unanswered == 0);
        if due { vec![Out { delay: 0, to: tid, what: Some(json!({"action": 17})) }] } else { vec![] }
    }

    pub(crate) fn expire(&mut self, tid: Tid, auths: u32) -> Vec<Out> {
        if self.transports.get(&tid).is_none_or(|t| t.auths != auths) {
            return vec![];
        }
        self.expiries += 1;
        self.end(tid, json!({"error": {"statusCode": 401, "code": 40142}, "action": 6}))
    }

    pub(crate) fn disconnect(&mut self, tid: Tid) -> Vec<Out> {
        self.end(tid, json!({"action": 6, "error": {"code": 80003, "statusCode": 503, "message": "moving"}}))
    }

    /// It says its next number.
    pub(crate) fn publish_next(&mut self, channel: &str) -> Vec<Out> {
        self.published_numbers += 1;
        let number = self.published_numbers;
        let serial = self.history.entry(channel.into()).or_default().len();
        let message = json!({"action": 15, "id": format!("srv:{number}"), "channel": channel, "channelSerial": format!("s{serial}"),
            "messages": [{"name": "server", "data": number}]});
        self.deliver(channel, message)
    }

    fn deliver(&mut self, channel: &str, message: Value) -> Vec<Out> {
        self.history.entry(channel.into()).or_default().push(message.clone());
        let attached = self.transports.iter().filter(|(_, t)| t.attached.contains(channel));
        attached.map(|(tid, _)| Out { delay: 0, to: *tid, what: Some(message.clone()) }).collect()
    }

    /// A message of the client's arrives.
    pub(crate) fn receive(&mut self, tid: Tid, message: &Value, now: u64) -> Vec<Out> {
        let Some(transport) = self.transports.get_mut(&tid) else { return vec![] };
        let Some(id) = transport.connection.clone() else {
            self.violations.push(format!("a message before CONNECTED: {message}"));
            return vec![];
        };
        let one = |what: Value| vec![Out { delay: 0, to: tid, what: Some(what) }];
        match message["action"].as_u64() {
            Some(0) => one(message.clone()),
            Some(7) => self.end(tid, json!({"action": 8})),
            Some(10) => {
                let channel = message["channel"].as_str().unwrap().to_owned();
                if channel == "options" && message["params"]["delta"] != "vcdiff" {
                    self.violations.push(format!("the channel's params are gone: {message}"));
                }
                transport.attached.insert(channel.clone());
                self.attached(tid, &channel, message["channelSerial"].as_str())
            }
            Some(12) => {
                let channel = message["channel"].as_str().unwrap().to_owned();
                transport.attached.remove(&channel);
                one(json!({"action": 13, "channel": channel}))
            }
            Some(14 | 15) => self.published(tid, &id, message),
            Some(17) => self.auth(tid, &id, message, now),
            _ => vec![],
        }
    }

    fn attached(&mut self, tid: Tid, channel: &str, from: Option<&str>) -> Vec<Out> {
        let history = self.history.entry(channel.into()).or_default();
        let after = from.and_then(|serial| serial.strip_prefix('s')?.parse::<i64>().ok());
        let missed = after.map_or(&[][..], |after| &history[(after + 1).max(0) as usize..]);
        let present = self.connections.values().any(|connection| !connection.members.is_empty());
        let flags = 983_040 + if after.is_some() { 4 } else { 0 } + u64::from(present);
        let serial = format!("s{}", after.unwrap_or(history.len() as i64 - 1));
        let answer = json!({"action": 11, "flags": flags, "channel": channel, "channelSerial": serial});
        let all = std::iter::once(answer).chain(missed.iter().cloned());
        all.map(|what| Out { delay: 0, to: tid, what: Some(what) }).collect()
    }

    fn published(&mut self, tid: Tid, id: &str, message: &Value) -> Vec<Out> {
        let connection = self.connections.get_mut(id).unwrap();
        let Some(serial) = message["msgSerial"].as_u64() else {
            self.violations.push(format!("no msgSerial: {message}"));
            return vec![];
        };
        let ack = json!({"msgSerial": serial, "count": 1, "action": 1, "res": [{"serials": [format!("r{serial}")]}]});
        let delay = self.ack_delay;
        let mut out = Vec::new();
        if serial > connection.next_serial {
            self.violations.push(format!("a gap: {serial} after {}", connection.next_serial));
        } else if serial == connection.next_serial {
            connection.next_serial += 1;
            if message["action"] == 14 {
                let channel = message["channel"].as_str().unwrap();
                if !self.transports[&tid].attached.contains(channel) {
                    self.violations.push("presence before its channel was attached".into());
                }
                connection.members.insert(message["presence"][0]["clientId"].as_str().unwrap().into());
                let item = &message["presence"][0];
                let mut echo =
                    json!({"action": 14, "channel": channel, "connectionId": id, "presence": [item]});
                if item["id"].is_null() {
                    echo["presence"][0]["id"] = json!(format!("{id}:{serial}:0"));
                }
                out.push(Out { delay: 0, to: tid, what: Some(echo) });
            } else {
                connection.accepted.extend(message["messages"][0]["data"].as_u64());
            }
        }
        out.push(Out { delay, to: tid, what: Some(ack) });
        out
    }

    fn auth(&mut self, tid: Tid, id: &str, message: &Value, now: u64) -> Vec<Out> {
        let token = message["auth"]["accessToken"].as_str().unwrap_or_default().to_owned();
        let expires = self.tokens.get(&token).copied().unwrap_or(0);
        let transport = self.transports.get_mut(&tid).unwrap();
        self.auths += 1;
        if transport.unanswered > 0 {
            self.violations.push("an AUTH while another was unanswered".into());
        }
        if self.swallow > 0 {
            self.swallow -= 1;
            transport.unanswered += 1;
            return vec![];
        }
        if self.reject > 0 || expires <= now {
            self.reject = self.reject.saturating_sub(1);
            self.refused.insert(token);
            return self.end(tid, json!({"action": 9, "error": {"code": 40101, "statusCode": 401}}));
        }
        transport.expires = expires;
        transport.auths += 1;
        let connected = self.connected(id, None);
        vec![Out { delay: 10_000, to: tid, what: Some(connected) }]
    }
}
