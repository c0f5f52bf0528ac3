//! A new connection hears again what the one before it knew: one message after the other, each with its answer.
//!
//! ```text
//!   hello ─► resume, or not ─► message ─► its answer ─► message … ─► ready
//! ```

use super::{Awaits, Declared, Known, Meaning, Say, memory::Item};
use crate::{
    clock::Instant,
    config::dialect::{FrameMeans, Match, ResumeRule, Side},
    dialect::{codec, json::place},
    wire::Payload,
};

/// How far a new connection is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Restoring {
    awaits: Step,
    /// The message that was said last.
    last: u32,
    /// The rule whose messages a resumption stands for.
    instead: Option<u16>,
    /// Since when that is awaited.
    since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The service speaks first.
    Hello,
    /// The answer to the resumption.
    Resumed,
    /// What a message takes from outside before it is said again.
    Value(u32),
    /// The answer to a message that was said again.
    Answer(u32),
    Nothing,
}

/// Messages of the service's that the client is not to hear, each once, for as long as an answer is awaited.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Hides {
    /// To which remembered message, and which of its rule's.
    of: Vec<(u32, u8)>,
    until: Option<Instant>,
}

impl Hides {
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

impl Restoring {
    pub(super) fn until(&self, patience: std::time::Duration) -> Option<Instant> {
        (self.awaits != Step::Nothing).then(|| self.since + patience)
    }
}

impl Declared {
    /// The connection is open: what can be said at once is said.
    pub(super) fn begin_to_restore(&mut self, now: Instant, say: &mut Say) -> Awaits {
        self.hides = Hides::default();
        self.values.are_known();
        let awaits = if self.code.hello { Step::Hello } else { Step::Nothing };
        self.restoring = Some(Box::new(Restoring { awaits, last: 0, instead: None, since: now }));
        if self.code.hello {
            return Awaits::Ready;
        }
        if self.go_on(now, say, true) == Meaning::Ready { Awaits::Nothing } else { Awaits::Ready }
    }

    /// A message of the new connection's: has the client heard the like, and what it means. `None`: it is none that is
    /// awaited.
    pub(super) fn restores(&mut self, bytes: &[u8], now: Instant, say: &mut Say) -> Option<(bool, Meaning)> {
        let awaits = self.restoring.as_ref()?.awaits;
        let rules = std::sync::Arc::clone(&self.code);
        match awaits {
            Step::Hello => {
                let hello = |nth: &usize| rules.rules.frames[*nth].means == Some(FrameMeans::Ready);
                self.rules_about(Side::Server, bytes)?.iter().find(|nth| hello(nth))?;
                // One that the client has not heard yet is the client's.
                let heard = std::mem::replace(&mut self.greeted, true);
                Some((heard, self.go_on(now, say, true)))
            }
            Step::Resumed => {
                let resume = rules.rules.resume.as_ref()?;
                let meant =
                    |all: &Option<Vec<Match>>| self.known().any(all.as_deref().unwrap_or_default(), bytes);
                if meant(&resume.answer) {
                    return Some((true, self.go_on(now, say, false)));
                }
                if meant(&resume.fail) && self.replacing {
                    return Some((true, Meaning::Lost("the service continues nothing".to_owned())));
                }
                if meant(&resume.fail) {
                    // The client starts over, on this connection.
                    self.memory.forget(|_| true);
                    self.restoring = None;
                    return Some((false, Meaning::Ready));
                }
                None
            }
            Step::Answer(serial) => {
                let item = self.memory.get(serial)?;
                if !self.is_answer(item, bytes) {
                    return None;
                }
                let heard = item.answered;
                if !heard && self.replacing {
                    self.answered.push(serial);
                }
                self.memory.is_answered(serial);
                Some((heard, self.go_on(now, say, false)))
            }
            Step::Value(_) | Step::Nothing => None,
        }
    }

    /// Is it an answer of the old connection's, and has the client heard the new one's?
    pub(super) fn is_answered_twice(&mut self, bytes: &[u8]) -> bool {
        let is_it = |serial: &u32| self.memory.get(*serial).is_some_and(|item| self.is_answer(item, bytes));
        let found = self.answered.iter().position(is_it);
        found.map(|at| self.answered.swap_remove(at)).is_some()
    }

    /// Is it the service's answer to this message?
    pub(super) fn is_answer(&self, item: &Item, bytes: &[u8]) -> bool {
        let answers = self.rules().frames[usize::from(item.rule)].answer.as_deref().unwrap_or_default();
        Known { key: &item.key, item: Some(&item.frame), ..self.known() }.any(answers, bytes)
    }

    /// Says all that needs no answer, up to what does. [`Meaning::Ready`]: that was the last.
    fn go_on(&mut self, now: Instant, say: &mut Say, first: bool) -> Meaning {
        if first && let Some(awaited) = self.resume(now, say) {
            return awaited;
        }
        loop {
            let Some(restoring) = &self.restoring else { return Meaning::Ready };
            let (last, instead) = (restoring.last, restoring.instead);
            let next = self.memory.after(last);
            let Some((serial, rule)) = next.map(|item| (item.serial, item.rule)) else {
                self.restoring = None;
                return Meaning::Ready;
            };
            let is_said = Some(rule) != instead;
            if is_said && self.waits_for_values(serial, now) {
                return Meaning::Nothing;
            }
            let answered = is_said && self.say_again(serial, now, say);
            if let Some(restoring) = &mut self.restoring {
                restoring.last = serial;
                if answered {
                    restoring.awaits = Step::Answer(serial);
                    restoring.since = now;
                    return Meaning::Nothing;
                }
            }
        }
    }

    /// Takes up the state of the connection before, if it can; what is then awaited.
    fn resume(&mut self, now: Instant, say: &mut Say) -> Option<Meaning> {
        if !self.resumes() {
            return None;
        }
        let ResumeRule { send, answer, instead_of, .. } = self.code.rules.resume.as_ref()?;
        let send = send.as_ref()?;
        let said = self.known().say(send)?.into_owned();
        let instead = instead_of.as_ref().and_then(|name| self.code.rules.named(name));
        let awaits = answer.is_some();
        let said = self.payload(&said);
        say.to_upstream.push(said);
        let restoring = self.restoring.as_mut()?;
        restoring.instead = instead.and_then(|nth| u16::try_from(nth).ok());
        if !awaits {
            return None;
        }
        (restoring.awaits, restoring.since) = (Step::Resumed, now);
        Some(Meaning::Nothing)
    }

    /// Does a message wait for what it takes from outside?
    fn waits_for_values(&mut self, serial: u32, now: Instant) -> bool {
        let code = std::sync::Arc::clone(&self.code);
        let Some(item) = self.memory.get(serial) else { return false };
        let wants = self.wants_again(&code.rules.frames[usize::from(item.rule)], &item.frame);
        let waits = self.lacks(&wants, false, now);
        if let Some(restoring) = self.restoring.as_mut().filter(|_| waits) {
            (restoring.awaits, restoring.since) = (Step::Value(serial), now);
        }
        waits
    }

    /// Values came: if a message waits for one, it is said now.
    pub(super) fn goes_on_with_values(&mut self, now: Instant, say: &mut Say) -> Meaning {
        match self.restoring.as_ref().map(|restoring| restoring.awaits) {
            Some(Step::Value(_)) => self.go_on(now, say, false),
            _ => Meaning::Nothing,
        }
    }

    /// Says one message again; is an answer to be awaited?
    fn say_again(&mut self, serial: u32, now: Instant, say: &mut Say) -> bool {
        let code = std::sync::Arc::clone(&self.code);
        let Some(item) = self.memory.get(serial) else { return false };
        let rule = &code.rules.frames[usize::from(item.rule)];
        let mut frame = item.frame.to_vec();
        let (wants, arg) = (self.wants_again(rule, &item.frame), self.arg(rule, &item.frame));
        let known = Known { key: &item.key, item: Some(&item.frame), arg: arg.as_deref(), ..self.known() };
        for (pointer, value) in rule.set.iter().chain(&rule.on_replay).flatten() {
            if let Some(put) = known.say(value).and_then(|value| place::put(&frame, &pointer.0, &value)) {
                frame = put;
            }
        }
        let bytes = codec::write_one(code.rules.codec, frame).into();
        let payload = Payload { kind: item.kind, bytes };
        if item.answered {
            let hides = (0..rule.hide.as_ref().map_or(0, Vec::len)).filter_map(|nth| u8::try_from(nth).ok());
            self.hides.of.extend(hides.map(|nth| (serial, nth)));
            self.hides.until = Some(now + code.rules.swap.timeout);
        }
        self.spend(&wants);
        say.to_upstream.push(payload);
        say.replayed += 1;
        rule.answer.is_some()
    }

    /// Is it one that the client is not to hear? Each is hidden once.
    pub(super) fn hides(&mut self, bytes: &[u8], now: Instant) -> bool {
        if self.hides.until.is_some_and(|until| until <= now) {
            self.hides = Hides::default();
        }
        let is_meant = |(serial, nth): &(u32, u8)| {
            let item = self.memory.get(*serial)?;
            let meant = self.rules().frames[usize::from(item.rule)].hide.as_ref()?.get(usize::from(*nth))?;
            let known = Known { key: &item.key, item: Some(&item.frame), ..self.known() };
            (known.holds(meant, bytes) == Ok(true)).then_some(())
        };
        let found = self.hides.of.iter().position(|hide| is_meant(hide).is_some());
        found.map(|at| self.hides.of.remove(at)).is_some()
    }

    /// If the message whose answer is awaited was forgotten, the next one follows.
    pub(super) fn goes_on_without(&mut self, now: Instant, say: &mut Say) -> Meaning {
        match self.restoring.as_ref().map(|restoring| restoring.awaits) {
            Some(Step::Answer(serial) | Step::Value(serial)) if self.memory.get(serial).is_none() => {
                self.go_on(now, say, false)
            }
            _ => Meaning::Nothing,
        }
    }
}
