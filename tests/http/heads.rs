//! What a request and an answer have in their heads when they arrive.
//!
//! Broken on purpose, and caught: the client's `Authorization` stays beside another header · what an answer's
//! `Connection` names goes on · nobody is asked for the secret or the origin · a page is let in by any `Host`
//! · a `Location` that quotes the token goes on.

use super::{LAST, OK, OWN, Stage, get, route, tokens};
use crate::sidecar::Sidecar;
use crate::support::{http::ask, plain, service::Service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_takes_the_place_of_the_clients_own() {
    let stage = Stage::start("", "").await;
    for more in [
        String::new(),
        format!("Authorization: {OWN}\r\n"),
        format!("Authorization: {OWN}\r\naUTHORIZATION: {OWN}\r\n"),
        format!("Authorization: {OWN}\r\nConnection: Authorization\r\n"),
    ] {
        let (answer, _, asked) = stage.play(get("/a%2Fb?c=d&e", &more), OK).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(asked.head.first, "GET /base/a%2Fb?c=d&e HTTP/1.1");
        assert_eq!(asked.head.get("authorization"), Some("Bearer token-1"));
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_may_have_a_header_of_its_own() {
    let stage = Stage::start("", "header = \"X-Api-Key: key {token}\"").await;
    let more = format!("Authorization: {OWN}\r\nX-Api-Key: {OWN}\r\nx_api_key: {OWN}\r\nX-Other: 1\r\n");
    let (_, _, asked) = stage.play(get("/", &more), OK).await;
    assert_eq!(asked.head.get("x-api-key"), Some("key token-1"));
    assert_eq!(asked.head.get("x-other"), Some("1"));
    assert!(!format!("{:?}", asked.head).contains("the-clients-own"), "{:?}", asked.head);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_of_the_hop_stays_on_it_both_ways() {
    let stage = Stage::start("", "").await;
    let more = "Connection: X-Of-This-Hop, close\r\nX-Of-This-Hop: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n\
                Proxy-Authorization: Basic hop\r\nProxy-Connection: keep-alive\r\nTrailer: X-T\r\n\
                Accept: a/b\r\nCookie: a=1\r\nCookie: b=2\r\nUser-Agent: old client/1.0\r\n";
    let answer = "HTTP/1.1 207 Multi-Status\r\nConnection: X-Of-That-Hop\r\nX-Of-That-Hop: 1\r\n\
                  Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nTrailer: X-T\r\nUpgrade: h2c\r\n\
                  Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nETag: \"e\"\r\nContent-Length: 2\r\n\r\nok";
    let (answered, mut client, asked) = stage.play(get("/", more), answer).await;
    let host = format!("127.0.0.1:{}", stage.service.port);
    assert_eq!(asked.head.get("host"), Some(&*host));
    assert_eq!(
        (asked.head.get("accept"), asked.head.get("user-agent")),
        (Some("a/b"), Some("old client/1.0"))
    );
    assert_eq!(asked.head.all("cookie"), ["a=1", "b=2"]);
    let mut names: Vec<&str> = asked.head.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "authorization", "cookie", "cookie", "host", "user-agent"], "and no other");
    assert_eq!(answered.first, "HTTP/1.1 207 Multi-Status");
    assert_eq!(answered.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!((answered.get("etag"), answered.get("content-length")), (Some("\"e\""), Some("2")));
    assert_eq!(answered.get("connection"), Some("close"), "the client asked for it");
    for name in ["x-of-that-hop", "keep-alive", "proxy-authenticate", "trailer", "upgrade"] {
        assert_eq!(answered.get(name), None, "{name}");
    }
    assert_eq!(client.rest().await, b"ok");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_passed_and_not_followed_and_quotes_no_token() {
    let stage = Stage::start("", "").await;
    for (location, kept) in [("/elsewhere", true), ("/?token=token-1", false), ("/?t=%74oken%2D1", false)] {
        let answer =
            format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nX-Kept: 1\r\nContent-Length: 2\r\n\r\nok");
        let (answered, ..) = stage.play(get("/", ""), &answer).await;
        assert_eq!((answered.status(), answered.get("x-kept")), (302, Some("1")));
        assert_eq!(answered.get("location"), kept.then_some(location));
    }
    assert!(stage.service.is_alone().await);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_but_connect_and_trace_goes_on() {
    let stage = Stage::start("", "").await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        let (answer, _, asked) = stage.play(get("/", "").replace("GET", method), LAST).await;
        assert_eq!((answer.status(), asked.head.first), (200, format!("{method} /base/ HTTP/1.1")));
    }
    let (status, said) = stage.refused("CONNECT example.com:443 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((status, said.as_str()), (405, "CONNECT is not served\n"));
    stage.end().await;
}

/// Without `[route.http]` a plain request is 404, and says why; a broken handshake is what it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_without_the_table_has_no_plain_requests() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&(plain(service.port) + "path = \"/ws\"\n")).await;
    for (request, status, said) in [
        (get("/ws", ""), 404, "this route has no [route.http]: it serves WebSocket only, and this is no"),
        (get("/other", ""), 404, "no route has this path"),
        (get("/ws/../x", ""), 400, "a path with . or .. is not served"),
        (
            get("/ws", "Upgrade: h2c\r\n"),
            404,
            "this route has no [route.http]: it serves WebSocket only, and this",
        ),
        (get("/ws", "Upgrade: websocket\r\n"), 400, "the Connection header must say Upgrade"),
    ] {
        let (answer, mut wire) = ask(sidecar.port, request).await;
        assert_eq!((answer.status(), answer.get("connection")), (status, Some("close")));
        let text = String::from_utf8(wire.rest().await).unwrap();
        assert!(text.starts_with(said), "{text}");
    }
    assert!(service.is_alone().await);
}

/// A route with no token: the client's credential is the service's to judge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_the_clients_own_goes_on() {
    let service = Service::start().await;
    let text =
        format!("{}[route.http]\nupstream = \"http://127.0.0.1:{}\"\n", plain(service.port), service.port);
    let stage = Stage { sidecar: Sidecar::start(&text).await, service };
    let (answer, _, asked) = stage.play(get("/x", &format!("Authorization: {OWN}\r\n")), OK).await;
    assert_eq!((answer.status(), asked.head.target()), (200, "/x"));
    assert_eq!(asked.head.get("authorization"), Some(OWN));
    assert!(!stage.sidecar.stop().await.contains("the-clients-own"));
}

/// The same door as for a WebSocket, and what lets in does not go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_come_in_is_who_may_open_a_websocket() {
    let service = Service::start().await;
    let gate = "[route.client]\nsecret = \"open-sesame\"\norigins = [\"https://good.example\"]\n";
    let text = route(service.port, tokens().await) + gate;
    let stage = Stage { sidecar: Sidecar::start_with(&text, "debug").await, service };
    for (target, more) in [
        ("/", "Authorization: Bearer open-sesame\r\n"),
        ("/", "X-Perennial-Secret: open-sesame\r\n"),
        ("/?secret=open-sesame", ""),
        ("/", "X-Perennial-Secret: open-sesame\r\nOrigin: https://good.example\r\n"),
        // Who shows the secret is no page that was led here.
        ("/", "X-Perennial-Secret: open-sesame\r\nSec-Fetch-Site: cross-site\r\n"),
    ] {
        let (answer, _, asked) = stage.play(get(target, more), OK).await;
        assert_eq!(answer.status(), 200, "{more}");
        assert!(!format!("{:?}", asked.head).contains("sesame"), "{:?}", asked.head);
    }
    for (more, status) in [
        ("", 401),
        ("X-Perennial-Secret: open\r\n", 401),
        ("X-Perennial-Secret: open-sesame\r\nOrigin: https://evil.example\r\n", 403),
    ] {
        assert_eq!(stage.refused(get("/", more)).await.0, status, "{more}");
    }
    // The service would send the token back (RFC 9110 §9.3.8).
    let trace = get("/", "X-Perennial-Secret: open-sesame\r\n").replacen("GET", "TRACE", 1);
    assert_eq!(stage.refused(&trace).await.0, 405);
    let log = stage.sidecar.stop().await;
    assert!(log.contains("a client was turned away"), "{log}");
    assert!(!log.contains("sesame"), "{log}");
}

/// A browser's page names no origin with some requests: what it cannot help telling is looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_from_elsewhere_is_not_let_in() {
    let stage = Stage::start("", "").await;
    let host = |host: &str| get("/", "").replace("127.0.0.1", host);
    for (request, status) in [
        (get("/", "Origin: https://evil.example\r\n"), 403),
        (get("/", "Sec-Fetch-Site: cross-site\r\n"), 403),
        (get("/", "Sec-Fetch-Site: same-site\r\n"), 403),
        // A name that was made to point here (DNS rebinding): the page's own GET has no origin.
        (host("evil.example"), 403),
        (host("evil.example@127.0.0.1"), 403),
    ] {
        assert_eq!(stage.refused(&request).await.0, status, "{request}");
    }
    for request in [
        host("localhost:7370"),
        host("[::1]"),
        get("/", "Sec-Fetch-Site: same-origin\r\n"),
        get("/", "Sec-Fetch-Site: none\r\n"),
        get("/", &format!("Origin: http://127.0.0.1:{}\r\n", stage.sidecar.port)).replacen(
            "127.0.0.1\r",
            &format!("127.0.0.1:{}\r", stage.sidecar.port),
            1,
        ),
    ] {
        assert_eq!(stage.play(&request, OK).await.0.status(), 200, "{request}");
    }
    stage.end().await;
}

/// Where the listener is open to all, it may have a name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_listener_may_have_a_name() {
    let service = Service::start().await;
    let text = format!("open = true\n{}", route(service.port, tokens().await));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("perennial.toml");
    let ports = "[admin]\naddress = \"127.0.0.1:0\"\n[listen]\naddress = \"127.0.0.1:0\"\n";
    std::fs::write(&file, format!("{ports}{text}")).unwrap();
    let config = perennial::config::Config::load(&file).unwrap();
    let app = perennial::app::App::start(&config).await.unwrap();
    let request = get("/", "").replace("127.0.0.1", "perennial:7370");
    let ((answer, _), _) =
        tokio::join!(ask(app.address().port(), request), async { service.asked().await.answer(OK).await });
    assert_eq!(answer.status(), 200);
    app.stop().await;
}

/// Beyond loopback a client's own token is what lets it in, for plain requests too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_shows_nothing_is_not_let_in_from_other_machines() {
    let service = Service::start().await;
    let configuration = |listen: &str| {
        format!(
            "[listen]\n{listen}\n[admin]\naddress = \"127.0.0.1:0\"\n[limits]\ndrain = \"0s\"\n[[route]]\n\
             upstream = \"ws://127.0.0.1:9\"\ndialect = \"handshake\"\n[route.token]\nsource = \"http\"\n\
             url = \"http://127.0.0.1:9/\"\nshare = \"client\"\n[route.client]\ntoken = {{ query = \"token\" }}\n\
             [route.http]\nupstream = \"http://127.0.0.1:{}\"\n",
            service.port
        )
    };
    let start = async |listen: &str| {
        let config = perennial::config::Config::parse(&configuration(listen), "test").unwrap();
        perennial::app::App::start(&config).await.unwrap()
    };
    let request = "GET /admin/internal HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let closed = start("address = \"0.0.0.0:0\"").await;
    let (answer, _) = ask(closed.address().port(), request).await;
    assert_eq!(answer.status(), 401);
    assert!(service.is_alone().await, "it reached the service");
    closed.stop().await;
    for listen in ["address = \"127.0.0.1:0\"", "address = \"0.0.0.0:0\"\nopen = true"] {
        let app = start(listen).await;
        let (answer, ()) = tokio::join!(ask(app.address().port(), request), async {
            service.asked().await.answer(OK).await;
        });
        assert_eq!(answer.0.status(), 200, "{listen}");
        app.stop().await;
    }
}
