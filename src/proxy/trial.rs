//! One handshake with a service, for somebody who wants to know what it answers.
//!
//! ```text
//!   dial ─► another status ─► that
//!        └► 101 ─► a first message is awaited (Ably) ─► that message
//!               └► none is ────────────────────────────► the Close that comes within a second, if one does
//! ```
//!
//! Rules:
//! 1. It goes out as the first handshake of a session does: in the route's dialect, with the token in its place.
//! 2. What the service says is shown without the token, and without any word that may be one.
//! 3. The service is told goodbye.

use std::{future::poll_fn, task::Poll, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{answer::target_at, client::Client, goodbye, route::RouteContext, upstream::Opened};
use crate::{
    clock::{self, Instant},
    config::DialectKind,
    credential::Token,
    dialect::{self, Awaits, Meaning, Moment, Purpose, Request, Say},
    net::link::Link,
    telemetry::{DialPurpose, words},
    wire::{Close, Message, Opcode, Payload, Step, Violation},
};

/// Services that look at a token only after their 101 close within this time.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What a client would ask for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Visit<'a> {
    /// The path; the route's own if there is none.
    pub path: Option<&'a str>,
    /// Names and values of the query.
    pub query: &'a [(String, String)],
    /// Names and values of the headers.
    pub headers: &'a [(String, String)],
    /// The token that it would show.
    pub client_token: Option<&'a str>,
}

/// What the service answered, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Would a session live?
    pub accepted: bool,
    pub answer: String,
}

/// What came over the connection.
enum Heard {
    Message(Payload),
    Close(Close),
    End,
    Broken(Violation),
}

impl RouteContext {
    /// Makes one handshake, by `deadline`.
    pub async fn visit(&self, visit: Visit<'_>, token: Option<&Token>, deadline: Instant) -> Tried {
        let refused =
            |answer: &str| Tried { accepted: false, answer: words(answer, token.map(Token::expose)) };
        let asked = match self.request(visit) {
            Ok(asked) => asked,
            Err(why) => return refused(&format!("the handshake cannot be made: {why}")),
        };
        let mut dialect = self.dialects.open(asked, clock::now());
        let outgoing = match dialect.handshake(token) {
            Ok(outgoing) => outgoing,
            Err(why) => return refused(&format!("the handshake cannot be made: {why}")),
        };
        let Opened { mut link, headers } = match self.open(DialPurpose::First, outgoing, deadline).await {
            Ok(opened) => opened,
            Err(error) => return Tried { accepted: false, answer: error.to_string() },
        };
        dialect.answered(&headers);
        let mut say = Say::default();
        let awaited = dialect.opened(Purpose::First, clock::now(), &mut say) == Awaits::Ready;
        let mut random = fastrand::Rng::new();
        for Payload { kind, bytes } in &say.to_upstream {
            link.queue(kind.opcode(), bytes, &mut random);
        }
        let until = if awaited { deadline } else { deadline.min(clock::now() + AT_ONCE) };
        let said = tokio::time::timeout_at(until, answered(&mut link, &mut *dialect, awaited, &mut random));
        let (accepted, then) = match said.await {
            Ok(said) => said,
            Err(_) if awaited => (false, "and then nothing in time".to_owned()),
            Err(_) => (true, String::new()),
        };
        goodbye::say(link, (None, Close::new(1000, ""))).await;
        let answer = format!("the service answered 101 {then}");
        Tried { accepted, answer: words(&answer, token.map(Token::expose)) }
    }

    /// What a client of the route would ask for.
    fn request(&self, visit: Visit<'_>) -> Result<Request, String> {
        let route = &*self.route;
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(visit.query);
        if route.dialect == DialectKind::Ably && visit.query.iter().all(|(name, _)| name != "v") {
            query.extend_pairs([("v", "3"), ("format", "json"), ("heartbeats", "true")]);
        }
        let (path, query) = (visit.path.unwrap_or(&route.path), query.finish());
        let target = match (query.is_empty(), path.contains('?')) {
            (true, _) => path.to_owned(),
            (false, false) => format!("{path}?{query}"),
            (false, true) => format!("{path}&{query}"),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in visit.headers {
            let name = HeaderName::try_from(name).map_err(|error| format!("{name}: {error}"))?;
            let mut value = HeaderValue::try_from(value).map_err(|error| format!("{name}: {error}"))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        let mut asked = Request::new(&target, &headers);
        if let (Some(token), Some(places)) = (visit.client_token, &route.client.token) {
            dialect::present(&mut asked, places, token)?;
        }
        let told = Client::local().introduce(route, &mut asked, &route.upstream.endpoint);
        told.map_err(|denied| denied.why.into_owned())?;
        asked.target = target_at(&route.upstream.endpoint.path_and_query, &asked.target);
        Ok(asked)
    }
}

/// What the service says behind its 101: is it good, and in words.
async fn answered(
    link: &mut Link,
    dialect: &mut dyn dialect::Dialect,
    awaited: bool,
    random: &mut fastrand::Rng,
) -> (bool, String) {
    loop {
        let payload = match heard(link, random).await {
            Heard::Message(_) if !awaited => return (true, String::new()),
            Heard::Message(payload) => payload,
            Heard::Close(Close { code, reason }) => {
                let code = code.map_or_else(|| "without a code".to_owned(), |code| code.to_string());
                return (false, format!("and then Close {code} {reason}"));
            }
            Heard::End => return (false, "and then ended the connection".to_owned()),
            Heard::Broken(violation) => return (false, format!("and then broke the protocol: {violation}")),
        };
        let message = Message { kind: payload.kind, payload: &payload.bytes };
        let said = dialect.describe(message);
        let verdict = dialect.upstream(message, Moment::Opening, clock::now(), &mut Say::default());
        let then = |what: &str| format!("and then {}", said.as_deref().unwrap_or(what));
        match verdict.meaning {
            Meaning::Ready => return (true, then("a message that it is ready")),
            Meaning::Rejected(why) | Meaning::Lapsed(why) | Meaning::Lost(why) | Meaning::Fatal(why) => {
                return (false, then(&why));
            }
            Meaning::Discontinued | Meaning::Parted => return (false, then("a refusal")),
            Meaning::Nothing
            | Meaning::Accepted
            | Meaning::Asks
            | Meaning::Declined(_)
            | Meaning::ClientAsks
            | Meaning::NeedsToken
            | Meaning::Unreadable { .. }
            | Meaning::Unasked
            | Meaning::Leaving => {}
        }
    }
}

/// The next message, or the end; a Ping is answered.
async fn heard(link: &mut Link, random: &mut fastrand::Rng) -> Heard {
    let mut scratch = [0; 4096];
    poll_fn(|cx| {
        loop {
            match step(link, random) {
                Ok(Some(heard)) => return Poll::Ready(heard),
                Ok(None) => {}
                Err(violation) => return Poll::Ready(Heard::Broken(violation)),
            }
            if let Poll::Ready(Err(_)) = link.poll_flush(cx, clock::now()) {
                return Poll::Ready(Heard::End);
            }
            match link.poll_read(cx, &mut scratch) {
                Poll::Ready(Ok(n)) if n > 0 => link.partial.extend_from_slice(&scratch[..n]),
                Poll::Ready(_) => return Poll::Ready(Heard::End),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Takes frames off the front of what was read, up to one that says something.
fn step(link: &mut Link, random: &mut fastrand::Rng) -> Result<Option<Heard>, Violation> {
    loop {
        let bytes = std::mem::take(&mut link.partial);
        let next = link.inbound.next_message(&bytes)?;
        let (used, heard) = match next {
            Step::More | Step::Part { .. } => {
                link.partial = bytes;
                return Ok(None);
            }
            Step::Single { kind, header, total, .. } => {
                let payload = Payload { kind, bytes: bytes[header..total].into() };
                (total, Some(Heard::Message(payload)))
            }
            Step::Fragment { total, ends } => {
                let whole = if ends { link.inbound.assembled() } else { None };
                let payload = whole.map(|whole| Payload { kind: whole.kind, bytes: whole.payload.into() });
                (total, payload.map(Heard::Message))
            }
            Step::Control { opcode: Opcode::Close, header, total, .. } => {
                (total, Some(Heard::Close(Close::parse(&bytes[header..total])?)))
            }
            Step::Control { opcode: Opcode::Ping, header, total, .. } => {
                link.control(Opcode::Pong, &bytes[header..total], random);
                (total, None)
            }
            Step::Control { total, .. } => (total, None),
        };
        link.partial = bytes[used..].to_vec();
        if heard.is_some() {
            return Ok(heard);
        }
    }
}
