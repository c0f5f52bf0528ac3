//! A dialect that a table declares (`[dialect.NAME]`, or a preset): its rules, played on one session.
//!
//! ```text
//!   client message ─► compiled: concerns no rule ─────────────────────────► forwarded as its bytes
//!                        └─ a rule ─► client: held, dropped, edited, remembered (memory)
//!   service message ─► compiled ─────────────────────────────────────────► forwarded as its bytes
//!                        └─ a rule, or something is awaited ─► service: edited, swallowed, captured (known); what it means
//!   a new connection ─► restoring: hello ─► resume ─► each remembered message, and its answer ─► ready
//!   a new token      ─► exchange: all that is said, in one go; yes, no, or silence
//! ```
//!
//! Rules:
//! 1. A message that no rule is about, while nothing is awaited, is forwarded as the bytes it came in.
//! 2. In doubt: forward from the service; from the client, refuse what may hold a token of its own.
//! 3. An answer that the client has not heard yet is the client's, on whichever connection it comes.
//! 4. While a new connection is being restored beside a live one, a message of the client's that changes what a new
//!    connection has to hear waits.
//! 5. What is remembered and captured stays within `session.queue`; if something did not fit, no connection is replaced.

mod client;
mod compiled;
mod exchange;
mod explain;
mod known;
mod memory;
mod restoring;
mod service;
mod values;

use std::{sync::Arc, time::Duration};

use http::HeaderMap;

pub(super) use self::{compiled::Compiled, explain::explain};
use self::{
    compiled::Look,
    exchange::Asking,
    known::{Captured, Known},
    memory::{Item, Kept, Memory},
    restoring::{Hides, Restoring},
    values::Values,
};
use super::{
    Awaits, Dialect, Doing, Ending, Exchanged, Meaning, Moment, Outgoing, Purpose, Reading, Request, Say,
    Verdict, Want, closes, codec, placement,
    request::{encode_parameter, join_target},
};
use crate::{
    clock::Instant,
    config::{
        Route, Swap,
        dialect::{CloseOld, Rules, Side},
    },
    credential::{Generation, Token},
    wire::{Close, Direction, Kind, Message, Payload},
};

/// One client's session with such a service.
#[derive(Clone, PartialEq)]
pub(super) struct Declared {
    request: Request,
    route: Arc<Route>,
    code: Arc<Compiled>,
    /// The newest that is known.
    token: Option<Box<Token>>,
    memory: Memory,
    captured: Captured,
    values: Values,
    /// What the service says to what was said again, and the client has heard.
    hides: Hides,
    restoring: Option<Box<Restoring>>,
    /// Messages whose answer the client heard from the new connection of a swap: the old one's is left out.
    answered: Vec<u32>,
    asking: Option<Box<Asking>>,
    /// A frame's word on how the connection ends, which counts before its Close.
    word: Option<Ending>,
    /// A first connection was open.
    begun: bool,
    /// The client has heard the service's hello.
    greeted: bool,
    /// A new connection is open beside the one that serves.
    replacing: bool,
    /// There is no connection that serves.
    away: bool,
    /// The service's messages could be read: ever, and on the newest connection.
    legible: (bool, bool),
    /// The client has said something, and something that is JSON.
    said: bool,
    read: bool,
    /// How its last message came: so goes what is said in its place.
    kind: Kind,
    /// How many numbers have been given out.
    ids: u32,
}

/// The first `{id}`: no client's own comes near it.
const FIRST_ID: u64 = 4_000_000_000;

impl Declared {
    pub(super) fn new(request: Request, route: Arc<Route>, code: Arc<Compiled>) -> Self {
        let memory = Memory::new(route.session.queue);
        Self {
            request,
            route,
            code,
            token: None,
            memory,
            captured: Captured::default(),
            values: Values::default(),
            hides: Hides::default(),
            restoring: None,
            answered: Vec::new(),
            asking: None,
            word: None,
            begun: false,
            greeted: false,
            replacing: false,
            away: false,
            legible: (false, false),
            said: false,
            read: false,
            kind: Kind::Text,
            ids: 0,
        }
    }

    fn rules(&self) -> &Rules {
        &self.code.rules
    }

    /// What names stand for, without a message.
    fn known(&self) -> Known<'_> {
        let (captured, values) = (&self.captured, &self.values);
        Known { token: self.token.as_deref(), key: b"", item: None, id: None, captured, values, arg: None }
    }

    /// A message of the dialect's own.
    fn payload(&self, bytes: &[u8]) -> Payload {
        let bytes = codec::write_one(self.code.rules.codec, bytes.to_vec()).into();
        Payload { kind: self.kind, bytes }
    }

    fn next_id(&mut self) -> u64 {
        self.ids += 1;
        FIRST_ID + u64::from(self.ids) - 1
    }

    /// A token that may go out now.
    fn has_token(&self, now: Instant) -> bool {
        self.token.as_ref().is_some_and(|token| token.expires.is_none_or(|at| at > now))
    }

    /// Is it the service that owes the answer?
    fn is_the_services(&self, item: &Item) -> bool {
        self.rules().frames[usize::from(item.rule)].from == Side::Client
    }

    /// The connection is gone, with what was owed on it.
    fn void(&mut self) {
        let code = Arc::clone(&self.code);
        self.memory.voids(|item| code.rules.frames[usize::from(item.rule)].from == Side::Server);
    }

    /// Is all known that a new connection has to hear?
    fn can_be_restored(&self) -> Result<(), &'static str> {
        if self.memory.overflowed {
            Err("what a new connection has to hear takes more memory than session.queue allows")
        } else if self.rules().replays() && self.said && !self.read {
            Err("none of the client's messages can be read: a new connection would know nothing of it")
        } else {
            Ok(())
        }
    }

    /// Does a resumption go ahead: is everything captured that it needs?
    fn resumes(&self) -> bool {
        let needs = self.rules().resume.as_ref().map(|resume| resume.r#if.iter().flatten());
        needs.is_some_and(|mut needs| needs.all(|name| self.captured.find(name, b"").is_some()))
    }
}

impl Dialect for Declared {
    fn reads(&self, direction: Direction) -> Reading {
        let looks = match direction {
            Direction::Up => !self.code.up.is_empty() || !self.rules().away.is_empty(),
            Direction::Down => !self.code.down.is_empty() || self.expects_something(),
        };
        if looks { Reading::Messages } else { Reading::Bounds }
    }

    fn handshake(&mut self, token: Option<&Token>) -> Result<Outgoing, String> {
        if let Some(token) = token {
            self.token(token);
        }
        let mut out = placement::outgoing(&self.request, &self.route, token)?;
        if self.begun && self.resumes() {
            let query = self.rules().resume.iter().flat_map(|resume| resume.query.iter().flatten());
            let known = self.known();
            let value = |(name, value): &(String, _)| {
                let value = known.say(value)?;
                let text =
                    super::json::text(&value).map_or_else(|| String::from_utf8_lossy(&value), Into::into);
                Some(encode_parameter(name, &text))
            };
            let mut pairs: Vec<String> = query.filter_map(value).collect();
            let (path, own) = out.target.split_once('?').unwrap_or((&out.target, ""));
            let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
            let names: Vec<String> = pairs.iter().map(|pair| name(pair)).collect();
            let own = own.split('&').filter(|pair| !pair.is_empty() && !names.contains(&name(pair)));
            pairs.splice(..0, own.map(str::to_owned).collect::<Vec<_>>());
            out.target = join_target(path, &pairs);
        }
        Ok(out)
    }

    fn answered(&mut self, headers: &HeaderMap) {
        self.request.remember_cookies(headers);
    }

    fn token(&mut self, token: &Token) {
        if self.token.as_ref().is_none_or(|known| known.generation <= token.generation) {
            self.token = Some(Box::new(token.clone()));
        }
    }

    fn client(&mut self, message: Message<'_>, moment: Moment, now: Instant, say: &mut Say) -> Verdict {
        self.hears_client(message, moment, now, say)
    }

    fn upstream(&mut self, message: Message<'_>, moment: Moment, now: Instant, say: &mut Say) -> Verdict {
        self.hears_service(message, moment, now, say)
    }

    fn opened(&mut self, purpose: Purpose, now: Instant, say: &mut Say) -> Awaits {
        self.word = None;
        self.begun = true;
        self.legible.1 = false;
        if purpose == Purpose::First {
            return Awaits::Nothing;
        }
        self.replacing = purpose == Purpose::Swap;
        self.begin_to_restore(now, say)
    }

    fn replaced(&mut self, done: bool) {
        self.replacing = false;
        self.away = false;
        self.restoring = None;
        self.answered = Vec::new();
        if done {
            self.void();
        } else {
            self.hides = Hides::default();
            self.values.are_not_awaited();
        }
    }

    fn exchange(&mut self, token: Option<&Token>, now: Instant, say: &mut Say) -> Exchanged {
        token.into_iter().for_each(|token| self.token(token));
        self.ask(token.is_some(), now, say)
    }

    fn value(&mut self, want: &Want, token: Option<&Token>, now: Instant, say: &mut Say) -> Meaning {
        self.takes_value(want, token, now, say)
    }

    fn wants(&mut self) -> Vec<(Want, Option<Generation>)> {
        self.values.due()
    }

    fn has_news(&self) -> bool {
        self.has_values_to_show()
    }

    fn is_full(&self) -> bool {
        self.values.hold()
    }

    fn takes(&self, want: &Want) -> bool {
        self.needs(want)
    }

    fn silence(&mut self, now: Instant) -> Meaning {
        self.silent(now)
    }

    fn awaits_until(&self) -> Option<Instant> {
        let asking = self.asking.as_ref().map(|asking| asking.until(self.rules()));
        asking.or_else(|| self.restoring.as_ref()?.until(self.rules().swap.timeout))
    }

    fn swap(&self) -> Option<Swap> {
        (!self.rules().exchanges_the_token()).then_some(self.route.session.swap)
    }

    fn continues(&self) -> bool {
        self.route.session.swap != Swap::Never || self.rules().replays()
    }

    fn may_swap(&self) -> Result<(), &'static str> {
        self.can_be_restored()
    }

    fn settle(&self) -> Duration {
        self.rules().swap.settle
    }

    fn owes(&self) -> Option<Duration> {
        let owes = |item: &Item| item.kept == Kept::Owed && self.is_the_services(item);
        self.memory.all().any(owes).then_some(self.rules().swap.hold)
    }

    fn parting(&self, say: &mut Say) -> Option<Close> {
        let goodbye = self.rules().swap.goodbye.as_ref().and_then(|goodbye| self.known().say(goodbye));
        say.to_upstream.extend(goodbye.map(|bytes| self.payload(&bytes)));
        match self.rules().swap.close_old {
            CloseOld::Code(code) => Some(Close::new(code, "")),
            CloseOld::Drop => None,
        }
    }

    fn describe(&self, message: Message<'_>) -> Option<String> {
        let (known, read) = (self.known(), codec::read(self.code.rules.codec, message));
        let about = |frame: &&crate::config::dialect::FrameRule| {
            frame.from == Side::Server
                && frame.means.is_some()
                && read.texts().any(|text| known.holds(&frame.r#match, text) == Ok(true))
        };
        self.rules().frames.iter().find(about).map(|_| excerpt(message.payload))
    }

    fn ending(&self, close: Option<&Close>, at_the_end: bool) -> Ending {
        let rules = [&self.route.closes[..], &self.rules().closes];
        self.word.unwrap_or_else(|| closes::meaning(rules, close, at_the_end))
    }

    fn lost(&mut self) -> Result<(), &'static str> {
        self.restoring = None;
        self.asking = None;
        self.replacing = false;
        self.away = true;
        self.values.are_not_awaited();
        self.void();
        if !self.continues() {
            Err("a connection of this dialect is never made again")
        } else {
            self.can_be_restored()
        }
    }

    fn farewell(&mut self, _doing: Doing, close: Option<Close>, _say: &mut Say) -> Option<Close> {
        close.map(|close| closes::for_client([&self.route.closes[..], &self.rules().closes], close))
    }

    fn due(&self, told: Instant) -> Option<Instant> {
        let every = self.rules().away.iter().filter_map(|away| away.every).min();
        every.filter(|_| self.away).map(|every| told + every)
    }

    fn speak(&mut self, told: Instant, now: Instant, say: &mut Say) {
        let known = self.known();
        for away in
            self.code.rules.away.iter().filter(|away| away.every.is_some_and(|every| told + every <= now))
        {
            let said = away.send.as_ref().and_then(|send| known.say(send));
            say.to_client.extend(said.map(|bytes| self.payload(&bytes)));
        }
    }
}

/// The beginning of what the service said, for an operator.
fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).take(160).collect()
}
