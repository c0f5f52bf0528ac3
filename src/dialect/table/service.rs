//! What the service says: edited, swallowed, captured, and what it means.

use std::borrow::Cow;

use super::{Declared, Look, Meaning, Moment, Say, Verdict, excerpt};
use crate::{
    clock::Instant,
    config::dialect::{FrameMeans, FrameRule, Side},
    dialect::{
        Ending, Fate,
        codec::{self, Read},
    },
    wire::{Kind, Message, Payload},
};

/// What becomes of one message, and what it means.
struct Heard {
    fate: Fate,
    instead: Option<Vec<u8>>,
    meaning: Meaning,
}

impl Heard {
    fn of(fate: Fate, meaning: Meaning) -> Self {
        Self { fate, instead: None, meaning }
    }
}

impl Declared {
    pub(super) fn hears_service(
        &mut self,
        message: Message<'_>,
        moment: Moment,
        now: Instant,
        say: &mut Say,
    ) -> Verdict {
        let codec = self.code.rules.codec;
        let read = codec::read(codec, message);
        let look = self.code.down.look_at(&read);
        let newest = moment == Moment::Overlapping || !self.replacing;
        if newest && matches!(look, Look::Plain | Look::Concerns) {
            self.legible = (true, true);
        }
        match (look, &read) {
            (Look::Unread, _) | (_, Read::Unread) => {
                let ends = newest && self.legible == (true, false);
                let gone = ends && moment == Moment::Overlapping;
                let fate = if gone { Fate::Swallow } else { self.unmoved(moment) };
                Verdict { fate, meaning: Meaning::Unreadable { ends } }
            }
            (Look::Foreign, _) | (_, Read::Foreign) => {
                Verdict { fate: self.unmoved(moment), meaning: Meaning::Nothing }
            }
            (Look::Plain, _) if !self.expects_something() => Verdict::FORWARD,
            (Look::Plain | Look::Concerns, Read::One(text)) => {
                let Heard { fate, instead, meaning } = self.hears(text, moment, now, say);
                let payload =
                    |text| Payload { kind: message.kind, bytes: codec::write_one(codec, text).into() };
                say.instead = instead.map(payload);
                Verdict { fate, meaning }
            }
            (Look::Plain | Look::Concerns, Read::Several(all)) => {
                self.hears_each(all, message.kind, (moment, now), say)
            }
        }
    }

    /// Each of a batch by itself; what is left of it goes on as one.
    fn hears_each(
        &mut self,
        all: &[Cow<'_, [u8]>],
        kind: Kind,
        (moment, now): (Moment, Instant),
        say: &mut Say,
    ) -> Verdict {
        let (mut out, mut changed, mut fate, mut meaning) =
            (Vec::new(), false, Fate::Swallow, Meaning::Nothing);
        for one in all {
            let heard = self.hears(one, moment, now, say);
            if meaning == Meaning::Nothing {
                meaning = heard.meaning;
            }
            // Beside a live connection what waits is that one's to say.
            if heard.fate == Fate::Swallow || heard.fate == Fate::Hold && moment == Moment::Overlapping {
                changed = true;
                continue;
            }
            fate = heard.fate;
            changed |= heard.instead.is_some();
            out.push(heard.instead.unwrap_or_else(|| one.to_vec()));
        }
        if meaning == Meaning::Ready && fate == Fate::Forward && moment == Moment::Resuming {
            // It stands behind what waits already.
            fate = Fate::Hold;
        }
        if changed && !out.is_empty() {
            let bytes = codec::write(self.code.rules.codec, &out).into();
            say.instead = Some(Payload { kind, bytes });
        }
        Verdict { fate, meaning }
    }

    /// Is every message looked at, whatever it says?
    pub(super) fn expects_something(&self) -> bool {
        self.restoring.is_some()
            || self.asking.is_some()
            || !self.hides.is_empty()
            || !self.answered.is_empty()
            || self.memory.awaits_answers()
    }

    /// What becomes of a message that nothing takes: what a new connection says before it is restored waits.
    fn unmoved(&self, moment: Moment) -> Fate {
        let newest = matches!(moment, Moment::Resuming | Moment::Overlapping);
        if newest && self.restoring.is_some() { Fate::Hold } else { Fate::Forward }
    }

    fn hears(&mut self, bytes: &[u8], moment: Moment, now: Instant, say: &mut Say) -> Heard {
        // The old connection may be gone before the new one serves.
        self.replacing &= moment != Moment::Resuming;
        let newest = moment == Moment::Overlapping || !self.replacing;
        if moment == Moment::Exchanging
            && let Some(meaning) = self.answers(bytes, now)
        {
            return Heard::of(Fate::Swallow, meaning);
        }
        let code = std::sync::Arc::clone(&self.code);
        let rules = self.rules_about(Side::Server, bytes).unwrap_or_default();
        let owed = rules.iter().copied().find(|nth| code.rules.frames[*nth].owed);
        let rules: Vec<&FrameRule> = rules.into_iter().map(|nth| &code.rules.frames[nth]).collect();
        // Swallowed messages are captured, too.
        self.capture(rules.iter().copied(), bytes);
        if newest
            && matches!(moment, Moment::Resuming | Moment::Overlapping)
            && let Some((heard, meaning)) = self.restores(bytes, now, say)
        {
            // One that the client has not heard stands behind what waits already; beside a live connection nothing does.
            let fate = if heard || moment == Moment::Overlapping { Fate::Swallow } else { Fate::Hold };
            if !heard && fate == Fate::Swallow {
                say.to_client.push(self.payload(bytes));
            }
            return Heard::of(fate, meaning);
        }
        if !newest && self.is_answered_twice(bytes) {
            return Heard::of(Fate::Swallow, Meaning::Nothing);
        }
        if let Some(heard) = self.meant(&rules, bytes, moment) {
            return heard;
        }
        let ends = self.forget_what_ends(Side::Server, bytes);
        if ends && moment == Moment::Overlapping && self.restoring.is_some() {
            // It was refused here, and the old connection will not say it.
            say.to_client.push(self.payload(bytes));
            return Heard::of(Fate::Swallow, self.goes_on_without(now, say));
        }
        if newest && self.hides(bytes, now) {
            return Heard::of(Fate::Swallow, Meaning::Nothing);
        }
        self.note_answers(bytes);
        if let Some(nth) = owed {
            self.remember(nth, &code.rules.frames[nth], bytes, self.kind);
        }
        if rules.iter().any(|rule| rule.drop) {
            return Heard::of(Fate::Swallow, Meaning::Nothing);
        }
        // In doubt it goes on as it is.
        let instead = self.edited(rules.iter().copied(), bytes).flatten();
        let fate = self.unmoved(moment);
        Heard { fate, instead, meaning: self.goes_on_without(now, say) }
    }

    /// What the first rule with a meaning says.
    fn meant(&mut self, rules: &[&FrameRule], bytes: &[u8], moment: Moment) -> Option<Heard> {
        let means = rules.iter().find_map(|rule| rule.means)?;
        let heard = match means {
            FrameMeans::Ready => {
                let first = !std::mem::replace(&mut self.greeted, true);
                if first { return None } else { Heard::of(self.unmoved(moment), Meaning::Nothing) }
            }
            FrameMeans::Asks => Heard::of(Fate::Swallow, Meaning::Asks),
            FrameMeans::Expired => Heard::of(Fate::Swallow, Meaning::Lapsed(excerpt(bytes))),
            FrameMeans::Lost => Heard::of(Fate::Swallow, Meaning::Lost(excerpt(bytes))),
            FrameMeans::Final if moment == Moment::Overlapping => {
                Heard::of(Fate::Swallow, Meaning::Lost(excerpt(bytes)))
            }
            FrameMeans::Final => {
                self.word = Some(Ending::Final);
                Heard::of(Fate::Forward, Meaning::Nothing)
            }
        };
        Some(heard)
    }

    /// An answer that the client hears now it need not hear again.
    fn note_answers(&mut self, bytes: &[u8]) {
        if !self.memory.awaits_answers() {
            return;
        }
        let answered: Vec<u32> = self
            .memory
            .all()
            .filter(|item| !item.answered && self.is_answer(item, bytes))
            .map(|item| item.serial)
            .collect();
        answered.into_iter().for_each(|serial| self.memory.is_answered(serial));
    }
}
