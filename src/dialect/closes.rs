//! What the end of a connection means for a service that speaks no dialect: a code, a few words, and the time.
//!
//! The first that applies counts:
//!
//! | | means |
//! |---|---|
//! | a rule of the route, `[[route.close]]` | what it says |
//! | a code for what the client itself did wrong | final |
//! | it came when the token ended | lapsed |
//! | 4401 and 3000, or words that say the token has ended, under any code | lapsed |
//! | no Close, a Close without a code, a code of the network or the host | lost |
//! | anything else | final |

use crate::{
    config::{CloseMeans, CloseRule},
    dialect::Ending,
    wire::Close,
};

/// What the client did wrong (RFC 6455 §7.4.1): the protocol, the type of data, the text, the size, an extension.
const OF_THE_CLIENT: [u16; 5] = [1002, 1003, 1007, 1009, 1010];
/// A token is not accepted: 4401 after HTTP's 401, and 3000, which IANA has as "Unauthorized".
const UNAUTHORIZED: [u16; 2] = [4401, 3000];
/// A connection that ended for reasons of the network or the host (RFC 6455 §7.4.1, IANA's registry).
const OF_THE_HOST: [u16; 4] = [1001, 1012, 1013, 1014];
/// How the registry calls a Close without a code, and a connection that ended without a Close.
const NO_CODE: u16 = 1005;
const NO_CLOSE: u16 = 1006;

/// What this end means by these rules, the first of which counts, and by the built-in ones. `at_the_end`: it came when the token of the connection ended, as far as that is known.
pub(super) fn meaning<'r>(
    rules: impl IntoIterator<Item = &'r [CloseRule]>,
    close: Option<&Close>,
    at_the_end: bool,
) -> Ending {
    if let Some(rule) = rule(rules, close) {
        return match rule.means {
            CloseMeans::Expired => Ending::Lapsed,
            CloseMeans::Lost => Ending::Lost,
            CloseMeans::Final => Ending::Final,
        };
    }
    let (code, reason) = said(close);
    if OF_THE_CLIENT.contains(&code) {
        Ending::Final
    } else if at_the_end || UNAUTHORIZED.contains(&code) || speaks_of_the_token(code, reason) {
        Ending::Lapsed
    } else if code == NO_CODE || code == NO_CLOSE || OF_THE_HOST.contains(&code) {
        Ending::Lost
    } else {
        Ending::Final
    }
}

/// The Close as the client gets it, if it is passed on.
pub(super) fn for_client<'r>(rules: impl IntoIterator<Item = &'r [CloseRule]>, close: Close) -> Close {
    let code = rule(rules, Some(&close)).and_then(|rule| rule.r#as).or(close.code);
    Close { code, ..close }
}

fn rule<'r>(
    rules: impl IntoIterator<Item = &'r [CloseRule]>,
    close: Option<&Close>,
) -> Option<&'r CloseRule> {
    let (code, reason) = said(close);
    rules.into_iter().flatten().find(|rule| rule.matches(code, reason))
}

fn said(close: Option<&Close>) -> (u16, &str) {
    close.map_or((NO_CLOSE, ""), |close| (close.code.unwrap_or(NO_CODE), &close.reason))
}

/// Does the reason say that the token has ended, or is not accepted?
///
/// What the reason is about and what became of that both have to be there: "token limit reached" is about a token,
/// and "Room expired" about an end, but neither is about the end of a token. Policy (1008) is about the client's
/// rights anyway: there one of the two is enough.
fn speaks_of_the_token(code: u16, reason: &str) -> bool {
    const SUBJECT: [&str; 5] = ["token", "jwt", "session", "auth", "credential"];
    const ENDED: [&str; 9] =
        ["expir", "invalid", "revoked", "rejected", "denied", "failed", "timeout", "timed out", "not valid"];
    let reason = reason.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    has(&["unauthorized", "unauthorised", "unauthenticated", "not authenticated"])
        || (has(&SUBJECT) && has(&ENDED))
        // A session ends in many ways, a token in one.
        || (has(&["token", "jwt", "credential"]) && has(&["ended"]))
        || (code == Close::POLICY && has(&["token", "jwt", "expired"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use Ending::{Final, Lapsed, Lost};

    /// Code (1005: none, 1006: no Close), reason, what it means at any time, and what at the token's end.
    const TABLE: [(u16, &str, Ending, Ending); 45] = [
        // As services were seen to close at the end of a token.
        (4401, "Unauthorized", Lapsed, Lapsed),
        (1008, "Token expired", Lapsed, Lapsed),
        (3000, "", Lapsed, Lapsed),
        (4001, "Token expired", Lapsed, Lapsed),
        (4002, "Token Expired", Lapsed, Lapsed),
        (4001, "jwt expired", Lapsed, Lapsed),
        (4003, "unauthenticated", Lapsed, Lapsed),
        (4403, "Forbidden", Final, Lapsed),
        (4004, "Authentication failed.", Lapsed, Lapsed),
        (4008, "auth timeout", Lapsed, Lapsed),
        (4009, "Session timed out", Lapsed, Lapsed),
        (1008, "Session invalid", Lapsed, Lapsed),
        (1008, "Authentication failed", Lapsed, Lapsed),
        (1008, "JWT has ended", Lapsed, Lapsed),
        (1008, "", Final, Lapsed),
        (1000, "", Final, Lapsed),
        (1000, "token expired", Lapsed, Lapsed),
        (1000, "Session expired", Lapsed, Lapsed),
        (1005, "", Lost, Lapsed),
        (1006, "", Lost, Lapsed),
        (1011, "auth expired", Lapsed, Lapsed),
        // Others that were seen.
        (4001, "Unauthorized", Lapsed, Lapsed),
        (4400, "Could not verify JWT: JWTExpired", Lapsed, Lapsed),
        (4100, "token revoked", Lapsed, Lapsed),
        (4000, "authorization expired", Lapsed, Lapsed),
        (4000, "credentials are not valid", Lapsed, Lapsed),
        (4500, "", Final, Lapsed),
        (1008, "unauthorized", Lapsed, Lapsed),
        (1008, "expired", Lapsed, Lapsed),
        // Of the network and the host.
        (1001, "going away", Lost, Lapsed),
        (1012, "", Lost, Lapsed),
        (1013, "overloaded", Lost, Lapsed),
        (1014, "", Lost, Lapsed),
        // Of the client's own doing, whatever the time and the words.
        (1002, "", Final, Final),
        (1003, "", Final, Final),
        (1007, "invalid token", Final, Final),
        (1009, "", Final, Final),
        (1010, "", Final, Final),
        // Not about the token.
        (1000, "Room expired", Final, Lapsed),
        (1000, "session ended", Final, Lapsed),
        (1000, "bye", Final, Lapsed),
        (1008, "too many messages", Final, Lapsed),
        (1011, "internal error", Final, Lapsed),
        (4000, "replaced", Final, Lapsed),
        (4029, "token limit reached", Final, Lapsed),
    ];

    fn close(code: u16, reason: &str) -> Option<Close> {
        let code = match code {
            1006 => return None,
            1005 => None,
            code => Some(code),
        };
        Some(Close { code, reason: reason.to_owned() })
    }

    #[test]
    fn every_close_that_was_seen_at_the_end_of_a_token_is_understood() {
        for (code, reason, at_any_time, at_the_end) in TABLE {
            let close = close(code, reason);
            let said = (meaning([], close.as_ref(), false), meaning([], close.as_ref(), true));
            assert_eq!(said, (at_any_time, at_the_end), "{code} {reason}");
        }
    }

    fn rules(text: &str) -> Vec<CloseRule> {
        let route = "[[route]]\nupstream = \"ws://h\"\ndialect = \"handshake\"\n\
                     token = { source = \"file\", path = \"/t\" }\nhandshake = { query = \"token\" }\n";
        Config::parse(&format!("{route}{text}"), "p").unwrap().routes[0].closes.clone()
    }

    #[test]
    fn a_rule_of_the_route_comes_first() {
        let rules = rules(
            "[[route.close]]\ncode = [4403, 1009]\nmeans = \"expired\"\n\
             [[route.close]]\ncode = 1000\nreason = \"^moved\"\nmeans = \"lost\"\n\
             [[route.close]]\ncode = [1005, 1006, 1008, 4401]\nmeans = \"final\"",
        );
        for (code, reason, expected) in [
            (4403, "Forbidden", Lapsed),
            (1009, "", Lapsed),
            (1000, "moved to b2", Lost),
            (1000, "not moved", Final),
            (1005, "", Final),
            (1006, "", Final),
            (1008, "token expired", Final),
            (4401, "", Final),
            (4001, "token expired", Lapsed),
        ] {
            assert_eq!(
                meaning([&rules[..]], close(code, reason).as_ref(), false),
                expected,
                "{code} {reason}"
            );
        }
        assert_eq!(meaning([&rules[..]], close(4401, "").as_ref(), true), Final, "whatever the time");
    }

    #[test]
    fn the_client_gets_the_code_that_the_rule_names() {
        let rules = rules(
            "[[route.close]]\ncode = 4400\nreason = \"JWT\"\nmeans = \"expired\"\nas = 4403\n\
             [[route.close]]\ncode = 1005\nmeans = \"lost\"\nas = 1013",
        );
        for ((code, reason), expected) in
            [((4400, "JWTExpired"), Some(4403)), ((4400, "other"), Some(4400)), ((1005, ""), Some(1013))]
        {
            let shown = for_client([&rules[..]], close(code, reason).unwrap());
            assert_eq!(shown, Close { code: expected, reason: reason.to_owned() });
        }
        assert_eq!(for_client([], Close::default()), Close::default());
    }
}
