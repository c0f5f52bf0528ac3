//! What the service says: swallowed if Perennial started it, in the client's counting if the client did.

use std::time::Duration;

use super::{
    Ably, Connection, DEFAULT_PACE,
    channel::Attached,
    codec::{Field, Map, Style, last},
    head::{Details, Head, action},
    members::Item,
    records::Records,
    serials::{Covered, Run, Sent, Serials},
};
use crate::{
    clock::Instant,
    dialect::{Fate, Meaning, Moment, Remark, Say, Verdict},
    wire::{Message, Payload},
};

/// RTP17e: a member could not be entered again.
const RE_ENTRY_FAILED: u64 = 91004;

/// How long a CONNECTED may wait until the client has all its acknowledgements.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// The answer to the client's own AUTH. ably-java takes a second CONNECTED for the end of what is not acknowledged, and
/// loses it: it waits for the acknowledgements.
#[derive(Clone, PartialEq)]
pub(super) struct Answer {
    pub connected: Payload,
    pub until: Instant,
}

impl Ably {
    pub(super) fn connected(
        &mut self,
        head: &Head<'_>,
        message: Message<'_>,
        (moment, now): (Moment, Instant),
        say: &mut Say,
    ) -> Verdict {
        let id = &*head.connection_id().unwrap_or_default();
        self.refused = 0;
        let Some(connection) = &self.connection else {
            say.instead = self.without_client_id(head, message);
            say.remark = say.instead.as_ref().map(|_| Remark::ClientIdHidden);
            return self.first_connected(id, head);
        };
        if *connection.id != *id {
            if let Some(mut record) = self.own_record() {
                record.over = true;
            }
            return Verdict::swallow(Meaning::Discontinued);
        }
        // The answer to the client's own AUTH, or one that nobody asked for.
        let resumes = moment == Moment::Resuming;
        let shown = std::mem::take(&mut self.client_auth) || !(resumes || self.own_auth);
        self.learn(&head.details(), shown);
        let fate = if shown { self.answer(head, message, now, say) } else { Fate::Swallow };
        let meaning = if resumes {
            self.resume(say)
        } else if std::mem::take(&mut self.own_auth) {
            Meaning::Accepted
        } else {
            Meaning::Nothing
        };
        Verdict { fate, meaning }
    }

    /// What becomes of a CONNECTED that is not the first, and that the client is to see.
    fn answer(&mut self, head: &Head<'_>, message: Message<'_>, now: Instant, say: &mut Say) -> Fate {
        let without = self.without_client_id(head, message);
        if self.serials.is_awaited() {
            let connected = without.unwrap_or_else(|| message.into());
            self.answer = Some(Answer { connected, until: now + ANSWER_PATIENCE });
            return Fate::Swallow;
        }
        say.instead = without;
        Fate::Forward
    }

    /// A client that shows a key and names no client id believes that it has none: ably-java takes the one that
    /// Perennial's token names for a contradiction, and fails. For such a client, CONNECTED without it.
    fn without_client_id(&self, head: &Head<'_>, message: Message<'_>) -> Option<Payload> {
        const DETAILS: &str = "connectionDetails";
        let has = |name| self.request.parameter(name).is_some();
        if !has("key") || has("clientId") || head.details().client_id.is_none() {
            return None;
        }
        let format = head.format;
        let fields = format.fields(message.payload)?;
        let details = format.fields(last(&fields, DETAILS)?)?;
        let write = |fields: &[Field<'_>], but: &str| {
            let kept = fields.iter().filter(|(key, _)| key != but);
            kept.fold(Map::new(format), |map, (key, value)| map.raw(key, value))
        };
        let connected = write(&fields, DETAILS).map(DETAILS, write(&details, "clientId"));
        Some(connected.payload(message.kind))
    }

    fn first_connected(&mut self, id: &str, head: &Head<'_>) -> Verdict {
        let continued = self.continued.take();
        let same = continued.filter(|record| {
            let mut record = super::lock(record);
            let same = record.id == id;
            // If not, the service has ended it.
            record.over |= !same && record.is_owned_by(self.session);
            same
        });
        let record = same.unwrap_or_else(|| {
            // A new id starts a new counting, whatever the client asked to continue.
            self.serials = Serials::default();
            Records::create(id, self.session)
        });
        let patience = Some(Duration::from_secs(15));
        self.connection = Some(Connection {
            id: id.into(),
            record,
            client_id: None,
            max_idle: patience,
            shown_max_idle: patience,
            pace: DEFAULT_PACE,
        });
        self.learn(&head.details(), true);
        Verdict::forward(Meaning::Ready)
    }

    /// What the service says of the connection. If the client is shown it, it may come back with that key.
    fn learn(&mut self, details: &Details<'_>, shown: bool) {
        if let (Some(key), Some(mut record)) = (&details.key, self.own_record()) {
            record.key = key.to_string();
        }
        let Some(connection) = &mut self.connection else { return };
        if let Some(client_id) = &details.client_id {
            connection.client_id = Some(Box::from(&**client_id));
        }
        if let Some(millis) = details.max_idle {
            connection.max_idle = (millis > 0).then(|| Duration::from_millis(millis));
        }
        if let Some(rate) = details.max_inbound_rate.filter(|rate| *rate > 0) {
            connection.pace = u32::try_from(rate).unwrap_or(u32::MAX);
        }
        if shown {
            connection.shown_max_idle = connection.max_idle;
            self.records.show_key(&connection.record);
        }
    }

    pub(super) fn attached(&mut self, head: &Head<'_>, say: &mut Say) -> Verdict {
        let fate = match self.channels.attached(head) {
            Attached::Shown => Fate::Forward,
            Attached::Hidden => {
                let own = self.connection.as_ref().map_or("", |connection| &connection.id);
                say.to_client.extend(self.channels.emptied(self.style(), head, own));
                Fate::Swallow
            }
        };
        Verdict { fate, meaning: self.replay(say) }
    }

    /// ACK and NACK, in the client's counting (RTN7).
    pub(super) fn acknowledged(&mut self, head: &Head<'_>, message: Message<'_>, say: &mut Say) -> Verdict {
        let Some(first) = head.msg_serial() else { return Verdict::swallow(Meaning::Unasked) };
        let refused = head.action == Some(action::NACK);
        say.acknowledged = !refused;
        let Some(covered) = self.serials.acknowledged(first, head.count().unwrap_or(1), refused) else {
            return Verdict::swallow(Meaning::Unasked);
        };
        let verdict = self.show_acknowledged(covered, head, message, say);
        if !self.serials.is_awaited() {
            say.to_client.extend(self.answer.take().map(|answer| answer.connected));
        }
        verdict
    }

    fn show_acknowledged(
        &mut self,
        covered: Covered,
        head: &Head<'_>,
        message: Message<'_>,
        say: &mut Say,
    ) -> Verdict {
        if covered.is_unchanged {
            return Verdict::FORWARD;
        }
        let style = Style { format: head.format, kind: message.kind };
        let fields = style.format.fields(message.payload).unwrap_or_default();
        let results = last(&fields, "res").and_then(|res| style.format.elements(res));
        for run in covered.runs {
            say.to_client.push(acknowledgement(style, &fields, results.as_deref(), &run));
        }
        self.no_longer_owed(&covered.own);
        if head.action == Some(action::NACK) {
            let error = last(&fields, "error");
            say.to_client.extend(covered.own.iter().filter_map(|sent| self.not_entered(sent, style, error)));
        }
        Verdict::SWALLOW
    }

    /// The next session need not send these messages of Perennial's own.
    fn no_longer_owed(&self, own: &[Sent]) {
        let (Some(first), Some(last)) = (own.first(), own.last()) else { return };
        if let Some(mut record) = self.own_record() {
            record.owed.retain(|sent| !(first.upstream..=last.upstream).contains(&sent.upstream));
        }
    }

    /// The service refused to enter a member again. The client believes that it is present: it is told that
    /// the member left, and why (RTP17e; no message of the service's makes an SDK raise that event).
    fn not_entered(&mut self, sent: &Sent, style: Style, cause: Option<&[u8]>) -> Option<Payload> {
        let own = self.connection.as_ref().map(|connection| connection.id.clone())?;
        let channel = sent.presence_of.as_deref()?;
        let item = Item::all(&sent.payload.bytes).into_iter().next()?;
        let client = item.client().unwrap_or_default();
        if !self.channels.remove_member(channel, &client, &item.id(None)) {
            return None;
        }
        let Style { format, kind } = style;
        // RTP2b2: newer than what the client knows of the member.
        let id = format!("{own}:{}:0", sent.upstream);
        let left = Map::action(format, 3).text("id", &id).text("clientId", &client);
        let left = left.text("connectionId", &own).bytes();
        let why = format!("{client} could not be entered again on {channel}");
        let error = Map::new(format).uint("code", RE_ENTRY_FAILED).uint("statusCode", 400);
        let error = error.text("message", &why);
        let error = cause.into_iter().fold(error, |error, cause| error.raw("cause", cause));
        let message = Map::action(format, action::PRESENCE)
            .text("channel", channel)
            .text("connectionId", &own)
            .map("error", error)
            .array("presence", std::iter::once(&left[..]));
        Some(message.payload(kind))
    }
}

/// An ACK or NACK for one run: the service's, with the client's numbers and its part of `res`.
fn acknowledgement(style: Style, fields: &[Field<'_>], results: Option<&[&[u8]]>, run: &Run) -> Payload {
    let mut map = Map::new(style.format);
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
    map.payload(style.kind)
}
