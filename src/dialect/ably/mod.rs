//! Ably's realtime protocol, version 2 and later, from the middle.
//!
//! ```text
//!   client ── MESSAGE 7 ──►  numbered, kept until its ACK ──► service
//!          ◄─ ACK 7 ───────  in the client's counting    ◄── ACK 8
//!                            AUTH(new token)             ──►
//!                            swallowed                   ◄── CONNECTED
//!          ◄─ HEARTBEAT ───  while the upstream is away  ╳
//!                            resume=newest key           ──►  a new connection
//!                            swallowed                   ◄── CONNECTED, same id
//!                            ATTACH each, serials        ──►
//!                            un-ACKed, members again     ──►
//! ```
//!
//! The rules are those of the specification's points named beside the code. What cannot be hidden is a
//! new connection id: the client is told DISCONNECTED, comes back, and its SDK starts over cleanly.

mod channel;
mod channels;
mod client;
mod codec;
mod farewell;
mod head;
mod members;
mod msgpack;
mod records;
mod refusals;
mod resume;
mod serials;
mod service;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use channels::Channels;
use client::{forged, unreadable};
use codec::{Map, Style};
pub(super) use farewell::turn_away;
use head::{Head, action};
pub use records::Records;
use records::{ConnectionRecord, Owner, Shared, SharedRecord, lock};
use serials::Serials;
use service::Answer;

use super::{
    Awaits, Dialect, Doing, Exchanged, Meaning, Moment, Outgoing, Purpose, Reading, Request, Say, Verdict,
    request::{encode_parameter, join_target},
};
use crate::{
    clock::Instant,
    credential::Token,
    wire::{Close, Direction, Message},
};

/// Messages a second if the service names no `maxInboundRate`.
const DEFAULT_PACE: u32 = 500;

/// A key that no service can know: it answers with a new connection id, and says why (80018).
const UNKNOWN_KEY: &str = "unknown";

/// Pings of the client's whose answers are awaited, and the longest id that is kept: an SDK's has 20 bytes.
const PINGS: usize = 16;
const PING_ID: usize = 128;

/// One client's connection.
#[derive(Clone, PartialEq)]
pub struct Ably {
    request: Request,
    /// How messages of Perennial's own are written: as the service's CONNECTED; before that as the client's
    /// `format` says, or its first message.
    style: Option<Style>,
    records: Shared<Records>,
    /// This session, as the owner of a record.
    session: Owner,
    /// Present once the service said CONNECTED.
    connection: Option<Connection>,
    /// The record of the connection that the client asked to continue.
    continued: Option<SharedRecord>,
    channels: Channels,
    serials: Serials,
    /// Bytes that may be kept of messages and of channels, each.
    limit: usize,
    /// Ids of the client's pings that the service has not answered.
    pings: VecDeque<Box<str>>,
    /// A CONNECTED that the client is yet to see.
    answer: Option<Answer>,
    /// Perennial's AUTH has no answer yet.
    own_auth: bool,
    /// The client's AUTH has no answer yet: the next CONNECTED is for it.
    client_auth: bool,
    /// Refusals in a row that name no token error.
    refused: u32,
    /// The client's CLOSE went to the service.
    closing: bool,
    /// The client's CLOSE waits for a service.
    leaving: bool,
    /// The last word has gone to the client: the service's own, or Perennial's.
    told: bool,
    /// A resumed connection waits for channels, before what was sent is sent again.
    replaying: bool,
    /// When a handshake was given up that the service may take yet.
    stray: Option<Instant>,
}

/// What the service said of the connection.
#[derive(Clone, PartialEq)]
struct Connection {
    id: Box<str>,
    record: SharedRecord,
    /// CD2a: the client id of who names none.
    client_id: Option<Box<str>>,
    /// How long the service may be silent, as it said last, and as the client was shown last.
    max_idle: Option<Duration>,
    shown_max_idle: Option<Duration>,
    pace: u32,
}

impl Ably {
    /// For a client whose handshake was `request`; of messages and of channels, `limit` bytes are kept each.
    pub(super) fn new(request: Request, records: Arc<Records>, limit: usize, now: Instant) -> Self {
        let style = Style::asked(&request);
        let session = records.new_owner(now);
        let key = request.parameter("resume").or_else(|| request.parameter("recover"));
        let continued = key.and_then(|key| records.take_over(&key, session, now));
        let serials = continued.as_ref().map(|record| {
            let record = lock(record);
            Serials::continued(record.breaks.clone(), record.next_client, record.owed.clone())
        });
        Self {
            request,
            style,
            records: Shared(records),
            session,
            connection: None,
            continued,
            channels: Channels::new(limit),
            serials: serials.unwrap_or_default(),
            limit,
            pings: VecDeque::new(),
            answer: None,
            own_auth: false,
            client_auth: false,
            refused: 0,
            closing: false,
            leaving: false,
            told: false,
            replaying: false,
            stray: None,
        }
    }

    fn shared_record(&self) -> Option<&SharedRecord> {
        self.connection.as_ref().map(|connection| &connection.record).or(self.continued.as_ref())
    }

    /// The connection's record, if it is this session's to write.
    fn own_record(&self) -> Option<MutexGuard<'_, ConnectionRecord>> {
        let record = lock(self.shared_record()?);
        record.is_owned_by(self.session).then_some(record)
    }

    /// The hard bound of what is kept of messages, however much of it was sent again.
    fn is_beyond_bound(&self) -> bool {
        self.serials.bytes() > self.limit.saturating_mul(2)
    }

    fn style(&self) -> Style {
        self.style.unwrap_or(Style::JSON)
    }

    /// When the client is to hear something, so that it does not give up (RTN23a).
    fn heartbeat_due(&self, told: Instant) -> Option<Instant> {
        // The client goes by what it was shown. What it was not shown since may be shorter, never longer.
        let connection = self.connection.as_ref()?;
        let interval = [connection.shown_max_idle, connection.max_idle].into_iter().flatten().min()?;
        // Two thirds: one of ours is always there before the client's patience ends.
        Some(told + interval * 2 / 3)
    }
}

impl Dialect for Ably {
    fn reads(&self, _direction: Direction) -> Reading {
        Reading::Messages
    }

    /// §1.2: every spelling of the credential is taken out, one is put in; `resume` names the newest key.
    fn handshake(&mut self, token: Option<&Token>) -> Result<Outgoing, String> {
        let token = token.ok_or_else(|| "there is no token".to_owned())?;
        let key = self.shared_record().map(|record| lock(record).key.clone());
        let mut continues = None;
        let mut pairs = vec![encode_parameter("accessToken", token.expose())];
        for parameter in self.request.parameters() {
            match &*parameter.name {
                "key" | "accessToken" | "access_token" => {}
                "resume" | "recover" => continues = Some(parameter.name.clone()),
                _ => pairs.push(parameter.raw.to_owned()),
            }
        }
        match (&self.connection, continues, key) {
            (Some(_), _, Some(key)) => pairs.push(encode_parameter("resume", &key)),
            (None, Some(how), key) => {
                pairs.push(encode_parameter(&how, key.as_deref().unwrap_or(UNKNOWN_KEY)));
            }
            (_, None, _) | (Some(_), Some(_), None) => {}
        }
        let mut headers = self.request.with_cookies().headers;
        headers.remove(http::header::AUTHORIZATION);
        Ok(Outgoing { target: join_target(self.request.path(), &pairs), headers, elsewhere: None })
    }

    fn answered(&mut self, headers: &http::HeaderMap) {
        self.request.remember_cookies(headers);
    }

    fn client(&mut self, message: Message<'_>, moment: Moment, _now: Instant, say: &mut Say) -> Verdict {
        let live = moment == Moment::Live;
        let Some(head) = Head::read(message.payload) else {
            return if live { unreadable(message) } else { Verdict::HOLD };
        };
        self.style = self.style.or_else(|| Style::of(message));
        if head.has_auth && head.action != Some(action::AUTH) {
            return forged();
        }
        if live { self.client_live(&head, message, say) } else { self.client_waits(&head, moment, say) }
    }

    fn upstream(&mut self, message: Message<'_>, moment: Moment, now: Instant, say: &mut Say) -> Verdict {
        let Some(head) = Head::of_service(message.payload) else {
            return Verdict::forward(Meaning::Unreadable { ends: false });
        };
        match head.action {
            Some(action::MESSAGE | action::ANNOTATION | action::OBJECT) => self.channels.passed(&head),
            Some(action::PRESENCE | action::SYNC) => {
                if head.action == Some(action::PRESENCE) {
                    self.channels.passed(&head);
                }
                if let Some(connection) = &self.connection {
                    self.channels.presence(&head, message.payload, &connection.id);
                }
            }
            Some(action::ACK | action::NACK) => return self.acknowledged(&head, message, say),
            Some(action::CONNECTED) => {
                self.style = Style::of(message);
                return self.connected(&head, message, (moment, now), say);
            }
            Some(action::AUTH) => return Verdict::swallow(Meaning::Asks),
            Some(action::ATTACHED) => return self.attached(&head, say),
            Some(action::DETACHED) => {
                if let Some(channel) = head.channel() {
                    self.channels.detached(&channel);
                }
                return Verdict::forward(self.replay(say));
            }
            Some(action::ERROR) => return self.error(&head, moment, say),
            Some(action::HEARTBEAT) if !self.pings.is_empty() => {
                // One answer for one ping, if two have the same id.
                let answer = head.id();
                if let Some(at) = self.pings.iter().position(|id| Some(&**id) == answer.as_deref()) {
                    self.pings.remove(at);
                }
            }
            Some(action::CLOSED) => {
                self.told = true;
                if self.closing {
                    return Verdict::forward(Meaning::Parted);
                }
            }
            Some(action::DISCONNECTED) => return self.disconnected_by_service(&head, now),
            _ => {}
        }
        Verdict::FORWARD
    }

    fn describe(&self, message: Message<'_>) -> Option<String> {
        let head = Head::of_service(message.payload)?;
        match head.action {
            Some(action::CONNECTED) => Some("CONNECTED".to_owned()),
            Some(action::ERROR) => Some(format!("ERROR {}", head.error().describe())),
            Some(action::DISCONNECTED) => Some(format!("DISCONNECTED {}", head.error().describe())),
            _ => None,
        }
    }

    fn opened(&mut self, _purpose: Purpose, _now: Instant, _say: &mut Say) -> Awaits {
        Awaits::Ready
    }

    /// RTC8a: AUTH, on the live connection.
    fn exchange(&mut self, token: Option<&Token>, _now: Instant, say: &mut Say) -> Exchanged {
        let Some(token) = token else { return Exchanged::Needless };
        let Style { format, kind } = self.style();
        let auth = Map::new(format).text("accessToken", token.expose());
        say.to_upstream.push(Map::action(format, action::AUTH).map("auth", auth).payload(kind));
        self.own_auth = true;
        Exchanged::Asked
    }

    fn lost(&mut self) -> Result<(), &'static str> {
        self.own_auth = false;
        self.replaying = false;
        if self.is_superseded() {
            Err("a newer session of the client continues the connection")
        } else if self.closing {
            Err("the client has closed the connection")
        } else if self.channels.are_forgotten() {
            Err("the channels take more memory than session.queue allows")
        } else if self.is_beyond_bound() {
            Err("the messages without an acknowledgement take more memory than session.queue allows")
        } else {
            Ok(())
        }
    }

    /// To dial again would supersede the successor.
    fn is_superseded(&self) -> bool {
        self.shared_record().is_some_and(|record| !lock(record).is_owned_by(self.session))
    }

    fn gave_up(&mut self, now: Instant) {
        self.stray = Some(now);
    }

    fn farewell(&mut self, doing: Doing, close: Option<Close>, say: &mut Say) -> Option<Close> {
        self.last_words(doing, close, say)
    }

    fn due(&self, told: Instant) -> Option<Instant> {
        let answer = self.answer.as_ref().map(|answer| answer.until);
        self.heartbeat_due(told).into_iter().chain(answer).min()
    }

    fn speak(&mut self, told: Instant, now: Instant, say: &mut Say) {
        say.to_client
            .extend(self.answer.take_if(|answer| answer.until <= now).map(|answer| answer.connected));
        if self.heartbeat_due(told).is_some_and(|at| at <= now) {
            let Style { format, kind } = self.style();
            say.to_client.push(Map::action(format, action::HEARTBEAT).payload(kind));
        }
    }

    fn pace(&self) -> u32 {
        self.connection.as_ref().map_or(DEFAULT_PACE, |connection| connection.pace)
    }

    /// Messages that were sent again do not count: a service that had taken them may never acknowledge them
    /// by themselves, but only with a later message, which has to go up first.
    fn is_full(&self) -> bool {
        self.serials.bytes_sent_once() > self.limit || self.is_beyond_bound()
    }

    fn acknowledges(&self) -> bool {
        true
    }

    fn ended(&mut self, now: Instant) {
        if let Some(mut record) = self.own_record() {
            record.over |= self.closing;
        } else {
            return;
        }
        if let Some(record) = self.shared_record() {
            self.records.ended(record, now);
        }
    }
}

/// For tests and for logs: which connection it is, never its key.
impl std::fmt::Debug for Ably {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = self.connection.as_ref().map(|connection| &connection.id);
        f.debug_struct("Ably").field("connection", &id).field("style", &self.style).finish_non_exhaustive()
    }
}
