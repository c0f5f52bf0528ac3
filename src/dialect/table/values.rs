//! Values from outside: a channel's token, a ticket, a signature over what the service said.
//!
//! ```text
//!   a message takes one ─► there, and valid ─────────────────────────► put in
//!                     └──► not there: asked for; the message waits ─► it comes, or cannot be had: the message goes on
//!   a newer one comes ─► news: an exchange of its source shows it for each remembered message
//! ```
//!
//! Rules:
//! 1. A value is known by its source and by what it was asked for.
//! 2. One that is for one use is put into one message.
//! 3. One that cannot be had is left out: the service judges what the client itself said.

use super::{Declared, Known, client::key_of, known::as_text};
use crate::{
    clock::Instant,
    config::dialect::{FrameRule, Speech},
    credential::{Generation, Token},
    dialect::{Meaning, Say, Want},
};

/// More than so many are looked through for some that nobody needs.
const MANY: usize = 16;

/// Those that were asked for.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Values(Vec<Value>);

#[derive(Debug, Clone, PartialEq)]
struct Value {
    want: Want,
    state: State,
    /// It stands in a message that the service got.
    shown: bool,
    /// A newer one than the service knows is there.
    news: bool,
    /// A message of the client's waits for it.
    holds: bool,
    /// It is to be fetched, and that has not been said yet.
    due: bool,
    /// The service refused the one of this generation.
    rejected: Option<Generation>,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Asked,
    There(Box<Token>),
    /// It cannot be had.
    Refused,
}

impl Values {
    /// The one of this source for this.
    pub(super) fn get(&self, source: &str, arg: &str) -> Option<&Token> {
        self.find(source, arg).and_then(Value::token)
    }

    fn find(&self, source: &str, arg: &str) -> Option<&Value> {
        self.0.iter().find(|value| *value.want.source == *source && *value.want.arg == *arg)
    }

    fn entry(&mut self, want: &Want) -> &mut Value {
        let at = self.0.iter().position(|value| value.want == *want).unwrap_or_else(|| {
            let (want, state) = (want.clone(), State::Refused);
            self.0.push(Value {
                want,
                state,
                shown: false,
                news: false,
                holds: false,
                due: false,
                rejected: None,
            });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    /// A new connection hears the newest ones.
    pub(super) fn are_known(&mut self) {
        self.0.iter_mut().for_each(|value| value.news = false);
    }

    /// Those that are to be fetched; of which generation the service will not have them.
    pub(super) fn due(&mut self) -> Vec<(Want, Option<Generation>)> {
        let fetch = |value: &mut Value| {
            std::mem::take(&mut value.due).then(|| (value.want.clone(), value.rejected.take()))
        };
        self.0.iter_mut().filter_map(fetch).collect()
    }

    /// Does a message of the client's wait for one?
    pub(super) fn hold(&self) -> bool {
        self.0.iter().any(|value| value.state == State::Asked && value.holds)
    }

    /// What waited for them is gone, or asks again.
    pub(super) fn are_not_awaited(&mut self) {
        self.0.retain(|value| value.state != State::Asked);
    }

    fn is_news(&self, source: &str, arg: &str) -> bool {
        self.find(source, arg).is_some_and(|value| value.news)
    }
}

impl Value {
    fn token(&self) -> Option<&Token> {
        if let State::There(token) = &self.state { Some(token) } else { None }
    }

    /// Does a message wait for it?
    fn is_awaited(&self, now: Instant) -> bool {
        match &self.state {
            State::Asked => true,
            State::There(token) => token.expires.is_some_and(|at| at <= now),
            State::Refused => false,
        }
    }
}

impl Declared {
    /// What `{arg}` stands for in a message of this rule's; `None`: that is not in it.
    pub(super) fn arg(&self, rule: &FrameRule, bytes: &[u8]) -> Option<Box<str>> {
        let Some(arg) = &rule.arg else { return Some("".into()) };
        let key = key_of(rule, bytes);
        let said = Known { item: Some(bytes), key: &key, ..self.known() }.say(arg)?;
        as_text(&said).map(|text| text.into_owned().into())
    }

    /// What these values that are put into such a message take from outside.
    fn wants<'r>(&self, rule: &FrameRule, puts: impl Iterator<Item = &'r Speech>, bytes: &[u8]) -> Vec<Want> {
        let mut wants = Vec::new();
        for source in puts.flat_map(Speech::sources) {
            if let Some(arg) = self.arg(rule, bytes) {
                wants.push(Want { source: source.into(), arg });
            }
        }
        wants
    }

    /// What a message of the client's takes.
    pub(super) fn wants_live(&self, rule: &FrameRule, bytes: &[u8]) -> Vec<Want> {
        self.wants(rule, rule.set.iter().flatten().map(|(_, value)| value), bytes)
    }

    /// What one takes that is said again.
    pub(super) fn wants_again(&self, rule: &FrameRule, bytes: &[u8]) -> Vec<Want> {
        let puts = rule.set.iter().chain(&rule.on_replay).flatten().map(|(_, value)| value);
        self.wants(rule, puts, bytes)
    }

    /// Asks for what is not there; has the message to wait for it? `holds`: it is one of the client's.
    pub(super) fn lacks(&mut self, wants: &[Want], holds: bool, now: Instant) -> bool {
        let mut lacks = false;
        for want in wants {
            let known = self.values.find(&want.source, &want.arg);
            if known.is_some_and(|value| !value.is_awaited(now)) {
                continue;
            }
            lacks = true;
            let asked = known.is_some_and(|value| value.state == State::Asked);
            if !asked {
                self.forget_the_needless(wants);
            }
            let value = self.values.entry(want);
            value.holds |= holds;
            if !asked {
                (value.state, value.due) = (State::Asked, true);
            }
        }
        lacks
    }

    /// `wants`: what a message takes that is not remembered yet.
    fn forget_the_needless(&mut self, wants: &[Want]) {
        if self.values.0.len() >= MANY {
            let mut values = std::mem::take(&mut self.values);
            let kept = |value: &Value| value.state == State::Asked || wants.contains(&value.want);
            values.0.retain(|value| kept(value) || self.needs(&value.want));
            self.values = values;
        }
    }

    /// Does a remembered message take it?
    pub(super) fn needs(&self, want: &Want) -> bool {
        self.memory.all().any(|item| {
            let rule = &self.rules().frames[usize::from(item.rule)];
            self.wants_again(rule, &item.frame).contains(want)
        })
    }

    /// They stand in a message that goes on.
    pub(super) fn spend(&mut self, wants: &[Want]) {
        let rules = std::sync::Arc::clone(&self.code.rules);
        let once = |source: &str| rules.source(source).is_some_and(|source| source.refresh.once);
        self.values.0.retain_mut(|value| {
            let goes = wants.contains(&value.want);
            value.shown |= goes;
            !goes || value.state != State::Refused && !once(&value.want.source)
        });
    }

    /// A value came, or cannot be had.
    pub(super) fn takes_value(
        &mut self,
        want: &Want,
        token: Option<&Token>,
        now: Instant,
        say: &mut Say,
    ) -> Meaning {
        let exchanged =
            self.rules().exchanges.iter().any(|rule| rule.source.as_deref() == Some(&*want.source));
        let value = self.values.entry(want);
        value.holds = false;
        match token {
            Some(token) => {
                value.state = State::There(Box::new(token.clone()));
                value.news = value.shown && exchanged;
            }
            // One that is still there serves on.
            None if value.token().is_some() => {}
            None => value.state = State::Refused,
        }
        self.goes_on_with_values(now, say)
    }

    /// Is there one that the service is to hear of on the live connection?
    pub(super) fn has_values_to_show(&self) -> bool {
        self.values.0.iter().any(|value| value.news)
    }

    /// Is this newer than what the service was told for this message?
    pub(super) fn is_news(&self, source: &str, serial: u32) -> bool {
        self.arg_of(serial).is_some_and(|arg| self.values.is_news(source, &arg))
    }

    /// What `{arg}` stands for in a remembered message.
    pub(super) fn arg_of(&self, serial: u32) -> Option<Box<str>> {
        let item = self.memory.get(serial)?;
        self.arg(&self.rules().frames[usize::from(item.rule)], &item.frame)
    }

    /// The service refused the value that was shown for this message.
    pub(super) fn is_refused_for(&mut self, source: &str, serial: u32) {
        let Some(arg) = self.arg_of(serial) else { return };
        let is_meant = |value: &&mut Value| *value.want.source == *source && value.want.arg == arg;
        if let Some(value) = self.values.0.iter_mut().find(is_meant) {
            value.rejected = value.token().map(|token| token.generation);
            value.due = true;
        }
    }
}
