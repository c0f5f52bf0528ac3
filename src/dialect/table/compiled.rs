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

use super::super::json::{self, place};
use crate::config::dialect::{FrameMeans, FrameRule, Rules, Side, Speech, Step, Test};

/// The members at the top of a message that may be looked at; the configuration refuses more.
const WIDEST: usize = 16;

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
    heads: Vec<Step>,
    concerns: Vec<Vec<Quick>>,
    side: Side,
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
        if *test == Test::Exists(false) {
            return None;
        }
        let head = self.heads.iter().position(|head| head == first).unwrap_or_else(|| {
            self.heads.push(first.clone());
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
        Some(Quick { head, is })
    }

    /// Is nothing of this side looked at?
    pub(in crate::dialect) fn is_empty(&self) -> bool {
        self.concerns.is_empty()
    }

    /// Does a message concern a rule?
    pub(in crate::dialect) fn look(&self, bytes: &[u8]) -> Look {
        let mut found: [Option<&[u8]>; WIDEST] = [None; WIDEST];
        let (mut left, mut twice) = (self.heads.len(), false);
        let is_up = self.side == Side::Client;
        let mut take = |head: Option<usize>, value| {
            if let Some(slot) = head.and_then(|head| found.get_mut(head)) {
                match slot.replace(value) {
                    Some(_) => twice = true,
                    None => left -= 1,
                }
            }
            if left == 0 && !is_up { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let read = match place::opening(bytes) {
            Some(b'{') => json::each(bytes, |key, value| {
                take(self.heads.iter().position(|head| *head.name.as_bytes() == *key), value)
            }),
            Some(b'[') => place::each_element(bytes, |nth, value| {
                take(self.heads.iter().position(|head| head.index == Some(nth)), value)
            }),
            Some(_) | None => return Look::Foreign,
        };
        if read.is_none() {
            // Bytes that are no UTF-8 are no JSON: something else begins with a bracket by chance.
            return if std::str::from_utf8(bytes).is_ok() { Look::Unread } else { Look::Foreign };
        }
        let holds = |quick: &Quick| {
            let value = found.get(quick.head).copied().flatten();
            value.is_some_and(|value| quick.is.is_empty() || quick.is.iter().any(|is| may_be(value, is)))
        };
        if twice || self.concerns.iter().any(|all| all.iter().all(holds)) {
            Look::Concerns
        } else {
            Look::Plain
        }
    }
}

/// A string or a word that has one spelling only, but for escapes.
fn is_plain(text: &str) -> bool {
    matches!(text, "true" | "false" | "null") || text.starts_with('"') && !text.contains('\\')
}

/// Could the value be this constant? One with an escape could.
fn may_be(value: &[u8], constant: &str) -> bool {
    value == constant.as_bytes() || constant.starts_with('"') && memchr::memchr(b'\\', value).is_some()
}

/// All messages of an array; `None`: it is one message.
pub(in crate::dialect) fn batch(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let all = if place::opening(bytes) == Some(b'[') { json::elements(bytes) } else { None };
    all.filter(|all| !all.is_empty())
}
