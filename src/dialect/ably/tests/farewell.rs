//! The last words to a client, and what it hears of its own AUTH.

use super::*;

/// Every code that a session may end with.
const CODES: [u16; 10] = [1000, 1001, 1002, 1007, 1008, 1009, 1011, 1012, 1013, 4000];

/// The client's last message, by action and code, and the Close behind it.
fn last_words(middle: &mut Middle, doing: Doing, close: Option<Close>) -> (Option<(u64, u64)>, Option<u16>) {
    let close = middle.dialect.farewell(doing, close, &mut middle.say);
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let told = middle.told();
    assert!(told.len() < 2, "{told:?}");
    let said = told.first().map(|said| (number(&said["action"]), number(&said["error"]["code"])));
    (said, close.and_then(|close| close.code))
}

/// J2, J3: whatever the code would be without a dialect.
#[test]
fn an_end_that_is_not_the_clients_fault_lets_it_come_back() {
    for code in CODES.map(|code| Some(Close::new(code, "why"))).into_iter().chain([None]) {
        let said = last_words(&mut Middle::open(), Doing::NotTheClients, code);
        assert_eq!(said, (Some((6, 80003)), Some(1000)));
    }
}

#[test]
fn an_end_that_is_the_clients_fault_says_what_it_is() {
    for (doing, code) in [(Doing::TokenEnded, 40142), (Doing::TokenUnclear, 40101), (Doing::Violation, 40000)]
    {
        for close in CODES {
            let said = last_words(&mut Middle::open(), doing, Some(Close::new(close, "why")));
            assert_eq!(said, (Some((9, code)), Some(1000)), "{doing:?} {close}");
        }
    }
    let large = Some(Close::new(1009, "too large"));
    assert_eq!(last_words(&mut Middle::open(), Doing::TooBig, large), (None, Some(1009)));
}

#[test]
fn a_clients_own_goodbye_is_answered_as_it_was_said() {
    let close = |code| Some(Close::new(code, ""));
    assert_eq!(last_words(&mut Middle::open(), Doing::Left, close(4001)), (None, Some(4001)));
    assert_eq!(last_words(&mut Middle::open(), Doing::Left, None), (None, None));
    // CLOSE went to the service, which did not answer; or there was none that it could have gone to.
    let mut middle = Middle::open();
    middle.client(&json!({"action": 7}));
    assert_eq!(last_words(&mut middle, Doing::NotTheClients, close(1013)), (Some((8, 0)), Some(1000)));
    let mut middle = Middle::open();
    let goodbye = Message { kind: Kind::Text, payload: br#"{"action":7}"# };
    middle.dialect.client(goodbye, Moment::Away, clock::now(), &mut middle.say);
    assert_eq!(last_words(&mut middle, Doing::Left, close(1000)), (Some((8, 0)), Some(1000)));
}

/// A second last word would be taken for a second failure.
#[test]
fn nothing_is_added_to_the_services_own_last_word() {
    let fatal = json!({"action": 9, "error": {"code": 80024, "statusCode": 400}});
    let newer = json!({"action": 6, "error": {"code": 80016, "statusCode": 400}});
    for word in [json!({"action": 8}), fatal, newer] {
        let mut middle = Middle::open();
        assert_eq!(middle.service(Moment::Live, &word).fate, Fate::Forward, "{word}");
        let said = last_words(&mut middle, Doing::NotTheClients, Some(Close::new(4000, "")));
        assert_eq!(said, (None, Some(1000)), "{word}");
    }
}

/// In the client's format, though it has heard nothing yet.
#[test]
fn a_client_that_is_turned_away_is_told_in_its_format() {
    for (target, style) in
        [("/?format=msgpack", Style::MSGPACK), ("/?format=json", Style::JSON), ("/", Style::JSON)]
    {
        let request = Request::new(target, &HeaderMap::new());
        let close = Close::new(Close::POLICY, "Token expired");
        let (said, close) = turn_away(&request, Doing::TokenEnded, close);
        let said = said.unwrap();
        assert_eq!(Style::of(said.as_message()), Some(style), "{target}");
        let head = Head::read(&said.bytes).unwrap();
        assert_eq!((head.action, head.error().code()), (Some(action::ERROR), 40142));
        assert_eq!((close.code, &*close.reason), (Some(1000), "Token expired"));
    }
}

/// J5: what a client is told of itself agrees with what it believes.
#[test]
fn a_client_with_a_key_and_no_name_is_given_none() {
    let named = json!({
        "action": 4, "connectionId": "me",
        "connectionDetails": {"connectionKey": "k1", "clientId": "alice", "maxIdleInterval": 15000},
    });
    for (target, hidden) in [
        ("/?key=a.b:c", true),
        ("/?key=a.b:c&clientId=alice", false),
        ("/?accessToken=t", false),
        ("/?accessToken=t&clientId=alice", false),
    ] {
        for format in ["json", "msgpack"] {
            let mut middle = Middle::new(&format!("{target}&format={format}"));
            let bytes = match format {
                "json" => named.to_string().into_bytes(),
                _ => rmp_serde::to_vec_named(&named).unwrap(),
            };
            let message = Message { kind: Kind::Binary, payload: &bytes };
            let verdict = middle.dialect.upstream(message, Moment::Opening, clock::now(), &mut middle.say);
            assert_eq!(verdict, Verdict::forward(Meaning::Ready));
            let shown = middle.say.instead.take();
            assert_eq!(shown.is_some(), hidden, "{target} {format}");
            assert_eq!(middle.say.remark.is_some(), hidden);
            let Some(shown) = shown else { continue };
            let details = Head::read(&shown.bytes).unwrap().details();
            assert_eq!((details.client_id, details.key.as_deref()), (None, Some("k1")));
            assert_eq!(details.max_idle, Some(15000));
        }
    }
}

/// J6: ably-java loses what is not acknowledged when it is told CONNECTED again.
#[test]
fn a_second_connected_waits_for_the_acknowledgements() {
    let auth = json!({"action": 17, "auth": {"accessToken": "own"}});
    for (acknowledged, waits) in [(true, false), (false, true)] {
        let mut middle = Middle::open();
        for serial in 0..2 {
            middle.client(&publish(serial));
        }
        middle.service(Moment::Live, &ack(0));
        if acknowledged {
            middle.service(Moment::Live, &ack(1));
        }
        middle.client(&auth);
        let fate = middle.service(Moment::Exchanging, &connected("k2")).fate;
        assert_eq!(fate, if waits { Fate::Swallow } else { Fate::Forward });
    }
    let asks = || {
        let mut middle = Middle::open();
        middle.client(&publish(0));
        middle.client(&auth);
        middle.service(Moment::Exchanging, &connected("k2"));
        assert_eq!(middle.told(), [] as [Value; 0]);
        middle
    };
    // Behind the acknowledgement, which goes on as it is; once.
    let mut middle = asks();
    assert_eq!(middle.service(Moment::Live, &ack(0)), Verdict::FORWARD);
    assert_eq!(middle.told(), [connected("k2")]);
    middle.client(&publish(1));
    middle.service(Moment::Live, &ack(1));
    assert_eq!(middle.told(), [] as [Value; 0]);
    // And in time, if the service acknowledges nothing.
    let mut middle = asks();
    let (told, begun) = (clock::now(), clock::now());
    let due = middle.dialect.due(told).unwrap();
    assert!(due - begun <= Duration::from_secs(5));
    middle.dialect.speak(told, due, &mut middle.say);
    assert_eq!(middle.told(), [connected("k2")]);
}

/// J4: ably-go ends its process at an acknowledgement that it does not wait for.
#[test]
fn an_acknowledgement_that_nobody_waits_for_is_not_shown() {
    let unasked = Verdict::swallow(Meaning::Unasked);
    let mut middle = Middle::open();
    assert_eq!(middle.service(Moment::Live, &ack(0)), unasked);
    middle.client(&publish(0));
    assert_eq!(middle.service(Moment::Live, &ack(7)), unasked, "what was never sent");
    assert_eq!(middle.service(Moment::Live, &ack(0)), Verdict::FORWARD);
    assert_eq!(middle.service(Moment::Live, &ack(0)), unasked, "twice");
    for odd in [
        json!({"action": 1}),
        json!({"action": 1, "count": 1}),
        json!({"action": 1, "msgSerial": null, "count": 1}),
        json!({"action": 2, "msgSerial": 3, "count": 1, "error": {"code": 40000}}),
        json!({"action": 1, "msgSerial": 1, "count": 0}),
    ] {
        middle.client(&publish(1));
        let verdict = middle.service(Moment::Live, &odd);
        assert_eq!((verdict, middle.told()), (unasked.clone(), vec![]), "{odd}");
    }
    // More is acknowledged than was said.
    let all = json!({"action": 1, "msgSerial": 1, "count": 5});
    assert_eq!(middle.service(Moment::Live, &all), Verdict::SWALLOW);
    assert_eq!(middle.told(), [ack(1)]);
}

/// J8c: a service drops a serial that it knows, and may acknowledge it or not.
#[test]
fn a_serial_goes_up_once() {
    let mut middle = Middle::open();
    assert_eq!(middle.client(&publish(0)), Verdict::FORWARD);
    assert_eq!(middle.client(&publish(0)), Verdict::SWALLOW);
    assert_eq!(middle.service(Moment::Live, &ack(0)), Verdict::FORWARD);
    assert_eq!(middle.client(&publish(1)), Verdict::FORWARD);
    // What was lost goes up again on the next connection, and there once as well.
    assert_eq!(middle.resumes(), [publish(1)]);
    assert_eq!(middle.client(&publish(1)), Verdict::SWALLOW);
    assert_eq!((middle.said(), middle.service(Moment::Live, &ack(1))), (vec![], Verdict::FORWARD));
}
