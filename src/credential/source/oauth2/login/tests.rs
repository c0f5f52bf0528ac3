//! Logins at a server that says what it is told to, with a person who is played.
//!
//! Each of these bugs was planted, one at a time, and was seen to be caught:
//! `slow_down` is as good as `authorization_pending` · a server that is away once ends the login · or never does · the code
//! has no end · the verifier is another one · the state is not looked at · or the issuer · configured parameters are in the
//! URL · the scope of the command line is added to the configured one · a server that is asked by https sends a person, or
//! is sent a secret, to http · an endless answer is asked for again.

use std::{collections::BTreeMap, sync::Mutex};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    super::tests::{Reply, address, beside, form, ok, source, status},
    device::Pace,
    *,
};
use crate::{
    config::{AuthorizationServer, ClientAuth, Grant, Secret},
    net::Egress,
};

const AMPLE: Duration = Duration::from_secs(20);
const CODES: &str = r#"{"device_code":"DEV-CANARY","user_code":"WDJB-MJHT","verification_uri":"http://h/device",
    "verification_uri_complete":"http://h/device?c=WDJB","expires_in":1800,"interval":7}"#;
const TOKEN: &str =
    r#"{"access_token":"AT-CANARY","token_type":"Bearer","refresh_token":"first","refresh_expires_in":60}"#;
const PENDING: &str = r#"{"error":"authorization_pending"}"#;

fn metadata(more: &str) -> Reply {
    let at = |name: &str, path: &str| format!(r#""{name}":"http://127.0.0.1:{{port}}{path}","#);
    let all = [
        at("issuer", ""),
        at("token_endpoint", "/token"),
        at("authorization_endpoint", "/auth?tenant=blue"),
        more.to_owned(),
    ];
    ok(&format!("{{{}\"x\":1}}", all.concat()))
}

const WITH_DEVICE: &str = r#""device_authorization_endpoint":"http://127.0.0.1:{port}/device","#;

/// A client with a secret, whose server has a document.
fn client(port: u16) -> OAuth2Source {
    OAuth2Source {
        server: AuthorizationServer::Issuer(address(&format!("http://127.0.0.1:{port}"))),
        grant: Grant::RefreshToken(Secret::file("/nonexistent")),
        client_auth: ClientAuth::Post(Secret::literal("SECRET-CANARY")),
        scope: vec![Template::parse("realtime")],
        audience: vec![Template::parse("https://api")],
        parameters: vec![("configured".to_owned(), Template::parse("PARAMETER-CANARY"))],
        ..source(port)
    }
}

fn fields(request: &str) -> BTreeMap<String, String> {
    form(request).into_iter().collect()
}

fn refused(code: &str) -> Reply {
    status("400 Bad Request", &format!(r#"{{"error":"{code}"}}"#))
}

fn failed<T: std::fmt::Debug>(result: Result<T, LoginError>) -> String {
    match result {
        Err(LoginError::Failed(message)) => message.replace("127.0.0.1", "HOST"),
        other => panic!("{other:?}"),
    }
}

/// A device login in quick steps, after its document.
async fn device(replies: Vec<Reply>) -> (Result<Got, LoginError>, Vec<String>) {
    let mut all = vec![metadata(WITH_DEVICE)];
    all.extend(replies);
    beside(&all, async |port| quick(port, &Options::default()).await).await
}

async fn quick(port: u16, options: &Options) -> Result<Got, LoginError> {
    match Login::begin(&client(port), options, &Egress::default(), AMPLE).await? {
        Login::Device(mut device) => {
            device.pace = Pace { interval: Duration::from_millis(5), step: Duration::from_millis(5) };
            device.finish().await
        }
        Login::Browser(browser) => panic!("{browser:?}"),
    }
}

#[tokio::test]
async fn a_code_is_shown_and_asked_for_until_somebody_has_entered_it() {
    let replies =
        [metadata(WITH_DEVICE), ok(CODES), refused("authorization_pending"), ok(PENDING), ok(TOKEN)];
    let (got, seen) = beside(&replies, async |port| {
        let options = Options {
            scope: Some("a offline_access".to_owned()),
            parameters: vec![("prompt".to_owned(), "consent".to_owned())],
            ..Options::default()
        };
        let Login::Device(mut device) =
            Login::begin(&client(port), &options, &Egress::default(), AMPLE).await.unwrap()
        else {
            panic!("the metadata has a device endpoint")
        };
        assert_eq!(
            (&*device.address, &*device.user_code, device.complete.as_deref(), device.good_for),
            ("http://h/device", "WDJB-MJHT", Some("http://h/device?c=WDJB"), Duration::from_secs(1800))
        );
        assert_eq!(device.pace, Pace { interval: Duration::from_secs(7), step: Duration::from_secs(5) });
        device.pace.interval = Duration::from_millis(5);
        device.finish().await.unwrap()
    })
    .await;
    assert_eq!(&*got.refresh_token, "first");
    let left = got.ends.unwrap().saturating_sub(Now::read().wall).as_secs();
    assert!((50..=60).contains(&left), "{left}");
    assert!(seen[1].starts_with("POST /device "), "{}", seen[1]);
    let asked = fields(&seen[1]);
    for (name, value) in [
        ("client_id", "me"),
        ("client_secret", "SECRET-CANARY"),
        ("scope", "a offline_access"),
        ("audience", "https://api"),
        ("configured", "PARAMETER-CANARY"),
        ("prompt", "consent"),
    ] {
        assert_eq!(asked[name], value, "{name}");
    }
    for poll in &seen[2..] {
        assert!(poll.starts_with("POST /token "), "{poll}");
        let asked = fields(poll);
        assert_eq!(asked["grant_type"], "urn:ietf:params:oauth:grant-type:device_code");
        assert_eq!((&*asked["device_code"], &*asked["client_secret"]), ("DEV-CANARY", "SECRET-CANARY"));
    }
}

#[tokio::test]
async fn a_server_that_wants_to_be_asked_less_often_is() {
    let replies = [ok(CODES), refused("slow_down"), refused("slow_down"), ok(TOKEN)];
    let mut all = vec![metadata(WITH_DEVICE)];
    all.extend(replies);
    let (took, _) = beside(&all, async |port| {
        let Login::Device(mut device) =
            Login::begin(&client(port), &Options::default(), &Egress::default(), AMPLE).await.unwrap()
        else {
            panic!("the metadata has a device endpoint")
        };
        device.pace = Pace { interval: Duration::ZERO, step: Duration::from_millis(200) };
        let began = crate::clock::now();
        device.finish().await.unwrap();
        began.elapsed()
    })
    .await;
    assert!(took >= Duration::from_millis(600), "0, 200 and 400 ms: {took:?}");
}

#[tokio::test]
async fn a_server_that_is_away_for_a_moment_costs_no_login() {
    let away = || status("503 Service Unavailable", "<html>");
    let (got, _) =
        device(vec![ok(CODES), away(), Reply::Cut(""), refused("authorization_pending"), away(), ok(TOKEN)])
            .await;
    assert_eq!(&*got.unwrap().refresh_token, "first");
    let (got, seen) = device(vec![ok(CODES), away(), away(), away()]).await;
    assert_eq!(failed(got), "the token endpoint answered 503 Service Unavailable");
    assert_eq!(seen.len(), 5);
}

#[tokio::test]
async fn each_end_of_the_polling_is_said() {
    let none = "the token endpoint gave an access token, and no refresh token beside it; most servers want the scope \
                offline_access: add --scope \"realtime offline_access\"; Google wants --way browser --parameter \
                access_type=offline --parameter prompt=consent";
    for (reply, said) in [
        (
            refused("access_denied"),
            "the token endpoint answered 400 Bad Request (access_denied): somebody refused the login, or may not let \
             this client in",
        ),
        (
            ok(r#"{"error":"expired_token"}"#),
            "the token endpoint answered 200 OK (expired_token): the code has ended before anybody entered it; log in \
             again",
        ),
        (
            status("401 Unauthorized", r#"{"error":"invalid_client","error_description":"no DEV-CANARY"}"#),
            "the token endpoint answered 401 Unauthorized (invalid_client) \"no ***\": the client was refused; check \
             client_id, client_auth and the secret in client_secret of the configuration",
        ),
        (ok(r#"{"access_token":"a"}"#), none),
        (ok(r#"{"access_token":"a","refresh_token":""}"#), none),
        (
            ok(r#"{"access_token":"a","refresh_token":7}"#),
            "the token endpoint: the new refresh token cannot be used: it is no string",
        ),
        (ok("<html>"), "the token endpoint: the answer is HTML: a login or an error page?"),
        (Reply::Endless, "the token endpoint: the answer is larger than 65536 bytes"),
    ] {
        let (got, _) = device(vec![ok(CODES), reply]).await;
        assert_eq!(failed(got), said);
    }
}

#[tokio::test]
async fn a_code_has_an_end() {
    let replies = [metadata(WITH_DEVICE), ok(&CODES.replace("1800", "0.3"))];
    let (got, _) = beside(&replies, async |port| {
        match Login::begin(&client(port), &Options::default(), &Egress::default(), AMPLE).await.unwrap() {
            Login::Device(device) => device.finish().await,
            Login::Browser(browser) => panic!("{browser:?}"),
        }
    })
    .await;
    assert_eq!(failed(got), "nobody entered the code within 300ms; log in again");
}

#[tokio::test]
async fn each_bad_answer_to_the_request_for_a_code_is_said() {
    let without = |name: &str| ok(&CODES.replace(&format!("\"{name}\""), "\"other\""));
    let with = |from: &str, to: &str| ok(&CODES.replace(from, to));
    for (reply, said) in [
        (ok("<html>"), ": the answer is HTML: a login or an error page?"),
        (ok(""), ": the answer is empty"),
        (ok("[1]"), ": the answer is JSON but no object"),
        (ok("words"), ": the answer is neither JSON nor a token"),
        (without("device_code"), ": the answer has no `device_code`"),
        (without("user_code"), ": the answer has no `user_code`"),
        (without("verification_uri"), ": the answer has no `verification_uri`"),
        (without("expires_in"), ": the answer has no `expires_in`"),
        (with("\"DEV-CANARY\"", "7"), ": `device_code` has the wrong type"),
        (with("\"WDJB-MJHT\"", "[]"), ": `user_code` has the wrong type"),
        (with("WDJB-MJHT", ""), ": `user_code` is empty"),
        (with("WDJB-MJHT", "a\\u001b[2J"), ": `user_code` is nothing that a person could enter"),
        (with("\"http://h/device\"", "{}"), ": `verification_uri` has the wrong type"),
        (
            with("\"http://h/device\"", "\"javascript:alert(1)\""),
            ": `verification_uri` is no address that a person could be sent to",
        ),
        (with("1800", "\"soon\""), ": `expires_in` has the wrong type"),
        (with("1800", "-1"), ": `expires_in` has the wrong type"),
        (with(":7", ":true"), ": `interval` has the wrong type"),
        (
            Reply::Whole("302 Found", "location: http://CANARY/\r\n", String::new()),
            " answered 302 Found, and a redirect is not followed",
        ),
        (status("404 Not Found", "<html>"), " answered 404 Not Found: check its address"),
        (status("500 Internal Server Error", "CANARY"), " answered 500 Internal Server Error"),
        (
            refused("unauthorized_client"),
            " answered 400 Bad Request (unauthorized_client): the server does not let this client log in so; allow it \
             there, or try the other --way",
        ),
        (
            refused("invalid_scope"),
            " answered 400 Bad Request (invalid_scope): the server does not grant this scope to this client; check scope",
        ),
        (ok(r#"{"error":"slow_down"}"#), " answered 200 OK (slow_down)"),
        (Reply::Endless, ": the answer is larger than 65536 bytes"),
    ] {
        let (got, _) = device(vec![reply]).await;
        assert_eq!(failed(got), format!("the device authorization endpoint{said}"));
    }
    let (got, _) = beside(&[metadata(WITH_DEVICE), Reply::Silent(String::new())], async |port| {
        Login::begin(&client(port), &Options::default(), &Egress::default(), Duration::from_secs(1)).await
    })
    .await;
    assert_eq!(failed(got), "the device authorization endpoint: no complete answer in time");
}

/// What a browser is told at this address of the loopback port: the status, and the page.
async fn visit(port: u16, target: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    socket.write_all(format!("GET {target} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let page = answer.split_once("\r\n\r\n").map(|(_, page)| page.to_owned()).unwrap_or_default();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), page)
}

fn query(url: &str) -> BTreeMap<String, String> {
    url::Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

/// A login in a browser, whose person is `person`.
async fn browser(
    replies: &[Reply],
    options: Options,
    person: impl AsyncFnOnce(u16, BTreeMap<String, String>),
) -> (Result<Got, LoginError>, Vec<String>) {
    beside(replies, async |port| {
        match Login::begin(&client(port), &options, &Egress::default(), AMPLE).await? {
            Login::Browser(browser) => {
                let (port, url) = (browser.port, query(&browser.url));
                tokio::join!(browser.finish(), person(port, url)).0
            }
            Login::Device(device) => panic!("{device:?}"),
        }
    })
    .await
}

#[tokio::test]
async fn a_browser_brings_a_code_and_only_the_verifier_redeems_it() {
    let options =
        Options { parameters: vec![("access_type".to_owned(), "offline".to_owned())], ..Options::default() };
    let opened = Mutex::new(BTreeMap::new());
    let (got, seen) = browser(&[metadata(""), ok(TOKEN)], options, async |port, url| {
        assert_eq!(url["redirect_uri"], format!("http://127.0.0.1:{port}/callback"));
        let state = &url["state"];
        assert_eq!(visit(port, "/favicon.ico").await.0, 404);
        for bad in ["", "?code=evil", "?code=evil&state=", "?code=evil&state=other"] {
            assert_eq!(visit(port, &format!("/callback{bad}")).await.0, 400, "{bad}");
        }
        let (status, page) = visit(port, &format!("/callback?code=CODE-CANARY&state={state}")).await;
        assert_eq!(status, 200);
        assert!(!page.contains("CANARY"), "{page}");
        *opened.lock().unwrap() = url;
    })
    .await;
    assert_eq!(&*got.unwrap().refresh_token, "first");
    let url = opened.into_inner().unwrap();
    for (name, value) in [
        ("tenant", "blue"),
        ("response_type", "code"),
        ("client_id", "me"),
        ("scope", "realtime"),
        ("audience", "https://api"),
        ("access_type", "offline"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(url[name], value, "{name}");
    }
    assert!(!format!("{url:?}").contains("CANARY"), "{url:?}");
    let asked = fields(&seen[1]);
    for (name, value) in [
        ("grant_type", "authorization_code"),
        ("code", "CODE-CANARY"),
        ("redirect_uri", &url["redirect_uri"]),
        ("client_secret", "SECRET-CANARY"),
        ("configured", "PARAMETER-CANARY"),
    ] {
        assert_eq!(asked[name], value, "{name}");
    }
    let verifier = &asked["code_verifier"];
    assert!((43..=128).contains(&verifier.len()), "{verifier}");
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    assert_eq!(URL_SAFE_NO_PAD.encode(hash), url["code_challenge"]);
}

#[tokio::test]
async fn a_no_by_way_of_the_browser_is_said() {
    let no = "error=access_denied&error_description=not+you";
    let (got, _) = browser(&[metadata("")], Options::default(), async |port, url| {
        let target = format!("/callback?{no}&state={}", url["state"]);
        assert_eq!(visit(port, &target).await.0, 200);
    })
    .await;
    assert_eq!(
        failed(got),
        "the authorization endpoint said no (access_denied) \"not you\": somebody refused the login, or may not let this \
         client in"
    );
    let spent = status("400 Bad Request", r#"{"error":"invalid_grant","error_description":"CODE-CANARY?"}"#);
    let (got, _) = browser(&[metadata(""), spent], Options::default(), async |port, url| {
        visit(port, &format!("/callback?code=CODE-CANARY&state={}", url["state"])).await;
    })
    .await;
    assert_eq!(
        failed(got),
        "the token endpoint answered 400 Bad Request (invalid_grant) \"***?\": the code has ended, or it was used before; \
         log in again"
    );
}

#[tokio::test]
async fn nobody_is_waited_for_without_an_end() {
    let options = Options { timeout: Some(Duration::from_millis(300)), ..Options::default() };
    let (got, _) = browser(&[metadata("")], options, async |port, _| {
        // Connections that say nothing keep nobody.
        let mut idle = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // It is closed when the wait is over.
        let _ = idle.read(&mut [0]).await;
    })
    .await;
    assert_eq!(failed(got), "no answer came from the browser in time; log in again");
}

#[tokio::test]
async fn a_port_that_somebody_has_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let options = Options { port: Some(port), ..Options::default() };
    let (got, _) = browser(&[metadata("")], options, async |_, _| {}).await;
    assert_eq!(failed(got), format!("cannot listen on HOST:{port}: address in use"));
}

/// Which way it goes, or what is wrong with the command line; without any request if the server is not asked.
async fn way(options: Options, change: impl FnOnce(&mut OAuth2Source), replies: &[Reply]) -> String {
    let begun = beside(replies, async |port| {
        let mut source = client(port);
        change(&mut source);
        Login::begin(&source, &options, &Egress::default(), AMPLE).await
    });
    match begun.await.0 {
        Ok(Login::Device(_)) => "device".to_owned(),
        Ok(Login::Browser(browser)) => browser.url.split(['?', '&']).next().unwrap_or_default().to_owned(),
        Err(LoginError::Usage(message)) => message,
        Err(LoginError::Failed(message)) => panic!("{message}"),
    }
}

#[tokio::test]
async fn the_way_is_chosen_by_the_operator_or_by_the_server() {
    let url = |url: &str| Some(url.to_owned());
    let token_url = |source: &mut OAuth2Source| {
        source.server = AuthorizationServer::TokenUrl(address("https://auth.test/token"));
    };
    let options = Options { way: Some(Way::Browser), ..Options::default() };
    let said = way(options, |_| {}, &[metadata(WITH_DEVICE)]).await;
    assert!(said.ends_with("/auth"), "{said}");
    let options = Options { authorize_url: url("https://auth.test/x"), ..Options::default() };
    assert_eq!(way(options.clone(), |_| {}, &[metadata(WITH_DEVICE)]).await, "https://auth.test/x");
    assert_eq!(way(options.clone(), token_url, &[]).await, "https://auth.test/x");
    let none = way(Options::default(), token_url, &[]).await;
    assert!(none.contains("add --device-url URL or --authorize-url URL"), "{none}");
    let both = Options { device_url: url("https://auth.test/d"), ..options.clone() };
    assert!(way(both, token_url, &[]).await.contains("leave one of the two out"));
    let wrong = Options { way: Some(Way::Device), ..options };
    assert!(way(wrong, token_url, &[]).await.contains("--authorize-url has no effect with --way device"));
    for (bad, said) in [
        ("http://auth.test/x", "--device-url: is not https://, and the server of the configuration is"),
        (
            "auth",
            "--device-url: expected a URL that begins with https:// or http://: relative URL without a base",
        ),
    ] {
        let options = Options { device_url: url(bad), ..Options::default() };
        assert_eq!(way(options, token_url, &[]).await, said);
    }
    let own = vec![("state".to_owned(), "x".to_owned())];
    let options = Options { way: Some(Way::Browser), parameters: own, ..Options::default() };
    assert!(way(options, |_| {}, &[metadata("")]).await.contains("state is set by Perennial"));
}

#[tokio::test]
async fn a_way_that_the_server_does_not_have_is_said_with_the_other() {
    let options = Options { way: Some(Way::Device), ..Options::default() };
    let (got, _) = beside(&[metadata("")], async |port| {
        Login::begin(&client(port), &options, &Egress::default(), AMPLE).await
    })
    .await;
    let said = failed(got);
    assert!(
        said.ends_with(
            "names no `device_authorization_endpoint`; add --device-url URL, or try --way browser"
        ),
        "{said}"
    );
}
