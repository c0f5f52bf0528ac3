//! What the service's ERROR costs: nobody else's token for a fault of the service's.

use super::*;

fn error(code: u64, status: u64) -> Value {
    json!({"action": 9, "error": {"code": code, "statusCode": status, "message": "no"}})
}

/// What an ERROR means to a session at this moment.
fn meaning(moment: Moment, code: u64, status: u64) -> &'static str {
    let mut middle = Middle::open();
    match moment {
        Moment::Exchanging => {
            let token = Token::new("new", Generation(2), Now::read(), None);
            middle.dialect.exchange(Some(&token), clock::now(), &mut middle.say);
        }
        Moment::Resuming => assert!(middle.dialect.lost().is_ok()),
        Moment::Opening | Moment::Live | Moment::Away | Moment::Overlapping => {}
    }
    match middle.service(moment, &error(code, status)) {
        Verdict { fate: Fate::Forward, meaning: Meaning::Fatal(_) } => "shown",
        Verdict { fate: Fate::Swallow, meaning: Meaning::Lost(_) } => "lost",
        Verdict { fate: Fate::Swallow, meaning: Meaning::Rejected(_) } => "rejected",
        Verdict { fate: Fate::Swallow, meaning: Meaning::Lapsed(_) } => "lapsed",
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_a_code_of_the_token_rejects_an_auth() {
    for (code, status) in [(40101, 401), (40102, 401), (40131, 401), (40142, 401), (40144, 400)] {
        assert_eq!(meaning(Moment::Exchanging, code, status), "rejected", "{code}/{status}");
    }
    let passing = [(50000, 500), (50003, 503), (42910, 429), (42922, 429), (80003, 503), (80021, 429)];
    let others = [(80003, 400), (40300, 403), (40110, 401), (80024, 400), (40111, 429), (40142, 429)];
    for (code, status) in passing.into_iter().chain(others) {
        assert_eq!(meaning(Moment::Exchanging, code, status), "lost", "{code}/{status}");
    }
}

#[test]
fn a_refusal_that_passes_is_not_shown_to_a_client_that_is_connected() {
    for (code, status) in [(80021, 429), (80000, 503), (80014, 504), (40111, 429), (40125, 429), (42922, 429)]
    {
        assert_eq!(meaning(Moment::Resuming, code, status), "lost", "{code}/{status}");
        assert_eq!(meaning(Moment::Live, code, status), "lost", "{code}/{status}");
        // It asked for the connection itself.
        assert_eq!(meaning(Moment::Opening, code, status), "shown", "{code}/{status}");
    }
}

#[test]
fn a_redial_costs_a_token_only_if_the_code_speaks_of_it() {
    for (code, expected) in
        [(40101, "lapsed"), (40130, "lapsed"), (40142, "lapsed"), (40110, "shown"), (40300, "shown")]
    {
        assert_eq!(meaning(Moment::Resuming, code, 401), expected, "{code}");
    }
    for (code, expected) in [(40101, "shown"), (40142, "lapsed"), (80024, "shown")] {
        assert_eq!(meaning(Moment::Live, code, 401), expected, "{code}");
    }
}
