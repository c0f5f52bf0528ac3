//! One line for each shape that is understood, and for each that is not.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::AnswerFields;

fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Answer, BadAnswer> {
    let read = Reader::of(&AnswerForm::Auto).read(&HeaderMap::new(), content_type, body);
    read.map_err(|useless| useless.bad)
}

fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(&json!({"alg": "HS256"})), part(claims))
}

fn token(body: &str) -> Issued {
    match parse(None, body.as_bytes()) {
        Ok(Answer::Token(issued)) => issued,
        other => panic!("{body}: {other:?}"),
    }
}

fn bad(body: impl AsRef<[u8]>) -> BadAnswer {
    parse(None, body.as_ref()).unwrap_err()
}

fn until(seconds: u64) -> Life {
    Life::Until { wall: Duration::from_secs(seconds), at_most: None }
}

const HOUR: Life = Life::For(Duration::from_secs(3600));

#[test]
fn every_common_shape_is_a_token() {
    let timed = jwt(&json!({"exp": 1_800_000_000}));
    let cases = [
        ("abc\r\n".to_owned(), Life::Unknown),
        ("\"abc\"".to_owned(), Life::Unknown),
        (timed.clone(), until(1_800_000_000)),
        (json!({"token": "abc"}).to_string(), Life::Unknown),
        (json!({"token": timed}).to_string(), until(1_800_000_000)),
        (json!({"token": "abc", "expires": 1_800_000_000_000_u64}).to_string(), until(1_800_000_000)),
        (json!({"access_token": "abc", "expires_in": 3600}).to_string(), HOUR),
        (json!({"accessToken": "abc", "expiresIn": "3600"}).to_string(), HOUR),
        (json!({"access_token": timed, "expires_in": 3600.0}).to_string(), HOUR),
        (json!({"token": "abc", "expires_at": 1_800_000_000}).to_string(), until(1_800_000_000)),
        (json!({"token": "abc", "expires_at": 1_800_000_000_000_u64}).to_string(), until(1_800_000_000)),
        (json!({"token": "abc", "expires_at": "2027-01-15T08:00:00Z"}).to_string(), until(1_800_000_000)),
        (json!({"token": "abc", "expires_in": null, "expires": null}).to_string(), Life::Unknown),
        (format!("\u{feff}{}", json!({"token": "abc", "expires_in": 3600})), HOUR),
    ];
    for (body, life) in cases {
        let issued = token(&body);
        assert_eq!(issued.life, life, "{body}");
        assert!(issued.text == "abc" || issued.text.starts_with("ey"), "{body}");
    }
}

#[test]
fn an_issue_that_is_told_bounds_the_life() {
    let details = json!({"token": "abc", "issued": 1_799_996_400_000_u64, "expires": 1_800_000_000_000_u64,
        "capability": "{\"*\":[\"*\"]}"});
    let wall = Duration::from_secs(1_800_000_000);
    let told = Life::Until { wall, at_most: Some(Duration::from_secs(3600)) };
    assert_eq!(token(&details.to_string()).life, told);
    assert_eq!(token(&jwt(&json!({"iat": 1_799_996_400, "exp": 1_800_000_000}))).life, told);
}

#[test]
fn a_token_request_is_recognised() {
    let request = json!({"keyName": "app.key", "mac": "m", "nonce": "n", "timestamp": 1});
    let answer = parse(Some("application/json"), request.to_string().as_bytes()).unwrap();
    assert!(matches!(answer, Answer::TokenRequest { key_name } if key_name == "app.key"));
    assert_eq!(bad(json!({"keyName": "app.key", "nonce": "n"}).to_string()), BadAnswer::Unsigned);
    for name in ["app", "app.key/../x", "app.", "a b.c"] {
        let request = json!({"keyName": name, "mac": "m", "nonce": "n"});
        assert_eq!(bad(request.to_string()), BadAnswer::BadKeyName, "{name}");
    }
}

#[test]
fn everything_else_has_a_reason() {
    let cases: [(&str, BadAnswer); 19] = [
        ("", BadAnswer::Empty),
        (" \r\n", BadAnswer::Empty),
        ("null", BadAnswer::Empty),
        ("undefined", BadAnswer::Empty),
        ("\"\"", BadAnswer::Empty),
        ("{\"token\":\"\"}", BadAnswer::Empty),
        ("<!doctype html><p>Sign in", BadAnswer::Html),
        ("{\"token\":", BadAnswer::NotJson),
        ("[\"abc\"]", BadAnswer::NotObject),
        ("{}", BadAnswer::NoToken),
        ("{\"token\":null}", BadAnswer::NoToken),
        ("{\"token\":17}", BadAnswer::WrongType("token")),
        ("{\"access_token\":{}}", BadAnswer::WrongType("access_token")),
        ("a b", BadAnswer::Control),
        ("a\r\nX-Evil: 1", BadAnswer::Control),
        ("{\"token\":\"a\\r\\nX-Evil: 1\"}", BadAnswer::Control),
        ("{\"token\":\"a\\u0000\"}", BadAnswer::Control),
        ("{\"token\":\"sch\u{f6}n\"}", BadAnswer::NotAscii),
        ("{\"error\":\"invalid_grant\"}", BadAnswer::Error("invalid_grant".to_owned())),
    ];
    for (body, reason) in cases {
        assert_eq!(bad(body), reason, "{body}");
    }
    assert_eq!(bad([0xff, 0xfe]), BadAnswer::NotText);
    assert_eq!(bad("a".repeat(MAX_TOKEN + 1)), BadAnswer::TooLong);
    assert_eq!(parse(Some("application/json"), b"abc").unwrap_err(), BadAnswer::NotJson);
    assert_eq!(parse(Some("text/html; charset=utf-8"), b"abc").unwrap_err(), BadAnswer::Html);
    let timed = jwt(&json!({"exp": 1}));
    assert!(parse(Some("application/json"), timed.as_bytes()).is_ok(), "a JWT is a JWT");
}

#[test]
fn no_reason_quotes_the_answer() {
    for body in
        ["CANARY x", "{\"token\":\"CANARY\\n\"}", "{\"error\":\"CANARY\"}", "{\"CANARY\":1}", "[\"CANARY\"]"]
    {
        let error = bad(body);
        assert!(!format!("{error} {error:?}").contains("CANARY"), "{body}");
    }
    let issued = token("CANARY");
    assert!(!format!("{issued:?}").contains("CANARY"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_answered_a_token_is_one_visible_word(
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            r#"\{"(token|access_token|expires_in|expires)":("[ -~\r\n]{0,9}"|[-0-9e.]{1,9}|null),"(token|expires_at|iat)":("[!-~]{0,9}"|[-0-9e.]{1,30})\}"#
                .prop_map(String::into_bytes),
        ],
        kind in proptest::option::of("(application/json|text/plain|text/html|[ -~]{0,20})"),
    ) {
        if let Ok(Answer::Token(issued)) = parse(kind.as_deref(), &body) {
            prop_assert!(!issued.text.is_empty() && issued.text.bytes().all(|b| b.is_ascii_graphic()));
        }
    }
}

/// What the configuration says of an answer, and what becomes of one with `X-Token: h` and `X-Life: 60`.
fn placed(answer: &str, body: &str) -> Result<Issued, BadAnswer> {
    let text = format!(
        "[[route]]\nupstream = \"ws://h\"\ndialect = \"ably\"\n[route.token]\nsource = \"http\"\nurl = \"http://h\"\nanswer = {answer}"
    );
    let config = crate::config::Config::parse(&text, "t").unwrap_or_else(|error| panic!("{error}"));
    let token = config.routes[0].token.as_ref().unwrap();
    let crate::config::SourceConfig::Http(source) = &token.source else { panic!("{token:?}") };
    let headers = [("x-token", "h"), ("x-life", "60")];
    let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let read = Reader::of(&source.answer).read(&HeaderMap::from_iter(headers), None, body.as_bytes());
    match read.map_err(|useless| useless.bad)? {
        Answer::Token(issued) => Ok(issued),
        other @ Answer::TokenRequest { .. } => panic!("{other:?}"),
    }
}

#[test]
fn a_token_is_found_where_the_configuration_says_it_is() {
    let vault = r#"{"auth":{"client_token":"t","lease_duration":3600,"none":null},"token":"another","data":[{"a/b":"u"}]}"#;
    for (answer, body, text, life) in [
        ("\"auto\"", vault, "another", Life::Unknown),
        // What stands beside it is read without being named.
        ("{ token = \"/auth/client_token\" }", vault, "t", HOUR),
        ("{ token = \"/auth/client_token\", expires_in = \"/auth/lease_duration\" }", vault, "t", HOUR),
        ("{ token = \"/data/0/a~1b\", expires_in = \"/none\" }", vault, "u", Life::Unknown),
        (
            "{ token = \"header:X-Token\", expires_in = \"header:X-Life\" }",
            "<p>",
            "h",
            Life::For(Duration::from_secs(60)),
        ),
        ("\"text\"", "{\"token\":\"x\"}", "{\"token\":\"x\"}", Life::Unknown),
    ] {
        let issued = placed(answer, body).unwrap_or_else(|error| panic!("{answer}: {error}"));
        assert_eq!((issued.text.as_str(), issued.life), (text, life), "{answer}");
    }
    let timed = jwt(&json!({"exp": 1_800_000_000}));
    let issued = placed("{ token = \"/t\" }", &json!({"t": timed}).to_string()).unwrap();
    assert_eq!(issued.life, until(1_800_000_000), "a JWT says its end itself");
}

#[test]
fn a_token_may_be_put_together() {
    let body =
        r#"{"data":{"token":"a+b/=","expires_in":3600,"servers":[{"endpoint":"wss://h/e?x=1"}],"n":7}}"#;
    for (answer, text, life) in [
        (
            "{ token = \"{/data/servers/0/endpoint}&token={/data/token}\" }",
            "wss://h/e?x=1&token=a%2Bb%2F%3D",
            Life::Unknown,
        ),
        ("{ token = \"t={/data/token}&n={/data/n}\" }", "t=a%2Bb%2F%3D&n=7", HOUR),
    ] {
        let issued = placed(answer, body).unwrap_or_else(|error| panic!("{answer}: {error}"));
        assert_eq!((issued.text.as_str(), issued.life), (text, life), "{answer}");
    }
    for missing in ["{/data/none}x", "x{/data/servers}"] {
        let error = placed(&format!("{{ token = \"{missing}\" }}"), body).unwrap_err();
        assert_eq!(error, BadAnswer::NotThere("token"));
    }
}

#[test]
fn what_is_not_where_it_should_be_is_named() {
    for (answer, body, said) in [
        ("{ token = \"/a/b\" }", "{\"a\":{}}", BadAnswer::NotThere("token")),
        ("{ token = \"/a\" }", "{\"a\":null}", BadAnswer::NotThere("token")),
        ("{ token = \"/a\" }", "no JSON", BadAnswer::NotThere("token")),
        ("{ token = \"header:X-Other\" }", "{}", BadAnswer::NotThere("token")),
        ("{ token = \"/a\" }", "{\"a\":5}", BadAnswer::WrongType("token")),
        ("{ token = \"/a\" }", "{\"a\":\"two words\"}", BadAnswer::Control),
        ("{ token = \"/a\" }", "{\"error\":\"slow_down\"}", BadAnswer::Error("slow_down".to_owned())),
        ("\"text\"", "<html>", BadAnswer::Html),
    ] {
        assert_eq!(placed(answer, body).unwrap_err(), said, "{answer} {body}");
    }
}

#[test]
fn a_word_of_plain_text_does_not_take_the_place_of_a_token() {
    let jwt = jwt(&json!({"exp": 1_800_000_000}));
    let after = |before: &str, body: &str| {
        let reader = Reader { before: Some(before), ..Reader::of(&AnswerForm::Auto) };
        let read = reader.read(&HeaderMap::new(), Some("text/plain"), body.as_bytes());
        read.map(|_| ()).map_err(|useless| useless.bad)
    };
    for before in ["V1StGXR8Z5jdHi6BmyT02", &jwt] {
        for word in ["maintenance", "OK", "Unauthorized", "Service-is-down-for-an-hour"] {
            assert_eq!(after(before, word), Err(BadAnswer::Unlike), "{word} after {before}");
        }
        assert_eq!(after(before, &jwt), Ok(()));
    }
    assert_eq!(after("V1StGXR8Z5jdHi6BmyT02", "k3tGXR8Z5jdHi6BmyT0-x7\n"), Ok(()));
    assert_eq!(after("first", "second"), Ok(()), "a word after a word");
    assert_eq!(after(&jwt, "{\"token\":\"opaque\"}"), Ok(()), "JSON says what it is");
}

#[test]
fn an_end_that_cannot_be_read_costs_no_good_token() {
    for never in [
        "9223372036854775807",
        "1e300",
        "\"99999999999999999999\"",
        "0",
        "-1",
        "true",
        "{}",
        "\"\"",
        "\"never\"",
        "\"1969-01-01T00:00:00Z\"",
    ] {
        for name in ["expires_in", "expires_at"] {
            let issued = token(&format!("{{\"token\":\"a\",\"{name}\":{never}}}"));
            assert_eq!((issued.text.as_str(), issued.life), ("a", Life::Unknown), "{name} {never}");
        }
    }
    let own = jwt(&json!({"exp": 1_800_000_000}));
    let issued = token(&json!({"access_token": own, "expires_in": 0}).to_string());
    assert_eq!(issued.life, until(1_800_000_000), "the token says it itself");
}

#[test]
fn usual_names_are_read_without_being_told() {
    let at = "2027-01-15T08:00:00Z";
    for (body, life) in [
        (json!({"AccessToken": "a", "ExpiresIn": 3600}), HOUR),
        (json!({"idToken": "a", "expiresIn": "3600"}), HOUR),
        (json!({"id_token": "a", "expires_in": "3600s"}), HOUR),
        (json!({"jwt": "a", "expires_in_seconds": 3600}), HOUR),
        (json!({"access_token": "a", "expires_on": "1800000000"}), until(1_800_000_000)),
        (json!({"accessToken": "a", "expireTime": at}), until(1_800_000_000)),
        (json!({"token": "a", "expirationTimestamp": at}), until(1_800_000_000)),
        (json!({"token": "a", "expiration": at}), until(1_800_000_000)),
        (json!({"token": "a", "expiry": "2027-01-15T09:00:00+01:00"}), until(1_800_000_000)),
        (json!({"token": "a", "ttl": 3600}), HOUR),
        // Local time, of which nobody says the zone, is none; the other one counts.
        (
            json!({"accessToken": "a", "expiresOn": "2027-01-15 08:00:00.1", "expires_on": 1_800_000_000}),
            until(1_800_000_000),
        ),
        // These are milliseconds.
        (json!({"token": "a", "ttl": 3_600_000, "expires": 1_800_000_000_000_u64}), until(1_800_000_000)),
        (json!({"token": "a", "expires": 3600}), HOUR),
        (json!({"access_token": "a", "expire_time": "3600"}), HOUR),
        (json!({"token": "a", "expires_at": 315_360_000}), until(315_360_000)),
    ] {
        let issued = token(&body.to_string());
        assert_eq!((issued.text.as_str(), issued.life), ("a", life), "{body}");
    }
}

#[test]
fn a_form_is_an_answer_too() {
    let body = "access_token=gho_a%2B&expires_in=3600&scope=repo&token_type=bearer";
    for kind in [Some("application/x-www-form-urlencoded; charset=utf-8"), Some("text/plain"), None] {
        let Ok(Answer::Token(issued)) = parse(kind, body.as_bytes()) else { panic!("{kind:?}") };
        assert_eq!((issued.text.as_str(), issued.life), ("gho_a+", HOUR));
    }
}

#[test]
fn a_jwt_is_a_jwt_whatever_its_type_says() {
    let own = jwt(&json!({"exp": 1_800_000_000}));
    for kind in ["text/html", "application/json", "application/octet-stream"] {
        assert!(parse(Some(kind), own.as_bytes()).is_ok(), "{kind}");
    }
}

/// What an answer says of the refresh token.
fn rotated(form: &AnswerForm, body: &Value) -> Result<(Option<SecretText>, Option<u64>), Useless> {
    let reader = Reader { rotates: true, ..Reader::of(form) };
    match reader.read(&HeaderMap::new(), None, body.to_string().as_bytes())? {
        Answer::Token(issued) => {
            Ok((issued.refresh_token, issued.provenance.refresh_life.map(|life| life.as_secs())))
        }
        other @ Answer::TokenRequest { .. } => panic!("{other:?}"),
    }
}

#[test]
fn the_next_refresh_token_and_its_end_are_found() {
    let next = |text: &str| Some(SecretText::from(text));
    let auto = |body: Value| rotated(&AnswerForm::Auto, &body).unwrap();
    assert_eq!(auto(json!({"accessToken": "a", "refreshToken": "r"})), (next("r"), None));
    for none in [
        json!({"access_token": "a", "refresh_token": null}),
        json!({"access_token": "a", "refresh_token": ""}),
    ] {
        assert_eq!(auto(none), (None, None));
    }
    for (name, told, life) in [
        ("refresh_expires_in", json!(20), Some(20)),
        ("refresh_token_expires_in", json!("15897600"), Some(15_897_600)),
        ("x_refresh_token_expires_in", json!(8_726_400), Some(8_726_400)),
        ("refresh_expires_in", json!(0), None),
        ("refresh_expires_in", json!(-1), None),
        ("refresh_expires_in", json!("never"), None),
        ("refresh_expires_in", json!(1e300), None),
    ] {
        assert_eq!(
            auto(json!({"access_token": "a", "refresh_token": "r", name: told})),
            (next("r"), life),
            "{told}"
        );
    }
    let part = |pointer: &str| Part::Pointer(pointer.to_owned());
    let places = |token: &str, refresh_token: Option<&str>| {
        let refresh_token = refresh_token.map(part);
        AnswerForm::Fields(AnswerFields {
            token: part(token),
            expires_in: None,
            expires_at: None,
            refresh_token,
        })
    };
    let slack =
        json!({"ok": true, "authed_user": {"access_token": "a", "refresh_token": "r", "expires_in": 43200}});
    assert_eq!(rotated(&places("/authed_user/access_token", None), &slack).unwrap(), (next("r"), None));
    let odd = json!({"a": {"t": "a"}, "b": {"next": "r"}});
    assert_eq!(rotated(&places("/a/t", Some("/b/next")), &odd).unwrap(), (next("r"), None));
}

#[test]
fn the_refresh_token_of_a_useless_answer_is_not_lost() {
    for (name, value) in
        [("access_token", json!(5)), ("access_token", json!("a b")), ("no_token", json!("a"))]
    {
        let body = json!({"refresh_token": "r2", "refresh_expires_in": 60, name: value});
        let kept = rotated(&AnswerForm::Auto, &body).unwrap_err().rotated.unwrap();
        assert_eq!((kept.refresh_token.as_str(), kept.life), ("r2", Some(Duration::from_secs(60))));
    }
    // Nor is it sent to whom a TokenRequest is posted.
    let request = json!({"keyName": "a.b", "mac": "m", "nonce": "n", "refresh_token": "r2"});
    let kept = rotated(&AnswerForm::Auto, &request).unwrap_err().rotated.unwrap();
    assert_eq!(kept.refresh_token.as_str(), "r2");
    let without = |body: Value| rotated(&AnswerForm::Auto, &body).unwrap_err();
    assert_eq!(without(json!({"access_token": 5})).rotated, None);
    // What cannot be sent again is none.
    let long = "r".repeat(rotated::MAX_REFRESH_TOKEN + 1);
    for (wrong, said) in [
        (json!("r\n"), "has a line break, a NUL or other than visible ASCII in it"),
        (json!("r\u{0}"), "has a line break, a NUL or other than visible ASCII in it"),
        (json!({}), "is no string"),
        (json!(long), "is longer than 32 KiB"),
    ] {
        let useless = without(json!({"access_token": "a", "refresh_token": wrong}));
        assert_eq!((useless.bad, useless.rotated), (BadAnswer::RefreshToken(said), None));
    }
}
