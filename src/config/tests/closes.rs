//! `[[route.close]]` and `swap`: what is understood, and what is said of a wrong one.

use super::{again, parse, refused};
use crate::config::{CloseMeans, Swap};

/// A route of this dialect with these lines behind it.
fn route(dialect: &str, lines: &str) -> String {
    format!(
        "[[route]]\nupstream = \"ws://h\"\ndialect = \"{dialect}\"\n\
         token = {{ source = \"file\", path = \"/t\" }}\nhandshake = {{ query = \"token\" }}\n{lines}"
    )
}

fn close(lines: &str) -> String {
    route("handshake", &format!("[[route.close]]\n{lines}"))
}

#[test]
fn a_rule_says_which_closes_it_is_about_and_what_they_mean() {
    let text = close(
        "code = [4001, 4403]\nreason = \"(?i)expired|\\\\bend\"\nmeans = \"expired\"\nas = 4403\n\
         [[route.close]]\ncode = 1006\nmeans = \"final\"\n[[route.close]]\ncode = 1_005\nmeans = \"lost\"",
    );
    let config = parse(&text);
    let [first, second, third] = &*config.routes[0].closes else { panic!("{config:?}") };
    assert_eq!((first.means, first.r#as), (CloseMeans::Expired, Some(4403)));
    for (code, reason, expected) in [
        (4001, "Token EXPIRED", true),
        (4403, "the end", true),
        (4001, "", false),
        (4001, "a friend", false),
        (4002, "expired", false),
    ] {
        assert_eq!(first.matches(code, reason), expected, "{code} {reason}");
    }
    assert_eq!((second.means, second.r#as), (CloseMeans::Final, None));
    assert!(second.matches(1006, "") && !second.matches(1005, ""));
    assert!(third.matches(1005, "") && third.means == CloseMeans::Lost);
    assert_eq!(parse(&again(&text)).routes[0].closes, config.routes[0].closes);
    assert!(parse(&route("handshake", "")).routes[0].closes.is_empty());
}

#[test]
fn a_wrong_rule_is_refused_with_the_way_out() {
    let range = "a Close code is 1000 to 4999; 1005 stands for a Close without a code, 1006 for no Close";
    let sendable =
        "this code cannot be sent; take one of 1000 to 1003, 1007 to 1009, 1011 to 1014, 3000 to 4999";
    let cases = [
        ("means = \"lost\"", "6:1: route.close.code: missing; add code = [4001, 4403]".to_owned()),
        (
            "code = 4001",
            "6:1: route.close.means: missing; add means = \"expired\", \"lost\" or \"final\"".to_owned(),
        ),
        ("code = []\nmeans = \"lost\"", "7:8: route.close.code: is an empty array; write a value, or remove it".to_owned()),
        ("code = 999\nmeans = \"lost\"", format!("7:8: route.close.code: {range}")),
        ("code = [4001, 5000]\nmeans = \"lost\"", format!("7:8: route.close.code: {range}")),
        ("code = -1\nmeans = \"lost\"", format!("7:8: route.close.code: {range}")),
        (
            "code = \"4001\"\nmeans = \"lost\"",
            "7:8: route.close.code: expected a Close code or an array of them, found a string".to_owned(),
        ),
        (
            "code = 4001\nmeans = \"expird\"",
            "8:9: route.close.means: expected one of \"expired\", \"lost\", \"final\"; did you mean \"expired\"?"
                .to_owned(),
        ),
        ("code = 4001\nmeans = \"lost\"\nas = 1006", format!("9:6: route.close.as: {sendable}")),
        ("code = 4001\nmeans = \"lost\"\nas = 1010", format!("9:6: route.close.as: {sendable}")),
        ("code = 4001\nmeans = \"lost\"\nas = 2000", format!("9:6: route.close.as: {sendable}")),
        (
            "code = 4001\nmeans = \"lost\"\nreasn = \"x\"",
            "9:1: route.close.reasn: unknown key; did you mean \"reason\"?".to_owned(),
        ),
    ];
    for (lines, want) in cases {
        assert_eq!(refused(&close(lines)), format!("p:{want}"), "{lines}");
    }
    let said = refused(&close("code = 4001\nmeans = \"lost\"\nreason = \"CANARY(\""));
    assert!(said.starts_with("p:9:10: route.close.reason: expected a regular expression: "), "{said}");
    assert!(!said.contains("CANARY"), "{said}");
}

#[test]
fn only_a_dialect_that_replaces_connections_has_rules() {
    let plain = "[[route]]\nupstream = \"ws://h\"\ndialect = \"none\"\n[[route.close]]\ncode = 4001\nmeans = \"lost\"";
    assert_eq!(
        refused(plain),
        "p:4:1: route.close: has no effect: this dialect replaces no connection for a new token; remove it"
    );
    let lost = route("handshake", "[route.client]\nmeans = \"lost\"");
    assert_eq!(refused(&lost), "p:7:1: route.client.means: unknown key here; it belongs to [[route.close]]");
}

#[test]
fn a_swap_is_made_broken_or_left_alone() {
    for (line, expected) in [
        ("", Swap::Make),
        ("swap = \"make\"", Swap::Make),
        ("swap = \"break\"", Swap::Break),
        ("swap = \"never\"", Swap::Never),
    ] {
        let text = route("handshake", &format!("[route.session]\n{line}"));
        assert_eq!(parse(&text).routes[0].session.swap, expected, "{line}");
        assert_eq!(parse(&again(&text)).routes[0].session.swap, expected, "{line}");
    }
    assert_eq!(
        refused(&route("handshake", "[route.session]\nswap = \"nevr\"")),
        "p:7:8: route.session.swap: expected one of \"make\", \"break\", \"never\"; did you mean \"never\"?"
    );
}
