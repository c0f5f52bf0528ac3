//! What is said of a dialect that cannot be meant.

use super::*;
use crate::config::Config;

/// A route in the dialect `x`, whose text begins in line 6.
fn route(dialect: &str) -> String {
    format!(
        "[[route]]\nupstream = \"wss://h\"\ndialect = \"x\"\ntoken = {{ source = \"file\", path = \"/t\" }}\n\
         handshake = {{ query = \"token\" }}\n{dialect}"
    )
}

fn rules(dialect: &str) -> Arc<Rules> {
    let config = Config::parse(&route(dialect), "p").unwrap_or_else(|error| panic!("{error}"));
    let crate::config::DialectKind::Declared(rules) = &config.routes[0].dialect else {
        panic!("another kind")
    };
    Arc::clone(rules)
}

const SOURCE: &str = "[dialect.x.source.y]\nsource = \"http\"\nurl = \"http://a/?c={arg}\"\n";

#[test]
fn what_contradicts_itself_is_refused_with_its_line() {
    let frame = |line: &str| format!("[[dialect.x.frame]]\nmatch = {{ \"/a\" = 1 }}\n{line}");
    let exchange = |line: &str| format!("[[dialect.x.exchange]]\nsend = {{ t = \"{{token}}\" }}\n{line}");
    for (dialect, expected) in [
        (
            frame(""),
            "p:7:9: dialect.x.frame.match: the rule does nothing; add set, remove, drop, replay, owed, capture or means",
        ),
        (
            frame("until = { \"/b\" = 1 }\nset = { \"/b\" = 1 }"),
            "p:8:9: dialect.x.frame.until: has no effect: nothing is remembered; add replay = true or owed = true, or remove this",
        ),
        (
            frame("replay = true\nuntil = { \"/b\" = 1 }"),
            "p:9:9: dialect.x.frame.until: needs a key: without it nothing tells which remembered message is meant",
        ),
        (
            frame("replay = true\nfrom = \"server\""),
            "p:8:10: dialect.x.frame.replay: only the client's messages are said again; write from = \"client\"",
        ),
        (
            frame("means = \"lost\""),
            "p:8:9: dialect.x.frame.means: only a message of the service's says something of the connection; write from = \"server\"",
        ),
        (
            frame("drop = true\nreplay = true"),
            "p:8:8: dialect.x.frame.drop: contradicts set, remove and replay: it does not go on; remove one of them",
        ),
        (
            frame("replay = true\nset = { \"/t\" = \"{token}\" }"),
            "p:8:10: dialect.x.frame.replay: shows a token, and nothing says whether the service took it: add answer, or a rule with means = \"expired\" or \"final\", or [dialect.NAME.swap] with settle",
        ),
        (
            frame("set = { \"/t\" = \"{key}\" }"),
            "p:6:1: dialect.x.frame: {key} has no value in this place; add key to the frame rule",
        ),
        (
            frame("set = { \"/t\" = \"{var.y}\" }"),
            "p:6:1: dialect.x.frame: nothing captures \"y\"; add capture = { y = \"/…\" }",
        ),
        (
            frame("set = { \"/t\" = \"{tokn}\" }"),
            "p:8:7: dialect.x.frame.set: {tokn} is no name; did you mean {token}?",
        ),
        (
            frame("set = { \"t\" = 1 }"),
            "p:8:7: dialect.x.frame.set: expected a JSON Pointer, such as \"/payload/token\"; \"\" is the whole message",
        ),
        (
            frame("set = { \"/t/*/x\" = 1 }"),
            "p:8:7: dialect.x.frame.set: * is each element of an array, and stands in key and match only",
        ),
        (
            frame("replay = true\nkey = [\"/t/*/x\", \"/u/*\"]"),
            "p:9:7: dialect.x.frame.key: has more than one *; each element of one array can be told apart",
        ),
        (frame("remov = \"/a\""), "p:8:1: dialect.x.frame.remov: unknown key; did you mean \"remove\"?"),
        (
            exchange(""),
            "p:6:1: dialect.x.exchange.ok: nothing says that the service took the token; add ok, or ok_after",
        ),
        (
            exchange("ok_after = \"1s\""),
            "p:6:1: dialect.x.exchange.fail: nothing says that the service refused the token; with ok_after it must be there",
        ),
        (
            exchange("ok = { \"/a\" = 1 }\nfor_each = \"y\""),
            "p:9:12: dialect.x.exchange.for_each: there is no frame rule of this name",
        ),
        ("[dialect.x]\nlike = \"y\"".to_owned(), "p:7:8: dialect.x.like: there is no such preset; known are"),
        ("[dialect.x.resume]".to_owned(), "p:6:1: dialect.x.resume: does nothing; add query or send"),
    ] {
        let error = Config::parse(&route(&dialect), "p").unwrap_err().to_string();
        assert!(error.starts_with(expected), "{dialect}\n  {error}\n  {expected}");
    }
}

#[test]
fn a_value_from_outside_has_to_fit() {
    let frame = |line: &str| format!("[[dialect.x.frame]]\nmatch = {{ \"/a\" = 1 }}\n{line}");
    for (dialect, expected) in [
        (
            frame("set = { \"/t\" = \"{token.y}\" }"),
            "p:6:1: dialect.x.frame: {token.y}: there is no [dialect.NAME.source.y]",
        ),
        (
            format!("{SOURCE}{}", frame("set = { \"/t\" = \"{token.y}\" }")),
            "p:9:1: dialect.x.frame.arg: the source is asked with {arg}, and nothing says what that is; add arg",
        ),
        (
            format!("{SOURCE}{}", frame("drop = true\narg = \"{item/a}\"")),
            "p:12:7: dialect.x.frame.arg: has no effect: no value of a source is put in; write {token.NAME} in set",
        ),
        (
            format!(
                "{SOURCE}[[dialect.x.exchange]]\nsend = {{ t = \"{{token.y}}\" }}\nok = {{ \"/a\" = 1 }}"
            ),
            "p:9:1: dialect.x.exchange: {token.y} has a value in set and on_replay of a frame rule, and in send",
        ),
        (
            format!("{SOURCE}share = \"client\""),
            "p:9:9: dialect.x.source.y.share: has no effect: each {arg} has a value of its own; remove this",
        ),
        (
            SOURCE.replace("{arg}", "{client.token}"),
            "p:8:7: dialect.x.source.y.url: {client.token} has no value here; write {query.NAME} or {header.NAME}",
        ),
        (
            SOURCE.replace("source.y", "source.y-z"),
            "p:6:1: dialect.x.source.y-z: a name is made of A-Z, a-z, 0-9 and _",
        ),
    ] {
        let error = Config::parse(&route(&dialect), "p").unwrap_err().to_string();
        assert!(error.starts_with(expected), "{dialect}\n  {error}\n  {expected}");
    }
}

#[test]
fn a_dialect_that_is_like_a_preset_has_its_rules_first() {
    let rules = rules(
        "[dialect.x]\nlike = \"graphql-transport-ws\"\n[[dialect.x.frame]]\nname = \"init\"\n\
         match = { \"/type\" = \"connection_init\" }\nset = { \"/payload/auth\" = \"{token}\" }\nreplay = true\n\
         answer = { \"/type\" = \"connection_ack\" }\n[[dialect.x.close]]\ncode = 4999\nmeans = \"lost\"",
    );
    let base = preset("graphql-transport-ws").unwrap();
    assert_eq!(rules.frames.len(), base.frames.len(), "one takes the place of its namesake");
    assert_eq!(rules.frames[1..], base.frames[1..]);
    assert_eq!(rules.frames[0].set.as_ref().unwrap()[0].0, Pointer::parse("/payload/auth").unwrap());
    assert_eq!((rules.closes.len(), &rules.closes[1..]), (base.closes.len() + 1, &base.closes[..]));
    assert_eq!(rules.swap, base.swap);
}

#[test]
fn a_route_has_what_its_dialect_says_unless_it_says_it_itself() {
    use crate::config::{Overlap, Swap};
    let dialect = "[dialect.x.swap]\norder = \"break\"";
    let text = |more: &str| route(dialect).replace("handshake =", &format!("{more}handshake ="));
    for (more, swap, overlap) in [
        ("", Swap::Break, Overlap::Once),
        ("session = { swap = \"make\", overlap = \"keep\" }\n", Swap::Make, Overlap::Keep),
    ] {
        let session = Config::parse(&text(more), "p").unwrap().routes[0].session;
        assert_eq!((session.swap, session.overlap), (swap, overlap), "{more}");
    }
}
