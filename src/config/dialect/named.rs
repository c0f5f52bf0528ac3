//! Where which name has a value.

use std::collections::BTreeSet;

use super::{Match, Rules, Speech, speech::Subject};

/// What is named at one place, and what has a value there beside the token and what was captured.
struct Place<'r> {
    key: &'static str,
    names: Vec<&'r Subject>,
    has: Has<'r>,
}

#[derive(Clone, Copy, Default)]
struct Has<'r> {
    /// A message that it is about.
    item: bool,
    /// That message has a key.
    key: bool,
    /// A number of its own.
    id: bool,
    /// The values of these sources.
    values: Values<'r>,
}

#[derive(Clone, Copy, Default)]
enum Values<'r> {
    #[default]
    None,
    All,
    Of(&'r str),
}

impl Values<'_> {
    fn include(self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Of(one) => one == name,
        }
    }
}

fn places(rules: &Rules) -> Vec<Place<'_>> {
    let mut places = Vec::new();
    let mut place = |key, has, names| places.push(Place { key, names, has });
    for frame in &rules.frames {
        let has = Has { item: true, key: frame.key.is_some(), ..Has::default() };
        let puts = Has { values: Values::All, ..has };
        place("frame", has, speeches(&frame.arg));
        place("frame", Has::default(), frame.r#match.subjects());
        place("frame", puts, edits(frame.set.iter().chain(&frame.on_replay)));
        place("frame", has, matches([&frame.until, &frame.answer, &frame.hide]));
    }
    for exchange in &rules.exchanges {
        let rule =
            exchange.for_each.as_ref().and_then(|name| rules.named(name)).map(|nth| &rules.frames[nth]);
        let key = rule.is_some_and(|rule| rule.key.is_some());
        let has = Has { item: rule.is_some(), key, id: true, values: Values::None };
        let values = exchange.source.as_deref().map_or(Values::None, Values::Of);
        place("exchange", Has { values, ..has }, exchange.send.subjects());
        place("exchange", has, matches([&exchange.ok, &exchange.fail]));
    }
    place("swap", Has::default(), speeches(&rules.swap.goodbye));
    if let Some(resume) = &rules.resume {
        let query = resume.query.iter().flatten().flat_map(|(_, value)| value.subjects());
        place("resume", Has::default(), speeches(&resume.send).into_iter().chain(query).collect());
        place("resume", Has::default(), matches([&resume.answer, &resume.fail]));
    }
    for away in &rules.away {
        place("away", Has { item: true, ..Has::default() }, speeches(&away.reply));
        place("away", Has::default(), speeches(&away.send));
        place("away", Has::default(), away.r#match.iter().flat_map(Match::subjects).collect());
    }
    places
}

fn edits<'r, P: 'r>(edits: impl Iterator<Item = &'r Vec<(P, Speech)>>) -> Vec<&'r Subject> {
    edits.flatten().flat_map(|(_, value)| value.subjects()).collect()
}

fn matches<const N: usize>(all: [&Option<Vec<Match>>; N]) -> Vec<&Subject> {
    all.into_iter().flatten().flatten().flat_map(Match::subjects).collect()
}

fn speeches(speech: &Option<Speech>) -> Vec<&Subject> {
    speech.iter().flat_map(Speech::subjects).collect()
}

/// What is named and has no value there: the key of the dialect, and what is wrong.
pub(super) fn without_value(rules: &Rules) -> BTreeSet<(&'static str, String)> {
    let captures = rules.frames.iter().flat_map(|frame| frame.capture.iter().flatten());
    let captured: BTreeSet<&str> = captures.map(|(name, _)| &**name).collect();
    let capture = |name: &str| format!("nothing captures \"{name}\"; add capture = {{ {name} = \"/…\" }}");
    let mut wrong = BTreeSet::new();
    for Place { key, names, has } in places(rules) {
        wrong.extend(names.into_iter().filter_map(|name| {
            let problem = match name {
                Subject::Var(name) if !captured.contains(&**name) => capture(name),
                Subject::Value(name) if rules.source(name).is_none() => {
                    format!("{{token.{name}}}: there is no [dialect.NAME.source.{name}]")
                }
                Subject::Value(name) if !has.values.include(name) => {
                    format!(
                        "{{token.{name}}} has a value in set and on_replay of a frame rule, and in send of an exchange \
                         with source = \"{name}\""
                    )
                }
                Subject::Item(_) if !has.item => "{item} has no value in this place".to_owned(),
                Subject::Key if !has.key => {
                    "{key} has no value in this place; add key to the frame rule".to_owned()
                }
                Subject::Id if !has.id => "{id} has a value in [[dialect.NAME.exchange]] only".to_owned(),
                Subject::Token | Subject::Value(_) | Subject::Var(_) | Subject::Item(_) | Subject::Key | Subject::Id => {
                    return None;
                }
            };
            Some((key, problem))
        }));
    }
    let needs = rules.resume.iter().flat_map(|resume| resume.r#if.iter().flatten());
    wrong
        .extend(needs.filter(|name| !captured.contains(name.as_str())).map(|name| ("resume", capture(name))));
    wrong
}
