//! Which rule each message of a captured conversation hits: for people who write a dialect.
//!
//! The messages are played to a session of the dialect as they stand; what is said of one is what became of it.

use std::sync::Arc;

use http::HeaderMap;

use super::{Compiled, Declared, Known, Look, memory::Item};
use crate::{
    clock::{self, Now},
    config::{
        Route,
        dialect::{FrameMeans, FrameRule, Rules, Side},
    },
    credential::{Generation, Token},
    dialect::{Dialect, Moment, Request, Say, codec},
    wire::{Kind, Message},
};

/// What the rules do with each message, in words.
pub(in crate::dialect) fn explain(
    route: &Arc<Route>,
    rules: &Arc<Rules>,
    said: &[(Side, &str)],
) -> Vec<Vec<String>> {
    let code = Arc::new(Compiled::new(Arc::clone(rules)));
    let mut session = Declared::new(Request::new("/", &HeaderMap::new()), Arc::clone(route), code);
    session.token(&Token::new("TOKEN", Generation(1), Now::read(), None));
    said.iter().map(|(side, text)| session.explained(*side, text.as_bytes())).collect()
}

impl Declared {
    fn explained(&mut self, side: Side, bytes: &[u8]) -> Vec<String> {
        let index = if side == Side::Client { &self.code.up } else { &self.code.down };
        let message = Message { kind: Kind::Text, payload: bytes };
        let read = codec::read(self.code.rules.codec, message);
        let look = index.look_at(&read);
        if look == Look::Unread {
            let fate = if side == Side::Client && self.code.guards {
                "refused with Close 1008"
            } else {
                "forwarded"
            };
            return vec![format!("begins like JSON and cannot be read: {fate}")];
        }
        let mut lines: Vec<String> = read.texts().flat_map(|one| self.lines(side, one)).collect();
        let mut say = Say::default();
        match side {
            Side::Client => self.says(message, &mut lines, &mut say),
            Side::Server => drop(self.upstream(message, Moment::Live, clock::now(), &mut say)),
        }
        if let Some(instead) = say.instead {
            lines.push(format!("goes on as {}", String::from_utf8_lossy(&instead.bytes)));
        }
        if lines.is_empty() {
            lines.push("no rule: forwarded as its bytes".to_owned());
        }
        lines
    }

    /// The client says this; what it takes from outside is there.
    fn says(&mut self, message: Message<'_>, lines: &mut Vec<String>, say: &mut Say) {
        self.client(message, Moment::Live, clock::now(), say);
        let wants = self.wants();
        for (want, _) in &wants {
            lines.push(format!("waits for the value of source \"{}\" for \"{}\"", want.source, want.arg));
            let value = Token::new("VALUE", Generation(1), Now::read(), None);
            self.value(want, Some(&value), clock::now(), say);
        }
        if !wants.is_empty() {
            self.client(message, Moment::Live, clock::now(), say);
        }
    }

    fn lines(&self, side: Side, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        match self.rules_about(side, bytes) {
            None => lines.push(
                "may be meant by a rule with set or drop, and cannot be read: refused with Close 1008"
                    .to_owned(),
            ),
            Some(about) => {
                let mut free = true;
                for nth in about {
                    let rule = &self.code.rules.frames[nth];
                    lines.push(format!("{}: {}", self.name(nth), does(rule, free)));
                    free &= !rule.replay && !rule.owed;
                }
            }
        }
        for item in self.memory.all() {
            let key = String::from_utf8_lossy(&item.key);
            let of = if item.key.is_empty() { String::new() } else { format!(" of {key}") };
            let name = self.name(usize::from(item.rule));
            if side == Side::Server && self.is_answer(item, bytes) {
                lines.push(format!("answers {name}{of}"));
            }
            if side == Side::Server && self.is_hidden(item, bytes) {
                lines.push(format!("on a new connection the client does not hear it: hide of {name}{of}"));
            }
            if self.ends(item, side, bytes) {
                lines.push(format!("ends {name}{of}: forgotten"));
            }
        }
        lines
    }

    fn is_hidden(&self, item: &Item, bytes: &[u8]) -> bool {
        let hide = self.code.rules.frames[usize::from(item.rule)].hide.as_deref().unwrap_or_default();
        Known { key: &item.key, item: Some(&item.frame), ..self.known() }.any(hide, bytes)
    }

    fn name(&self, nth: usize) -> String {
        let name = self.code.rules.frames[nth].name.as_ref();
        name.map_or_else(|| format!("frame {}", nth + 1), |name| format!("frame \"{name}\""))
    }
}

/// What a rule does with a message; `free`: no rule before it remembers it.
fn does(rule: &FrameRule, free: bool) -> String {
    let mut does = Vec::new();
    if rule.drop {
        does.push("dropped".to_owned());
    }
    does.extend(rule.remove.iter().flatten().map(|pointer| format!("{pointer} is taken out")));
    does.extend(rule.set.iter().flatten().map(|(pointer, _)| format!("{pointer} is set")));
    does.extend(
        rule.capture.iter().flatten().map(|(name, pointer)| format!("{name} is captured from {pointer}")),
    );
    if rule.replay && free {
        does.push("remembered, to be said again on a new connection".to_owned());
    }
    if rule.owed && free {
        does.push("an answer is owed on this connection".to_owned());
    }
    does.extend(rule.means.map(|means| {
        match means {
            FrameMeans::Ready => "the service speaks first: awaited on a new connection",
            FrameMeans::Asks => "the service wants a new token",
            FrameMeans::Expired => "the token has ended: a new connection with a new one",
            FrameMeans::Lost => "the connection is lost: a new one",
            FrameMeans::Final => "the service's last word: it goes to the client",
        }
        .to_owned()
    }));
    does.join("; ")
}
