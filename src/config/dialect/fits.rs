//! What a dialect says that can work with no service.

use std::collections::BTreeSet;

use super::{ExchangeRule, FrameMeans, FrameRule, Pointer, Rules, Side, Speech, named};
use crate::config::{Name, Swap, section::Section};

/// The most different members at the top of a message that the rules of one side may look at.
pub const WIDEST: usize = 16;

/// Notes what does not go together; is all well?
pub(super) fn look(section: &Section<'_>, rules: &Rules) -> bool {
    let mut found = Vec::new();
    let own = section.tables("frame").len();
    for (nth, frame) in rules.frames.iter().enumerate() {
        let problems = of_frame(frame, rules).into_iter().chain(of_each_and_of_values(frame, rules));
        // Rules of a preset are beside no line of the file.
        let at = section.tables("frame").into_iter().nth(nth).filter(|_| nth < own);
        for (key, message) in problems {
            at.as_ref().map_or_else(|| section.refuse("frame", &*message), |at| at.refuse(key, &*message));
            found.push(());
        }
    }
    let tables = section.tables("exchange");
    for (exchange, at) in rules.exchanges.iter().zip(tables.iter().map(Some).chain(std::iter::repeat(None))) {
        for (key, message) in of_exchange(exchange, rules) {
            at.map_or_else(|| section.refuse("exchange", &*message), |at| at.refuse(key, &*message));
            found.push(());
        }
    }
    for (key, message) in of_all(rules) {
        section.refuse(key, message);
        found.push(());
    }
    found.is_empty()
}

type Wrong = Vec<(&'static str, String)>;

fn of_frame(frame: &FrameRule, rules: &Rules) -> Wrong {
    let mut wrong = Wrong::new();
    let mut say = |key: &'static str, message: &str| wrong.push((key, message.to_owned()));
    let client = frame.from == Side::Client;
    let written = [
        ("on_replay", frame.on_replay.is_some()),
        ("answer", frame.answer.is_some()),
        ("hide", frame.hide.is_some()),
    ];
    let kept = [("key", frame.key.is_some() && frame.capture.is_none()), ("until", frame.until.is_some())];
    for (key, _) in kept.iter().filter(|(_, written)| *written && !frame.replay && !frame.owed) {
        say(key, "has no effect: nothing is remembered; add replay = true or owed = true, or remove this");
    }
    for (key, _) in written.iter().filter(|(_, written)| *written && !frame.replay) {
        say(key, "has no effect: nothing is remembered; add replay = true, or remove this");
    }
    if frame.owed && frame.replay {
        say("owed", "contradicts replay: what is said again is answered again; remove one of them");
    }
    if frame.owed && frame.until.is_none() {
        say("owed", "nothing says what the answer is; add key and until");
    }
    if frame.replay && !client {
        say("replay", "only the client's messages are said again; write from = \"client\"");
    }
    if frame.means.is_some() && client {
        say(
            "means",
            "only a message of the service's says something of the connection; write from = \"server\"",
        );
    }
    if frame.until.is_some() && frame.key.is_none() {
        say("until", "needs a key: without it nothing tells which remembered message is meant");
    }
    let changes = frame.set.is_some() || frame.remove.is_some();
    if frame.drop && (changes || frame.replay) {
        say("drop", "contradicts set, remove and replay: it does not go on; remove one of them");
    }
    if !changes
        && !frame.drop
        && !frame.replay
        && !frame.owed
        && frame.capture.is_none()
        && frame.means.is_none()
    {
        say("match", "the rule does nothing; add set, remove, drop, replay, owed, capture or means");
    }
    if frame.replay && is_secret(frame) && !is_answered(frame, rules) {
        say(
            "replay",
            "shows a token, and nothing says whether the service took it: add answer, or a rule with \
             means = \"expired\" or \"final\", or [dialect.NAME.swap] with settle",
        );
    }
    if !client && is_secret(frame) {
        say("set", "would show the token to the client; write from = \"client\"");
    }
    wrong
}

/// Each element of an array, and values from outside.
fn of_each_and_of_values(frame: &FrameRule, rules: &Rules) -> Wrong {
    let mut wrong = Wrong::new();
    let mut say = |key: &'static str, message: &str| wrong.push((key, message.to_owned()));
    let starred = frame.key.iter().flatten().filter_map(Pointer::each);
    if starred.clone().count() > 1
        || starred.into_iter().any(|(_, rest)| rest.iter().any(|step| &*step.name == "*"))
    {
        say("key", "has more than one *; each element of one array can be told apart");
    }
    if frame.remove.iter().flatten().any(|pointer| pointer.each().is_some()) {
        say("remove", "* is each element of an array, and stands in key and match only");
    }
    let asked: Vec<&str> = puts(frame).flat_map(Speech::sources).collect();
    if frame.arg.is_some() && asked.is_empty() {
        say(
            "arg",
            "has no effect: no value of a source is put in; write {token.NAME} in set, or remove this",
        );
    }
    for source in asked {
        let takes_one =
            rules.source(source).is_some_and(|it| it.source.names().any(|name| *name == Name::Arg));
        if takes_one && frame.arg.is_none() {
            say(
                "arg",
                "the source is asked with {arg}, and nothing says what that is; add arg = \"{item/…}\"",
            );
        }
    }
    wrong
}

/// What it puts into messages.
fn puts(frame: &FrameRule) -> impl Iterator<Item = &Speech> {
    frame.set.iter().chain(&frame.on_replay).flatten().map(|(_, value)| value)
}

fn is_secret(frame: &FrameRule) -> bool {
    frame.set.iter().flatten().any(|(_, value)| value.is_secret())
}

fn is_answered(frame: &FrameRule, rules: &Rules) -> bool {
    let refuses = |frame: &FrameRule| matches!(frame.means, Some(FrameMeans::Expired | FrameMeans::Final));
    frame.answer.is_some() || !rules.swap.settle.is_zero() || rules.frames.iter().any(refuses)
}

fn of_exchange(exchange: &ExchangeRule, rules: &Rules) -> Wrong {
    let mut wrong = Wrong::new();
    let mut say = |key: &'static str, message: String| wrong.push((key, message));
    if exchange.ok.is_none() && exchange.ok_after.is_none() {
        say("ok", "nothing says that the service took the token; add ok, or ok_after".to_owned());
    }
    if exchange.ok_after.is_some() && exchange.fail.is_none() {
        say(
            "fail",
            "nothing says that the service refused the token; with ok_after it must be there".to_owned(),
        );
    }
    match &exchange.source {
        Some(source) if rules.source(source).is_none() => {
            say("source", format!("there is no [dialect.NAME.source.{source}]"));
        }
        Some(source) if !exchange.send.sources().any(|named| named == source) => {
            say("send", format!("does not show the value; write {{token.{source}}}"));
        }
        Some(_) if exchange.for_each.is_none() => {
            say("for_each", "a value is shown for a remembered message: say of which rule".to_owned());
        }
        None if !exchange.send.shows_the_token() => {
            say("send", "does not show the token; write {token}".to_owned());
        }
        Some(_) | None => {}
    }
    if let Some(name) = &exchange.for_each {
        match rules.named(name) {
            Some(rule) if rules.frames[rule].replay => {}
            Some(_) => say("for_each", "that rule remembers nothing; add replay = true to it".to_owned()),
            None => say("for_each", "there is no frame rule of this name".to_owned()),
        }
    }
    wrong
}

fn of_all(rules: &Rules) -> Wrong {
    let mut wrong = Wrong::new();
    for side in [Side::Client, Side::Server] {
        if heads(rules, side).len() > WIDEST {
            let message =
                format!("rules of one side look at more than {WIDEST} members at the top of a message");
            wrong.push(("frame", message));
        }
    }
    let mut names = BTreeSet::new();
    for name in rules.frames.iter().filter_map(|frame| frame.name.as_ref()) {
        if !names.insert(name) {
            wrong.push(("frame", "two rules have the same name".to_owned()));
        }
    }
    if rules.swap.order == Swap::Never && !rules.swap.settle.is_zero() {
        wrong.push(("swap", "settle has no effect with order = \"never\"".to_owned()));
    }
    if let Some(resume) = &rules.resume {
        let unknown = resume.instead_of.as_ref().filter(|name| rules.named(name).is_none());
        wrong.extend(
            unknown.map(|_| ("resume", "there is no frame rule of the name of instead_of".to_owned())),
        );
        if resume.instead_of.is_some() && resume.send.is_none() {
            wrong.push(("resume", "instead_of needs send: what is said instead".to_owned()));
        }
        if resume.send.is_none() && resume.query.is_none() {
            wrong.push(("resume", "does nothing; add query or send".to_owned()));
        }
    }
    for away in &rules.away {
        if away.r#match.is_none() && away.every.is_none() {
            wrong.push(("away", "does nothing; add match, or every and send".to_owned()));
        }
        if away.reply.is_some() && away.r#match.is_none() {
            wrong.push(("away", "reply needs match: the message that is answered".to_owned()));
        }
    }
    if rules.token.as_ref().is_some_and(|token| token.greeting.is_some()) {
        wrong.push((
            "token",
            "greeting has no effect here; write a frame rule with means = \"ready\"".to_owned(),
        ));
    }
    wrong.extend(named::without_value(rules));
    wrong
}

/// The members at the top of a message that the rules of one side look at.
fn heads(rules: &Rules, side: Side) -> BTreeSet<&str> {
    let frames = rules.frames.iter();
    let own = frames.clone().filter(|frame| frame.from == side).map(|frame| &frame.r#match);
    let until = frames.clone().flat_map(|frame| frame.until.iter().flatten()).filter(|one| one.from == side);
    let away = rules.away.iter().filter_map(|rule| rule.r#match.as_ref()).filter(|_| side == Side::Client);
    let tests = own.chain(until).chain(away).flat_map(|one| &one.tests);
    tests.filter_map(|(pointer, _)| pointer.0.first()).map(|step| &*step.name).collect()
}
