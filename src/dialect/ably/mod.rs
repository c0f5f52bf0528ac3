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

mod channels;
mod codec;
mod head;
mod lines;
mod msgpack;
mod serials;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use channels::{Attached, Channels};
use codec::{Format, Map};
use head::{Details, ErrorInfo, Head, action};
pub use lines::Lines;
use lines::{Line, SharedLine, lock};
use serials::{Covered, Run, Serials};

use super::{
    Dialect, Fate, Meaning, Moment, Outgoing, Request, Say, Verdict,
    request::{encode_parameter, join_target},
};
use crate::{
    clock::Instant,
    credential::Token,
    wire::{Direction, Message, Payload},
};

/// Messages a second where the service names no `maxInboundRate`.
const DEFAULT_PACE: u32 = 500;

/// A key that no service can know: it answers with a new connection id, and says why (80018).
const UNKNOWN_KEY: &str = "unknown";

/// Pings of the client's whose answers are looked out for.
const PINGS: usize = 16;

/// One client's connection.
pub struct Ably {
    request: Request,
    format: Format,
    lines: Arc<Lines>,
    /// Present once the service said CONNECTED.
    connection: Option<Connection>,
    /// The line that the client asked to continue.
    continued: Option<SharedLine>,
    channels: Channels,
    serials: Serials,
    /// Bytes that may be remembered of messages and channels, each.
    limit: usize,
    /// Ids of the client's pings that the service has not answered.
    pings: VecDeque<Box<str>>,
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
    /// The service's CLOSED went to the client.
    closed: bool,
    /// A resumed connection waits for channels, before what was sent is sent again.
    replaying: bool,
}

/// What the service said of the connection.
struct Connection {
    id: Box<str>,
    line: SharedLine,
    max_idle: Option<Duration>,
    pace: u32,
}

impl Ably {
    /// For a client whose handshake was `request`; `limit` bytes are remembered at most.
    pub(super) fn new(request: Request, lines: Arc<Lines>, limit: usize, now: Instant) -> Self {
        let json = request.parameter("format").is_some_and(|format| format == "json");
        let format = if json { Format::Json } else { Format::Msgpack };
        lines.sweep(now);
        let key = request.parameter("resume").or_else(|| request.parameter("recover"));
        let continued = key.as_deref().and_then(|key| lines.find(key, now));
        let serials = continued.as_ref().map(|line| {
            let line = lock(line);
            Serials::continued(line.breaks.clone(), line.next_client)
        });
        Self {
            request,
            format,
            lines,
            connection: None,
            continued,
            channels: Channels::new(format),
            serials: serials.unwrap_or_default(),
            limit,
            pings: VecDeque::new(),
            own_auth: false,
            client_auth: false,
            refused: 0,
            closing: false,
            leaving: false,
            closed: false,
            replaying: false,
        }
    }

    /// A message in the connection's format, or in the one it came in.
    fn format_of(message: Message<'_>) -> Format {
        match message.kind {
            crate::wire::Kind::Text => Format::Json,
            crate::wire::Kind::Binary => Format::Msgpack,
        }
    }

    // ----- what the client says

    /// A message that wants an acknowledgement (RTN7a).
    fn client_publishes(&mut self, head: &Head<'_>, message: Message<'_>, say: &mut Say) -> Verdict {
        let Some(serial) = head.msg_serial.0 else { return Verdict::FORWARD };
        let presence = head.action.0 == Some(action::PRESENCE);
        let presence_of = head.channel().filter(|_| presence).map(Box::from);
        let upstream = self.serials.upstream_of(serial);
        if let Some(connection) = &self.connection {
            // At once, not at the end: the client may be back before this session knows that it left.
            let mut line = lock(&connection.line);
            line.next_client = line.next_client.max(serial.saturating_add(1));
        }
        if upstream == serial {
            self.serials.sent(serial, message.into(), presence_of);
            return Verdict::FORWARD;
        }
        let format = Self::format_of(message);
        let Some(fields) = format.fields(message.payload) else { return Verdict::FORWARD };
        let renumbered = fields.iter().fold(Map::new(format), |map, (key, value)| match &**key {
            "msgSerial" => map.uint(key, upstream),
            key => map.raw(key, value),
        });
        let payload = renumbered.payload();
        self.serials.sent(serial, payload.clone(), presence_of);
        say.to_upstream.push(payload);
        Verdict::SWALLOW
    }

    fn client_live(&mut self, head: &Head<'_>, message: Message<'_>, say: &mut Say) -> Verdict {
        match (head.action.0, head.channel()) {
            (Some(action::MESSAGE | action::PRESENCE | action::ANNOTATION | action::OBJECT), _) => {
                return self.client_publishes(head, message, say);
            }
            (Some(action::ATTACH), Some(channel)) => self.channels.client_attaches(channel, message.payload),
            (Some(action::DETACH), Some(channel)) => self.channels.client_detaches(channel),
            (Some(action::HEARTBEAT), _) => self.client_pings(head),
            (Some(action::AUTH), _) => {
                self.client_auth = true;
                return Verdict::swallow(Meaning::ClientAsks);
            }
            (Some(action::CLOSE), _) => {
                self.closing = true;
                return Verdict::forward(Meaning::Leaving);
            }
            _ => {}
        }
        Verdict::FORWARD
    }

    fn client_pings(&mut self, head: &Head<'_>) {
        if let Some(id) = &head.id {
            if self.pings.len() == PINGS {
                self.pings.pop_front();
            }
            self.pings.push_back(Box::from(&*id.0));
        }
    }

    /// RTN13e: the answer carries the id.
    fn pong(&self, id: Option<&str>) -> Payload {
        let pong = Map::action(self.format, action::HEARTBEAT);
        match id {
            Some(id) => pong.text("id", id).payload(),
            None => pong.payload(),
        }
    }

    /// A message that comes while the upstream is away, or taken up with something else.
    fn client_waits(&mut self, head: &Head<'_>, moment: Moment, say: &mut Say) -> Verdict {
        match head.action.0 {
            // Nothing of a heartbeat needs the new token.
            Some(action::HEARTBEAT) if moment == Moment::Exchanging => {
                self.client_pings(head);
                Verdict::FORWARD
            }
            Some(action::HEARTBEAT) => {
                say.to_client.push(self.pong(head.id.as_ref().map(|id| &*id.0)));
                Verdict::SWALLOW
            }
            Some(action::CLOSE) if moment == Moment::Exchanging => {
                Verdict { fate: Fate::Hurry, meaning: Meaning::Nothing }
            }
            Some(action::CLOSE) => {
                self.leaving = true;
                Verdict { fate: Fate::Hold, meaning: Meaning::Leaving }
            }
            Some(action::DISCONNECT) => Verdict::SWALLOW,
            _ => Verdict::HOLD,
        }
    }

    // ----- what the service says

    fn connected(&mut self, head: &Head<'_>, moment: Moment, say: &mut Say) -> Verdict {
        let id = head.connection_id.as_ref().map_or("", |id| &id.0);
        self.refused = 0;
        let Some(connection) = &mut self.connection else { return self.first_connected(id, head) };
        if *connection.id != *id {
            lock(&connection.line).over = true;
            say.to_client.push(self.disconnected("the service could not continue the connection"));
            return Verdict::swallow(Meaning::Discontinued);
        }
        connection.update(head.details.as_ref());
        let fate = if std::mem::take(&mut self.client_auth) {
            self.show_key();
            Fate::Forward
        } else {
            Fate::Swallow
        };
        if moment == Moment::Resuming {
            self.own_auth = false;
            self.replaying = true;
            // What the lost connection was asked and did not answer.
            let owed = std::mem::take(&mut self.pings);
            say.to_client.extend(owed.iter().map(|id| self.pong(Some(id))));
            say.to_upstream.extend(self.channels.attach_again());
            return Verdict { fate, meaning: self.replay(say) };
        }
        if std::mem::take(&mut self.own_auth) {
            return Verdict { fate, meaning: Meaning::Accepted };
        }
        self.show_key();
        Verdict::FORWARD
    }

    fn first_connected(&mut self, id: &str, head: &Head<'_>) -> Verdict {
        let same = self.continued.take().filter(|line| lock(line).id == id);
        let line = same.unwrap_or_else(|| {
            // A new id starts a new counting, whatever the client asked to continue.
            self.serials = Serials::default();
            Arc::new(Mutex::new(Line { id: id.to_owned(), clean: true, ..Line::default() }))
        });
        lock(&line).ended = None;
        let mut connection =
            Connection { id: id.into(), line, max_idle: Some(Duration::from_secs(15)), pace: DEFAULT_PACE };
        connection.update(head.details.as_ref());
        self.connection = Some(connection);
        self.show_key();
        Verdict::forward(Meaning::Ready)
    }

    /// The client is shown the newest key, and may come back with it.
    fn show_key(&self) {
        if let Some(connection) = &self.connection {
            let key = lock(&connection.line).key.clone();
            self.lines.learn(&key, &connection.line);
        }
    }

    /// RTN19a, RTP17i: once every channel whose presence is at stake is attached, what was not
    /// acknowledged goes again, with its serials; then the members are entered again.
    fn replay(&mut self, say: &mut Say) -> Meaning {
        let waits = self.serials.presence_channels().any(|channel| self.channels.is_attaching(channel));
        if !self.replaying || waits || self.channels.members_wait() {
            return Meaning::Nothing;
        }
        self.replaying = false;
        let before = say.to_upstream.len();
        say.to_upstream.extend(self.serials.again().cloned());
        say.replayed += (say.to_upstream.len() - before) as u64;
        for (channel, message) in self.channels.members() {
            let serial = self.serials.take_own();
            let payload = message.uint("msgSerial", serial).payload();
            self.serials.sent_own(serial, payload.clone(), &channel);
            say.to_upstream.push(payload);
        }
        self.note_serials();
        say.to_upstream.extend(self.channels.detach_again());
        Meaning::Ready
    }

    /// What a later session would have to know of the counting.
    fn note_serials(&self) {
        if let Some(connection) = &self.connection {
            let mut line = lock(&connection.line);
            line.breaks.clear();
            line.breaks.extend_from_slice(self.serials.breaks());
            line.clean = !self.serials.owes_own();
        }
    }

    fn attached(&mut self, head: &Head<'_>, say: &mut Say) -> Verdict {
        let fate = match self.channels.attached(head) {
            Attached::Client | Attached::OwnWithGap => Fate::Forward,
            Attached::Own => {
                let own = self.connection.as_ref().map_or("", |connection| &connection.id);
                say.to_client.extend(self.channels.emptied(head, own));
                Fate::Swallow
            }
        };
        Verdict { fate, meaning: self.replay(say) }
    }

    /// ACK and NACK, in the client's counting (RTN7).
    fn acknowledged(&mut self, head: &Head<'_>, message: Message<'_>, say: &mut Say) -> Verdict {
        let Some(first) = head.msg_serial.0 else { return Verdict::FORWARD };
        let refused = head.action.0 == Some(action::NACK);
        let owed = !self.serials.breaks().is_empty();
        let covered = self.serials.acknowledged(first, head.count.0.unwrap_or(1), refused);
        if owed {
            self.note_serials();
        }
        let Covered::Runs(runs) = covered else { return Verdict::FORWARD };
        let format = Self::format_of(message);
        let fields = format.fields(message.payload).unwrap_or_default();
        let results = fields.iter().find(|(key, _)| key == "res").and_then(|(_, res)| format.elements(res));
        for run in runs {
            say.to_client.push(acknowledgement(format, &fields, results.as_deref(), &run));
        }
        Verdict::SWALLOW
    }

    fn error(&mut self, head: &Head<'_>, moment: Moment, say: &mut Say) -> Verdict {
        if let Some(channel) = head.channel() {
            self.channels.gone(channel);
            return Verdict::forward(self.replay(say));
        }
        let none = ErrorInfo::default();
        let error = head.error.as_ref().unwrap_or(&none);
        if self.own_auth {
            self.own_auth = false;
            return Verdict::swallow(Meaning::Rejected(error.describe()));
        }
        if error.is_of_token() {
            return Verdict::swallow(Meaning::Lapsed(error.describe()));
        }
        match error.code() {
            // The redial's credential was refused: a fresh one may do, once. At the first dial it is the
            // client's own doing (its clientId, say), and must not cost the other sessions their token.
            40100..=40139 if moment == Moment::Resuming && self.refused == 0 => {
                self.refused += 1;
                Verdict::swallow(Meaning::Lapsed(error.describe()))
            }
            // Too much, or a fault of the service's: it passes.
            42900..=42999 | 50000..=59999 if moment != Moment::Opening => {
                Verdict::swallow(Meaning::Lost(error.describe()))
            }
            _ => Verdict::forward(Meaning::Fatal),
        }
    }

    fn disconnected_by_service(&mut self, head: &Head<'_>) -> Verdict {
        let none = ErrorInfo::default();
        let error = head.error.as_ref().unwrap_or(&none);
        let of_token = error.is_of_token();
        match error.code() {
            // The client itself has a newer transport: this one must not fight for the connection.
            80016 => Verdict::forward(Meaning::Fatal),
            // Also while an AUTH is under way: it is the old token that ended before the new one was read.
            _ if of_token => Verdict::swallow(Meaning::Lapsed(error.describe())),
            _ => Verdict::swallow(Meaning::Lost(error.describe())),
        }
    }

    /// RTN15h3: the client comes back at once, with `resume`.
    fn disconnected(&self, why: &str) -> Payload {
        let error = Map::new(self.format).uint("code", 80003).uint("statusCode", 400).text("message", why);
        Map::action(self.format, action::DISCONNECTED).map("error", error).payload()
    }
}

impl Connection {
    fn update(&mut self, details: Option<&Details<'_>>) {
        let Some(details) = details else { return };
        if let Some(key) = &details.key {
            lock(&self.line).key = key.0.to_string();
        }
        if let Some(millis) = details.max_idle.0 {
            self.max_idle = (millis > 0).then(|| Duration::from_millis(millis));
        }
        if let Some(rate) = details.max_inbound_rate.0 {
            self.pace = u32::try_from(rate).unwrap_or(u32::MAX).max(1);
        }
    }
}

/// An ACK or NACK for one run: the service's, with the client's numbers and its part of `res`.
fn acknowledgement(
    format: Format,
    fields: &[(std::borrow::Cow<'_, str>, &[u8])],
    results: Option<&[&[u8]]>,
    run: &Run,
) -> Payload {
    let mut map = Map::new(format);
    for (key, value) in fields {
        map = match &**key {
            "msgSerial" => map.uint(key, run.first),
            "count" => map.uint(key, run.count),
            "res" => match (results, run.result) {
                (Some(results), Some(at)) => {
                    let part = results.iter().skip(at).take(run.count as usize).copied();
                    let part: Vec<&[u8]> = part.collect();
                    map.array(key, part.into_iter())
                }
                _ => map,
            },
            key => map.raw(key, value),
        };
    }
    map.payload()
}

impl Dialect for Ably {
    fn inspects(&self, _direction: Direction) -> bool {
        true
    }

    /// §1.2: every spelling of the credential is taken out, one is put in; `resume` names the newest key.
    fn handshake(&mut self, token: Option<&Token>) -> Result<Outgoing, String> {
        let token = token.ok_or_else(|| "there is no token".to_owned())?;
        let connection_line = self.connection.as_ref().map(|connection| &connection.line);
        let line = connection_line.or(self.continued.as_ref());
        let key = line.map(|line| lock(line).key.clone());
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
        let mut headers = self.request.headers.clone();
        headers.remove(http::header::AUTHORIZATION);
        Ok(Outgoing { target: join_target(self.request.path(), &pairs), headers })
    }

    fn client(&mut self, message: Message<'_>, moment: Moment, _now: Instant, say: &mut Say) -> Verdict {
        let live = moment == Moment::Live;
        let Some(head) = Head::read(Self::format_of(message), message.payload) else {
            return if live { Verdict::FORWARD } else { Verdict::HOLD };
        };
        if live { self.client_live(&head, message, say) } else { self.client_waits(&head, moment, say) }
    }

    fn upstream(&mut self, message: Message<'_>, moment: Moment, _now: Instant, say: &mut Say) -> Verdict {
        let Some(head) = Head::read(Self::format_of(message), message.payload) else {
            return Verdict::FORWARD;
        };
        match head.action.0 {
            Some(action::MESSAGE | action::ANNOTATION | action::OBJECT) => self.channels.passed(&head),
            Some(action::PRESENCE | action::SYNC) => {
                if head.action.0 == Some(action::PRESENCE) {
                    self.channels.passed(&head);
                }
                if let Some(connection) = &self.connection {
                    self.channels.presence(&head, message.payload, &connection.id);
                }
            }
            Some(action::ACK | action::NACK) => return self.acknowledged(&head, message, say),
            Some(action::CONNECTED) => return self.connected(&head, moment, say),
            Some(action::AUTH) => return Verdict::swallow(Meaning::Asks),
            Some(action::ATTACHED) => return self.attached(&head, say),
            Some(action::DETACHED) => {
                if let Some(channel) = head.channel() {
                    self.channels.gone(channel);
                }
                return Verdict::forward(self.replay(say));
            }
            Some(action::ERROR) => return self.error(&head, moment, say),
            Some(action::HEARTBEAT) if !self.pings.is_empty() => {
                if let Some(id) = &head.id {
                    self.pings.retain(|ping| **ping != *id.0);
                }
            }
            Some(action::CLOSED) => self.closed = true,
            Some(action::DISCONNECTED) => return self.disconnected_by_service(&head),
            _ => {}
        }
        Verdict::FORWARD
    }

    fn opened(&mut self) -> bool {
        false
    }

    /// RTC8a: AUTH, on the live connection.
    fn exchange(&mut self, token: &Token, say: &mut Say) -> bool {
        let auth = Map::new(self.format).text("accessToken", token.expose());
        say.to_upstream.push(Map::action(self.format, action::AUTH).map("auth", auth).payload());
        self.own_auth = true;
        true
    }

    fn lost(&mut self) -> bool {
        self.own_auth = false;
        self.replaying = false;
        !self.closing && self.channels.bytes() <= self.limit
    }

    fn farewell(&mut self, say: &mut Say) {
        if self.closed {
            return;
        }
        let message = if self.closing || self.leaving {
            Map::action(self.format, action::CLOSED).payload()
        } else {
            self.disconnected("the connection to the service was lost")
        };
        say.to_client.push(message);
    }

    fn client_idle(&self) -> Option<Duration> {
        // Two thirds: one of ours is always there before the client's patience ends (RTN23a).
        self.connection.as_ref()?.max_idle.map(|interval| interval * 2 / 3)
    }

    fn idle(&self) -> Option<Payload> {
        Some(Map::action(self.format, action::HEARTBEAT).payload())
    }

    fn pace(&self) -> u32 {
        self.connection.as_ref().map_or(DEFAULT_PACE, |connection| connection.pace)
    }

    fn is_full(&self) -> bool {
        self.serials.bytes() > self.limit
    }

    fn acknowledges(&self) -> bool {
        true
    }

    fn ended(&mut self, now: Instant) {
        if let Some(connection) = &self.connection {
            self.note_serials();
            let mut line = lock(&connection.line);
            line.ended = Some(now);
            line.clean &= !self.closing;
        }
    }
}

/// For tests and for logs: which connection it is, never its key.
impl std::fmt::Debug for Ably {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = self.connection.as_ref().map(|connection| &connection.id);
        f.debug_struct("Ably").field("connection", &id).field("format", &self.format).finish_non_exhaustive()
    }
}
