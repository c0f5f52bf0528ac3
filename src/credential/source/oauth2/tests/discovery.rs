//! An issuer's document: found, kept, thrown away, and wrong in each way.

use super::*;
use crate::credential::keeper::FailureKind::{Lost, Passing, Unreached};

/// A document of this server as it should be, with the issuer's path.
fn document(path: &str, more: &str) -> Reply {
    let issuer = format!("http://127.0.0.1:{{port}}{path}");
    ok(&format!(r#"{{"issuer":"{issuer}","token_endpoint":"http://127.0.0.1:{{port}}/found?x=1"{more}}}"#))
}

fn found_by(port: u16, path: &str) -> OAuth2Source {
    let issuer = address(&format!("http://127.0.0.1:{port}{path}"));
    OAuth2Source { server: AuthorizationServer::Issuer(issuer), ..source(port) }
}

/// One fetch by an issuer with this path.
async fn fetch_by(path: &str, replies: &[Reply]) -> (Result<Issued, SourceError>, Vec<String>) {
    beside(replies, async |port| {
        let mut source = found_by(port, path);
        rotates(&mut source);
        ask(&OAuth2Tokens::new(&source, &Egress::default()).unwrap(), &Asking::default()).await
    })
    .await
}

fn lines(seen: &[String]) -> Vec<&str> {
    seen.iter().map(|request| request.lines().next().unwrap().trim_end_matches(" HTTP/1.1")).collect()
}

const OPENID: &str = "GET /.well-known/openid-configuration";
const POST: &str = "POST /found?x=1";

#[tokio::test]
async fn each_document_is_where_its_standard_says() {
    let (issued, seen) = fetch_by("", &[document("", ""), ok(TOKEN)]).await;
    assert_eq!(issued.unwrap().text, "abc");
    assert_eq!(lines(&seen), [OPENID, POST]);
    for path in ["/realms/a", "/realms/a/"] {
        let (issued, seen) = fetch_by(path, &[document(path, ""), ok(TOKEN)]).await;
        assert_eq!(issued.unwrap().text, "abc");
        assert_eq!(lines(&seen), ["GET /realms/a/.well-known/openid-configuration", POST]);
        let (issued, seen) =
            fetch_by(path, &[status("404 Not Found", ""), document(path, ""), ok(TOKEN)]).await;
        assert_eq!(issued.unwrap().text, "abc");
        let other = "GET /.well-known/oauth-authorization-server/realms/a";
        assert_eq!(lines(&seen), ["GET /realms/a/.well-known/openid-configuration", other, POST]);
    }
}

#[tokio::test]
async fn it_is_kept_for_an_hour() {
    let replies = [document("", ""), ok(TOKEN), ok(TOKEN), document("", ""), ok(TOKEN)];
    let ((), seen) = beside(&replies, async |port| {
        let tokens = OAuth2Tokens::new(&found_by(port, ""), &Egress::default()).unwrap();
        let start = now();
        for minutes in [0, 59, 60] {
            let mono = start.mono + Duration::from_secs(minutes * 60);
            let later = Now { mono, ..start };
            tokens.fetch(&Asking::default(), later, start.mono + AMPLE).await.unwrap();
        }
    })
    .await;
    assert_eq!(lines(&seen), [OPENID, POST, POST, OPENID, POST]);
}

#[tokio::test]
async fn it_is_thrown_away_where_the_endpoint_is_gone() {
    for gone in ["404 Not Found", "405 Method Not Allowed"] {
        let replies = [document("", ""), status(gone, ""), document("", ""), ok(TOKEN)];
        let (results, seen) = beside(&replies, async |port| {
            let tokens = OAuth2Tokens::new(&found_by(port, ""), &Egress::default()).unwrap();
            [ask(&tokens, &Asking::default()).await.is_ok(), ask(&tokens, &Asking::default()).await.is_ok()]
        })
        .await;
        assert_eq!((results, lines(&seen)), ([false, true], vec![OPENID, POST, OPENID, POST]));
    }
    // An answer of its own, even a bad one, is no reason.
    let replies = [document("", ""), status("500 Internal Server Error", ""), ok(TOKEN)];
    let (_, seen) = beside(&replies, async |port| {
        let tokens = OAuth2Tokens::new(&found_by(port, ""), &Egress::default()).unwrap();
        ask(&tokens, &Asking::default()).await.unwrap_err();
        ask(&tokens, &Asking::default()).await.unwrap();
    })
    .await;
    assert_eq!(lines(&seen), [OPENID, POST, POST]);
}

#[tokio::test]
async fn it_is_thrown_away_where_nobody_can_be_dialled() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = gone.local_addr().unwrap();
    drop(gone);
    let moved = format!(r#"{{"issuer":"http://127.0.0.1:{{port}}","token_endpoint":"http://{dead}/t"}}"#);
    let (error, seen) = beside(&[ok(&moved), document("", ""), ok(TOKEN)], async |port| {
        let mut source = found_by(port, "");
        rotates(&mut source);
        let tokens = OAuth2Tokens::new(&source, &Egress::default()).unwrap();
        let error = ask(&tokens, &Asking::default()).await.unwrap_err();
        ask(&tokens, &Asking::default()).await.unwrap();
        error
    })
    .await;
    assert_eq!((error.kind, lines(&seen)), (Unreached, vec![OPENID, OPENID, POST]));
}

#[tokio::test]
async fn each_thing_that_is_wrong_with_it_is_said_and_passes() {
    let at =
        |issuer: &str, endpoint: &str| ok(&format!(r#"{{"issuer":{issuer},"token_endpoint":{endpoint}}}"#));
    let own = r#""http://127.0.0.1:{port}""#;
    let another = "its document is of another issuer; write issuer exactly as the server does, the slash at its end \
                   included";
    let long = format!("\"http://h/{}\"", "x".repeat(5000));
    let redirect = || Reply::Whole("302 Found", "location: http://CANARY/\r\n", String::new());
    let gzip = || Reply::Whole("200 OK", "content-encoding: gzip\r\n", "CANARY".to_owned());
    let cases = [
        (at(r#""http://127.0.0.1:{port}/""#, own), another),
        (at(r#""http://CANARY""#, own), another),
        (at("5", own), "its document names no `issuer`"),
        (ok("{}"), "its document names no `issuer`"),
        (at(own, "7"), "its document names no `token_endpoint`"),
        (
            at(own, r#""/CANARY""#),
            "its `token_endpoint` cannot be used: expected a URL that begins with https:// or http://: relative URL \
             without a base",
        ),
        (
            at(own, r#""ftp://CANARY/""#),
            "its `token_endpoint` cannot be used: expected a URL that begins with https:// or http://",
        ),
        (
            at(own, r#""http://CANARY:CANARY@h/""#),
            "its `token_endpoint` cannot be used: a URL is shown in logs: take the user and the password out of it",
        ),
        (
            at(own, r##""http://h/#CANARY""##),
            "its `token_endpoint` cannot be used: a fragment (\"#…\") is never sent; remove it",
        ),
        (at(own, &long), "its `token_endpoint` is longer than 4 KiB"),
        (ok("[]"), "the answer is no JSON object"),
        (ok("CANARY"), "the answer is no JSON object"),
        (ok(""), "the answer is empty"),
        (ok("<html>CANARY"), "the answer is HTML: a login or an error page?"),
        (gzip(), "the answer is compressed, which was not asked for"),
        (status("500 Internal Server Error", "CANARY"), "it answered 500 Internal Server Error"),
        (status("401 Unauthorized", "CANARY"), "it answered 401 Unauthorized"),
        (redirect(), "it answered 302 Found, and a redirect is not followed"),
        (Reply::Endless, "the answer is larger than 65536 bytes"),
    ];
    for (reply, said) in cases {
        let (result, seen) = fetch_by("", &[reply]).await;
        let error = result.unwrap_err();
        let (head, rest) = error.reason.split_at("discovery at 127.0.0.1:".len());
        assert_eq!((head, error.kind), ("discovery at 127.0.0.1:", Passing), "{error}");
        assert_eq!(rest.split_once(": ").unwrap().1, said);
        assert_eq!(lines(&seen), [OPENID], "and nothing was asked for");
        assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
    }
    let (result, seen) = fetch_by("", &[status("404 Not Found", ""), status("404 Not Found", "")]).await;
    assert!(result.unwrap_err().reason.ends_with(": it answered 404 Not Found"));
    assert_eq!(seen.len(), 2);
    let busy = Reply::Whole("503 Service Unavailable", "retry-after: 9\r\n", String::new());
    assert_eq!(fetch_by("", &[busy]).await.0.unwrap_err().retry_after, Some(Duration::from_secs(9)));
}

#[tokio::test]
async fn the_deadline_is_one_for_the_document_and_the_token() {
    for (replies, kind) in [(vec![Reply::Drip], Passing), (vec![document("", ""), Reply::Drip], Lost)] {
        let (result, seen) = beside(&replies, async |port| {
            let mut source = found_by(port, "");
            rotates(&mut source);
            let (tokens, now) = (OAuth2Tokens::new(&source, &Egress::default()).unwrap(), now());
            tokens.fetch(&Asking::default(), now, now.mono + SHORT).await
        })
        .await;
        let error = result.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.reason.contains("no complete answer in time"), "{error}");
        assert_eq!(seen.len(), replies.len());
    }
}

#[test]
fn from_https_nothing_goes_to_http_and_a_name_is_for_its_host() {
    let issuer = address("https://auth.test");
    let (dir, _) = tls::certificates("auth.test");
    let tls = UpstreamTls {
        ca: Some(dir.path().join("ca")),
        identity: None,
        server_name: Some("inside.test".to_owned()),
    };
    let discovery = Discovery::new(&issuer, &tls, &Egress::default()).unwrap();
    let endpoint = |url: &str| {
        let document = serde_json::json!({ "issuer": "https://auth.test", "token_endpoint": url });
        discovery.endpoint(document.as_object().unwrap())
    };
    assert_eq!(
        endpoint("http://auth.test/t").unwrap_err(),
        "its `token_endpoint` is not https://, and the issuer is"
    );
    let own = endpoint("https://auth.test:8443/t?x=1").unwrap();
    assert_eq!((own.target.as_str(), own.url.as_str()), ("/t?x=1", "https://auth.test:8443/t?x=1"));
    assert_eq!(own.dialer.server_name().as_deref(), Some("inside.test"));
    assert_eq!(endpoint("https://other.test/t").unwrap().dialer.server_name().as_deref(), Some("other.test"));
}

#[test]
fn who_shows_a_certificate_asks_at_the_address_for_that() {
    let (dir, _) = tls::certificates("auth.test");
    let path = |name: &str| dir.path().join(name);
    let shown = UpstreamTls { identity: Some((path("certificate"), path("key"))), ..UpstreamTls::default() };
    let document = serde_json::json!({
        "issuer": "https://auth.test", "token_endpoint": "https://auth.test/t",
        "mtls_endpoint_aliases": { "token_endpoint": "https://mtls.auth.test/t" },
    });
    let url = |tls: &UpstreamTls| {
        let discovery = Discovery::new(&address("https://auth.test"), tls, &Egress::default()).unwrap();
        discovery.endpoint(document.as_object().unwrap()).unwrap().url
    };
    assert_eq!(url(&shown), "https://mtls.auth.test/t");
    assert_eq!(url(&UpstreamTls::default()), "https://auth.test/t");
}

#[test]
fn a_proof_that_is_not_listed_is_news_once() {
    let discovery =
        Discovery::new(&address("http://h"), &UpstreamTls::default(), &Egress::default()).unwrap();
    let listed = |methods: serde_json::Value| {
        let document = serde_json::json!({ "token_endpoint_auth_methods_supported": methods });
        discovery.look_at_auth(document.as_object().unwrap(), &ClientAuth::Basic(Secret::literal("x")))
    };
    let seen = [
        listed(serde_json::json!(["client_secret_basic"])),
        listed(serde_json::json!(["client_secret_post"])),
        listed(serde_json::json!(["client_secret_post"])),
        listed(serde_json::json!(null)),
        listed(serde_json::json!([])),
    ];
    assert_eq!(seen, [false, true, false, false, true]);
}
