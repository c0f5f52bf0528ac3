//! What is taken from a browser, and what is not.

use super::*;

fn judge(target: &str) -> Result<Brought, u16> {
    let expected = Expected { state: "s".into(), issuer: Some("https://auth.test".to_owned()) };
    let uri = target.parse().unwrap();
    judged(&expected, &Method::GET, &uri).map_err(|(status, _)| status.as_u16())
}

#[test]
fn one_answer_is_taken_and_everything_else_is_not() {
    let code = |text: &str| Ok(Brought::Code(text.into()));
    for (target, brought) in [
        ("/callback?state=s&code=a%2Fb", code("a/b")),
        ("/callback?code=a&state=s&iss=https%3A%2F%2Fauth.test", code("a")),
        ("/callback?code=a&state=s&iss=https%3A%2F%2Fevil.test", Err(400)),
        ("/callback?code=a&code=b&state=s", Err(400)),
        ("/callback?code=a&state=s&state=s", Err(400)),
        ("/callback?code=a&state=S", Err(400)),
        ("/callback?code=a&state=", Err(400)),
        ("/callback?code=a", Err(400)),
        ("/callback?state=s", Err(400)),
        ("/callback", Err(400)),
        ("/callback/?state=s&code=a", Err(404)),
        ("/?state=s&code=a", Err(404)),
    ] {
        assert_eq!(judge(target), brought, "{target}");
    }
    let expected = Expected { state: "s".into(), issuer: None };
    let uri = "/callback?state=s&code=a".parse().unwrap();
    assert!(judged(&expected, &Method::POST, &uri).is_err());
    assert!(judged(&expected, &Method::HEAD, &uri).is_err(), "what looks ahead uses nothing up");
}

#[test]
fn a_refusal_is_shown_as_one_harmless_line() {
    let of = |query: &str| match judge(&format!("/callback?state=s&{query}")) {
        Ok(Brought::No(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        of("error=server_error"),
        "the authorization endpoint said no (server_error): log in again later"
    );
    let said = of("error=x%1b%5b2J&error_description=a%0ab%1bc");
    assert!(!said.contains(['\n', '\u{1b}']), "{said}");
    let long = of(&format!("error=other&error_description={}", "a+".repeat(2000)));
    assert!(long.chars().count() < 300, "{long}");
}
