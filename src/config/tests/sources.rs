//! `source = "http"` with refresh tokens and JWTs, and `source = "jwt"`: what is understood, and what is refused.

use super::*;

/// A route whose `[route.token]` has these lines, from line 5 on.
fn with(lines: &str) -> String {
    format!("[[route]]\nupstream = \"wss://h\"\ndialect = \"ably\"\n[route.token]\n{lines}\n")
}

const HTTP: &str = "source = \"http\"\nurl = \"https://auth.test/t\"";

#[test]
fn a_refresh_token_is_named_in_the_request() {
    let text = with(&format!(
        "{HTTP}\nrefresh_token = {{ env = \"CARGO_PKG_NAME\" }}\njson = {{ refresh_token = \"{{refresh_token}}\" }}\n\
         answer = {{ token = \"/access\", refresh_token = \"/next\" }}"
    ));
    let config = parse(&text);
    let http = http_of(&config.routes[0]);
    assert_eq!(&*http.refresh_token.as_ref().unwrap().reveal().unwrap(), "perennial");
    assert_eq!(http.method, http::Method::POST);
    again(&text);
}

#[test]
fn a_jwt_is_named_in_the_request() {
    let text = with(&format!(
        "{HTTP}\nheaders = {{ Authorization = \"Bearer {{jwt}}\" }}\nmethod = \"POST\"\n\
         [route.token.jwt]\nshared_secret = {{ env = \"CARGO_PKG_NAME\" }}\nclaims = {{ iss = \"1\" }}"
    ));
    let config = parse(&text);
    let signer = http_of(&config.routes[0]).jwt.as_ref().unwrap();
    assert_eq!((signer.lifetime, signer.key.is_shared), (Duration::from_secs(300), true));
    again(&text);
}

#[test]
fn user_and_password_stand_in_a_table() {
    let text =
        with(&format!("{HTTP}\nbasic = {{ user = \"me\", password = {{ env = \"CARGO_PKG_NAME\" }} }}"));
    let config = parse(&text);
    assert_eq!(http_of(&config.routes[0]).basic.as_ref().unwrap().0, "me");
    again(&text);
}

#[test]
fn a_jwt_is_a_token_too() {
    let text =
        with("source = \"jwt\"\nshared_secret = { env = \"CARGO_PKG_NAME\" }\nclaims = { iss = \"1\" }");
    let config = parse(&text);
    let SourceConfig::Jwt(signer) = &config.routes[0].token.as_ref().unwrap().source else { panic!() };
    assert_eq!(signer.lifetime, Duration::from_secs(3600));
    again(&text);
}

#[test]
fn a_token_may_be_the_url() {
    let route = |handshake: &str| {
        let answer = "answer = { token = \"{/url}?token={/token}\" }";
        with(&format!("{HTTP}\n{answer}\n[route.handshake]\n{handshake}"))
            .replace("\"ably\"", "\"handshake\"")
    };
    let config = parse(&route("url = \"{token}\""));
    assert!(config.routes[0].handshake.places());
    again(&route("url = \"{token}\""));
    for (handshake, said) in [
        (
            "url = \"wss://h/{token}\"",
            "p:9:7: route.handshake.url: expected \"{token}\": the source says all of the URL; put it together in answer of [route.token]",
        ),
        (
            "url = \"{token}\"\npath = \"/{token}\"",
            "p:10:8: route.handshake.path: is part of the URL that the token is: keep one of path and url",
        ),
    ] {
        assert_eq!(refused(&route(handshake)), said);
    }
}

#[test]
fn what_has_no_effect_or_no_value_is_refused() {
    for (lines, said) in [
        (
            format!("{HTTP}\nrefresh_token = \"x\""),
            "p:7:17: route.token.refresh_token: is sent nowhere; name it in the request as {refresh_token}",
        ),
        (
            format!("{HTTP}\njson = {{ a = \"{{refresh_token}}\" }}"),
            "p:7:8: route.token.json: {refresh_token} has a value with source = \"http\" only, if refresh_token says where the first one is",
        ),
        (
            format!("{HTTP}\nheaders = {{ X-A = \"{{jwt}}\" }}"),
            "p:7:11: route.token.headers: \"X-A\": {jwt} has a value with source = \"http\" only; say in [route.token.jwt] how it is signed",
        ),
        (
            format!("{HTTP}\nanswer = {{ token = \"/a\", refresh_token = \"/b\" }}"),
            "p:7:10: route.token.answer: refresh_token has no effect without the first one; add refresh_token = { file = \"PATH\" }",
        ),
        (
            format!("{HTTP}\nanswer = {{ token = \"/a\", expires_in = \"/b\", expires_at = \"/c\" }}"),
            "p:7:10: route.token.answer: a token has one end: keep one of expires_in and expires_at",
        ),
        (
            format!(
                "{HTTP}\nbasic = {{ user = \"a\", password = \"b\" }}\nheaders = {{ Authorization = \"x\" }}"
            ),
            "p:7:9: route.token.basic: is the header Authorization, and so is one of headers: keep one of the two",
        ),
        (
            "source = \"file\"\npath = \"/x\"\nanswer = { token = \"/a\", refresh_token = \"/b\" }"
                .to_owned(),
            "p:7:10: route.token.answer: refresh_token has no effect: there is no refresh token here that it takes the place of; remove it",
        ),
        (
            format!("{HTTP}\nanswer = {{ token = \"{{/a}}?t={{b}}\" }}"),
            "p:7:10: route.token.answer: expected a text with JSON Pointers in braces, such as \"{/endpoint}?token={/token}\"",
        ),
        (
            format!("{HTTP}\nanswer = {{ token = \"/a\", expires_in = \"{{/a}}0\" }}"),
            "p:7:10: route.token.answer: only token can be put together of several places",
        ),
        (
            "source = \"jwt\"".to_owned(),
            "p:4:1: route.token.private_key: missing; add private_key = { file = \"PATH\" }, or shared_secret if the other side has the same one",
        ),
        (
            "source = \"jwt\"\nshared_secret = \"x\"\nlifetime = \"1h\"".to_owned(),
            "p:7:12: route.token.lifetime: the token is signed here and lives for its ttl; write ttl in place of lifetime",
        ),
        (
            "source = \"jwt\"\nshared_secret = \"x\"\nclaims = { jti = \"1\" }".to_owned(),
            "p:7:10: route.token.claims: jti is set for each JWT; remove it",
        ),
    ] {
        assert_eq!(refused(&with(&lines)), said, "{lines}");
    }
}
