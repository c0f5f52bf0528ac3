//! A new token on the live connection: all that shows it is said in one go, and each has its answer.
//!
//! Silence can be a yes: `ok_after`. One no is a no for all.

use super::{Declared, Exchanged, Known, Meaning, Say, excerpt};
use crate::{
    clock::Instant,
    config::dialect::{ExchangeRule, Match, Rules},
};

/// What has been said, and is not answered yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asking {
    pending: Vec<Pending>,
    since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pending {
    rule: u8,
    /// The remembered message that it was said for.
    item: Option<u32>,
    id: u64,
}

impl Asking {
    /// The latest time at which all is known.
    pub(super) fn until(&self, rules: &Rules) -> Instant {
        let each = self.pending.iter().filter_map(|pending| rules.exchanges.get(usize::from(pending.rule)));
        self.since + each.map(|rule| rule.ok_after.unwrap_or(rule.timeout)).max().unwrap_or_default()
    }
}

impl Declared {
    /// `token`: there is a new one of the route's; else there are other values.
    pub(super) fn ask(&mut self, token: bool, now: Instant, say: &mut Say) -> Exchanged {
        let code = std::sync::Arc::clone(&self.code);
        if code.rules.exchanges.is_empty() {
            return Exchanged::Unknown;
        }
        let mut pending = Vec::new();
        for (nth, rule) in code.rules.exchanges.iter().enumerate() {
            if rule.source.is_none() && !token {
                continue;
            }
            let mut items: Vec<Option<u32>> =
                match rule.for_each.as_ref().and_then(|name| code.rules.named(name)) {
                    Some(remembered) => {
                        self.memory.of_rule(remembered).map(|item| Some(item.serial)).collect()
                    }
                    None => vec![None],
                };
            if let Some(source) = &rule.source {
                items.retain(|item| item.is_some_and(|serial| self.is_news(source, serial)));
            }
            for item in items {
                let id = self.next_id();
                let arg = item.and_then(|serial| self.arg_of(serial));
                let known = Known { arg: arg.as_deref(), ..self.known_for(item, id) };
                let Some(said) = known.say(&rule.send) else { continue };
                let said = self.payload(&said);
                say.to_upstream.push(said);
                pending.push(Pending { rule: u8::try_from(nth).unwrap_or(u8::MAX), item, id });
            }
        }
        self.values.are_known();
        if pending.is_empty() {
            return Exchanged::Needless;
        }
        self.asking = Some(Box::new(Asking { pending, since: now }));
        Exchanged::Asked
    }

    fn known_for(&self, item: Option<u32>, id: u64) -> Known<'_> {
        let item = item.and_then(|serial| self.memory.get(serial));
        let key = item.map_or(&b""[..], |item| &item.key);
        Known { key, item: item.map(|item| &*item.frame), id: Some(id), ..self.known() }
    }

    /// Is it an answer to what was said? Then what it means.
    pub(super) fn answers(&mut self, bytes: &[u8], now: Instant) -> Option<Meaning> {
        let code = std::sync::Arc::clone(&self.code);
        let asking = self.asking.as_ref()?;
        let meant = |pending: &Pending, which: fn(&ExchangeRule) -> &Option<Vec<Match>>| {
            let all =
                code.rules.exchanges.get(usize::from(pending.rule)).and_then(|rule| which(rule).as_deref());
            self.known_for(pending.item, pending.id).any(all.unwrap_or_default(), bytes)
        };
        if let Some(at) = asking.pending.iter().position(|pending| meant(pending, |rule| &rule.fail)) {
            return Some(self.is_refused(at, bytes));
        }
        let at = asking.pending.iter().position(|pending| meant(pending, |rule| &rule.ok))?;
        if let Some(asking) = &mut self.asking {
            asking.pending.swap_remove(at);
        }
        Some(self.silent(now))
    }

    /// The service refused a token: that is a no for the connection. A value of its own is that message's alone.
    fn is_refused(&mut self, at: usize, bytes: &[u8]) -> Meaning {
        let Some(asking) = &mut self.asking else { return Meaning::Nothing };
        let refused = asking.pending.swap_remove(at);
        let source =
            self.code.rules.exchanges.get(usize::from(refused.rule)).and_then(|rule| rule.source.clone());
        if source.is_none() || asking.pending.is_empty() {
            self.asking = None;
        }
        let Some((source, serial)) = source.zip(refused.item) else {
            return Meaning::Rejected(excerpt(bytes));
        };
        self.is_refused_for(&source, serial);
        Meaning::Declined(excerpt(bytes))
    }

    /// Time has passed: is everything that can be a silent yes one?
    pub(super) fn silent(&mut self, now: Instant) -> Meaning {
        let Some(asking) = &mut self.asking else { return Meaning::Nothing };
        let since = asking.since;
        let rules = &self.code.rules.exchanges;
        let is_yes = |pending: &Pending| {
            let after = rules.get(usize::from(pending.rule)).and_then(|rule| rule.ok_after);
            after.is_some_and(|after| now >= since + after)
        };
        asking.pending.retain(|pending| !is_yes(pending));
        if asking.pending.is_empty() {
            self.asking = None;
            return Meaning::Accepted;
        }
        Meaning::Nothing
    }
}
