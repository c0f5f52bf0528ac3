//! What the client says: held, dropped, edited, remembered.

use std::borrow::Cow;

use super::{
    super::json::{
        self,
        place::{self, Doubt},
    },
    Declared, Known, Look, Meaning, Moment, Say, Verdict,
    memory::{Item, Kept},
};
use crate::{
    clock::Instant,
    config::dialect::{FrameRule, Pointer, Side, Step},
    dialect::{
        Fate, Want,
        codec::{self, Read},
    },
    wire::{Kind, Message, Payload},
};

/// What becomes of one message.
pub(super) enum Act {
    Forward,
    /// This goes on in its place.
    Instead(Vec<u8>),
    Drop,
    Hold,
    /// It waits for a token that may go out.
    NeedsToken,
    /// It may hold a token of the client's own, and nobody can say.
    Refuse,
}

impl Act {
    /// What goes on in its place becomes something else.
    fn map(self, change: impl Fn(Vec<u8>) -> Vec<u8>) -> Self {
        if let Self::Instead(text) = self { Self::Instead(change(text)) } else { self }
    }
}

impl Declared {
    pub(super) fn hears_client(
        &mut self,
        message: Message<'_>,
        moment: Moment,
        now: Instant,
        say: &mut Say,
    ) -> Verdict {
        let codec = self.code.rules.codec;
        let read = codec::read(codec, message);
        if moment != Moment::Live {
            let away = matches!(moment, Moment::Away | Moment::Resuming);
            return if away && self.is_answered_here(&read, say) { Verdict::SWALLOW } else { Verdict::HOLD };
        }
        self.said = true;
        match self.code.up.look_at(&read) {
            look @ (Look::Plain | Look::Foreign) => {
                self.read |= look == Look::Plain;
                return Verdict::FORWARD;
            }
            Look::Unread if self.code.guards => return Verdict::swallow(Meaning::Unreadable { ends: true }),
            Look::Unread => return Verdict::forward(Meaning::Unreadable { ends: false }),
            Look::Concerns => {}
        }
        (self.read, self.kind) = (true, message.kind);
        let act = match &read {
            Read::Several(all) => self.hears_several(all, message.kind, now),
            Read::One(text) => {
                self.hears_one(text, message.kind, now).map(|text| codec::write_one(codec, text))
            }
            Read::Foreign | Read::Unread => Act::Forward,
        };
        match act {
            Act::Forward => Verdict::FORWARD,
            Act::Instead(bytes) => {
                say.instead = Some(Payload { kind: message.kind, bytes: bytes.into() });
                Verdict::FORWARD
            }
            Act::Drop => Verdict::SWALLOW,
            Act::Hold => Verdict::HOLD,
            Act::NeedsToken => Verdict { fate: Fate::Hold, meaning: Meaning::NeedsToken },
            Act::Refuse => Verdict::swallow(Meaning::Unreadable { ends: true }),
        }
    }

    /// All or none of a message waits or is refused.
    fn hears_several(&mut self, all: &[Cow<'_, [u8]>], kind: Kind, now: Instant) -> Act {
        let (mut out, mut changed) = (Vec::new(), false);
        for one in all {
            let act = self.hears_one(one, kind, now);
            changed |= !matches!(act, Act::Forward);
            match act {
                Act::Forward => out.push(one.to_vec()),
                Act::Instead(bytes) => out.push(bytes),
                Act::Drop => {}
                other @ (Act::Hold | Act::NeedsToken | Act::Refuse) => return other,
            }
        }
        match (changed, out.is_empty()) {
            (false, _) => Act::Forward,
            (true, true) => Act::Drop,
            (true, false) => Act::Instead(codec::write(self.code.rules.codec, &out)),
        }
    }

    fn hears_one(&mut self, bytes: &[u8], kind: Kind, now: Instant) -> Act {
        let code = std::sync::Arc::clone(&self.code);
        let Some(rules) = self.rules_about(Side::Client, bytes) else { return Act::Refuse };
        let rules: Vec<(usize, &FrameRule)> =
            rules.into_iter().map(|nth| (nth, &code.rules.frames[nth])).collect();
        // Nothing has changed before all of it is sure to go on.
        if self.replacing
            && (rules.iter().any(|(_, rule)| rule.replay) || self.ends_something(Side::Client, bytes))
        {
            return Act::Hold;
        }
        if rules.iter().any(|(_, rule)| rule.drop) || self.answers_nobody(bytes) {
            return Act::Drop;
        }
        let shows = |rule: &FrameRule| rule.set.iter().flatten().any(|(_, value)| value.shows_the_token());
        if rules.iter().any(|(_, rule)| shows(rule)) && !self.has_token(now) {
            return Act::NeedsToken;
        }
        let wants: Vec<Want> = rules.iter().flat_map(|(_, rule)| self.wants_live(rule, bytes)).collect();
        if self.lacks(&wants, true, now) {
            return Act::Hold;
        }
        let Some(edited) = self.edited(rules.iter().map(|(_, rule)| *rule), bytes) else {
            return Act::Refuse;
        };
        self.spend(&wants);
        let said = edited.as_deref().unwrap_or(bytes);
        self.capture(rules.iter().map(|(_, rule)| *rule), said);
        self.forget_what_ends(Side::Client, said);
        if let Some((nth, rule)) = rules.iter().find(|(_, rule)| rule.replay || rule.owed) {
            self.remember(*nth, rule, said, kind);
        }
        edited.map_or(Act::Forward, Act::Instead)
    }

    /// The rules that are about a message; `None`: it may be meant by one that edits or drops, and nobody can say.
    pub(super) fn rules_about(&self, side: Side, bytes: &[u8]) -> Option<Vec<usize>> {
        let known = Known { item: Some(bytes), ..self.known() };
        let mut about = Vec::new();
        for (nth, rule) in self.code.rules.frames.iter().enumerate().filter(|(_, rule)| rule.from == side) {
            match known.holds(&rule.r#match, bytes) {
                Ok(true) => about.push(nth),
                Err(Doubt) if side == Side::Client && (rule.set.is_some() || rule.drop) => return None,
                Ok(false) | Err(Doubt) => {}
            }
        }
        Some(about)
    }

    /// The message with what the rules put into it and take out of it: `None`: it cannot be put there;
    /// `Some(None)`: nothing of it changes.
    #[expect(clippy::option_option, reason = "a failure, no change, a change")]
    pub(super) fn edited<'r>(
        &self,
        rules: impl Iterator<Item = &'r FrameRule>,
        bytes: &[u8],
    ) -> Option<Option<Vec<u8>>> {
        let mut edited: Option<Vec<u8>> = None;
        for rule in rules {
            for pointer in rule.remove.iter().flatten() {
                let now = edited.as_deref().unwrap_or(bytes);
                edited = Some(place::without(now, &pointer.0)?);
            }
            let arg = rule.arg.as_ref().map_or_else(|| Some("".into()), |_| self.arg(rule, bytes));
            for (pointer, value) in rule.set.iter().flatten() {
                let now = edited.as_deref().unwrap_or(bytes);
                let key = key_of(rule, now);
                let known = Known { item: Some(bytes), key: &key, arg: arg.as_deref(), ..self.known() };
                // What is not known is left out.
                let Some(value) = known.say(value) else { continue };
                edited = Some(place::put(now, &pointer.0, &value)?);
            }
        }
        Some(edited)
    }

    pub(super) fn capture<'r>(&mut self, rules: impl Iterator<Item = &'r FrameRule>, bytes: &[u8]) {
        let room = self.route.session.queue.saturating_sub(self.memory.bytes());
        for rule in rules.filter(|rule| rule.capture.is_some()) {
            let key = key_of(rule, bytes);
            for (name, pointer) in rule.capture.iter().flatten() {
                if let Ok(Some(value)) = place::at(bytes, &pointer.0)
                    && self.captured.bytes() + value.len() < room
                {
                    self.captured.keep(name, &key, value);
                }
            }
        }
    }

    /// Kept as it was sent, its token cut out; of what is owed the key will do.
    pub(super) fn remember(&mut self, nth: usize, rule: &FrameRule, said: &[u8], kind: Kind) {
        let mut frame = if rule.replay { said.to_vec() } else { Vec::new() };
        let kept = if rule.replay { Kept::Replay } else { Kept::Owed };
        for (pointer, _) in rule.set.iter().flatten().filter(|(_, value)| value.is_secret()) {
            if let Some(cut) = place::put(&frame, &pointer.0, b"\"\"") {
                frame = cut;
            }
        }
        let rule_number = u16::try_from(nth).unwrap_or(u16::MAX);
        let (answered, others) = (rule.answer.is_none(), self.captured.bytes());
        for frame in taken_apart(rule, frame) {
            let key = key_of(rule, if rule.replay { &frame } else { said }).into();
            let frame = frame.into();
            self.memory
                .remember(others, Item { serial: 0, rule: rule_number, kind, answered, kept, key, frame });
        }
    }

    /// Would this message end something that is remembered?
    fn ends_something(&self, side: Side, bytes: &[u8]) -> bool {
        self.memory.all().any(|item| item.kept == Kept::Replay && self.ends(item, side, bytes))
    }

    /// Does it answer what was said on a connection that is gone?
    fn answers_nobody(&mut self, bytes: &[u8]) -> bool {
        let void = |item: &&Item| item.kept == Kept::Void && self.ends(item, Side::Client, bytes);
        let Some(serial) = self.memory.all().find(void).map(|item| item.serial) else { return false };
        self.memory.forget(|item| item.serial == serial);
        true
    }

    pub(super) fn ends(&self, item: &Item, side: Side, bytes: &[u8]) -> bool {
        let rule = &self.code.rules.frames[usize::from(item.rule)];
        let known = Known { key: &item.key, item: Some(&item.frame), ..self.known() };
        let meant = rule.until.iter().flatten().filter(|until| until.from == side);
        meant.into_iter().any(|until| known.holds(until, bytes) == Ok(true))
    }

    /// Forgets what this message ends; is there something?
    pub(super) fn forget_what_ends(&mut self, side: Side, bytes: &[u8]) -> bool {
        let ended: Vec<u32> =
            self.memory.all().filter(|item| self.ends(item, side, bytes)).map(|item| item.serial).collect();
        self.memory.forget(|item| ended.contains(&item.serial));
        !ended.is_empty()
    }

    /// Answers the client in the place of a service that is away.
    fn is_answered_here(&self, read: &Read<'_>, say: &mut Say) -> bool {
        let Read::One(bytes) = read else { return false };
        let known = Known { item: Some(bytes), ..self.known() };
        let meant = |away: &&crate::config::dialect::AwayRule| {
            away.r#match.as_ref().is_some_and(|meant| known.holds(meant, bytes) == Ok(true))
        };
        let Some(away) = self.code.rules.away.iter().find(meant) else { return false };
        let reply = away.reply.as_ref().and_then(|reply| known.say(reply));
        say.to_client.extend(reply.map(|bytes| self.payload(&bytes)));
        true
    }
}

/// What tells the messages of a rule apart: the values at its keys, as JSON; empty: it has none.
pub(super) fn key_of(rule: &FrameRule, bytes: &[u8]) -> Vec<u8> {
    let Some(pointers) = &rule.key else { return Vec::new() };
    let value = |pointer: &Pointer| {
        let found = match pointer.each() {
            None => place::at(bytes, &pointer.0).ok().flatten(),
            // It was taken apart: there is one element.
            Some((array, rest)) => first_of(bytes, array).and_then(|one| place::at(one, rest).ok().flatten()),
        };
        found.unwrap_or(b"null").to_vec()
    };
    let mut values: Vec<Vec<u8>> = pointers.iter().map(value).collect();
    if values.len() == 1 { values.pop().unwrap_or_default() } else { array(&values) }
}

fn first_of<'b>(bytes: &'b [u8], array: &[Step]) -> Option<&'b [u8]> {
    json::elements(place::at(bytes, array).ok()??)?.first().copied()
}

/// A message for each element of the array that the rule tells apart; or the message itself.
fn taken_apart(rule: &FrameRule, frame: Vec<u8>) -> Vec<Vec<u8>> {
    let each = rule.key.iter().flatten().find_map(Pointer::each);
    let apart = each.and_then(|(steps, _)| {
        let elements = json::elements(place::at(&frame, steps).ok()??)?;
        let alone = |element: &&[u8]| place::put(&frame, steps, &[b"[", *element, b"]"].concat());
        elements.iter().map(alone).collect::<Option<Vec<_>>>()
    });
    apart.filter(|apart| !apart.is_empty()).unwrap_or_else(|| vec![frame])
}

pub(super) fn array(all: &[Vec<u8>]) -> Vec<u8> {
    [b"[", &all.join(&b","[..])[..], b"]"].concat()
}
