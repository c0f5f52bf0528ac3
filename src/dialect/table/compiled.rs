//! The rules as they are asked: whether a message concerns any of them is seen in place, by the members at its top.
//!
//! ```text
//!   {"id":"1","type":"next","payload":{…}}      heads: id, type     behind them nothing is read
//!         └────────┴── no rule is about "next" ─► forwarded as its bytes
//! ```
//!
//! Rules:
//! 1. In doubt a message concerns a rule: then its rules are asked one by one.
//! 2. A client's message is read to its end: a member may come again. A service repeats none.

use std::{ops::ControlFlow, sync::Arc};

use super::super::{
    codec::Read,
    json::{self, place},
};
use crate::config::dialect::{FrameMeans, FrameRule, Rules, Side, Speech, Step, Test, WIDEST};

/// A dialect, ready to be asked.
#[derive(Debug, PartialEq)]
pub(in crate::dialect) struct Compiled {
    pub rules: Arc<Rules>,
    pub up: Index,
    pub down: Index,
    /// A client's message that cannot be read may hold a token of its own.
    pub guards: bool,
    /// The service speaks first on a connection.
    pub hello: bool,
}

/// What of a message of one side is looked at.
#[derive(Debug, PartialEq)]
pub(in crate::dialect) struct Index {
    heads: Vec<Head>,
    concerns: Vec<Vec<Quick>>,
    side: Side,
}

/// A member at the top that is looked at.
#[derive(Debug, PartialEq)]
struct Head {
    step: Step,
    /// Its value is compared with constants.
    is_compared: bool,
}

/// A test of a member at the top.
#[derive(Debug, PartialEq)]
struct Quick {
    head: usize,
    /// It is one of these, as JSON writes them without need for escapes; empty: it is there.
    is: Vec<Box<str>>,
}

/// What a look at a message gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) enum Look {
    /// No rule is about it.
    Plain,
    /// A rule may be.
    Concerns,
    /// It begins like JSON and is none.
    Unread,
    /// It is something else, for example audio.
    Foreign,
}

impl Compiled {
    pub(in crate::dialect) fn new(rules: Arc<Rules>) -> Self {
        let guards = rules
            .frames
            .iter()
            .any(|frame| frame.from == Side::Client && (frame.set.is_some() || frame.drop));
        let means_ready = |frame: &FrameRule| frame.means == Some(FrameMeans::Ready);
        let hello = rules.frames.iter().any(means_ready);
        Self {
            up: Index::new(&rules, Side::Client),
            down: Index::new(&rules, Side::Server),
            guards,
            hello,
            rules,
        }
    }
}

impl Index {
    fn new(rules: &Rules, side: Side) -> Self {
        let frames = rules.frames.iter();
        let own = frames.clone().filter(|frame| frame.from == side).map(|frame| &frame.r#match);
        let until = frames.flat_map(|frame| frame.until.iter().flatten()).filter(|until| until.from == side);
        let mut index = Self { heads: Vec::new(), concerns: Vec::new(), side };
        for meant in own.chain(until) {
            let quick =
                meant.tests.iter().filter_map(|(pointer, test)| index.quick(&pointer.0, test)).collect();
            index.concerns.push(quick);
        }
        index
    }

    fn quick(&mut self, steps: &[Step], test: &Test) -> Option<Quick> {
        let (first, rest) = steps.split_first()?;
        if *test == Test::Exists(false) || &*first.name == "*" {
            return None;
        }
        let head = self.heads.iter().position(|head| head.step == *first).unwrap_or_else(|| {
            self.heads.push(Head { step: first.clone(), is_compared: false });
            self.heads.len() - 1
        });
        let constants = |all: &[Speech]| -> Vec<Box<str>> {
            let texts = all.iter().map(|one| {
                if let Speech::Constant(text) = one { is_plain(text).then(|| text.clone()) } else { None }
            });
            texts.collect::<Option<_>>().unwrap_or_default()
        };
        let is =
            if let (true, Test::Is(all)) = (rest.is_empty(), test) { constants(all) } else { Vec::new() };
        self.heads[head].is_compared |= !is.is_empty();
        Some(Quick { head, is })
    }

    /// Is nothing of this side looked at?
    pub(in crate::dialect) fn is_empty(&self) -> bool {
        self.concerns.is_empty()
    }

    /// Does a message concern a rule?
    pub(in crate::dialect) fn look_at(&self, read: &Read<'_>) -> Look {
        match read {
            Read::One(text) => self.look(text),
            Read::Foreign => Look::Foreign,
            Read::Unread => Look::Unread,
            Read::Several(all) => {
                let looks: Vec<Look> = all.iter().map(|text| self.look(text)).collect();
                let has = |look| looks.contains(&look);
                if has(Look::Unread) {
                    Look::Unread
                } else if has(Look::Concerns) {
                    Look::Concerns
                } else {
                    Look::Plain
                }
            }
        }
    }

    /// The same of a text.
    pub(in crate::dialect) fn look<'b>(&self, bytes: &'b [u8]) -> Look {
        let mut found: [Option<&'b [u8]>; WIDEST] = [None; WIDEST];
        let (mut left, mut doubt) = (self.heads.len(), false);
        let is_up = self.side == Side::Client;
        let mut take = |nth: Option<usize>, value: &'b [u8]| {
            if let Some((head, slot)) = nth.and_then(|nth| Some((self.heads.get(nth)?, found.get_mut(nth)?)))
            {
                match slot.replace(value) {
                    Some(_) => doubt = true,
                    None => left -= 1,
                }
                // With an escape it has another spelling, too.
                doubt |= head.is_compared && value.contains(&b'\\');
            }
            if left == 0 && !is_up { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let read = match place::opening(bytes) {
            Some(b'{') => json::each(bytes, |key, value| {
                take(self.heads.iter().position(|head| *head.step.name.as_bytes() == *key), value)
            }),
            Some(b'[') => place::each_element(bytes, |nth, value| {
                take(self.heads.iter().position(|head| head.step.index == Some(nth)), value)
            }),
            Some(_) | None => return Look::Foreign,
        };
        if read.is_none() {
            // Bytes that are no UTF-8 are no JSON: something else begins with a bracket by chance.
            return if std::str::from_utf8(bytes).is_ok() { Look::Unread } else { Look::Foreign };
        }
        let holds = |quick: &Quick| {
            let value = found.get(quick.head).copied().flatten();
            value.is_some_and(|value| quick.is.is_empty() || quick.is.iter().any(|is| value == is.as_bytes()))
        };
        let concerns = doubt || self.concerns.iter().any(|all| all.iter().all(holds));
        if concerns { Look::Concerns } else { Look::Plain }
    }
}

/// A string or a word that has one spelling only, but for escapes.
fn is_plain(text: &str) -> bool {
    matches!(text, "true" | "false" | "null") || text.starts_with('"') && !text.contains('\\')
}
