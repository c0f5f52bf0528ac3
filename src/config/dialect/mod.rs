//! `[dialect.NAME]`: how a service speaks of tokens, in a small language (docs/dialects).
//!
//! ```text
//!   table    what is written      matching  which messages     ─┐
//!   presets  what ships            speech    what is said        ├─► Rules ─► crate::dialect::table, which plays them
//!   fits     what is refused       pointer   where a value stands ┘
//! ```
//!
//! Rules:
//! 1. A preset is a file of this language: nothing can be said in one that a user cannot say.
//! 2. What can work with no service is refused at load (`fits`), with its line.
//! 3. Names in braces are filled into parsed values: no value can break out of where it was put.

mod fits;
mod matching;
mod named;
mod pointer;
mod presets;
mod speech;
mod table;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

pub(super) use self::table::DialectTable;
pub use self::{
    fits::WIDEST,
    matching::{Match, Side, Test},
    pointer::{Pointer, Step},
    presets::{Proven, preset, presets, text},
    speech::{Piece, Speech, Subject, Text},
    table::{AwayRule, CloseOld, Codec, ExchangeRule, FrameMeans, FrameRule, ResumeRule, SwapRule},
};

use super::{
    TokenConfig,
    close::CloseRule,
    declare::Declared,
    error::nearest,
    route::Placement,
    section::Section,
    template::Names,
    token::{self, TokenTable},
};

/// A dialect as it is meant: its own rules, and behind them those of the preset that it is like.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    pub name: String,
    pub codec: Codec,
    pub token: Option<Placement>,
    /// Other values from outside, by their names.
    pub sources: Vec<(String, TokenConfig)>,
    pub frames: Vec<FrameRule>,
    pub exchanges: Vec<ExchangeRule>,
    pub swap: SwapRule,
    pub resume: Option<ResumeRule>,
    pub away: Vec<AwayRule>,
    pub closes: Vec<CloseRule>,
}

impl Rules {
    /// Does a new connection hear again what was said on the one before it?
    pub fn replays(&self) -> bool {
        self.frames.iter().any(|frame| frame.replay)
    }

    /// Does it say where the token goes: in the handshake, or in a message?
    pub fn places_the_token(&self) -> bool {
        let frames = self.frames.iter();
        let set = frames.flat_map(|frame| [&frame.set, &frame.on_replay]).flatten().flatten();
        self.token.as_ref().is_some_and(Placement::places)
            || set.into_iter().any(|(_, value)| value.shows_the_token())
    }

    /// Is the route's token shown anywhere, or its handshake the place of it?
    pub fn takes_the_token(&self) -> bool {
        let exchanged = self.exchanges.iter().any(|exchange| exchange.source.is_none());
        self.sources.is_empty() || self.places_the_token() || exchanged
    }

    /// Does the live connection take a new token?
    pub fn exchanges_the_token(&self) -> bool {
        self.exchanges.iter().any(|exchange| exchange.source.is_none())
    }

    /// The source of this name.
    pub fn source(&self, name: &str) -> Option<&TokenConfig> {
        self.sources.iter().find(|(known, _)| known == name).map(|(_, source)| source)
    }

    /// The rule of this name.
    pub fn named(&self, name: &str) -> Option<usize> {
        self.frames.iter().position(|frame| frame.name.as_deref() == Some(name))
    }
}

/// Names that dialects in code have.
pub(super) const IN_CODE: [&str; 3] = ["none", "handshake", "ably"];

/// The dialects that a route may name; `None`: what is wrong with it has been said.
pub(super) struct Dialects(BTreeMap<String, Option<Arc<Rules>>>);

impl Dialects {
    /// Those of the file.
    pub(super) fn read(root: &Section<'_>) -> Self {
        let read = |(name, section): (String, Section<'_>)| {
            let rules = rules(&name, &section.naming(names())).map(Arc::new);
            (name, rules)
        };
        Self(root.named_tables("dialect").into_iter().map(read).collect())
    }

    /// The one of this name: of the file, or a preset. Notes that there is none.
    pub(super) fn find(&self, route: &Section<'_>, name: &str) -> Option<Arc<Rules>> {
        let found = self.0.get(name).cloned().or_else(|| Some(Some(preset(name)?)));
        found.unwrap_or_else(|| {
            route.refuse("dialect", self.unknown(name));
            None
        })
    }

    /// What to say of a name that none has.
    fn unknown(&self, name: &str) -> String {
        let own = self.0.keys().map(String::as_str);
        let known: Vec<&str> =
            IN_CODE.into_iter().chain(own).chain(presets().map(|(name, _)| name)).collect();
        match nearest(name, known.iter().copied()) {
            Some(near) => format!("there is no such dialect; did you mean \"{near}\"?"),
            None => format!(
                "there is no such dialect; known are {}; or write your own, [dialect.NAME]",
                known.join(", ")
            ),
        }
    }
}

fn rules(name: &str, section: &Section<'_>) -> Option<Rules> {
    if IN_CODE.contains(&name) {
        section.problem("is the name of a dialect in code; choose another name");
    }
    if preset(name).is_some() {
        section.problem("is the name of a preset; choose another name, and write like = with this one");
    }
    let before = section.problems.count();
    section.look();
    let own = DialectTable::read(section)?;
    if section.problems.count() > before {
        // What could not be read is missing, and nothing more is to be said of it.
        return None;
    }
    let base = match &own.like {
        None => None,
        Some(like) => match preset(like) {
            Some(base) => Some(base),
            None => {
                let known: Vec<&str> = presets().map(|(name, _)| name).collect();
                section.refuse("like", format!("there is no such preset; known are {}", known.join(", ")));
                return None;
            }
        },
    };
    let token = own.token.map(|token| token.with_json(&section.at("token")));
    let own = DialectTable { token, ..own };
    let sources = sources(section, &own.source)?;
    let rules = merged(name, (own, sources), base.as_deref());
    fits::look(section, &rules).then_some(rules)
}

/// What the dialect asks for beside the token. `None`: there is a problem.
fn sources(section: &Section<'_>, tables: &[(String, TokenTable)]) -> Option<Vec<(String, TokenConfig)>> {
    let mut sources = Vec::new();
    for (name, at) in section.named_tables("source") {
        if !speech::is_variable(&name) {
            at.problem("a name is made of A-Z, a-z, 0-9 and _");
        }
        for key in ["share", "identity"] {
            at.useless(key, "has no effect: each {arg} has a value of its own; remove this");
        }
        let table = tables.iter().find(|(known, _)| *known == name).map(|(_, table)| table.clone());
        sources.push((name, token::read(&at, table?)?));
    }
    Some(sources)
}

fn merged(
    name: &str,
    (own, sources): (DialectTable, Vec<(String, TokenConfig)>),
    base: Option<&Rules>,
) -> Rules {
    let replaced =
        |frame: &&FrameRule| frame.name.is_none() || own.frame.iter().all(|own| own.name != frame.name);
    let frames =
        base.into_iter().flat_map(|base| base.frames.iter()).filter(replaced).cloned().collect::<Vec<_>>();
    let after = |closes: Vec<CloseRule>| {
        closes.into_iter().chain(base.into_iter().flat_map(|base| base.closes.iter().cloned())).collect()
    };
    let exchanges = if own.exchange.is_empty() {
        base.map(|base| base.exchanges.clone()).unwrap_or_default()
    } else {
        own.exchange
    };
    let away =
        own.away.into_iter().chain(base.into_iter().flat_map(|base| base.away.iter().cloned())).collect();
    Rules {
        name: name.to_owned(),
        codec: own.codec.or_else(|| Some(base?.codec)).unwrap_or(Codec::Json),
        token: own.token.or_else(|| base?.token.clone()),
        sources,
        frames: own.frame.into_iter().chain(frames).collect(),
        exchanges,
        swap: own.swap.or_else(|| Some(base?.swap.clone())).unwrap_or_default(),
        resume: own.resume.or_else(|| base?.resume.clone()),
        away,
        closes: after(own.close),
    }
}

/// What a template of a dialect may name.
fn names() -> Names {
    Names { each: true, arg: true, ..Names::default() }
}
