//! A token endpoint that says what it is told to, on a loopback socket.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    clock,
    config::{HttpBody, Secret, Signer, SigningKey, Template},
    credential::keeper::{FailureKind, Life},
};

const AMPLE: Duration = Duration::from_secs(20);

/// Reads one request: head and body.
async fn read_request(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.unwrap());
    }
    let mut text = String::from_utf8(head).unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    tcp.read_exact(&mut body).await.unwrap();
    text.push_str(std::str::from_utf8(&body).unwrap());
    text
}

/// Fetches from a server that gives these answers, one to each connection; the requests it saw.
async fn fetch_with(
    answers: &[&str],
    change: impl FnOnce(&mut HttpSource),
) -> (Result<Issued, SourceError>, Vec<String>) {
    fetch_within(AMPLE, answers, change).await
}

async fn fetch_within(
    timeout: Duration,
    answers: &[&str],
    change: impl FnOnce(&mut HttpSource),
) -> (Result<Issued, SourceError>, Vec<String>) {
    fetch_as(&Asking::default(), timeout, answers, change).await
}

async fn fetch_as(
    asking: &Asking,
    timeout: Duration,
    answers: &[&str],
    change: impl FnOnce(&mut HttpSource),
) -> (Result<Issued, SourceError>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let at =
        |path: &str| Endpoint { tls: false, host: "127.0.0.1".into(), port, path_and_query: path.into() };
    let mut source = HttpSource {
        endpoint: at("/token?for=me"),
        target: Template::parse("/token?for=me"),
        tls: UpstreamTls::default(),
        method: Method::GET,
        headers: Vec::new(),
        basic: None,
        refresh_token: None,
        jwt: None,
        body: HttpBody::None,
        answer: Default::default(),
        exchange: at("/"),
    };
    change(&mut source);
    let tokens = HttpTokens::new(&source, &Egress::default()).unwrap();
    let (mut seen, mut open) = (Vec::new(), Vec::new());
    let server = async {
        for answer in answers {
            let (mut tcp, _) = listener.accept().await.unwrap();
            seen.push(read_request(&mut tcp).await);
            // The client may have left: that is the test's to judge.
            let _ = tcp.write_all(answer.as_bytes()).await;
            open.push(tcp);
        }
        std::future::pending::<()>().await;
    };
    let now = Now { mono: clock::now(), wall: Duration::from_secs(1_800_000_000) };
    let result = tokio::select! {
        result = tokens.fetch(asking, now, now.mono + timeout) => result,
        () = server => unreachable!(),
    };
    (result, seen)
}

async fn fetch(answer: &str) -> Result<Issued, SourceError> {
    fetch_with(&[answer], |_| {}).await.0
}

fn ok(kind: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn status(line: &str, headers: &str) -> String {
    format!("HTTP/1.1 {line}\r\n{headers}content-length: 0\r\n\r\n")
}

/// The error of an answer that must be one that passes.
async fn passing(answer: &str) -> SourceError {
    let error = fetch(answer).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Passing, "{error}");
    error
}

#[tokio::test]
async fn a_token_is_fetched() {
    let answer = ok("application/json", r#"{"access_token":"abc","expires_in":60}"#);
    let (issued, seen) = fetch_with(&[&answer], |_| {}).await;
    let issued = issued.unwrap();
    assert_eq!((issued.text.as_str(), issued.life), ("abc", Life::For(Duration::from_secs(60))));
    assert!(seen[0].starts_with("GET /token?for=me HTTP/1.1\r\n"), "{}", seen[0]);
    assert!(seen[0].contains("accept-encoding: identity\r\n"), "{}", seen[0]);
}

#[tokio::test]
async fn headers_and_a_form_go_along() {
    let (issued, seen) = fetch_with(&[&ok("text/plain", "abc")], |source| {
        source.method = Method::POST;
        source.headers = vec![(header::AUTHORIZATION, Template::parse("Bearer x"))];
        source.body = HttpBody::Form(vec![("a b".to_owned(), Template::parse("c&d é"))]);
    })
    .await;
    assert_eq!(issued.unwrap().text, "abc");
    assert!(seen[0].contains("authorization: Bearer x\r\n"), "{}", seen[0]);
    assert!(seen[0].contains("content-type: application/x-www-form-urlencoded\r\n"), "{}", seen[0]);
    assert!(seen[0].ends_with("\r\n\r\na+b=c%26d+%C3%A9"), "{}", seen[0]);
}

#[tokio::test]
async fn a_token_request_is_exchanged() {
    let request = r#"{"keyName":"app.key","mac":"m","nonce":"0123456789abcdef","timestamp":1}"#;
    let details = r#"{"token":"abc","issued":1800000000000,"expires":1800003600000}"#;
    let answers = [ok("application/json", request), ok("application/json", details)];
    let (issued, seen) = fetch_with(&[&answers[0], &answers[1]], |_| {}).await;
    assert_eq!(issued.unwrap().text, "abc");
    assert!(seen[1].starts_with("POST /keys/app.key/requestToken HTTP/1.1\r\n"), "{}", seen[1]);
    assert!(seen[1].ends_with(request), "the signed fields as they came: {}", seen[1]);
}

#[tokio::test]
async fn an_exchange_that_fails_is_named() {
    let request = ok("application/json", r#"{"keyName":"app.key","mac":"m","nonce":"n"}"#);
    let refused = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 24\r\n\r\n{\"error\":{\"code\":40101}}";
    let error = fetch_with(&[&request, refused], |_| {}).await.0.unwrap_err();
    assert!(error.reason.contains("exchange") && error.reason.contains("40101"), "{error}");
}

#[tokio::test]
async fn a_500_passes() {
    let error = passing(&status("500 Internal Server Error", "")).await;
    assert_eq!((error.retry_after, error.reason.contains("500")), (None, true));
}

#[tokio::test]
async fn a_503_says_when() {
    let error = passing(&status("503 Service Unavailable", "retry-after: 7\r\n")).await;
    assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_429_says_when_as_a_date() {
    let answer = status("429 Too Many Requests", "retry-after: Fri, 15 Jan 2027 08:00:30 GMT\r\n");
    assert_eq!(passing(&answer).await.retry_after, Some(Duration::from_secs(30)));
}

#[tokio::test]
async fn refusals_are_terminal() {
    for code in ["401 Unauthorized", "403 Forbidden"] {
        assert_eq!(fetch(&status(code, "")).await.unwrap_err().kind, FailureKind::Terminal);
    }
    let grant = "HTTP/1.1 400 Bad Request\r\ncontent-length: 25\r\n\r\n{\"error\":\"invalid_grant\"}";
    let error = fetch(grant).await.unwrap_err();
    assert_eq!((error.kind, error.reason.contains("invalid_grant")), (FailureKind::Terminal, true));
    passing(&status("400 Bad Request", "")).await;
}

#[tokio::test]
async fn html_with_200_is_no_token() {
    let error = passing(&ok("text/html", "<html>Sign in</html>")).await;
    assert!(error.reason.contains("HTML"), "{error}");
}

#[tokio::test]
async fn an_empty_answer_is_no_token() {
    assert!(passing(&ok("text/plain", "")).await.reason.contains("empty"));
    assert!(passing(&status("204 No Content", "")).await.reason.contains("empty"));
}

#[tokio::test]
async fn a_gigabyte_is_not_read() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
    let error = passing(&format!("{head}{}", "x".repeat(MAX_ANSWER + 1))).await;
    assert!(error.reason.contains("larger than 65536 bytes"), "{error}");
}

#[tokio::test]
async fn an_answer_that_never_ends_meets_the_deadline() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    let error = fetch_within(Duration::from_millis(100), &[answer], |_| {}).await.0.unwrap_err();
    assert!(error.reason.contains("in time"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let error = passing(&status("302 Found", "location: http://evil.test/\r\n")).await;
    assert!(error.reason.contains("redirect") && !error.reason.contains("evil"), "{error}");
}

#[tokio::test]
async fn a_compressed_answer_is_said() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc";
    assert!(passing(answer).await.reason.contains("compressed"));
}

#[tokio::test]
async fn line_breaks_in_a_token_are_refused() {
    let error = passing(&ok("application/json", r#"{"token":"CANARY\r\nX-Evil: 1"}"#)).await;
    assert!(error.reason.contains("line break") && !error.reason.contains("CANARY"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = fetch_with(&[], |source| source.endpoint.port = port).await.0.unwrap_err();
    assert!(error.reason.starts_with("connect to 127.0.0.1"), "{error}");
}

#[test]
fn debug_shows_no_header_and_no_body() {
    let at = Endpoint { tls: false, host: "auth.test".into(), port: 80, path_and_query: "/".into() };
    let source = HttpSource {
        endpoint: at.clone(),
        target: Template::parse("/"),
        tls: UpstreamTls::default(),
        method: Method::POST,
        headers: vec![(header::AUTHORIZATION, Template::parse("CANARY"))],
        basic: None,
        refresh_token: None,
        jwt: None,
        body: HttpBody::Json(Template::parse(r#"{"client_secret":"CANARY"}"#)),
        answer: Default::default(),
        exchange: at,
    };
    let tokens = HttpTokens::new(&source, &Egress::default()).unwrap();
    assert!(!format!("{tokens:?}").contains("CANARY"));
}

/// A source that goes on with refresh tokens, as Supabase's does.
fn rotates(source: &mut HttpSource) {
    source.method = Method::POST;
    source.refresh_token = Some(Secret::literal("first"));
    source.body = HttpBody::Json(Template::parse(r#"{"refresh_token":"{refresh_token}"}"#));
}

#[tokio::test]
async fn a_refresh_token_is_sent_and_the_next_one_is_kept() {
    let answer = ok("application/json", r#"{"access_token":"abc","expires_in":60,"refresh_token":"next"}"#);
    let (issued, seen) = fetch_with(&[&answer], rotates).await;
    assert_eq!(issued.unwrap().refresh_token.unwrap().as_str(), "next");
    assert!(seen[0].ends_with(r#"{"refresh_token":"first"}"#), "{}", seen[0]);
    let newer = Asking { refresh_token: Some(Arc::new("newer".into())), ..Asking::default() };
    let (_, seen) = fetch_as(&newer, AMPLE, &[&answer], rotates).await;
    assert!(seen[0].ends_with(r#"{"refresh_token":"newer"}"#), "{}", seen[0]);
}

#[tokio::test]
async fn a_refresh_token_that_may_be_used_up_is_said() {
    for (answer, kind) in [
        (ok("application/json", "{}"), FailureKind::Lost),
        (status("500 Internal Server Error", ""), FailureKind::Lost),
        (said("400 Bad Request", r#"{"error_code":"refresh_token_already_used"}"#), FailureKind::Terminal),
        (said("429 Too Many Requests", r#"{"error_code":"x"}"#), FailureKind::Passing),
        (said("403 Forbidden", "<html>"), FailureKind::Passing),
    ] {
        let error = fetch_with(&[&answer], rotates).await.0.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
    }
    let kept = ok("application/json", r#"{"access_token":5,"refresh_token":"next"}"#);
    let error = fetch_with(&[&kept], rotates).await.0.unwrap_err();
    assert_eq!(error.rotated.unwrap().refresh_token.as_str(), "next");
}

/// An answer with a body.
fn said(line: &str, body: &str) -> String {
    format!("HTTP/1.1 {line}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn the_reason_of_a_refusal_is_shown_without_secrets() {
    let body = r#"{"errors":["permission denied for CANARY-1 and CANARY-2"]}"#;
    let (result, _) = fetch_with(&[&said("403 Forbidden", body)], |source| {
        source.headers = vec![("x-key".parse().unwrap(), Template::secret(Secret::literal("CANARY-1")))];
        source.basic = Some(("me".to_owned(), Secret::literal("CANARY-2")));
    })
    .await;
    let error = result.unwrap_err();
    assert_eq!(error.kind, FailureKind::Terminal);
    assert_eq!(error.reason, "the source answered 403 Forbidden \"permission denied for *** and ***\"");
    let error = fetch(&ok("application/json", r#"{"ok":false,"error":"invalid_auth"}"#)).await.unwrap_err();
    assert_eq!(error.reason, "the source answered 200 OK (invalid_auth)");
}

#[tokio::test]
async fn user_and_password_are_the_header_of_rfc_7617() {
    let (_, seen) = fetch_with(&[&ok("text/plain", "abc")], |source| {
        source.basic = Some(("Aladdin".to_owned(), Secret::literal("open sesame")));
    })
    .await;
    assert!(seen[0].contains("\r\nauthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"), "{}", seen[0]);
}

#[tokio::test]
async fn a_jwt_that_is_signed_here_is_the_bearer_of_a_request() {
    let (issued, seen) = fetch_with(&[&ok("application/json", r#"{"token":"ghs_1"}"#)], |source| {
        let claims = Some(Template::parse(r#"{"iss":"12345"}"#));
        source.jwt = Some(Signer { claims, ..Signer::new(SigningKey::shared(Secret::literal("k"))) });
        source.headers = vec![(header::AUTHORIZATION, Template::parse("Bearer {jwt}"))];
    })
    .await;
    assert_eq!(issued.unwrap().text, "ghs_1");
    let jwt = seen[0].lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap();
    assert!(crate::credential::source::jwt::is_signed_with_secret(jwt, "k"));
    let claims = crate::credential::source::jwt::claims(jwt).unwrap();
    // The wall clock says 1 800 000 000.
    assert_eq!(
        (&claims["iss"], &claims["iat"], &claims["exp"]),
        (&"12345".into(), &1_799_999_970.into(), &1_800_000_270.into())
    );
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_said_if_something_was_signed() {
    // It is 15 Jan 2027, 08:00 here.
    let answer = status("401 Unauthorized", "date: Fri, 15 Jan 2027 08:02:00 GMT\r\n");
    let signs = |source: &mut HttpSource| {
        source.jwt = Some(Signer::new(SigningKey::shared(Secret::literal("k"))));
    };
    let error = fetch_with(&[&answer], signs).await.0.unwrap_err();
    assert_eq!(
        error.reason,
        "the source answered 401 Unauthorized; the clock here is 120 s behind the server's"
    );
    let error = fetch_with(&[&answer], |_| {}).await.0.unwrap_err();
    assert_eq!(error.reason, "the source answered 401 Unauthorized");
}
