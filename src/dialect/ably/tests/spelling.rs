//! Formats, opcodes and spellings: what a message is, its bytes say.

use super::*;

/// What the client says, in frames of this kind.
fn says(middle: &mut Middle, kind: Kind, bytes: &[u8]) -> Verdict {
    let message = Message { kind, payload: bytes };
    middle.dialect.client(message, Moment::Live, clock::now(), &mut middle.say)
}

fn msgpack(message: &Value) -> Vec<u8> {
    rmp_serde::to_vec_named(message).unwrap()
}

fn service_says(middle: &mut Middle, moment: Moment, kind: Kind, bytes: &[u8]) -> Verdict {
    let message = Message { kind, payload: bytes };
    middle.dialect.upstream(message, moment, clock::now(), &mut middle.say)
}

/// P1, J1: a credential of the client's stops here, however its message is written.
#[test]
fn no_spelling_takes_a_clients_token_to_the_service() {
    let auth = r#""auth":{"accessToken":"FORGED"}"#;
    let asks = [
        format!(r#"{{"action":17,{auth}}}"#),
        format!(r#"{{"action":17,"channel":7,{auth}}}"#),
        format!(r#"{{"action":17,"id":1,{auth}}}"#),
        format!(r#"{{"action":17,"connectionDetails":1,{auth}}}"#),
        format!(r#"{{"action":17,"error":"x",{auth}}}"#),
        format!(r#"{{"action":17,"channel":"\ud800",{auth}}}"#),
        format!(r#"{{"action":17,"msgSerial":1e999,{auth}}}"#),
        format!(r#"{{"action":17,"id":"a","id":"b",{auth}}}"#),
        format!(r#"{{"action":17,"action":17,{auth}}}"#),
        format!(r#"{{"action":15,"action":17,{auth}}}"#),
        format!(r#"{{"\u0061ction":17,{auth}}}"#),
    ];
    for ask in &asks {
        for kind in [Kind::Text, Kind::Binary] {
            let verdict = says(&mut Middle::open(), kind, ask.as_bytes());
            assert_eq!(verdict, Verdict::swallow(Meaning::ClientAsks), "{kind:?} {ask}");
        }
    }
    let packed = json!({"action": 17, "channel": 7, "auth": {"accessToken": "FORGED"}});
    let verdict = says(&mut Middle::open(), Kind::Binary, &msgpack(&packed));
    assert_eq!(verdict, Verdict::swallow(Meaning::ClientAsks));
}

/// What nobody here can read, and what carries credentials without being an AUTH, ends the session.
#[test]
fn what_may_carry_credentials_ends_the_session() {
    let nested = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
    let forged: Vec<Vec<u8>> = vec![
        br#"{"action":17,"auth":{"accessToken":"FORGED"}} "#.iter().chain(b"{}").copied().collect(),
        br#"{"action":17,"auth":{"accessToken":"FORGED"},}"#.to_vec(),
        br#"{"action":15,"Auth":{"accessToken":"FORGED"}}"#.to_vec(),
        br#"{"Action":17,"auth":{"accessToken":"FORGED"}}"#.to_vec(),
        br#"{"action":17,"auth":{"accessToken":"FORGED"},"action":15}"#.to_vec(),
        br#"{"action":17,"\u0061uth":{"accessToken":"FORGED"},}"#.to_vec(),
        format!(r#"{{"action":15,"x":{nested},"auth":1}}"#).into_bytes(),
        [msgpack(&json!({"action": 17, "auth": {"accessToken": "FORGED"}})), vec![0xc0]].concat(),
    ];
    for bytes in forged {
        let mut middle = Middle::open();
        let verdict = says(&mut middle, Kind::Text, &bytes);
        let said = String::from_utf8_lossy(&bytes);
        assert_eq!(verdict, Verdict::swallow(Meaning::Unreadable { ends: true }), "{said:.80}");
        assert_eq!(middle.said(), [] as [Value; 0]);
    }
    // A heartbeat passes during an exchange, and is no way around.
    for moment in [Moment::Exchanging, Moment::Away, Moment::Opening] {
        let forged = br#"{"action":0,"Action":17,"auth":{"accessToken":"FORGED"}}"#;
        let message = Message { kind: Kind::Text, payload: forged };
        let mut middle = Middle::open();
        let verdict = middle.dialect.client(message, moment, clock::now(), &mut middle.say);
        assert_eq!(verdict, Verdict::swallow(Meaning::Unreadable { ends: true }), "{moment:?}");
    }
    let no_auth = br#"{"action":15,"channel":"c","auth":null}"#;
    assert_eq!(says(&mut Middle::open(), Kind::Text, no_auth), Verdict::FORWARD);
    for harmless in [&b"hello"[..], b"[15]", b"", b"{", &[0x93, 1, 2, 3]] {
        let verdict = says(&mut Middle::open(), Kind::Text, harmless);
        assert_eq!(verdict, Verdict::forward(Meaning::Unreadable { ends: false }));
    }
}

/// J1: ably-java sends JSON in binary frames, and its messages go on as they came.
#[test]
fn json_in_binary_frames_is_json() {
    let mut middle = Middle::open();
    says(&mut middle, Kind::Binary, br#"{"action":10,"channel":"c","params":{"rewind":"1"}}"#);
    middle.service(Moment::Live, &attached("c", 0));
    middle.enters("c", 0);
    assert!(middle.dialect.lost().is_ok());
    middle.service(Moment::Resuming, &connected("k2"));
    let attach = middle.say.to_upstream.pop().unwrap();
    assert_eq!(attach.kind, Kind::Binary, "as the client had it");
    assert_eq!(read(&mut vec![attach])[0]["params"], json!({"rewind": "1"}));
    middle.service(Moment::Resuming, &attached("c", 4));
    assert_eq!(middle.say.to_upstream.pop().unwrap().kind, Kind::Text, "as the service has it");
    // With an offset, publishes get new numbers, and stay in the frames that they came in.
    let verdict = says(&mut middle, Kind::Binary, publish(1).to_string().as_bytes());
    assert_eq!(verdict, Verdict::FORWARD);
    let renumbered = middle.say.instead.take().unwrap();
    assert_eq!(renumbered.kind, Kind::Binary);
    assert_eq!(read(&mut vec![renumbered])[0]["msgSerial"], 2);
}

/// F1: a client that names no format is spoken to as the service speaks.
#[test]
fn the_services_connected_says_how_the_connection_is_written() {
    let auth_of = |middle: &mut Middle| {
        let token = Token::new("new", Generation(1), Now::read(), None);
        middle.dialect.exchange(Some(&token), clock::now(), &mut middle.say);
        let auth = middle.say.to_upstream.pop().unwrap();
        (auth.kind, auth.bytes[0] == b'{')
    };
    let (json, packed) = (connected("k").to_string().into_bytes(), msgpack(&connected("k")));
    for (target, kind, bytes, expected) in [
        ("/?v=2", Kind::Text, &json, (Kind::Text, true)),
        ("/?v=2", Kind::Binary, &packed, (Kind::Binary, false)),
        ("/?v=2&format=json", Kind::Binary, &packed, (Kind::Binary, false)),
        ("/?v=2&format=msgpack", Kind::Binary, &json, (Kind::Binary, true)),
    ] {
        let mut middle = Middle::new(target);
        service_says(&mut middle, Moment::Opening, kind, bytes);
        assert_eq!(auth_of(&mut middle), expected, "{target} {kind:?}");
    }
    // Before that: the parameter, then the client's first message, then JSON.
    for (target, first, expected) in [
        ("/?format=msgpack", &json, (Kind::Binary, false)),
        ("/", &packed, (Kind::Binary, false)),
        ("/", &Vec::new(), (Kind::Text, true)),
    ] {
        let mut middle = Middle::new(target);
        says(&mut middle, Kind::Binary, first);
        assert_eq!(auth_of(&mut middle), expected, "{target}");
    }
}

/// R09, R10: whatever its spelling, a publish is numbered and kept, or nobody takes it for one.
#[test]
fn a_publish_is_a_publish_however_it_is_written() {
    let mut middle = Middle::open();
    middle.attach("c");
    middle.enters("c", 0);
    middle.resumes();
    middle.service(Moment::Resuming, &attached("c", 4));
    middle.said();
    middle.told();
    // Perennial's own re-entry took a number: the client's are one behind from here on.
    let deep = (0..70).fold(json!(1), |value, _| json!([value]));
    let nested = json!({"action": 15, "channel": "c", "msgSerial": 1, "messages": [{"data": deep}]});
    says(&mut middle, Kind::Binary, &msgpack(&nested));
    let renumbered = middle.say.instead.take().unwrap();
    let head = Head::read(&renumbered.bytes).unwrap();
    assert_eq!(head.msg_serial(), Some(2));
    let twice =
        br#"{"action":15,"channel":"x","channel":"c","msgSerial":9,"msgSerial":2,"messages":[{"data":1}]}"#;
    says(&mut middle, Kind::Text, twice);
    let renumbered = middle.say.instead.take().unwrap();
    assert_eq!(Head::read(&renumbered.bytes).unwrap().msg_serial(), Some(3));
    assert_eq!(middle.service(Moment::Live, &ack(3)), Verdict::SWALLOW);
    assert_eq!(middle.told(), [ack(2)]);
}
