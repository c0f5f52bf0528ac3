//! Answers that no honest server gives: each with its message, its kind, and no harm done.

use super::*;
use crate::credential::keeper::FailureKind::{self, Lost, Passing, Terminal, Unreached};

/// What is said of a reply, and its kinds: of the plain grant, and of a refresh token.
async fn judged(make: impl Fn() -> Reply) -> (String, [FailureKind; 2]) {
    let (plain, rotating) = both(make).await;
    let said = format!("{plain:?} {rotating:?}");
    assert!(!said.contains("CANARY") && !said.contains("evil"), "{said}");
    let loss =
        if rotating.kind == Lost { "; the refresh token may be used up, and its successor lost" } else { "" };
    assert_eq!(rotating.reason, format!("{}{loss}", plain.reason));
    (plain.reason, [plain.kind, rotating.kind])
}

/// What is said if there is none.
const NO_TOKEN: &str = "the answer has no token under a usual name (`access_token`, `token`, `id_token`); say in `answer` where it is";

#[tokio::test]
async fn a_body_that_is_of_no_use() {
    for (body, kind, said) in [
        ("CANARY it is", "application/json", "the answer is neither JSON nor a token"),
        (
            "CANARY",
            "text/plain",
            "the answer is a bare token, and OAuth's is a JSON object; if it is right, write answer = \"text\"",
        ),
        ("<html>CANARY</html>", "text/html", "the answer is HTML: a login or an error page?"),
        ("", "application/json", "the answer is empty"),
        (r#"{"access_token":"CANA"#, "application/json", "the answer is neither JSON nor a token"),
        (r#"{"CANARY":1}"#, "application/json", NO_TOKEN),
        (r#"{"access_token":{}}"#, "application/json", "`access_token` has the wrong type"),
        (
            r#"{"access_token":"CANARY\r\nX-Evil: 1"}"#,
            "application/json",
            "the token has a line break, a NUL, white space or another control character in it",
        ),
        (
            r#"{"access_token":"CANARY\u0000"}"#,
            "application/json",
            "the token has a line break, a NUL, white space or another control character in it",
        ),
    ] {
        let header: &'static str = match kind {
            "text/html" => "content-type: text/html\r\n",
            "text/plain" => "content-type: text/plain\r\n",
            _ => "content-type: application/json\r\n",
        };
        let judged = judged(|| Reply::Whole("200 OK", header, body.to_owned())).await;
        assert_eq!(judged, (said.to_owned(), [Passing, Lost]), "{body}");
    }
}

#[tokio::test]
async fn a_kind_of_token_that_is_not_supported() {
    let body = r#"{"access_token":"CANARY","token_type":"mac"}"#;
    let want = "the token's type is MAC, which needs a proof with each use and is not supported; turn it off for this client";
    assert_eq!(judged(|| ok(body)).await, (want.to_owned(), [Terminal, Terminal]));
}

#[tokio::test]
async fn a_refresh_token_that_cannot_be_kept() {
    let long = "r".repeat(33 * 1024);
    for (value, said) in [
        (r#""CANARY\r\n""#.to_owned(), "it has a line break, a NUL or other than visible ASCII in it"),
        (r#""CANARY\u0000""#.to_owned(), "it has a line break, a NUL or other than visible ASCII in it"),
        (r#""CANARYé""#.to_owned(), "it has a line break, a NUL or other than visible ASCII in it"),
        ("5".to_owned(), "it is no string"),
        (format!("\"{long}\""), "it is longer than 32 KiB"),
    ] {
        let body = format!(r#"{{"access_token":"abc","refresh_token":{value}}}"#);
        let (plain, _) = fetch(ok(&body), &Asking::default(), |_| {}).await;
        assert_eq!(plain.unwrap().refresh_token, None, "nobody looks at it");
        let (rotating, _) = fetch(ok(&body), &Asking::default(), rotates).await;
        let error = rotating.unwrap_err();
        assert_eq!(error.kind, Lost);
        let want = format!("the new refresh token cannot be used: {said}; the refresh token may be used up");
        assert!(error.reason.starts_with(&want), "{error}");
        assert!(!error.reason.contains("CANARY"));
    }
}

#[tokio::test]
async fn a_gigabyte_is_not_read() {
    let judged = judged(|| Reply::Endless).await;
    assert_eq!(judged, ("the answer is larger than 65536 bytes".to_owned(), [Passing, Lost]));
}

#[tokio::test]
async fn a_drip_and_silence_meet_the_deadline() {
    for (reply, rotating) in [
        (Reply::Drip, false),
        (Reply::Drip, true),
        (Reply::Silent("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_owned()), false),
        (Reply::Silent(String::new()), true),
    ] {
        let (result, _) = beside(&[reply], async |port| {
            let mut source = source(port);
            if rotating {
                rotates(&mut source);
            }
            let (tokens, now) = (OAuth2Tokens::new(&source, &Egress::default()).unwrap(), now());
            tokens.fetch(&Asking::default(), now, now.mono + SHORT).await
        })
        .await;
        let error = result.unwrap_err();
        assert!(error.reason.starts_with("no complete answer in time"), "{error}");
        assert_eq!(error.kind, if rotating { Lost } else { Passing });
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_may_have_been_whole_once() {
    for bytes in
        ["", "HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{\"access_token\":", "SSH-2.0-CANARY\r\n\r\n"]
    {
        let (plain, rotating) = both(|| Reply::Cut(bytes)).await;
        assert_eq!((plain.kind, rotating.kind), (Passing, Lost), "{bytes}");
        assert!(plain.reason.starts_with("HTTP with 127.0.0.1:"), "{plain}");
        assert!(!format!("{plain} {rotating}").contains("CANARY"));
    }
}

#[tokio::test]
async fn nobody_there_loses_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut source = source(port);
    rotates(&mut source);
    let error =
        ask(&OAuth2Tokens::new(&source, &Egress::default()).unwrap(), &Asking::default()).await.unwrap_err();
    assert_eq!(error.kind, Unreached);
    assert!(error.reason.starts_with("connect to 127.0.0.1"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = format!("location: http://{}/evil\r\n", other.local_addr().unwrap());
    let header: &'static str = elsewhere.leak();
    for line in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let (said, kinds) = judged(|| Reply::Whole(line, header, String::new())).await;
        assert_eq!(said, format!("the token endpoint answered {line}, and a redirect is not followed"));
        assert_eq!(kinds, [Passing, Passing]);
    }
    // Connections are accepted in the order in which they came: the first is the test's own.
    let own = tokio::net::TcpStream::connect(other.local_addr().unwrap()).await.unwrap();
    let (_, first) = other.accept().await.unwrap();
    assert_eq!(first, own.local_addr().unwrap(), "nobody came");
}

#[tokio::test]
async fn a_compressed_answer_is_said() {
    let make = || Reply::Whole("200 OK", "content-encoding: gzip\r\n", "CANARY".to_owned());
    let judged = judged(make).await;
    assert_eq!(judged, ("the answer is compressed, which was not asked for".to_owned(), [Passing, Lost]));
}
