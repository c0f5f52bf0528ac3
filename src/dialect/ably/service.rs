//! What the service says: swallowed where Perennial started it, in the client's counting where it did not.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    Ably, Connection, DEFAULT_PACE,
    channel::Attached,
    codec::{Format, Map},
    head::{Details, Head, action},
    lines::{Line, lock},
    serials::{Covered, Run, Serials},
};
use crate::{
    dialect::{Fate, Meaning, Moment, Say, Verdict},
    wire::{Message, Payload},
};

impl Ably {
    pub(super) fn connected(&mut self, head: &Head<'_>, moment: Moment, say: &mut Say) -> Verdict {
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
            return Verdict { fate, meaning: self.resume(say) };
        }
        if std::mem::take(&mut self.own_auth) {
            return Verdict { fate, meaning: Meaning::Accepted };
        }
        self.show_key();
        Verdict::FORWARD
    }

    pub(super) fn first_connected(&mut self, id: &str, head: &Head<'_>) -> Verdict {
        let same = self.continued.take().filter(|line| lock(line).id == id);
        let line = same.unwrap_or_else(|| {
            // A new id starts a new counting, whatever the client asked to continue.
            self.serials = Serials::default();
            Arc::new(Mutex::new(Line { id: id.to_owned(), clean: true, ..Line::default() }))
        });
        lock(&line).ended = None;
        let mut connection = Connection {
            id: id.into(),
            line,
            client_id: None,
            max_idle: Some(Duration::from_secs(15)),
            pace: DEFAULT_PACE,
        };
        connection.update(head.details.as_ref());
        self.connection = Some(connection);
        self.show_key();
        Verdict::forward(Meaning::Ready)
    }

    /// The client is shown the newest key, and may come back with it.
    pub(super) fn show_key(&self) {
        if let Some(connection) = &self.connection {
            let key = lock(&connection.line).key.clone();
            self.lines.learn(&key, &connection.line);
        }
    }

    /// What a later session would have to know of the counting.
    pub(super) fn note_serials(&self) {
        if let Some(connection) = &self.connection {
            let mut line = lock(&connection.line);
            line.breaks.clear();
            line.breaks.extend_from_slice(self.serials.breaks());
            line.clean = !self.serials.owes_own();
        }
    }

    pub(super) fn attached(&mut self, head: &Head<'_>, say: &mut Say) -> Verdict {
        let fate = match self.channels.attached(head) {
            Attached::Shown => Fate::Forward,
            Attached::Hidden => {
                let own = self.connection.as_ref().map_or("", |connection| &connection.id);
                say.to_client.extend(self.channels.emptied(head, own));
                Fate::Swallow
            }
        };
        Verdict { fate, meaning: self.replay(say) }
    }

    /// ACK and NACK, in the client's counting (RTN7).
    pub(super) fn acknowledged(&mut self, head: &Head<'_>, message: Message<'_>, say: &mut Say) -> Verdict {
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
}

impl Connection {
    fn update(&mut self, details: Option<&Details<'_>>) {
        let Some(details) = details else { return };
        if let Some(key) = &details.key {
            lock(&self.line).key = key.0.to_string();
        }
        if let Some(client_id) = &details.client_id {
            self.client_id = Some(Box::from(&*client_id.0));
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
    fields: &[(Cow<'_, str>, &[u8])],
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
